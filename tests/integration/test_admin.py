"""The admin listener: health, status, the live connections and ending one of them."""

import http.client
import json

import pytest

from support import streams
from support.configuration import listener, tls, upstream
from support.endpoints import echo, named
from support.patience import wait_until


@pytest.fixture
def weir(start_weir, start_endpoint):
    return start_weir(upstream(start_endpoint(echo)))


def speak(stream, text=b"hello"):
    stream.send(text)
    assert stream.receive_exactly(len(text)) == text


def test_health_and_readiness(weir):
    assert weir.admin.get("/healthz").status == 200
    assert weir.admin.get("/readyz").status == 200


def test_metrics_have_the_right_type(weir):
    answer = weir.admin.get("/metrics")
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert headers["content-type"].startswith("text/plain; version=0.0.4")


def test_status_is_json(weir):
    status = weir.admin.status()
    [web] = status["listeners"]
    assert web["name"] == "web"
    assert web["addresses"] == [weir.address()]


def test_unknown_paths_and_methods(weir):
    assert weir.admin.get("/nowhere").status == 404
    assert weir.admin.request("POST", "/metrics").status == 405
    assert weir.admin.request("DELETE", "/metrics").status == 405
    assert weir.admin.request("HEAD", "/metrics").status == 200


def test_a_live_connection_is_shown(start_weir, start_endpoint, certificates):
    endpoint = start_endpoint(echo)
    weir = start_weir(upstream(endpoint), listener(tls="public"), tls(certificates.localhost()))
    with weir.connect(tls=certificates.client()) as stream:
        speak(stream)
        [shown] = weir.connections()
        expected = {"listener": "web", "upstream": "api", "endpoint": endpoint.address,
                    "server_name": "localhost", "tls_version": "TLSv1.3", "source": "opened",
                    "received_bytes": 5, "sent_bytes": 5}
        assert {key: shown.get(key) for key in expected} == expected
        assert shown["client"] == "127.0.0.1:%d" % stream.socket.getsockname()[1]
    weir.wait_for_open(0)
    assert weir.connections() == []


def test_a_connection_is_killed(weir):
    with weir.connect() as victim, weir.connect() as bystander:
        speak(victim)
        [shown] = [each for each in weir.connections() if each["received_bytes"]]
        answer = weir.admin.delete(f"/connections/{shown['id']}")
        assert answer.status in (200, 204)
        with pytest.raises(ConnectionResetError):
            victim.receive()
        weir.wait_for_outcomes(killed=1)
        speak(bystander)
    assert [each["id"] for each in weir.access_log(1) if each["reason"] == "killed"] == [
        shown["id"]]


def test_a_connection_that_waits_is_killed(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a")), pool={"max_connections": 1}))
    with weir.connect() as holder, weir.connect() as waiter:
        wait_until(lambda: weir.metrics().sum("weir_pool_waiting") == 1, "one waits")
        [shown] = [each for each in weir.connections() if not each["endpoint"]]
        assert weir.admin.delete(f"/connections/{shown['id']}").status in (200, 204)
        weir.wait_for_outcomes(killed=1)
        assert holder and waiter


@pytest.mark.parametrize("name", ["0", "999999", "abc", "-1", "", "18446744073709551616"])
def test_killing_who_is_not_there(weir, name):
    assert weir.admin.delete(f"/connections/{name}").status in (400, 404, 405)


def test_connections_are_filtered_sorted_and_limited(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(echo)), {"web": listener(), "more": listener()})
    with weir.connect("web") as small, weir.connect("more") as big, weir.connect("web") as none:
        speak(small, b"x" * 10)
        speak(big, b"x" * 1000)
        wait_until(lambda: len(weir.connections()) == 3, "all three are there")
        by_bytes = weir.admin.connections("?sort=bytes")
        assert [each["received_bytes"] for each in by_bytes] == [1000, 10, 0]
        assert len(weir.admin.connections("?sort=bytes&limit=1")) == 1
        assert [each["listener"] for each in weir.admin.connections("?listener=more")] == ["more"]
        assert len(weir.admin.connections("?upstream=api")) == 3
        assert weir.admin.connections("?upstream=other") == []
        assert none


@pytest.mark.parametrize("request_text", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"\r\n" * 1000,
    b"GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"])
def test_garbage_does_no_harm(weir, request_text):
    with streams.connect(weir.admin.address, timeout=5) as stream:
        try:
            stream.send(request_text)
            stream.finish()
            stream.receive_all()
        except OSError:
            pass
    assert weir.admin.get("/healthz").status == 200


def test_one_connection_serves_several_requests(weir):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = streams.connect(weir.admin.address).socket
    for _ in range(3):
        connection.request("GET", "/status")
        assert json.loads(connection.getresponse().read())
    connection.close()


def test_metrics_move_while_a_session_lives(weir):
    with weir.connect() as stream:
        speak(stream, b"x" * 1000)
        metrics = weir.metrics()
        assert metrics.sum("weir_client_received_bytes_total", listener="web") == 1000
        assert metrics.sum("weir_endpoint_sent_bytes_total", upstream="api") == 1000
        assert metrics.sum("weir_connections_open", listener="web") == 1
        assert metrics.sum("weir_endpoint_sessions") == 1
        assert metrics.sum("weir_pool_connections", state="leased") == 1
