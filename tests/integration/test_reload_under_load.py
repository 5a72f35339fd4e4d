"""Reloads in quick succession, of whatever can change, while clients come, stay and go: nobody
notices."""

import random

import pytest

from support.configuration import listener, tls, upstream
from support.endpoints import named
from support.load import Load
from support.patience import wait_until
from support.processes import descriptors, threads

KNOWN = ("a", "b", "spare")


def reload_often(weir, spare, pairs, chance, count):
    """Random changes of everything but where `web` and `secure` listen."""
    for _ in range(count):
        settings = weir.settings
        what = chance.randrange(9)
        if what == 0:
            settings["listeners"][f"l{chance.randrange(3)}"] = listener(chance.choice("ab"))
        elif what == 1:
            settings["listeners"].pop(f"l{chance.randrange(3)}", None)
        elif what == 2:
            settings["listeners"]["web"]["upstream"] = chance.choice("ab")
        elif what == 3:
            settings["upstreams"]["c"] = upstream(chance.choice(spare))
            settings["listeners"]["web"]["routes"] = [
                {"match": {"client": ["127.0.0.9/32"]}, "upstream": "c"}]
        elif what == 4:
            settings["upstreams"].pop("c", None)
            settings["listeners"]["web"].pop("routes", None)
        elif what == 5:
            settings["upstreams"][chance.choice("ab")]["pool"] = {
                "min_idle": chance.randrange(4), "max_connections": chance.choice([0, 50]),
                "mode": chance.choice(["fresh", "off"])}
        elif what == 6:
            settings["tls"]["public"] = tls(chance.choice(pairs))
        elif what == 7:
            settings["limits"] = {"connections": chance.choice([1000, 2000])}
            settings["listeners"]["web"]["timeouts"] = {"idle": chance.choice(["1m", "5m"])}
        else:
            name = chance.choice("ab")
            settings["upstreams"][name]["endpoints"] = settings["upstreams"][name]["endpoints"][:1]
            if chance.random() < 0.5:
                settings["upstreams"][name]["endpoints"].append({"address": spare[0].address})
        weir.reload()
        yield


def ask_line(stream):
    stream.send(b"?\n")
    return stream.receive_line()


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_reloads_under_load_disturb_nobody(start_weir, start_endpoint, certificates, directory,
                                           count):
    upstreams = {name: upstream(start_endpoint(named(name)), pool={"min_idle": 2})
                 for name in "ab"}
    pairs = [certificates.localhost(), certificates.localhost(kind="rsa")]
    weir = start_weir(upstreams, {"web": listener("a"), "secure": listener("b", tls="public")},
                      tls(pairs[0]))
    spare = [start_endpoint(named("spare"))]
    address = weir.settings["listeners"]["web"]["bind"] = weir.address()
    weir.reload()
    open_before, threads_before = descriptors(weir.pid), threads(weir.pid)
    held = [weir.connect(name, tls=context) for _ in range(10)
            for name, context in (("web", None), ("secure", certificates.client()))]
    answers = [ask_line(stream) for stream in held]
    load = Load(directory, address, clients=8)
    load.wait_for_answers(50)
    before = weir.metrics()
    for _ in reload_often(weir, spare, pairs, random.Random(count), count):
        assert weir.ask(listener="secure", tls=certificates.client()) in ("b", "spare")
    load.wait_for_answers(50)
    load.stop()
    bad = [each for each in load.sessions() if each.error or each.answer not in KNOWN]
    assert not bad, bad[:5]
    assert [ask_line(stream) for stream in held] == answers
    for stream in held:
        stream.close()
    weir.wait_for_open(0)
    assert_counters_rose(before, weir.metrics())
    assert weir.reloads()["ok"] == count + 1
    assert threads(weir.pid) == threads_before
    # Without what pools keep ready nothing is open but what was at the start.
    for name in "ab":
        weir.settings["upstreams"][name]["pool"] = {"mode": "off"}
    weir.settings["listeners"] = {each: weir.settings["listeners"][each]
                                  for each in ("web", "secure")}
    weir.reload()
    wait_until(lambda: descriptors(weir.pid) <= open_before, "no descriptor is left open")


def assert_counters_rose(before, after):
    for sample in before.samples:
        if not sample.name.endswith("_total"):
            continue
        now = [each.value for each in after.find(sample.name) if each.labels == sample.labels]
        assert not now or now[0] >= sample.value, sample
