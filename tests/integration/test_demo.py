"""`weir demo` needs no file, and what it prints to try works."""

import contextlib
import re
import signal

from support.patience import wait_until
from support.processes import Process, read_text, run
from support.weir import BINARY


@contextlib.contextmanager
def demo(directory):
    """The demo on ports of the kernel's choice; stopped in order at the end."""
    process = Process([BINARY, "demo", "--tls-port", "0", "--plain-port", "0", "--admin-port",
                       "0"], directory, "demo")
    try:
        wait_until(lambda: "/status" in process.output(), "it says what to try", timeout=10)
        yield process
        process.signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert "rror" not in process.errors()
    finally:
        process.kill()


def try_command(process, pattern):
    """Runs the command of the greeting that matches; what it prints."""
    line = re.search(rf"^  (curl .*?{pattern}\S*)", process.output(), re.MULTILINE).group(1)
    words = line.split()
    if "-s" not in words:
        words.insert(1, "-sS")
    done = run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_serves_what_it_says(directory):
    with demo(directory) as process:
        answers = [try_command(process, "https://").splitlines()[0] for _ in range(12)]
        assert set(answers) == {"hello from endpoint one", "hello from endpoint two"}
        assert "hello from endpoint" in try_command(process, "http://")
        assert '"connections"' in try_command(process, "/connections")
        figures = try_command(process, "/metrics")
        assert run("promtool", "check", "metrics", input=figures).returncode == 0
        wait_until(lambda: read_text(process.stdout).count('"reason"') == 13,
                   "each connection has its line")


def test_two_requests_meet_two_endpoints(directory):
    """curl twice: one endpoint and then the other, even while two workers share the work."""
    with demo(directory) as process:
        first, second = (try_command(process, "https://").splitlines()[0] for _ in range(2))
        assert first != second


def test_a_port_in_use_is_said(directory):
    with demo(directory) as process:
        port = re.search(r"https://127\.0\.0\.1:(\d+)/", process.output()).group(1)
        done = run(BINARY, "demo", "--tls-port", port, "--plain-port", "0", "--admin-port", "0")
        assert done.returncode == 1
        assert f"127.0.0.1:{port}" in done.stderr and "in use" in done.stderr
