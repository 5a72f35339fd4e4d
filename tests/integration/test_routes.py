"""Which upstream a connection goes to: by server name, ALPN and client network; first match wins.
"""

import contextlib
import ssl

import pytest

from support.configuration import listener, tls, upstream
from support.endpoints import named
from support.streams import Truncated


@pytest.fixture
def upstreams(start_endpoint):
    return {name: upstream(start_endpoint(named(name))) for name in ("exact", "wild", "other")}


def route(to, **match):
    return {"match": match, "upstream": to}


def ask(weir, certificates, server_name, alpn=()):
    context = certificates.client(check_hostname=False)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return weir.ask(tls=context, server_name=server_name)


def test_by_server_name(start_weir, upstreams, certificates):
    weir = start_weir(upstreams, listener(
        "other", tls="public",
        routes=[route("exact", server_name=["a.example"]),
                route("wild", server_name=["*.example", "b.other"])]),
        tls(certificates.localhost()))
    assert ask(weir, certificates, "a.example") == "exact"
    assert ask(weir, certificates, "A.EXAMPLE") == "exact"
    assert ask(weir, certificates, "b.example") == "wild"
    assert ask(weir, certificates, "x.y.example") == "wild"
    assert ask(weir, certificates, "b.other") == "wild"
    assert ask(weir, certificates, "example") == "other"
    assert ask(weir, certificates, None) == "other"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_goes_where_its_name_says(start_weir, upstreams, certificates, version):
    weir = start_weir(upstreams, listener(
        "other", tls="public", routes=[route("exact", server_name=["a.example"])]),
        tls(certificates.localhost()))
    context = certificates.client(check_hostname=False, maximum_version=version)
    session = None
    for resumed in (False, True):
        with weir.connect(tls=context, server_name="a.example", session=session) as stream:
            stream.send(b"?\n")
            assert stream.receive_line() == b"exact\n"
            assert stream.tls.session_reused == resumed
            session = stream.tls.session
    weir.wait_for_open(0)
    assert [entry["server_name"] for entry in weir.access_log(2)] == ["a.example"] * 2


def test_the_first_match_wins(start_weir, upstreams, certificates):
    weir = start_weir(upstreams, listener(
        "other", tls="public",
        routes=[route("wild", server_name=["*.example"]),
                route("exact", server_name=["a.example"], alpn=["h2"])]),
        tls(certificates.localhost(), alpn=["h2"]))
    assert ask(weir, certificates, "a.example", ["h2"]) == "wild"


def test_by_alpn(start_weir, upstreams, certificates):
    weir = start_weir(upstreams, listener(
        "other", tls="public", routes=[route("exact", alpn=["mqtt", "redis"])]),
        tls(certificates.localhost(), alpn=["mqtt", "h2"]))
    assert ask(weir, certificates, "localhost", ["mqtt"]) == "exact"
    assert ask(weir, certificates, "localhost", ["h2"]) == "other"
    assert ask(weir, certificates, "localhost") == "other"


@pytest.mark.parametrize("network, expected", [
    ("127.0.0.0/8", "exact"), ("127.0.0.1/32", "exact"), ("10.0.0.0/8", "other"),
    ("::/0", "other"), ("0.0.0.0/0", "exact")])
def test_by_client_network(start_weir, upstreams, network, expected):
    weir = start_weir(upstreams, listener(
        "other", routes=[route("exact", client=[network]), route("wild", client=["10.9.0.0/16"])]))
    assert weir.ask() == expected


def test_all_conditions_have_to_hold(start_weir, upstreams, certificates):
    weir = start_weir(upstreams, listener(
        "other", tls="public",
        routes=[route("exact", server_name=["a.example"], client=["127.0.0.0/8"]),
                route("wild", server_name=["b.example"], client=["10.0.0.0/8"])]),
        tls(certificates.localhost()))
    assert ask(weir, certificates, "a.example") == "exact"
    assert ask(weir, certificates, "b.example") == "other"


def test_no_route_and_no_default(start_weir, upstreams, certificates):
    web = listener(tls="public", routes=[
        route("exact", server_name=["a.example"]), route("wild", server_name=["b.example"]),
        route("other", server_name=["c.example"])])
    del web["upstream"]
    weir = start_weir(upstreams, web, tls(certificates.localhost()))
    with weir.connect(tls=certificates.client()) as stream, contextlib.suppress(Truncated):
        assert stream.receive_all() == b""
    weir.wait_for_outcomes(no_route=1)
    assert ask(weir, certificates, "c.example") == "other"


def test_the_routes_name_stands_in_the_log(start_weir, upstreams):
    weir = start_weir(upstreams, listener("other", routes=[
        {"name": "local", **route("exact", client=["127.0.0.1/32"])},
        route("wild", client=["10.9.0.0/16"])]))
    weir.ask()
    entry = weir.access_log(1)[0]
    assert (entry["route"], entry["upstream"]) == ("local", "exact")
