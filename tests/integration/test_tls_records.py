"""TLS 1.3 after the handshake, where Weir seals and opens the records: against OpenSSL's client."""

import hashlib
import os
import re
import ssl
import subprocess
import threading

import pytest

from support import transfer
from support.configuration import listener, tls, upstream
from support.endpoints import echo
from support.patience import seconds, wait_until
from support.processes import read_text

MIB = 1 << 20


@pytest.fixture
def start_tls(start_weir, certificates):
    """start_tls(endpoint) -> Weir with one TLS listener"""

    def start(endpoint):
        return start_weir(upstream(endpoint), listener(tls="public"),
                          tls(certificates.localhost()))

    return start


class Client:
    """openssl s_client with a pipe to its stdin; each say() is one read of its own."""

    def __init__(self, weir, directory, *options):
        self.stdout, self.stderr = (os.path.join(directory, f"s_client.{each}")
                                    for each in ("stdout", "stderr"))
        with open(self.stdout, "wb") as out, open(self.stderr, "wb") as err:
            self.popen = subprocess.Popen(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{weir.port()}", "-servername",
                 "localhost", "-tls1_3", *options],
                stdin=subprocess.PIPE, stdout=out, stderr=err)

    def say(self, text):
        self.popen.stdin.write(text)
        self.popen.stdin.flush()

    def output(self):
        return read_text(self.stdout)

    def errors(self):
        return read_text(self.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()


@pytest.mark.parametrize("letter, answers", [("K", 1), ("k", 0)])
def test_a_connection_outlives_key_updates(start_tls, start_endpoint, directory, letter, answers):
    """K asks for a new key of ours in return, k does not."""
    weir = start_tls(start_endpoint(echo))
    with Client(weir, directory, "-msg") as client:
        wait_until(lambda: "read R BLOCK" in client.output(), "the handshake")
        for number in range(1, 6):
            client.say(f"{letter}\n".encode())
            wait_until(lambda: client.errors().count("KEYUPDATE") == number, "the command is read")
            line = f"line {number}"
            client.say(f"{line}\n".encode())
            # s_client shows no input: this is the echo.
            wait_until(lambda: re.search(f"^{line}$", client.output(), re.MULTILINE),
                       f"the echo of {line}")
            heard = len(re.findall(r"<<< TLS 1.3, Handshake \[length 0005\], KeyUpdate",
                                   client.output()))
            assert heard == answers * number
        assert weir.outcomes() == {}


def digest_of(data):
    return hashlib.sha256(data).hexdigest()


def both_ways_endpoint(size, taken):
    """Takes `size` bytes while it sends as many; finishes behind both."""

    def handle(stream):
        data = b"".join(transfer.blocks(size, seed=2))
        sending = threading.Thread(target=stream.send, args=(data,), daemon=True)
        sending.start()
        taken.append(stream.receive_exactly(size))
        sending.join()
        stream.finish()
        stream.receive_all()

    return handle


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                   "TLS_CHACHA20_POLY1305_SHA256"])
def test_every_suite_carries_mebibytes_both_ways(start_tls, start_endpoint, directory, suite):
    size, taken = 5 * MIB, []
    weir = start_tls(start_endpoint(both_ways_endpoint(size, taken)))
    with Client(weir, directory, "-ciphersuites", suite, "-quiet") as client:
        for block in transfer.blocks(size, seed=1):
            client.say(block)
        client.popen.wait(seconds(20))
    assert digest_of(taken[0]) == transfer.digest_of(size, seed=1)
    with open(client.stdout, "rb") as file:
        assert digest_of(file.read()) == transfer.digest_of(size, seed=2)
    weir.wait_for_open(0)
    assert weir.access_log(1)[0]["tls_cipher"] == suite


@pytest.mark.parametrize("garbage, alert", [
    (b"\x17\x03\x03\x00\x40" + bytes(64), "BAD_RECORD_MAC"),  # of the right form
    (b"GET / HTTP/1.1\r\n\r\n", "UNEXPECTED_MESSAGE"),
    (b"\x15\x03\x03\x00\x02\x01\x00", "UNEXPECTED_MESSAGE"),  # a goodbye in the clear
])
def test_a_bad_record_ends_the_session(start_tls, start_endpoint, certificates, garbage, alert):
    weir = start_tls(start_endpoint(echo))
    with weir.connect(tls=certificates.client()) as stream:
        stream.send(b"hello")
        assert stream.receive_exactly(5) == b"hello"
        stream.socket.sendall(garbage)
        with pytest.raises(ssl.SSLError, match=alert):
            stream.receive()
    weir.wait_for_outcomes(client_tls_failed=1)
    assert weir.metrics().sum("weir_tls_handshakes_total", result="ok") == 1
