"""Programs under the tests' control, and what /proc says about them."""

import contextlib
import ctypes
import os
import signal
import subprocess

from support.patience import seconds, wait_until

TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A program with its output in files of `directory`. Ends with the test at the latest."""

    def __init__(self, arguments, directory, name, **options):
        self.name = name
        self.stdout = os.path.join(directory, f"{name}.stdout")
        self.stderr = os.path.join(directory, f"{name}.stderr")
        with open(self.stdout, "ab") as out, open(self.stderr, "ab") as err:
            self.popen = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=err, **options)

    @property
    def pid(self):
        return self.popen.pid

    def is_running(self):
        return self.status() is None

    def status(self):
        """The exit status, None while it runs."""
        return self.popen.poll()

    def output(self):
        return read_text(self.stdout)

    def errors(self):
        return read_text(self.stderr)

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, timeout):
        """The exit status; raises in words when it does not come."""
        try:
            return self.popen.wait(seconds(timeout))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {seconds(timeout):g} s") from None

    def stop(self, timeout=10):
        if self.is_running():
            self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        if self.is_running():
            self.popen.kill()
        self.popen.wait()


class Adopted(Process):
    """A process that another one has started, with the same outputs. Once that one is gone it is a
    child of ours, with an exit status: see adopt_orphans()."""

    def __init__(self, pid, parent):
        self.name, self.stdout, self.stderr = parent.name, parent.stdout, parent.stderr
        self._pid, self._status = pid, None

    @property
    def pid(self):
        return self._pid

    def status(self):
        if self._status is None:
            with contextlib.suppress(ChildProcessError):  # its parent still lives
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def signal(self, number):
        if self.is_running():
            os.kill(self._pid, number)

    def wait(self, timeout):
        wait_until(lambda: not self.is_running(), f"{self.name} ({self.pid}) ends", timeout)
        return self.status()

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait(10)


def adopt_orphans():
    """Processes whose parents end are children of ours from now on, not of init."""
    set_child_subreaper = 36
    assert ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0) == 0


def children(pid):
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, read_text(f"/proc/{pid}/task/{task}/children").split())
    return found


def kill_strays(pids, stderr):
    """Those of them that write their errors to that file."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/2") == stderr:
                os.kill(pid, signal.SIGKILL)


def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def run(*arguments, timeout=30, **options):
    """A finished program, its output as text; the caller looks at the status."""
    options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
    return subprocess.run([str(argument) for argument in arguments], capture_output=True,
                          text=options.pop("text", True), timeout=seconds(timeout),
                          **{key: value for key, value in options.items() if value is not None},
                          check=False)


def resident_kib(pid):
    """Resident memory of this moment, files that are mapped left out."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    raise AssertionError("no RssAnon in /proc")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def connecting(port):
    """How many TCP connections of this machine to 127.0.0.1:port wait for their SYN-ACK."""
    count = 0
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file:
            fields = line.split()
            if fields[3] == "02" and fields[2].endswith(f":{port:04X}"):
                count += 1
    return count
