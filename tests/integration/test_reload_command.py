"""`weir reload`: it says how the reload went."""

from support.configuration import upstream
from support.endpoints import named
from support.weir import command


def test_it_reloads_and_says_so(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))))
    weir.settings["upstreams"]["api"]["endpoints"] = [
        {"address": start_endpoint(named("b")).address}]
    weir.write()
    done = command("reload", "-c", weir.config_path)
    assert (done.returncode, done.stdout) == (0, "reloaded\n"), done.stderr
    assert weir.ask() == "b"
    done = command("reload", "--admin", weir.admin.address)
    assert done.returncode == 0, done.stderr
    assert weir.reloads()["ok"] == 2


def test_it_says_why_not(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))))
    weir.settings["listeners"]["web"]["upstreem"] = "x"
    weir.write()
    done = command("reload", "--admin", weir.admin.address)
    assert done.returncode == 1
    assert "not reloaded" in done.stderr and "did you mean" in done.stderr
    assert weir.reloads()["refused"] == 1
    # A file that is wrong is not even tried.
    done = command("reload", "-c", weir.config_path)
    assert done.returncode == 2
    assert "did you mean" in done.stderr
    assert weir.reloads()["refused"] == 1
    assert weir.ask() == "a"


def test_an_admin_address_that_moves_takes_the_word_with_it(start_weir, start_endpoint, directory):
    weir = start_weir(upstream(start_endpoint(named("a"))))
    old = weir.admin.address
    weir.admin.address = weir.settings["admin"]["bind"] = f"unix:{directory}/second.sock"
    weir.write()
    done = command("reload", "-c", weir.config_path)
    assert done.returncode == 1 and "--admin" in done.stderr
    done = command("reload", "--admin", old)
    assert done.returncode == 1 and "has moved its admin" in done.stderr
    assert weir.reloads()["ok"] == 1
    assert weir.ask() == "a"


def test_without_a_weir_it_says_so(directory):
    done = command("reload", "--admin", f"unix:{directory}/nobody.sock")
    assert done.returncode == 1
    assert "nobody.sock" in done.stderr


def test_what_is_no_weir_is_left_alone(start_endpoint):
    def answer(stream):
        body = b'{"pid": 1, "reload": {"ok": 0, "refused": 0, "successful": true, "reason": ""}}'
        stream.receive()
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        stream.receive_all()

    done = command("reload", "--admin", start_endpoint(answer).address)
    assert done.returncode == 1
    assert "process 1 is not weir here" in done.stderr
