"""Signals, drain and the end."""

import hashlib
import os
import signal
import threading
import time

import pytest

from support import transfer
from support.configuration import listener, tls, upstream
from support.endpoints import echo, named, silent
from support.patience import Stopwatch, seconds, wait_until
from support.processes import descriptors

MIB = 1 << 20


def slow_source(size, pause):
    """Sends `size` bytes, a MiB at a time, with pauses."""

    def handle(stream):
        stream.receive_exactly(1)
        for block in transfer.blocks(size, seed=9):
            stream.send(block)
            time.sleep(pause)
        stream.finish()
        stream.receive_all()

    return handle


class Knocking(threading.Thread):
    """One short session after another until the listener refuses; keeps what went wrong."""

    def __init__(self, weir, **options):
        super().__init__(daemon=True)
        self.weir, self.options = weir, options
        self.served, self.failed, self.refused = 0, [], False
        self.start()

    def run(self):
        while not self.refused:
            try:
                stream = self.weir.connect(**self.options)
            except ConnectionRefusedError:
                self.refused = True
                return
            except OSError as error:  # a TLS handshake that was cut
                self.failed.append(repr(error))
                continue
            with stream:
                self.ask(stream)

    def ask(self, stream):
        try:
            stream.send(b"x")
            if stream.receive_exactly(1) == b"x":
                self.served += 1
        except (OSError, EOFError) as error:
            self.failed.append(repr(error))


def test_sigterm_under_load(start_weir, start_endpoint, certificates):
    """Running transfers complete, nobody who got in is cut off, the status is 0."""
    size = 8 * MIB
    bulk = start_endpoint(slow_source(size, pause=0.03))
    weir = start_weir({"bulk": upstream(bulk), "small": upstream(start_endpoint(echo))},
                      {"bulk": listener("bulk", tls="public"), "small": listener("small"),
                       "secure": listener("small", tls="public")},
                      tls(certificates.localhost()), drain={"timeout": "20s"})
    transfers = [weir.connect("bulk", tls=certificates.client()) for _ in range(4)]
    for stream in transfers:
        stream.send(b"x")
        stream.receive_exactly(1)
    knocking = [Knocking(weir, listener="small") for _ in range(3)]
    knocking.append(Knocking(weir, listener="secure", tls=certificates.client()))
    wait_until(lambda: all(each.served > 20 for each in knocking), "the load runs")

    weir.signal(signal.SIGTERM)
    expected = transfer.digest_of(size, seed=9)
    for stream in transfers:
        with stream:
            assert digest_after_first_byte(stream) == (size - 1, expected)
    assert weir.process.wait(10) == 0
    for each in knocking:
        each.join()
        assert not each.failed


def digest_after_first_byte(stream):
    digest = hashlib.sha256(next(transfer.blocks(1, seed=9)))
    size = 0
    while piece := stream.receive():
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_weir_stops_at_once(start_weir, start_endpoint, number):
    weir = start_weir(upstream(start_endpoint(silent), pool={"min_idle": 2}))
    watch = Stopwatch()
    weir.signal(number)
    assert weir.process.wait(5) == 0
    assert watch.elapsed() < seconds(2)


def test_drain_delay_keeps_accepting_with_readiness_false(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))), drain={"delay": "1s", "timeout": "5s"})
    watch = Stopwatch()
    weir.signal(signal.SIGTERM)
    wait_until(lambda: weir.admin.get("/readyz").status == 503, "readiness is false")
    assert weir.admin.get("/healthz").status == 200
    assert weir.ask() == "a"
    assert watch.elapsed() < seconds(1)
    assert weir.process.wait(5) == 0
    assert watch.elapsed() >= 0.95
    with pytest.raises(ConnectionRefusedError):
        weir.connect()


def test_readiness_is_false_while_draining(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))))
    with weir.connect() as stream:
        stream.send(b"?\n")
        assert stream.receive_line() == b"a\n"
        weir.signal(signal.SIGTERM)
        wait_until(lambda: weir.admin.get("/readyz").status == 503, "readiness is false")
        stream.send(b"?\n")  # the session goes on
        assert stream.receive_line() == b"a\n"
        wait_until(lambda: is_refused(weir), "new clients are refused")
    assert weir.process.wait(5) == 0
    assert weir.access_log(1)[0]["reason"] == "client_closed"


def is_refused(weir):
    try:
        weir.connect().close()
        return False
    except ConnectionRefusedError:
        return True


def test_drain_timeout_ends_what_is_left(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(echo)), drain={"timeout": "500ms"})
    with weir.connect() as stream:
        stream.send(b"x")
        assert stream.receive_exactly(1) == b"x"
        watch = Stopwatch()
        weir.signal(signal.SIGTERM)
        assert weir.process.wait(5) == 0
        assert 0.45 < watch.elapsed() < seconds(2)
    assert weir.access_log(1)[0]["reason"] == "drained"


def test_a_second_signal_stops_at_once(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(echo)), drain={"timeout": "60s"})
    with weir.connect() as stream:
        stream.send(b"x")
        assert stream.receive_exactly(1) == b"x"
        weir.signal(signal.SIGTERM)
        wait_until(lambda: weir.admin.get("/readyz").status == 503, "it drains")
        watch = Stopwatch()
        weir.signal(signal.SIGTERM)
        weir.process.wait(5)
        assert watch.elapsed() < seconds(1)
    assert weir.access_log(1)[0]["reason"] == "drained"


def test_draining_closes_idle_connections(start_weir, start_endpoint):
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint, pool={"min_idle": 3}))
    wait_until(lambda: endpoint.open == 3, "it is warm")
    with weir.connect() as stream:
        stream.send(b"?\n")
        assert stream.receive_line() == b"a\n"
        weir.signal(signal.SIGTERM)
        wait_until(lambda: endpoint.open == 1, "only the lease is left")
    assert weir.process.wait(5) == 0


def test_sigusr1_reopens_the_access_log(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))))
    weir.ask()
    assert len(weir.access_log(1)) == 1
    moved = weir.access_log_path + ".1"
    os.rename(weir.access_log_path, moved)
    weir.signal(signal.SIGUSR1)
    wait_until(lambda: os.path.exists(weir.access_log_path), "the file is made anew")
    weir.ask()
    assert len(weir.access_log(1)) == 1
    with open(moved, encoding="utf-8") as file:
        assert file.read().count("\n") == 1


def test_sighup_does_not_kill(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))))
    with weir.connect() as stream:
        weir.signal(signal.SIGHUP)
        wait_until(lambda: "reloaded in" in weir.process.errors(), "it is noticed")
        stream.send(b"?\n")
        assert stream.receive_line() == b"a\n"
    assert weir.ask() == "a"


def test_sigpipe_does_not_kill(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))))
    weir.signal(signal.SIGPIPE)
    assert weir.ask() == "a"


def test_descriptors_return_to_the_base_line(start_weir, start_endpoint, certificates):
    weir = start_weir(upstream(start_endpoint(echo)), listener(tls="public"),
                      tls(certificates.localhost()))
    weir.ask(tls=certificates.client())
    weir.wait_for_open(0)
    before = descriptors(weir.pid)
    for _ in range(100):
        weir.ask(tls=certificates.client())
    weir.wait_for_open(0)
    wait_until(lambda: descriptors(weir.pid) <= before, "no descriptor is left behind")
