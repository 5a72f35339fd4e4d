"""A name server whose answers a test chooses, over UDP and TCP on one port of loopback.

    dns = NameServer()
    dns.set("db.test", a=["127.0.0.1", "127.0.0.2"], ttl=1)
    dns.set("_api._tcp.test", srv=[(0, 10, 8080, "a.test")])
    dns.fail("db.test", SERVFAIL)          NXDOMAIN, SERVFAIL, SILENCE
    dns.close()                            nobody is there any more
"""

import collections
import ipaddress
import selectors
import socket
import struct
import threading
import time

NOERROR, SERVFAIL, NXDOMAIN, SILENCE = 0, 2, 3, None

_A, _CNAME, _AAAA, _SRV = 1, 5, 28, 33
_TYPES = {_A: "A", _CNAME: "CNAME", _AAAA: "AAAA", _SRV: "SRV"}
_MOST_UDP = 512  # RFC 1035, section 4.2.1
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _ASKED_FOR_RECURSION, _RECURSION = (
    0x8000, 0x0400, 0x0200, 0x0100, 0x0080)


class Question:
    """What a query asks: its one question, and the bytes to repeat."""

    def __init__(self, query):
        self.id, self.flags, count = struct.unpack_from("!HHH", query)
        assert count == 1, query
        labels, position = [], 12
        while query[position]:
            size = query[position]
            labels.append(query[position + 1:position + 1 + size].decode().lower())
            position += 1 + size
        self.name = ".".join(labels)
        self.type, _ = struct.unpack_from("!HH", query, position + 1)
        self.bytes = query[12:position + 5]


def wire_name(name):
    labels = [label.encode() for label in name.rstrip(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


class NameServer:
    """Serves from construction to close(). Names that were not set do not exist."""

    def __init__(self, bind="127.0.0.1", port=0):
        self._lock = threading.Lock()
        self._records = {}  # (name, type): [(ttl, data)]
        self._failures = {}  # name: code
        self.asked = collections.Counter()  # (name, "A"): how often
        self.times = collections.defaultdict(list)  # (name, "A"): when, time.monotonic()
        self.asked_over_tcp = 0
        self._bind(bind, port)
        self.address = f"{bind}:{self.port}"
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _bind(self, host, port):
        while True:
            self._tcp = socket.create_server((host, port))
            self.port = self._tcp.getsockname()[1]
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                return self._udp.bind((host, self.port))
            except OSError:  # another program's
                self._udp.close()
                self._tcp.close()
                if port:
                    raise

    # What it answers.

    def set(self, name, a=(), aaaa=(), srv=(), cname=None, ttl=1):
        """Everything there is of a name. SRV records are (priority, weight, port, target)."""
        new = {
            _A: [socket.inet_aton(each) for each in a],
            _AAAA: [ipaddress.IPv6Address(each).packed for each in aaaa],
            _SRV: [struct.pack("!HHH", *each[:3]) + wire_name(each[3]) for each in srv],
            _CNAME: [wire_name(cname)] if cname else [],
        }
        with self._lock:
            self._failures.pop(name, None)
            for kind, data in new.items():
                self._records[name, kind] = [(ttl, each) for each in data]

    def fail(self, name, how):
        """Until the next set()."""
        with self._lock:
            self._failures[name] = how

    # What it was asked.

    def count(self, name, kind="A"):
        return self.asked[name, kind]

    # How it serves.

    def _serve(self):
        selector = selectors.DefaultSelector()
        for sock in (self._udp, self._tcp, self._woken):
            selector.register(sock, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if self._woken in ready:
                return
            if self._udp in ready:
                query, peer = self._udp.recvfrom(4096)
                answer = self._answer(query, _MOST_UDP)
                if answer:
                    self._udp.sendto(answer, peer)
            if self._tcp in ready:
                connection, _ = self._tcp.accept()
                threading.Thread(target=self._serve_tcp, args=(connection,), daemon=True).start()

    def _serve_tcp(self, connection):
        connection.settimeout(10)
        try:
            with connection, connection.makefile("rb") as stream:
                while len(head := stream.read(2)) == 2:
                    self.asked_over_tcp += 1
                    answer = self._answer(stream.read(*struct.unpack("!H", head)), 65535)
                    if answer:
                        connection.sendall(struct.pack("!H", len(answer)) + answer)
        except OSError:
            pass

    def _answer(self, query, most):
        question = Question(query)
        with self._lock:
            key = (question.name, _TYPES.get(question.type, str(question.type)))
            self.asked[key] += 1
            self.times[key].append(time.monotonic())
            code, records = self._look_up(question)
        if code is SILENCE:
            return None
        flags = (_RESPONSE | _AUTHORITATIVE | _RECURSION | code |
                 question.flags & _ASKED_FOR_RECURSION)
        body = b"".join(wire_name(name) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data
                        for name, kind, ttl, data in records)
        count = len(records)
        if 12 + len(question.bytes) + len(body) > most:
            flags, body, count = flags | _TRUNCATED, b"", 0
        return (struct.pack("!HHHHHH", question.id, flags, 1, count, 0, 0) + question.bytes + body)

    def _look_up(self, question):
        """(code, [(name, type, ttl, data)]), aliases followed"""
        name, found = question.name, []
        while True:
            if name in self._failures:
                return self._failures[name], []
            if (name, _A) not in self._records:
                return NXDOMAIN, found
            found += [(name, question.type, *each)
                      for each in self._records.get((name, question.type), [])]
            alias = self._records[name, _CNAME]
            if not alias or question.type == _CNAME:
                return NOERROR, found
            found.append((name, _CNAME, *alias[0]))
            name = read_name(alias[0][1])

    def close(self):
        if self._udp.fileno() < 0:
            return
        self._wake.send(b"x")
        self._thread.join()
        for sock in (self._udp, self._tcp, self._wake, self._woken):
            sock.close()


def read_name(wire):
    labels, position = [], 0
    while wire[position]:
        labels.append(wire[position + 1:position + 1 + wire[position]].decode())
        position += 1 + wire[position]
    return ".".join(labels)
