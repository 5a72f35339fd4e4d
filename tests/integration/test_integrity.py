"""Nothing is lost, nothing is added, nothing changes place: bulk both ways, and many connections
of random size whose ends close in random order."""

import hashlib
import random
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.patience import wait_until
from support import transfer
from support.configuration import listener, tls, upstream

MIB = 1 << 20


def both_ways_endpoint(results, size):
    def handle(stream):
        results.append(transfer.both_ways(stream, size, seed=2))

    return handle


def carry_both_ways(weir, size, results, **options):
    with weir.connect(**options) as client:
        sent, received, digest = transfer.both_ways(client, size, seed=1)
    weir.wait_for_open(0)
    wait_until(lambda: results, "the endpoint has finished too")
    server_sent, server_received, server_digest = results[0]
    assert (received, server_received) == (size, size)
    assert digest == server_sent
    assert server_digest == sent
    metrics = weir.metrics()
    assert metrics.sum("weir_client_received_bytes_total") == size
    assert metrics.sum("weir_client_sent_bytes_total") == size


SIZES = [pytest.param(64 * MIB, id="64MiB"),
         pytest.param(1024 * MIB, id="1GiB", marks=pytest.mark.slow)]


@pytest.mark.parametrize("size", SIZES)
def test_tls_carries_both_ways_at_once(start_weir, start_endpoint, certificates, size):
    results = []
    endpoint = start_endpoint(both_ways_endpoint(results, size))
    weir = start_weir(upstream(endpoint), listener(tls="public"), tls(certificates.localhost()))
    carry_both_ways(weir, size, results, tls=certificates.client())


@pytest.mark.parametrize("size", SIZES)
def test_plain_tcp_carries_both_ways_at_once(start_weir, start_endpoint, size):
    results = []
    weir = start_weir(upstream(start_endpoint(both_ways_endpoint(results, size))))
    carry_both_ways(weir, size, results)


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_small_messages_go_on_after_bulk_on_the_same_connection(start_weir, start_endpoint,
                                                                certificates, kind):
    """Bulk is allowed to gather; what is said after it must not wait for more to come."""
    size = 16 * MIB

    def bulk_then_echo(stream):
        for _ in range(3):
            stream.receive_exactly(1)
            for block in transfer.blocks(size, 5):
                stream.send(block)
            for _ in range(20):
                stream.send(stream.receive_line())

    secure = kind == "tls"
    weir = start_weir(upstream(start_endpoint(bulk_then_echo)),
                      listener(tls="public" if secure else "off"),
                      tls(certificates.localhost()) if secure else None)
    options = {"tls": certificates.client()} if secure else {}
    with weir.connect(**options) as stream:
        for _ in range(3):
            stream.send(b"x")
            digest = hashlib.sha256(stream.receive_exactly(size)).hexdigest()
            assert digest == transfer.digest_of(size, seed=5)
            for number in range(20):
                line = b"line %d\n" % number
                stream.send(line)
                assert stream.receive_line() == line


def test_tls_on_both_sides_carries_both_ways_at_once(start_weir, start_endpoint, certificates):
    results, size = [], 64 * MIB
    endpoint = start_endpoint(both_ways_endpoint(results, size),
                              tls=certificates.localhost().server_context())
    weir = start_weir(
        upstream(endpoint, tls={"server_name": "localhost", "ca": certificates.authority}),
        listener(tls="public"), tls(certificates.localhost()))
    carry_both_ways(weir, size, results, tls=certificates.client())


# Random connections. The client says in a header what is going to happen, so that both ends know
# what the bytes must be.

HEADER = struct.Struct("!QQQB")  # client's size, server's size, seed, order
CLIENT_ENDS_FIRST, SERVER_ENDS_FIRST, BOTH_AT_ONCE = range(3)


def expect(stream, size, seed):
    received, digest = transfer.receive(stream)
    assert (received, digest) == (size, transfer.digest_of(size, seed))


def obey(stream):
    """The endpoint: does what the header says."""
    client_size, server_size, seed, order = HEADER.unpack(stream.receive_exactly(HEADER.size))
    sending = None
    if order == SERVER_ENDS_FIRST:
        transfer.send(stream, server_size, seed + 1)
    elif order == BOTH_AT_ONCE:
        sending = transfer.Sending(stream, server_size, seed + 1)
    expect(stream, client_size, seed)
    if order == CLIENT_ENDS_FIRST:
        transfer.send(stream, server_size, seed + 1)
    if sending:
        sending.result()


def play(weir, listener_name, tls_context, seed):
    """The client of one random connection."""
    chance = random.Random(seed)
    client_size, server_size = (random_size(chance) for _ in range(2))
    order = chance.randrange(3)
    with weir.connect(listener_name, tls=tls_context) as stream:
        stream.send(HEADER.pack(client_size, server_size, seed, order))
        sending = None
        if order == CLIENT_ENDS_FIRST:
            transfer.send(stream, client_size, seed)
        elif order == BOTH_AT_ONCE:
            sending = transfer.Sending(stream, client_size, seed)
        expect(stream, server_size, seed + 1)
        if order == SERVER_ENDS_FIRST:
            transfer.send(stream, client_size, seed)
        if sending:
            sending.result()


def random_size(chance):
    """Often nothing or little, sometimes more than every buffer on the way."""
    return chance.choice([0, 1, chance.randrange(100), chance.randrange(20_000),
                          chance.randrange(20_000), chance.randrange(1_000_000)])


def test_2000_random_connections_each_end_with_one_outcome(start_weir, start_endpoint,
                                                           certificates):
    first_seed = random.randrange(1 << 32)
    print(f"first seed: {first_seed}")
    endpoints = [start_endpoint(obey) for _ in range(2)]
    weir = start_weir(
        upstream(*endpoints, balance="least_connections", pool={"min_idle": 4}),
        {"plain": listener(), "secure": listener(tls="public")}, tls(certificates.localhost()))
    kinds = [("plain", None), ("secure", certificates.client())]
    with ThreadPoolExecutor(16) as threads:
        done = [threads.submit(play, weir, *kinds[i % 2], first_seed + i) for i in range(2000)]
    for one in done:
        one.result()
    weir.wait_for_open(0)
    metrics = weir.metrics()
    assert metrics.sum("weir_connections_accepted_total") == 2000
    outcomes = metrics.outcomes()
    assert sum(outcomes.values()) == 2000
    assert set(outcomes) <= {"client_closed", "server_closed"}, outcomes
    assert len(weir.access_log(2000)) == 2000
