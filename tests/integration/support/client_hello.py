"""A TLS client's first bytes: made up, made by OpenSSL, cut into records and pieces."""

import ssl
import struct

from support import streams

SERVER_NAME, ALPN, PADDING = 0, 16, 21


def _behind_length(form, data):
    return struct.pack(form, len(data)) + data


def extension(kind, value):
    return struct.pack("!H", kind) + _behind_length("!H", value)


def server_name(name):
    return extension(SERVER_NAME, _behind_length("!H", b"\0" + _behind_length("!H", name)))


def message(*extensions, kind=1):
    """A handshake message that looks like a ClientHello and that no server could answer."""
    body = (b"\x03\x03" + b"r" * 32 + b"\0" + _behind_length("!H", b"\x13\x01") + b"\x01\0" +
            _behind_length("!H", b"".join(extensions)))
    return bytes([kind]) + struct.pack("!I", len(body))[1:] + body


def records(data, size=16384):
    """Handshake records of at most `size` bytes each."""
    return b"".join(b"\x16\x03\x01" + _behind_length("!H", data[at:at + size])
                    for at in range(0, len(data), size))


def made_up(name, size=0):
    """A hello for the name, padded to a length of about `size` bytes."""
    return records(message(server_name(name.encode()), extension(PADDING, bytes(size))))


def again_in_records(sent, size):
    """The same message in smaller records."""
    data = b""
    while sent:
        length = struct.unpack_from("!H", sent, 3)[0]
        data += sent[5:5 + length]
        sent = sent[5 + length:]
    return records(data, size)


def pieces(data, size):
    return [data[at:at + size] for at in range(0, len(data), size)]


def of(context, name):
    """What OpenSSL sends first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class CutStream(streams.TlsStream):
    """A TLS client whose first bytes are sent as cut(bytes) -> [bytes] says."""

    def __init__(self, sock, context, name, cut):
        self._cut = cut
        self.first = b""  # as they were sent
        super().__init__(sock, context, name)

    def _flush(self):
        if self._cut is None:
            return super()._flush()
        cut, self._cut = self._cut, None
        for part in cut(self._outgoing.read()):
            self.socket.sendall(part)
            self.first += part
        return None
