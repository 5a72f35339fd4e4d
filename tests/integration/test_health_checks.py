"""What each type of health check asks, what it takes for a healthy answer, and how /status and the
log say why an endpoint is not."""

import re
import threading
import time

import pytest

from support.configuration import quick_checks, upstream
from support.endpoints import echo, named, silent
from support.patience import wait_until
from support.processes import read_text
from support.servers import Memcached, Nginx, Redis


def endpoint_status(weir, address):
    """What /status says of an endpoint: healthy, health_reason."""
    [found] = [each for each in weir.admin.status()["upstreams"][0]["endpoints"]
               if each["address"] == address]
    return found


def wait_for_health(weir, address, value, timeout=10):
    wait_until(lambda: weir.metrics().sum("weir_endpoint_healthy", endpoint=address) == value,
               f"health of {address} is {value}", timeout)


def checked(weir, address, result=None):
    labels = {"endpoint": address, **({"result": result} if result else {})}
    return weir.metrics().sum("weir_health_checks_total", **labels)


def assert_stays_healthy(weir, address):
    """Proven by checks that passed, and by none that did not."""
    wait_until(lambda: checked(weir, address) >= 4, "four checks")
    assert weir.metrics().sum("weir_endpoint_healthy", endpoint=address) == 1
    assert checked(weir, address, "ok") == checked(weir, address)
    assert endpoint_status(weir, address)["health_reason"] == ""


def assert_becomes_unhealthy(weir, address, *words):
    """And says so, in these words, in /status and in the log."""
    wait_for_health(weir, address, 0)
    status = endpoint_status(weir, address)
    assert status["healthy"] is False
    for word in words:
        assert word.lower() in status["health_reason"].lower(), status
    line = next(line for line in weir.process.errors().splitlines()
                if address in line and "unhealthy" in line)
    for word in words:
        assert word.lower() in line.lower()


class Talker:
    """Answers each request with `answer`, which a test may change. Keeps what it was asked."""

    def __init__(self, answer, end=b"\n"):
        self.answer, self.end, self.requests = answer, end, []

    def __call__(self, stream):
        request = b""
        while piece := stream.receive():
            request += piece
            if request.endswith(self.end):
                self.requests.append(request.decode())
                request = b""
                if self.answer:
                    stream.send(self.answer)
        if request:
            self.requests.append(request.decode())


def http_answer(status):
    return f"HTTP/1.1 {status} Anything\r\nContent-Length: 0\r\n\r\n".encode()


# Of type tcp.


def test_tcp_says_why(start_weir, start_endpoint):
    endpoint = start_endpoint(silent)
    weir = start_weir(upstream(endpoint, health_check=quick_checks()))
    assert_stays_healthy(weir, endpoint.address)
    endpoint.close()
    assert_becomes_unhealthy(weir, endpoint.address, "refused")
    start_endpoint(silent, bind=endpoint.address)
    wait_for_health(weir, endpoint.address, 1)
    wait_until(lambda: endpoint_status(weir, endpoint.address)["health_reason"] == "", "all well")
    assert re.search(rf"{endpoint.address} is healthy", weir.process.errors())


# Of type tls.


def test_tls_verifies_as_sessions_do(start_weir, start_endpoint, certificates):
    good = start_endpoint(named("good"), tls=certificates.localhost().server_context())
    expired = start_endpoint(named("bad"), tls=certificates.expired("localhost").server_context())
    plain = start_endpoint(echo)
    weir = start_weir(upstream(good, expired, plain, health_check=quick_checks(type="tls"),
                               tls={"server_name": "localhost", "ca": certificates.authority}))
    assert_becomes_unhealthy(weir, expired.address, "certificate has expired")
    assert_becomes_unhealthy(weir, plain.address)
    assert endpoint_status(weir, plain.address)["health_reason"]
    assert_stays_healthy(weir, good.address)
    assert [weir.ask() for _ in range(6)] == ["good"] * 6


def test_tls_waits_for_the_handshake_not_longer_than_timeout(start_weir, start_endpoint,
                                                              certificates):
    """It accepts and says nothing: a check of type tcp would be content."""
    mute = start_endpoint(silent)
    weir = start_weir(upstream(mute, health_check=quick_checks(type="tls", timeout="200ms"),
                               tls={"server_name": "localhost", "ca": certificates.authority}))
    assert_becomes_unhealthy(weir, mute.address, "handshake")


# Of type http.


def test_http_on_a_real_server(start_weir, start_server):
    nginx = start_server(Nginx)
    checks = {"found": quick_checks(type="http", http={"path": "/name"}),
              "missing": quick_checks(type="http", http={"path": "/no/such"}),
              "wanted": quick_checks(type="http", http={"path": "/no/such", "expect": [404]})}
    weirs = {name: start_weir(upstream(nginx.address, health_check=check))
             for name, check in checks.items()}
    assert_becomes_unhealthy(weirs["missing"], nginx.address, "404")
    assert_stays_healthy(weirs["found"], nginx.address)
    assert_stays_healthy(weirs["wanted"], nginx.address)


def test_http_asks_what_it_is_told_to(start_weir, start_endpoint):
    talker = Talker(http_answer(204), end=b"\r\n\r\n")
    endpoint = start_endpoint(talker)
    weir = start_weir(upstream(endpoint, health_check=quick_checks(type="http", http={
        "path": "/ready?deep=1", "host": "api.internal", "method": "HEAD",
        "expect": [200, 204]})))
    assert_stays_healthy(weir, endpoint.address)
    lines = talker.requests[0].split("\r\n")
    assert lines[0] == "HEAD /ready?deep=1 HTTP/1.1"
    assert "host: api.internal" in [line.lower() for line in lines]


def test_http_by_default(start_weir, start_endpoint):
    talker = Talker(http_answer(200), end=b"\r\n\r\n")
    endpoint = start_endpoint(talker)
    weir = start_weir(upstream(endpoint, health_check=quick_checks(type="http")))
    assert_stays_healthy(weir, endpoint.address)
    lines = talker.requests[0].lower().split("\r\n")
    assert lines[0] == "get /healthz http/1.1"
    assert f"host: {endpoint.address}" in lines
    talker.answer = http_answer(503)
    assert_becomes_unhealthy(weir, endpoint.address, "503")
    talker.answer = http_answer(200)
    wait_for_health(weir, endpoint.address, 1)


@pytest.mark.parametrize("answer", [
    b"220 this is not HTTP\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 20", b""],
    ids=["another protocol", "no number", "half a line", "nothing"])
def test_http_takes_nothing_else_for_an_answer(start_weir, start_endpoint, answer):
    endpoint = start_endpoint(Talker(answer, end=b"\r\n\r\n"))
    weir = start_weir(upstream(endpoint, health_check=quick_checks(type="http", timeout="200ms")))
    assert_becomes_unhealthy(weir, endpoint.address)
    assert endpoint_status(weir, endpoint.address)["health_reason"]


def test_http_goes_over_the_upstreams_tls(start_weir, start_endpoint, certificates):
    talker = Talker(http_answer(200), end=b"\r\n\r\n")
    endpoint = start_endpoint(talker, tls=certificates.localhost().server_context())
    weir = start_weir(upstream(endpoint, health_check=quick_checks(type="http"),
                               tls={"server_name": "localhost", "ca": certificates.authority}))
    assert_stays_healthy(weir, endpoint.address)
    assert talker.requests[0].startswith("GET /healthz HTTP/1.1\r\n")


# Of type exchange.


def test_exchange_on_a_real_server(start_weir, start_server):
    memcached = start_server(Memcached)
    good = start_weir(upstream(memcached.address, health_check=quick_checks(
        type="exchange", exchange={"send": "mn\r\n", "expect": "MN\r\n"})))
    bad = start_weir(upstream(memcached.address, health_check=quick_checks(
        type="exchange", exchange={"send": "no such\r\n", "expect": "MN\r\n"})))
    assert_becomes_unhealthy(bad, memcached.address, "ERROR")
    assert_stays_healthy(good, memcached.address)


def test_exchange_sends_any_byte(start_weir, start_endpoint):
    """Written as an escape that is not YAML's own: of single quotes."""
    talker = Talker(b"\x00\xff\n")
    endpoint = start_endpoint(talker)
    weir = start_weir(upstream(endpoint, health_check=quick_checks(
        type="exchange", exchange={"send": "\\x01\\x7f?\\n", "expect": "\\x00\\xff\\n"})))
    assert_stays_healthy(weir, endpoint.address)
    assert talker.requests[0] == "\x01\x7f?\n"


def test_exchange_of_an_answer_in_pieces(start_weir, start_endpoint):
    """The whole answer counts, however it is cut."""

    def answer_in_pieces(stream):
        while stream.receive_line():
            for byte in b"+PONG\r\n":
                stream.send(bytes([byte]))

    endpoint = start_endpoint(answer_in_pieces)
    weir = start_weir(upstream(endpoint, health_check=quick_checks(
        type="exchange", exchange={"send": "PING\r\n", "expect": "+PONG\r\n"})))
    assert_stays_healthy(weir, endpoint.address)


@pytest.mark.parametrize("answer, words", [
    (b"-ERR\r\n", ["-ERR"]), (b"+PON", []), (b"", ["answer"])], ids=["other", "half", "nothing"])
def test_exchange_takes_nothing_else(start_weir, start_endpoint, answer, words):
    endpoint = start_endpoint(Talker(answer))
    weir = start_weir(upstream(endpoint, health_check=quick_checks(
        type="exchange", timeout="200ms", exchange={"send": "PING\r\n", "expect": "+PONG\r\n"})))
    assert_becomes_unhealthy(weir, endpoint.address, *words)


# Of type redis.


def test_redis_on_a_real_server(start_weir, start_server):
    """One that is paused answers nothing; a connect alone would not show it."""
    redis = start_server(Redis)
    weir = start_weir(upstream(redis.address,
                               health_check=quick_checks(type="redis", timeout="200ms")))
    assert_stays_healthy(weir, redis.address)
    redis.ask("client", "pause", "3000", "all")
    assert_becomes_unhealthy(weir, redis.address, "answer")
    wait_for_health(weir, redis.address, 1)


def test_redis_is_not_content_with_another_server(start_weir, start_server):
    memcached = start_server(Memcached)
    weir = start_weir(upstream(memcached.address,
                               health_check=quick_checks(type="redis", timeout="200ms")))
    assert_becomes_unhealthy(weir, memcached.address, "ERROR")


# How often, and by whom.


class Counted:
    """Remembers when connections came."""

    def __init__(self):
        self.moments = []

    def __call__(self, stream):
        self.moments.append(time.monotonic())
        silent(stream)


def test_an_endpoint_is_checked_once_not_by_each_worker(start_weir, start_endpoint):
    """Every 200 ms, give or take 10 %, whatever the number of workers."""
    counted = Counted()
    endpoint = start_endpoint(counted)
    start_weir(upstream(endpoint, health_check=quick_checks(interval="200ms")), workers=4)
    wait_until(lambda: len(counted.moments) >= 12, "twelve checks")
    gaps = [later - earlier for earlier, later in zip(counted.moments, counted.moments[1:])][1:11]
    mean = sum(gaps) / len(gaps)
    assert 0.18 <= mean <= 0.3, gaps
    assert min(gaps) >= 0.15, gaps
    assert max(gaps) - min(gaps) > 0.002, gaps  # they are jittered


def test_checks_of_many_endpoints_do_not_come_at_once(start_weir, start_endpoint):
    """Not at the start either: they are spread over the fast interval."""
    counted = Counted()
    endpoints = [start_endpoint(counted) for _ in range(20)]
    start_weir(upstream(*endpoints, health_check=quick_checks(interval="2s", fast_interval="1s")))
    wait_until(lambda: len(counted.moments) >= 20, "a check of each")
    first = sorted(counted.moments)[:20]
    assert first[-1] - first[0] > 0.4, first


def test_checks_are_faster_while_the_state_is_changing(start_weir, start_endpoint):
    """Down within three fast intervals of its first failure, and up again as soon."""
    talker = Talker(b"+PONG\r\n")
    endpoint = start_endpoint(talker)
    weir = start_weir(upstream(endpoint, health_check={
        "type": "redis", "interval": "1s", "fast_interval": "50ms", "timeout": "500ms",
        "unhealthy_after": 3, "healthy_after": 3}))
    wait_until(lambda: len(talker.requests) >= 1, "it is checked")
    for answer, value in ((b"-LOADING\r\n", 0), (b"+PONG\r\n", 1)):
        before = len(talker.requests)
        talker.answer = answer
        wait_until(lambda seen=before: len(talker.requests) > seen, "it is checked")
        first = time.monotonic()
        wait_for_health(weir, endpoint.address, value)
        assert time.monotonic() - first < 0.9  # at the ordinary pace: two seconds
        assert len(talker.requests) - before <= 5  # and three were needed


def test_checks_leave_no_connection_behind(start_weir, start_endpoint):
    endpoint = start_endpoint(Talker(b"+PONG\r\n"))
    weir = start_weir(upstream(endpoint, health_check=quick_checks(type="redis",
                                                                   interval="50ms")))
    wait_until(lambda: checked(weir, endpoint.address) >= 20, "twenty checks")
    assert endpoint.peak <= 2
    assert weir.metrics().sum("weir_pool_connections") == 0  # they are none of the pool's


def test_a_session_is_told_why_nobody_is_healthy(start_weir, start_endpoint):
    endpoint = start_endpoint(Talker(http_answer(500), end=b"\r\n\r\n"))
    weir = start_weir(upstream(endpoint, health_check=quick_checks(type="http")))
    wait_for_health(weir, endpoint.address, 0)
    with weir.connect() as stream:
        assert stream.receive_all() == b""
    weir.wait_for_outcomes(no_healthy_endpoint=1)
    assert "500" in weir.access_log(1)[0]["detail"]


def test_a_reason_cannot_break_a_line_of_the_log(start_weir, start_endpoint):
    """It quotes what a server has said."""
    endpoint = start_endpoint(Talker(b'-ERR "quoted"\x1b[31m\nforged line\r\n'))
    weir = start_weir(upstream(endpoint, health_check=quick_checks(type="redis")))
    assert_becomes_unhealthy(weir, endpoint.address, "-ERR")
    lines = read_text(weir.process.stderr).splitlines()
    assert not any(line.startswith("forged") or "\x1b" in line for line in lines)


def test_a_check_that_hangs_hinders_no_other(start_weir, start_endpoint):
    """Nor sessions: the worker that waits goes on."""
    released = threading.Event()

    def hang(stream):
        stream.receive()
        released.wait(30)

    hanging, good = start_endpoint(hang), start_endpoint(Talker(b"+PONG\r\n"))
    weir = start_weir(upstream(hanging, good, health_check=quick_checks(
        type="redis", timeout="3s", unhealthy_after=1)), workers=1)
    try:
        wait_until(lambda: checked(weir, good.address, "ok") >= 3, "the other one is checked")
        assert checked(weir, hanging.address) == 0
        assert_becomes_unhealthy(weir, hanging.address, "no answer")
    finally:
        released.set()
