"""SIGUSR2: another process takes the place of this one, and no client notices."""

import contextlib
import os
import shutil
import signal
import socket

import pytest

from support import address as addresses
from support import streams
from support.configuration import listener, tls, upstream
from support.endpoints import named
from support.patience import full_or_short, seconds, wait_until
from support.processes import adopt_orphans, children, descriptors
from support.servers import Nginx
from support.weir import BINARY

REQUEST = "GET /name HTTP/1.0\r\n\r\n"
HANGS = "#!/bin/sh\nexec sleep 300\n"


@pytest.fixture
def binary(directory):
    """Weir as it is installed: a file that a new version takes the place of."""
    path = os.path.join(directory, "weir")
    shutil.copy(BINARY, path)
    return path


def install(path, text=None):
    """A new version, or a script in its stead: by rename, as packages do it."""
    if text is None:
        shutil.copy(BINARY, f"{path}.new")
    else:
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(f"{path}.new", 0o755)
    os.rename(f"{path}.new", path)


@pytest.fixture
def start(start_weir, start_endpoint, binary):
    def begin(listeners=None, tls_settings=None, **options):
        return start_weir(upstream(start_endpoint(named("a"))), listeners, tls_settings,
                          binary=binary, **options)

    return begin


def ask_line(stream):
    stream.send(b"?\n")
    return stream.receive_line()


def program_of(pid):
    return os.stat(f"/proc/{pid}/exe").st_ino


def wait_for_log(weir, text, count=1):
    wait_until(lambda: weir.process.errors().count(text) >= count, f"the log says: {text}", 20)


def test_the_new_program_serves_and_the_old_one_ends(start, binary):
    weir = start()
    port, first = weir.port(), weir.pid
    install(binary)
    before = weir.replace()
    assert before.wait(10) == 0
    assert weir.port() == port  # of the kernel's choice
    assert weir.pid != first
    assert program_of(weir.pid) == os.stat(binary).st_ino
    assert weir.ask() == "a"
    assert weir.admin.status()["pid"] == weir.pid
    assert weir.admin.get("/readyz").status == 200


@pytest.mark.slow
def test_nobody_notices_at_1000_connections_a_second(start_weir, start_server, start_load, binary):
    nginx = start_server(Nginx)
    weir = start_weir(upstream(nginx.address, pool={"min_idle": 4}), binary=binary)
    load = start_load(weir.address(), rate=1000, request=REQUEST, whole=True)
    load.wait_for_answers(500)
    rounds = full_or_short(10, 3)
    for _ in range(rounds):
        install(binary)
        before = weir.replace()
        load.wait_for_answers(500, timeout=20)
        assert before.wait(20) == 0
    load.wait_for_answers(500)
    sessions = load.stop()
    assert len(sessions) > 500 * (rounds + 2)
    bad = [each for each in sessions if each.error or "200" not in each.answer]
    assert not bad, (len(bad), bad[:5])
    pace = len(sessions) / (sessions[-1].began - sessions[0].began)
    assert pace > 900, f"{pace:.0f} connections a second"


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_may_change(start, workers):
    weir = start(workers=2)
    weir.settings["workers"] = workers
    weir.write()
    weir.replace().wait(10)
    assert weir.admin.status()["workers"] == workers
    assert [weir.ask() for _ in range(20)] == ["a"] * 20
    weir.replace().wait(10)
    assert [weir.ask() for _ in range(20)] == ["a"] * 20


def test_old_sessions_go_on_to_their_end(start, certificates):
    weir = start({"web": listener(), "secure": listener(tls="public")},
                 tls(certificates.localhost()), drain={"delay": "20s", "timeout": "60s"})
    with weir.connect() as old, weir.connect("secure", tls=certificates.client()) as secure:
        assert ask_line(old) == b"a\n" == ask_line(secure)
        before = weir.replace()
        wait_for_log(weir, "draining")
        assert weir.ask() == "a" == weir.ask(listener="secure", tls=certificates.client())
        assert ask_line(old) == b"a\n" == ask_line(secure)
        assert before.is_running()
        assert weir.metrics().sum("weir_connections_accepted_total") == 2
    assert before.wait(10) == 0
    reasons = [each["reason"] for each in weir.access_log(4)]
    assert reasons == ["client_closed"] * 4
    del weir.settings["drain"]["delay"]  # which the end of the test would wait for
    weir.reload()


def test_the_drain_timeout_ends_old_sessions(start):
    weir = start(drain={"timeout": "300ms"})
    with weir.connect() as old:
        assert ask_line(old) == b"a\n"
        before = weir.replace()
        assert before.wait(10) == 0
    assert weir.access_log(1)[0]["reason"] == "drained"


def test_a_bad_configuration_stops_the_new_one_only(start):
    weir = start()
    weir.settings["listeners"]["web"]["upstreem"] = "b"
    weir.write()
    with weir.connect() as stream:
        assert ask_line(stream) == b"a\n"
        weir.signal(signal.SIGUSR2)
        wait_for_log(weir, "it ended with exit status 2")
        assert "did you mean" in weir.process.errors()
        assert ask_line(stream) == b"a\n"
    assert weir.ask() == "a"
    assert weir.metrics().sum("weir_connections_accepted_total") == 2
    del weir.settings["listeners"]["web"]["upstreem"]
    weir.write()
    weir.replace()
    assert weir.ask() == "a"


@pytest.mark.parametrize("text, words", [
    ("#!/bin/sh\nexit 7\n", "it ended with exit status 7"),
    ("#!/bin/sh\nkill -ABRT $$\n", "it ended by signal 6"),
    ("not a program", "it ended with exit status 127"),
])
def test_a_broken_program_changes_nothing(start, binary, text, words):
    weir = start()
    before = descriptors(weir.pid)
    install(binary, text)
    weir.signal(signal.SIGUSR2)
    wait_for_log(weir, words)
    assert weir.ask() == "a"
    wait_until(lambda: descriptors(weir.pid) <= before, "nothing is left open")
    install(binary)
    weir.replace()
    assert weir.ask() == "a"


def test_a_program_that_is_not_there(start, binary):
    weir = start()
    os.unlink(binary)
    weir.signal(signal.SIGUSR2)
    wait_for_log(weir, "No such file or directory")
    assert weir.ask() == "a"
    install(binary)
    weir.replace()
    assert weir.ask() == "a"


def test_the_start_fails_late(start, directory):
    """After its sockets have been taken: they, and the file of a unix socket, are still ours."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        weir = start({"web": listener(), "file": listener(bind=f"unix:{directory}/web.sock")})
        weir.settings["listeners"]["zzz"] = listener(bind=addresses.text_of(taken))
        weir.write()
        weir.signal(signal.SIGUSR2)
        wait_for_log(weir, "it ended with exit status 1")
        assert weir.ask() == "a"
        assert weir.ask(listener="file") == "a"
        assert weir.admin.status()["pid"] == weir.pid


def test_one_at_a_time(start, binary):
    weir = start()
    install(binary, HANGS)
    weir.signal(signal.SIGUSR2)
    wait_for_log(weir, "is started as process")
    weir.signal(signal.SIGUSR2)
    wait_for_log(weir, "not replaced, a process that is to take this one's place is starting")
    [child] = children(weir.pid)
    assert weir.ask() == "a"
    os.kill(child, signal.SIGTERM)
    wait_for_log(weir, "it ended by signal 15")
    install(binary)
    weir.replace()
    assert weir.ask() == "a"


def test_a_reload_meanwhile_is_put_off(start, binary):
    weir = start()
    install(binary, HANGS)
    weir.signal(signal.SIGUSR2)
    [child] = wait_until(lambda: children(weir.pid), "it is started")
    before = weir.reloads()
    weir.signal(signal.SIGHUP)
    wait_for_log(weir, "reload put off")
    assert weir.reloads() == before
    os.kill(child, signal.SIGKILL)
    assert weir.wait_for_reload(before)["ok"] == before["ok"] + 1


def test_a_reload_meanwhile_is_passed_on(start, binary, directory):
    """The new one may have read the file before it changed."""
    weir = start()
    gate = f"{directory}/gate"
    os.mkfifo(gate)
    shutil.copy(binary, f"{binary}.late")
    install(binary, f'#!/bin/sh\nread line < {gate}\nexec {binary}.late "$@"\n')
    adopt_orphans()
    weir.signal(signal.SIGUSR2)
    wait_for_log(weir, "is started as process")
    weir.signal(signal.SIGHUP)
    wait_for_log(weir, "reload put off")
    with open(gate, "w", encoding="ascii") as file:
        file.write("go\n")
    weir.follow()
    wait_until(lambda: weir.reloads()["ok"] == 1, "it has reloaded")
    assert weir.ask() == "a"


@pytest.mark.slow
def test_one_that_says_nothing_is_given_up(start, binary):
    weir = start()
    install(binary, HANGS)
    weir.signal(signal.SIGUSR2)
    wait_until(lambda: children(weir.pid), "it is started")
    wait_until(lambda: not children(weir.pid), "it is killed", timeout=40)
    wait_for_log(weir, "it has not said within 30 s that it serves")
    assert weir.ask() == "a"


def test_who_stops_gives_up_the_new_one(start, binary):
    weir = start()
    install(binary, HANGS)
    weir.signal(signal.SIGUSR2)
    [child] = wait_until(lambda: children(weir.pid), "it is started")
    weir.signal(signal.SIGTERM)
    assert weir.process.wait(10) == 0
    assert not os.path.exists(f"/proc/{child}")


def test_files_of_unix_sockets(start, directory):
    kept, dropped = f"{directory}/kept.sock", f"{directory}/dropped.sock"
    weir = start({"web": listener(bind=f"unix:{kept}"), "old": listener(bind=f"unix:{dropped}")})
    del weir.settings["listeners"]["old"]
    weir.write()
    weir.replace().wait(10)
    assert os.path.exists(kept) and not os.path.exists(dropped)
    assert weir.ask() == "a"
    weir.replace().wait(10)
    assert weir.ask() == "a"
    weir.finish()
    assert not os.path.exists(kept)
    assert not os.path.exists(weir.admin.address.removeprefix("unix:"))


def test_an_address_that_is_not_configured_any_more_closes(start):
    weir = start({"web": listener(), "old": listener()})
    old = weir.address("old")
    del weir.settings["listeners"]["old"]
    weir.write()
    weir.replace().wait(10)
    with pytest.raises(ConnectionRefusedError):
        addresses.connect(old)


def test_a_wider_address_takes_the_place_of_a_narrow_one(start):
    weir = start()
    port = weir.port()
    weir.settings["listeners"]["web"]["bind"] = f"0.0.0.0:{port}"
    weir.write()
    weir.replace().wait(10)
    with streams.connect(f"127.0.0.2:{port}", timeout=seconds(20)) as stream:
        assert ask_line(stream) == b"a\n"


def test_the_admin_port(start):
    with addresses.ReservedPort() as admin:
        weir = start(admin={"bind": admin.address})
    with addresses.connect(weir.admin.address) as kept:
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in kept.recv(4096)
        before = weir.replace()
    assert weir.admin.status()["pid"] == weir.pid
    assert before.wait(10) == 0


def test_nothing_else_is_inherited(start):
    """A session's sockets would never close."""
    weir = start()
    with weir.connect() as stream:
        assert ask_line(stream) == b"a\n"
        before = weir.replace()
        wait_until(lambda: not sockets_of(before) & sockets_of(weir.process),
                   "what both listened on is let go of, and there is nothing else")
    assert before.wait(10) == 0


def sockets_of(process):
    links = set()
    for each in os.listdir(f"/proc/{process.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.add(os.readlink(f"/proc/{process.pid}/fd/{each}"))
    return {each for each in links if each.startswith("socket:")}


@pytest.fixture
def service_manager(directory):
    """A socket as systemd's, and what has been said to it so far."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + directory)
        sock.settimeout(seconds(20))
        yield sock, {"env": {**os.environ, "NOTIFY_SOCKET": "@" + directory}}


def test_the_service_manager_is_told(start, service_manager):
    sock, options = service_manager
    weir = start(options=options)
    assert sock.recv(4096) == b"READY=1"
    weir.reload()
    state, clock = sock.recv(4096).split(b"\n")
    assert state == b"RELOADING=1" and clock.startswith(b"MONOTONIC_USEC=")
    assert sock.recv(4096) == b"READY=1"
    weir.replace().wait(10)
    assert sorted([sock.recv(4096), sock.recv(4096)]) == [b"MAINPID=%d" % weir.pid, b"READY=1"]
    weir.finish()
    assert sock.recv(4096) == b"STOPPING=1"
