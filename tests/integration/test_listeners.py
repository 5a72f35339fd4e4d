"""Where Weir listens and where it connects to: IPv4, IPv6, unix sockets, several at once."""

import contextlib
import os
import socket

import pytest

from support.configuration import listener, tls, upstream
from support.endpoints import named
from support.streams import connect


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def ask(address):
    with connect(address) as stream:
        stream.send(b"?\n")
        return stream.receive_line()


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on loopback")


@needs_ipv6
def test_ipv6_listener_and_endpoint(start_weir, start_endpoint):
    endpoint = start_endpoint(named("six"), bind="[::1]:0")
    weir = start_weir(upstream(endpoint), listener(bind="[::1]:0"))
    assert weir.address().startswith("[::1]:")
    assert weir.ask() == "six"
    entry = weir.access_log(1)[0]
    assert entry["client"].startswith("[::1]:")
    assert entry["endpoint"] == endpoint.address


@needs_ipv6
def test_a_route_by_ipv6_network(start_weir, start_endpoint):
    upstreams = {name: upstream(start_endpoint(named(name))) for name in ("local", "other")}
    weir = start_weir(upstreams, listener(
        "other", bind=["[::1]:0", "127.0.0.1:0"],
        routes=[{"match": {"client": ["::1/128"]}, "upstream": "local"}]))
    assert [ask(weir.address(index=index)) for index in range(2)] == [b"local\n", b"other\n"]


def test_unix_listener_and_endpoint(start_weir, start_endpoint, directory):
    endpoint = start_endpoint(named("file"), bind=f"unix:{directory}/app.sock")
    weir = start_weir(upstream(endpoint, pool={"min_idle": 1}),
                      listener(bind=f"unix:{directory}/web.sock"))
    assert weir.address() == f"unix:{directory}/web.sock"
    assert [weir.ask() for _ in range(10)] == ["file"] * 10
    assert weir.access_log(1)[0]["endpoint"] == endpoint.address


def test_a_unix_socket_is_removed_at_the_end(start_weir, start_endpoint, directory):
    path = f"{directory}/web.sock"
    weir = start_weir(upstream(start_endpoint(named("a"))), listener(bind=f"unix:{path}"))
    assert weir.ask() == "a"
    assert weir.process.stop() == 0
    assert not os.path.exists(path)


def test_a_unix_socket_left_behind_is_taken_over(start_weir, start_endpoint, directory):
    path = f"{directory}/web.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    weir = start_weir(upstream(start_endpoint(named("a"))), listener(bind=f"unix:{path}"))
    assert weir.ask() == "a"


def test_tls_over_a_unix_socket(start_weir, start_endpoint, certificates, directory):
    weir = start_weir(upstream(start_endpoint(named("a"))),
                      listener(bind=f"unix:{directory}/web.sock", tls="public"),
                      tls(certificates.localhost()))
    assert weir.ask(tls=certificates.client()) == "a"


def test_several_binds_and_listeners(start_weir, start_endpoint, directory):
    weir = start_weir(upstream(start_endpoint(named("a"))), {
        "web": listener(bind=["127.0.0.1:0", "127.0.0.2:0", f"unix:{directory}/web.sock"]),
        "more": listener()})
    found = [weir.address("web", index) for index in range(3)] + [weir.address("more")]
    assert len(set(found)) == 4
    for address in found:
        assert ask(address) == b"a\n"
    weir.wait_for_open(0)
    metrics = weir.metrics()
    assert metrics.sum("weir_connections_accepted_total", listener="web") == 3
    assert metrics.sum("weir_connections_accepted_total", listener="more") == 1


def test_both_workers_serve(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))), workers=2)
    assert weir.metrics().sum("weir_workers") == 2
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(weir.connect())
        weir.wait_for_open(40)
        assert {each["worker"] for each in weir.connections()} == {0, 1}


def test_workers_auto_obeys_the_affinity(start_weir, start_endpoint):
    cpu = min(os.sched_getaffinity(0))
    weir = start_weir(upstream(start_endpoint(named("a"))), workers="auto",
                      prefix=["taskset", "-c", str(cpu)])
    assert weir.metrics().sum("weir_workers") == 1
    assert weir.ask() == "a"
