"""A reload: what did not change goes on untouched, what changed changes for all that come after,
and a bad configuration changes nothing."""

import os
import signal
import socket
import threading

import pytest

from support import address as addresses
from support import streams
from support.configuration import listener, quick_checks, tls, upstream
from support.dns import SERVFAIL, NameServer
from support.endpoints import echo, named
from support.patience import holds_for, wait_until
from support.processes import read_text


def pool_of(weir, state, **labels):
    return weir.metrics().sum("weir_pool_connections", state=state, **labels)


def line_of(stream, request=b"?\n"):
    stream.send(request)
    return stream.receive_line().decode().strip()


@pytest.fixture
def start(start_weir, start_endpoint):
    """start(listeners, **upstream keys) -> Weir with the upstreams a and b, whose endpoints answer
    with their names; `web` leads to a."""

    def begin(listeners=None, top=None, **keys):
        upstreams = {name: upstream(start_endpoint(named(name)), **keys) for name in "ab"}
        return start_weir(upstreams, listeners or listener("a"), **(top or {}))

    return begin


def test_nothing_changed_is_nothing_touched(start):
    weir = start(pool={"min_idle": 3})
    wait_until(lambda: pool_of(weir, "idle", upstream="a") == 3, "the pool is warm")
    port = weir.port()
    with weir.connect() as stream:
        assert line_of(stream) == "a"
        wait_until(lambda: pool_of(weir, "idle", upstream="a") == 3, "it is warm again")
        before = weir.metrics()
        status = weir.reload()
        assert status["ok"] == 1 and status["reason"] == ""
        assert line_of(stream) == "a"
        after = weir.metrics()
    assert weir.port() == port
    assert after.sum("weir_pool_closed_total") == before.sum("weir_pool_closed_total")
    assert after.sum("weir_connections_accepted_total") == 1
    assert after.sum("weir_config_reloads_total", result="ok") == 1
    assert after.sum("weir_config_last_reload_successful") == 1


def test_a_bad_file_changes_nothing_and_says_so(start):
    weir = start()
    weir.settings["listeners"]["web"]["upstreem"] = "b"
    status = weir.reload(good=False)
    assert "weir.yaml" in status["reason"] and "did you mean" in status["reason"]
    assert "not reloaded" in weir.process.errors()
    metrics = weir.metrics()
    assert metrics.sum("weir_config_last_reload_successful") == 0
    assert metrics.sum("weir_config_reloads_total", result="refused") == 1
    assert weir.ask() == "a"
    weir.reload("listeners: [", good=False)
    weir.reload("", good=False)
    assert weir.ask() == "a"
    del weir.settings["listeners"]["web"]["upstreem"]
    assert weir.reload()["reason"] == ""
    assert weir.metrics().sum("weir_config_last_reload_successful") == 1


def test_a_file_that_is_gone_changes_nothing(start):
    weir = start()
    before = weir.reloads()
    os.unlink(weir.config_path)
    weir.signal(signal.SIGHUP)
    weir.wait_for_reload(before, good=False)
    assert weir.ask() == "a"


def test_new_sessions_take_the_new_route_and_old_ones_stay(start):
    weir = start()
    with weir.connect() as old:
        assert line_of(old) == "a"
        weir.settings["listeners"]["web"]["upstream"] = "b"
        weir.reload()
        assert weir.ask() == "b"
        assert line_of(old) == "a"


def test_sessions_of_a_removed_upstream_end_by_themselves(start):
    weir = start(pool={"min_idle": 2})
    with weir.connect() as old:
        assert line_of(old) == "a"
        weir.settings["listeners"]["web"]["upstream"] = "b"
        removed = weir.settings["upstreams"].pop("a")
        weir.reload()
        assert weir.ask() == "b"
        assert line_of(old) == "a"
        assert not weir.metrics().find("weir_pool_connections", upstream="a")
    # And it may come back, with its counters.
    weir.settings["upstreams"]["a"] = removed
    weir.settings["listeners"]["web"]["upstream"] = "a"
    weir.reload()
    assert weir.ask() == "a"
    wait_until(lambda: pool_of(weir, "idle", upstream="a") == 2, "it is warm again")
    metrics = weir.metrics()
    assert metrics.sum("weir_pool_closed_total", upstream="a", reason="consumed") >= 2
    # What has been counted in its absence, and before, is not lost.
    assert metrics.outcomes(upstream="a") == {"client_closed": 1}
    assert metrics.outcomes() == {"client_closed": 3}


def test_sessions_of_a_removed_upstream_are_closed_where_that_is_wanted(start):
    weir = start(when_endpoint_removed="close")
    with weir.connect() as old:
        assert line_of(old) == "a"
        weir.settings["listeners"]["web"]["upstream"] = "b"
        del weir.settings["upstreams"]["a"]
        weir.reload()
        with pytest.raises((ConnectionError, EOFError)):
            old.receive_exactly(1)
    assert weir.ask() == "b"
    entry = weir.access_log(2)[0]
    assert entry["reason"] == "drained" and "removed" in entry["detail"]


def test_endpoints_come_and_leave(start_weir, start_endpoint):
    one, two = (start_endpoint(named(name)) for name in ("one", "two"))
    weir = start_weir(upstream(one, pool={"min_idle": 2}))
    with weir.connect() as old:
        assert line_of(old) == "one"
        weir.settings["upstreams"]["api"]["endpoints"].append({"address": two.address})
        weir.reload()
        wait_until(lambda: pool_of(weir, "idle", endpoint=two.address) == 2, "two is warm")
        assert {weir.ask() for _ in range(4)} == {"one", "two"}
        weir.settings["upstreams"]["api"]["endpoints"].pop(0)
        weir.reload()
        assert {weir.ask() for _ in range(4)} == {"two"}
        wait_until(lambda: one.open == 1, "one has only its old session")
        assert line_of(old) == "one"
    assert not weir.metrics().find("weir_pool_connections", endpoint=one.address)


def test_more_endpoints_than_ever_find_a_seat(start_weir, start_endpoint):
    # Each reload takes all endpoints away while sessions hold those that were there.
    generations = [[start_endpoint(named(f"{g}{i}")) for i in range(3)] for g in range(4)]
    weir = start_weir(upstream(*generations[0]))
    held = []
    for number, generation in enumerate(generations):
        weir.settings["upstreams"]["api"]["endpoints"] = [
            {"address": each.address} for each in generation]
        weir.reload()
        names = {f"{number}{i}" for i in range(3)}
        assert {weir.ask() for _ in range(6)} == names
        stream = weir.connect()
        held.append((stream, line_of(stream)))
    for stream, name in held:
        assert line_of(stream) == name
        stream.close()


def test_listeners_come_leave_and_move(start):
    weir = start({"web": listener("a"), "other": listener("b")})
    port = weir.port()
    with weir.connect("other") as old:
        assert line_of(old) == "b"
        other = weir.address("other")
        del weir.settings["listeners"]["other"]
        weir.settings["listeners"]["third"] = listener("b")
        weir.reload()
        assert weir.ask(listener="third") == "b"
        with pytest.raises(ConnectionRefusedError):
            addresses.connect(other)
        assert line_of(old) == "b"
        # Its address moves; the new one is there before the old one goes.
        weir.settings["listeners"]["web"]["bind"] = "127.0.0.2:0"
        weir.reload()
        assert weir.address("web").startswith("127.0.0.2:")
        assert weir.ask() == "a"
        with pytest.raises(ConnectionRefusedError):
            addresses.connect(f"127.0.0.1:{port}")
    metrics = weir.metrics()
    assert not metrics.find("weir_connections_open", listener="other")
    assert metrics.sum("weir_connections_accepted_total", listener="third") == 1


def test_a_socket_goes_from_one_listener_to_another_with_who_waits_in_it(start):
    weir = start({"web": listener("a")})
    address = f"127.0.0.1:{weir.port()}"
    weir.settings["listeners"]["web"]["bind"] = address  # the port it has, by its number
    weir.reload()
    waiting = []
    stop = threading.Event()
    failures = []

    def knock():
        while not stop.is_set():
            try:
                with streams.connect(address, timeout=20) as stream:
                    if line_of(stream) not in ("a", "b"):
                        failures.append("no answer")
            except OSError as error:
                failures.append(error)

    threads = [threading.Thread(target=knock) for _ in range(4)]
    for thread in threads:
        thread.start()
    for round_number in range(10):
        name, target = (("renamed", "b"), ("web", "a"))[round_number % 2]
        weir.settings["listeners"] = {name: listener(target, bind=address)}
        weir.reload()
        waiting.append(weir.ask(listener=name))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert waiting == ["b", "a"] * 5


def test_a_unix_socket_comes_and_goes_with_its_file(start, directory):
    weir = start()
    path = os.path.join(directory, "web.sock")
    weir.settings["listeners"]["web"]["bind"] = ["127.0.0.1:0", f"unix:{path}"]
    weir.reload()
    with streams.connect(f"unix:{path}", timeout=20) as old:
        assert line_of(old) == "a"
        weir.settings["listeners"] = {"renamed": listener("b", bind=f"unix:{path}")}
        weir.reload()
        assert line_of(old) == "a"
    with streams.connect(f"unix:{path}", timeout=20) as stream:
        assert line_of(stream) == "b"
    weir.settings["listeners"] = {"web": listener("a")}
    weir.reload()
    assert not os.path.exists(path)
    assert weir.ask() == "a"


def test_an_address_in_use_refuses_the_whole_reload(start, directory):
    weir = start()
    path = os.path.join(directory, "new.sock")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        weir.settings["listeners"] = {
            "first": listener("b", bind=f"unix:{path}"),
            "web": listener("b", bind=f"127.0.0.1:{port}"),
        }
        status = weir.reload(good=False)
    assert f"127.0.0.1:{port}" in status["reason"] and "another process" in status["reason"]
    assert weir.ask() == "a"
    assert not os.path.exists(path)
    assert list(weir._bound_addresses()) == ["web"]
    weir.reload()
    assert weir.ask() == "b"


def test_limits_of_a_pool_change_in_place(start):
    weir = start(pool={"max_connections": 1})
    with weir.connect() as first:
        # Before the second one comes, whose worker might be faster.
        assert line_of(first) == "a"
        with weir.connect() as second:
            second.send(b"?\n")
            wait_until(lambda: weir.metrics().sum("weir_pool_waiting", upstream="a") == 1,
                       "it waits")
            weir.settings["upstreams"]["a"]["pool"]["max_connections"] = 2
            weir.reload()
            assert second.receive_line() == b"a\n"
            weir.settings["upstreams"]["a"]["pool"]["max_connections"] = 1
            weir.reload()
            assert line_of(first) == line_of(second) == "a"
            with weir.connect() as third:
                third.send(b"?\n")
                wait_until(lambda: weir.metrics().sum("weir_pool_waiting", upstream="a") == 1,
                           "a third one waits")
                first.close()
                holds_for(lambda: weir.metrics().sum("weir_pool_waiting", upstream="a") == 1,
                          "one is still one too many", 0.2)
                second.close()
                assert third.receive_line() == b"a\n"


def test_what_is_kept_ready_follows(start):
    weir = start(pool={"min_idle": 4})
    wait_until(lambda: pool_of(weir, "idle", upstream="a") == 4, "the pool is warm")
    weir.settings["upstreams"]["a"]["pool"] = {"min_idle": 8}
    weir.reload()
    wait_until(lambda: pool_of(weir, "idle", upstream="a") == 8, "it grows")
    assert weir.metrics().sum("weir_pool_closed_total", upstream="a") == 0
    weir.settings["upstreams"]["a"]["pool"] = {"min_idle": 1, "max_idle": 2}
    weir.reload()
    wait_until(lambda: pool_of(weir, "idle", upstream="a") == 2, "the surplus closes")
    weir.settings["upstreams"]["a"]["pool"] = {"min_idle": 0, "max_idle": 2,
                                               "idle_timeout": "100ms"}
    weir.reload()
    wait_until(lambda: pool_of(weir, "idle", upstream="a") == 0, "a shorter time is up")
    weir.settings["upstreams"]["a"]["pool"] = {"mode": "off"}
    weir.reload()
    assert weir.ask() == "a"


def test_limits_of_the_process_change_in_place(start):
    weir = start()
    weir.settings["limits"] = {"connections": 1}
    weir.settings["log"] = {"level": "debug", "format": "json"}
    weir.reload()
    with weir.connect() as held:
        assert line_of(held) == "a"
        assert weir.ask() == ""
        weir.settings["limits"] = {"connections": 2}
        weir.reload()
        assert weir.ask() == "a"
    assert '{"time":' in weir.process.errors().splitlines()[-1]


def test_the_admin_address_moves(start, directory):
    weir = start()
    weir.settings["admin"]["bind"] = f"unix:{directory}/second.sock"
    weir.write()
    weir.signal(signal.SIGHUP)
    weir.admin.address = f"unix:{directory}/second.sock"
    wait_until(weir.admin.is_ready, "it answers at the other address")
    wait_until(lambda: weir.reloads()["ok"] == 1, "the reload has ended")
    assert weir.ask() == "a"


def test_the_access_log_goes_elsewhere(start, directory):
    weir = start()
    assert weir.ask() == "a"
    weir.access_log(1)
    weir.settings["access_log"] = {"path": f"{directory}/other.log", "format": "text"}
    weir.reload()
    assert weir.ask() == "a"
    wait_until(lambda: " web " in read_text(f"{directory}/other.log"), "a line is there")
    weir.settings["access_log"] = {"path": f"{directory}/no/such/folder.log"}
    assert "no/such/folder.log" in weir.reload(good=False)["reason"]
    weir.settings["access_log"] = {"path": "off"}
    weir.reload()
    assert weir.ask() == "a"
    assert len(weir.access_log(1)) == 1


def test_timeouts_are_those_that_a_session_was_accepted_under(start):
    weir = start()
    with weir.connect() as old:
        assert line_of(old) == "a"
        weir.settings["listeners"]["web"]["timeouts"] = {"idle": "200ms"}
        weir.reload()
        with weir.connect() as new:
            assert line_of(new) == "a"
            weir.wait_for_outcomes(idle_timeout=1)
        assert line_of(old) == "a"


def test_health_stays_what_was_found_out(start_weir, start_endpoint):
    good, bad = start_endpoint(named("good")), start_endpoint(named("bad"))
    bad.close()
    weir = start_weir(upstream(good, bad, health_check=quick_checks()))
    healthy = {"endpoint": bad.address}
    wait_until(lambda: weir.metrics().sum("weir_endpoint_healthy", **healthy) == 0, "it is down")
    weir.settings["upstreams"]["api"]["pool"] = {"max_waiting": 7}
    weir.reload()
    assert weir.metrics().sum("weir_endpoint_healthy", **healthy) == 0
    weir.settings["upstreams"]["api"]["health_check"]["interval"] = "100ms"
    weir.reload()
    assert weir.metrics().sum("weir_endpoint_healthy", **healthy) == 0
    checks = weir.metrics().sum("weir_health_checks_total", endpoint=good.address)
    wait_until(lambda: weir.metrics().sum("weir_health_checks_total",
                                          endpoint=good.address) > checks + 2, "checks go on")
    del weir.settings["upstreams"]["api"]["health_check"]
    weir.reload()
    assert weir.metrics().sum("weir_endpoint_healthy", **healthy) == 1
    assert not weir.metrics().find("weir_health_checks_total")


def test_what_was_found_of_a_name_stays_when_dns_fails(start_weir, start_endpoint):
    endpoint = start_endpoint(named("a"))
    dns = NameServer()
    try:
        dns.set("db.test", a=["127.0.0.1"], ttl=60)
        weir = start_weir(upstream(f"db.test:{endpoint.port}", dns={"servers": [dns.address]}))
        assert weir.ask() == "a"
        dns.fail("db.test", SERVFAIL)
        dns.set("more.test", a=["127.0.0.1"])
        weir.settings["upstreams"]["more"] = upstream(f"more.test:{endpoint.port}",
                                                      dns={"servers": [dns.address]})
        weir.settings["listeners"]["more"] = listener("more")
        weir.reload()
        wait_until(lambda: weir.metrics().sum("weir_dns_refreshes_total", upstream="api",
                                              result="failed") > 0, "it is asked again, in vain")
        assert weir.ask() == "a"
        assert weir.ask(listener="more") == "a"
    finally:
        dns.close()


def test_a_listener_gets_another_certificate_and_keeps_its_tickets(start_weir, start_endpoint,
                                                                   certificates):
    old, new = certificates.issue("old.example"), certificates.issue("new.example")
    weir = start_weir(upstream(start_endpoint(echo)), listener(tls="public"), tls(old))
    context = certificates.client()
    context.check_hostname = False

    def subject(**options):
        with weir.connect(tls=context, **options) as stream:
            stream.send(b"x")
            stream.receive_exactly(1)
            certificate = stream.tls.getpeercert()
            return certificate["subject"][0][0][1], stream.tls.session, stream.tls.session_reused

    with weir.connect(tls=context) as held:
        held.send(b"x")
        assert held.receive_exactly(1) == b"x"
        name, session, _ = subject()
        assert name == "old.example"
        weir.settings["tls"]["public"] = tls(new)
        weir.reload()
        assert subject()[0] == "new.example"
        assert subject(session=session)[2], "the old ticket is taken"
        held.send(b"y")
        assert held.receive_exactly(1) == b"y"


def test_a_certificate_that_does_not_match_its_key_is_refused(start_weir, start_endpoint,
                                                              certificates):
    one, two = certificates.issue("one.example"), certificates.issue("two.example")
    weir = start_weir(upstream(start_endpoint(named("a"))), listener(tls="public"), tls(one))
    weir.settings["tls"]["public"]["certificates"][0]["key"] = two.key
    status = weir.reload(good=False)
    assert "does not match" in status["reason"]
    with weir.connect(tls=certificates.client(), server_name="one.example") as stream:
        assert line_of(stream) == "a"


def test_what_was_opened_in_clear_is_not_lent_once_tls_is_asked_for(start_weir, start_endpoint,
                                                                    certificates):
    clear = start_endpoint(named("clear"))
    secret = start_endpoint(named("secret"),
                            tls=certificates.localhost().server_context())
    weir = start_weir(upstream(clear, pool={"min_idle": 3}))
    wait_until(lambda: pool_of(weir, "idle") == 3, "the pool is warm")
    with weir.connect() as old:
        assert line_of(old) == "clear"
        weir.settings["upstreams"]["api"] = upstream(
            secret, tls={"ca": certificates.authority, "server_name": "localhost"},
            pool={"min_idle": 3})
        weir.reload()
        assert {weir.ask() for _ in range(10)} == {"secret"}
        assert line_of(old) == "clear"
    # The same endpoints, and a PROXY header that they do not understand: nothing without it.
    wait_until(lambda: pool_of(weir, "idle") >= 3, "the pool is warm")
    weir.settings["upstreams"]["api"]["proxy_protocol"] = "v1"
    weir.reload()
    assert "secret" not in {weir.ask() for _ in range(5)}
