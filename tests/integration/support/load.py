"""Short sessions in great number, from a process of its own: at a steady rate, at random times, or
by clients that come again at once. It measures what a client sees."""

import contextlib
import os
import random
import signal
import socket
import sys
import time
from typing import NamedTuple

from support.patience import wait_until
from support.processes import Process, read_text
from support.program import ROOT
from support.reactor import READ, WRITE, Reactor
from support.tally import Tally

COUNTS = ("begun", "ended", "answered")


class Session(NamedTuple):
    began: float  # time.monotonic(), at its connect
    first: float  # seconds to the first byte of the answer
    took: float  # seconds to its end
    answer: str  # its first line; empty: there was none
    error: str


class Load:
    """Load(directory, address, rate=200) runs until stop(). `pattern`: even or random arrivals.
    With `clients` instead of a rate, each comes again as soon as it has been served.

    A session sends `request`, and ends with the first line of the answer, or with `whole` when the
    server does.
    """

    def __init__(self, directory, address, rate=0, clients=0, pattern="even", request="?\n",
                 whole=False, seed=1):
        self._base = os.path.join(directory, f"load{len(os.listdir(directory))}")
        self.tally = Tally(f"{self._base}.tally", COUNTS)
        self._process = Process(
            [sys.executable, "-m", "support.load", address, self._base, str(rate), str(clients),
             pattern, request, str(int(whole)), str(seed)], directory, os.path.basename(self._base),
            cwd=ROOT)

    @property
    def ended(self):
        return self.tally["ended"]

    @property
    def answered(self):
        return self.tally["answered"]

    def wait_for_answers(self, count, timeout=10):
        """So many more than now."""
        goal = self.answered + count
        wait_until(lambda: self.answered >= goal, f"{count} more answers", timeout)

    def sessions(self):
        """Those that have ended so far."""
        lines = read_text(f"{self._base}.sessions").splitlines(keepends=True)
        fields = [line.rstrip("\n").split("\t") for line in lines if line.endswith("\n")]
        return [Session(*map(float, each[:3]), *each[3:]) for each in fields]

    def stop(self):
        """No new sessions; returns all of them when the last has ended."""
        assert self._process.is_running(), self._process.errors()
        status = self._process.stop(timeout=30)
        assert status == 0, self._process.errors()
        return self.sessions()

    def kill(self):
        self._process.kill()


class Client:
    """One session after the other, or one alone."""

    def __init__(self, generator):
        self.generator, self.began, self.first, self.answer = generator, time.monotonic(), 0.0, b""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BlockingIOError):
            self.socket.connect(generator.address)
        generator.tally["begun"] += 1
        generator.open += 1
        generator.reactor.watch(self.socket, WRITE, self.ready)

    def ready(self, events):
        try:
            if events & WRITE:
                self.socket.send(self.generator.request)
                return self.generator.reactor.change(self.socket, READ)
            piece = self.socket.recv(4096)
        except BlockingIOError:
            return
        except OSError as error:
            return self.end(type(error).__name__)
        if piece and not self.answer:
            self.first = time.monotonic() - self.began
        self.answer += piece
        if not piece:
            self.end("" if self.answer else "closed")
        elif not self.generator.whole and self.answer.endswith(b"\n"):
            self.end("")

    def end(self, error):
        self.generator.reactor.forget(self.socket)
        self.socket.close()
        self.generator.ended(self, error)


class Generator:
    def __init__(self, arguments):
        address, base, rate, clients, pattern, request, whole, seed = arguments
        host, _, port = address.rpartition(":")
        self.address, self.request = (host, int(port)), request.encode()
        self.rate, self.clients = float(rate), int(clients)
        self.pattern, self.whole = pattern, whole == "1"
        self.random = random.Random(int(seed))
        self.tally = Tally(f"{base}.tally", COUNTS)
        self.file = open(f"{base}.sessions", "w", encoding="utf-8", buffering=1)
        self.reactor, self.open, self.stopping = Reactor(), 0, False

    def run(self):
        if self.clients:
            for _ in range(self.clients):
                Client(self)
        else:
            self.arrive(time.monotonic())
        self.reactor.run()

    def arrive(self, due):
        """One now; the next is planned from when this one was due, so that no delay adds up."""
        if self.stopping:
            return
        Client(self)
        gap = self.random.expovariate(self.rate) if self.pattern == "random" else 1 / self.rate
        self.reactor.at(due + gap, lambda: self.arrive(due + gap))

    def ended(self, client, error):
        self.open -= 1
        answer = client.answer.split(b"\n", 1)[0].decode(errors="replace").strip()
        took = time.monotonic() - client.began
        self.file.write(f"{client.began:.6f}\t{client.first:.6f}\t{took:.6f}\t"
                        f"{answer[:80]}\t{error}\n")
        self.tally["ended"] += 1
        self.tally["answered"] += not error
        if self.stopping:
            self.stop()
        elif self.clients:
            # One that was turned away does not come again at once, or it would do nothing else.
            self.reactor.at(time.monotonic() + (0.02 if error else 0),
                            lambda: self.stopping or Client(self))

    def stop(self, *_):
        self.stopping = True
        if self.open == 0:
            self.reactor.stop()


def main():
    generator = Generator(sys.argv[1:])
    signal.signal(signal.SIGTERM, generator.stop)
    generator.run()


if __name__ == "__main__":
    main()
