"""Servers that greet: the greeting of a connection that was opened ahead waits for its client, who
gets it whole and as the first one. MariaDB, SMTP, and endpoints that greet in strange ways."""

import collections
import os
import re
import smtplib
import struct
import threading

import pytest

from support.configuration import upstream
from support.patience import full_or_short, holds_for, wait_until
from support.servers import Exim, MariaDb

MOST_KEPT = 4096


def start_in_front(start_weir, server, tls=None, **pool):
    keys = {"pool": {"server_speaks_first": True, "anticipate": 0, **pool}}
    return start_weir(upstream(server, **keys, **({"tls": tls} if tls else {})))


def wait_for_idle(weir, count):
    wait_until(lambda: weir.metrics().sum("weir_pool_connections", state="idle") == count,
               f"{count} idle connections")


def acquired(weir, *sources):
    return sum(weir.metrics().sum("weir_pool_acquires_total", source=source, result="ok")
               for source in sources)


@pytest.fixture(scope="module")
def mariadb(session_directory):
    server = MariaDb(session_directory, connect_timeout=5)
    yield server
    server.stop()


class Greeting:
    """MariaDB's first packet: https://mariadb.com/kb/en/connection/"""

    def __init__(self, stream):
        size = int.from_bytes(stream.receive_exactly(3), "little")
        assert stream.receive_exactly(1) == b"\0"  # the first packet of a conversation
        body = stream.receive_exactly(size)
        assert body[0] == 10 and body.endswith(b"mysql_native_password\0"), body
        version, _, rest = body[1:].partition(b"\0")
        self.version = version.decode()
        self.connection_id = struct.unpack_from("<I", rest)[0]


def test_each_greeting_of_mariadb_is_used_by_one_client(start_weir, mariadb):
    """The numbers in the greetings are the server's own numbers of these connections."""
    weir = start_in_front(start_weir, mariadb.address, min_idle=4)
    wait_for_idle(weir, 4)
    streams = [weir.connect() for _ in range(20)]
    numbers = [Greeting(stream).connection_id for stream in streams]
    assert len(set(numbers)) == 20
    listed = mariadb.query("select id from information_schema.processlist where user = "
                           "'unauthenticated user'").stdout.split()
    assert set(map(str, numbers)) <= set(listed)
    for stream in streams:
        stream.close()
    assert acquired(weir, "idle", "other_worker") >= 4


def test_mariadb_clients(start_weir, mariadb):
    """The real client, again and again: each has a connection of its own, which was there before
    it came."""
    weir = start_in_front(start_weir, mariadb.address, min_idle=3)
    seen = []
    for _ in range(20):
        wait_for_idle(weir, 3)
        done = mariadb.query("select connection_id(), 6 * 7", port=weir.port())
        assert done.returncode == 0, done.stderr
        number, answer = done.stdout.split()
        assert answer == "42"
        seen.append(number)
    assert len(set(seen)) == 20
    assert acquired(weir, "idle", "other_worker") == 20
    assert acquired(weir, "opened") == 0


@pytest.mark.slow
def test_mariadb_clients_meet_no_aged_connection(start_weir, mariadb):
    """It closes connections that do not log in within connect_timeout, 5 s here."""
    weir = start_in_front(start_weir, mariadb.address, min_idle=4, fresh_max_age="3s")
    aborted = status_of(mariadb, "Aborted_connects")
    wait_for_idle(weir, 4)
    replaced = full_or_short(100, 24)

    def fresh_age():
        return weir.metrics().sum("weir_pool_closed_total", reason="fresh_age")

    errors, sessions = [], 0
    while fresh_age() < replaced:
        done = mariadb.query("select 1", port=weir.port())
        sessions += 1
        if done.returncode != 0:
            errors.append(done.stderr)
    assert errors == [] and sessions > 20
    assert weir.metrics().sum("weir_pool_closed_total", reason="peer_closed") == 0
    # The server counts those that Weir gave up: the replaced ones, and no storm of others.
    assert status_of(mariadb, "Aborted_connects") - aborted <= fresh_age() + 8


def status_of(server, name):
    return int(server.query(f"show global status like '{name}'").stdout.split()[1])


@pytest.mark.skipif(os.getuid() != 0, reason="only root may start Exim")
def test_smtp(start_weir, start_server):
    """Each greeting names the process that has spoken it: one client for each. And a message goes
    through behind each greeting."""
    exim = start_server(Exim)
    weir = start_in_front(start_weir, exim.address, min_idle=3)
    greetings = []
    for number in range(12):
        wait_for_idle(weir, 3)
        with smtplib.SMTP(timeout=20) as client:
            code, words = client.connect("127.0.0.1", weir.port())
            assert code == 220
            greetings.append(words.decode())
            client.sendmail(f"sender{number}@mail.test", ["someone@mail.test"],
                            f"Subject: number {number}\r\n\r\nhello\r\n")
    assert all(re.fullmatch(r"mail\.test ESMTP \d+ \d+", words) for words in greetings), greetings
    assert len(set(greetings)) == 12
    wait_until(lambda: len(exim.messages()) == 12, "all messages have arrived")
    senders = {re.search(r"<= (\S+)@", line)[1] for line in exim.messages()}
    assert senders == {f"sender{number}" for number in range(12)}
    assert acquired(weir, "idle", "other_worker") == 12


class Greeter:
    """Greets with these pieces, each when the event before it is set, then answers lines with the
    number of its connection."""

    def __init__(self, *pieces):
        self.pieces = pieces
        self.count = 0
        self.used = collections.Counter()
        self._lock = threading.Lock()

    def __call__(self, stream):
        with self._lock:
            self.count += 1
            number = self.count
        for piece in self.pieces:
            if isinstance(piece, threading.Event):
                assert piece.wait(30)
            else:
                stream.send(piece)
        while stream.receive_line():
            self.used[number] += 1
            stream.send(b"%d\n" % number)


def test_a_connection_is_idle_only_once_it_has_spoken(start_weir, start_endpoint):
    speaks = threading.Event()
    endpoint = start_endpoint(Greeter(speaks, b"hello\n"))
    weir = start_in_front(start_weir, endpoint, min_idle=2)
    try:
        wait_until(lambda: endpoint.accepted == 2, "two are being opened")
        holds_for(lambda: weir.metrics().sum("weir_pool_connections", state="idle") == 0,
                  "none is idle", 0.3)
    finally:
        speaks.set()
    wait_for_idle(weir, 2)
    with weir.connect() as stream:
        assert stream.receive_line() == b"hello\n"


def test_a_greeting_in_pieces_arrives_in_order(start_weir, start_endpoint):
    """Some before the lease, the rest after it; and what follows is this connection's."""
    later = threading.Event()
    endpoint = start_endpoint(Greeter(b"one ", b"two ", later, b"three\n"))
    weir = start_in_front(start_weir, endpoint, min_idle=1)
    try:
        wait_for_idle(weir, 1)
        with weir.connect() as stream:
            assert stream.receive_exactly(8) == b"one two "
            later.set()
            assert stream.receive_line() == b"three\n"
            stream.send(b"?\n")
            assert stream.receive_line() == b"1\n"
    finally:
        later.set()


@pytest.mark.parametrize("size", [1, MOST_KEPT])
def test_a_greeting_arrives_whole(start_weir, start_endpoint, size):
    greeting = bytes(ord("a") + i % 26 for i in range(size - 1)) + b"\n"
    greeter = Greeter(greeting)
    weir = start_in_front(start_weir, start_endpoint(greeter), min_idle=2)
    numbers = []
    for _ in range(10):
        wait_for_idle(weir, 2)
        with weir.connect() as stream:
            assert stream.receive_exactly(size) == greeting
            stream.send(b"?\n")
            numbers.append(int(stream.receive_line()))
            stream.finish()
            assert stream.receive_all() == b""  # and nothing twice
    assert len(set(numbers)) == 10
    assert set(greeter.used.values()) == {1}


def test_a_greeting_that_is_too_long_closes_the_connection(start_weir, start_endpoint):
    endpoint = start_endpoint(Greeter(b"x" * (MOST_KEPT + 1)))
    weir = start_in_front(start_weir, endpoint, min_idle=1)
    wait_until(lambda: weir.metrics().sum("weir_pool_closed_total", reason="unexpected_bytes") >= 1,
               "it is closed")
    assert weir.metrics().sum("weir_pool_acquires_total", result="ok") == 0
    wait_until(lambda: endpoint.accepted >= 2, "another one is tried")


def test_a_server_that_greets_and_leaves_is_not_lent(start_weir, start_endpoint):
    """Its greeting is of no use: who comes gets one of a connection that lives."""
    greeter = Greeter(b"hello\n")
    endpoint = start_endpoint(greeter)
    weir = start_in_front(start_weir, endpoint, min_idle=2)
    for _ in range(5):
        wait_for_idle(weir, 2)
        wait_until(lambda: endpoint.open == 2, "the endpoint has them")
        endpoint.close_connections()
        with weir.connect() as stream:
            assert stream.receive_line() == b"hello\n"
            stream.send(b"?\n")
            assert int(stream.receive_line()) > 2
        weir.wait_for_open(0)
    assert weir.metrics().sum("weir_pool_closed_total", reason="peer_closed") == 10


def test_greetings_over_tls(start_weir, start_endpoint, certificates):
    greeter = Greeter(b"hello\n")
    endpoint = start_endpoint(greeter, tls=certificates.localhost().server_context())
    weir = start_in_front(start_weir, endpoint, min_idle=2,
                          tls={"server_name": "localhost", "ca": certificates.authority})
    numbers = set()
    for _ in range(6):
        wait_for_idle(weir, 2)
        with weir.connect() as stream:
            assert stream.receive_line() == b"hello\n"
            stream.send(b"?\n")
            numbers.add(stream.receive_line())
    assert len(numbers) == 6


def test_without_a_pool_the_greeting_passes(start_weir, start_endpoint):
    endpoint = start_endpoint(Greeter(b"hello\n"))
    weir = start_in_front(start_weir, endpoint, mode="off")
    with weir.connect() as stream:
        assert stream.receive_line() == b"hello\n"
    weir.wait_for_open(0)
    assert endpoint.accepted == 1
