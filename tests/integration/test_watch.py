"""Files that change are noticed: the configuration's with `watch: true`, certificates always."""

import os
import shutil

import pytest

from support.configuration import listener, upstream
from support.endpoints import echo, named
from support.patience import Stopwatch, seconds, wait_until
from support.streams import connect
from support.weir import command


def replace(path, text):
    """As editors do, and configuration management."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(f"{path}.new", path)


def mount(directory, generation, files):
    """As Kubernetes mounts a ConfigMap or a Secret: `files` are {name: text}."""
    target = os.path.join(directory, f"..{generation}")
    os.makedirs(target)
    for name, text in files.items():
        with open(os.path.join(target, name), "w", encoding="utf-8") as file:
            file.write(text)
    os.symlink(f"..{generation}", os.path.join(directory, "..data_new"))
    os.rename(os.path.join(directory, "..data_new"), os.path.join(directory, "..data"))
    for name in files:
        link = os.path.join(directory, name)
        if not os.path.lexists(link):
            os.symlink(os.path.join("..data", name), link)


def text_of(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def subject(weir, certificates, name="localhost"):
    """Whose certificate a new handshake gets."""
    context = certificates.client()
    context.check_hostname = False
    with weir.connect(tls=context, server_name=name) as stream:
        return stream.tls.getpeercert()["subject"][0][0][1]


def test_the_configuration_is_reloaded_when_it_changes(start_weir, start_endpoint):
    weir = start_weir({name: upstream(start_endpoint(named(name))) for name in "ab"},
                      listener("a"), watch=True)
    text = text_of(weir.config_path)
    before = weir.reloads()
    replace(weir.config_path, text.replace("upstream: a", "upstream: b"))
    weir.wait_for_reload(before)
    assert weir.ask() == "b"
    before = weir.reloads()
    replace(weir.config_path, text.replace("upstream: a", "upstreem: b"))
    assert "did you mean" in weir.wait_for_reload(before, good=False)["reason"]
    before = weir.reloads()
    replace(weir.config_path, text)
    weir.wait_for_reload(before)
    assert weir.ask() == "a"


def test_without_watch_it_is_not(start_weir, start_endpoint, certificates, directory):
    """What is noticed (a certificate that changes afterwards) shows that there was time enough."""
    pair = [f"{directory}/{name}" for name in ("cert.pem", "key.pem")]
    old, new = certificates.issue("old.example"), certificates.issue("new.example")
    shutil.copy(old.cert, pair[0])
    shutil.copy(old.key, pair[1])
    weir = start_weir({name: upstream(start_endpoint(named(name))) for name in "ab"},
                      {"web": listener("a"), "secure": listener("a", tls="public")},
                      {"certificates": [{"cert": pair[0], "key": pair[1]}]})
    before = weir.reloads()
    text = text_of(weir.config_path)
    replace(weir.config_path, text.replace("upstream: a", "upstream: b"))
    replace(pair[1], text_of(new.key))
    replace(pair[0], text_of(new.cert))
    weir.wait_for_reload(before)
    assert weir.ask() == "a"


def test_an_included_file_that_comes_is_noticed(start_weir, start_endpoint):
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint), watch=True, include=["conf.d/*.yaml"])
    before = weir.reloads()
    folder = os.path.join(weir.directory, "conf.d")
    os.makedirs(folder)
    with open(f"{folder}/more.yaml", "w", encoding="utf-8") as file:
        file.write('listeners:\n  more: { bind: "127.0.0.1:0", upstream: api }\n')
    weir.wait_for_reload(before)
    assert weir.ask(listener="more") == "a"


def test_a_configuration_map_is_swapped(start_weir, start_endpoint, directory):
    line = 'listeners:\n  more: {{ bind: "127.0.0.1:0", upstream: {} }}\n'
    mount(directory, "1", {"listeners.yaml": line.format("a")})
    weir = start_weir({name: upstream(start_endpoint(named(name))) for name in "ab"},
                      listener("a"), watch=True, include=[f"{directory}/listeners.yaml"])
    assert weir.ask(listener="more") == "a"
    before = weir.reloads()
    mount(directory, "2", {"listeners.yaml": line.format("b")})
    weir.wait_for_reload(before)
    assert weir.ask(listener="more") == "b"


@pytest.fixture
def start_mounted(start_weir, start_endpoint, certificates, directory):
    """start_mounted(certificate) -> Weir whose pair is tls.crt and tls.key of a mounted secret"""

    def start(certificate):
        mount(directory, "1", {"tls.crt": text_of(certificate.cert),
                               "tls.key": text_of(certificate.key)})
        return start_weir(upstream(start_endpoint(echo)), listener(tls="public"), {
            "certificates": [{"cert": f"{directory}/tls.crt", "key": f"{directory}/tls.key"}]})

    return start


def test_a_certificate_replaced_by_a_swap_is_taken_up(start_mounted, certificates, directory):
    old, new = certificates.issue("old.example"), certificates.issue("new.example")
    weir = start_mounted(old)
    context = certificates.client()
    with weir.connect(tls=context, server_name="old.example") as held:
        mount(directory, "2", {"tls.crt": text_of(new.cert), "tls.key": text_of(new.key)})
        watch = Stopwatch()
        wait_until(lambda: subject(weir, certificates) == "new.example", "the new one is shown")
        assert watch.elapsed() < seconds(2)
        held.send(b"x")
        assert held.receive_exactly(1) == b"x"
    expiries = weir.metrics().find("weir_tls_certificate_not_after_timestamp_seconds")
    assert [each.labels["name"] for each in expiries] == ["new.example"]


def test_a_certificate_replaced_by_rename_is_taken_up(start_weir, start_endpoint, certificates,
                                                      directory):
    old, new = certificates.issue("old.example"), certificates.issue("new.example")
    pair = [f"{directory}/{name}" for name in ("cert.pem", "key.pem")]
    shutil.copy(old.cert, pair[0])
    shutil.copy(old.key, pair[1])
    weir = start_weir(upstream(start_endpoint(echo)), listener(tls="public"),
                      {"certificates": [{"cert": pair[0], "key": pair[1]}]})
    replace(pair[1], text_of(new.key))
    replace(pair[0], text_of(new.cert))
    watch = Stopwatch()
    wait_until(lambda: subject(weir, certificates) == "new.example", "the new one is shown")
    assert watch.elapsed() < seconds(2)
    assert weir.reloads()["successful"]


def test_a_key_that_does_not_match_leaves_the_old_pair(start_weir, start_endpoint, certificates,
                                                       directory):
    one, two, other = (certificates.issue(f"{name}.example") for name in ("one", "two", "other"))
    files = {name: f"{directory}/{name}" for name in ("one.pem", "one.key", "two.pem", "two.key")}
    for pair, name in ((one, "one"), (two, "two")):
        shutil.copy(pair.cert, files[f"{name}.pem"])
        shutil.copy(pair.key, files[f"{name}.key"])
    settings = {name: {"certificates": [{"cert": files[f"{name}.pem"],
                                         "key": files[f"{name}.key"]}]} for name in ("one", "two")}
    weir = start_weir(upstream(start_endpoint(echo)),
                      {name: listener(tls=name) for name in ("one", "two")}, settings)
    before = weir.reloads()
    replace(files["one.key"], text_of(other.key))
    status = weir.wait_for_reload(before, good=False)
    assert "does not match" in status["reason"] and "one.key" in status["reason"]
    assert "does not match" in weir.process.errors()
    assert weir.metrics().sum("weir_config_last_reload_successful") == 0

    def shown(name):
        context = certificates.client()
        context.check_hostname = False
        with connect(weir.address(name), tls=context) as stream:
            return stream.tls.getpeercert()["subject"][0][0][1]

    assert shown("one") == "one.example"
    # The other settings' certificate is renewed all the same, and so is this one once it fits.
    third = certificates.issue("third.example")
    replace(files["two.key"], text_of(third.key))
    replace(files["two.pem"], text_of(third.cert))
    wait_until(lambda: shown("two") == "third.example", "the other one is renewed")
    replace(files["one.pem"], text_of(other.cert))
    wait_until(lambda: shown("one") == "other.example", "it fits")
    wait_until(lambda: weir.metrics().sum("weir_config_last_reload_successful") == 1, "all is well")


def test_a_directory_or_a_pipe_in_the_place_of_a_key_harms_nobody(start_weir, start_endpoint,
                                                                  certificates, directory):
    pair = [f"{directory}/{name}" for name in ("cert.pem", "key.pem")]
    made = certificates.issue("old.example")
    shutil.copy(made.cert, pair[0])
    shutil.copy(made.key, pair[1])
    weir = start_weir(upstream(start_endpoint(echo)), listener(tls="public"),
                      {"certificates": [{"cert": pair[0], "key": pair[1]}]})
    for make, remove, words in ((os.mkdir, os.rmdir, "Is a directory"),
                                (os.mkfifo, os.unlink, "no ordinary file")):
        os.unlink(pair[1])
        make(pair[1])
        wait_until(lambda text=words: text in weir.reloads()["reason"], f"it is told: {words}")
        assert subject(weir, certificates) == "old.example"
        done = command("check", "-c", weir.config_path)
        assert done.returncode == 2 and words in done.stderr
        remove(pair[1])
        shutil.copy(made.key, pair[1])
        weir.reload()  # a pipe is not watched: it may be one that is read once


def test_an_authority_of_an_upstream_is_taken_up(start_weir, start_endpoint, certificates,
                                                 directory):
    stranger = certificates.self_signed("localhost")
    endpoint = start_endpoint(named("a"), tls=stranger.server_context())
    authority = f"{directory}/ca.pem"
    shutil.copy(certificates.authority, authority)
    weir = start_weir(upstream(endpoint, tls={"ca": authority, "server_name": "localhost"},
                               attempts=1))
    assert weir.ask() == ""
    replace(authority, text_of(stranger.cert))
    wait_until(lambda: weir.ask() == "a", "the endpoint is trusted")


def test_tls_settings_of_a_reload_are_followed(start_weir, start_endpoint, certificates,
                                               directory):
    old, new = certificates.issue("old.example"), certificates.issue("new.example")
    weir = start_weir(upstream(start_endpoint(echo)), listener())
    pair = [f"{directory}/{name}" for name in ("cert.pem", "key.pem")]
    shutil.copy(old.cert, pair[0])
    shutil.copy(old.key, pair[1])
    weir.settings["tls"] = {"late": {"certificates": [{"cert": pair[0], "key": pair[1]}]}}
    weir.settings["listeners"]["web"] = listener(tls="late")
    weir.reload()
    assert subject(weir, certificates) == "old.example"
    replace(pair[1], text_of(new.key))
    replace(pair[0], text_of(new.cert))
    wait_until(lambda: subject(weir, certificates) == "new.example", "the new one is shown")
