"""`weir schema`, as an editor uses it: a real validator takes every good configuration, and refuses
what a schema can refuse."""

import functools
import glob
import json
import os

import pytest

from support.configuration import GOOD
from support.processes import run
from support.weir import ROOT, command

EXAMPLES = sorted(glob.glob(os.path.join(ROOT, "deploy", "examples", "*.yaml")))
HERE = os.path.join(ROOT, "tests", "integration", "schema")
YAML_VERSIONS = ("1.1", "1.2")  # in 1.1 `off` is false, in 1.2 it is text

# What a file may hold that is easily refused by mistake.
UNUSUAL = """\
version: 1
include: []
watch: no
sandbox: off
workers: auto
limits: { connections: off }
drain: { delay: 0, timeout: OFF }
log:
access_log: off
admin: { bind: off, connection_metrics: 0 }
listeners:
  web:
    bind: ["[::1]:0", "unix:/tmp/weir.sock", "${WEIR_TEST_BIND:-127.0.0.1:0}"]
    tls: off
    proxy_protocol: accept
    trusted: ["10.0.0.0/8", "::1"]
    allow: []
    limits: { connections: "${WEIR_TEST_LIMIT:-5}", connect_rate_per_client: 0/s }
    timeouts: { idle: off, session: 0, first_byte: 0s, half_close: "${WEIR_TEST_TIME:-3s}" }
    routes:
      - { name: yes, match: { client: 10.1.0.0/16 }, upstream: 1 }
    upstream: "${WEIR_TEST_UPSTREAM:-1}"
upstreams:
  1:
    endpoints:
      - { address: "db.internal:5432", weight: 0 }
      - { address: "srv:_redis._tcp.cache.internal", tier: 15 }
    dns: { refresh: auto, servers: "127.0.0.1:53" }
    tls: { server_name: 1.5, verify: Yes, alpn: [1] }
    pool:
      mode: off
      anticipate: 0.5
      open_rate: 30/m
      keepalive: 30s, 10s, 3
      backoff: 10ms .. 1s
    health_check: { type: exchange, exchange: { send: 1, expect: "\\r\\n" }, http: { host: 1.5 } }
"""


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new, 1)


# name: (text, where the schema has to find it)
BROKEN = {
    "an unknown key": (changed("version: 1\n", "version: 1\ncolour: red\n"), ""),
    "a misspelt key": (changed("    endpoints:", "    endpoint:"), "/upstreams/api"),
    "a wrong type": (changed("version: 1\n", "version: 1\nworkers: [1, 2]\n"), "/workers"),
    "a map where a value belongs": (
        changed("    mode: tcp", "    mode: { tcp: 1 }"), "/listeners/web/mode"),
    "a value where a map belongs": (
        changed("version: 1\n", "version: 1\nlimits: 5\n"), "/limits"),
    "a value where a list belongs": (
        changed('"127.0.0.1:9000"', '"127.0.0.1:9000"\n    tls: { alpn: h2 }'),
        "/upstreams/api/tls/alpn"),
    "a missing required key": (changed('    bind: "127.0.0.1:0"\n', ""), "/listeners/web"),
    "a missing version": (changed("version: 1\n", ""), ""),
    "another version": (changed("version: 1", "version: 2"), "/version"),
    "a duration without a unit": (
        changed("    endpoints:", "    connect_timeout: 5\n    endpoints:"),
        "/upstreams/api/connect_timeout"),
    "a duration with another unit": (
        changed("    endpoints:", "    connect_timeout: 5pc\n    endpoints:"),
        "/upstreams/api/connect_timeout"),
    "no time where some is needed": (
        changed("    endpoints:", "    connect_timeout: 0s\n    endpoints:"),
        "/upstreams/api/connect_timeout"),
    "a word that is none of those": (
        changed("    endpoints:", "    balance: fair\n    endpoints:"), "/upstreams/api/balance"),
    "a word that is not supported yet": (changed("mode: tcp", "mode: http"), "/listeners/web/mode"),
    "a key that is not supported yet": (
        changed("mode: tcp", 'allow: ["10.0.0.0/8"]'), "/listeners/web/allow"),
    "an address without a port": (
        changed('"127.0.0.1:9000"', '"localhost"'), "/upstreams/api/endpoints/0/address"),
    "a port out of range": (changed('"127.0.0.1:0"', '"127.0.0.1:70000"'), "/listeners/web/bind"),
    "a name to listen on": (changed('"127.0.0.1:0"', '"localhost:80"'), "/listeners/web/bind"),
    "a bad network": (
        changed("mode: tcp", 'trusted: ["10.0.0.0/33"]'), "/listeners/web/trusted/0"),
    "no listeners": (
        "version: 1\nlisteners: {}\nupstreams:" + GOOD.split("upstreams:")[1], "/listeners"),
    "an empty list of endpoints": (
        changed('\n      - address: "127.0.0.1:9000"', " []"), "/upstreams/api/endpoints"),
    "a weight out of range": (
        changed('"127.0.0.1:9000"', '"127.0.0.1:9000"\n        weight: 257'),
        "/upstreams/api/endpoints/0/weight"),
    "a name with bad characters": (changed("  web:", "  Web:"), "/listeners"),
    "a bad keep-alive": (
        changed("    endpoints:", "    pool: { keepalive: 30s }\n    endpoints:"),
        "/upstreams/api/pool/keepalive"),
}


@functools.cache
def schema():
    done = command("schema")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@functools.cache
def modules():
    done = run(os.path.join(ROOT, "deploy", "dependencies"), "modules", timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def validate(cases):
    """For each case of validate.js the list of what is wrong with it."""
    done = run("node", os.path.join(HERE, "validate.js"),
               input=json.dumps({"schema": schema(), "cases": cases}),
               env={**os.environ, "NODE_PATH": modules()})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def problems(text):
    """By version of YAML"""
    return dict(zip(YAML_VERSIONS, validate([{"text": text, "version": version}
                                             for version in YAML_VERSIONS])))


def described(node, path=""):
    """(path, schema) of every key below a schema: what editors show for it."""
    for choice in [node, *node.get("anyOf", [])]:
        for name, child in choice.get("properties", {}).items():
            yield f"{path}/{name}", child
            yield from described(child, f"{path}/{name}")
        for child in choice.get("patternProperties", {}).values():
            yield f"{path}/*", child
            yield from described(child, f"{path}/*")
        if choice.get("items", {}).get("properties"):
            yield f"{path}[]", choice["items"]
            yield from described(choice["items"], f"{path}[]")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("path", EXAMPLES, ids=os.path.basename)
def test_the_schema_takes_an_example(path):
    assert problems(read(path)) == {"1.1": [], "1.2": []}


@pytest.mark.parametrize("text", [GOOD, UNUSUAL], ids=["plain", "unusual"])
def test_the_schema_takes_what_the_reader_takes(directory, text):
    path = os.path.join(directory, "weir.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    done = command("check", "-c", path)
    assert done.returncode == 0, done.stderr
    assert problems(text) == {"1.1": [], "1.2": []}


@pytest.mark.parametrize("name", BROKEN)
def test_the_schema_refuses(directory, name):
    text, place = BROKEN[name]
    path = os.path.join(directory, "weir.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    assert command("check", "-c", path).returncode == 2
    for found in problems(text).values():
        assert any(problem.startswith(place + ":") for problem in found), found


def test_every_key_is_described():
    keys = dict(described(schema()))
    assert len(keys) > 110
    for path, key in keys.items():
        assert len(key.get("description", "")) > 8, path


def test_every_default_is_good_by_the_schema():
    defaults = {path: key for path, key in described(schema()) if "default" in key}
    assert len(defaults) > 60
    cases = [{"value": key["default"],
              "schema": {**key, "definitions": schema()["definitions"]}}
             for key in defaults.values()]
    assert dict(zip(defaults, validate(cases))) == {path: [] for path in defaults}


def test_the_schema_is_the_same_every_time():
    assert command("schema").stdout == command("schema").stdout


def test_the_reference_page_is_current():
    current = command("schema", "--reference").stdout == read(
        os.path.join(ROOT, "config", "reference.md"))
    assert current, "make it so: weir schema --reference > config/reference.md"
