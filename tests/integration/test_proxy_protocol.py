"""PROXY headers: believed from whom may send them, refused from everybody else, and written so that
the server behind learns who the client is, whichever connection it was given."""

import os
import random
import socket
import ssl
import threading

import pytest

from support import proxy_header, streams
from support.configuration import listener, tls, upstream
from support.endpoints import named
from support.patience import Stopwatch, holds_for, seconds, wait_until
from support.processes import descriptors
from support.servers import HaProxy, Nginx

TRUSTED, STRANGER = "127.0.0.1", "127.0.0.66"
CLIENT, SERVICE = "203.0.113.7:40001", "198.51.100.9:443"
CLIENT6, SERVICE6 = "[2001:db8::7]:40001", "[2001:db8::9]:443"
MALFORMED = 1000


def receiving(how="require", **keys):
    """A listener that is sent headers."""
    return listener(proxy_protocol=how, trusted=[f"{TRUSTED}/32"], **keys)


def tell(stream):
    """An endpoint that is sent headers: answers each line with the client's address in it."""
    header = proxy_header.read(stream)
    while stream.receive_line():
        stream.send(f"{header.source}\n".encode())


class Keeping:
    """tell(), and keeps the headers."""

    def __init__(self):
        self.headers = []

    def __call__(self, stream):
        header = proxy_header.read(stream)
        self.headers.append(header)
        while stream.receive_line():
            stream.send(f"{header.source}\n".encode())


def text_of(name):
    host, port = name[:2]
    return f"{host}:{port}"


def is_turned_away(stream):
    """It ends, with a reset or without, and not a byte comes."""
    try:
        return stream.receive_all() == b""
    except ConnectionResetError:
        return True


# The chain, with real neighbours.


@pytest.mark.parametrize("incoming, outgoing", [
    ("send-proxy-v2", "v2"), ("send-proxy", "v1"), ("send-proxy-v2", "v1"), ("send-proxy", "v2")])
def test_the_clients_address_goes_through_haproxy_weir_and_nginx(start_weir, start_server,
                                                                 incoming, outgoing):
    nginx = start_server(Nginx, proxy_protocol=True)
    weir = start_weir(upstream(nginx.address, proxy_protocol=outgoing,
                               pool={"min_idle": 2, "anticipate": 0}), receiving())
    haproxy = start_server(HaProxy, weir.address(), incoming)
    expected = set()
    for client in ("127.0.0.1", "127.0.0.5", "127.9.9.9"):
        with streams.connect(haproxy.address, source=client) as stream:
            own = text_of(stream.socket.getsockname())
            stream.send(b"GET /client HTTP/1.0\r\n\r\n")
            answer = stream.receive_all().decode()
        assert answer.endswith("\r\n\r\n" + own.replace(":", " ") + "\n"), answer
        expected.add(own)
    wait_until(lambda: expected <= {entry["client"] for entry in weir.access_log(3)},
               "the access log names them too")


# What comes in.


@pytest.mark.parametrize("header, source", [
    (proxy_header.v1(CLIENT, SERVICE), CLIENT), (proxy_header.v1(CLIENT6, SERVICE6), CLIENT6),
    (proxy_header.v2(CLIENT, SERVICE), CLIENT), (proxy_header.v2(CLIENT6, SERVICE6), CLIENT6),
    (proxy_header.v2(CLIENT, SERVICE, [(proxy_header.NOOP, bytes(300)), (0xEE, b"mine")]), CLIENT),
    (b"PROXY UNKNOWN\r\n", None), (proxy_header.v2(), None)],
    ids=["v1", "v1 over IPv6", "v2", "v2 over IPv6", "v2 with TLVs", "v1 UNKNOWN", "v2 LOCAL"])
@pytest.mark.parametrize("how", ["accept", "require"])
def test_a_trusted_header_names_the_client(start_weir, start_endpoint, how, header, source):
    weir = start_weir(upstream(start_endpoint(named("a"))), receiving(how))
    with weir.connect() as stream:
        own = text_of(stream.socket.getsockname())
        stream.send(header + b"?\n")
        assert stream.receive_line() == b"a\n"
        assert [each["client"] for each in weir.connections()] == [source or own]
    weir.wait_for_open(0)
    assert weir.access_log(1)[0]["client"] == (source or own)


@pytest.mark.parametrize("header", [
    proxy_header.v1(CLIENT, SERVICE), proxy_header.v2(CLIENT, SERVICE, [(0xEE, b"x" * 40)])],
    ids=["v1", "v2"])
def test_a_header_may_come_in_any_number_of_segments(start_weir, start_endpoint, header):
    """Byte by byte, and cut at any one place; the first line comes with its end."""
    weir = start_weir(upstream(start_endpoint(named("a"))), receiving())
    cuts = [list(range(1, len(header)))] + [[place] for place in range(1, len(header), 3)]
    for cut in cuts:
        with weir.connect() as stream:
            stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ends = [0, *cut, len(header)]
            for start, end in zip(ends, ends[1:]):
                last = end == len(header)
                stream.send(header[start:end] + (b"?\n" if last else b""))
            assert stream.receive_line() == b"a\n"
    weir.wait_for_outcomes(client_closed=len(cuts))
    assert {entry["client"] for entry in weir.access_log(len(cuts))} == {CLIENT}


def test_the_header_comes_before_tls(start_weir, start_endpoint, certificates):
    weir = start_weir(upstream(start_endpoint(named("a"))), receiving(tls="public"),
                      tls(certificates.localhost()))
    with weir.connect() as plain:
        plain.send(proxy_header.v2(CLIENT, SERVICE))
        stream = streams.TlsStream(plain.socket, certificates.client(), "localhost")
        stream.send(b"?\n")
        assert stream.receive_line() == b"a\n"
        stream.finish()
        assert stream.receive_all() == b""
    assert weir.access_log(1)[0]["client"] == CLIENT


def test_routes_look_at_the_client_that_the_header_names(start_weir, start_endpoint):
    upstreams = {name: upstream(start_endpoint(named(name))) for name in ("near", "far")}
    weir = start_weir(upstreams, receiving(
        upstream="near", routes=[{"match": {"client": ["203.0.113.0/24"]}, "upstream": "far"}]))
    for client, answer in ((CLIENT, b"far\n"), ("192.0.2.1:99", b"near\n")):
        with weir.connect() as stream:
            stream.send(proxy_header.v2(client, SERVICE) + b"?\n")
            assert stream.receive_line() == answer


def test_a_header_is_optional_where_it_is_accepted(start_weir, start_endpoint):
    weir = start_weir(upstream(start_endpoint(named("a"))), receiving("accept"))
    for source in (TRUSTED, STRANGER):
        with weir.connect(source=source) as stream:
            own = text_of(stream.socket.getsockname())
            stream.send(b"PROX is how many words begin\n")
            assert stream.receive_line() == b"a\n"
            assert [each["client"] for each in weir.connections()] == [own]
        weir.wait_for_open(0)


@pytest.mark.parametrize("how", ["accept", "require"])
@pytest.mark.parametrize("header", [
    proxy_header.v1(CLIENT, SERVICE), proxy_header.v2(CLIENT, SERVICE), b"PROXY UNKNOWN\r\n"],
    ids=["v1", "v2", "UNKNOWN"])
def test_a_header_from_an_untrusted_source_is_refused(start_weir, start_endpoint, how, header):
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint), receiving(how))
    for _ in range(3):
        with weir.connect(source=STRANGER) as stream:
            stream.send(header + b"?\n")
            assert is_turned_away(stream)
    weir.wait_for_outcomes(client_denied=3)
    assert endpoint.accepted == 0
    entry = weir.access_log(1)[0]
    assert entry["client"].startswith(STRANGER) and "trusted" in entry["detail"]


def test_a_missing_header_is_refused_where_it_is_required(start_weir, start_endpoint):
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint), receiving())
    for first in (b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\r\n\r\nhello\n"):
        with weir.connect() as stream:
            stream.send(first)
            assert is_turned_away(stream)
    weir.wait_for_outcomes(client_denied=3)
    assert endpoint.accepted == 0


@pytest.mark.parametrize("start", [b"", b"PROXY TCP4 1", proxy_header.v2(CLIENT, SERVICE)[:20]],
                         ids=["nothing", "v1", "v2"])
def test_a_header_has_its_time(start_weir, start_endpoint, start):
    """A client that dawdles is turned away when timeouts.header is over."""
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint), receiving(timeouts={"header": "400ms"}))
    with weir.connect() as stream:
        watch = Stopwatch()
        if start:
            stream.send(start)
        assert is_turned_away(stream)
        assert 0.35 < watch.elapsed() < seconds(2)
    weir.wait_for_open(0)
    assert set(weir.outcomes()) <= {"client_timeout", "client_denied"}
    assert endpoint.accepted == 0


def test_a_port_without_the_key_hands_headers_on(start_weir, start_endpoint):
    """They are bytes like all others."""
    keeping = Keeping()
    weir = start_weir(upstream(start_endpoint(keeping)))
    with weir.connect() as stream:
        stream.send(proxy_header.v2(CLIENT, SERVICE) + b"?\n")
        assert stream.receive_line().decode() == f"{CLIENT}\n"


# What is malformed.


def malformed(chance):
    """Something that begins as a header, or is to be one, and cannot become one."""
    return chance.choice([_bad_line, _bad_block])(chance)


def _bad_line(chance):
    port = chance.randint(65536, 10 ** chance.randint(5, 12) + 65536)
    return chance.choice([
        f"PROXY TCP4 {chance.randint(256, 999)}.1.1.1 192.0.2.1 1 2\r\n",
        f"PROXY TCP4 203.0.113.7 192.0.2.1 {port} 2\r\n",
        f"PROXY TCP4 203.0.113.7 192.0.2.1 1 {port}\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 -1 2\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n",
        "PROXY TCP4 203.0.113.7\r\n", "PROXY TCP4\r\n", "PROXY \r\n", "PROXY\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 2001:db8:::1 2001:db8::2 1 2\r\n", "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n",
        "PROXY TCP4 " + "1" * chance.randint(100, 5000),
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2" + " " * 100 + "\r\n",
        "PROXY UNKNOWN " + "x" * chance.randint(100, 3000) + "\r\n",
        "PROXY TCP4 localhost 192.0.2.2 1 2\r\n", "PROXY TCP4 0x7f000001 192.0.2.2 1 2\r\n",
    ]).encode()


def _bad_block(chance):
    addresses = chance.randbytes(8) + b"\0\1\0\2"
    return chance.choice([
        proxy_header.v2_raw(chance.choice((0x01, 0x11, 0x31, 0xF1)), 0x11, addresses),
        proxy_header.v2_raw(0x20 | chance.randint(2, 15), 0x11, addresses),
        proxy_header.v2_raw(0x21, chance.randint(4, 15) << 4 | 1, addresses),
        proxy_header.v2_raw(0x21, 0x10 | chance.randint(3, 15), addresses),
        proxy_header.v2_raw(0x21, 0x11, addresses[:chance.randint(0, 11)]),
        proxy_header.v2_raw(0x21, 0x21, chance.randbytes(chance.randint(0, 35))),
        proxy_header.v2_raw(0x21, 0x11, addresses, size=chance.randint(5000, 65535)),
        proxy_header.v2_raw(0x21, 0x11, addresses + b"\xee\x00\x05abc"),  # a TLV too short by two
        proxy_header.v2_raw(0x21, 0x11, addresses + b"\xee\x00"),
        proxy_header.SIGNATURE[:chance.randint(3, 11)] + b"!" + addresses,
    ])


def test_a_thousand_malformed_headers_harm_nothing(start_weir, start_endpoint):
    """Each is turned away at once; no byte of any reaches the server; and afterwards everything is
    as before."""
    endpoint = start_endpoint(named("a"))
    weir = start_weir(upstream(endpoint), receiving(timeouts={"header": "30s"}))
    good = proxy_header.v2(CLIENT, SERVICE) + b"?\n"
    assert weir.ask(good) == "a"
    weir.wait_for_open(0)
    before, open_files = endpoint.accepted, descriptors(weir.pid)
    seeds, wrong = list(range(MALFORMED)), []

    def send_all():
        while True:
            try:
                seed = seeds.pop()
            except IndexError:
                return
            header = malformed(random.Random(seed))
            with weir.connect() as stream:
                try:
                    stream.send(header)
                    turned_away = is_turned_away(stream)
                except (ConnectionError, TimeoutError) as error:
                    turned_away = isinstance(error, ConnectionError)
                if not turned_away:
                    wrong.append((seed, header))

    threads = [threading.Thread(target=send_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    weir.wait_for_outcomes(client_closed=1, client_denied=MALFORMED)
    assert endpoint.accepted == before
    assert weir.ask(good) == "a"
    weir.wait_for_open(0)
    wait_until(lambda: descriptors(weir.pid) <= open_files + 2, "every descriptor is back")


# What goes out.


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_server_is_told_who_the_client_is(start_weir, start_endpoint, version):
    keeping = Keeping()
    weir = start_weir(upstream(start_endpoint(keeping), proxy_protocol=version))
    with weir.connect(source="127.0.0.9") as stream:
        own = text_of(stream.socket.getsockname())
        stream.send(b"?\n")
        assert stream.receive_line().decode() == f"{own}\n"
    [header] = keeping.headers
    assert (f"v{header.version}", header.source, header.destination) == (version, own,
                                                                         weir.address())


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("client, service", [(CLIENT, SERVICE), (CLIENT6, SERVICE6)],
                         ids=["IPv4", "IPv6"])
def test_an_incoming_header_is_passed_on(start_weir, start_endpoint, version, client, service):
    """Both its addresses: the destination is what the client connected to."""
    keeping = Keeping()
    weir = start_weir(upstream(start_endpoint(keeping), proxy_protocol=version), receiving())
    with weir.connect() as stream:
        stream.send(proxy_header.v2(client, service) + b"?\n")
        assert stream.receive_line().decode() == f"{client}\n"
    [header] = keeping.headers
    assert (header.source, header.destination) == (client, service)


def test_each_header_names_the_client_that_got_the_connection(start_weir, start_endpoint):
    """Invariant 9 of the pool: many clients at once, connections that were opened before anybody
    knew for whom, on two workers."""
    endpoint = start_endpoint(tell)
    weir = start_weir(upstream(endpoint, proxy_protocol="v2", pool={
        "min_idle": 8, "max_connections": 12}), workers=2)
    wait_until(lambda: weir.metrics().sum("weir_pool_connections", state="idle") >= 8, "it is warm")
    wrong, count = [], []

    def come(number):
        for round_ in range(10):
            with weir.connect(source=f"127.0.{number}.{round_ + 1}") as stream:
                own = text_of(stream.socket.getsockname())
                stream.send(b"?\n")
                answer = stream.receive_line().decode().strip()
                count.append(answer)
                if answer != own:
                    wrong.append((own, answer))

    threads = [threading.Thread(target=come, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and len(count) == 300
    assert endpoint.peak <= 12
    found = sum(weir.metrics().sum("weir_pool_acquires_total", source=source, result="ok")
                for source in ("idle", "other_worker"))
    assert found > 0  # connections that were there before their clients


class Late:
    """A TLS server behind a PROXY header, which notes when the first byte of each connection
    came."""

    def __init__(self, context):
        self.context, self.spoken_to = context, 0

    def __call__(self, stream):
        header = proxy_header.read(stream)
        self.spoken_to += 1
        secure = streams.TlsStream(stream.socket, self.context, server_side=True)
        while secure.receive_line():
            secure.send(f"{header.source}\n".encode())
        secure.finish()


def test_only_the_connection_is_opened_ahead(start_weir, start_endpoint, certificates):
    """The header names the client, so it is written at the lease, and TLS after it."""
    late = Late(certificates.localhost().server_context())
    endpoint = start_endpoint(late)
    weir = start_weir(upstream(endpoint, proxy_protocol="v2", pool={"min_idle": 3,
                                                                    "anticipate": 0},
                               tls={"server_name": "localhost", "ca": certificates.authority}))
    wait_until(lambda: weir.metrics().sum("weir_pool_connections", state="idle") == 3, "it is warm")
    wait_until(lambda: endpoint.accepted == 3, "the endpoint has them")
    holds_for(lambda: late.spoken_to == 0, "not a byte is sent", 0.2)
    for number in range(1, 5):
        with weir.connect(source=f"127.0.0.{number}") as stream:
            own = text_of(stream.socket.getsockname())
            stream.send(b"?\n")
            assert stream.receive_line().decode() == f"{own}\n"
        assert late.spoken_to == number


def test_version_2_tells_of_the_clients_tls(start_weir, start_endpoint, certificates):
    keeping = Keeping()
    weir = start_weir(upstream(start_endpoint(keeping), proxy_protocol="v2"),
                      listener(tls="public"), tls(certificates.localhost(), alpn=["mqtt"]))
    context = certificates.client(minimum_version=ssl.TLSVersion.TLSv1_3)
    context.set_alpn_protocols(["mqtt"])
    for _ in range(2):
        with weir.connect(tls=context) as stream:
            stream.send(b"?\n")
            assert stream.receive_line()
    first, second = keeping.headers
    client, words = first.tls()
    assert client & proxy_header.CLIENT_SSL
    assert words[proxy_header.SSL_VERSION] == "TLSv1.3"
    assert words[proxy_header.SSL_CIPHER].startswith("TLS_")
    assert proxy_header.SSL_CN not in words  # no certificate was shown
    assert first.tlvs[proxy_header.ALPN] == b"mqtt"
    assert first.tlvs[proxy_header.AUTHORITY] == b"localhost"
    identities = {each.tlvs[proxy_header.UNIQUE_ID] for each in (first, second)}
    assert len(identities) == 2 and b"" not in identities


def test_without_tls_none_is_told_of(start_weir, start_endpoint):
    keeping = Keeping()
    weir = start_weir(upstream(start_endpoint(keeping), proxy_protocol="v2"))
    assert weir.ask().startswith("127.0.0.1:")
    [header] = keeping.headers
    assert not {proxy_header.SSL, proxy_header.ALPN, proxy_header.AUTHORITY} & set(header.tlvs)


def test_what_an_incoming_header_tells_is_passed_on(start_weir, start_endpoint):
    """The TLS that ended in front of Weir, and the connection's identity."""
    secure = bytes([1]) + b"\0\0\0\0" + b"\x21\x00\x07TLSv1.2"
    tlvs = [(proxy_header.AUTHORITY, b"api.example"), (proxy_header.ALPN, b"h2"),
            (proxy_header.UNIQUE_ID, b"from the front"), (proxy_header.SSL, secure)]
    keeping = Keeping()
    weir = start_weir(upstream(start_endpoint(keeping), proxy_protocol="v2"), receiving())
    with weir.connect() as stream:
        stream.send(proxy_header.v2(CLIENT, SERVICE, tlvs) + b"?\n")
        assert stream.receive_line()
    [header] = keeping.headers
    assert header.tlvs[proxy_header.AUTHORITY] == b"api.example"
    assert header.tlvs[proxy_header.ALPN] == b"h2"
    assert header.tlvs[proxy_header.UNIQUE_ID] == b"from the front"
    client, words = header.tls()
    assert client & proxy_header.CLIENT_SSL and words[proxy_header.SSL_VERSION] == "TLSv1.2"


def test_a_client_without_an_address_is_unknown(start_weir, start_endpoint, directory):
    keeping = Keeping()
    path = os.path.join(directory, "web.sock")
    weir = start_weir(upstream(start_endpoint(keeping), proxy_protocol="v1"),
                      listener(bind=f"unix:{path}"))
    assert weir.ask() == "None"
    assert keeping.headers[0].source is None
