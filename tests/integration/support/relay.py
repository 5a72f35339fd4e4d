"""An endpoint that seems to be far away: a relay on loopback, in a process of its own.

Bytes and ends take half a round trip each way. The kernel completes a connect at once, so the time
that it would take is taken afterwards: what a client sends in the first round trip is as if it had
been sent at its end, and the endpoint is connected to when the third half is over, as far away as
the client's first bytes are then. A target that refuses shows as a reset.
"""

import collections
import contextlib
import socket
import struct
import sys
import time

from support.program import Program
from support.reactor import BROKEN, ENDED, READ, WRITE, Reactor
from support.tally import Tally

COUNTS = ("listening", "accepted", "open", "peak")
CHUNK = 64 * 1024
MOST_ON_THE_WAY = 1 << 20  # bytes of one direction


class Relay(Program):
    """Relay(directory, "ip:port", 0.005): an address that is 5 ms per round trip away. Counts the
    connections that are made to it: accepted, open, peak."""

    def __init__(self, directory, target, round_trip):
        super().__init__(directory, "relay", COUNTS)
        self._arguments = target, round_trip
        self.restart()

    def restart(self):
        self.tally["open"] = 0
        self.run(*self._arguments)


class End:
    """One of the two sockets of a connection; what it receives goes to `other`, later."""

    def __init__(self, line, sock, connected=True):
        self.line, self.socket, self.other = line, sock, None
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.on_the_way = 0  # bytes from here to the other
        self.unsent = collections.deque()  # that have arrived here; None is the end
        self.connected, self.ended, self.finished = connected, False, False
        self.mask, self.watched = 0, False

    def watch(self):
        """From now on, or for what it can use now."""
        mask = 0
        if self.connected and not self.ended and self.on_the_way < MOST_ON_THE_WAY:
            mask |= READ
        if self.unsent or not self.connected:
            mask |= WRITE
        if not self.watched:
            self.line.reactor.watch(self.socket, mask, self.ready)
            self.watched = True
        elif mask != self.mask:
            self.line.reactor.change(self.socket, mask)
        self.mask = mask

    def leave(self):
        if self.watched:
            self.line.reactor.forget(self.socket)
            self.watched = False

    def ready(self, events):
        if not self.connected:
            if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self.line.abort()
            self.connected = True
        if self.ended:
            if events & BROKEN:
                return self.line.abort()
            if events & ENDED:  # both directions have: there is nothing more to hear
                return self.leave()
        elif events & (READ | ENDED | BROKEN):
            self.receive()
        if events & WRITE:
            self.flush()
        if not self.line.over:
            self.watch()

    def receive(self):
        try:
            piece = self.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:  # a reset travels too
            self.ended = True
            return self.line.later(self.line.abort)
        self.ended = not piece
        self.on_the_way += len(piece)
        self.line.later(lambda: self.arrive(piece))

    def arrive(self, piece):
        self.on_the_way -= len(piece)
        self.other.unsent.append(piece or None)
        if self.other.connected:
            self.other.flush()
        if self.line.over:
            return
        for end in (self, self.other):
            if end.watched:
                end.watch()

    def flush(self):
        try:
            while self.unsent:
                piece = self.unsent[0]
                if piece is None:
                    self.socket.shutdown(socket.SHUT_WR)
                    self.finished = True
                else:
                    sent = self.socket.send(piece)
                    if sent < len(piece):
                        self.unsent[0] = piece[sent:]
                        continue
                self.unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self.line.abort()
        self.line.close_when_finished()


class Line:
    """A client and its connection to the target."""

    def __init__(self, service, client):
        self.service, self.reactor, self.over = service, service.reactor, False
        self.established = time.monotonic() + service.round_trip
        self.client, self.server = End(self, client), None
        self.later(self.dial)
        self.client.watch()

    def later(self, what):
        """After the way to the other side."""
        due = max(time.monotonic(), self.established) + self.service.round_trip / 2
        self.reactor.at(due, lambda: self.over or what())

    def dial(self):
        self.server = End(self, socket.socket(), connected=False)
        self.server.other, self.client.other = self.client, self.server
        with contextlib.suppress(BlockingIOError):
            self.server.socket.connect(self.service.target)
        self.server.watch()

    def close_when_finished(self):
        if not self.over and self.client.finished and self.server.finished:
            self.close()

    def abort(self):
        for end in filter(None, (self.client, self.server)):
            end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        if self.over:
            return
        self.over = True
        self.service.count_open(-1)
        for end in filter(None, (self.client, self.server)):
            end.leave()
            end.socket.close()
            end.other = None


class Service:
    def __init__(self, address, tally, target, round_trip):
        self.target, self.round_trip, self.tally = target, round_trip, tally
        self.reactor = Reactor()
        self.reactor.hurry()
        self._listener = socket.create_server(address, backlog=4096)
        self._listener.setblocking(False)
        self.reactor.watch(self._listener, READ, self.accept)
        tally["listening"] = 1

    def count_open(self, change):
        self.tally["open"] += change
        self.tally.raise_to("peak", self.tally["open"])

    def accept(self, _):
        with contextlib.suppress(BlockingIOError):
            while True:
                client, _ = self._listener.accept()
                self.tally["accepted"] += 1
                self.count_open(1)
                Line(self, client)


def place(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def main():
    address, tally, target, round_trip = sys.argv[1:]
    Service(place(address), Tally(tally, COUNTS), place(target), float(round_trip)).reactor.run()


if __name__ == "__main__":
    main()
