"""Each timeout of a listener ends the session with the outcome of its name, and only then."""

import contextlib
import threading
import time

import pytest

from support.configuration import listener, upstream
from support.endpoints import echo, silent, unmoved
from support.patience import Stopwatch, seconds


def wait_for_end(stream):
    """Until Weir closes, in order or not."""
    try:
        stream.receive_all()
    except ConnectionResetError:
        pass


@pytest.fixture
def start_timed(start_weir, start_endpoint):
    """start_timed(handle, idle="300ms", ...) -> Weir with these timeouts"""

    def start(handle, **timeouts):
        return start_weir(upstream(start_endpoint(handle)), listener(timeouts=timeouts))

    return start


def test_idle(start_timed):
    weir = start_timed(echo, idle="400ms")
    with weir.connect() as stream:
        for _ in range(4):  # busy for longer than the timeout
            stream.send(b"x")
            assert stream.receive_exactly(1) == b"x"
            time.sleep(0.2)
        watch = Stopwatch()
        wait_for_end(stream)
        assert 0.1 < watch.elapsed() < seconds(1.5)
    weir.wait_for_outcomes(idle_timeout=1)


def test_idle_counts_both_directions(start_timed):
    """A server that speaks to a silent client keeps the session alive."""

    def ticking(stream):
        for _ in range(5):
            stream.send(b"t")
            time.sleep(0.2)
        stream.finish()
        stream.receive_all()

    weir = start_timed(ticking, idle="500ms")
    with weir.connect() as stream:
        assert stream.receive_all() == b"ttttt"
    weir.wait_for_outcomes(server_closed=1)


def test_half_close_after_the_client(start_timed):
    released = threading.Event()
    weir = start_timed(unmoved(released), half_close="300ms")
    try:
        with weir.connect() as stream:
            stream.finish()
            watch = Stopwatch()
            wait_for_end(stream)
            assert 0.25 < watch.elapsed() < seconds(1.5)
        weir.wait_for_outcomes(half_close_timeout=1)
    finally:
        released.set()


def test_half_close_after_the_server(start_timed):
    released = threading.Event()

    def leaving(stream):
        stream.receive_exactly(1)
        stream.finish()
        released.wait(30)

    weir = start_timed(leaving, half_close="300ms")
    try:
        with weir.connect() as stream:
            stream.send(b"x")
            assert stream.receive_all() == b""
            weir.wait_for_outcomes(half_close_timeout=1)
    finally:
        released.set()


def test_half_close_does_not_cut_a_busy_direction(start_timed):
    """The client is done; the server goes on for longer than the timeout."""

    def slow_answer(stream):
        stream.receive_all()
        for _ in range(6):
            stream.send(b"a")
            time.sleep(0.1)

    weir = start_timed(slow_answer, half_close="300ms")
    with weir.connect() as stream:
        stream.finish()
        assert stream.receive_all() == b"aaaaaa"
    weir.wait_for_outcomes(client_closed=1)


def test_half_close_leaves_what_was_sent_to_a_slow_reader(start_timed):
    """The server is done, its last bytes wait in the kernel for a client that takes its time."""
    answer = b"a" * 60_000

    def brief(stream):
        stream.receive_exactly(1)
        stream.send(answer)
        stream.finish()

    weir = start_timed(brief, half_close="300ms")
    with weir.connect(receive_buffer=4096) as stream:
        stream.send(b"x")
        weir.wait_for_outcomes(half_close_timeout=1)
        assert stream.receive_all() == answer


def test_idle_does_not_pretend_that_an_answer_is_whole(start_timed):
    """A reader that stalls for longer than idle loses its connection, and can tell."""

    def endless(stream):
        stream.receive_exactly(1)
        with contextlib.suppress(OSError):
            while True:
                stream.send(b"a" * 65536)

    weir = start_timed(endless, idle="500ms")
    with weir.connect() as stream:
        stream.send(b"x")
        weir.wait_for_outcomes(idle_timeout=1)
        with pytest.raises(ConnectionResetError):
            stream.receive_all()


def test_session(start_timed):
    weir = start_timed(echo, session="700ms")
    watch = Stopwatch()
    with weir.connect() as stream:
        with pytest.raises((ConnectionResetError, BrokenPipeError, EOFError)):
            while watch.elapsed() < seconds(10):
                stream.send(b"x")
                stream.receive_exactly(1)
                time.sleep(0.02)
        assert 0.65 < watch.elapsed() < seconds(2)
    weir.wait_for_outcomes(session_timeout=1)


def test_first_byte(start_timed):
    weir = start_timed(silent, first_byte="300ms")
    with weir.connect() as quiet, weir.connect() as spoken:
        spoken.send(b"x")
        watch = Stopwatch()
        wait_for_end(quiet)
        assert 0.2 < watch.elapsed() < seconds(1.5)
        weir.wait_for_outcomes(client_timeout=1)
        weir.wait_for_open(1)  # the one that has spoken may be silent now
    weir.wait_for_outcomes(client_timeout=1, client_closed=1)


def test_without_first_byte_the_server_may_speak_first(start_weir, start_endpoint):
    def greeting(stream):
        stream.send(b"220 ready\r\n")
        stream.receive_all()

    weir = start_weir(upstream(start_endpoint(greeting)))
    with weir.connect() as stream:
        assert stream.receive_exactly(11) == b"220 ready\r\n"
    weir.wait_for_outcomes(client_closed=1)
