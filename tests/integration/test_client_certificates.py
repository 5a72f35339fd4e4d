"""Client certificates: whose is verified, who is let in, and who the servers are told it was."""

import json
import os
import shutil
import ssl
from typing import NamedTuple

import pytest

from support import configuration, proxy_header, yaml
from support.client_authority import ClientAuthority, joined
from support.configuration import listener, tls, upstream
from support.endpoints import http, named
from support.patience import Stopwatch, seconds, wait_until
from support.processes import read_text
from support.s_client import s_client
from support.weir import command

VERSIONS = ["-tls1_2", "-tls1_3"]


@pytest.fixture(scope="session")
def clients(session_directory):
    return ClientAuthority(session_directory, "clients")


@pytest.fixture
def authority(directory):
    """One whose revocations are this test's own."""
    return ClientAuthority(directory, "revoking")


@pytest.fixture
def start(start_weir, start_endpoint, certificates):
    """start(verify=..., ca=..., ...) -> Weir"""

    def make(tickets=None, **client_certificate):
        settings = {"session_tickets": tickets} if tickets else {}
        return start_weir(upstream(start_endpoint(http("a"))), listener(tls="public"),
                          tls(certificates.localhost(), client_certificate=client_certificate,
                              **settings))

    return make


class Visit(NamedTuple):
    """How one connection went."""

    good: bool     # an answer came
    errors: str    # what the client said of it
    log: dict      # its line of the access log


def visit(weir, certificate=None, *options, name="web"):
    before = len(read_text(weir.access_log_path).splitlines())
    shown = ["-cert", certificate.cert, "-key", certificate.key,
             "-cert_chain", certificate.cert] if certificate else []
    done = s_client(weir, *shown, *options, listener=name)
    lines = weir.access_log(before + 1)
    assert len(lines) == before + 1
    return Visit("200 OK" in done.stdout, done.stderr, lines[-1])


def assert_refused(seen, detail, alert):
    assert not seen.good
    assert (seen.log["reason"], seen.log["detail"]) == ("client_tls_failed", detail)
    assert alert in seen.errors  # it arrives
    assert seen.log["client_identity"] == ""


def failures(weir):
    return {sample.labels["result"]: sample.value
            for sample in weir.metrics().find("weir_tls_handshakes_total")
            if sample.value and sample.labels["result"] != "ok"}


@pytest.mark.parametrize("version", VERSIONS)
def test_each_bad_certificate_is_refused_in_words(start, clients, directory, version):
    stranger = ClientAuthority(directory, "stranger")
    revoked = clients.issue("revoked")
    clients.revoke(revoked)
    weir = start(verify="required", ca=clients.cert, crl=clients.list(f"{directory}/list.pem"))

    good = visit(weir, clients.issue("good"), version)
    assert good.good
    assert (good.log["reason"], good.log["client_identity"]) == ("server_closed", "cn:good")
    assert_refused(visit(weir, None, version), "the client has shown no certificate",
                   "handshake failure" if version == "-tls1_2" else "certificate required")
    assert_refused(visit(weir, clients.issue("old", start=-7200, end=-3600), version),
                   "certificate has expired", "certificate expired")
    assert_refused(visit(weir, clients.issue("early", start=3600), version),
                   "certificate is not yet valid", "bad certificate")
    assert_refused(visit(weir, revoked, version), "certificate revoked", "certificate revoked")
    assert_refused(visit(weir, stranger.issue("good"), version),
                   "unable to get local issuer certificate", "unknown ca")
    assert_refused(visit(weir, clients.issue("server", usage="serverAuth"), version),
                   "unsuitable certificate purpose", "unsupported certificate")
    assert failures(weir) == {
        "no_certificate": 1, "certificate_expired": 1, "certificate": 2, "certificate_revoked": 1,
        "certificate_unknown_authority": 1}


def test_optional_lets_in_who_has_none_but_nobody_with_a_bad_one(start, clients, directory):
    weir = start(verify="optional", ca=clients.cert)
    nobody = visit(weir)
    assert nobody.good and nobody.log["client_identity"] == ""
    somebody = visit(weir, clients.issue("somebody"))
    assert somebody.good and somebody.log["client_identity"] == "cn:somebody"
    stranger = ClientAuthority(directory, "stranger").issue("somebody")
    assert_refused(visit(weir, stranger), "unable to get local issuer certificate", "unknown ca")


def test_off_asks_for_none(start, clients):
    weir = start(verify="off")
    mine = clients.issue("a")
    text = s_client(weir, "-cert", mine.cert, "-key", mine.key).stdout
    assert "No client certificate CA names sent" in text
    weir.wait_for_open(0)
    assert weir.access_log(1)[0]["client_identity"] == ""


def test_the_client_is_told_the_authorities(start, clients, certificates, directory):
    both = joined(f"{directory}/both.pem", clients.cert, certificates.authority)
    text = s_client(start(verify="optional", ca=both)).stdout
    assert ("Acceptable client certificate CA names\nCN = clients\nCN = Weir Test Authority\n"
            in text)
    # The one that signed our own certificate is no part of the chain that we show for that.
    assert text.count(" s:") == 1


def test_a_chain_leads_to_the_root_or_to_whom_the_operator_trusts(start_weir, start_endpoint,
                                                                  certificates, clients, directory):
    middle = ClientAuthority(directory, "middle", clients)
    with_chain = middle.issue("a", chain=[middle.cert])
    alone = middle.issue("a")
    lists = joined(f"{directory}/lists.pem", clients.list(f"{directory}/1.pem"), middle.list())
    settings = {
        "root": {"ca": clients.cert},
        "middle": {"ca": middle.cert},
        "lists": {"ca": clients.cert, "crl": lists},
        "middle-lists": {"ca": middle.cert, "crl": lists},
        "middle-list": {"ca": middle.cert, "crl": middle.list(f"{directory}/2.pem")},
        "half": {"ca": clients.cert, "crl": clients.list(f"{directory}/3.pem")},
    }
    weir = start_all(start_weir, start_endpoint, certificates, settings)
    for name in settings:
        seen = visit(weir, with_chain, name=name)
        assert seen.good == (name != "half"), (name, seen)
        trusts_middle = name.startswith("middle")
        assert visit(weir, alone, name=name).good == trusts_middle, name
    assert visit(weir, with_chain, name="half").log["detail"] == "unable to get certificate CRL"


def start_all(start_weir, start_endpoint, certificates, settings):
    """A listener for each client_certificate of `settings`, by name."""
    return start_weir(
        {"api": upstream(start_endpoint(http("a")))},
        {name: listener(tls=name) for name in settings},
        {name: tls(certificates.localhost(),
                   client_certificate={"verify": "required", **client})
         for name, client in settings.items()})


def test_a_revoked_authority_takes_its_clients_with_it(start, authority, directory):
    middle = ClientAuthority(directory, "middle", authority)
    client = middle.issue("a", chain=[middle.cert])
    authority.revoke(middle)
    lists = joined(f"{directory}/lists.pem", authority.list(), middle.list())
    weir = start(verify="required", ca=authority.cert, crl=lists)
    assert_refused(visit(weir, client), "certificate revoked", "certificate revoked")


def test_a_list_that_has_expired_lets_nobody_in(start, clients, directory):
    weir = start(verify="required", ca=clients.cert,
                 crl=clients.list(f"{directory}/old.pem", last=-7200, end=-3600))
    assert_refused(visit(weir, clients.issue("a")), "CRL has expired", "certificate expired")
    assert "the list of revoked certificates of /CN=clients has expired" in weir.process.errors()


PATTERNS = ["cn:build-*", "dns:*.svc.example", "uri:spiffe://example/ns/*", "cn:web",
            "dns:SVC.example", "uri:spiffe://*/ns/a*"]

# (subject, alternative names): what it is called, and by which patterns it is let in
IDENTITIES = {
    ("build-1",): ("cn:build-1", {0}),
    ("build-",): ("cn:build-", {0}),
    ("Build-1",): ("cn:Build-1", set()),
    ("rebuild-1",): ("cn:rebuild-1", set()),
    ("web", "DNS:a.svc.example"): ("cn:web", {1, 3}),
    (None, "DNS:a.b.svc.example"): ("dns:a.b.svc.example", {1}),
    (None, "DNS:svc.example"): ("dns:svc.example", {4}),
    ("any", "DNS:*.svc.example"): ("cn:any", set()),  # a wildcard is nobody's name
    (None, "DNS:other.example", "DNS:A.SVC.example"): ("dns:other.example", {1}),
    (None, "URI:spiffe://example/ns/a/sa/b", "DNS:x.example"):
        ("uri:spiffe://example/ns/a/sa/b", {2, 5}),
    (None, "URI:spiffe://example.evil/ns/a"): ("uri:spiffe://example.evil/ns/a", {5}),
    # Each pattern looks at its own kind of name.
    ("a.svc.example", "URI:urn:build-1", "DNS:build-1", "email:web@svc.example"):
        ("cn:a.svc.example", set()),
}


def test_twelve_identities_against_six_patterns(start_weir, start_endpoint, certificates, clients):
    settings = {f"p{i}": {"ca": clients.cert, "allow": [pattern]}
                for i, pattern in enumerate(PATTERNS)}
    settings["all"] = {"ca": clients.cert, "allow": PATTERNS}
    weir = start_all(start_weir, start_endpoint, certificates, settings)
    allowed = denied = 0
    for names, (identity, by) in IDENTITIES.items():
        certificate = clients.issue(*names)
        for name in settings:
            seen = visit(weir, certificate, name=name)
            expected = bool(by) if name == "all" else int(name[1:]) in by
            assert seen.good == expected, (names, name, seen)
            assert seen.log["client_identity"] == identity
            if expected:
                allowed += 1
                continue
            denied += 1
            assert seen.log["reason"] == "client_denied"
            assert seen.log["detail"] == (
                f"the certificate of {identity} is good, but no pattern of `allow` names it")
    weir.wait_for_outcomes(server_closed=allowed, client_denied=denied)
    # The handshake itself was a good one.
    assert failures(weir) == {}


class Keeping:
    """An endpoint that is sent headers."""

    def __init__(self):
        self.headers = []

    def __call__(self, stream):
        self.headers.append(proxy_header.read(stream))
        while line := stream.receive_line():
            stream.send(line)


CONNECTION, SESSION = 0x02, 0x04


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_servers_lists_and_logs_are_told_who_it_is(start_weir, start_endpoint, certificates,
                                                   clients, version):
    keeping = Keeping()
    weir = start_weir(upstream(start_endpoint(keeping), proxy_protocol="v2"),
                      listener(tls="public"),
                      tls(certificates.localhost(),
                          client_certificate={"verify": "optional", "ca": clients.cert}))
    context = certificates.client(clients.issue("wéb \"1\"", "URI:spiffe://example/web"),
                                  maximum_version=ssl.TLSVersion[version])
    nobody = certificates.client(maximum_version=ssl.TLSVersion[version])
    session = None
    for _ in range(2):
        with weir.connect(tls=context, session=session) as stream:
            stream.send(b"?\n")
            assert stream.receive_line() == b"?\n"
            session = stream.tls.session
            [row] = weir.connections()
            assert row["client_identity"] == 'cn:wéb "1"'
        weir.wait_for_open(0)
    assert weir.ask(tls=nobody) == "?"
    weir.wait_for_open(0)
    told = []
    for header in keeping.headers:
        bits, texts = header.tls()
        verified = header.tlvs[proxy_header.SSL][1:5] == bytes(4)
        told.append((bits & ~proxy_header.CLIENT_SSL, texts.get(proxy_header.SSL_CN), verified))
    assert told == [(CONNECTION | SESSION, 'wéb "1"', True), (SESSION, 'wéb "1"', True),
                    (0, None, False)]
    lines = weir.access_log(3)
    assert [line["client_identity"] for line in lines] == ['cn:wéb "1"', 'cn:wéb "1"', ""]
    assert [line["tls_resumed"] for line in lines] == [False, True, False]


def test_the_text_log_names_the_client(start_weir, start_endpoint, certificates, clients,
                                       directory):
    weir = start_weir(upstream(start_endpoint(named("a"))), listener(tls="public"),
                      tls(certificates.localhost(),
                          client_certificate={"verify": "required", "ca": clients.cert}),
                      access_log={"path": f"{directory}/text.log", "format": "text"})
    assert weir.ask(tls=certificates.client(clients.issue("a b"))) == "a"
    weir.wait_for_open(0)

    line = wait_until(lambda: read_text(f"{directory}/text.log"), "the line of the log")
    assert " identity=cn:a\\x20b" in line


# Tickets: what a full handshake would refuse, an old one does not let in.


@pytest.fixture
def tickets(directory):
    with open(f"{directory}/tickets.key", "w", encoding="ascii") as file:
        file.write("w" * 107 + "=\n")
    return {"key_file": f"{directory}/tickets.key"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_with_its_certificate(start, clients, directory, tickets, version):
    kept = f"{directory}/session"
    settings = {"verify": "required", "ca": clients.cert, "tickets": tickets,
                "crl": clients.list(f"{directory}/list.pem")}
    first, second = start(**settings), start(**settings)
    certificate = clients.issue("web")
    assert visit(first, certificate, version, "-sess_out", kept).good
    # Also by another process, and over again, without a certificate on the way.
    for _ in range(3):
        seen = visit(second, None, version, "-sess_in", kept, "-sess_out", kept)
        assert seen.good
        assert (seen.log["tls_resumed"], seen.log["client_identity"]) == (True, "cn:web")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_ends_where_the_list_changes(start, authority, directory, tickets, version):
    kept = f"{directory}/session"
    certificate = authority.issue("web")
    settings = {"verify": "required", "ca": authority.cert, "tickets": tickets}
    before = start(**settings, crl=authority.list(f"{directory}/before.pem"))
    assert visit(before, certificate, version, "-sess_out", kept).good
    assert visit(before, certificate, version, "-sess_in", kept).log["tls_resumed"]
    authority.revoke(certificate)
    after = start(**settings, crl=authority.list(f"{directory}/after.pem"))
    seen = visit(after, certificate, version, "-sess_in", kept)
    assert_refused(seen, "certificate revoked", "certificate revoked")
    assert not visit(after, None, version, "-sess_in", kept).good
    # Whoever is not revoked makes a full handshake, and goes on with a new ticket.
    other = authority.issue("other")
    assert visit(before, other, version, "-sess_out", kept).good
    seen = visit(after, other, version, "-sess_in", kept, "-sess_out", kept)
    assert seen.good and not seen.log["tls_resumed"]
    assert visit(after, other, version, "-sess_in", kept).log["tls_resumed"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_is_judged_by_the_patterns_of_today(start, clients, directory, tickets, version):
    kept = f"{directory}/session"
    certificate = clients.issue("web")
    settings = {"verify": "required", "ca": clients.cert, "tickets": tickets}
    assert visit(start(**settings), certificate, version, "-sess_out", kept).good
    seen = visit(start(**settings, allow=["cn:api"]), certificate, version, "-sess_in", kept)
    assert not seen.good
    assert (seen.log["reason"], seen.log["tls_resumed"]) == ("client_denied", True)
    assert seen.log["client_identity"] == "cn:web"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_without_a_certificate_is_not_enough_where_one_is_required(
        start, clients, directory, tickets, version):
    kept = f"{directory}/session"
    for before in ({"verify": "off"}, {"verify": "optional", "ca": clients.cert}):
        assert visit(start(tickets, **before), None, version, "-sess_out", kept).good
        weir = start(tickets, verify="required", ca=clients.cert)
        seen = visit(weir, None, version, "-sess_in", kept)
        assert seen.log["detail"] == "the client has shown no certificate"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("what", ["certificate", "authority", "list"])
def test_a_ticket_lives_no_longer_than_what_it_was_verified_by(start, clients, directory, tickets,
                                                               version, what):
    kept = f"{directory}/session"
    soon = 6
    chain, crl = [], clients.list(f"{directory}/list.pem", end=soon if what == "list" else 3600)
    if what == "authority":
        middle = ClientAuthority(directory, "middle", clients, end=soon)
        certificate = middle.issue("web", chain=[middle.cert])
        crl = joined(f"{directory}/lists.pem", crl, middle.list())
    else:
        certificate = clients.issue("web", end=soon if what == "certificate" else None)
    weir = start(verify="required", ca=clients.cert, crl=crl, tickets=tickets)
    assert visit(weir, certificate, version, "-sess_out", kept).good
    seen = visit(weir, certificate, version, "-sess_in", kept, "-sess_out", kept)
    assert seen.good and seen.log["tls_resumed"]

    def refused():
        shutil.copy(kept, f"{kept}-used")
        seen = visit(weir, certificate, version, "-sess_in", f"{kept}-used")
        return not seen.good and seen

    seen = wait_until(refused, "the end comes", timeout=soon + 5, every=0.3)
    expected = "CRL has expired" if what == "list" else "certificate has expired"
    assert seen.log["detail"] == expected


# Mistakes of the operator, at their place.


def check(directory, certificates, client_certificate):
    settings = configuration.whole(
        upstream("127.0.0.1:1"), listener(tls="public"),
        tls(certificates.localhost(), client_certificate=client_certificate), directory)
    path = f"{directory}/weir.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(yaml.write(settings) + "\n")
    done = command("check", "-c", path, "--format", "json")
    return done.returncode, json.loads(done.stdout)


def test_bad_files_are_told_at_their_place(clients, certificates, directory):
    def of(**settings):
        status, found = check(directory, certificates, {"verify": "required", **settings})
        return status, [(each["severity"], each["message"]) for each in found["problems"]]

    stranger = ClientAuthority(directory, "stranger")
    broken = f"{directory}/broken.pem"
    with open(broken, "w", encoding="ascii") as file:
        file.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    good = clients.list(f"{directory}/list.pem")
    forged = stranger.list()

    assert of(ca=clients.cert, crl=good) == (0, [])
    status, [(severity, message)] = of(ca=good)
    assert (status, severity) == (2, "error") and "holds no certificate of an authority" in message
    status, [(_, message)] = of(ca=broken)
    assert status == 2 and f"certificate 1 of `{broken}` is broken" in message
    status, [(_, message)] = of(ca=clients.cert, crl=clients.cert)
    assert status == 2 and "holds no list of revoked certificates" in message
    status, [(severity, message)] = of(ca=clients.cert, crl=forged)
    assert (status, severity) == (0, "warning") and "has no list of CN=clients" in message
    double = ClientAuthority(directory + "/", "clients")  # of the same name, with another key
    status, [(_, message)] = of(ca=clients.cert, crl=double.list())
    assert status == 2 and "is not signed by the key of that authority" in message
    status, [(severity, message)] = of(ca=clients.issue("leaf").cert)
    assert (status, severity) == (0, "warning") and "is no authority" in message


# Files that change while it runs.


@pytest.mark.parametrize("version", VERSIONS)
def test_who_is_revoked_is_refused_two_seconds_later(start, authority, directory, version):
    """With a ticket or without: ticket keys in memory outlive the change."""
    kept, crl = f"{directory}/session", authority.list(f"{directory}/list.pem")
    weir = start(verify="required", ca=authority.cert, crl=crl)
    leaver, stayer = authority.issue("leaver"), authority.issue("stayer")
    assert visit(weir, stayer, version, "-sess_out", f"{kept}-stayer").good
    assert visit(weir, leaver, version, "-sess_out", kept).good
    assert visit(weir, leaver, version, "-sess_in", kept).log["tls_resumed"]
    authority.revoke(leaver)
    authority.list(f"{crl}.new")
    watch = Stopwatch()
    os.rename(f"{crl}.new", crl)

    def refused():
        shutil.copy(kept, f"{kept}-used")
        seen = visit(weir, leaver, version, "-sess_in", f"{kept}-used")
        return not seen.good and seen

    seen = wait_until(refused, "the list is taken up", every=0.1)
    assert watch.elapsed() < seconds(2)
    assert seen.log["detail"] == "certificate revoked"
    seen = visit(weir, stayer, version, "-sess_in", f"{kept}-stayer")
    assert seen.good and not seen.log["tls_resumed"]


def test_a_broken_list_changes_nothing(start, authority, directory):
    crl = authority.list(f"{directory}/list.pem")
    weir = start(verify="required", ca=authority.cert, crl=crl)
    before = weir.reloads()
    with open(f"{crl}.new", "w", encoding="ascii") as file:
        file.write("-----BEGIN X509 CRL-----\n")
    os.rename(f"{crl}.new", crl)
    assert "list.pem" in weir.wait_for_reload(before, good=False)["reason"]
    assert visit(weir, authority.issue("somebody")).good
    revoked = authority.issue("revoked")
    authority.revoke(revoked)
    before = weir.reloads()
    authority.list(f"{crl}.new")
    os.rename(f"{crl}.new", crl)
    weir.wait_for_reload(before)
    assert visit(weir, revoked).log["detail"] == "certificate revoked"
