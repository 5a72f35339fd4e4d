"""Limits on clients and handshakes, and life with few descriptors or very many connections."""

import contextlib
import resource
import time

import pytest

from support.configuration import listener, tls, upstream
from support.endpoints import echo
from support.patience import PATIENCE, Stopwatch, seconds, wait_until
from support.processes import cpu_seconds
from support.servers import Nginx


def served(stream):
    """Does a session run behind this connection?"""
    try:
        stream.send(b"x")
        return stream.receive(1) == b"x"
    except OSError:
        return False


def refused(weir, reason, **labels):
    return weir.metrics().sum("weir_connections_refused_total", reason=reason, **labels)


def test_the_processs_limit_of_connections(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(echo)), {"web": listener(), "more": listener()},
                      limits={"connections": 3})
    with weir.connect("web") as first, weir.connect("more") as second, weir.connect("web") as third:
        assert all(served(stream) for stream in (first, second, third))
        for name in ("web", "more"):
            with weir.connect(name) as fourth:
                assert not served(fourth)
        assert refused(weir, "connection_limit") == 2
        first.close()
        weir.wait_for_open(2)
        with weir.connect("more") as again:
            assert served(again)


def test_a_listeners_limit_of_connections(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(echo)),
                      {"web": listener(limits={"connections": 2}), "more": listener()})
    with weir.connect("web") as first, weir.connect("web") as second:
        assert served(first) and served(second)
        for _ in range(5):
            with weir.connect("web") as third:
                assert not served(third)
        assert refused(weir, "connection_limit", listener="web") == 5
        with weir.connect("more") as other:
            assert served(other)


def test_a_limit_is_strict_over_two_workers(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(echo)), listener(limits={"connections": 7}))
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(weir.connect()) for _ in range(60)]
        assert sum(served(stream) for stream in streams) == 7
    assert refused(weir, "connection_limit") == 53


def test_a_limit_of_handshakes_makes_clients_wait(start_weir, start_endpoint, certificates):
    """Two that never shake hands fill the limit; the third waits in the queue until their time is
    over, and is served then."""
    weir = start_weir(upstream(start_endpoint(echo)), listener(tls="public"),
                      tls(certificates.localhost(), handshake_timeout="700ms"),
                      limits={"handshakes": 2})
    with weir.connect(), weir.connect():
        wait_until(lambda: weir.metrics().sum("weir_connections_open") == 2, "two shake hands")
        watch = Stopwatch()
        with weir.connect(tls=certificates.client()) as third:
            assert served(third)
            assert 0.4 < watch.elapsed() < seconds(3)
        weir.wait_for_outcomes(client_timeout=2, client_closed=1)


@pytest.mark.figures  # UBSan asks a pipe whether memory is there: without descriptors it is wrong
def test_few_descriptors_in_mid_load(start_weir, start_endpoint):
    """256 descriptors, more clients than that: no spin, no crash, running sessions go on, and all
    is well again once connections end."""
    weir = start_weir(upstream(start_endpoint(echo)))
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(weir.connect()) for _ in range(40)]
        assert all(served(stream) for stream in running)
        _, hard = resource.prlimit(weir.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(weir.pid, resource.RLIMIT_NOFILE, (256, hard))
        for _ in range(300):
            stack.enter_context(weir.connect())
        wait_until(lambda: all(served(stream) for stream in running), "running sessions go on")
        assert busy_share(weir, window=1.5) < 0.25
    wait_until(lambda: weir.metrics().sum("weir_connections_open") == 0, "all have ended", 15)
    resource.prlimit(weir.pid, resource.RLIMIT_NOFILE, (hard, hard))
    for _ in range(20):
        with weir.connect() as stream:
            assert served(stream)


def busy_share(weir, window):
    """The share of one CPU that Weir used in the next `window` seconds."""
    before = cpu_seconds(weir.pid)
    time.sleep(window)
    return (cpu_seconds(weir.pid) - before) / window


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_an_idle_weir_uses_no_cpu(start_weir, start_endpoint, certificates, kind):
    """Neither idle sessions nor warm connections nor timers keep it busy."""
    options = {"tls": certificates.client()} if kind == "tls" else {}
    weir = start_weir(upstream(start_endpoint(echo), pool={"min_idle": 8}),
                      listener(tls="public" if kind == "tls" else "off"),
                      tls(certificates.localhost()) if kind == "tls" else None)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            assert served(stack.enter_context(weir.connect(**options)))
        assert busy_share(weir, window=1.0) < 0.05 * PATIENCE


@pytest.mark.slow
@pytest.mark.figures
def test_9000_idle_tls_connections(start_weir, start_server, certificates):
    """A new one is still served in milliseconds. (A process here may have 20,000 descriptors.)"""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(9000, (hard - 1000) // 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    nginx = start_server(Nginx, connections=count + 500)
    weir = start_weir(upstream(nginx.address), listener(tls="public", timeouts={"idle": "10m"}),
                      tls(certificates.localhost()))
    context = certificates.client()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(weir.connect(tls=context))
        weir.wait_for_open(count, timeout=10)
        took = sorted(time_of_a_request(weir, context) for _ in range(50))
        print(f"{count} idle connections; a new one takes {took[25] * 1000:.1f} ms (median)")
        assert took[25] < 0.02
        assert busy_share(weir, window=1.0) < 0.05


def time_of_a_request(weir, context):
    watch = Stopwatch()
    with weir.connect(tls=context) as stream:
        stream.send(b"GET /name HTTP/1.0\r\n\r\n")
        assert b"200 OK" in stream.receive_all()
    return watch.elapsed()
