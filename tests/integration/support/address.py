"""Addresses as Weir's configuration writes them: "ip:port", "[ip6]:port", "unix:/path"."""

import socket


def parse(text):
    """(family, address for the socket calls)"""
    if text.startswith("unix:"):
        return socket.AF_UNIX, text[len("unix:"):]
    host, _, port = text.rpartition(":")
    if host.startswith("["):
        return socket.AF_INET6, (host[1:-1], int(port))
    return socket.AF_INET, (host, int(port))


def text_of(sock):
    """The address a socket is bound to."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return "unix:" + name
    host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
    return f"{host}:{name[1]}"


def port_of(text):
    return int(text.rpartition(":")[2])


def connect(text, timeout=20.0, receive_buffer=None, source=None):
    """A connected socket. `receive_buffer` in bytes limits what the peer may send unread; `source`
    is an address of this machine to come from, such as 127.0.0.5."""
    family, address = parse(text)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        if source is not None:
            sock.bind((source, 0))
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


class ReservedPort:
    """A TCP port of 127.0.0.1 that stays ours for a server that cannot bind port 0 itself.

    The socket is bound but never listens, so a connect is refused until the server is there; and
    while it is bound, the kernel gives the port to nobody who does not ask for it by number.
    """

    def __init__(self):
        self._holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.port = self._holder.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    def close(self):
        self._holder.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
