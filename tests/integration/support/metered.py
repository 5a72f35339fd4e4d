"""An endpoint that is killed and comes back, and never counts a connection that has ended: before
a new one is counted, all the others are looked at. Answers each line with its name, after a while.
"""

import contextlib
import socket
import sys
import time

from support.program import Program
from support.reactor import READ, Reactor
from support.tally import Tally

COUNTS = ("listening", "accepted", "open", "peak", "lines", "first_line_after")


class Metered(Program):
    """`first_line_after`: how many connections there had been when the first line came, since the
    last start. All other counts go on over a restart."""

    def __init__(self, directory, name="metered", hold=0.0):
        super().__init__(directory, "metered", COUNTS)
        self._label, self._hold = name, hold
        self.restart()

    def restart(self, deaf=0.0):
        """`deaf`: it listens with the shortest queue and accepts nothing, for so long."""
        self.tally["open"], self.tally["first_line_after"] = 0, 0
        self.run(self._label, self._hold, deaf)

    @property
    def lines(self):
        return self.tally["lines"]

    @property
    def first_line_after(self):
        return self.tally["first_line_after"]


class Connection:
    def __init__(self, service, sock):
        self.service, self.socket, self.open = service, sock, True
        self.unread = b""
        sock.setblocking(False)
        service.reactor.watch(sock, READ, self.ready)

    def ready(self, _=None):
        try:
            while piece := self.socket.recv(4096):
                self.unread += piece
        except BlockingIOError:
            return self.answer_lines()
        except OSError:
            pass
        self.answer_lines()
        self.close()

    def answer_lines(self):
        count = self.unread.count(b"\n")
        self.unread = self.unread.rpartition(b"\n")[2]
        for _ in range(count):
            self.service.count_line()
            self.service.reactor.at(time.monotonic() + self.service.hold, self.answer)

    def answer(self):
        if self.open:
            with contextlib.suppress(OSError):
                self.socket.send(self.service.answer)

    def close(self):
        """Counted before it closes: whoever waits for the end never has fewer open than this."""
        self.open = False
        self.service.connections.discard(self)
        self.service.tally["open"] = len(self.service.connections)
        self.service.reactor.forget(self.socket)
        self.socket.close()


class Service:
    def __init__(self, address, tally, name, hold, deaf):
        self.tally, self.hold, self.answer = tally, hold, name.encode() + b"\n"
        self.connections, self.accepted = set(), 0
        self.reactor = Reactor()
        self._listener = socket.create_server(address, backlog=0 if deaf else 4096)
        self._listener.setblocking(False)
        self.reactor.at(time.monotonic() + deaf, self.hear)
        tally["listening"] = 1

    def hear(self):
        self._listener.listen(4096)
        self.reactor.watch(self._listener, READ, self.accept)

    def accept(self, _):
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                self.count(Connection(self, sock))

    def count(self, connection):
        self.connections.add(connection)
        self.accepted += 1
        self.tally["accepted"] += 1
        self.look_at_all()
        if len(self.connections) > self.tally["peak"]:
            time.sleep(0.002)  # an end that was sent before may arrive a moment later
            self.look_at_all()
        self.tally["open"] = len(self.connections)
        self.tally.raise_to("peak", len(self.connections))

    def look_at_all(self):
        for each in list(self.connections):
            each.ready()

    def count_line(self):
        self.tally["lines"] += 1
        if self.tally["first_line_after"] == 0:
            self.tally["first_line_after"] = self.accepted


def main():
    address, tally, name, hold, deaf = sys.argv[1:]
    host, _, port = address.rpartition(":")
    Service((host, int(port)), Tally(tally, COUNTS), name, float(hold), float(deaf)).reactor.run()


if __name__ == "__main__":
    main()
