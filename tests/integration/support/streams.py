"""Both ends of a connection with one interface: send, receive, finish (half-close), close, abort.

TLS runs over a memory BIO and not through ssl.SSLSocket, because that one cannot half-close: its
unwrap() throws away what the peer still sends.
"""

import socket
import ssl
import struct
import threading

from support import address as addresses

CHUNK = 256 * 1024


class Truncated(ConnectionError):
    """TLS ended without a close_notify."""


class PlainStream:
    def __init__(self, sock):
        self.socket = sock

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, size=CHUNK):
        """At least one byte, or b"" at the peer's end."""
        return self.socket.recv(size)

    def receive_exactly(self, size):
        data = bytearray()
        while len(data) < size:
            piece = self.receive(size - len(data))
            if not piece:
                raise EOFError(f"ended after {len(data)} of {size} bytes")
            data += piece
        return bytes(data)

    def receive_line(self):
        line = bytearray()
        while not line.endswith(b"\n"):
            piece = self.receive(1)
            if not piece:
                break
            line += piece
        return bytes(line)

    def receive_all(self):
        pieces = []
        while piece := self.receive():
            pieces.append(piece)
        return b"".join(pieces)

    def finish(self):
        """Nothing more from us; the peer may go on."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        self.socket.close()

    def abort(self):
        """Closes with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def set_timeout(self, seconds):
        self.socket.settimeout(seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class TlsStream(PlainStream):
    """TLS on a connected socket. One thread may send while another receives."""

    def __init__(self, sock, context, server_name=None, server_side=False, session=None):
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side,
                                    server_hostname=server_name, session=session)
        self._decrypted = bytearray()  # set aside by say_goodbye()
        self._tls_lock = threading.Lock()   # the SSL object
        self._send_lock = threading.Lock()  # records leave in the order they were made
        self._handshake()

    def _handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                return self._flush()
            except ssl.SSLWantReadError:
                self._flush()
                self._take_in()
            except ssl.SSLError:
                self._flush()  # the alert
                raise

    def _flush(self):
        data = self._outgoing.read()
        if data:
            self.socket.sendall(data)

    def _take_in(self):
        data = self.socket.recv(CHUNK)
        if not data:
            raise Truncated("no close_notify")
        with self._tls_lock:
            self._incoming.write(data)

    def send(self, data):
        with self._send_lock:
            with self._tls_lock:
                self.tls.write(data)
                records = self._outgoing.read()
            self.socket.sendall(records)

    def receive(self, size=CHUNK):
        while True:
            try:
                with self._tls_lock:
                    if self._decrypted:
                        piece = bytes(self._decrypted[:size])
                        del self._decrypted[:size]
                        return piece
                    return self.tls.read(size)
            except ssl.SSLWantReadError:
                self._take_in()
            except ssl.SSLZeroReturnError:
                return b""

    def finish(self):
        """close_notify and a FIN."""
        self.say_goodbye()
        self.socket.shutdown(socket.SHUT_WR)

    def say_goodbye(self):
        """close_notify alone."""
        with self._send_lock:
            with self._tls_lock:
                self._send_close_notify()
                records = self._outgoing.read()
            self.socket.sendall(records)

    def _send_close_notify(self):
        # unwrap() also looks for the peer's close_notify, and breaks the connection when it finds
        # data instead. So it is shown nothing: what has arrived is set aside meanwhile.
        while self.tls.pending():
            self._decrypted += self.tls.read(self.tls.pending())
        arrived = self._incoming.read()
        try:
            self.tls.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLSyscallError):
            pass
        self._incoming.write(arrived)


def connect(address, tls=None, server_name="localhost", session=None, timeout=20.0,
            receive_buffer=None, source=None):
    """A client: with an ssl.SSLContext as `tls`, after the handshake."""
    sock = addresses.connect(address, timeout, receive_buffer, source)
    if tls is None:
        return PlainStream(sock)
    try:
        return TlsStream(sock, tls, server_name, session=session)
    except BaseException:
        sock.close()
        raise


def ask(address, request=b"?\n", **options):
    """One request, and everything that comes back."""
    with connect(address, **options) as stream:
        stream.send(request)
        return stream.receive_all()
