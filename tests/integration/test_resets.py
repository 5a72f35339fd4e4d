"""A stream that was cut must not look finished: a reset travels on as a reset."""

import threading

import pytest

from support.configuration import listener, tls, upstream
from support.endpoints import echo
from support.patience import wait_until
from support.streams import Truncated

BEGINNING = b"the first half"


def cut_short(stream):
    """Sends the beginning of an answer, then a RST."""
    stream.receive_exactly(1)
    stream.send(BEGINNING)
    stream.receive_exactly(1)  # the client has it
    stream.abort()


def test_a_servers_reset_reaches_a_plain_client(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(cut_short)))
    with weir.connect() as stream:
        stream.send(b"x")
        assert stream.receive_exactly(len(BEGINNING)) == BEGINNING
        stream.send(b"x")
        with pytest.raises(ConnectionResetError):
            stream.receive_all()
    weir.wait_for_outcomes(server_reset=1)


def test_a_servers_reset_reaches_a_tls_client(start_weir, start_endpoint, certificates):
    weir = start_weir(upstream(start_endpoint(cut_short)), listener(tls="public"),
                      tls(certificates.localhost()))
    with weir.connect(tls=certificates.client()) as stream:
        stream.send(b"x")
        assert stream.receive_exactly(len(BEGINNING)) == BEGINNING
        stream.send(b"x")
        with pytest.raises((ConnectionResetError, Truncated)):  # but no close_notify
            stream.receive_all()
    weir.wait_for_outcomes(server_reset=1)


def test_a_clients_reset_reaches_the_server(start_weir, start_endpoint):
    ends = []

    def watch(stream):
        stream.receive_exactly(1)
        stream.send(b"x")
        try:
            stream.receive_all()
            ends.append("finished")
        except ConnectionResetError:
            ends.append("reset")

    weir = start_weir(upstream(start_endpoint(watch)))
    stream = weir.connect()
    stream.send(b"x")
    assert stream.receive_exactly(1) == b"x"
    stream.abort()
    weir.wait_for_outcomes(client_reset=1)
    wait_until(lambda: ends, "the server sees the end")
    assert ends == ["reset"]


def test_a_reset_after_the_half_close_is_still_a_reset(start_weir, start_endpoint):
    """The client has finished; the answer is cut."""

    def answer_half(stream):
        stream.receive_all()
        stream.send(BEGINNING)
        stream.abort()

    weir = start_weir(upstream(start_endpoint(answer_half)))
    with weir.connect() as stream:
        stream.finish()
        with pytest.raises(ConnectionResetError):
            stream.receive_all()
    weir.wait_for_outcomes(server_reset=1)


def test_bytes_before_an_orderly_close_all_arrive(start_weir, start_endpoint):
    """The server answers and closes while the client still sends: the answer is not lost."""
    answer = b"413 too large\r\n" * 1000

    def refuse(stream):
        stream.receive_exactly(100)
        stream.send(answer)
        stream.finish()
        stream.receive_all()

    weir = start_weir(upstream(start_endpoint(refuse)))
    with weir.connect() as stream:
        stream.send(b"x" * 200_000)
        assert stream.receive_all() == answer
        stream.finish()
    weir.wait_for_outcomes(server_closed=1)


@pytest.mark.parametrize("size", [1, 16 * 1024, 16 * 1024 + 1, 300_000])
def test_sizes_around_a_tls_record(start_weir, start_endpoint, certificates, size):
    weir = start_weir(upstream(start_endpoint(echo)), listener(tls="public"),
                      tls(certificates.localhost()))
    data = bytes(i % 251 for i in range(size))
    with weir.connect(tls=certificates.client()) as stream:
        for _ in range(3):
            stream.send(data)
            assert stream.receive_exactly(size) == data


def test_a_clients_reset_is_noticed_while_the_server_takes_nothing(start_weir, start_endpoint):
    released = threading.Event()
    weir = start_weir(upstream(start_endpoint(lambda stream: released.wait(60))))
    try:
        stream = weir.connect()
        stream.set_timeout(0.5)
        with pytest.raises(TimeoutError):
            while True:
                stream.send(b"x" * 65536)
        stream.abort()
        weir.wait_for_outcomes(client_reset=1)
    finally:
        released.set()
