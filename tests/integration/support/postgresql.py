"""As much of PostgreSQL's protocol as a client needs that may do without a password."""

import struct

from support import streams


class Refused(Exception):
    """What the server said instead."""


class Client:
    """Connected and logged in when it is made."""

    def __init__(self, address, user, database="postgres", **options):
        self.stream = streams.connect(address, **options)
        try:
            words = f"user\0{user}\0database\0{database}\0\0".encode()
            self.stream.send(struct.pack("!II", 8 + len(words), 3 << 16) + words)
            self._wait_until_ready()
        except BaseException:
            self.stream.close()
            raise

    def query(self, statement):
        """The rows, each a list of texts."""
        words = statement.encode() + b"\0"
        self.stream.send(b"Q" + struct.pack("!I", 4 + len(words)) + words)
        return self._wait_until_ready()

    def _wait_until_ready(self):
        rows = []
        while True:
            kind, size = struct.unpack("!cI", self.stream.receive_exactly(5))
            body = self.stream.receive_exactly(size - 4)
            if kind == b"D":
                rows.append(_row(body))
            elif kind == b"E":
                raise Refused(body.decode(errors="replace").replace("\0", " "))
            elif kind == b"Z":
                return rows

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Says goodbye, as every client library does."""
        with self.stream:
            self.stream.send(b"X" + struct.pack("!I", 4))


def _row(body):
    columns, position = [], 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        size = struct.unpack_from("!i", body, position)[0]
        position += 4
        columns.append(None if size < 0 else body[position:position + size].decode())
        position += max(size, 0)
    return columns
