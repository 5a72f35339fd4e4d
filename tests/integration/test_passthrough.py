"""TLS passes through: the ClientHello is read, however it comes, a route is chosen by it, and not a
byte changes on the way to a server that ends the TLS itself."""

import re
import select
import shutil
import socket

import pytest

from support import client_hello, proxy_header, streams, transfer
from support.address import ReservedPort
from support.configuration import listener, tls, upstream
from support.endpoints import echo, http, named, silent
from support.patience import Stopwatch, seconds, wait_until
from support.processes import cpu_seconds, run
from support.servers import Nginx
from support.weir import command

MIB = 1 << 20
TRUSTED = "127.0.0.1/32"
CLIENT, SERVICE = "203.0.113.7:40001", "198.51.100.9:443"


def passing(routes, **keys):
    """A listener that passes TLS through to upstreams by server name, and has no default."""
    web = listener(tls="passthrough", routes=[
        {"match": {"server_name": [name]}, "upstream": to} for name, to in routes.items()], **keys)
    del web["upstream"]
    return web


@pytest.fixture
def two(start_weir, start_endpoint, certificates):
    """two(**listener keys) -> Weir before a.example and b.example, which have certificates."""

    def start(**keys):
        upstreams = {name: upstream(start_endpoint(
            named(name), tls=certificates.issue(f"{name}.example").server_context()))
            for name in ("a", "b")}
        return start_weir(upstreams, passing({"a.example": "a", "b.example": "b"}, **keys))

    return start


def say(stream, expected):
    stream.send(b"?\n")
    assert stream.receive_line() == expected


def ask(weir, certificates, name):
    """A whole handshake with the server of that name."""
    with weir.connect(tls=certificates.client(), server_name=name) as stream:
        say(stream, f"{name[0]}\n".encode())


def cut_connection(weir, certificates, name, cut):
    with weir.connect() as plain:
        plain.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = client_hello.CutStream(plain.socket, certificates.client(), name, cut)
        say(stream, f"{name[0]}\n".encode())
        return stream.first


# Real clients.


def test_the_server_is_the_one_of_the_name(two, certificates):
    weir = two()
    for name in ("a.example", "B.Example", "a.example"):
        with weir.connect(tls=certificates.client(check_hostname=False), server_name=name) as it:
            say(it, f"{name[0].lower()}\n".encode())
            assert (("DNS", name.lower()),) == it.tls.getpeercert()["subjectAltName"]
            [shown] = weir.connections()
            assert (shown["server_name"], shown["tls_version"]) == (name.lower(), "")
        weir.wait_for_open(0)
    assert [entry["upstream"] for entry in weir.access_log(3)] == ["a", "b", "a"]


def test_it_counts_no_handshakes_and_shows_passthrough(two, certificates):
    weir = two()
    ask(weir, certificates, "a.example")
    assert [each["tls"] for each in weir.admin.status()["listeners"]] == ["passthrough"]
    assert not weir.metrics().find("weir_tls_handshakes_total")
    assert weir.access_log(1)[0]["handshake_seconds"] is None


def test_curl(start_weir, start_server, certificates):
    certificate = certificates.issue("a.example")
    nginx = start_server(Nginx, certificate=certificate)
    weir = start_weir(upstream(nginx.address), passing({"a.example": "api"}))
    done = run("curl", "-sS", "--cacert", certificates.authority, "--resolve",
               f"a.example:{weir.port()}:127.0.0.1", f"https://a.example:{weir.port()}/name")
    assert (done.returncode, done.stdout) == (0, "nginx\n"), done.stderr
    assert weir.access_log(1)[0]["alpn"] == "h2,http/1.1"


def test_openssl(two, certificates):
    weir = two()
    done = run("openssl", "s_client", "-connect", weir.address(), "-servername", "b.example",
               "-CAfile", certificates.authority, "-verify_return_error", "-alpn", "mqtt",
               "-quiet", "-no_ign_eof", input="?\n")
    assert done.returncode == 0, done.stderr
    entry = weir.access_log(1)[0]
    assert (entry["server_name"], entry["alpn"], entry["upstream"]) == ("b.example", "mqtt", "b")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium")
def test_chromium(start_weir, start_endpoint, certificates, directory):
    endpoint = start_endpoint(http("the page"),
                              tls=certificates.issue("a.example").server_context())
    weir = start_weir(upstream(endpoint), passing({"a.example": "api"}))
    done = run("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
               "--no-first-run", "--disable-background-networking", "--disable-component-update",
               "--disable-sync", f"--user-data-dir={directory}/profile",
               "--host-resolver-rules=MAP * 127.0.0.1", "--ignore-certificate-errors",
               "--dump-dom", f"https://a.example:{weir.port()}/",
               env={"PATH": "/usr/bin:/bin", "HOME": directory})
    assert "the page" in done.stdout, done.stdout + done.stderr
    weir.wait_for_open(0)
    assert {(entry["server_name"], entry["alpn"]) for entry in weir.access_log(1)} == {
        ("a.example", "h2,http/1.1")}


# However the hello comes.


@pytest.mark.parametrize("size", [1, 100])
def test_a_hello_may_come_in_any_segments(two, certificates, size):
    cut_connection(two(), certificates, "b.example", lambda hello: client_hello.pieces(hello, size))


@pytest.mark.parametrize("size", [1, 5, 100])
def test_a_hello_may_come_in_several_records(two, certificates, size):
    weir = two()
    sent = cut_connection(weir, certificates, "b.example", lambda hello: client_hello.pieces(
        client_hello.again_in_records(hello, size), 64))
    assert sent.count(b"\x16\x03\x01") > 3
    assert weir.access_log(1)[0]["upstream"] == "b"


@pytest.mark.parametrize("size", [8 * 1024, 40 * 1024])
def test_a_large_hello_comes_in_many_segments(start_weir, start_endpoint, certificates, size):
    """A true one: it offers very many protocols, so it spans records by itself when it has to."""
    endpoint = start_endpoint(named("a"), tls=certificates.issue("a.example").server_context())
    weir = start_weir(upstream(endpoint), listener(tls="passthrough", upstream="api", routes=[
        {"name": "last", "match": {"server_name": ["a.example"], "alpn": ["last"]},
         "upstream": "api"}]))
    context = certificates.client()
    names = [f"{number:030}" for number in range(size // 31)]
    context.set_alpn_protocols([*names, "last"])
    with weir.connect() as plain:
        plain.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = client_hello.CutStream(plain.socket, context, "a.example",
                                        lambda hello: client_hello.pieces(hello, 500))
        assert len(stream.first) > size
        say(stream, b"a\n")
    entry = weir.access_log(1)[0]
    assert entry["route"] == "last"
    assert entry["alpn"].startswith(names[0] + ",") and entry["alpn"].endswith(",...")


def test_not_a_byte_changes(start_weir, start_endpoint):
    """A server that echoes: what the client gets is what it sent, the hello with what follows."""
    weir = start_weir(upstream(start_endpoint(echo)), passing({"a.example": "api"}))
    total = 0
    for hello in (client_hello.made_up("a.example", 8000), client_hello.made_up("A.Example", 100),
                  client_hello.again_in_records(client_hello.made_up("a.example", 8000), 3)):
        with weir.connect() as stream:
            sent = hello + b"\x17\x03\x03\x00\x05early"
            for piece in client_hello.pieces(sent, 700):
                stream.send(piece)
            assert stream.receive_exactly(len(sent)) == sent
            stream.finish()
            assert stream.receive_all() == b""
            total += len(sent)
    weir.wait_for_open(0)
    metrics = weir.metrics()
    for family in ("client_received", "client_sent", "endpoint_received", "endpoint_sent"):
        assert metrics.sum(f"weir_{family}_bytes_total") == total, family
    assert sum(entry["received_bytes"] for entry in weir.access_log(3)) == total


def test_bulk_both_ways(start_weir, start_endpoint, certificates):
    results = []
    endpoint = start_endpoint(
        lambda stream: results.append(transfer.both_ways(stream, 8 * MIB, seed=2)),
        tls=certificates.issue("a.example").server_context())
    weir = start_weir(upstream(endpoint, pool={"min_idle": 2}), passing({"a.example": "api"}))
    with weir.connect(tls=certificates.client(), server_name="a.example") as client:
        sent, received, digest = transfer.both_ways(client, 8 * MIB, seed=1)
    weir.wait_for_open(0)
    wait_until(lambda: results, "the endpoint has finished too")
    server_sent, server_received, server_digest = results[0]
    assert (received, server_received) == (8 * MIB, 8 * MIB)
    assert (digest, server_digest) == (server_sent, sent)


# What is chosen by it.


def test_any_protocol_that_is_offered_chooses_the_route(start_weir, start_endpoint, certificates):
    context = certificates.localhost().server_context()
    upstreams = {name: upstream(start_endpoint(named(name), tls=context)) for name in "ab"}
    weir = start_weir(upstreams, listener(tls="passthrough", upstream="a", routes=[
        {"match": {"alpn": ["mqtt", "acme-tls/1"]}, "upstream": "b"}]))
    for offered, expected in (([], "a"), (["h2", "http/1.1"], "a"), (["h2", "mqtt"], "b"),
                              (["acme-tls/1"], "b")):
        client = certificates.client()
        if offered:
            client.set_alpn_protocols(offered)
        with weir.connect(tls=client) as stream:
            say(stream, f"{expected}\n".encode())
        told = command("explain", "-c", weir.config_path, "--listener", "web", "--alpn",
                       ",".join(offered) or "none")
        assert re.search(f"^upstream: {expected}\\b", told.stdout, re.MULTILINE), told.stdout


def test_a_name_without_a_route(two, certificates):
    weir = two()
    for hello in (client_hello.made_up("c.example"),
                  client_hello.records(client_hello.message(client_hello.extension(5, b"x")))):
        with weir.connect() as stream:
            stream.send(hello)
            assert stream.receive_all() == b""
    weir.wait_for_outcomes(no_route=2)
    entry = weir.access_log(2)[0]
    assert (entry["server_name"], entry["received_bytes"]) == ("c.example", len(
        client_hello.made_up("c.example")))
    assert weir.metrics().sum("weir_client_received_bytes_total") == sum(
        each["received_bytes"] for each in weir.access_log(2))
    ask(weir, certificates, "a.example")


def test_another_endpoint_gets_the_whole_hello(start_weir, start_endpoint, certificates):
    endpoint = start_endpoint(named("a"), tls=certificates.issue("a.example").server_context())
    with ReservedPort() as gone:
        weir = start_weir(upstream(gone.address, endpoint, attempts=2, ejection={"failures": 0}),
                          passing({"a.example": "api"}))
        for _ in range(6):
            ask(weir, certificates, "a.example")
    weir.wait_for_outcomes(client_closed=6)


def test_a_reload_is_for_those_who_come_after(two, certificates):
    """Who has begun a hello goes by the routes of that time."""
    weir = two()

    def cut(hello):
        yield hello[:-1]
        wait_until(lambda: [each["received_bytes"] for each in weir.connections()] == [
            len(hello) - 1], "the hello has begun")
        weir.settings["listeners"]["web"]["routes"][0]["upstream"] = "b"
        weir.reload()
        yield hello[-1:]

    cut_connection(weir, certificates, "a.example", cut)
    with weir.connect(tls=certificates.client(check_hostname=False),
                      server_name="a.example") as stream:
        say(stream, b"b\n")
    weir.settings["listeners"]["web"].update(tls="off", upstream="a", routes=[])
    weir.reload()
    plain = weir.connect()
    with streams.TlsStream(plain.socket, certificates.client(), "a.example") as stream:
        say(stream, b"a\n")
    assert {entry["server_name"] for entry in weir.access_log(3)} == {"a.example", ""}


# The PROXY protocol.


@pytest.mark.parametrize("how", ["accept", "require"])
@pytest.mark.parametrize("size", [1, 10_000])
def test_a_proxy_header_comes_before_the_hello(two, certificates, how, size):
    weir = two(proxy_protocol=how, trusted=[TRUSTED])
    cut_connection(weir, certificates, "b.example", lambda hello: client_hello.pieces(
        proxy_header.v2(CLIENT, SERVICE) + hello, size))
    entry = weir.access_log(1)[0]
    assert (entry["client"], entry["upstream"]) == (CLIENT, "b")


def test_a_proxy_header_is_optional_where_it_is_accepted(two, certificates):
    weir = two(proxy_protocol="accept", trusted=[TRUSTED])
    ask(weir, certificates, "b.example")


def test_the_header_and_the_hello_share_one_time(two):
    weir = two(proxy_protocol="accept", trusted=[TRUSTED], timeouts={"header": "500ms"})
    watch = Stopwatch()
    with weir.connect() as silence, weir.connect() as half:
        half.send(proxy_header.v2(CLIENT, SERVICE) + b"\x16\x03")
        for stream in (silence, half):
            assert is_turned_away(stream)
    assert 0.45 < watch.elapsed() < seconds(3)
    weir.wait_for_outcomes(client_timeout=2)


@pytest.mark.parametrize("offered, told", [(["mqtt"], b"mqtt"), (["h2", "http/1.1"], None)])
def test_the_server_is_told_what_the_hello_said(start_weir, start_endpoint, certificates, offered,
                                                told):
    """Which of several protocols will be spoken is not known before the server has chosen."""
    headers = []
    context = certificates.issue("a.example").server_context()

    def handle(stream):
        headers.append(proxy_header.read(stream))
        secured = streams.TlsStream(stream.socket, context, server_side=True)
        while secured.receive_line():
            secured.send(b"a\n")

    weir = start_weir(upstream(start_endpoint(handle), proxy_protocol="v2"),
                      passing({"a.example": "api"}))
    client = certificates.client()
    client.set_alpn_protocols(offered)
    with weir.connect(tls=client, server_name="a.example") as stream:
        say(stream, b"a\n")
        own = "{}:{}".format(*stream.socket.getsockname())
    [header] = headers
    assert header.source == own
    assert header.tlvs[proxy_header.AUTHORITY] == b"a.example"
    assert header.tlvs.get(proxy_header.ALPN) == told
    assert proxy_header.SSL not in header.tlvs


# Who is turned away.


def is_turned_away(stream):
    """It ends, with a reset or without, and not a byte comes."""
    try:
        return stream.receive_all() == b""
    except ConnectionResetError:
        return True


GARBAGE = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "SSL 2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    "zeros": bytes(1000),
    "one byte": b"\xff",
    "much": bytes(range(256)) * 1000,
    "an alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "an empty record": b"\x16\x03\x01\x00\x00",
    "a record too long": b"\x16\x03\x01\x40\x01",
    "another message": client_hello.records(client_hello.message(kind=2)),
    "a hello too long": b"\x16\x03\x01\x40\x00\x01\x01\x00\x00",
    "wrong lengths": client_hello.records(client_hello.message(b"\x00\x00\x00\x09abc")),
    "two names": client_hello.records(client_hello.message(
        client_hello.server_name(b"a.example"), client_hello.server_name(b"b.example"))),
    "a name with a zero": client_hello.records(client_hello.message(
        client_hello.server_name(b"a.example\0"))),
}


def test_garbage_is_closed_at_once_and_harms_nobody(two, certificates):
    weir = two()
    with weir.connect(tls=certificates.client(), server_name="a.example") as neighbour:
        for garbage in GARBAGE.values():
            with weir.connect() as stream:
                watch = Stopwatch()
                stream.send(garbage)
                assert is_turned_away(stream)
                assert watch.elapsed() < seconds(3)  # of timeouts.header, 10 s
            say(neighbour, b"a\n")
    weir.wait_for_outcomes(client_tls_failed=len(GARBAGE), client_closed=1)
    details = [entry["detail"] for entry in weir.access_log(len(GARBAGE) + 1)]
    assert details.count("") == 1, details  # the neighbour's


def test_a_silent_client_has_its_time(two, certificates):
    weir = two(timeouts={"header": "400ms"})
    for start in (b"", client_hello.made_up("a.example")[:60]):
        with weir.connect() as stream:
            watch = Stopwatch()
            stream.send(start)
            assert is_turned_away(stream)
            assert 0.35 < watch.elapsed() < seconds(3)
    weir.wait_for_outcomes(client_timeout=2)
    ask(weir, certificates, "a.example")


def test_a_client_that_dawdles_has_the_same_time(two):
    """Byte by byte: each would be in time, the hello is not."""
    weir = two(timeouts={"header": "500ms"})
    hello = client_hello.made_up("a.example", 8000)
    watch = Stopwatch()
    with weir.connect() as stream:
        for byte in client_hello.pieces(hello, 1):
            try:
                stream.send(byte)
            except OSError:
                break
            if select.select([stream.socket], [], [], 0.02)[0]:
                break
        assert 0.45 < watch.elapsed() < seconds(3)
        assert is_turned_away(stream)
    weir.wait_for_outcomes(client_timeout=1)


def test_who_leaves_before_the_end_of_the_hello(two):
    weir = two()
    hello = client_hello.made_up("a.example")
    with weir.connect() as stream:
        stream.finish()
        assert stream.receive_all() == b""
    weir.wait_for_outcomes(client_closed=1)
    with weir.connect() as stream:
        stream.send(hello[:-1])
        stream.finish()
        assert stream.receive_all() == b""
    weir.wait_for_outcomes(client_closed=1, client_tls_failed=1)
    assert weir.access_log(2)[1]["detail"] == "the ClientHello is cut off"
    with weir.connect() as stream:
        stream.send(hello[:-1])
        stream.abort()
    weir.wait_for_outcomes(client_closed=1, client_tls_failed=1, client_reset=1)


def test_half_a_hello_costs_nothing_while_it_waits(start_weir, start_endpoint):
    """The rest is waited for, not looked for."""
    weir = start_weir(upstream(start_endpoint(silent)), passing({"a.example": "api"}), workers=1)
    hello = client_hello.made_up("a.example", 8000)
    with weir.connect() as stream:
        for piece in client_hello.pieces(hello[:-1], 500):
            stream.send(piece)
        wait_until(lambda: [each["received_bytes"] for each in weir.connections()] == [
            len(hello) - 1], "all but a byte is read")
        assert [each["state"] for each in weir.connections()] == ["header"]
        before = cpu_seconds(weir.pid)
        assert not select.select([stream.socket], [], [], 1.5)[0]
        assert cpu_seconds(weir.pid) - before < 0.75
        stream.send(hello[-1:])
        stream.finish()
        assert stream.receive_all() == b""
    assert weir.access_log(1)[0]["received_bytes"] == len(hello)


def test_it_holds_no_seat_of_the_handshakes(start_weir, start_endpoint, certificates):
    secured = start_endpoint(named("a"), tls=certificates.issue("a.example").server_context())
    weir = start_weir(
        {"a": upstream(secured), "plain": upstream(start_endpoint(named("plain")))},
        {"through": passing({"a.example": "a"}), "ending": listener("plain", tls="public")},
        tls(certificates.localhost()), limits={"handshakes": 1})
    waiting = [weir.connect("through") for _ in range(3)]
    with weir.connect("ending", tls=certificates.client()) as stream:
        say(stream, b"plain\n")
    with weir.connect("through", tls=certificates.client(), server_name="a.example") as stream:
        say(stream, b"a\n")
    for stream in waiting:
        stream.close()
