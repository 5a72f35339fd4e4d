"""Weir itself: the binary under test as a process of its own."""

import errno
import http.client
import json
import os
import re
import signal
import sys

from support import address as addresses
from support import configuration, streams, yaml
from support.admin import Admin
from support.patience import seconds, wait_until
from support.processes import (Adopted, Process, adopt_orphans, children, kill_strays,
                               read_text, run)

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BINARY = os.path.abspath(os.environ.get("WEIR", os.path.join(ROOT, "build", "weir")))

_SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:")


class Weir:
    """Runs from construction on; ready when the constructor returns.

    Its ports are read from /status: every bind of the tests is port 0, so several runs may share a
    machine. `prefix` goes before its command, `options` are those of its process.
    """

    def __init__(self, directory, upstreams, listeners=None, tls=None, prefix=(), binary=BINARY,
                 options=None, **top):
        self.directory = directory
        self.settings = configuration.whole(upstreams, listeners or configuration.listener(), tls,
                                            directory, **top)
        self.config_path = os.path.join(directory, "weir.yaml")
        self.access_log_path = os.path.join(directory, "access.log")
        self.write()
        self.process = Process([*prefix, binary, "run", "--config", self.config_path], directory,
                               "weir", **(options or {}))
        self.former = []  # processes whose places it has taken
        self.admin = Admin(self.settings["admin"]["bind"])
        try:
            wait_until(self._is_ready_or_gone, "Weir is ready", timeout=20)
            assert self.is_running(), f"Weir did not start:\n{self.process.errors()}"
            self._addresses = self._bound_addresses()
        except BaseException:
            self.process.kill()
            raise

    def _is_ready_or_gone(self):
        return not self.is_running() or self.admin.is_ready()

    def _bound_addresses(self):
        return {each["name"]: each["addresses"] for each in self.admin.status()["listeners"]}

    # Its configuration: a test changes `settings`, then calls reload().

    def write(self, text=None):
        """The settings, or another text, as its file."""
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(text if text is not None else yaml.write(self.settings) + "\n")

    def reload(self, text=None, good=True):
        """Writes the file and has it read; what /status says of it afterwards."""
        before = self.reloads()
        self.write(text)
        self.signal(signal.SIGHUP)
        return self.wait_for_reload(before, good)

    def wait_for_reload(self, before, good=True):
        def done():
            now = self.reloads()
            return now["ok"] + now["refused"] > before["ok"] + before["refused"] and now

        now = wait_until(done, "the reload has ended", timeout=20)
        assert now["successful"] == good, f"{now}\n{self.process.errors()}"
        self._addresses = self._bound_addresses()
        return now

    def reloads(self):
        return self.admin.status()["reload"]

    # Another process takes its place.

    def replace(self, timeout=20):
        """SIGUSR2, until another process answers; from then on that is the one which is asked and
        ended here. Returns the one before."""
        adopt_orphans()
        self.signal(signal.SIGUSR2)
        return self.follow(timeout)

    def follow(self, timeout=20):
        """The second half of replace()."""
        before = self.process
        self.process = Adopted(wait_until(self._other_pid, "another process serves", timeout),
                               before)
        self.former.append(before)
        self._addresses = self._bound_addresses()
        return before

    def _other_pid(self):
        try:
            answer = self.admin.status()
        except (OSError, http.client.HTTPException):
            return False
        return answer["phase"] == "serving" and answer["pid"] != self.pid and answer["pid"]

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process.is_running()

    def address(self, listener="web", index=0):
        return self._addresses[listener][index]

    def port(self, listener="web"):
        return addresses.port_of(self.address(listener))

    def connect(self, listener="web", **options):
        """A client of a listener; see streams.connect."""
        return streams.connect(self.address(listener), timeout=seconds(20), **options)

    def ask(self, request=b"?\n", listener="web", **options):
        """Sends a line, finishes, and returns the answer as text: empty if it is turned away, which
        may be at any of these steps."""
        with self.connect(listener, **options) as stream:
            try:
                stream.send(request)
                stream.finish()
                return stream.receive_all().decode().strip()
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                    raise
                return ""

    # What it says.

    def metrics(self):
        return self.admin.metrics()

    def connections(self):
        return self.admin.connections()

    def outcomes(self):
        return self.metrics().outcomes()

    def wait_for_outcomes(self, timeout=5, **expected):
        """Until the sessions so far have ended with exactly these: reason=count."""
        wait_until(lambda: self.outcomes() == expected, f"outcomes {expected}", timeout)

    def wait_for_open(self, count, timeout=5):
        wait_until(lambda: self.metrics().sum("weir_connections_open") == count,
                   f"{count} open connections", timeout)

    def access_log(self, count, timeout=5):
        """The first `count` lines as dicts, once they are there."""

        def lines():
            found = read_text(self.access_log_path).splitlines()
            return len(found) >= count and found

        return [json.loads(line) for line in wait_until(lines, f"{count} log lines", timeout)]

    # How it ends.

    def signal(self, number):
        self.process.signal(number)

    def finish(self):
        """The end of every test: all sessions end with one outcome each, and so does Weir."""
        for process in self.former:
            self._assert_clean(process.wait(20))
        if not self.is_running():
            return self._assert_clean(self.process.wait(1))
        wait_until(lambda: self.metrics().sum("weir_connections_open") == 0,
                   "every session ends", timeout=15)
        wait_until(self._is_balanced, "every accepted connection has one outcome")
        self.signal(signal.SIGTERM)
        return self._assert_clean(self.process.wait(20))

    def _is_balanced(self):
        metrics = self.metrics()
        accepted = metrics.sum("weir_connections_accepted_total")
        return sum(metrics.outcomes().values()) == accepted

    def _assert_clean(self, status):
        found = _SANITIZER.search(self.process.errors())
        assert not found, f"{found.group()}:\n{self.process.errors()}"
        assert status == 0, f"exit status {status}:\n{self.process.errors()}"

    def kill(self):
        for process in (*self.former, self.process):
            strays = children(process.pid)
            process.kill()
            kill_strays(strays, self.process.stderr)
        # And those whose parents have gone before.
        kill_strays(children(os.getpid()), self.process.stderr)

    def show(self):
        """For the report of a test that failed."""
        status = self.process.status()
        state = "still running" if status is None else f"exit status {status}"
        sys.stdout.write(f"--- {self.config_path}\n{read_text(self.config_path)}"
                         f"--- {state}; stderr (the end)\n{self.process.errors()[-6000:]}"
                         f"--- access log (the end)\n{read_text(self.access_log_path)[-2000:]}")


def command(*arguments, timeout=20, **options):
    """A command of Weir's that ends by itself, e.g. command("check", "-c", path)."""
    return run(BINARY, *arguments, timeout=timeout, **options)
