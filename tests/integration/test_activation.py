"""Started with sockets that listen already, as systemd does: LISTEN_FDS."""

import os
import signal
import socket
import sys
import threading

import pytest

from support import address as addresses
from support import streams
from support.configuration import listener, upstream
from support.endpoints import named
from support.patience import full_or_short, seconds, wait_until
from support.processes import descriptors
from support.servers import Nginx

ACTIVATE = os.path.join(os.path.dirname(__file__), "support", "activate.py")


def listening(bind="127.0.0.1:0", reuse_port=False, listens=True):
    """A socket as systemd makes it."""
    family, where = addresses.parse(bind)
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(where)
    if listens:
        sock.listen(64)
    return sock


def group(count):
    """Sockets of one address, each with a queue of its own."""
    first = listening(reuse_port=True)
    return [first] + [listening(addresses.text_of(first), True) for _ in range(count - 1)]


@pytest.fixture
def activate(start_weir, start_endpoint):
    """activate(sockets, listeners, names=, pid=) -> Weir that has been given them; they are closed
    here."""

    def start(sockets, listeners=None, names=None, pid=None, target=None, **top):
        options = [f"--names={names}"] if names is not None else []
        options += [f"--pid={pid}"] if pid is not None else []
        numbers = [each.fileno() for each in sockets]
        weir = start_weir(
            upstream(target or start_endpoint(named("a"))),
            listeners or listener(bind=addresses.text_of(sockets[0])),
            prefix=[sys.executable, ACTIVATE, *options, ",".join(map(str, numbers))],
            options={"pass_fds": numbers}, **top)
        for each in sockets:
            each.close()  # the service manager's own, where a test keeps one, is a copy
        return weir

    return start


def ask_at(address):
    with streams.connect(address, timeout=seconds(20)) as stream:
        stream.send(b"?\n")
        return stream.receive_line()


def test_a_socket_that_listens_already(activate):
    # SO_REUSEPORT is not set: had it not been taken, nothing could listen there.
    sock = listening()
    address = addresses.text_of(sock)
    early = addresses.connect(address)
    weir = activate([sock])
    assert weir.address() == address
    assert [weir.ask() for _ in range(8)] == ["a"] * 8
    with early:
        early.sendall(b"?\n")
        assert early.recv(16) == b"a\n"


@pytest.mark.parametrize("workers, count", [(1, 4), (2, 5), (3, 3), (4, 2), (4, 1)])
def test_every_queue_is_served(activate, workers, count):
    sockets = group(count)
    address = addresses.text_of(sockets[0])
    early = [addresses.connect(address) for _ in range(20)]  # spread over all of them
    weir = activate(sockets, workers=workers)
    for each in early:
        with each:
            each.sendall(b"?\n")
            assert each.recv(16) == b"a\n"
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(weir.ask())) for _ in range(30)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert answers == ["a"] * 30
    assert "closed" not in weir.process.errors()


def test_a_unix_socket_whose_file_is_not_ours(activate, directory):
    path = f"{directory}/web.sock"
    sock = listening(f"unix:{path}")
    with sock.dup():
        weir = activate([sock])
        assert weir.ask() == "a"
        weir.finish()
        assert os.path.exists(path)


def test_ipv6(activate):
    sock = listening("[::1]:0")
    weir = activate([sock])
    assert weir.ask() == "a"


def test_a_listener_with_any_port_takes_what_bears_its_name(activate):
    sockets = [listening(), listening(), listening()]
    where = [addresses.text_of(each) for each in sockets]
    weir = activate(sockets, {"web": listener(), "other": listener()}, names="other:web:web.socket")
    assert weir.address("other") == where[0]
    assert weir.address("web") == where[1]
    assert f"{where[2]} was handed over (web.socket)" in weir.process.errors()


def test_the_admin_address(activate):
    sockets = [listening(), listening()]
    where = [addresses.text_of(each) for each in sockets]
    weir = activate(sockets, admin={"bind": where[1]})
    assert weir.admin.status()["listeners"][0]["addresses"] == [where[0]]


def test_what_nobody_wants_is_closed_with_a_word(activate):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sockets = [listening(), listening(), listening(listens=False), datagrams]
    unwanted = addresses.text_of(sockets[1])
    weir = activate(sockets)
    assert weir.ask() == "a"
    assert f"{unwanted} was handed over" in weir.process.errors()
    assert weir.process.errors().count("is no stream socket that listens") == 2
    with pytest.raises(ConnectionRefusedError):
        addresses.connect(unwanted)


def test_reloads_afterwards(activate):
    sock = listening()
    address = addresses.text_of(sock)
    weir = activate([sock])
    before = descriptors(weir.pid)
    weir.reload()
    assert weir.address() == address
    # (One more for a moment: of the connection that has asked for its status.)
    wait_until(lambda: descriptors(weir.pid) <= before, "nothing has been opened")
    weir.settings["listeners"]["more"] = listener()
    weir.reload()
    assert weir.ask(listener="more") == "a"
    del weir.settings["listeners"]["more"]
    weir.reload()
    wait_until(lambda: descriptors(weir.pid) <= before + 2, "its sockets are closed")
    assert weir.ask() == "a"


def test_sockets_for_another_process_are_not_touched(activate):
    sock = listening(reuse_port=True)
    kept = sock.dup()
    with kept:
        weir = activate([sock], listener(), pid=1)
        assert weir.address() != addresses.text_of(kept)
        assert weir.ask() == "a"
        with addresses.connect(addresses.text_of(kept)):
            assert kept.accept()


def test_the_variables_are_gone_afterwards(activate):
    """What it starts itself must not take them for its own."""
    weir = activate([listening()])
    weir.replace()
    assert weir.ask() == "a"
    with open(f"/proc/{weir.pid}/environ", encoding="utf-8") as file:
        variables = dict(each.partition("=")[::2] for each in file.read().split("\0"))
    assert variables["LISTEN_PID"] == str(weir.pid)
    assert variables["LISTEN_FDNAMES"] == "weir.listener.web:weir.admin"


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_nobody_notices_a_restart_at_1000_connections_a_second(activate, start_server, start_load,
                                                               count):
    """The service manager keeps the sockets, one process ends, and another one begins."""
    target = start_server(Nginx).address
    sockets = group(count) if count > 1 else [listening()]
    address = addresses.text_of(sockets[0])
    for each in sockets:
        each.listen(4096)
    weir = activate([each.dup() for each in sockets], target=target)
    load = start_load(address, rate=1000, request="GET /name HTTP/1.0\r\n\r\n", whole=True)
    for _ in range(full_or_short(10, 3)):
        load.wait_for_answers(500, timeout=20)
        before, copies = weir, [each.dup() for each in sockets]
        before.signal(signal.SIGTERM)
        assert before.process.wait(20) == 0
        weir = activate(copies, listener(bind=address), target=target)
        assert weir.pid != before.pid
    load.wait_for_answers(500, timeout=20)
    sessions = load.stop()
    bad = [each for each in sessions if each.error or "200" not in each.answer]
    assert not bad, (len(bad), bad[:5])
    for each in sockets:
        each.close()
