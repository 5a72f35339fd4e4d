"""PROXY headers, written and read: the tests' own idea of HAProxy's proxy-protocol.txt."""

import ipaddress
import struct
from typing import NamedTuple

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20
SSL_VERSION, SSL_CN, SSL_CIPHER = 0x21, 0x22, 0x23
CLIENT_SSL = 0x01  # a bit of the first byte of SSL
_TCP4, _TCP6 = 0x11, 0x21


class Header(NamedTuple):
    """Addresses are "ip:port"; None where it names none."""

    version: int
    source: str
    destination: str
    tlvs: dict  # {type: bytes}

    def tls(self):
        """(client bits, {type: text}) of the SSL TLV"""
        value = self.tlvs[SSL]
        return value[0], {kind: data.decode() for kind, data in _tlvs(value[5:]).items()}


def _split(address):
    host, _, port = address.rpartition(":")
    return ipaddress.ip_address(host.strip("[]")), int(port)


def _joined(host, port):
    address = ipaddress.ip_address(host)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def v1(source, destination):
    (from_host, from_port), (to_host, to_port) = _split(source), _split(destination)
    return (f"PROXY TCP{from_host.version} {from_host} {to_host} {from_port} {to_port}\r\n"
            .encode())


def v2(source=None, destination=None, tlvs=(), command=1):
    """Without addresses it is a LOCAL one. `tlvs` are (type, bytes)."""
    if source is None:
        return v2_raw(0x20, 0, _written(tlvs))
    (from_host, from_port), (to_host, to_port) = _split(source), _split(destination)
    body = (from_host.packed + to_host.packed + struct.pack("!HH", from_port, to_port) +
            _written(tlvs))
    return v2_raw(0x20 | command, _TCP4 if from_host.version == 4 else _TCP6, body)


def v2_raw(version_and_command, family, body, size=None):
    return (SIGNATURE + struct.pack("!BBH", version_and_command, family,
                                    len(body) if size is None else size) + body)


def _written(tlvs):
    return b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in tlvs)


def read(stream):
    """The header that a stream begins with; what follows stays unread."""
    start = stream.receive_exactly(len(SIGNATURE))
    if start == SIGNATURE:
        return _read_v2(stream)
    line = start + stream.receive_line()
    words = line.decode().split()
    assert words[0] == "PROXY" and line.endswith(b"\r\n") and len(line) <= 107, line
    if words[1] == "UNKNOWN":
        return Header(1, None, None, {})
    kind, source, destination, source_port, destination_port = words[1:]
    assert kind == f"TCP{ipaddress.ip_address(source).version}", line
    return Header(1, _joined(source, source_port), _joined(destination, destination_port), {})


def _read_v2(stream):
    version_and_command, family, size = struct.unpack("!BBH", stream.receive_exactly(4))
    assert version_and_command >> 4 == 2, version_and_command
    body = stream.receive_exactly(size)
    if version_and_command & 15 == 0:
        return Header(2, None, None, {})
    length = {_TCP4: 4, _TCP6: 16}[family]
    ports = struct.unpack_from("!HH", body, 2 * length)
    return Header(2, _joined(body[:length], ports[0]), _joined(body[length:2 * length], ports[1]),
                  _tlvs(body[2 * length + 4:]))


def _tlvs(body):
    found, position = {}, 0
    while position < len(body):
        kind, size = struct.unpack_from("!BH", body, position)
        position += 3
        assert position + size <= len(body), body
        found[kind] = body[position:position + size]
        position += size
    return found
