"""What a warm pool is for: endpoints that are far away and speak TLS answer as if they were near,
and the pool opens ahead what sessions are about to take, hardly more."""

import pytest

from support.configuration import upstream
from support.load import Load
from support.patience import full_or_short, wait_until
from support.relay import Relay
from support.servers import Nginx

ROUND_TRIP = 0.005
RATE = 200
REQUEST = "GET /name HTTP/1.0\r\n\r\n"


@pytest.fixture
def far(start_server, certificates):
    """A TLS 1.3 server behind a relay, 5 ms per round trip away."""
    nginx = start_server(Nginx, connections=4096, certificate=certificates.localhost())
    return start_server(Relay, nginx.address, ROUND_TRIP)


@pytest.fixture
def start_before(start_weir, certificates, far):
    """start_before(**pool keys) -> Weir in front of the far server"""

    def start(**pool):
        return start_weir(upstream(far, tls={"server_name": "localhost",
                                             "ca": certificates.authority}, pool=pool))

    return start


def middle(sessions):
    """The median of their times to the first byte of the answer."""
    assert {each.answer for each in sessions} == {"HTTP/1.1 200 OK"}
    times = sorted(each.first for each in sessions)
    return times[len(times) // 2]


def run_load(directory, weir, rate, count, pattern="even"):
    load = Load(directory, weir.address(), rate=rate, pattern=pattern, request=REQUEST, whole=True)
    try:
        wait_until(lambda: load.ended >= count, f"{count} sessions", timeout=4 * count / rate + 10)
        return load.stop()
    finally:
        load.kill()


@pytest.mark.figures
@pytest.mark.slow
def test_the_first_byte_comes_in_less_than_half_the_time(start_before, directory):
    """One round trip instead of three: the connect, the handshake, the request."""
    cold = start_before(mode="off")
    without = middle(run_load(directory, cold, 20, 100))
    assert without > 3 * ROUND_TRIP
    warm = start_before(min_idle=4)
    wait_until(lambda: warm.metrics().sum("weir_pool_connections", state="idle") == 4, "it is warm")
    with_pool = middle(run_load(directory, warm, 20, 100))
    assert with_pool > ROUND_TRIP
    assert with_pool <= 0.4 * without, f"{with_pool * 1e3:.2f} ms, {without * 1e3:.2f} ms"


@pytest.mark.figures
@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["even", "random"])
def test_the_pool_opens_what_is_about_to_be_taken(start_before, far, directory, pattern):
    """`anticipate` at its default: 99 % find an idle connection, whether sessions come like a
    clock or at random, from the first one on; and few connections are opened in vain."""
    weir = start_before(min_idle=2)
    wait_until(lambda: weir.metrics().sum("weir_pool_connections", state="idle") == 2, "it is warm")
    sessions = run_load(directory, weir, RATE, RATE * full_or_short(60, 30), pattern)
    assert {each.answer for each in sessions} == {"HTTP/1.1 200 OK"}
    metrics = weir.metrics()
    found = sum(metrics.sum("weir_pool_acquires_total", source=source, result="ok")
                for source in ("idle", "other_worker"))
    assert found >= 0.99 * len(sessions), f"{found:g} of {len(sessions)}"
    assert far.accepted <= 1.1 * len(sessions), f"{far.accepted} for {len(sessions)}"
    assert far.accepted >= len(sessions)  # each session has had one of its own


@pytest.mark.figures
@pytest.mark.slow
def test_without_anticipation_min_idle_is_too_little(start_before, far, directory):
    """What the test before this one would see if the key did nothing."""
    weir = start_before(min_idle=1, anticipate=0)
    sessions = run_load(directory, weir, RATE, RATE * 5, "random")
    assert weir.metrics().sum("weir_pool_idle_target") == 1
    opened = weir.metrics().sum("weir_pool_acquires_total", source="opened", result="ok")
    assert opened > 0.05 * len(sessions)


@pytest.mark.slow
def test_the_idle_target_follows_the_rate(start_before, directory):
    """Up with the sessions, and down to min_idle when they have gone: what is too much is
    closed."""
    weir = start_before(min_idle=1, idle_timeout="1s")

    def target():
        return weir.metrics().sum("weir_pool_idle_target")

    def idle():
        return weir.metrics().sum("weir_pool_connections", state="idle")

    wait_until(lambda: target() == 1, "nobody comes yet")
    load = Load(directory, weir.address(), rate=150, pattern="random", request=REQUEST, whole=True)
    try:
        wait_until(lambda: target() >= 2, "it opens ahead")
        load.stop()
    finally:
        load.kill()
    assert target() <= 64
    wait_until(lambda: target() == 1 and idle() == 1, "it is back at min_idle", timeout=45)
