"""Session ticket keys in a file that a fleet shares: who resumes whose sessions, and how the keys
change without anybody noticing."""

import os
import ssl

import pytest

from support.configuration import listener, tls, upstream
from support.endpoints import http
from support.processes import run
from support.s_client import s_client
from support.weir import command

VERSIONS = ["-tls1_2", "-tls1_3"]


@pytest.fixture
def start_with(start_weir, start_endpoint, certificates):
    """start_with(key_file, tls name="public") -> Weir"""

    def start(path, name="public"):
        return start_weir(upstream(start_endpoint(http("a"))), listener(tls=name),
                          {name: tls(certificates.localhost(),
                                     session_tickets={"key_file": path})})

    return start


def add_key(path):
    """As the reference page says."""
    done = run("sh", "-c", f"umask 077; openssl rand -base64 80 >> {path}")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def key_file(directory):
    path = f"{directory}/tickets.key"
    add_key(path)
    return path


@pytest.fixture
def visit(directory):
    """visit(weir, version, with_session=True) -> was a session resumed? The new one is kept."""
    kept = f"{directory}/session"

    def once(weir, version, with_session=True):
        given = ["-sess_in", kept] if with_session else []
        text = s_client(weir, version, *given, "-sess_out", kept).stdout
        assert "200 OK" in text
        assert ("New, " in text) != ("Reused, " in text)
        return "Reused, " in text

    return once


@pytest.mark.parametrize("version", VERSIONS)
def test_two_with_the_same_file_resume_each_others_sessions(start_with, visit, key_file, version):
    one, other = start_with(key_file), start_with(key_file)
    assert not visit(one, version, with_session=False)
    for weir in (other, one, other):
        assert visit(weir, version)
    assert other.metrics().sum("weir_tls_handshakes_total", result="ok", resumed="true") == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_other_keys_or_other_settings_do_not(start_with, visit, key_file, directory, version):
    assert not visit(start_with(key_file), version, with_session=False)
    add_key(f"{directory}/other.key")
    assert not visit(start_with(f"{directory}/other.key"), version)
    assert not visit(start_with(key_file), version)
    assert not visit(start_with(key_file, name="private"), version)


@pytest.mark.parametrize("version", VERSIONS)
def test_keys_change_one_member_after_the_other(start_with, visit, key_file, version):
    """Whoever has taken the new file and whoever has not understand each other, both ways."""
    def grown():
        add_key(key_file)
        return start_with(key_file)

    before, after = start_with(key_file), grown()
    for _ in range(3):  # with one key, two, three and more
        for giver, taker in ((before, after), (after, before)):
            visit(giver, version, with_session=False)
            assert visit(taker, version)
        before, after = after, grown()


def test_a_ticket_of_an_older_key_is_taken_and_renewed(start_with, certificates, key_file):
    context = certificates.client(maximum_version=ssl.TLSVersion.TLSv1_2)

    def visit(weir, session=None):
        """Was it resumed, and the session as it is then. (s_client keeps no renewed ticket.)"""
        with weir.connect(tls=context, session=session) as stream:
            return stream.tls.session_reused, stream.tls.session

    add_key(key_file)  # the first seals
    first = start_with(key_file)
    _, old = visit(first)
    add_key(key_file)  # the second seals, the first still opens
    second = start_with(key_file)
    resumed, renewed = visit(second, old)
    assert resumed
    add_key(key_file)  # the first is forgotten
    third = start_with(key_file)
    assert visit(third, renewed)[0]
    assert not visit(third, old)[0]


def test_a_file_that_grows_is_taken_up(start_with, visit, key_file):
    """By itself: and the tickets of before are still taken."""
    weir = start_with(key_file)
    visit(weir, "-tls1_3", with_session=False)
    for _ in range(2):
        before = weir.reloads()
        add_key(key_file)
        weir.wait_for_reload(before)
        assert visit(weir, "-tls1_3")
    # Now the second seals: one with the last two keys alone understands it.
    run("sed", "-i", "1,2d", key_file)
    assert visit(start_with(key_file), "-tls1_3")


def check(directory, certificates, settings):
    path = f"{directory}/weir.yaml"
    keys = "\n".join(f"      {name}: {value}" for name, value in settings.items())
    mine = certificates.localhost()
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""version: 1
tls:
  public:
    certificates: [ {{ cert: {mine.cert}, key: {mine.key} }} ]
    session_tickets:
{keys}
listeners:
  web: {{ bind: "127.0.0.1:0", tls: public, upstream: api }}
upstreams:
  api: {{ endpoints: [ {{ address: "127.0.0.1:1" }} ] }}
""")
    done = command("check", "-c", path)
    return done.returncode, done.stdout + done.stderr


def test_a_bad_file_is_told_at_its_place(certificates, directory, key_file):
    def of(text=None, mode=0o600, **more):
        if text is not None:
            with open(key_file, "w", encoding="ascii") as file:
                file.write(text)
        os.chmod(key_file, mode)
        return check(directory, certificates, {"key_file": key_file, **more})

    with open(key_file, encoding="ascii") as file:
        good = file.read()
    assert of() == (0, of()[1]) and "warning" not in of()[1]
    assert of(good + "# the next one\n\n" + "A" * 107 + "=")[0] == 0

    for text, words in {
            "": "it holds no key",
            good[:100]: "key 1 (line 1) is not 80 bytes in base64",
            good + "\n" + "A" * 64 + "\n": "key 2 (line 4) is not 80 bytes in base64",
            "!" * 107 + "=": "key 1 (line 1) is not 80 bytes",
            good + good: "keys 1 and 2 are the same",
    }.items():
        status, shown = of(text)
        assert status == 2, text
        assert "weir.yaml:6:17: error: cannot take ticket keys from" in shown
        assert words in shown and "openssl rand -base64 80 >>" in shown
        assert text[:20] == "" or text[:20] not in shown  # never a key
    status, shown = of(good, mode=0o644)
    assert status == 0
    assert "weir.yaml:6:17: warning: everybody on this machine may read the ticket keys" in shown
    status, shown = of(rotate="1h")
    assert status == 0 and "`rotate` does nothing" in shown
    status, shown = of(enabled="false")
    assert status == 0 and "`key_file` does nothing" in shown
    status, shown = check(directory, certificates, {"key_file": f"{directory}/absent"})
    assert status == 2 and "No such file" in shown
