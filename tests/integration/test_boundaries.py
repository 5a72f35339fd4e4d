"""Where a read stops although there is more: urgent data, and descriptors on a unix socket."""

import contextlib
import hashlib
import os
import signal
import socket

import pytest

from support import transfer
from support.configuration import listener, upstream

MIB = 1 << 20


@contextlib.contextmanager
def stopped(weir):
    """What is sent meanwhile lies there in one piece when Weir looks."""
    os.kill(weir.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(weir.pid, signal.SIGCONT)


def collector(received):
    def handle(stream):
        received.append(stream.receive_exactly(8))
        stream.send(b"got it")
        stream.receive_all()

    return handle


def test_what_stands_behind_urgent_data_does_not_wait(start_weir, start_endpoint):
    received = []
    weir = start_weir(upstream(start_endpoint(collector(received))))
    with weir.connect() as client:
        with stopped(weir):
            client.send(b"AAAA")
            client.socket.send(b"!", socket.MSG_OOB)
            client.send(b"BBBB")
        assert client.receive_exactly(6) == b"got it"
    assert received == [b"AAAABBBB"]  # the urgent byte is not part of the stream


@pytest.mark.parametrize("ends", [True, False], ids=["and then the end", "and no end"])
def test_bulk_goes_on_behind_urgent_data(start_weir, start_endpoint, ends):
    """Bulk goes through a pipe, which urgent data does not pass."""
    first, second = 16 * MIB, 3 * MIB
    digests = []

    def handle(stream):
        digests.append([hashlib.sha256(stream.receive_exactly(size)).hexdigest()
                        for size in (first, second)])
        stream.send(b"done")
        stream.receive_all()

    weir = start_weir(upstream(start_endpoint(handle)))
    with weir.connect() as client:
        for block in transfer.blocks(first, seed=1):
            client.send(block)
        client.socket.send(b"!", socket.MSG_OOB)
        for block in transfer.blocks(second, seed=2):
            client.send(block)
        if ends:
            client.finish()
        assert client.receive_exactly(4) == b"done"
    assert digests == [[transfer.digest_of(first, 1), transfer.digest_of(second, 2)]]


def test_what_stands_behind_a_descriptor_does_not_wait(start_weir, start_endpoint, directory):
    received = []
    path = f"{directory}/front.sock"
    weir = start_weir(upstream(start_endpoint(collector(received))), listener(bind=f"unix:{path}"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        with stopped(weir):
            socket.send_fds(client, [b"CCCC"], [0])
            client.sendall(b"DDDD")
        assert client.recv(100) == b"got it"
    assert received == [b"CCCCDDDD"]
