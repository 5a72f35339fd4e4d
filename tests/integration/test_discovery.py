"""Endpoints by name: they follow the answers of DNS, nothing that works is cut off, and when DNS
fails everything goes on as it was."""

import collections
import threading
import time

import pytest

from support.configuration import listener, upstream
from support.dns import NXDOMAIN, SERVFAIL, SILENCE, NameServer
from support.endpoints import Endpoint, named
from support.load import Load
from support.patience import Stopwatch, holds_for, seconds, wait_until

NAME = "db.test"
HOSTS = {"a": "127.0.0.1", "b": "127.0.0.2", "c": "127.0.0.3", "d": "127.0.0.4"}


@pytest.fixture
def dns():
    server = NameServer()
    yield server
    server.close()


@pytest.fixture
def hosts():
    """Four endpoints on one port, as the addresses of a name must be; each answers with its own
    letter."""
    while True:
        made = {"a": Endpoint(named("a"), bind="127.0.0.1:0")}
        try:
            for name in "bcd":
                made[name] = Endpoint(named(name), bind=f"{HOSTS[name]}:{made['a'].port}")
            break
        except OSError:  # this port of that address is another program's
            for endpoint in made.values():
                endpoint.close()
    yield made
    for endpoint in made.values():
        endpoint.close()


@pytest.fixture
def start_named(start_weir, dns, hosts):
    """start_named(dns={...}, **keys) -> Weir whose upstream is the name"""

    def start(more=None, workers=2, **keys):
        settings = {"servers": [dns.address], **(more or {})}
        return start_weir(upstream(f"{NAME}:{hosts['a'].port}", dns=settings, **keys), listener(),
                          workers=workers)

    return start


def addresses(names):
    return [HOSTS[name] for name in names]


def answers(weir, count=12):
    return collections.Counter(weir.ask() for _ in range(count))


def wait_for_endpoints(weir, hosts, names, timeout=5):
    """Until /status lists exactly these."""
    wanted = {hosts[name].address for name in names}

    def listed():
        [found] = weir.admin.status()["upstreams"]
        return {each["address"] for each in found["endpoints"]} == wanted

    wait_until(listed, f"the endpoints are {names}", timeout)


def hold(weir, wanted):
    """A session on the endpoint of that name."""
    for _ in range(20):
        stream = weir.connect()
        stream.send(b"?\n")
        if stream.receive_line() == wanted.encode() + b"\n":
            return stream
        stream.close()
    raise AssertionError(f"nobody was sent to {wanted}")


def test_every_address_of_a_name_is_an_endpoint(start_named, dns, hosts):
    dns.set(NAME, a=addresses("abc"))
    weir = start_named()
    wait_for_endpoints(weir, hosts, "abc")
    assert answers(weir) == {"a": 4, "b": 4, "c": 4}
    metrics = weir.metrics()
    labels = {each.labels["endpoint"] for each in metrics.find("weir_endpoint_healthy")}
    assert labels == {hosts[name].address for name in "abc"}  # what is dialled, not the name
    assert metrics.sum("weir_dns_refreshes_total", result="ok") >= 1


def test_sessions_follow_a_changed_answer(start_named, dns, hosts, directory):
    """From {a, b} to {b, c} under load: within the time to live new sessions go to the new ones,
    those of the endpoint that left go on, and nobody loses anything."""
    dns.set(NAME, a=addresses("ab"), ttl=1)
    weir = start_named({"min": "200ms", "max": "10s"}, pool={"min_idle": 2, "anticipate": 0})
    wait_until(lambda: (hosts["a"].open, hosts["b"].open) == (2, 2), "both are warm")
    held = hold(weir, "a")
    load = Load(directory, weir.address(), rate=100)
    try:
        load.wait_for_answers(100)
        dns.set(NAME, a=addresses("bc"), ttl=1)
        changed = time.monotonic()
        wait_until(lambda: hosts["a"].open == 1, "only the held session is left", timeout=3)
        wait_until(lambda: time.monotonic() > changed + seconds(1.5), "the time to live is over")
        load.wait_for_answers(100)
        sessions = load.stop()
    finally:
        load.kill()
    assert [each for each in sessions if each.error] == []
    before = {each.answer for each in sessions if each.began < changed}
    late = {each.answer for each in sessions if each.began > changed + seconds(1.5)}
    assert (before, late) == ({"a", "b"}, {"b", "c"})
    for _ in range(3):  # it drains: as long as it likes
        held.send(b"?\n")
        assert held.receive_line() == b"a\n"
    held.close()
    weir.wait_for_open(0)
    wait_until(lambda: hosts["a"].open == 0, "a is left alone")
    assert set(weir.outcomes()) == {"client_closed"}
    assert weir.metrics().sum("weir_pool_closed_total", reason="removed") >= 2
    assert not weir.metrics().find("weir_endpoint_healthy", endpoint=hosts["a"].address)


def test_one_that_comes_is_warmed(start_named, dns, hosts):
    dns.set(NAME, a=addresses("a"), ttl=1)
    weir = start_named({"min": "200ms"}, pool={"min_idle": 3, "anticipate": 0})
    wait_until(lambda: hosts["a"].open == 3, "a is warm")
    dns.set(NAME, a=addresses("ab"), ttl=1)
    wait_until(lambda: hosts["b"].open == 3, "b is warm without a client")
    assert hosts["a"].accepted == 3  # that stayed as it was
    assert weir.metrics().sum("weir_pool_closed_total") == 0


def test_sessions_of_one_that_left_end_if_told_so(start_named, dns, hosts):
    dns.set(NAME, a=addresses("ab"), ttl=1)
    weir = start_named({"min": "200ms"}, when_endpoint_removed="close")
    wait_for_endpoints(weir, hosts, "ab")
    on_a, on_b = hold(weir, "a"), hold(weir, "b")
    dns.set(NAME, a=addresses("b"), ttl=1)
    with on_a, on_b:
        try:
            assert on_a.receive_all() == b""
        except ConnectionResetError:
            pass
        on_b.send(b"?\n")
        assert on_b.receive_line() == b"b\n"


def test_one_that_leaves_and_comes_back(start_named, dns, hosts):
    dns.set(NAME, a=addresses("ab"), ttl=1)
    weir = start_named({"min": "100ms", "refresh": "100ms"})
    for names in ("a", "ab", "b", "ab", "cd", "ab"):
        dns.set(NAME, a=addresses(names), ttl=1)
        wait_for_endpoints(weir, hosts, names)
        assert set(answers(weir, 2 * len(names))) == set(names)
    assert set(weir.outcomes()) == {"client_closed"}


@pytest.mark.parametrize("failure", [
    "NXDOMAIN", "SERVFAIL", "death", pytest.param("silence", marks=pytest.mark.slow)])
def test_the_last_good_answer_is_kept(start_named, dns, hosts, failure):
    dns.set(NAME, a=addresses("ab"), ttl=1)
    weir = start_named({"min": "100ms", "refresh": "100ms"}, pool={"min_idle": 2, "anticipate": 0})
    wait_until(lambda: (hosts["a"].open, hosts["b"].open) == (2, 2), "both are warm")
    held = hold(weir, "a")
    if failure == "death":
        dns.close()
    else:
        dns.fail(NAME, {"NXDOMAIN": NXDOMAIN, "SERVFAIL": SERVFAIL, "silence": SILENCE}[failure])

    def failed():
        return weir.metrics().sum("weir_dns_refreshes_total", result="failed")

    wait_until(lambda: failed() >= 1, "Weir notices", timeout=20)
    for _ in range(2):
        assert set(answers(weir, 8)) == {"a", "b"}
        more = failed()
        wait_until(lambda before=more: failed() > before, "it goes on trying", timeout=20)
    assert weir.metrics().sum("weir_dns_age_seconds") > 0
    held.send(b"?\n")
    assert held.receive_line() == b"a\n"
    held.close()
    weir.wait_for_open(0)
    assert weir.metrics().sum("weir_pool_closed_total", reason="removed") == 0
    assert set(weir.outcomes()) == {"client_closed"}


def test_a_resolver_that_comes_back_is_heard(start_named, dns, hosts):
    dns.set(NAME, a=addresses("a"), ttl=1)
    weir = start_named({"min": "100ms", "max": "500ms"})
    wait_for_endpoints(weir, hosts, "a")
    dns.close()
    wait_until(lambda: weir.metrics().sum("weir_dns_refreshes_total", result="failed") >= 1,
               "Weir notices", timeout=20)
    again = NameServer(port=dns.port)
    try:
        again.set(NAME, a=addresses("b"), ttl=1)
        wait_for_endpoints(weir, hosts, "b", timeout=20)
        assert weir.ask() == "b"
    finally:
        again.close()


def test_the_start_does_not_wait_for_a_dead_resolver(start_weir, start_endpoint, dns, hosts):
    """Endpoints that are addresses serve at once; those of the name come when it is found."""
    dns.fail(NAME, SILENCE)
    other = start_endpoint(named("other"))
    settings = {"servers": [dns.address], "min": "100ms", "max": "500ms"}
    watch = Stopwatch()
    weir = start_weir({"api": upstream(f"{NAME}:{hosts['a'].port}", dns=settings),
                       "mixed": upstream(f"{NAME}:{hosts['a'].port}", other, dns=settings)},
                      {"web": listener(), "both": listener("mixed")})
    assert watch.elapsed() < seconds(2)  # and it is ready
    assert [weir.ask(listener="both") for _ in range(3)] == ["other"] * 3
    dns.set(NAME, a=addresses("a"))
    wait_until(lambda: weir.metrics().sum("weir_dns_refreshes_total", result="ok") >= 2,
               "both upstreams have found it", timeout=30)
    assert weir.ask() == "a"
    assert set(weir.ask(listener="both") for _ in range(4)) == {"a", "other"}


def test_a_session_waits_for_the_first_answer(start_named, dns):
    """Not longer than for any other connection; and it is told why when there is none."""
    dns.fail(NAME, SILENCE)
    weir = start_named(pool={"acquire_timeout": "5s"})
    stream = weir.connect()
    stream.send(b"?\n")
    wait_until(lambda: dns.count(NAME) >= 1, "the name is looked up")
    dns.set(NAME, a=addresses("a"))
    assert stream.receive_line() in (b"a\n", b"")  # c-ares asks again only after a while
    stream.close()
    wait_until(lambda: weir.ask() == "a", "the name is found", timeout=30)


def test_a_name_that_does_not_exist_is_said_so(start_named):
    weir = start_named()  # nothing is known of any name
    with weir.connect() as stream:
        assert stream.receive_all() == b""
    weir.wait_for_outcomes(no_healthy_endpoint=1)
    assert NAME in weir.access_log(1)[0]["detail"]
    assert NAME in weir.process.errors()


def intervals(dns, name=NAME, kind="A"):
    times = dns.times[name, kind]
    return [later - earlier for earlier, later in zip(times, times[1:])]


@pytest.mark.parametrize("ttl, settings, expected", [
    (0, {"min": "400ms"}, 0.4), (3600, {"min": "100ms", "max": "400ms"}, 0.4),
    (1, {"min": "100ms"}, 1.0), (3600, {"refresh": "400ms", "min": "100ms"}, 0.4)],
    ids=["not below min", "not above max", "the time to live", "refresh"])
def test_the_time_between_two_look_ups(start_named, dns, ttl, settings, expected):
    """Jittered, so within a quarter; and asked by the whole process once, not by each worker."""
    dns.set(NAME, a=addresses("a"), ttl=ttl)
    start_named(settings)
    wait_until(lambda: dns.count(NAME) >= 5, "five look-ups", timeout=12)
    found = intervals(dns)[:4]
    assert 0.75 * expected <= min(found), found
    assert sum(found) / len(found) <= 1.25 * expected + seconds(0.1), found


def test_srv_records_name_ports_and_weights(start_weir, start_endpoint, dns):
    three, one, spare = (start_endpoint(named(name)) for name in ("three", "one", "spare"))
    dns.set("one.test", a=["127.0.0.1"])
    dns.set("_api._tcp.test", srv=[(0, 30, three.port, "one.test"), (0, 10, one.port, "one.test"),
                                   (1, 10, spare.port, "one.test")])
    weir = start_weir(upstream("srv:_api._tcp.test",
                               dns={"servers": [dns.address], "min": "100ms", "max": "200ms"}),
                      workers=1)
    wait_until(lambda: len(weir.admin.status()["upstreams"][0]["endpoints"]) == 3, "three of them")
    assert answers(weir, 40) == {"three": 30, "one": 10}  # the lowest priority first
    dns.set("_api._tcp.test", srv=[(0, 1, spare.port, "one.test")])
    wait_until(lambda: len(weir.admin.status()["upstreams"][0]["endpoints"]) == 1, "one of them")
    assert answers(weir, 4) == {"spare": 4}


def test_aliases_and_ipv6(start_weir, dns):
    """A and AAAA records of a name that is another's alias."""
    try:
        six = Endpoint(named("six"), bind="[::1]:0")
    except OSError:
        pytest.skip("no IPv6 on loopback")
    try:
        four = Endpoint(named("four"), bind=f"127.0.0.1:{six.port}")
    except OSError:
        six.close()
        pytest.skip("the port is another program's")
    try:
        dns.set("real.test", a=["127.0.0.1"], aaaa=["::1"])
        dns.set(NAME, cname="real.test")
        weir = start_weir(upstream(f"{NAME}:{six.port}", dns={"servers": [dns.address]}))
        wait_until(lambda: len(weir.admin.status()["upstreams"][0]["endpoints"]) == 2, "both")
        assert answers(weir, 8) == {"four": 4, "six": 4}
        weir.finish()
    finally:
        four.close()
        six.close()


def test_a_long_answer_comes_over_tcp(start_named, dns, hosts):
    """More than a datagram holds."""
    dns.set(NAME, a=addresses("ab") + [f"127.0.9.{i}" for i in range(1, 60)])
    weir = start_named()
    wait_until(lambda: len(weir.admin.status()["upstreams"][0]["endpoints"]) == 61, "all of them")
    assert dns.asked_over_tcp >= 1


def test_tls_verifies_the_name_not_the_address(start_weir, start_endpoint, dns, certificates):
    certificate = certificates.issue(NAME)
    endpoint = start_endpoint(named("secure"), tls=certificate.server_context())
    dns.set(NAME, a=["127.0.0.1"])
    weir = start_weir(upstream(f"{NAME}:{endpoint.port}", dns={"servers": [dns.address]},
                               tls={"ca": certificates.authority}))
    assert weir.ask() == "secure"


def test_changes_under_load_lose_nobody(start_named, dns, hosts, directory):
    """The answer changes several times a second; sessions are short and long."""
    dns.set(NAME, a=addresses("ab"), ttl=0)
    weir = start_named({"min": "50ms", "max": "50ms"}, pool={"min_idle": 2}, balance="random_two")
    wait_for_endpoints(weir, hosts, "ab")
    changing = threading.Event()

    def change():
        names = ["ab", "bc", "cd", "da", "abcd", "a"]
        while not changing.wait(0.15):
            names.append(names.pop(0))
            dns.set(NAME, a=addresses(names[0]), ttl=0)

    thread = threading.Thread(target=change, daemon=True)
    thread.start()
    load = Load(directory, weir.address(), rate=200, pattern="random")
    try:
        held = [hold(weir, name) for name in "ab"]
        load.wait_for_answers(600, timeout=20)
        sessions = load.stop()
        for stream, name in zip(held, "ab"):
            with stream:
                stream.send(b"?\n")
                assert stream.receive_line() == name.encode() + b"\n"
    finally:
        load.kill()
        changing.set()
        thread.join()
    assert [each for each in sessions if each.error] == []
    assert {each.answer for each in sessions} == set("abcd")
    holds_for(lambda: weir.is_running(), "Weir runs", 0.1)
