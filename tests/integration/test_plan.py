"""`weir plan` says what a reload would change, and names the connections that it would touch; then
the reload touches just those."""

import copy
import json
import os

import pytest

from support import yaml
from support.configuration import listener, tls, upstream
from support.dns import NameServer
from support.endpoints import Endpoint, echo, named
from support.patience import wait_until
from support.weir import command


class Scene:
    """A weir with clients, each known by its listener and by the endpoint that answered it."""

    def __init__(self, weir, endpoints):
        self.weir = weir
        self.endpoints = endpoints
        self.next_path = os.path.join(weir.directory, "next.yaml")
        self.clients = {}  # by (listener, endpoint): streams

    def settings(self):
        """Of what runs, to be changed."""
        return copy.deepcopy(self.weir.settings)

    def connect(self, listener, name):
        """A client that is on that endpoint; those that come to another one stay, too."""
        for _ in range(20):
            stream = self.weir.connect(listener)
            stream.send(b"?\n")
            got = stream.receive_line().decode().strip()
            self.clients.setdefault((listener, got), []).append(stream)
            if got == name:
                return stream
        raise AssertionError(f"{listener} sent nobody to {name}")

    def ids(self, is_wanted):
        """Of the connections of those clients, by what the clients know of themselves."""
        ports = {stream.socket.getsockname()[1]
                 for key, streams in self.clients.items() if is_wanted(*key) for stream in streams}
        return sorted(each["id"] for each in self.weir.connections()
                      if int(each["client"].rpartition(":")[2]) in ports)

    def reload(self, settings):
        """Returns the ids of the connections that this has closed, and how many clients say so."""
        before = self.ids(lambda *_: True)
        self.weir.settings = settings
        self.weir.reload()
        closed = {id(stream) for streams in self.clients.values() for stream in streams
                  if not self._is_served(stream)}
        for key, streams in self.clients.items():
            self.clients[key] = [each for each in streams if id(each) not in closed]
        return sorted(set(before) - set(self.ids(lambda *_: True))), len(closed)

    @staticmethod
    def _is_served(stream):
        try:
            stream.send(b"?\n")
            return stream.receive_line() != b""
        except OSError:
            return False

    def belongs_to_nothing(self):
        """Ids of the connections whose listener, upstream or endpoint is not there any more."""
        status = self.weir.admin.status()
        listeners = {each["name"] for each in status["listeners"]}
        endpoints = {(each["name"], endpoint["address"])
                     for each in status["upstreams"] for endpoint in each["endpoints"]}
        return sorted(each["id"] for each in self.weir.connections()
                      if each["listener"] not in listeners
                      or (each["upstream"], each["endpoint"]) not in endpoints)

    def write(self, settings):
        with open(self.next_path, "w", encoding="utf-8") as file:
            file.write(yaml.write(settings) + "\n")

    def plan(self, settings, *options):
        self.write(settings)
        return command("plan", self.next_path, "-c", self.weir.config_path, *options)

    def plan_json(self, settings):
        told = self.plan(settings, "--format", "json")
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    def close(self):
        for streams in self.clients.values():
            for stream in streams:
                stream.close()
        for endpoint in self.endpoints:
            endpoint.close()


@pytest.fixture
def scene(start_weir):
    endpoints = [Endpoint(named(name)) for name in "abc"]
    weir = start_weir(
        {"api": upstream(*endpoints[:2]), "files": upstream(endpoints[2])},
        {"web": listener("api"), "mail": listener("api"), "docs": listener("files")})
    made = Scene(weir, endpoints)
    for where, name in (("web", "a"), ("web", "b"), ("mail", "a"), ("mail", "b"), ("docs", "c")):
        made.connect(where, name)
    yield made
    made.close()


# What a scenario changes, and which connections that closes and leaves to end by themselves.


def nobody(_where, _name):
    return False


def nothing(_settings):
    return []


def a_listener_goes(settings):
    del settings["listeners"]["web"]
    return ["- listener web"]


def an_upstream_goes(settings):
    settings["listeners"]["docs"]["upstream"] = "api"
    del settings["upstreams"]["files"]
    return ["~ listener docs", "- upstream files"]


def an_endpoint_goes(settings):
    gone = settings["upstreams"]["api"]["endpoints"].pop(0)["address"]
    return [f"- endpoint {gone} of api"]


def an_endpoint_goes_at_once(settings):
    settings["upstreams"]["api"]["when_endpoint_removed"] = "close"
    gone = settings["upstreams"]["api"]["endpoints"].pop(0)["address"]
    return ["~ upstream api: when_endpoint_removed drain -> close", f"- endpoint {gone} of api"]


def both_go(settings):
    settings["upstreams"]["api"]["when_endpoint_removed"] = "close"
    gone = settings["upstreams"]["api"]["endpoints"].pop(1)["address"]
    del settings["listeners"]["mail"]
    return ["- listener mail", "~ upstream api", f"- endpoint {gone} of api"]


def something_comes(settings):
    settings["upstreams"]["new"] = upstream("127.0.0.1:9")
    settings["listeners"]["new"] = listener("new")
    settings["upstreams"]["api"]["endpoints"].append({"address": "127.0.0.1:9"})
    return ["+ listener new", "+ upstream new", "+ endpoint 127.0.0.1:9 of api"]


def other_rules(settings):
    settings["listeners"]["web"]["timeouts"] = {"idle": "1m"}
    settings["listeners"]["mail"]["bind"] = ["127.0.0.1:0", "127.0.0.2:0"]
    settings["listeners"]["docs"]["routes"] = [{"name": "far", "match": {"client": ["10.0.0.0/8"]},
                                                "upstream": "api"}]
    return ["~ listener web: timeouts.idle 5m -> 1m (for new connections)",
            "~ listener mail: bind [127.0.0.1:0] -> [127.0.0.1:0, 127.0.0.2:0] (for new",
            "+ route far of docs"]


def another_pool(settings):
    settings["upstreams"]["api"]["pool"] = {"max_connections": 1, "max_idle": 0}
    settings["upstreams"]["files"]["proxy_protocol"] = "v2"
    return ["~ upstream api: pool.max_connections 0 -> 1, pool.max_idle 64 -> 0 (in place)",
            "~ upstream files: proxy_protocol off -> v2 (idle connections to its servers are "
            "replaced)"]


def another_process(settings):
    settings["workers"] = 1
    settings["log"]["level"] = "warn"
    settings["limits"] = {"connections": 1}
    return ["~ process: workers 2 -> 1 (at the next start), limits.connections 0 -> 1, "
            "log.level info -> warn (in place)"]


@pytest.mark.parametrize("change, closed, draining", [
    (nothing, nobody, nobody),
    (a_listener_goes, nobody, lambda where, name: where == "web"),
    (an_upstream_goes, nobody, lambda where, name: where == "docs"),
    (an_endpoint_goes, nobody, lambda where, name: name == "a"),
    (an_endpoint_goes_at_once, lambda where, name: name == "a", nobody),
    (both_go, lambda where, name: name == "b", lambda where, name: where == "mail" and name == "a"),
    (something_comes, nobody, nobody),
    (other_rules, nobody, nobody),
    (another_pool, nobody, nobody),
    (another_process, nobody, nobody),
], ids=lambda value: value.__name__ if value.__name__ not in ("<lambda>", "nobody") else "")
def test_the_connections_that_a_reload_touches_are_named(scene, change, closed, draining):
    settings = scene.settings()
    lines = change(settings)
    touched = {"closed": scene.ids(closed), "draining": scene.ids(draining)}
    assert bool(touched["closed"] + touched["draining"]) == \
        (closed is not nobody or draining is not nobody)
    told = scene.plan_json(settings)
    assert told["touches"] == touched
    assert told["open"] == told["looked_at"] == len(scene.ids(lambda *_: True))
    shown = scene.plan(settings).stdout.splitlines()
    assert len(shown) == len(lines) + 1, shown
    for line, expected in zip(shown, lines):
        assert line.startswith(expected), shown
    assert scene.plan(settings, "--exit-code").returncode == (1 if lines else 0)

    assert scene.reload(settings) == (touched["closed"], len(touched["closed"]))
    assert scene.belongs_to_nothing() == touched["draining"]
    assert scene.plan(settings).stdout == "nothing changes\n"


def test_an_upstream_that_goes_by_its_own_rule(start_weir, start_endpoint):
    """What becomes of its sessions is what was said when they began."""
    weir = start_weir(
        {"api": upstream(start_endpoint(named("a"))),
         "files": upstream(start_endpoint(named("c")), when_endpoint_removed="close")},
        {"web": listener("api"), "docs": listener("files")})
    scene = Scene(weir, [])
    scene.connect("web", "a")
    scene.connect("docs", "c")
    settings = scene.settings()
    an_upstream_goes(settings)
    [id_of_docs] = scene.ids(lambda where, name: where == "docs")
    told = scene.plan(settings)
    assert f"- upstream files: its connections are closed; touches 1 open connection: closes " \
           f"{id_of_docs}\n" in told.stdout, told
    scene.close()


def test_the_connections_of_a_name_are_named(start_weir):
    dns = NameServer()
    one, two = Endpoint(named("one")), Endpoint(named("two"), bind="127.0.0.2:0")
    dns.set("db.test", a=["127.0.0.2"])
    weir = start_weir(upstream(one, f"db.test:{two.port}", dns={"servers": [dns.address]}))
    scene = Scene(weir, [one, two])
    wait_until(lambda: len(weir.admin.status()["upstreams"][0]["endpoints"]) == 2, "it is found")
    scene.connect("web", "one")
    scene.connect("web", "two")
    settings = scene.settings()
    del settings["upstreams"]["api"]["endpoints"][1], settings["upstreams"]["api"]["dns"]
    wanted = scene.ids(lambda where, name: name == "two")
    assert scene.plan_json(settings)["touches"] == {"closed": [], "draining": wanted}
    # The same address, written as such.
    settings["upstreams"]["api"]["endpoints"].append({"address": two.address})
    assert scene.plan_json(settings)["touches"] == {"closed": [], "draining": []}
    scene.close()
    dns.close()


def test_what_is_in_force_is_asked_of_the_process_and_not_of_its_file(scene):
    settings = scene.settings()
    a_listener_goes(settings)
    with open(scene.weir.config_path, "w", encoding="utf-8") as file:
        file.write(yaml.write(settings) + "\n")
    told = command("plan", scene.weir.config_path, "-c", scene.weir.config_path)
    assert told.stdout.startswith("- listener web: "), told
    told = command("plan", scene.weir.config_path, "--admin", scene.weir.settings["admin"]["bind"])
    assert told.stdout.startswith("- listener web: "), told
    answer = scene.weir.admin.get("/config")
    assert answer.headers["Content-Type"] == "application/yaml"
    assert "\n  web:\n" in answer.body


def test_paths_are_the_same_wherever_one_stands(start_weir, start_endpoint, certificates):
    weir = start_weir(upstream(start_endpoint(echo)), listener(tls="public"),
                      tls(certificates.localhost()))
    told = command("plan", "weir.yaml", "-c", "weir.yaml", "--exit-code", cwd=weir.directory)
    assert (told.returncode, told.stdout, told.stderr) == (0, "nothing changes\n", "")


def test_what_is_wrong_is_said(scene, directory):
    settings = scene.settings()
    settings["listeners"]["web"]["upstream"] = "apo"
    told = scene.plan(settings)
    assert (told.returncode, told.stdout) == (2, "")
    assert "did you mean `api`?" in told.stderr
    scene.write(scene.settings())
    nobody_there = f"unix:{directory}/none.sock"
    for options, status in (((), 1), (("--exit-code",), 2)):
        told = command("plan", scene.next_path, "--admin", nobody_there, *options)
        assert (told.returncode, told.stdout) == (status, "")
        assert told.stderr == \
            f"weir: cannot reach weir at {nobody_there}: No such file or directory\n"
    told = command("plan", scene.next_path, "-c", f"{directory}/none.yaml")
    assert told.returncode == 2
    assert "--admin" in told.stderr
    settings = scene.settings()
    settings["admin"] = {"bind": "off"}
    scene.write(settings)
    told = command("plan", scene.next_path, "-c", scene.next_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert "the admin address is off" in told.stderr
