"""A reader that stalls costs next to nothing, and continues intact."""

import hashlib
import time

import pytest

from support import transfer
from support.configuration import listener, tls, upstream
from support.endpoints import source
from support.processes import resident_kib

MIB = 1 << 20
GROWTH_KIB = 8 * 1024


@pytest.mark.figures
@pytest.mark.parametrize("kind", ["plain", "tls"])
@pytest.mark.parametrize("size, stall", [
    pytest.param(64 * MIB, 1.0, id="64MiB"),
    pytest.param(1024 * MIB, 30.0, id="1GiB", marks=pytest.mark.slow)])
def test_a_stalled_reader(start_weir, start_endpoint, certificates, kind, size, stall):
    secure = kind == "tls"
    weir = start_weir(upstream(start_endpoint(source(size, seed=4))),
                      listener(tls="public" if secure else "off"),
                      tls(certificates.localhost()) if secure else None)
    options = {"tls": certificates.client()} if secure else {}
    with weir.connect(**options) as warm:  # code and allocator have been used once
        warm.send(b"x")
        warm.receive_exactly(2 * MIB)
        warm.abort()
    weir.wait_for_open(0)
    before = resident_kib(weir.pid)
    with weir.connect(**options) as stream:
        stream.send(b"x")
        beginning = stream.receive_exactly(MIB)
        most = watch_memory(weir, stall)
        rest, digest = receive_rest(stream, beginning)
    print(f"resident memory grew by {most - before} KiB at most")
    assert (rest, digest) == (size, transfer.digest_of(size, seed=4))
    assert most - before < GROWTH_KIB


def watch_memory(weir, duration):
    """The most resident memory in the next `duration` seconds, in KiB."""
    end, most = time.monotonic() + duration, 0
    while time.monotonic() < end:
        most = max(most, resident_kib(weir.pid))
        time.sleep(0.05)
    return most


def receive_rest(stream, beginning):
    digest, size = hashlib.sha256(beginning), len(beginning)
    while piece := stream.receive():
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


@pytest.mark.figures
def test_many_stalled_readers(start_weir, start_endpoint):
    """A hundred of them hold a bounded buffer each."""
    weir = start_weir(upstream(start_endpoint(source(4 * MIB, seed=4))))
    before = resident_kib(weir.pid)
    streams = [weir.connect() for _ in range(100)]
    for stream in streams:
        stream.send(b"x")
    most = watch_memory(weir, 1.0)
    for stream in streams:
        with stream:
            assert transfer.receive(stream) == (4 * MIB, transfer.digest_of(4 * MIB, seed=4))
    print(f"resident memory grew by {(most - before) / 100:.0f} KiB a stalled reader")
    assert most - before < 100 * 1024
