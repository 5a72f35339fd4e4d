"""The families of the metrics page that this build can fill: all there from the first scrape on,
with the labels and types of the page, and bounded by the configuration."""

import pytest

from support.configuration import listener, quick_checks, tls, upstream
from support.endpoints import named

COUNTERS = {
    "weir_connections_accepted_total": {"listener"},
    "weir_connections_refused_total": {"listener", "reason"},
    "weir_sessions_total": {"listener", "upstream", "side", "reason"},
    "weir_client_received_bytes_total": {"listener"},
    "weir_client_sent_bytes_total": {"listener"},
    "weir_endpoint_received_bytes_total": {"upstream", "endpoint"},
    "weir_endpoint_sent_bytes_total": {"upstream", "endpoint"},
    "weir_tls_handshakes_total": {"listener", "result", "version", "resumed"},
    "weir_pool_acquires_total": {"upstream", "source", "result"},
    "weir_pool_open_failures_total": {"upstream", "endpoint", "reason"},
    "weir_pool_closed_total": {"upstream", "reason"},
    "weir_health_checks_total": {"upstream", "endpoint", "result"},
    "weir_access_log_dropped_total": set(),
}
GAUGES = {
    "weir_build_info": {"version", "revision", "compiler", "openssl", "boost"},
    "weir_workers": set(),
    "weir_uptime_seconds": set(),
    "weir_connections_open": {"listener"},
    "weir_tls_certificate_not_after_timestamp_seconds": {"tls", "name"},
    "weir_pool_connections": {"upstream", "endpoint", "state"},
    "weir_pool_limit": {"upstream", "kind"},
    "weir_pool_waiting": {"upstream"},
    "weir_endpoint_healthy": {"upstream", "endpoint"},
    "weir_endpoint_sessions": {"upstream", "endpoint"},
}
HISTOGRAMS = {
    "weir_session_duration_seconds": {"listener"},
    "weir_session_received_bytes": {"listener"},
    "weir_session_sent_bytes": {"listener"},
    "weir_tls_handshake_seconds": {"listener"},
    "weir_session_first_byte_seconds": {"upstream"},
    "weir_pool_acquire_seconds": {"upstream", "source"},
    "weir_pool_open_seconds": {"upstream", "phase"},
    "weir_health_check_seconds": {"upstream"},
    "weir_worker_loop_seconds": {"worker"},
}
PROCESS = ["process_open_fds", "process_max_fds", "process_resident_memory_bytes",
           "process_virtual_memory_bytes", "process_start_time_seconds"]


@pytest.fixture
def weir(start_weir, start_endpoint, certificates):
    endpoints = [start_endpoint(named(name)) for name in ("a", "b")]
    return start_weir(upstream(*endpoints, health_check=quick_checks()), listener(tls="public"),
                      tls(certificates.localhost()))


@pytest.mark.parametrize("families, kind", [(COUNTERS, "counter"), (GAUGES, "gauge"),
                                            (HISTOGRAMS, "histogram")],
                         ids=["counters", "gauges", "histograms"])
def test_the_families_are_there_before_any_client(weir, families, kind):
    metrics = weir.metrics()
    problems = []
    for name, labels in families.items():
        suffix = "_count" if kind == "histogram" else ""
        samples = metrics.find(name + suffix)
        if not samples:
            problems.append(f"{name}: no sample")
        elif metrics.types.get(name) != kind:
            problems.append(f"{name}: is a {metrics.types.get(name)}")
        elif set(samples[0].labels) != labels:
            problems.append(f"{name}: labels {sorted(samples[0].labels)}, not {sorted(labels)}")
    assert not problems


@pytest.mark.parametrize("name", PROCESS)
def test_the_process_figures(weir, name):
    assert weir.metrics().sum(name) > 0


def test_a_scrapes_size_does_not_depend_on_traffic(weir, certificates):
    before = len(weir.metrics().samples)
    for _ in range(30):
        weir.ask(tls=certificates.client())
    assert len(weir.metrics().samples) == before
    assert "127.0.0.1:%d" % weir.port() not in weir.metrics().text


def test_histograms_add_up(weir, certificates):
    for _ in range(10):
        weir.ask(tls=certificates.client())
    weir.wait_for_open(0)
    metrics = weir.metrics()
    for name in ("weir_session_duration_seconds", "weir_session_received_bytes",
                 "weir_tls_handshake_seconds"):
        assert metrics.sum(name + "_count") == 10
        buckets = [sample.value for sample in metrics.find(name + "_bucket", listener="web")]
        assert buckets == sorted(buckets) and buckets[-1] == 10
    assert metrics.sum("weir_session_received_bytes_sum") == 20
    assert metrics.sum("weir_pool_acquire_seconds_count") == 10
    assert metrics.sum("weir_session_first_byte_seconds_count") == 10


def test_each_session_counts_once(weir, certificates):
    for _ in range(10):
        weir.ask(tls=certificates.client())
    weir.wait_for_open(0)
    metrics = weir.metrics()
    assert metrics.outcomes(listener="web", upstream="api") == {"client_closed": 10}
    assert metrics.sum("weir_sessions_total", side="client") == 10
    assert metrics.sum("weir_pool_acquires_total", result="ok") == 10
