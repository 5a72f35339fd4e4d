"""PostgreSQL closes connections that do not log in, after authentication_timeout. A warm pool keeps
such connections all the time: they must be gone before that, and no client may ever notice."""

import collections
import random
import re
import threading
import time

import pytest

from support import postgresql
from support.configuration import upstream
from support.patience import full_or_short, wait_until
from support.servers import Postgres

AUTHENTICATION_TIMEOUT, FRESH_MAX_AGE = 5, 3  # seconds
MIN_IDLE = 4
DURATION = full_or_short(120, 20)
# A fresh connection is replaced at 80 % of its age at the earliest.
REPLACED_A_SECOND = MIN_IDLE / (0.8 * FRESH_MAX_AGE)


@pytest.fixture
def strict(start_server):
    """A PostgreSQL of little patience, which tells of each connection and when it came."""
    return start_server(Postgres, authentication_timeout=f"{AUTHENTICATION_TIMEOUT}s",
                        log_connections="on", log_line_prefix="%n ")


def start_in_front(start_weir, server, **pool):
    weir = start_weir(upstream(server.address, pool={
        "min_idle": MIN_IDLE, "fresh_max_age": f"{FRESH_MAX_AGE}s", **pool}))
    wait_until(lambda: weir.metrics().sum("weir_pool_connections", state="idle") == MIN_IDLE,
               "it is warm")
    return weir


class Received:
    """Connections that the server has seen, by its log: when each came."""

    def __init__(self, server):
        self.server = server
        self.before = len(self._all())

    def _all(self):
        return [float(moment) for moment in re.findall(
            r"^(\d+\.\d+) LOG: +connection received", self.server.process.errors(), re.MULTILINE)]

    def moments(self):
        return self._all()[self.before:]


@pytest.mark.slow
def test_no_client_meets_an_aged_connection(start_weir, strict):
    """Sessions at random moments: now three at once, now none for longer than a connection lives,
    so that each age is met."""
    received = Received(strict)
    weir = start_in_front(start_weir, strict)
    chance, answers, errors, begun = random.Random(3), collections.Counter(), [], []

    def one(number):
        begun.append(time.time())
        try:
            with postgresql.Client(weir.address(), strict.user) as client:
                answers[client.query(f"select {number}")[0][0]] += 1
        except (OSError, EOFError, postgresql.Refused) as error:
            errors.append(f"after {time.monotonic() - began:.1f} s: {error!r}")

    began, threads = time.monotonic(), []
    while time.monotonic() - began < DURATION:
        for _ in range(chance.randint(1, 3)):
            threads.append(threading.Thread(target=one, args=(len(threads),)))
            threads[-1].start()
        time.sleep(chance.choice([0.02, 0.1, 0.3, 1.1 * FRESH_MAX_AGE]))  # the client's own pace
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - began
    assert not errors
    assert answers == {str(number): 1 for number in range(len(threads))}
    assert weir.metrics().sum("weir_pool_closed_total", reason="peer_closed") == 0
    assert weir.metrics().sum("weir_pool_closed_total", reason="fresh_age") >= elapsed / 3

    assert "FATAL" not in strict.process.errors()
    assert_no_storm(received.moments(), begun, elapsed)


def assert_no_storm(moments, begun, elapsed):
    """One connection for each session and for each that was replaced; never many at once."""
    expected = len(begun) + REPLACED_A_SECOND * elapsed + MIN_IDLE
    assert len(begun) < len(moments) <= 1.2 * expected, (len(moments), expected)
    for moment in moments:
        within = sum(0 <= other - moment < 1 for other in moments)
        wanted = sum(-1 < other - moment < 1 for other in begun)
        assert within <= wanted + 2 * MIN_IDLE, f"{within} connections in one second"


@pytest.mark.slow
def test_replacing_without_clients_is_steady(start_weir, strict):
    """The jitter spreads what was opened at once: the server sees a trickle, not waves, and none
    of the connections is ever as old as its patience."""
    weir = start_in_front(start_weir, strict)
    received = Received(strict)
    before = weir.metrics().sum("weir_pool_closed_total", reason="fresh_age")
    began = time.monotonic()
    wait_until(lambda: weir.metrics().sum("weir_pool_closed_total", reason="fresh_age") >=
               before + 5 * MIN_IDLE, "five generations", timeout=8 * FRESH_MAX_AGE)
    elapsed = time.monotonic() - began
    moments = received.moments()
    assert len(moments) <= REPLACED_A_SECOND * elapsed + MIN_IDLE + 1
    late = [moment for moment in moments if moment > moments[0] + 2.5 * FRESH_MAX_AGE]
    gaps = [b - a for a, b in zip(late, late[1:])]
    assert max(gaps) < FRESH_MAX_AGE
    assert weir.metrics().sum("weir_pool_closed_total", reason="peer_closed") == 0


@pytest.mark.slow
def test_without_replacement_the_server_closes_them(start_weir, strict):
    """What the tests above would see if fresh_max_age did nothing. (The server's log says nothing
    of it.) Even then no client is given a dead connection."""
    weir = start_in_front(start_weir, strict, fresh_max_age="60s")
    wait_until(lambda: weir.metrics().sum("weir_pool_closed_total", reason="peer_closed") >=
               MIN_IDLE, "the server closes them", timeout=3 * AUTHENTICATION_TIMEOUT)
    for number in range(10):
        with postgresql.Client(weir.address(), strict.user) as client:
            assert client.query(f"select {number}") == [[str(number)]]
