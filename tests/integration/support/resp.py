"""A client of Redis that sees every byte of the answers: RESP 2 and 3."""

from support import streams


class Client:
    """send() writes as it is; reply() reads one answer, as text, number, list or None."""

    def __init__(self, address, **options):
        self.stream = streams.connect(address, **options)
        self._reader = self.stream.socket.makefile("rb")

    def send(self, *lines):
        self.stream.send(b"".join(line.encode() + b"\r\n" for line in lines))

    def send_raw(self, data):
        self.stream.send(data)

    def ask(self, line):
        self.send(line)
        return self.reply()

    def reply(self):
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(f"ended after {line!r}")
        kind, text = line[:1], line[1:-2].decode()
        if kind in b"+-":
            return text
        if kind == b":":
            return int(text)
        if kind == b"$":
            return self._bulk(int(text))
        if kind in b"*>~":
            return None if text == "-1" else [self.reply() for _ in range(int(text))]
        if kind == b"%":
            return {self.reply(): self.reply() for _ in range(int(text))}
        raise ValueError(f"not an answer: {line!r}")

    def _bulk(self, size):
        if size < 0:
            return None
        data = self._reader.read(size + 2)
        if len(data) < size + 2:
            raise EOFError(f"ended after {len(data)} of {size} bytes")
        return data[:-2].decode()

    def abort(self):
        self._reader.close()
        self.stream.abort()

    def close(self):
        self._reader.close()
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
