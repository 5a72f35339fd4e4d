"""Servers behind Weir, in this process: each connection is handled by a function in a thread."""

import contextlib
import os
import selectors
import socket
import threading

from support import address as addresses
from support import streams, transfer


class Endpoint:
    """Listens from construction to close(). Counts what a pool's limits are about.

    `handle` gets a Stream; whatever it raises from the network ends that connection, anything
    else is kept in `errors` and fails the test at close().
    """

    def __init__(self, handle, bind="127.0.0.1:0", tls=None, backlog=4096):
        family, where = addresses.parse(bind)
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(where)
        self._listener.listen(backlog)
        self.address = addresses.text_of(self._listener)
        self._handle, self._tls = handle, tls
        self._lock = threading.Lock()
        self.accepted, self.open, self.peak = 0, 0, 0
        self.errors = []
        self._connections = set()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept_all, daemon=True)
        self._thread.start()

    @property
    def port(self):
        return addresses.port_of(self.address)

    def _accept_all(self):
        selector = selectors.DefaultSelector()
        selector.register(self._listener, selectors.EVENT_READ)
        selector.register(self._woken, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if self._woken in ready:
                return
            connection, _ = self._listener.accept()
            with self._lock:
                self.accepted += 1
                self.open += 1
                self.peak = max(self.peak, self.open)
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self._handle(self._stream(connection))
        except (OSError, EOFError):
            pass
        except Exception as error:  # a check of the handler's failed
            self.errors.append(error)
        finally:
            # Counted before it closes: so Weir never has fewer open than `open` says.
            with self._lock:
                self.open -= 1
                self._connections.discard(connection)
            connection.close()

    def _stream(self, connection):
        if self._tls is None:
            return streams.PlainStream(connection)
        connection.settimeout(20)
        stream = streams.TlsStream(connection, self._tls, server_side=True)
        connection.settimeout(None)
        return stream

    def close_connections(self):
        """Every connection ends (FIN); new ones are still accepted."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        if self._listener.fileno() < 0:
            return
        self._wake.send(b"x")
        self._thread.join()
        self._listener.close()
        self.close_connections()
        self._wake.close()
        self._woken.close()
        if self.address.startswith("unix:"):
            os.unlink(self.address[len("unix:"):])
        if self.errors:
            raise self.errors[0]


# What an endpoint does with a connection.


def echo(stream):
    """Sends back what comes, and finishes when the client has."""
    while piece := stream.receive():
        stream.send(piece)
    stream.finish()


def silent(stream):
    """Reads, says nothing, and closes when the client has finished."""
    while stream.receive():
        pass


def unmoved(released):
    """Stays open and silent after the client's end, until the event is set."""

    def handle(stream):
        stream.receive_all()
        released.wait(60)

    return handle


def named(name):
    """Answers each line with its name, until the client has finished."""

    def handle(stream):
        while stream.receive_line():
            stream.send(name.encode() + b"\n")

    return handle


def http(name):
    """Answers one HTTP request with its name."""
    body = name.encode() + b"\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()

    def handle(stream):
        request = b""
        while b"\r\n\r\n" not in request:
            piece = stream.receive()
            if not piece:
                return
            request += piece
        stream.send(head + body)
        stream.finish()
        stream.receive_all()

    return handle


def source(size, seed=0):
    """Sends `size` bytes once the client has sent one, and finishes."""

    def handle(stream):
        stream.receive_exactly(1)
        transfer.send(stream, size, seed)
        stream.receive_all()

    return handle
