"""One line per connection, whatever became of it, and nothing a client sends can break a line."""

import json

from support.configuration import listener, tls, upstream
from support.endpoints import echo, named
from support.patience import wait_until
from support.processes import read_text, run


def test_a_line_says_what_happened(start_weir, start_endpoint, certificates):
    endpoint = start_endpoint(echo)
    weir = start_weir(upstream(endpoint), listener(tls="public"), tls(certificates.localhost()))
    assert weir.ask(b"12345", tls=certificates.client()) == "12345"
    [entry] = weir.access_log(1)
    expected = {
        "listener": "web", "upstream": "api", "endpoint": endpoint.address, "side": "client",
        "reason": "client_closed", "server_name": "localhost", "tls_version": "TLSv1.3",
        "received_bytes": 5, "sent_bytes": 5, "source": "opened", "attempts": 1,
    }
    assert {key: entry.get(key) for key in expected} == expected
    assert entry["client"].startswith("127.0.0.1:")
    assert entry["tls_cipher"].startswith("TLS_")
    assert entry["id"] == 1 or entry["id"] > 0


def test_each_connection_has_one_line(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a")), pool={"max_connections": 1,
                                                                 "acquire_timeout": "0s"}))
    for _ in range(30):
        weir.ask()
        weir.wait_for_open(0)
    with weir.connect() as holder:
        holder.send(b"?\n")
        assert holder.receive_line() == b"a\n"
        for _ in range(10):
            weir.connect().receive_all()
    weir.wait_for_open(0)
    entries = weir.access_log(41)
    assert len(entries) == 41
    assert len({entry["id"] for entry in entries}) == 41
    counts = {}
    for entry in entries:
        counts[entry["reason"]] = counts.get(entry["reason"], 0) + 1
    assert counts == weir.outcomes()


def test_a_hostile_server_name_stays_inside_its_string(start_weir, start_endpoint, certificates):
    weir = start_weir(upstream(start_endpoint(named("a"))), listener(tls="public"),
                      tls(certificates.localhost()))
    name = 'a"\n{"reason":"x\\'
    run("openssl", "s_client", "-connect", f"127.0.0.1:{weir.port()}", "-servername", name,
        input="?\n")
    [entry] = weir.access_log(1)
    assert entry["listener"] == "web"


def test_text_format(start_weir, start_endpoint, directory):
    path = f"{directory}/text.log"
    weir = start_weir(upstream(start_endpoint(named("a"))),
                      access_log={"path": path, "format": "text"})
    weir.ask()
    wait_until(lambda: read_text(path).endswith("\n"), "the line is written")
    line = read_text(path)
    assert line.count("\n") == 1
    assert "client_closed" in line and "web" in line and "127.0.0.1" in line
    assert not line.startswith("{")


def test_to_standard_output(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))), access_log={"path": "stdout"})
    weir.ask()
    wait_until(lambda: weir.process.output().endswith("\n"), "the line is written")
    assert json.loads(weir.process.output())["reason"] == "client_closed"


def test_off(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))), access_log={"path": "off"})
    weir.ask()
    weir.wait_for_open(0)
    assert weir.process.output() == ""


def test_every_line_is_written_before_the_end(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))))
    for _ in range(200):
        weir.ask()
    assert weir.process.stop() == 0
    assert len(read_text(weir.access_log_path).splitlines()) == 200
