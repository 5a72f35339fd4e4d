"""Fixtures: Weir and what stands around it. Everything a test starts ends with it."""

import os
import shutil
import signal
import socket
import tempfile

import pytest

pytest.register_assert_rewrite("support.weir", "support.patience")

from support import servers  # noqa: E402
from support.certificates import Certificates  # noqa: E402
from support.endpoints import Endpoint  # noqa: E402
from support.load import Load  # noqa: E402
from support.patience import seconds  # noqa: E402
from support.weir import BINARY, Weir  # noqa: E402

QUICK_LIMIT, SLOW_LIMIT = 60, 240  # seconds a test may take


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.quick)


def pytest_sessionstart():
    if not os.access(BINARY, os.X_OK):
        pytest.exit(f"no Weir at {BINARY}: build it first, or name it by WEIR=", returncode=3)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Lets fixtures see whether the test has failed so far."""
    outcome = yield
    item.failed = getattr(item, "failed", False) or outcome.get_result().failed


@pytest.fixture(autouse=True)
def limit(request):
    """No test hangs: it fails where it stands."""
    allowed = seconds(SLOW_LIMIT if request.node.get_closest_marker("slow") else QUICK_LIMIT)

    def give_up(*_):
        raise AssertionError(f"the test took longer than {allowed:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, allowed)
    socket.setdefaulttimeout(seconds(30))
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def session_directory():
    """Short, because a unix socket's path has at most 107 bytes; open to other users, because
    PostgreSQL does not run as root."""
    path = tempfile.mkdtemp(prefix="weir-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def directory(session_directory):
    path = tempfile.mkdtemp(dir=session_directory)
    os.chmod(path, 0o755)
    return path


@pytest.fixture(scope="session")
def certificates(session_directory):
    path = os.path.join(session_directory, "certificates")
    os.makedirs(path)
    return Certificates(path)


@pytest.fixture
def start_endpoint():
    """start_endpoint(handle, ...) -> Endpoint"""
    started = []

    def start(handle, **options):
        started.append(Endpoint(handle, **options))
        return started[-1]

    yield start
    for endpoint in started:
        endpoint.close()


@pytest.fixture
def start_weir(request, session_directory, start_endpoint):
    """start_weir(upstreams, listeners, tls, ...) -> Weir, which ends before the endpoints do."""
    started = []

    def start(*arguments, **options):
        directory = tempfile.mkdtemp(dir=session_directory)
        started.append(Weir(directory, *arguments, **options))
        return started[-1]

    yield start
    try:
        for weir in started:
            if not request.node.failed:
                weir.finish()
    except BaseException:
        request.node.failed = True
        raise
    finally:
        for weir in started:
            if request.node.failed:
                weir.show()
            weir.kill()


@pytest.fixture
def start_load(directory):
    """start_load(address, rate=...) -> Load, which ends with the test at the latest."""
    started = []

    def start(*arguments, **options):
        started.append(Load(directory, *arguments, **options))
        return started[-1]

    yield start
    for load in started:
        load.kill()


@pytest.fixture
def start_server(directory):
    """start_server(servers.Nginx, ...) -> a real server"""
    started = []

    def start(kind, *arguments, **options):
        started.append(kind(directory, *arguments, **options))
        return started[-1]

    yield start
    for server in reversed(started):
        server.stop()


@pytest.fixture(scope="session")
def postgres(session_directory):
    """One PostgreSQL for all tests: making its data directory takes seconds."""
    server = servers.Postgres(session_directory)
    yield server
    server.stop()
