"""The README's promises: curl through TLS is answered by one endpoint and then the other, and the
figures are there to scrape."""

from support.configuration import listener, tls, upstream
from support.endpoints import http
from support.processes import run
from support.servers import Prometheus
from support.address import ReservedPort
from support.patience import wait_until
from support.weir import command


def two_web_endpoints(start_endpoint, **keys):
    return upstream(start_endpoint(http("first")), start_endpoint(http("second")), **keys)


def test_curl_alternates_between_the_endpoints(start_weir, start_endpoint, certificates):
    weir = start_weir(two_web_endpoints(start_endpoint), listener(tls="public"),
                      tls(certificates.localhost()), workers=1)
    answers = []
    for _ in range(4):
        done = run("curl", "-sS", "--cacert", certificates.authority,
                   f"https://localhost:{weir.port()}/")
        assert done.returncode == 0, done.stderr
        answers.append(done.stdout.strip())
    assert answers in (["first", "second"] * 2, ["second", "first"] * 2)
    weir.wait_for_open(0)
    assert sum(weir.outcomes().values()) == 4


def test_promtool_has_nothing_to_say(start_weir, start_endpoint, certificates):
    weir = start_weir(two_web_endpoints(start_endpoint), listener(tls="public"),
                      tls(certificates.localhost()))
    for _ in range(3):
        weir.ask(b"GET / HTTP/1.1\r\n\r\n", tls=certificates.client())
        done = run("promtool", "check", "metrics", input=weir.metrics().text)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_real_prometheus_scrapes_it(start_weir, start_endpoint, start_server):
    with ReservedPort() as admin:
        start_weir(two_web_endpoints(start_endpoint), admin={"bind": admin.address})
        prometheus = start_server(Prometheus, admin.address)

        def is_up():
            return '"up"' in ask(prometheus, "up") and ',"1"]' in ask(prometheus, "up")

        wait_until(is_up, "Prometheus scrapes Weir", timeout=15)
        assert ',"1"]' in ask(prometheus, "weir_build_info")
        assert "second" not in ask(prometheus, "weir_endpoint_healthy")


def ask(prometheus, query):
    return run("curl", "-sS", f"http://{prometheus.address}/api/v1/query?query={query}").stdout


def test_version_is_one_line():
    done = command("version")
    assert done.returncode == 0
    assert done.stdout.startswith("weir ") and done.stdout.count("\n") == 1
