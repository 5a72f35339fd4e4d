"""TLS to the endpoints: verified unless told otherwise, and a refusal says why in words."""

import ssl

import pytest

from support.configuration import upstream
from support.endpoints import echo, named, silent
from support.patience import Stopwatch, seconds, wait_until
from support.processes import Process
from support.address import ReservedPort, connect


@pytest.fixture
def start_secured(start_weir, start_endpoint, certificates):
    """start_secured(certificate, **upstream tls keys) -> Weir in front of a TLS endpoint"""

    def start(certificate, pool=None, **keys):
        endpoint = start_endpoint(named("secure"), tls=certificate.server_context())
        settings = {"server_name": "localhost", "ca": certificates.authority, **keys}
        return start_weir(upstream(endpoint, tls=settings, pool=pool or {}))

    return start


def refused_in_words(weir):
    """The detail of a session that could not be connected."""
    with weir.connect() as stream:
        assert stream.receive_all() == b""
    weir.wait_for_outcomes(upstream_tls_failed=1)
    entry = weir.access_log(1)[0]
    assert entry["side"] == "server"
    return entry["detail"].lower()


def test_a_verified_endpoint_is_served(start_secured, certificates):
    weir = start_secured(certificates.localhost())
    assert weir.ask() == "secure"


def test_the_name_defaults_to_the_address(start_weir, start_endpoint, certificates):
    endpoint = start_endpoint(named("secure"), tls=certificates.localhost().server_context())
    weir = start_weir(upstream(endpoint, tls={"ca": certificates.authority}))
    assert weir.ask() == "secure"  # the certificate names 127.0.0.1


def test_an_untrusted_certificate_is_refused(start_secured, certificates):
    weir = start_secured(certificates.self_signed("localhost"))
    words = refused_in_words(weir)
    assert "self-signed" in words or "self signed" in words


def test_another_name_is_refused(start_secured, certificates):
    weir = start_secured(certificates.issue("other.example"))
    words = refused_in_words(weir)
    assert "hostname mismatch" in words or "name" in words


def test_an_expired_certificate_is_refused(start_secured, certificates):
    weir = start_secured(certificates.expired("localhost"))
    assert "certificate has expired" in refused_in_words(weir)


def test_the_systems_authorities_do_not_know_ours(start_secured, certificates):
    weir = start_secured(certificates.localhost(), ca="system")
    assert "certificate" in refused_in_words(weir)


def test_verification_can_be_switched_off(start_secured, certificates):
    weir = start_secured(certificates.self_signed("other.example"), verify=False)
    assert weir.ask() == "secure"


def test_an_endpoint_without_tls_is_refused(start_weir, start_endpoint, certificates):
    def not_tls(stream):
        stream.receive()
        stream.send(b"220 this is not TLS\r\n")

    endpoint = start_endpoint(not_tls)
    weir = start_weir(upstream(endpoint, tls={"server_name": "localhost",
                                              "ca": certificates.authority}))
    assert "tls" in refused_in_words(weir)


def test_tls_timeout(start_weir, start_endpoint, certificates):
    weir = start_weir(upstream(start_endpoint(silent), tls_timeout="300ms",
                               tls={"server_name": "localhost", "ca": certificates.authority}))
    with weir.connect() as stream:
        watch = Stopwatch()
        assert stream.receive_all() == b""
        assert 0.25 < watch.elapsed() < seconds(2)
    weir.wait_for_open(0)
    assert set(weir.outcomes()) <= {"upstream_timeout", "upstream_tls_failed"}


def test_warm_connections_have_shaken_hands(start_weir, start_endpoint, certificates):
    shaken = []

    def count(stream):
        shaken.append(stream.tls.version())
        named("secure")(stream)

    endpoint = start_endpoint(count, tls=certificates.localhost().server_context())
    weir = start_weir(upstream(
        endpoint, pool={"min_idle": 2},
        tls={"server_name": "localhost", "ca": certificates.authority}))
    wait_until(lambda: len(shaken) == 2, "two handshakes before any client")
    assert weir.ask() == "secure"
    entry = weir.access_log(1)[0]
    assert entry["source"] in ("idle", "other_worker")


def test_the_server_name_and_alpn_are_sent(start_weir, start_endpoint, certificates):
    asked = []
    context = certificates.issue("api.internal").server_context()
    context.sni_callback = lambda tls, name, _: asked.append(name)
    context.set_alpn_protocols(["mqtt"])
    agreed = []

    def look(stream):
        agreed.append(stream.tls.selected_alpn_protocol())
        echo(stream)

    weir = start_weir(upstream(start_endpoint(look, tls=context), tls={
        "server_name": "api.internal", "ca": certificates.authority, "alpn": ["mqtt"]}))
    assert weir.ask() == "?"
    assert (asked, agreed) == (["api.internal"], ["mqtt"])


def test_weir_shows_its_certificate(start_weir, start_endpoint, certificates):
    context = certificates.localhost().server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.authority)
    names = []

    def look(stream):
        names.append(stream.tls.getpeercert()["subject"])
        named("secure")(stream)

    mine = certificates.issue("weir.internal")
    weir = start_weir(upstream(start_endpoint(look, tls=context), tls={
        "server_name": "localhost", "ca": certificates.authority,
        "certificate": {"cert": mine.cert, "key": mine.key}}))
    assert weir.ask() == "secure"
    assert names[0] == ((("commonName", "weir.internal"),),)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_s_server_behind_it(start_weir, certificates, directory, version):
    leaf = certificates.localhost()
    with ReservedPort() as port:
        server = Process(["openssl", "s_server", "-accept", port.address, "-cert", leaf.cert,
                          "-key", leaf.key, "-rev", "-quiet", version], directory, "s_server")
        try:
            wait_until(lambda: accepts(port.address), "s_server listens")
            weir = start_weir(upstream(port.address, tls={
                "server_name": "localhost", "ca": certificates.authority}))
            with weir.connect() as stream:
                stream.send(b"abc\n")
                assert stream.receive_line() == b"cba\n"
            weir.wait_for_open(0)
        finally:
            server.kill()


def accepts(address):
    try:
        connect(address).close()
        return True
    except ConnectionRefusedError:
        return False


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def start_watched(start_weir, start_endpoint, certificates):
    """start_watched(version) -> Weir, the endpoint's ssl.SSLContext, what each connection was"""

    def start(version):
        context = certificates.localhost().server_context()
        context.minimum_version = context.maximum_version = version
        seen = []

        def watch(stream):
            stream.receive_line()
            seen.append((stream.tls.version(), stream.tls.session_reused))
            stream.send(b"secure\n")
            stream.receive_all()

        weir = start_weir(upstream(start_endpoint(watch, tls=context), pool={"mode": "off"},
                                   tls={"server_name": "localhost", "ca": certificates.authority}))
        return weir, context, seen

    return start


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_resumed(start_watched, version):
    weir, _, seen = start_watched(version)
    for _ in range(5):
        assert weir.ask() == "secure"
        weir.wait_for_open(0)
    assert [reused for _, reused in seen] == [False, True, True, True, True]


def test_an_endpoint_that_moves_to_tls_1_3_is_followed(start_watched):
    """A resumed TLS 1.2 session offers nothing newer; once it is not taken, all is offered."""
    weir, context, seen = start_watched(ssl.TLSVersion.TLSv1_2)
    assert weir.ask() == "secure"
    context.maximum_version = context.minimum_version = ssl.TLSVersion.TLSv1_3
    weir.ask()  # may be refused: it still offers the old session
    assert weir.ask() == "secure"
    assert seen[-1][0] == "TLSv1.3"
