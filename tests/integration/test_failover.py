"""Endpoints that die, come back, refuse, or accept nothing; tiers, weights and balancing."""

import collections
import socket
import threading
import time

import pytest

from support.address import ReservedPort
from support.configuration import listener, quick_checks, upstream
from support.endpoints import named, silent
from support.patience import Stopwatch, seconds, wait_until
from support.processes import connecting
from support.servers import Standalone


def healthy(weir, address):
    return weir.metrics().sum("weir_endpoint_healthy", endpoint=address) == 1


def wait_for_health(weir, address, expected, timeout=10):
    wait_until(lambda: healthy(weir, address) == expected,
               f"{address} is {'healthy' if expected else 'unhealthy'}", timeout)


@pytest.fixture
def dead():
    """An address where nobody listens."""
    with ReservedPort() as port:
        yield port.address


class Load:
    """Short sessions at a steady rate; remembers when each began and what it got."""

    def __init__(self, weir, rate):
        self.weir, self.interval = weir, 1 / rate
        self.results = []  # (began, answer or the error)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        sessions, due = [], time.monotonic()
        while not self._stop.is_set():
            thread = threading.Thread(target=self._one, daemon=True)
            thread.start()
            sessions.append(thread)
            due += self.interval
            time.sleep(max(0.0, due - time.monotonic()))
        for thread in sessions:
            thread.join()

    def _one(self):
        began = time.monotonic()
        try:
            answer = self.weir.ask()
        except OSError as error:
            answer = repr(error)
        self.results.append((began, answer))

    def stop(self):
        self._stop.set()
        self._thread.join()

    def answers_since(self, moment):
        return collections.Counter(answer for began, answer in self.results if began > moment)


def test_an_endpoint_killed_under_load(start_weir, start_server):
    """200 connections a second: nobody who comes after the death fails, sessions on the dead one
    end with server_reset, and it is back after healthy_after checks."""
    first, second = start_server(Standalone, "first"), start_server(Standalone, "second")
    weir = start_weir(upstream(first.address, second.address, health_check=quick_checks(),
                               pool={"min_idle": 2}))
    held = [hold_unread(weir) for _ in range(8)]
    on_first = sum(name == b"first\n" for _, name in held)
    assert 0 < on_first < 8
    load = Load(weir, rate=200)
    wait_until(lambda: len(load.results) > 100, "the load runs")

    first.process.kill()
    killed = time.monotonic()
    wait_until(lambda: weir.outcomes().get("server_reset", 0) >= on_first,
               "the sessions of the dead endpoint end")
    wait_for_health(weir, first.address, False)
    down = time.monotonic()
    wait_until(lambda: load.answers_since(down)["second"] > 50, "the other serves everybody")

    first.run()
    wait_for_health(weir, first.address, True)
    back = time.monotonic()
    wait_until(lambda: load.answers_since(back)["first"] > 20, "it is back in rotation")
    load.stop()

    assert set(load.answers_since(killed)) == {"first", "second"}
    failed = [answer for _, answer in load.results if answer not in ("first", "second")]
    assert len(failed) <= 4, failed  # those that were talking to it when it died
    reset = [entry for entry in weir.access_log(len(load.results))
             if entry["reason"] == "server_reset"]
    assert {entry["endpoint"] for entry in reset} == {first.address}
    for stream, _ in held:
        stream.close()


def hold_unread(weir):
    """A session whose endpoint leaves bytes unread: its death is a reset for sure."""
    stream = weir.connect()
    stream.send(b"hold\n")
    name = stream.receive_line()
    stream.send(b"never read" * 1000)
    return stream, name


def test_all_endpoints_down_ends_a_session_at_once(start_weir, dead):
    weir = start_weir(upstream(dead, health_check=quick_checks()))
    wait_for_health(weir, dead, False)
    with weir.connect() as stream:
        watch = Stopwatch()
        assert stream.receive_all() == b""
        assert watch.elapsed() < 1
    weir.wait_for_outcomes(no_healthy_endpoint=1)


def test_a_refusing_endpoint_without_checks_is_told_apart(start_weir, dead):
    weir = start_weir(upstream(dead))
    with weir.connect() as stream:
        watch = Stopwatch()
        assert stream.receive_all() == b""
        assert watch.elapsed() < 1
    weir.wait_for_outcomes(upstream_refused=1)
    entry = weir.access_log(1)[0]
    assert (entry["side"], entry["endpoint"]) == ("server", dead)
    failures = weir.metrics().sum("weir_pool_open_failures_total", endpoint=dead)
    assert failures >= 1


def test_a_refusing_endpoint_is_passed_over(start_weir, start_endpoint, dead):
    """Without health checks too: another endpoint is tried for the same client."""
    weir = start_weir(upstream(dead, start_endpoint(named("alive"))))
    assert [weir.ask() for _ in range(20)] == ["alive"] * 20


def test_a_server_that_leaves_before_the_first_byte_is_replaced(start_weir, start_endpoint):
    """It accepts and closes: as long as the client has said nothing, another one is asked."""
    leaving = start_endpoint(lambda stream: None)
    weir = start_weir(upstream(leaving, start_endpoint(named("alive")), pool={"mode": "off"}),
                      workers=1)
    for _ in range(6):
        with weir.connect() as stream:
            wait_until(lambda: [each for each in weir.connections() if each["endpoint"]],
                       "it has an endpoint")
            time.sleep(0.05)  # the client is silent for long enough to see the server leave
            stream.send(b"?\n")
            assert stream.receive_line() == b"alive\n"
    assert leaving.accepted >= 1


def test_a_server_that_leaves_and_has_no_replacement_is_the_cause(start_weir, start_endpoint, dead):
    weir = start_weir(upstream(start_endpoint(lambda stream: None), dead,
                               health_check=quick_checks(), pool={"mode": "off"}))
    wait_for_health(weir, dead, False)
    with weir.connect() as stream:
        assert stream.receive_all() == b""
    weir.wait_for_outcomes(server_closed=1)


def test_connect_timeout_and_max_opening_hold(start_weir, full_endpoint):
    """An endpoint whose accept queue is full answers nothing at all."""
    weir = start_weir(upstream(full_endpoint, connect_timeout="500ms",
                               pool={"max_opening": 2, "acquire_timeout": "3s"}))
    port = int(full_endpoint.rpartition(":")[2])
    watch, most = Stopwatch(), 0
    clients = [weir.connect() for _ in range(12)]
    took = queue_of_ends(clients)
    while len(took) < len(clients):
        # The kernel's list is not one moment: what has gone may stand beside what has come.
        most = max(most, min(connecting(port), connecting(port)))
        assert weir.metrics().sum("weir_pool_connections", state="opening") <= 2
        assert watch.elapsed() < seconds(20)
    assert 1 <= most <= 2
    assert min(took) >= 0.45
    assert max(took) < seconds(5)
    weir.wait_for_open(0)
    outcomes = weir.outcomes()
    assert set(outcomes) <= {"upstream_timeout", "acquire_timeout"}, outcomes
    assert outcomes["upstream_timeout"] >= 1


def queue_of_ends(clients):
    """How long after now each client saw its end; grows as they end."""
    took, watch = [], Stopwatch()

    def wait(stream):
        with stream:
            stream.receive_all()
        took.append(watch.elapsed())

    for client in clients:
        threading.Thread(target=wait, args=(client,), daemon=True).start()
    return took


@pytest.fixture
def full_endpoint():
    """Listens, never accepts, and its queue is full: a connect gets no answer."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        fill = []
        while True:
            sock = socket.socket()
            sock.settimeout(0.2)
            fill.append(sock)
            try:
                sock.connect(listening.getsockname())
            except TimeoutError:
                break
        # The last of them would go on knocking, and be counted as Weir's.
        fill.pop().close()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        for sock in fill:
            sock.close()


def test_tiers(start_weir, start_server, start_endpoint):
    """Tier 1 serves only while tier 0 has nobody healthy."""
    first, second = start_server(Standalone, "first"), start_endpoint(named("second"))
    weir = start_weir(upstream(first.address, {"address": second.address, "tier": 1},
                               health_check=quick_checks()))
    assert [weir.ask() for _ in range(5)] == ["first"] * 5
    first.process.kill()
    wait_for_health(weir, first.address, False)
    assert [weir.ask() for _ in range(5)] == ["second"] * 5
    first.run()
    wait_for_health(weir, first.address, True)
    assert [weir.ask() for _ in range(5)] == ["first"] * 5


def test_weights(start_weir, start_endpoint):
    three, one, none = (start_endpoint(named(name)) for name in ("three", "one", "none"))
    weir = start_weir(upstream({"address": three.address, "weight": 3}, one,
                               {"address": none.address, "weight": 0}), workers=1)
    answers = [weir.ask() for _ in range(40)]
    assert collections.Counter(answers) == {"three": 30, "one": 10}
    assert "one" in answers[:4]  # interleaved, not in bursts


def test_round_robin_over_two_workers(start_weir, start_endpoint):
    names = ["a", "b", "c", "d"]
    weir = start_weir(upstream(*(start_endpoint(named(name)) for name in names)), workers=2)
    answers = collections.Counter(weir.ask() for _ in range(80))
    assert answers == {name: 20 for name in names}


def test_least_connections(start_weir, start_endpoint):
    first, second = start_endpoint(named("first")), start_endpoint(named("second"))
    weir = start_weir(upstream(first, second, balance="least_connections"))
    held = []
    for _ in range(6):
        held.append(weir.connect())
        held[-1].send(b"?\n")
        assert held[-1].receive_line()
    assert (first.open, second.open) == (3, 3)
    for stream in held:
        stream.close()


def test_an_unhealthy_endpoint_loses_its_idle_connections(start_weir, start_server,
                                                          start_endpoint):
    checked = start_server(Standalone, "checked")
    endpoint = start_endpoint(silent)
    weir = start_weir(upstream(endpoint, health_check=quick_checks(port=checked.port),
                               pool={"min_idle": 2}))
    wait_until(lambda: endpoint.open == 2, "it is warm")
    checked.process.kill()
    wait_for_health(weir, endpoint.address, False)
    wait_until(lambda: endpoint.open == 0, "its idle connections are closed")
    assert weir.metrics().sum("weir_pool_closed_total", reason="unhealthy") == 2
    checked.run()
    wait_for_health(weir, endpoint.address, True)
    wait_until(lambda: endpoint.open == 2, "it is warm again")


def test_a_warm_pool_recovers_from_an_outage(start_weir, start_server):
    server = start_server(Standalone, "first")
    weir = start_weir(upstream(server.address, health_check=quick_checks(),
                               pool={"min_idle": 3, "max_opening": 1}))

    def idle():
        return weir.metrics().sum("weir_pool_connections", state="idle")

    wait_until(lambda: idle() == 3, "it is warm")
    server.process.kill()
    wait_until(lambda: idle() == 0, "the dead ones are gone")
    server.run()
    wait_until(lambda: idle() == 3, "it is warm again", timeout=10)


def test_checks_are_counted(start_weir, start_endpoint, dead):
    alive = start_endpoint(named("alive"))
    weir = start_weir(upstream(alive, dead, health_check=quick_checks()))
    wait_for_health(weir, dead, False)
    metrics = weir.metrics()
    name = "weir_health_checks_total"
    results = {sample.labels["result"] for sample in metrics.find(name)}
    assert len(results) == 2
    assert metrics.sum(name, endpoint=dead) >= 2
    assert metrics.sum("weir_health_check_seconds_count") >= 3


def test_a_listener_without_upstream_health_stays_ready(start_weir, dead):
    """/readyz speaks of Weir, not of what stands behind it."""
    weir = start_weir(upstream(dead, health_check=quick_checks()), listener())
    wait_for_health(weir, dead, False)
    assert weir.admin.get("/readyz").status == 200
