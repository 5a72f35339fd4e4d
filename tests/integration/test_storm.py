"""Many more clients than connections, and an endpoint that dies under them: no limit is exceeded,
whoever waits is served in order or told why, and a server that comes back is not run over."""

import collections
import datetime
import json
import queue
import threading
import time

import pytest

from support.configuration import listener, upstream
from support.endpoints import Endpoint
from support.load import Load
from support.metered import Metered
from support.patience import seconds, wait_until
from support.processes import connecting, read_text

MAX_CONNECTIONS, MAX_OPENING = 10, 3
MOST_OVERTAKEN = 2
# Two workers' clocks, and their ways from accept() to the queue: closer ones came together.
TOGETHER = seconds(0.005)
# A worker that the machine has stalled in mid-turn logs the times of those few sessions wrongly.
MOST_MISTIMED = 0.01


class Watch(threading.Thread):
    """Looks at what is being opened, from outside and from inside, until stop()."""

    def __init__(self, weir, port):
        super().__init__(daemon=True)
        self.weir, self.port = weir, port
        self.most_connecting, self.most_opening, self.looks = 0, 0, 0
        self._stop_asked = threading.Event()
        self.start()

    def run(self):
        while not self._stop_asked.wait(0.01):
            self.most_connecting = max(self.most_connecting, connecting(self.port))
            opening = self.weir.metrics().sum("weir_pool_connections", state="opening")
            self.most_opening = max(self.most_opening, opening)
            self.looks += 1

    def stop(self):
        self._stop_asked.set()
        self.join()


@pytest.mark.parametrize("clients, stretch, restarts", [
    (100, 0.7, 1), pytest.param(500, 5.0, 3, marks=pytest.mark.slow)])
def test_a_storm(start_weir, start_server, directory, clients, stretch, restarts):
    """Counted at the endpoint. After each restart it leaves connects without an answer for a
    moment, so that those in flight can be seen."""
    endpoint = start_server(Metered, hold=0.005)
    weir = start_weir(upstream(endpoint, pool={
        "max_connections": MAX_CONNECTIONS, "max_opening": MAX_OPENING,
        "backoff": "50ms..400ms"}), workers=2)
    load = Load(directory, weir.address(), clients=clients)
    try:
        load.wait_for_answers(clients)
        for _ in range(restarts):
            pass_time(load, stretch)
            endpoint.kill()
            wait_until(lambda: sum_of_failures(weir) > 0, "somebody is told that it is gone")
            endpoint.restart(deaf=0.5)
            watch = Watch(weir, endpoint.port)
            load.wait_for_answers(2 * clients, timeout=20)
            watch.stop()
            assert 1 <= watch.most_connecting <= MAX_OPENING, vars(watch)
            assert watch.most_opening <= MAX_OPENING
        pass_time(load, stretch)
        sessions = load.stop()
    finally:
        load.kill()
    assert endpoint.peak == MAX_CONNECTIONS  # it was needed, and never exceeded
    assert_each_ended_once(weir, load, sessions, restarts)
    assert_served_in_order(weir.access_log(len(sessions)))


def pass_time(load, duration):
    """The storm goes on for so long, with answers to the end."""
    end = time.monotonic() + duration
    wait_until(lambda: time.monotonic() > end, "time passes", timeout=duration + 5)
    load.wait_for_answers(1)


def sum_of_failures(weir):
    return weir.metrics().sum("weir_pool_open_failures_total")


def assert_each_ended_once(weir, load, sessions, restarts):
    weir.wait_for_open(0)
    metrics = weir.metrics()
    assert metrics.sum("weir_connections_accepted_total") == len(sessions) == load.tally["begun"]
    assert metrics.sum("weir_pool_waiting") == 0
    outcomes = metrics.outcomes()
    assert sum(outcomes.values()) == len(sessions)
    ids = collections.Counter(json.loads(line)["id"] for line in
                              read_text(weir.access_log_path).splitlines())
    assert len(ids) == len(sessions) and set(ids.values()) == {1}
    answered = sum(not each.error for each in sessions)
    # But for those whose server died between their answer and their goodbye.
    assert outcomes["client_closed"] >= answered - restarts * MAX_CONNECTIONS
    # Nobody got less than an answer without a cause that says so.
    assert set(outcomes) <= {"client_closed", "server_closed", "server_reset", "upstream_refused",
                             "upstream_unreachable", "upstream_timeout", "acquire_timeout"}


def assert_served_in_order(entries):
    """Of those that got a connection: nobody was overtaken by more than two that came later, as far
    as the log's times can tell. (test_waiting_in_line_over_two_workers knows the order.)"""
    served = []
    for entry in entries:
        if entry["endpoint"] and entry["acquire_seconds"] is not None and entry["sent_bytes"]:
            asked = datetime.datetime.fromisoformat(entry["time"]).timestamp()
            served.append((asked + entry["acquire_seconds"], asked))
    served.sort()
    assert len(served) > 100
    # From the last one to the first: whoever is still to come and asked clearly earlier has been
    # overtaken by this one.
    overtaken = collections.Counter()
    waiting = collections.deque()  # (granted, asked) of earlier grants, within reach
    for granted, asked in served:
        for other_granted, other_asked in waiting:
            if other_asked > asked + TOGETHER and other_granted < granted - TOGETHER:
                overtaken[asked, granted] += 1
        waiting.append((granted, asked))
        while len(waiting) > 600:
            waiting.popleft()
    late = sum(count > MOST_OVERTAKEN for count in overtaken.values())
    assert late <= MOST_MISTIMED * len(served), overtaken.most_common(5)


def test_waiting_in_line_over_two_workers(start_weir):
    """One connection, sixty clients in a known order on two workers; the endpoint dies and comes
    back among them."""
    order = queue.Queue()

    def remember(stream):
        while line := stream.receive_line():
            order.put(int(line))
            stream.send(line)

    endpoint = Endpoint(remember)
    weir = start_weir(upstream(endpoint, pool={"max_connections": 1, "acquire_timeout": "60s",
                                               "backoff": "10ms..50ms"}),
                      listener(), workers=2)
    leader = weir.connect()
    leader.send(b"0\n")
    assert leader.receive_line() == b"0\n"
    served = queue.Queue()
    for number in range(1, 61):
        stand_in_line(weir, number, served)
    leader.close()
    for _ in range(20):
        served.get(timeout=20)
    endpoint.close()
    endpoint = Endpoint(remember, bind=endpoint.address)
    try:
        results = [served.get(timeout=20) for _ in range(40)]
        weir.wait_for_open(0)
    finally:
        endpoint.close()
    assert sum(results) >= 30  # all but those that met the dead endpoint
    numbers = [order.get() for _ in range(order.qsize())]
    assert len(set(numbers)) == len(numbers) > 50
    for place, number in enumerate(numbers):
        later = sum(other > number for other in numbers[:place])
        assert later <= MOST_OVERTAKEN, numbers


def stand_in_line(weir, number, served):
    """One more client, certainly behind all before it. Puts True when it was answered."""
    stream = weir.connect()
    stream.send(b"%d\n" % number)
    wait_until(lambda: weir.metrics().sum("weir_pool_waiting") == number, f"{number} wait")

    def wait():
        try:
            with stream:
                answered = stream.receive_line() != b""
        except OSError:
            answered = False
        served.put(answered)

    threading.Thread(target=wait, daemon=True).start()
