"""TLS in front: versions, certificates by server name, resumption, and what is refused."""

import re
import ssl

import pytest

from support import streams
from support.configuration import listener, tls, upstream
from support.endpoints import echo, http, named
from support.patience import Stopwatch, seconds
from support.processes import run
from support.s_client import s_client


@pytest.fixture
def start_tls(start_weir, start_endpoint):
    """start_tls(*certificates, **settings) -> Weir with one TLS listener"""

    def start(*certificates, **settings):
        return start_weir(upstream(start_endpoint(http("a"))), listener(tls="public"),
                          tls(*certificates, **settings))

    return start


def served(weir, server_name, *options):
    """The subject of the certificate that the server name gets."""
    text = s_client(weir, *options, server_name=server_name).stdout
    found = re.search(r"^subject=CN = (.*)$", text, re.MULTILINE)
    return found and found.group(1)


@pytest.mark.parametrize("option, name", [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_versions_1_2_and_1_3_are_served(start_tls, certificates, option, name):
    weir = start_tls(certificates.localhost())
    text = s_client(weir, option).stdout
    assert f"New, {name}" in text
    metrics = weir.metrics()
    assert metrics.sum("weir_tls_handshakes_total", result="ok", version=name) == 1
    weir.wait_for_open(0)
    assert weir.access_log(1)[0]["tls_version"] == name


def test_version_1_1_is_refused(start_tls, certificates):
    weir = start_tls(certificates.localhost())
    done = s_client(weir, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert done.returncode != 0
    assert "protocol version" in done.stderr  # the alert arrives
    weir.wait_for_outcomes(client_tls_failed=1)
    metrics = weir.metrics()
    assert metrics.sum("weir_tls_handshakes_total", result="protocol_version") == 1
    assert metrics.sum("weir_tls_handshakes_total", result="ok") == 0


def test_the_modern_profile_refuses_1_2(start_tls, certificates):
    weir = start_tls(certificates.localhost(), profile="modern")
    assert s_client(weir, "-tls1_2").returncode != 0
    assert "New, TLSv1.3" in s_client(weir, "-tls1_3").stdout
    weir.wait_for_open(0)
    assert weir.outcomes()["client_tls_failed"] == 1


@pytest.mark.parametrize("option", ["-tls1_2", "-tls1_3"])
def test_a_session_is_resumed(start_tls, certificates, directory, option):
    weir = start_tls(certificates.localhost())
    kept = f"{directory}/session"
    assert "New, TLSv1" in s_client(weir, option, "-sess_out", kept).stdout
    assert "Reused, TLSv1" in s_client(weir, option, "-sess_in", kept).stdout
    assert weir.metrics().sum("weir_tls_handshakes_total", result="ok", resumed="true") == 1


def test_without_tickets_nothing_is_resumed(start_tls, certificates, directory):
    weir = start_tls(certificates.localhost(), session_tickets={"enabled": False})
    kept = f"{directory}/session"
    s_client(weir, "-tls1_2", "-sess_out", kept)
    s_client(weir, "-tls1_2", "-sess_in", kept)
    assert weir.metrics().sum("weir_tls_handshakes_total", resumed="true") == 0


def test_a_ticket_works_on_every_worker(start_weir, start_endpoint, certificates):
    weir = start_weir(upstream(start_endpoint(named("a"))), listener(tls="public"),
                      tls(certificates.localhost()))
    context = certificates.client()
    with weir.connect(tls=context) as first:
        first.send(b"?\n")
        assert first.receive_line() == b"a\n"
        session = first.tls.session
    for _ in range(8):
        with weir.connect(tls=context, session=session) as again:
            again.send(b"?\n")
            assert again.receive_line() == b"a\n"
            assert again.tls.session_reused


def test_the_server_name_chooses_the_certificate(start_tls, certificates):
    weir = start_tls(*(certificates.issue(name) for name in
                       ("first.example", "a.example", "*.wild.example", "b.wild.example")))
    assert served(weir, "a.example") == "a.example"
    assert served(weir, "A.Example") == "a.example"
    assert served(weir, "x.wild.example") == "*.wild.example"
    assert served(weir, "b.wild.example") == "b.wild.example"  # exact wins
    assert served(weir, "unknown.example") == "first.example"
    assert served(weir, "wild.example") == "first.example"


def test_an_unknown_server_name_can_be_rejected(start_tls, certificates):
    weir = start_tls(certificates.issue("a.example"), unknown_server_name="reject")
    assert served(weir, "a.example") == "a.example"
    refused = s_client(weir, server_name="b.example")
    assert refused.returncode != 0
    assert "unrecognized name" in refused.stderr
    metrics = weir.metrics()
    assert metrics.sum("weir_tls_handshakes_total", result="unknown_server_name") == 1


def test_ec_and_rsa_stand_side_by_side(start_tls, certificates):
    weir = start_tls(certificates.localhost("ec"), certificates.localhost("rsa"))
    for algorithms, kind in (("ECDSA+SHA256", "ECDSA"), ("RSA-PSS+SHA256:RSA+SHA256", "RSA")):
        for version in ("-tls1_2", "-tls1_3"):
            text = s_client(weir, version, "-sigalgs", algorithms).stdout
            assert re.search(rf"Peer signature type: {kind}", text), (algorithms, version, text)


def test_alpn_is_negotiated(start_tls, certificates):
    weir = start_tls(certificates.localhost(), alpn=["h2", "http/1.1"])
    assert "ALPN protocol: http/1.1" in s_client(weir, "-alpn", "http/1.1").stdout
    assert "ALPN protocol: h2" in s_client(weir, "-alpn", "http/1.1,h2").stdout  # our order
    assert "No ALPN negotiated" in s_client(weir).stdout


def test_the_chain_verifies(start_tls, certificates):
    weir = start_tls(certificates.localhost())
    with weir.connect(tls=certificates.client()) as stream:
        assert stream.tls.getpeercert()["subject"] == ((("commonName", "localhost"),),)


def test_plain_http_on_a_tls_port_is_told_apart(start_tls, certificates):
    weir = start_tls(certificates.localhost())
    with weir.connect() as stream:
        stream.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stream.receive_all()
    weir.wait_for_outcomes(client_tls_failed=1)
    assert weir.metrics().sum("weir_tls_handshakes_total", result="not_tls") == 1
    assert "HTTP" in weir.access_log(1)[0]["detail"]


def test_a_handshake_has_a_deadline(start_tls, certificates):
    weir = start_tls(certificates.localhost(), handshake_timeout="300ms")
    with weir.connect() as stream:
        watch = Stopwatch()
        with pytest.raises(ConnectionResetError):
            stream.receive()
        assert 0.25 < watch.elapsed() < seconds(2)
    weir.wait_for_outcomes(client_timeout=1)
    assert weir.metrics().sum("weir_tls_handshakes_total", result="timeout") == 1


def test_a_handshake_in_single_bytes_succeeds(start_weir, start_endpoint, certificates):
    """A ClientHello that arrives in pieces is still one."""
    weir = start_weir(upstream(start_endpoint(echo)), listener(tls="public"),
                      tls(certificates.localhost()))
    stream = weir.connect()
    sendall = stream.socket.sendall

    class Dribble:
        def __getattr__(self, name):
            return getattr(stream.socket, name)

        def sendall(self, data):
            for i in range(len(data)):
                sendall(data[i:i + 1])

    with stream:
        secured = streams.TlsStream(Dribble(), certificates.client(), "localhost")
        secured.send(b"hello")
        assert secured.receive_exactly(5) == b"hello"


def test_a_truncated_tls_stream_is_not_a_clean_end(start_weir, start_endpoint, certificates):
    """A FIN without close_notify may be an attacker's: the server must not take it for the end of
    the data without a trace in the outcome."""
    weir = start_weir(upstream(start_endpoint(echo)), listener(tls="public"),
                      tls(certificates.localhost()))
    with weir.connect(tls=certificates.client()) as stream:
        stream.send(b"half a mess")
        assert stream.receive_exactly(11) == b"half a mess"
        stream.socket.shutdown(1)
        try:
            stream.receive_all()
        except (streams.Truncated, ConnectionResetError, ssl.SSLError):
            pass
    weir.wait_for_open(0)
    assert sum(weir.outcomes().values()) == 1


def test_the_certificates_end_is_in_the_metrics(start_tls, certificates):
    weir = start_tls(certificates.localhost())
    name = "weir_tls_certificate_not_after_timestamp_seconds"
    [sample] = weir.metrics().find(name, tls="public")
    enddate = run("openssl", "x509", "-in", certificates.localhost().cert, "-noout", "-enddate",
                  "-dateopt", "iso_8601").stdout
    year = int(re.match(r"notAfter=(\d+)-", enddate).group(1))
    assert (year - 1971) * 365.2 * 86400 < sample.value < (year - 1969) * 365.3 * 86400
