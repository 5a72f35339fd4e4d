"""What the pool promises: warm before clients, limits that hold over two workers, waiting in
order, and only living connections are lent."""

import queue
import threading
import time

import pytest

from support.configuration import upstream
from support.endpoints import named, silent
from support.patience import Stopwatch, holds_for, seconds, wait_until
from support.streams import TlsStream


def pool_gauge(weir, state):
    return weir.metrics().sum("weir_pool_connections", state=state)


def wait_for_idle(weir, count):
    wait_until(lambda: pool_gauge(weir, "idle") == count, f"{count} idle connections")


def hold(weir):
    """A client whose session has a connection of its own."""
    stream = weir.connect()
    stream.send(b"?\n")
    assert stream.receive_line() != b""
    return stream


def test_min_idle_is_there_before_any_client(start_weir, start_endpoint):
    first, second = (start_endpoint(named(name)) for name in ("first", "second"))
    weir = start_weir(upstream(first, second, pool={"min_idle": 3}))
    wait_until(lambda: (first.open, second.open) == (3, 3), "both endpoints are warm")
    wait_for_idle(weir, 6)
    with hold(weir):
        assert [each["source"] for each in weir.connections()] in (["idle"], ["other_worker"])
        wait_until(lambda: first.open + second.open == 7, "the lent connection is replaced")
    wait_for_idle(weir, 6)
    assert weir.metrics().sum("weir_pool_acquires_total", source="opened", result="ok") == 0


def test_each_client_gets_a_fresh_connection(start_weir, start_endpoint):
    """A used connection is never lent again."""
    seen = []

    def remember(stream):
        seen.append(stream.receive_all())

    weir = start_weir(upstream(start_endpoint(remember), pool={"min_idle": 2}))
    for i in range(20):
        weir.ask(b"client %d" % i)
    wait_until(lambda: len(seen) == 20, "all sessions reach the endpoint")
    assert sorted(seen) == sorted(b"client %d" % i for i in range(20))
    weir.wait_for_open(0)
    assert weir.metrics().sum("weir_pool_closed_total", reason="consumed") == 20


def test_max_connections_holds_over_two_workers(start_weir, start_endpoint):
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint, pool={"max_connections": 3}), workers=2)
    answers = ask_many(weir, 60)
    assert answers == ["a"] * 60
    assert endpoint.peak <= 3


def test_max_connections_holds_with_warming(start_weir, start_endpoint):
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint, pool={"max_connections": 4, "min_idle": 2}), workers=2)
    for _ in range(8):  # long enough for each worker to hand connections to the other
        assert ask_many(weir, 60) == ["a"] * 60
    assert endpoint.peak <= 4


def test_max_total_holds_over_the_endpoints(start_weir, start_endpoint):
    first, second = (start_endpoint(named("a")) for _ in range(2))
    weir = start_weir(upstream(first, second, pool={"max_total": 2}))
    with hold(weir), hold(weir), weir.connect() as third:
        wait_until(lambda: weir.metrics().sum("weir_pool_waiting") == 1, "the third waits")
        assert first.open + second.open == 2
        third.set_timeout(0.2)
        third.send(b"?\n")
        with pytest.raises(TimeoutError):
            third.receive()
    weir.wait_for_open(0)
    assert ask_many(weir, 30) == ["a"] * 30


def ask_many(weir, count):
    """The answers of `count` clients at once."""
    answers = queue.Queue()
    threads = [threading.Thread(target=lambda: answers.put(weir.ask())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers.get() for _ in range(answers.qsize())]


def test_acquire_timeout(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a")),
                               pool={"max_connections": 1, "acquire_timeout": "400ms"}))
    with hold(weir), weir.connect() as second:
        watch = Stopwatch()
        assert second.receive_all() == b""
        assert 0.35 < watch.elapsed() < seconds(1.5)
        weir.wait_for_outcomes(acquire_timeout=1)
    assert weir.metrics().sum("weir_pool_acquires_total", result="timeout") == 1


def test_without_acquire_timeout_nobody_waits(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a")),
                               pool={"max_connections": 1, "acquire_timeout": "0s"}))
    with hold(weir), weir.connect() as second:
        watch = Stopwatch()
        assert second.receive_all() == b""
        assert watch.elapsed() < seconds(0.5)
        weir.wait_for_outcomes(acquire_timeout=1)


def test_pool_full(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a")),
                               pool={"max_connections": 1, "max_waiting": 1}))
    with hold(weir) as first, weir.connect() as second:
        wait_until(lambda: weir.metrics().sum("weir_pool_waiting") == 1, "one client waits")
        with weir.connect() as third:
            watch = Stopwatch()
            assert third.receive_all() == b""
            assert watch.elapsed() < seconds(0.5)
        weir.wait_for_outcomes(pool_full=1)
        first.close()
        second.send(b"?\n")
        assert second.receive_line() == b"a\n"


def test_waiting_is_first_come_first_served(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a")), pool={"max_connections": 1}))
    leader, waiting = hold(weir), []
    for i in range(5):
        waiting.append(weir.connect())
        waiting[i].send(b"?\n")
        wait_until(lambda count=i + 1: weir.metrics().sum("weir_pool_waiting") == count,
                   f"{i + 1} clients wait")
    leader.close()
    for i, stream in enumerate(waiting):
        assert stream.receive_line() == b"a\n"
        assert weir.metrics().sum("weir_pool_waiting") == 4 - i
        stream.close()


def test_a_waiter_that_leaves_is_passed_over(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a")), pool={"max_connections": 1}))
    with hold(weir) as leader:
        leaver, stayer = weir.connect(), None
        wait_until(lambda: weir.metrics().sum("weir_pool_waiting") == 1, "the leaver waits")
        stayer = weir.connect()
        wait_until(lambda: weir.metrics().sum("weir_pool_waiting") == 2, "the stayer waits")
        leaver.abort()
        weir.wait_for_outcomes(client_reset=1)
        leader.close()
        with stayer:
            stayer.send(b"?\n")
            assert stayer.receive_line() == b"a\n"


def test_fresh_max_age_replaces_idle_connections(start_weir, start_endpoint):
    endpoint = start_endpoint(silent)
    weir = start_weir(upstream(endpoint, pool={"min_idle": 2, "fresh_max_age": "1s"}))
    wait_for_idle(weir, 2)
    wait_until(lambda: endpoint.accepted >= 6, "two generations are replaced", timeout=6)
    wait_for_idle(weir, 2)
    wait_until(lambda: endpoint.open <= 4, "the old ones are closed")
    wait_until(lambda: weir.metrics().sum("weir_pool_closed_total", reason="fresh_age") >= 4,
               "they are counted")


def test_idle_connections_that_the_server_closed_are_replaced(start_weir, start_endpoint):
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint, pool={"min_idle": 3}))
    for _ in range(3):
        wait_for_idle(weir, 3)
        wait_until(lambda: endpoint.open == 3, "the endpoint has accepted them")
        endpoint.close_connections()
        assert weir.ask() == "a"  # no dead one is lent
    wait_for_idle(weir, 3)
    assert weir.metrics().sum("weir_pool_closed_total", reason="peer_closed") == 9


def test_an_idle_connection_that_speaks_is_not_lent(start_weir, start_endpoint):
    spoken = threading.Event()

    def chatty(stream):
        if not spoken.is_set():
            spoken.set()
            stream.send(b"unasked for")
        named("a")(stream)

    weir = start_weir(upstream(start_endpoint(chatty), pool={"min_idle": 1}))
    wait_until(lambda: weir.metrics().sum("weir_pool_closed_total", reason="unexpected_bytes") == 1,
               "the one that spoke is closed")
    wait_for_idle(weir, 1)
    assert weir.ask() == "a"


def test_a_client_that_leaves_gives_its_connection_to_the_pool(start_weir, start_endpoint,
                                                               certificates):
    """It was being opened for the client; then it is idle, and closed after idle_timeout."""
    gate = threading.Event()

    def shake_hands_late(stream):
        gate.wait(20)
        TlsStream(stream.socket, certificates.localhost().server_context(),
                  server_side=True).receive_all()

    weir = start_weir(upstream(start_endpoint(shake_hands_late), pool={"idle_timeout": "500ms"},
                               tls={"server_name": "localhost", "ca": certificates.authority}))
    leaver = weir.connect()
    wait_until(lambda: pool_gauge(weir, "opening") == 1, "a connection is being opened")
    leaver.abort()
    weir.wait_for_outcomes(client_reset=1)
    gate.set()
    wait_for_idle(weir, 1)
    wait_until(lambda: weir.metrics().sum("weir_pool_closed_total", reason="idle_timeout") == 1,
               "the idle connection is closed")


def test_mode_off_opens_for_each_session(start_weir, start_endpoint):
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint, pool={"mode": "off"}))
    with hold(weir):
        assert [each["source"] for each in weir.connections()] == ["opened"]
        assert endpoint.accepted == 1
    assert weir.ask() == "a"
    weir.wait_for_open(0)
    assert endpoint.accepted == 2
    assert pool_gauge(weir, "idle") == 0


def test_opened_is_live_and_closed(start_weir, start_endpoint):
    """Invariant 6 of the pool, seen from outside."""
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint, pool={"min_idle": 2, "fresh_max_age": "1s"}))
    for _ in range(10):
        weir.ask()
        time.sleep(0.05)
    weir.wait_for_open(0)

    def balanced():
        before = endpoint.accepted
        metrics = weir.metrics()
        live = metrics.sum("weir_pool_connections")
        return (endpoint.accepted == before and
                before == live + metrics.sum("weir_pool_closed_total"))

    wait_until(balanced, "opened = live + closed")


def test_the_pool_does_not_grow_on_its_own(start_weir, start_endpoint):
    endpoint = start_endpoint(silent)
    start_weir(upstream(endpoint, pool={"min_idle": 2}))
    wait_until(lambda: endpoint.open == 2, "it is warm")
    holds_for(lambda: endpoint.open == 2 and endpoint.accepted == 2, "two connections", 0.5)
