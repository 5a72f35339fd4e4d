"""Errors at the start: said in words, with the status that tells configuration (2) from the rest
(1), and nothing left running."""

import os
import socket

import pytest

from support import configuration, yaml
from support.configuration import listener, tls, upstream
from support.weir import BINARY, command
from support.processes import run

UPSTREAM = upstream("127.0.0.1:9")


def write(directory, listeners=None, tls_settings=None, **top):
    path = os.path.join(directory, "weir.yaml")
    settings = configuration.whole(UPSTREAM, listeners or listener(), tls_settings, directory,
                                   **top)
    with open(path, "w", encoding="utf-8") as file:
        file.write(yaml.write(settings) + "\n")
    return path


@pytest.fixture
def taken():
    """An address that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"127.0.0.1:{sock.getsockname()[1]}"


def test_a_port_in_use(directory, taken):
    done = command("run", "-c", write(directory, listener(bind=taken)))
    assert done.returncode == 1
    assert taken in done.stderr and "in use" in done.stderr


def test_an_admin_port_in_use(directory, taken):
    done = command("run", "-c", write(directory, admin={"bind": taken}))
    assert done.returncode == 1
    assert taken in done.stderr and "in use" in done.stderr


def test_an_address_that_is_not_ours(directory):
    done = command("run", "-c", write(directory, listener(bind="192.0.2.1:18443")))
    assert done.returncode == 1
    assert "192.0.2.1:18443" in done.stderr


def test_a_key_that_does_not_match(directory, certificates):
    mine, other = certificates.issue("a.example"), certificates.issue("b.example")
    settings = {"certificates": [{"cert": mine.cert, "key": other.key}]}
    done = command("run", "-c", write(directory, listener(tls="public"), settings))
    assert done.returncode == 2
    assert "weir.yaml:" in done.stderr and "match" in done.stderr


def test_a_key_that_is_not_a_key(directory, certificates):
    mine = certificates.localhost()
    settings = {"certificates": [{"cert": mine.cert, "key": mine.cert}]}
    done = command("run", "-c", write(directory, listener(tls="public"), settings))
    assert done.returncode == 2
    assert mine.cert in done.stderr


def test_an_authority_that_is_not_there(directory):
    settings = {**UPSTREAM, "tls": {"ca": "absent.pem"}}
    whole = configuration.whole(settings, listener(), None, directory)
    path = os.path.join(directory, "weir.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(yaml.write(whole) + "\n")
    done = command("run", "-c", path)
    assert done.returncode == 2
    assert "absent.pem" in done.stderr


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="drops privileges")


def as_nobody(*arguments):
    return run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
               "--inh-caps=-all", "--bounding-set=-all", BINARY, *arguments, timeout=20)


def can_nobody_run_it():
    return as_nobody("version").returncode == 0


@needs_root
def test_a_key_that_may_not_be_read(directory, certificates):
    if not can_nobody_run_it():
        pytest.skip("the binary stands where other users cannot reach it")
    os.chmod(directory, 0o777)
    mine = certificates.issue("secret.example")
    os.chmod(mine.key, 0o600)
    done = as_nobody("run", "-c", write(directory, listener(tls="public"), tls(mine)))
    assert done.returncode == 2
    assert mine.key in done.stderr and "ermission denied" in done.stderr


@needs_root
def test_a_privileged_port(directory):
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
        if int(file.read()) <= 81:
            pytest.skip("no port is privileged here")
    if not can_nobody_run_it():
        pytest.skip("the binary stands where other users cannot reach it")
    os.chmod(directory, 0o777)
    done = as_nobody("run", "-c", write(directory, listener(bind="127.0.0.1:81")))
    assert done.returncode == 1
    assert "127.0.0.1:81" in done.stderr and "ermission denied" in done.stderr


def test_an_access_log_that_cannot_be_opened(directory):
    path = write(directory, access_log={"path": f"{directory}/absent/access.log"})
    done = command("run", "-c", path)
    assert done.returncode in (1, 2)
    assert "absent/access.log" in done.stderr
