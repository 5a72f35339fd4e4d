"""Keys of the pool and of an upstream that stand alone: keep-alive, ages, sessions of an endpoint
that fails, and a process that runs out of descriptors."""

import os
import re
import resource
import subprocess

import pytest

from support.configuration import quick_checks, upstream
from support.endpoints import named, silent
from support.patience import wait_until


def idle(weir):
    return weir.metrics().sum("weir_pool_connections", state="idle")


def closed(weir, reason):
    return weir.metrics().sum("weir_pool_closed_total", reason=reason)


def timers(endpoint):
    """The kernel's timers on connections to this endpoint, as Weir's side has them."""
    done = subprocess.run(["ss", "-Hton", f"dport = :{endpoint.port}"], capture_output=True,
                          text=True, check=True)
    return re.findall(r"timer:\((\w+),", done.stdout)


def test_idle_connections_have_keep_alive(start_weir, start_endpoint):
    endpoint = start_endpoint(silent)
    weir = start_weir(upstream(endpoint, pool={"min_idle": 2, "keepalive": "7s,2s,3"}))
    wait_until(lambda: idle(weir) == 2, "it is warm")
    assert timers(endpoint) == ["keepalive", "keepalive"]


def test_a_long_session_gets_keep_alive(start_weir, start_endpoint):
    """Half-way to the moment from which on it could make a difference."""
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint, pool={"keepalive": "1s,1s,3"}))
    with weir.connect() as stream:
        stream.send(b"?\n")
        assert stream.receive_line() == b"a\n"
        wait_until(lambda: timers(endpoint) == ["keepalive"], "it is watched")


def test_connections_end_at_their_lifetime(start_weir, start_endpoint):
    endpoint = start_endpoint(silent)
    weir = start_weir(upstream(endpoint, pool={"min_idle": 2, "max_lifetime": "500ms"}))
    wait_until(lambda: closed(weir, "lifetime") >= 4, "old connections are replaced")
    wait_until(lambda: idle(weir) == 2, "by new ones")


def test_sessions_of_an_unhealthy_endpoint_end_if_told_so(start_weir, start_endpoint):
    first, checked = start_endpoint(named("a")), start_endpoint(silent)
    weir = start_weir(upstream(first, health_check=quick_checks(port=checked.port),
                               when_endpoint_unhealthy="close"))
    with weir.connect() as stream:
        stream.send(b"?\n")
        assert stream.receive_line() == b"a\n"
        checked.close()
        with pytest.raises(ConnectionResetError):
            stream.receive_all()
    weir.wait_for_outcomes(drained=1)
    assert weir.access_log(1)[0]["detail"] == "the endpoint is unhealthy"


def test_sessions_of_an_unhealthy_endpoint_go_on(start_weir, start_endpoint):
    first, checked = start_endpoint(named("a")), start_endpoint(silent)
    weir = start_weir(upstream(first, health_check=quick_checks(port=checked.port)))
    with weir.connect() as stream:
        stream.send(b"?\n")
        assert stream.receive_line() == b"a\n"
        checked.close()
        wait_until(lambda: weir.metrics().sum("weir_endpoint_healthy") == 0, "it is unhealthy")
        stream.send(b"?\n")
        assert stream.receive_line() == b"a\n"
    assert weir.ask() == ""
    weir.wait_for_outcomes(client_closed=1, no_healthy_endpoint=1)
    detail = next(line["detail"] for line in weir.access_log(2)
                  if line["reason"] == "no_healthy_endpoint")
    assert first.address in detail and "Connection refused" in detail


@pytest.mark.parametrize("share, kept", [(0.93, 20), (0.99, None)], ids=["few", "very few"])
def test_idle_connections_make_room_when_descriptors_are_few(start_weir, start_endpoint, share,
                                                             kept):
    """Below 10 % free: no warming; below 5 %: idle connections are closed."""
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint, pool={"min_idle": 20}))
    wait_until(lambda: idle(weir) == 20, "it is warm")
    used = len(os.listdir(f"/proc/{weir.pid}/fd"))
    soft, hard = resource.prlimit(weir.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(weir.pid, resource.RLIMIT_NOFILE, (round(used / share), hard))
    wait_until(lambda: "pools are not warmed" in weir.process.errors(), "it notices")
    if kept is None:
        wait_until(lambda: closed(weir, "descriptors") > 0, "idle connections are closed")
        assert idle(weir) < 20
    assert weir.ask() == "a"
    assert weir.metrics().sum("weir_pool_idle_target") == 0
    resource.prlimit(weir.pid, resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: idle(weir) == 20, "it is warmed again")
