"""What a reload costs: how long it takes, and how long it holds up a worker."""

import contextlib
import re
import resource

import pytest

from support.configuration import listener, tls, upstream
from support.endpoints import named
from support.load import Load
from support.patience import Stopwatch, seconds
from support.processes import resident_kib
from support.servers import Nginx
from support.weir import command

pytestmark = [pytest.mark.figures, pytest.mark.slow]

ROUNDS = 5
LONGEST_TURN = "0.005"  # seconds, a bucket of the histogram


def long_turns(weir):
    """Turns of the workers' loops that took longer than that, so far."""
    metrics = weir.metrics()
    assert metrics.find("weir_worker_loop_seconds_bucket", le=LONGEST_TURN)
    return (metrics.sum("weir_worker_loop_seconds_count")
            - metrics.sum("weir_worker_loop_seconds_bucket", le=LONGEST_TURN))


def reload_rounds(weir, change):
    """[(milliseconds, long turns)] of some reloads; `change(number)` changes the settings."""
    rounds = []
    for number in range(ROUNDS):
        change(number)
        before = long_turns(weir)
        weir.reload()
        took = re.findall(r"reloaded in ([\d.]+) ms", weir.process.errors())
        rounds.append((float(took[-1]), long_turns(weir) - before))
    print(f"milliseconds and turns over 5 ms: {rounds}")
    return rounds


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def test_a_reload_beside_5000_tls_connections(start_weir, start_server, certificates):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(5000, (hard - 1000) // 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    nginx = start_server(Nginx, connections=count + 500)
    pairs = [certificates.localhost(), certificates.issue("other", "DNS:localhost")]
    weir = start_weir(upstream(nginx.address), listener(tls="public", timeouts={"idle": "10m"}),
                      tls(pairs[0]))
    context = certificates.client()

    def change(number):
        web = weir.settings["listeners"]["web"]
        web["limits"] = {"connections": 20000 + number}
        web["routes"] = [{"match": {"server_name": [f"host{number}.example"]}, "upstream": "api"}]
        weir.settings["upstreams"]["api"]["pool"] = {"max_connections": 20000 + number}
        weir.settings["tls"]["public"] = tls(pairs[number % 2])

    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(weir.connect(tls=context))
        weir.wait_for_open(count, timeout=10)
        rounds = reload_rounds(weir, change)
        weir.wait_for_open(count)
    assert median(took for took, _ in rounds) < 100
    assert median(turns for _, turns in rounds) == 0


def large_configuration(settings, address, number):
    """20,000 lines: upstreams of one endpoint each, and routes that lead to them."""
    lines = ["version: 1", "workers: 2", 'drain: { timeout: "5s" }',
             f'access_log: {{ path: "{settings["access_log"]["path"]}", format: json }}',
             f'admin: {{ bind: "{settings["admin"]["bind"]}" }}', "upstreams:"]
    for i in range(2800):
        lines += [f"  u{i}:", f"    attempts: {1 + (i + number) % 3}", "    endpoints:",
                  f'      - address: "{address}"']
    lines += ["listeners:", "  web:", '    bind: "127.0.0.1:0"', "    upstream: u0", "    routes:"]
    for i in range(2800):
        lines += [f"      - match: {{ server_name: [ h{i}-{number}.example ] }}",
                  f"        upstream: u{i}", f"        name: r{i}"]
    lines += [f"# {i}" for i in range(20000 - len(lines))]
    return "\n".join(lines) + "\n"


def test_a_configuration_of_20000_lines(start_weir, start_endpoint, directory):
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint))
    path = f"{directory}/large.yaml"
    text = large_configuration(weir.settings, endpoint.address, 0)
    assert text.count("\n") == 20000
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    watch = Stopwatch()
    assert command("check", "-c", path).returncode == 0
    took = watch.elapsed()
    print(f"checked in {took:.3f} s")
    assert took < seconds(1)
    weir.reload(text)
    load = Load(directory, weir.address(), clients=4)
    load.wait_for_answers(20)
    rounds = []
    for number in range(1, 1 + ROUNDS):
        before, answered = long_turns(weir), load.answered
        weir.reload(large_configuration(weir.settings, endpoint.address, number))
        took = re.findall(r"reloaded in ([\d.]+) ms", weir.process.errors())
        rounds.append((float(took[-1]), long_turns(weir) - before, load.answered - answered))
    print(f"milliseconds, turns over 5 ms, sessions meanwhile: {rounds}")
    assert not [each for each in load.stop() if each.error or each.answer != "a"]
    assert median(took for took, _, _ in rounds) < 1000
    assert median(turns for _, turns, _ in rounds) == 0


def test_memory_does_not_grow(start_weir, start_endpoint, certificates, directory):
    """100 reloads, each of which changes a certificate, routes and limits, under load."""
    endpoint = start_endpoint(named("a"))
    weir = start_weir({name: upstream(endpoint) for name in "ab"},
                      {"web": listener("a"), "secure": listener("a", tls="public")},
                      tls(certificates.localhost()))
    pairs = [certificates.localhost(), certificates.issue("other", "DNS:localhost")]
    load = Load(directory, weir.address(), clients=4)
    memory = []
    for number in range(100):
        weir.settings["tls"]["public"] = tls(pairs[number % 2])
        weir.settings["listeners"]["web"]["upstream"] = "ab"[number % 2]
        weir.settings["upstreams"]["a"]["pool"] = {"max_connections": 100 + number % 7,
                                                   "min_idle": number % 3}
        load.wait_for_answers(10)
        weir.reload()
        memory.append(resident_kib(weir.pid))
    assert not [each for each in load.stop() if each.error or each.answer != "a"]
    print(f"KiB after 1, 30 and 100 reloads: {memory[0]}, {memory[29]}, {memory[99]}")
    assert memory[99] - memory[29] < 1024
