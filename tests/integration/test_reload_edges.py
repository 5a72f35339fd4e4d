"""A reload at the edges: what is on its way in that moment, what goes from one owner to another,
what is nearly right."""

import signal
import threading

import pytest

from support import streams
from support.configuration import listener, tls, upstream
from support.dns import NameServer
from support.endpoints import named
from support.patience import holds_for, wait_until


def pool_of(weir, state, **labels):
    return weir.metrics().sum("weir_pool_connections", state=state, **labels)


def test_pools_that_are_new_are_warmed_by_workers_that_hear_of_them_last(start_weir,
                                                                         start_endpoint):
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint), workers=8)
    for number in range(40):
        weir.settings["upstreams"][f"new{number}"] = upstream(endpoint, pool={"min_idle": 8})
        weir.settings["upstreams"].pop(f"new{number - 2}", None)
        weir.reload()
    assert weir.ask() == "a"


def test_a_name_that_goes_to_another_upstream_is_looked_up_for_it(start_weir, start_endpoint):
    endpoint = start_endpoint(named("a"))
    dns = NameServer()
    try:
        dns.set("db.test", a=["127.0.0.1"], ttl=600)
        weir = start_weir(upstream(f"db.test:{endpoint.port}", dns={"servers": [dns.address]}))
        assert weir.ask() == "a"
        weir.settings["upstreams"] = {"renamed": weir.settings["upstreams"]["api"]}
        weir.settings["listeners"]["web"]["upstream"] = "renamed"
        weir.reload()
        assert weir.ask() == "a"
    finally:
        dns.close()


@pytest.mark.parametrize("key", ["cert", "key"])
def test_a_certificate_that_is_a_folder_is_refused(start_weir, start_endpoint, certificates,
                                                   directory, key):
    weir = start_weir(upstream(start_endpoint(named("a"))), listener(tls="public"),
                      tls(certificates.localhost()))
    weir.settings["tls"]["public"]["certificates"][0][key] = directory
    status = weir.reload(good=False)
    assert directory in status["reason"]


def test_what_is_idle_stays_when_its_time_is_taken_away(start_weir, start_endpoint):
    pool = {"min_idle": 3, "idle_timeout": "300ms", "fresh_max_age": 0, "max_lifetime": 0}
    weir = start_weir(upstream(start_endpoint(named("a")), pool=pool))
    wait_until(lambda: pool_of(weir, "idle") == 3, "the pool is warm")
    weir.settings["upstreams"]["api"]["pool"] = {**pool, "min_idle": 0, "idle_timeout": 0}
    weir.reload()
    holds_for(lambda: pool_of(weir, "idle") == 3, "none is closed", 1.5)


@pytest.mark.parametrize("change", ["mode", "reset"])
def test_what_was_used_is_not_lent_once_its_reset_is_not_trusted(start_weir, start_endpoint,
                                                                 change):
    may_answer = threading.Event()

    def slow_to_forget(stream):
        while piece := stream.receive():
            if piece == b"reset":
                may_answer.wait(60)
            stream.send(piece)

    endpoint = start_endpoint(slow_to_forget)
    pool = {"mode": "reset", "max_connections": 1,
            "reset": {"send": "reset", "expect": "reset", "timeout": "30s"}}
    weir = start_weir(upstream(endpoint, pool=pool))
    with weir.connect() as first:
        first.send(b"x")
        assert first.receive_exactly(1) == b"x"
    weir.wait_for_outcomes(client_closed=1)
    if change == "mode":
        weir.settings["upstreams"]["api"]["pool"] = {"mode": "fresh", "max_connections": 1}
    else:
        pool["reset"]["expect"] = "forgotten"
    weir.reload()
    with weir.connect() as second:
        second.send(b"y")
        wait_until(lambda: weir.metrics().sum("weir_pool_waiting") == 1, "it waits")
        may_answer.set()
        assert second.receive_exactly(1) == b"y"
    assert endpoint.accepted == 2


def test_an_address_goes_from_the_admin_to_a_listener_and_back_in_two_reloads(start_weir,
                                                                              start_endpoint,
                                                                              directory):
    first, second = f"unix:{directory}/first.sock", f"unix:{directory}/second.sock"
    weir = start_weir(upstream(start_endpoint(named("a"))), admin={"bind": first})

    def move_admin(address):
        weir.settings["admin"]["bind"] = address
        weir.write()
        weir.signal(signal.SIGHUP)
        weir.admin.address = address
        wait_until(weir.admin.is_ready, "it answers at the other address")

    weir.settings["admin"]["bind"] = second
    weir.settings["listeners"]["web"]["bind"] = ["127.0.0.1:0", first]
    assert "`admin` does until" in weir.reload(good=False)["reason"]
    weir.settings["listeners"]["web"]["bind"] = "127.0.0.1:0"
    move_admin(second)
    weir.settings["listeners"]["web"]["bind"] = ["127.0.0.1:0", first]
    weir.reload()
    with streams.connect(first, timeout=20) as stream:
        stream.send(b"?\n")
        assert stream.receive_line() == b"a\n"
    weir.settings["listeners"]["web"]["bind"] = "127.0.0.1:0"
    weir.settings["admin"]["bind"] = first
    assert "`listeners.web` does until" in weir.reload(good=False)["reason"]
    weir.settings["admin"]["bind"] = second
    weir.reload()
    move_admin(first)
    assert weir.ask() == "a"
