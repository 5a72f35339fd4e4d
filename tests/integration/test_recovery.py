"""Endpoints that come back: warmed before they are loaded, loaded slowly if told so; and endpoints
that come and go are passed over for longer and longer."""

import threading
import time

import pytest

from support.address import ReservedPort
from support.configuration import quick_checks, upstream
from support.endpoints import named, silent
from support.load import Load
from support.metered import Metered
from support.patience import holds_for, seconds, wait_until
from support.relay import Relay


def gauge(weir, name, address):
    return weir.metrics().sum(name, endpoint=address)


def wait_for_health(weir, address, value, timeout=10):
    wait_until(lambda: gauge(weir, "weir_endpoint_healthy", address) == value,
               f"health of {address} is {value}", timeout)


class Entry:
    """Counts what came to an endpoint before its first session did."""

    def __init__(self, name):
        self.name, self.accepted, self.before_first = name, 0, None
        self._lock = threading.Lock()

    def __call__(self, stream):
        with self._lock:
            self.accepted += 1
        while stream.receive_line():
            with self._lock:
                if self.before_first is None:
                    self.before_first = self.accepted
            stream.send(self.name.encode() + b"\n")

    def forget(self):
        with self._lock:
            self.accepted, self.before_first = 0, None


MIN_IDLE = 6


def test_a_recovered_endpoint_is_warm_before_it_is_loaded(start_weir, start_endpoint, start_server,
                                                          directory, certificates):
    """It is 40 ms away and speaks TLS, two handshakes at a time: warming takes a while, during
    which the other one serves everybody."""
    context = certificates.localhost().server_context()
    entry = Entry("back")
    back = start_endpoint(entry, tls=context)
    other = start_endpoint(named("other"), tls=context)
    far = start_server(Relay, back.address, 0.04)
    weir = start_weir(upstream(
        far, other, tls={"server_name": "localhost", "ca": certificates.authority},
        health_check=quick_checks(),
        pool={"min_idle": MIN_IDLE, "anticipate": 0, "max_opening": 2}))
    wait_until(lambda: entry.accepted >= MIN_IDLE, "it is warm")
    load = Load(directory, weir.address(), rate=60)
    try:
        load.wait_for_answers(60)
        far.kill()
        wait_for_health(weir, far.address, 0)
        wait_until(lambda: back.open == 0, "its connections are gone")
        entry.forget()
        load.wait_for_answers(30)
        far.restart()
        wait_for_health(weir, far.address, 1)
        wait_until(lambda: entry.before_first is not None, "it is loaded again", timeout=10)
        load.wait_for_answers(60)
        sessions = load.stop()
    finally:
        load.kill()
    # What the pool keeps ready had shaken hands before the first of them was taken. (The last of
    # them may have arrived together with the first session.)
    assert entry.before_first >= MIN_IDLE - 1
    back_again = [each for each in sessions[-40:] if each.answer == "back"]
    assert len(back_again) >= 10
    failed = [each for each in sessions if each.error]
    assert len(failed) <= 10, failed  # those that were talking to it when it died


def test_warming_goes_on_without_any_client(start_weir, start_server):
    """After an outage as at the start, and never more at once than max_opening."""
    endpoint = start_server(Metered)
    weir = start_weir(upstream(endpoint, health_check=quick_checks(),
                               pool={"min_idle": 5, "max_opening": 2, "anticipate": 0}))

    def idle():
        return weir.metrics().sum("weir_pool_connections", state="idle")

    for _ in range(2):
        wait_until(lambda: idle() == 5, "it is warm", timeout=10)
        endpoint.kill()
        wait_for_health(weir, endpoint.address, 0)
        assert idle() == 0
        endpoint.restart()
    wait_until(lambda: idle() == 5, "it is warm", timeout=10)
    assert endpoint.lines == 0


@pytest.mark.slow
def test_the_share_grows_with_slow_start(start_weir, start_server, directory):
    """A tenth of its weight at first, the whole of it after ten seconds; counted at the
    endpoints."""
    back, other = start_server(Metered, "back"), start_server(Metered, "other")
    weir = start_weir(upstream(back, other, health_check=quick_checks(), slow_start="10s",
                               pool={"min_idle": 2}))
    load = Load(directory, weir.address(), rate=100)
    try:
        wait_until(lambda: back.lines > 20, "both are in use", timeout=20)
        back.kill()
        wait_for_health(weir, back.address, 0)
        back.restart()
        wait_for_health(weir, back.address, 1)
        began = time.monotonic()
        shares = [share_until(began + end, back, other) for end in (2, 4, 6, 8, 10, 13)]
        load.stop()
    finally:
        load.kill()
    # At t its weight is t/10 of the other's: t / (10 + t) of the sessions.
    assert shares[0] <= 0.2, shares
    assert 0.2 <= shares[2] <= 0.45, shares  # a third, at five seconds
    assert shares[0] < shares[1] < shares[3] < shares[5] + 0.05, shares
    assert 0.45 <= shares[5] <= 0.55, shares


def share_until(moment, first, second):
    """The first one's share of the lines from now on."""
    before = first.lines, second.lines
    wait_until(lambda: time.monotonic() >= moment, "time passes", timeout=20, every=0.02)
    new = first.lines - before[0], second.lines - before[1]
    assert sum(new) > 100, new
    return new[0] / sum(new)


def test_without_slow_start_it_has_its_share_at_once(start_weir, start_server, directory):
    back, other = start_server(Metered, "back"), start_server(Metered, "other")
    weir = start_weir(upstream(back, other, health_check=quick_checks(), pool={"min_idle": 2}))
    load = Load(directory, weir.address(), rate=100)
    try:
        load.wait_for_answers(20)
        back.kill()
        wait_for_health(weir, back.address, 0)
        back.restart()
        wait_until(lambda: back.lines > 0 and back.first_line_after > 0, "it is in use again")
        assert 0.4 <= share_until(time.monotonic() + 1.5, back, other) <= 0.6
        load.stop()
    finally:
        load.kill()


class Ejections(threading.Thread):
    """How long an endpoint was ejected each time, by looking all the time."""

    def __init__(self, weir, address):
        super().__init__(daemon=True)
        self.weir, self.address = weir, address
        self.spans = []  # (from, to)
        self.failures = []  # the endpoint's failures to open, at both ends of each span
        self._stop_asked = threading.Event()
        self.start()

    def _look(self):
        metrics = self.weir.metrics()
        return (metrics.sum("weir_endpoint_ejected", endpoint=self.address) == 1,
                metrics.sum("weir_pool_open_failures_total", endpoint=self.address))

    def run(self):
        began = None
        while not self._stop_asked.wait(0.005):
            ejected, failures = self._look()
            if ejected and began is None:
                began = time.monotonic(), failures
            elif not ejected and began is not None:
                self.spans.append((began[0], time.monotonic()))
                self.failures.append((began[1], failures))
                began = None

    def stop(self):
        self._stop_asked.set()
        self.join()

    def durations(self):
        return [to - since for since, to in self.spans]


FIRST = 0.4
EJECTION = {"failures": 3, "duration": "400ms"}
# So short that failures to open follow each other: between two of them an endpoint is in backoff.
BACKOFF = {"backoff": "5ms..20ms"}


@pytest.mark.slow
def test_a_flapping_endpoint_is_ejected_for_growing_times(start_weir, start_endpoint, directory):
    """It dies again each time its ejection has ended. Sessions all go well: they are tried
    elsewhere. And when it stays alive at last, it has its share."""
    with ReservedPort() as port:
        other = start_endpoint(named("other"))
        weir = start_weir(upstream(port.address, other, ejection=EJECTION, pool=BACKOFF))
        load = Load(directory, weir.address(), rate=100)
        watch = Ejections(weir, port.address)
        try:
            wait_until(lambda: len(watch.spans) >= 2, "two ejections", timeout=20)
            flapping = start_endpoint(named("flapping"), bind=port.address)
            wait_until(lambda: flapping.accepted > 5, "it is used in between", timeout=20)
            flapping.close()
            wait_until(lambda: len(watch.spans) >= 5, "five ejections", timeout=60)
            alive = start_endpoint(named("flapping"), bind=port.address)
            wait_until(lambda: alive.accepted >= 20, "it has its share", timeout=20)
            sessions = load.stop()
        finally:
            load.kill()
            watch.stop()
    durations = watch.durations()
    for duration, times in zip(durations, (1, 2, 4, 8, 10)):
        assert abs(duration - times * FIRST) <= 0.1 * times * FIRST + seconds(0.1), durations
    # One that is ejected is left alone: what was on its way may still fail.
    assert all(after - before <= 2 for before, after in watch.failures), watch.failures
    assert {each.error for each in sessions} <= {"", "closed", "ConnectionResetError"}
    lost = sum(bool(each.error) for each in sessions)
    assert lost <= 5, lost  # those that it had when it died in between


def answer_of(weir):
    """Empty when there is none, whichever way the session ends."""
    try:
        return weir.ask()
    except TimeoutError:
        raise
    except OSError:  # reset, or gone before the client had finished
        return ""


def test_a_sole_endpoint_is_never_ejected(start_weir, start_endpoint):
    with ReservedPort() as port:
        weir = start_weir(upstream(port.address, ejection=EJECTION, pool=BACKOFF))
        for _ in range(12):
            assert answer_of(weir) == ""
            assert gauge(weir, "weir_endpoint_ejected", port.address) == 0
        start_endpoint(named("alive"), bind=port.address)
        wait_until(lambda: answer_of(weir) == "alive", "it serves once it is there", timeout=2)
    assert set(weir.outcomes()) <= {"upstream_refused", "client_closed"}


@pytest.mark.parametrize("percent, most", [(50, 2), (25, 1), (0, 0)])
def test_no_more_are_ejected_than_allowed(start_weir, start_endpoint, percent, most):
    """Three of four are dead, and each client is served."""
    with ReservedPort() as a, ReservedPort() as b, ReservedPort() as c:
        alive = start_endpoint(named("alive"))
        weir = start_weir(upstream(a.address, b.address, c.address, alive, attempts=4,
                                   ejection={"failures": 2, "duration": "20s",
                                             "max_percent": percent}, pool=BACKOFF))

        def ejected():
            return weir.metrics().sum("weir_endpoint_ejected")

        for _ in range(40):
            assert weir.ask() == "alive"
            assert ejected() <= most
        wait_until(lambda: weir.ask() == "alive" and ejected() == most, f"{most} are ejected")
        shown = [each["ejected"] for each in weir.admin.status()["upstreams"][0]["endpoints"]]
        assert sum(shown) == most and shown[3] is False


def test_ejection_can_be_switched_off(start_weir, start_endpoint):
    with ReservedPort() as dead:
        weir = start_weir(upstream(dead.address, start_endpoint(named("alive")), pool=BACKOFF,
                                   ejection={"failures": 0}))
        assert [weir.ask() for _ in range(30)] == ["alive"] * 30
        assert weir.metrics().sum("weir_endpoint_ejected") == 0
        failures = weir.metrics().sum("weir_pool_open_failures_total", endpoint=dead.address)
        assert failures >= 3


def test_failures_of_warming_do_not_eject(start_weir, start_endpoint):
    """Only those that sessions have met count."""
    with ReservedPort() as dead:
        weir = start_weir(upstream(dead.address, start_endpoint(named("alive")),
                                   ejection={"failures": 2, "duration": "5s"},
                                   pool={"min_idle": 1, "anticipate": 0, **BACKOFF}))
        wait_until(lambda: weir.metrics().sum("weir_pool_open_failures_total",
                                              endpoint=dead.address) >= 5, "warming fails")
        assert gauge(weir, "weir_endpoint_ejected", dead.address) == 0


def test_a_passed_check_ends_an_ejection(start_weir, start_endpoint):
    """The checks were content all the time: they are asked elsewhere. The next one that passes
    ends it, long before its time."""
    checked = start_endpoint(silent)
    with ReservedPort() as dead:
        weir = start_weir(upstream(
            dead.address, start_endpoint(named("alive")), pool=BACKOFF,
            ejection={"failures": 2, "duration": "60s"},
            health_check=quick_checks(interval="600ms", port=checked.port)))
        wait_until(lambda: weir.ask() == "alive" and
                   gauge(weir, "weir_endpoint_ejected", dead.address) == 1, "it is ejected")
        wait_until(lambda: gauge(weir, "weir_endpoint_ejected", dead.address) == 0,
                   "it is asked again", timeout=3)


def test_an_endpoint_in_backoff_is_passed_over_while_another_is_well(start_weir, start_endpoint):
    """After its failure it is left alone for a while, and then tried by one at a time."""
    with ReservedPort() as dead:
        alive = start_endpoint(named("alive"))
        weir = start_weir(upstream(dead.address, alive, ejection={"failures": 0},
                                   pool={"backoff": "2s..10s"}))
        assert [weir.ask() for _ in range(60)] == ["alive"] * 60
        failures = weir.metrics().sum("weir_pool_open_failures_total", endpoint=dead.address)
        assert 1 <= failures <= 10, failures  # without it: every other session's
        assert alive.accepted >= 60


@pytest.mark.slow
def test_a_dead_endpoint_is_probed_less_and_less(start_weir, start_endpoint):
    """A warm pool's endpoint that is down for a while: pauses that grow, one probe at a time. When
    it is back, so are all connections."""
    with ReservedPort() as dead:
        weir = start_weir(upstream(dead.address, pool={"min_idle": 10, "anticipate": 0,
                                                       "backoff": "50ms..5s"}))

        def failures():
            return weir.metrics().sum("weir_pool_open_failures_total", endpoint=dead.address)

        wait_until(lambda: failures() >= 1, "it is found dead")
        first = failures()  # all that were tried at once
        assert first <= 8 + 4  # and probes after the first short pauses
        end = time.monotonic() + 4
        wait_until(lambda: time.monotonic() > end, "four seconds pass", timeout=5)
        # A random part of 50 ms, of 100 ms, of 200 ms, and so on.
        assert 2 <= failures() - first <= 20
        back = start_endpoint(silent, bind=dead.address)
        wait_until(lambda: back.open == 10, "it is warm", timeout=10)
        holds_for(lambda: back.open == 10, "ten connections", 0.2)
