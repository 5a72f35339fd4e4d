"""`weir explain` says what a connection would get; then one is made, and gets just that."""

import re
import ssl

import pytest

from support.configuration import listener, tls, upstream
from support.endpoints import named
from support.weir import command


@pytest.fixture
def weir(start_weir, start_endpoint, certificates):
    upstreams = {name: upstream(start_endpoint(named(name))) for name in ("exact", "wild", "other")}
    web = listener("other", tls="public", routes=[
        {"name": "far", "match": {"client": ["10.0.0.0/8"]}, "upstream": "wild"},
        {"match": {"server_name": ["a.example"], "alpn": ["mqtt"]}, "upstream": "exact"},
        {"match": {"server_name": ["*.example"]}, "upstream": "wild"}])
    return start_weir(upstreams, web, tls(certificates.issue("first.test"),
                                          certificates.issue("*.example"),
                                          certificates.issue("a.example", kind="rsa"),
                                          alpn=["h2", "mqtt"]))


def explain(weir, *options, listener="web"):
    return command("explain", "-c", weir.config_path, "--listener", listener, *options)


def first_certificate(path):
    with open(path, encoding="ascii") as file:
        return re.search("-----BEGIN.*?-----END CERTIFICATE-----\n", file.read(), re.DOTALL).group()


@pytest.mark.parametrize("name, protocol, expected", [
    ("a.example", "mqtt", "exact"), ("a.example", "h2", "wild"), ("a.example", None, "wild"),
    ("B.EXAMPLE", "mqtt", "wild"), ("c.test", "mqtt", "other"), ("x.a.example", None, "wild")])
def test_a_connection_gets_what_was_said(weir, certificates, name, protocol, expected):
    told = explain(weir, "--server-name", name, "--client", "127.0.0.1",
                   *(["--alpn", protocol] if protocol else []))
    assert told.returncode == 0, told.stderr
    assert re.search(rf"^upstream: {expected}\b", told.stdout, re.MULTILINE), told.stdout
    context = certificates.client(check_hostname=False)
    if protocol:
        context.set_alpn_protocols([protocol])
    with weir.connect(tls=context, server_name=name) as stream:
        stream.send(b"?\n")
        assert stream.receive_line() == f"{expected}\n".encode()
        shown = ssl.DER_cert_to_PEM_cert(stream.tls.getpeercert(True))
    file = re.search(r"^certificate: (\S+)", told.stdout, re.MULTILINE).group(1)
    assert shown == first_certificate(file)


def test_a_client_elsewhere(weir):
    told = explain(weir, "--client", "10.1.2.3")
    assert "route 1 (far): matches\nupstream: wild" in told.stdout
    assert told.returncode == 0


def test_no_route(start_weir, start_endpoint):
    web = listener(routes=[{"match": {"client": ["10.0.0.0/8"]}, "upstream": "api"}])
    del web["upstream"]
    weir = start_weir({"api": upstream(start_endpoint(named("api")))}, web)
    told = explain(weir, "--client", "127.0.0.1")
    assert told.returncode == 1
    assert "route 1: no, the client address 127.0.0.1 is not 10.0.0.0/8" in told.stdout
    assert "no_route" in told.stdout
    assert weir.ask() == ""
    weir.wait_for_outcomes(no_route=1)


def test_a_wrong_question(weir, directory):
    told = explain(weir, listener="wob")
    assert (told.returncode, told.stdout) == (2, "")
    assert "did you mean `web`?" in told.stderr
    assert explain(weir, "--client", "nowhere").returncode == 2
    assert command("explain", "-c", weir.config_path).returncode == 2
    assert command("explain", "-c", f"{directory}/none.yaml", "--listener", "web").returncode == 2
