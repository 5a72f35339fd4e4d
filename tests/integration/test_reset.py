"""mode: reset on a real Redis: one connection for one client after another, as long as the server
has certainly forgotten the last one; otherwise it is closed."""

import random
import threading

import pytest

from support import resp
from support.configuration import upstream
from support.patience import Stopwatch, full_or_short, wait_until
from support.servers import Memcached, Redis

RESET = {"mode": "reset", "reset": {"send": "RESET\r\n", "expect": "+RESET\r\n"}}
BIG = 1 << 20
THREADS = 8


class Sessions(threading.Thread):
    """A thread's share of the sessions. Each begins by looking for traces of another, and then
    does one of many things; some end in order, some do not."""

    def __init__(self, weir, count, seed):
        super().__init__(daemon=True)
        self.weir, self.count, self.seed = weir, count, seed
        self.chance = random.Random(seed)
        self.orderly, self.others = 0, 0
        self.error = None
        self.token, self.key = "", ""
        self.start()

    def run(self):
        number = 0
        try:
            for number in range(self.count):
                self.token = f"{self.seed}-{number}"
                self.key = f"key:{self.token}"
                self.one()
        except Exception as error:  # shown with what is needed to see it again
            self.error = f"seed {self.seed}, session {number}: {error!r}"

    def one(self):
        if self.chance.random() < 0.75:
            act, self.orderly = self.chance.choice(ORDERLY), self.orderly + 1
        else:
            act, self.others = self.chance.choice(OTHERS), self.others + 1
        client = resp.Client(self.weir.address())
        try:
            self.look_for_traces(client)
            act(self, client)
        finally:
            client.close()

    def look_for_traces(self, client):
        client.send("CLIENT INFO", f"ECHO {self.token}")
        facts = dict(fact.partition("=")[::2] for fact in client.reply().split())
        state = {name: facts[name] for name in ("db", "sub", "psub", "multi", "resp", "name")}
        assert state == {"db": "0", "sub": "0", "psub": "0", "multi": "-1", "resp": "2",
                         "name": ""}, state
        assert client.reply() == self.token

    def expect(self, client, line, answer):
        got = client.ask(line)
        assert got == answer, f"{line}: {got!r}"

    # Those that end in order: every answer was read.

    def set_and_get(self, client):
        self.expect(client, f"SET {self.key} {self.token}", "OK")
        self.expect(client, f"GET {self.key}", self.token)

    def other_database(self, client):
        number = self.chance.randint(1, 15)
        self.expect(client, f"SELECT {number}", "OK")
        self.expect(client, f"SET {self.key} {number}", "OK")
        self.expect(client, f"GET {self.key}", str(number))

    def transaction(self, client):
        client.send("MULTI", f"SET {self.key} {self.token}", f"GET {self.key}", "EXEC")
        replies = [client.reply() for _ in range(4)]
        assert replies == ["OK", "QUEUED", "QUEUED", ["OK", self.token]], replies

    def unfinished_transaction(self, client):
        self.expect(client, "MULTI", "OK")
        self.expect(client, f"SET never:{self.token} {self.token}", "QUEUED")

    def watch(self, client):
        self.expect(client, f"WATCH {self.key} shared", "OK")

    def subscribe(self, client):
        name = f"channel:{self.token}"
        self.expect(client, f"SUBSCRIBE {name}", ["subscribe", name, 1])

    def subscribe_to_pattern(self, client):
        name = f"{self.token}:*"
        self.expect(client, f"PSUBSCRIBE {name}", ["psubscribe", name, 1])

    def name(self, client):
        self.expect(client, f"CLIENT SETNAME {self.token}", "OK")

    def another_protocol(self, client):
        client.send("HELLO 3")
        assert client.reply()["proto"] == 3

    def publish(self, client):
        assert client.ask(f"PUBLISH shared {self.token}") >= 0

    def big_answer(self, client):
        client.send("GET big")
        assert len(client.reply()) == BIG

    def nothing(self, client):
        pass

    # Those that do not.

    def half_a_command(self, client):
        client.send_raw(f"*3\r\n$3\r\nSET\r\n$64\r\n{self.key}".encode())

    def half_a_command_and_reset(self, client):
        self.half_a_command(client)
        client.abort()

    def half_an_answer(self, client):
        client.send("GET big")
        assert client.stream.receive_exactly(10)
        client.abort()

    def half_an_answer_and_close(self, client):
        client.send("GET big")
        assert client.stream.receive_exactly(10)

    def no_answer_read(self, client):
        client.send(*[f"SET {self.key} {i}" for i in range(50)])

    def subscribed_and_spoken_to(self, client):
        """Whether its last message was read is chance."""
        self.expect(client, "SUBSCRIBE shared", ["subscribe", "shared", 1])

    def hidden_command(self, client):
        """The server has answered after the client's last byte, and yet waits for more: what comes
        next is the argument of an ECHO."""
        client.send_raw(b"PING\r\n*2\r\n$4\r\nECHO\r\n$%d\r\n" % self.chance.choice((5, 7, 12, 14)))
        assert client.reply() == "PONG"

    def disguised_command(self, client):
        """And this one answers to a RESET as RESET does."""
        client.send_raw(b"PING\r\n*4\r\n$4\r\nEVAL\r\n$19\r\nreturn {ok=ARGV[1]}\r\n"
                        b"$1\r\n0\r\n$5\r\n")
        assert client.reply() == "PONG"

    def silenced(self, client):
        client.send("CLIENT REPLY OFF", f"SET {self.key} {self.token}")

    def listening(self, client):
        self.expect(client, "MONITOR", "OK")

    def quit(self, client):
        self.expect(client, "QUIT", "OK")


ORDERLY = [Sessions.set_and_get, Sessions.other_database, Sessions.transaction,
           Sessions.unfinished_transaction, Sessions.watch, Sessions.subscribe,
           Sessions.subscribe_to_pattern, Sessions.name, Sessions.another_protocol,
           Sessions.publish, Sessions.big_answer, Sessions.nothing]
OTHERS = [Sessions.half_a_command, Sessions.half_a_command_and_reset, Sessions.half_an_answer,
          Sessions.half_an_answer_and_close, Sessions.no_answer_read,
          Sessions.subscribed_and_spoken_to, Sessions.hidden_command, Sessions.disguised_command,
          Sessions.silenced, Sessions.listening, Sessions.quit]


@pytest.mark.parametrize("count", [
    400, pytest.param(full_or_short(10_000, 4000), marks=pytest.mark.slow, id="many")])
def test_sessions_on_shared_connections_do_not_see_each_other(start_weir, start_server, count):
    redis = start_server(Redis)
    redis.ask("eval", "redis.call('set', 'big', string.rep('x', ARGV[1]))", "0", str(BIG))
    weir = start_weir(upstream(redis.address, pool={**RESET, "min_idle": 4}))
    wait_until(lambda: weir.metrics().sum("weir_pool_connections", state="idle") == 4, "it is warm")
    before = redis.stat("total_connections_received")
    threads = [Sessions(weir, count // THREADS, seed) for seed in range(THREADS)]
    for thread in threads:
        thread.join()
    assert [thread.error for thread in threads if thread.error] == []
    weir.wait_for_open(0)
    # One of these is the question's own.
    opened = redis.stat("total_connections_received") - before - 1
    others = sum(thread.others for thread in threads)
    assert opened <= others + 200, f"{opened} connections, {others} sessions without order"
    assert weir.metrics().sum("weir_pool_closed_total", reason="reset_failed") > 0
    assert_nothing_is_left(redis)


def assert_nothing_is_left(redis):
    """At the server itself: no transaction took place, nobody is subscribed, all that stay open
    are as they were when they came."""
    wait_until(lambda: redis.ask("pubsub", "channels") == "\n", "no subscriptions")
    assert redis.ask("pubsub", "numpat") == "0\n"
    assert redis.ask("keys", "never:*") == "\n"
    states = [dict(fact.partition("=")[::2] for fact in line.split())
              for line in redis.ask("client", "list", "type", "normal").splitlines() if line]
    assert len(states) >= 4
    assert {(each["db"], each["multi"], each["resp"]) for each in states} == {("0", "-1", "2")}


def test_clients_one_after_the_other_share_a_connection(start_weir, start_server):
    redis = start_server(Redis)
    weir = start_weir(upstream(redis.address, pool=RESET))
    before = redis.stat("total_connections_received")
    identities = set()
    for number in range(50):
        with resp.Client(weir.address()) as client:
            identities.add(client.ask("CLIENT ID"))
            assert client.ask(f"SELECT {number % 16}") == "OK"
        wait_until(lambda: weir.metrics().sum("weir_pool_connections", state="idle") == 1,
                   "it is back")
    assert len(identities) == 1
    assert redis.stat("total_connections_received") == before + 2  # and the question's own
    assert weir.metrics().sum("weir_pool_closed_total") == 0


class Scripted:
    """An endpoint that keeps every byte of each connection. Lines are answered with what `answers`
    says; a RESET with +RESET, or with what stands there."""

    def __init__(self, **answers):
        self.answers = {"RESET": "+RESET", **answers}
        self.seen = []  # for each connection

    def __call__(self, stream):
        lines = []
        self.seen.append(lines)
        while line := stream.receive_line():
            lines.append(line.decode().strip())
            answer = self.answers.get(lines[-1], "+OK")
            if answer is None:
                return
            stream.send(answer.encode() + b"\r\n" if answer else b"")


@pytest.fixture
def start_scripted(start_weir, start_endpoint):
    """start_scripted({answers}, **pool keys) -> (Scripted, Endpoint, Weir)"""

    def start(answers=None, timeout="1s", **pool):
        handler = Scripted(**(answers or {}))
        endpoint = start_endpoint(handler)
        reset = {"mode": "reset", "reset": {**RESET["reset"], "timeout": timeout}}
        return handler, endpoint, start_weir(upstream(endpoint, pool={**reset, **pool}))

    return start


def talk(weir, *lines):
    """A client that ends in order; returns the answers."""
    with resp.Client(weir.address()) as client:
        return [client.ask(line) for line in lines]


def closed(weir, reason):
    return weir.metrics().sum("weir_pool_closed_total", reason=reason)


def wait_for_idle(weir, count):
    wait_until(lambda: weir.metrics().sum("weir_pool_connections", state="idle") == count,
               f"{count} idle connections")


def test_the_exchange_is_made_twice_between_two_clients(start_scripted):
    handler, endpoint, weir = start_scripted()
    for name in ("first", "second", "third"):
        assert talk(weir, name) == ["OK"]
        wait_for_idle(weir, 1)
    assert endpoint.accepted == 1
    assert handler.seen == [["first", "RESET", "RESET", "second", "RESET", "RESET",
                             "third", "RESET", "RESET"]]


@pytest.mark.parametrize("answer", ["+RESET!", "+RESE", "+QUEUED", "+RESET\r\n+RESET"])
def test_another_answer_closes_the_connection(start_scripted, answer):
    handler, endpoint, weir = start_scripted({"RESET": answer}, timeout="300ms")
    for count in (1, 2):
        assert talk(weir, "hello") == ["OK"]
        wait_until(lambda expected=count: closed(weir, "reset_failed") == expected, "it is closed")
    assert endpoint.accepted == 2
    wait_until(lambda: endpoint.open == 0, "both are closed")
    assert [lines[:1] for lines in handler.seen] == [["hello"], ["hello"]]


@pytest.mark.parametrize("answer", ["", None], ids=["nothing", "the end"])
def test_no_answer_closes_the_connection(start_scripted, answer):
    _, endpoint, weir = start_scripted({"RESET": answer}, timeout="300ms")
    assert talk(weir, "hello") == ["OK"]
    wait_until(lambda: endpoint.open == 0, "it is closed")
    wait_until(lambda: weir.metrics().sum("weir_pool_connections") == 0, "and forgotten")
    assert talk(weir, "hello") == ["OK"]
    assert endpoint.accepted == 2


def test_only_an_orderly_end_is_followed_by_a_reset(start_scripted):
    """An abort, a question without an answer, half a line: these are closed, and nobody asks the
    server to forget them."""
    handler, endpoint, weir = start_scripted({"mute": ""})
    with resp.Client(weir.address()) as client:
        assert client.ask("aborts") == "OK"
        client.abort()
    with resp.Client(weir.address()) as client:
        client.send("mute")
        wait_until(lambda: ["mute"] in handler.seen, "the question arrives")
    with resp.Client(weir.address()) as client:
        assert client.ask("halves") == "OK"
        client.send_raw(b"hal")
    weir.wait_for_open(0)
    wait_until(lambda: endpoint.open == 0, "all are closed")
    assert sorted(lines[0] for lines in handler.seen) == ["aborts", "halves", "mute"]
    assert not any("RESET" in lines for lines in handler.seen)
    assert endpoint.accepted == 3


def test_max_uses(start_scripted):
    handler, endpoint, weir = start_scripted(max_uses=3)
    for number in range(7):
        assert talk(weir, f"client {number}") == ["OK"]
        weir.wait_for_open(0)
        wait_until(lambda: weir.metrics().sum("weir_pool_connections", state="leased") == 0,
                   "it is back, or closed")
    assert endpoint.accepted == 3
    assert [sum(line.startswith("client") for line in lines) for lines in handler.seen] == [3, 3, 1]
    assert closed(weir, "uses") == 2


def test_max_lifetime_of_connections_that_are_used_again(start_scripted):
    """Looked at when they come back, never during a lease."""
    handler, endpoint, weir = start_scripted(max_lifetime="500ms")
    with resp.Client(weir.address()) as client:
        watch = Stopwatch()
        while watch.elapsed() < 1:
            assert client.ask("again") == "OK"
    wait_until(lambda: closed(weir, "lifetime") == 1, "it has become too old")
    assert talk(weir, "next") == ["OK"]
    assert endpoint.accepted == 2
    assert handler.seen[1][:1] == ["next"]


def test_an_idle_used_connection_that_speaks_is_not_lent(start_weir, start_endpoint):
    """A late answer to somebody who has gone."""
    late, count = threading.Event(), []

    def handle(stream):
        count.append(stream)
        while line := stream.receive_line():
            stream.send(b"+RESET\r\n" if line == b"RESET\r\n" else b"+%d\r\n" % len(count))
            if line == b"RESET\r\n" and late.is_set():
                late.clear()
                stream.send(b"+late\r\n")

    weir = start_weir(upstream(start_endpoint(handle), pool=RESET))
    for _ in range(2):
        assert talk(weir, "hello") == ["1"]
        wait_for_idle(weir, 1)
    late.set()
    assert talk(weir, "hello") == ["1"]
    wait_until(lambda: closed(weir, "unexpected_bytes") + closed(weir, "reset_failed") == 1,
               "the late answer closes it")
    assert talk(weir, "hello") == ["2"]


def test_memcached_with_its_no_op(start_weir, start_server):
    memcached = start_server(Memcached)
    pool = {"mode": "reset", "min_idle": 1, "anticipate": 0,
            "reset": {"send": "mn\r\n", "expect": "MN\r\n"}}
    weir = start_weir(upstream(memcached.address, pool=pool))
    wait_for_idle(weir, 1)
    before = int(memcached.stats()["total_connections"])
    for number in range(50):
        with weir.connect() as stream:
            stream.send(b"set key 0 0 2\r\n%02d\r\nget key\r\n" % number)
            lines = [stream.receive_line() for _ in range(4)]
            assert lines == [b"STORED\r\n", b"VALUE key 0 2\r\n", b"%02d\r\n" % number, b"END\r\n"]
        weir.wait_for_open(0)
        wait_until(lambda: weir.metrics().sum("weir_pool_connections", state="leased") == 0,
                   "it has come back")
    assert int(memcached.stats()["total_connections"]) - before <= 3  # and the question's own
    assert memcached.stats()["cmd_set"] == "50"
