"""Who gets the next session: hash keeps a client where it was, also over two instances and when
endpoints leave; random_two looks at how loaded two of them are."""

import collections
import contextlib

import pytest

from support.configuration import listener, tls, upstream
from support.endpoints import named
from support.patience import wait_until

CLIENTS = [f"127.0.1.{number}" for number in range(1, 61)]
NAMES = "abcd"


@pytest.fixture
def endpoints(start_endpoint):
    return {name: start_endpoint(named(name)) for name in NAMES}


def ask_alone(weir, **options):
    """With no other session open: the bound on the load looks at those."""
    answer = weir.ask(**options)
    wait_until(lambda: weir.metrics().sum("weir_pool_connections", state="leased") == 0,
               "the session has ended")
    return answer


def where(weir, clients=CLIENTS):
    """{client: the endpoint it is sent to}"""
    return {client: ask_alone(weir, source=client) for client in clients}


def hold(weir, count, **options):
    """So many sessions at once; returns them and how many each endpoint has."""
    streams = [weir.connect(**options) for _ in range(count)]
    names = []
    for stream in streams:
        stream.send(b"?\n")
        names.append(stream.receive_line().decode().strip())
    return streams, collections.Counter(names)


def close(streams):
    for stream in streams:
        stream.close()


def test_hash_keeps_a_client_where_it_was(start_weir, endpoints):
    weir = start_weir(upstream(*endpoints.values(), balance="hash"), workers=2)
    first = where(weir)
    shares = collections.Counter(first.values())
    assert set(shares) == set(NAMES) and min(shares.values()) >= 5, shares
    for client in CLIENTS[:15]:
        assert [ask_alone(weir, source=client) for _ in range(3)] == [first[client]] * 3


def test_two_instances_agree(start_weir, endpoints):
    """Whatever the order in which their configurations name the endpoints."""
    ordered = list(endpoints.values())
    one = start_weir(upstream(*ordered, balance="hash"))
    other = start_weir(upstream(*reversed(ordered), balance="hash"))
    assert where(one) == where(other)


def test_one_that_leaves_moves_its_own_clients(start_weir, endpoints):
    """And hardly any other: about one of N."""
    whole = start_weir(upstream(*endpoints.values(), balance="hash"))
    before = where(whole)
    without_d = start_weir(upstream(*(endpoints[name] for name in "abc"), balance="hash"))
    after = where(without_d)
    assert set(after.values()) == set("abc")
    moved = {client for client in CLIENTS if before[client] != after[client]}
    own = {client for client in CLIENTS if before[client] == "d"}
    assert own <= moved
    assert len(moved - own) <= 0.1 * len(CLIENTS), (len(moved), len(own))


def test_an_unhealthy_one_is_replaced_client_by_client(start_weir, endpoints, start_endpoint):
    """Its own clients go elsewhere, hardly any other, and all come back."""
    weir = start_weir(upstream(*endpoints.values(), balance="hash", health_check={
        "interval": "200ms", "fast_interval": "50ms", "timeout": "500ms", "healthy_after": 2,
        "unhealthy_after": 2}))
    clients = CLIENTS[:24]
    before = where(weir, clients)
    address = endpoints["d"].address
    endpoints["d"].close()
    wait_for_health(weir, address, 0)
    after = where(weir, clients)
    assert "d" not in after.values()
    moved = [client for client in clients if before[client] not in ("d", after[client])]
    assert len(moved) <= 0.1 * len(clients), moved
    start_endpoint(named("d"), bind=address)
    wait_for_health(weir, address, 1)
    assert where(weir, clients) == before


def wait_for_health(weir, address, value):
    wait_until(lambda: weir.metrics().sum("weir_endpoint_healthy", endpoint=address) == value,
               f"health of {address} is {value}")


@pytest.mark.parametrize("count", [4, 9, 40])
def test_hash_bounds_the_load_by_a_quarter_more(start_weir, endpoints, count):
    """One client with many sessions is more than one endpoint's fair share: the rest go on to
    others."""
    weir = start_weir(upstream(*endpoints.values(), balance="hash"))
    streams, shares = hold(weir, count, source="127.0.1.1")
    most = -(-5 * count // (4 * len(NAMES)))  # the ceiling of 1.25 times the mean
    assert max(shares.values()) <= most + 1, shares
    assert max(shares.values()) >= most - 1, shares  # and no sooner than that
    peaks = [endpoint.peak for endpoint in endpoints.values()]
    assert max(peaks) <= most + 1
    close(streams)


def test_weights_count_for_hash(start_weir, start_endpoint):
    three, one = start_endpoint(named("three")), start_endpoint(named("one"))
    weir = start_weir(upstream({"address": three.address, "weight": 3}, one, balance="hash"))
    shares = collections.Counter(where(weir).values())
    assert 0.6 * len(CLIENTS) <= shares["three"] <= 0.9 * len(CLIENTS), shares


def test_hash_on_the_server_name(start_weir, endpoints, certificates):
    names = [f"tenant{number}.test" for number in range(24)]
    weir = start_weir(upstream(*endpoints.values(), balance="hash", hash_on="server_name"),
                      listener(tls="public"), tls(certificates.localhost()))
    context = certificates.client(check_hostname=False)

    def ask(name, client):
        return ask_alone(weir, tls=context, server_name=name, source=client)

    first = {name: ask(name, "127.0.1.1") for name in names}
    assert len(set(first.values())) >= 3
    assert {name: ask(name, "127.0.1.99") for name in names} == first


def test_random_two_spreads(start_weir, endpoints):
    weir = start_weir(upstream(*endpoints.values(), balance="random_two"), workers=2)
    shares = collections.Counter(weir.ask() for _ in range(200))
    assert sum(shares.values()) == 200
    assert min(shares[name] for name in NAMES) >= 20, shares


def test_random_two_prefers_the_less_loaded(start_weir, endpoints):
    """Of two at random: so the most and the least loaded are never far apart. With one at random
    they would be about 13 apart."""
    weir = start_weir(upstream(*endpoints.values(), balance="random_two"), workers=2)
    streams, shares = hold(weir, 200)
    assert max(shares.values()) - min(shares.values()) <= 6, shares
    assert sum(endpoint.open for endpoint in endpoints.values()) == 200
    close(streams)


def test_random_two_with_one_endpoint(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("only")), balance="random_two"))
    assert [weir.ask() for _ in range(5)] == ["only"] * 5


@pytest.mark.parametrize("balance", ["round_robin", "least_connections", "random_two", "hash"])
def test_every_balancer_keeps_to_the_tier_and_passes_over_weight_0(start_weir, start_endpoint,
                                                                   endpoints, balance):
    drained, later = start_endpoint(named("drained")), start_endpoint(named("later"))
    weir = start_weir(upstream(*(endpoints[name] for name in "ab"),
                               {"address": drained.address, "weight": 0},
                               {"address": later.address, "tier": 1}, balance=balance))
    answers = {ask_alone(weir, source=client) for client in CLIENTS[:16]}
    assert answers == {"a", "b"}
    assert (drained.accepted, later.accepted) == (0, 0)


@pytest.mark.parametrize("balance", ["round_robin", "least_connections", "random_two", "hash"])
def test_every_balancer_finds_the_one_that_is_alive(start_weir, endpoints, balance):
    """Three of four refuse: each client is served all the same."""
    weir = start_weir(upstream(*endpoints.values(), balance=balance, attempts=4))
    for name in "abc":
        with contextlib.suppress(OSError):
            endpoints[name].close()
    assert {weir.ask(source=client) for client in CLIENTS[:16]} == {"d"}
