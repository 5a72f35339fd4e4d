"""An event loop for the programs of the tests: sockets by epoll, times to a fraction of a
millisecond (asyncio's are whole ones)."""

import contextlib
import ctypes
import heapq
import os
import select
import signal
import time

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
ENDED, BROKEN = select.EPOLLHUP, select.EPOLLERR
_PR_SET_TIMERSLACK = 29


class Reactor:
    def __init__(self):
        self._epoll = select.epoll()
        self._ready = {}  # by descriptor
        self._due, self._number = [], 0
        self._stopped = False
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0)  # nanoseconds

    @staticmethod
    def hurry():
        """Goes before other programs, where it may: the network does not wait for a processor."""
        with contextlib.suppress(OSError):
            os.nice(-10)

    def watch(self, sock, mask, ready):
        """ready(events) while the socket is what the mask asks for, or ENDED or BROKEN."""
        self._ready[sock.fileno()] = ready
        self._epoll.register(sock, mask)

    def change(self, sock, mask):
        self._epoll.modify(sock, mask)

    def forget(self, sock):
        del self._ready[sock.fileno()]
        self._epoll.unregister(sock)

    def at(self, due, what):
        """Of several at the same time, the first that was asked for is the first."""
        self._number += 1
        heapq.heappush(self._due, (due, self._number, what))

    def stop(self):
        self._stopped = True

    def run(self):
        # epoll itself waits whole milliseconds; select() does not, and may wait for an epoll.
        waiting = [self._epoll.fileno()]
        while not self._stopped:
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()
            patience = max(0.0, self._due[0][0] - time.monotonic()) if self._due else 1.0
            select.select(waiting, [], [], patience)
            for descriptor, events in self._epoll.poll(0):
                ready = self._ready.get(descriptor)
                if ready is not None:
                    ready(events)
