"""weir check --probe: what is not there, does not answer, or cannot be trusted is told before it
matters, and nobody is disturbed by the question."""

import json
import os
import re
import socket
import ssl

import pytest

from support import configuration, streams, yaml
from support.address import ReservedPort
from support.configuration import listener, quick_checks, tls, upstream
from support.dns import NameServer
from support.endpoints import echo, named, silent
from support.patience import Stopwatch, seconds
from support.servers import Nginx, Redis
from support.weir import command


class Probed:
    """What `weir check --probe` says of a configuration."""

    def __init__(self, directory, settings, *options):
        self.path = os.path.join(directory, "weir.yaml")
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(settings if isinstance(settings, str) else yaml.write(settings) + "\n")
        done = command("check", "--probe", "-c", self.path, *options, timeout=40)
        self.status, self.stdout, self.stderr = done.returncode, done.stdout, done.stderr

    def line(self, word):
        """The one line about what has `word` in it."""
        [line] = [each for each in self.stdout.splitlines() if word in each]
        return line


@pytest.fixture
def probe(directory):
    """probe(upstreams, listeners, ...) -> Probed"""

    def start(upstreams, listeners=None, tls_settings=None, options=(), **top):
        top.setdefault("admin", {"bind": "off"})
        return Probed(directory, configuration.whole(
            upstreams, listeners or listener(), tls_settings, directory, **top), *options)

    return start


@pytest.fixture
def secured(start_endpoint, certificates, probe):
    """secured(certificate, **upstream tls keys) -> (endpoint, Probed)"""

    def start(certificate, context=None, **keys):
        endpoint = start_endpoint(echo, tls=context or certificate.server_context())
        settings = {"server_name": "localhost", "ca": certificates.authority, **keys}
        return endpoint, probe(upstream(endpoint, tls=settings))

    return start


def accepted(endpoint):
    """How many connections an echo endpoint has got so far: those before ours."""
    with streams.connect(endpoint.address) as stream:
        stream.send(b"?")
        assert stream.receive() == b"?"
    return endpoint.accepted - 1


def assert_fails(probed, address, *words):
    """In the line about it, and in an error at its place."""
    assert probed.status == 1, probed.stdout + probed.stderr
    line = probed.line(address)
    assert "FAILED" in line
    with open(probed.path, encoding="utf-8") as file:
        number = 1 + next(i for i, each in enumerate(file) if address in each)
    errors = [each for each in probed.stderr.splitlines() if f"weir.yaml:{number}:" in each]
    assert errors and ": error: " in errors[0], probed.stderr
    for word in words:
        assert word.lower() in line.lower(), line
        assert word.lower() in errors[0].lower(), errors


# Endpoints that answer.


def test_what_is_there_is_good(probe, start_endpoint, directory):
    plain = start_endpoint(echo)
    unix = start_endpoint(echo, bind=f"unix:{directory}/endpoint.sock")
    probed = probe(upstream(plain, unix))
    assert (probed.status, probed.stderr) == (0, "")
    assert re.search(r"connected in \d+\.\d ms", probed.line(plain.address))
    assert "connected" in probed.line("endpoint.sock")
    assert "can be bound" in probed.line("listener web")
    assert "all 3 probes are good" in probed.stdout
    assert accepted(plain) == 1


def test_tls_tells_what_was_agreed_on(secured, certificates):
    endpoint, probed = secured(certificates.localhost())
    assert probed.status == 0, probed.stderr
    line = probed.line(endpoint.address)
    assert re.search(r"TLSv1\.3 TLS_\w+, certificate of localhost until 20\d\d-\d\d-\d\d", line)


def test_the_address_can_be_what_is_verified(secured, certificates):
    endpoint, probed = secured(certificates.localhost(), server_name="127.0.0.1")
    assert probed.status == 0, probed.stderr
    assert "certificate of 127.0.0.1 until" in probed.line(endpoint.address)


def test_names_are_looked_up(probe, start_endpoint):
    endpoint = start_endpoint(echo)
    dns = NameServer()
    dns.set("db.test", a=["127.0.0.1"])
    try:
        settings = {"servers": [dns.address]}
        probed = probe(upstream(f"db.test:{endpoint.port}", dns=settings))
        assert (probed.status, probed.stderr) == (0, "")
        assert f"db.test:{endpoint.port} ({endpoint.address})" in probed.stdout
        assert_fails(probe(upstream("absent.test:80", dns=settings)), "absent.test", "no such name")
    finally:
        dns.close()


# Endpoints that do not.


def test_who_refuses(probe):
    with ReservedPort() as port:
        assert_fails(probe(upstream(port.address)), port.address, "Connection refused")


def test_a_black_hole_takes_no_longer_than_connect_timeout(probe):
    with socket.socket() as hole, socket.socket() as first, socket.socket() as second:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        address = f"127.0.0.1:{hole.getsockname()[1]}"
        watch = Stopwatch()
        probed = probe(upstream(address, connect_timeout="300ms"))
        assert 0.3 <= watch.elapsed() < seconds(5)
        assert_fails(probed, address, "no connection within connect_timeout")


def test_a_unix_socket_that_is_not_there(probe, directory):
    path = f"unix:{directory}/absent.sock"
    assert_fails(probe(upstream(path)), path, "No such file")


def test_silence_instead_of_tls(probe, start_endpoint, certificates):
    endpoint = start_endpoint(silent)
    probed = probe(upstream(endpoint, tls_timeout="300ms", tls={
        "server_name": "localhost", "ca": certificates.authority}))
    assert_fails(probed, endpoint.address, "handshake", "tls_timeout")


def test_another_name(secured, certificates):
    endpoint, probed = secured(certificates.issue("other.example", "DNS:third.example"))
    assert_fails(probed, endpoint.address, "hostname mismatch", "other.example, third.example",
                 "not for localhost")


def test_an_expired_certificate(secured, certificates):
    endpoint, probed = secured(certificates.expired("localhost"))
    assert_fails(probed, endpoint.address, "certificate has expired", "2020-02-01")


def test_a_self_signed_certificate(secured, certificates):
    endpoint, probed = secured(certificates.self_signed("localhost"))
    assert_fails(probed, endpoint.address, "self-signed certificate")


def test_another_authority(secured, certificates):
    other = certificates.self_signed("authority.example")
    endpoint, probed = secured(certificates.localhost(), ca=other.cert)
    assert_fails(probed, endpoint.address, "unable to get local issuer certificate",
                 "Weir Test Authority")


def test_what_is_not_verified_is_told(secured, certificates):
    endpoint, probed = secured(certificates.expired("localhost"), verify=False)
    assert probed.status == 0
    assert "not verified" in probed.line(endpoint.address)
    assert "`verify` would refuse it: certificate has expired" in probed.line(endpoint.address)
    assert re.search(r"warning: .*has expired at 2020-02-01", probed.stderr)


def test_a_certificate_that_ends_soon_is_a_warning(secured, certificates):
    endpoint, probed = secured(certificates.issue("localhost", "IP:127.0.0.2", days=5))
    assert probed.status == 0
    assert "expires in 4 days" in probed.line(endpoint.address)
    assert re.search(r"warning: .*expires in 4 days", probed.stderr)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_server_that_wants_a_certificate(start_endpoint, certificates, probe, version):
    context = certificates.localhost().server_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.authority)
    endpoint = start_endpoint(echo, tls=context)
    settings = {"server_name": "localhost", "ca": certificates.authority}
    assert_fails(probe(upstream(endpoint, tls=settings)), endpoint.address,
                 "there is no `tls.certificate`")
    mine = certificates.issue("weir.example")
    settings["certificate"] = {"cert": mine.cert, "key": mine.key}
    probed = probe(upstream(endpoint, tls=settings))
    assert probed.status == 0, probed.stderr
    stranger = certificates.self_signed("stranger.example")
    settings["certificate"] = {"cert": stranger.cert, "key": stranger.key}
    assert_fails(probe(upstream(endpoint, tls=settings)), endpoint.address,
                 "asked for a client certificate")


# Health checks.


def test_checks_that_pass(probe, start_server, start_endpoint, certificates):
    nginx, redis = start_server(Nginx), start_server(Redis)
    line = start_endpoint(named("PONG"))
    secure = start_endpoint(echo, tls=certificates.localhost().server_context())
    plain = start_endpoint(silent)
    checks = {
        "web": (nginx, {"type": "http", "http": {"path": "/name"}}),
        "cache": (redis, {"type": "redis"}),
        "line": (line, {"type": "exchange", "exchange": {"send": "PING\\n", "expect": "PONG"}}),
        "plain": (plain, {"type": "tcp"}),
    }
    upstreams = {name: upstream(endpoint, health_check=quick_checks(**check))
                 for name, (endpoint, check) in checks.items()}
    upstreams["secure"] = upstream(secure, health_check=quick_checks(type="tls"), tls={
        "server_name": "localhost", "ca": certificates.authority})
    probed = probe(upstreams, {name: listener(name) for name in upstreams})
    assert (probed.status, probed.stderr) == (0, ""), probed.stdout
    for name, kind in {"web": "http", "cache": "redis", "line": "exchange", "plain": "tcp",
                       "secure": "tls"}.items():
        assert f"{kind} check passed in" in probed.line(f"endpoint {name}")


def test_an_unexpected_status(probe, start_server):
    nginx = start_server(Nginx)
    probed = probe(upstream(nginx.address, health_check=quick_checks(
        type="http", http={"path": "/absent"})))
    assert_fails(probed, nginx.address, "http check failed", "status 404")


def test_an_answer_that_does_not_come(probe, start_endpoint):
    endpoint = start_endpoint(silent)
    probed = probe(upstream(endpoint, health_check=quick_checks(type="redis")))
    assert_fails(probed, endpoint.address, "redis check failed", "health_check.timeout")


def test_a_check_on_a_port_of_its_own(probe, start_endpoint, start_server):
    endpoint, nginx = start_endpoint(echo), start_server(Nginx)
    check = quick_checks(type="http", port=nginx.port, http={"path": "/name"})
    probed = probe(upstream(endpoint, health_check=check))
    assert (probed.status, probed.stderr) == (0, "")
    assert "http check passed" in probed.line(endpoint.address)
    nginx.stop()
    assert_fails(probe(upstream(endpoint, health_check=check)), endpoint.address,
                 f"http check on port {nginx.port} failed", "Connection refused")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_server_that_wants_a_proxy_header(probe, start_server, certificates, version):
    nginx = start_server(Nginx, proxy_protocol=True, certificate=certificates.localhost())
    keys = {"tls": {"server_name": "localhost", "ca": certificates.authority},
            "health_check": quick_checks(type="http", http={"path": "/name"})}
    probed = probe(upstream(nginx.address, proxy_protocol=version, **keys))
    assert (probed.status, probed.stderr) == (0, "")
    assert probe(upstream(nginx.address, **keys)).status == 1


# Binds and certificates of Weir's own.


def test_a_port_that_is_taken(probe, start_endpoint):
    other = start_endpoint(echo)
    probed = probe(upstream(other), listener(bind=other.address))
    assert probed.status == 1
    assert "Address already in use" in probed.line("listener web")
    assert "a running weir does that too" in probed.stderr
    assert accepted(other) == 1  # as an endpoint


def test_an_address_of_another_machine(probe, start_endpoint):
    probed = probe(upstream(start_endpoint(echo)), listener(bind="203.0.113.1:8443"))
    assert_fails(probed, "203.0.113.1:8443", "no interface of this machine")


def test_the_admin_address_is_tried_too(probe, start_endpoint):
    other = start_endpoint(echo)
    probed = probe(upstream(start_endpoint(echo)), admin={"bind": other.address})
    assert_fails(probed, other.address, "already in use")
    assert accepted(other) == 0


def test_unix_binds(probe, start_endpoint, directory):
    server = start_endpoint(echo)
    live = start_endpoint(echo, bind=f"unix:{directory}/live.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{directory}/stale.sock")
    with open(f"{directory}/file", "w", encoding="ascii"):
        pass
    binds = {"free": "free.sock", "live": "live.sock", "stale": "stale.sock", "file": "file",
             "nowhere": "absent/a.sock"}
    probed = probe(upstream(server), {name: listener(bind=f"unix:{directory}/{path}")
                                      for name, path in binds.items()})
    assert probed.status == 1
    assert "can be bound" in probed.line("listener free")
    assert "can be bound" in probed.line("listener stale")
    assert "would be replaced" in probed.line("listener stale")
    assert "already in use" in probed.line("listener live")
    assert "no socket" in probed.line("listener file")
    assert "No such file" in probed.line("listener nowhere")
    assert accepted(live) == 0
    assert not os.path.exists(f"{directory}/free.sock")
    assert os.path.exists(f"{directory}/stale.sock") and os.path.exists(f"{directory}/live.sock")


def test_own_certificates(probe, start_endpoint, certificates):
    good, old = certificates.localhost(), certificates.expired("localhost")
    probed = probe(upstream(start_endpoint(echo)), listener(tls="public"), tls(good, old))
    assert probed.status == 0
    assert re.search(r"of localhost, 127\.0\.0\.1 until 20", probed.line(good.cert))
    assert "Weir Test Authority has issued, which this system does not know" in probed.line(
        good.cert)
    assert "until 2020-02-01" in probed.line(old.cert)
    assert "has expired at 2020-02-01" in probed.stderr


# The whole.


def test_a_running_weir_is_not_disturbed(start_weir, start_endpoint, directory):
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint, pool={"min_idle": 0, "anticipate": 0}), {
        "web": listener(), "socket": listener(bind=f"unix:{directory}/web.sock")})
    settings = {**weir.settings, "listeners": {
        "web": listener(bind=weir.address()),
        "socket": listener(bind=weir.address("socket"))}}
    with weir.connect() as stream:
        stream.send(b"?\n")
        assert stream.receive_line() == b"a\n"
        probed = Probed(directory, settings)
        assert probed.status == 1
        assert probed.stdout.count("Address already in use") == 3  # both, and admin
        assert "connected" in probed.line(endpoint.address)
        stream.send(b"?\n")
        assert stream.receive_line() == b"a\n"
    assert weir.ask(listener="socket") == "a"
    assert weir.metrics().sum("weir_connections_accepted_total") == 2


def test_two_hundred_endpoints_at_the_same_time(probe):
    """Of black holes, which take connect_timeout each: one after the other would take 60 s."""
    with socket.socket() as hole, socket.socket() as first, socket.socket() as second:
        hole.bind(("0.0.0.0", 0))
        hole.listen(0)
        port = hole.getsockname()[1]
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        watch = Stopwatch()
        probed = probe(upstream(*(f"127.0.0.{i + 2}:{port}" for i in range(200)),
                                connect_timeout="300ms"))
        assert watch.elapsed() < seconds(10)
        assert probed.status == 1
        assert "200 of 201 probes failed" in probed.stdout


def test_many_that_fail_at_once(probe, directory):
    probed = probe(upstream(*(f"unix:{directory}/{i}.sock" for i in range(2000))))
    assert "2000 of 2001 probes failed" in probed.stdout


def test_the_last_of_many_may_fail_at_once(probe, start_endpoint, directory):
    """When it begins, nothing else is left to wait for."""
    port = start_endpoint(echo, bind="0.0.0.0:0").port
    there = [f"127.0.0.{i + 1}:{port}" for i in range(64)]  # as many as are tried at once
    probed = probe(upstream(*there, f"unix:{directory}/absent.sock"))
    assert "1 of 66 probes failed" in probed.stdout


def test_a_wrong_configuration_is_not_tried(directory, start_endpoint):
    endpoint = start_endpoint(echo)
    text = configuration.GOOD.replace("127.0.0.1:9000", endpoint.address).replace("mode", "mood")
    probed = Probed(directory, text)
    assert probed.status == 2
    assert probed.stdout == "" and "mood" in probed.stderr
    probed = Probed(directory, text, "--format", "json")
    assert probed.status == 2
    assert "probes" not in json.loads(probed.stdout)
    assert accepted(endpoint) == 0


def test_for_programs(probe, start_endpoint, certificates):
    good = start_endpoint(echo, tls=certificates.localhost().server_context())
    with ReservedPort() as port:
        probed = probe(upstream(good, port.address, tls={
            "server_name": "localhost", "ca": certificates.authority},
            health_check=quick_checks(type="tls")), options=["--format", "json"])
        assert (probed.status, probed.stderr) == (1, "")
        answer = json.loads(probed.stdout)
        assert answer["good"] is True
        bind, first, second = answer["probes"]
        assert (bind["kind"], bind["name"], bind["good"]) == ("listener", "web", True)
        assert (first["kind"], first["name"], first["address"], first["good"]) == (
            "endpoint", "api", good.address, True)
        assert first["connected_ms"] >= 0
        assert first["tls"]["version"] == "TLSv1.3" and first["tls"]["verified"] is True
        assert first["tls"]["matched"] == "localhost"
        assert first["certificate"]["names"] == ["localhost", "127.0.0.1"]
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["certificate"]["not_after"])
        assert first["certificate"]["issuer"] == "CN=Weir Test Authority"
        assert first["check"]["type"] == "tls" and first["check"]["passed"] is True
        assert (second["address"], second["good"]) == (port.address, False)
        assert "refused" in second["fault"]
        [problem] = answer["problems"]
        assert problem["severity"] == "error" and port.address in problem["source_line"]
        assert problem["line"] == second["line"] and "refused" in problem["message"]
