"""Programs that people put behind a proxy, through Weir."""

import hashlib
import os
import re
import ssl

import pytest

from support import transfer
from support.configuration import listener, tls, upstream
from support.endpoints import echo, source
from support.processes import run
from support.servers import Nginx, Redis, has_nginx_dav

MIB = 1 << 20


@pytest.fixture
def secure(start_weir, certificates):
    """secure(address) -> Weir that terminates TLS in front of it"""

    def start(address):
        return start_weir(upstream(address), listener(tls="public"), tls(certificates.localhost()))

    return start


def test_redis_benchmark_tls_in_plain_out(start_server, secure, certificates):
    weir = secure(start_server(Redis).address)
    done = run("redis-benchmark", "-h", "localhost", "-p", weir.port(), "--tls", "--cacert",
               certificates.authority, "--sni", "localhost", "-n", 20000, "-c", 40, "-d", 200,
               "-t", "set,get", "--csv", timeout=60)
    assert done.returncode == 0, done.stderr
    assert "error" not in (done.stdout + done.stderr).lower()
    assert len(re.findall(r'^"(?:SET|GET)"', done.stdout, re.MULTILINE)) == 2, done.stdout


def test_pgbench_through_a_warm_pool(start_weir, postgres):
    weir = start_weir(upstream(postgres.address, pool={"min_idle": 4}))
    assert postgres.bench("-i", "-q", "-s", 1, port=weir.port()).returncode == 0
    for mode in ([], ["-C"]):  # long connections, then a connection for each transaction
        done = postgres.bench("-c", 4, "-t", 50, "-n", *mode, port=weir.port())
        assert done.returncode == 0, done.stderr
        assert "number of transactions actually processed: 200/200" in done.stdout
    answer = postgres.query("select count(*) from pgbench_history", port=weir.port())
    assert answer.stdout.strip() == "400"


def test_git_clones_over_https(start_server, secure, certificates, directory):
    nginx = start_server(Nginx)
    origin = make_repository(directory, os.path.join(nginx.files, "weir.git"))
    weir = secure(nginx.address)
    clone = os.path.join(directory, "clone")
    done = git("clone", "-q", f"https://localhost:{weir.port()}/files/weir.git", clone,
               GIT_SSL_CAINFO=certificates.authority)
    assert done.returncode == 0, done.stderr
    assert git("-C", clone, "rev-parse", "HEAD").stdout.strip() == origin
    assert git("-C", clone, "fsck", "--full").returncode == 0


def git(*arguments, **environment):
    identity = {f"GIT_{who}_{what}": "weir@localhost" for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")}
    return run("git", *arguments, env={**os.environ, **identity, "GIT_CONFIG_NOSYSTEM": "1",
                                       "GIT_CONFIG_GLOBAL": "/dev/null",
                                       **environment})


def make_repository(directory, served):
    """A repository as files that a plain web server can serve; returns its newest commit."""
    work = os.path.join(directory, "work")
    assert git("init", "-q", "-b", "main", work).returncode == 0
    for number in range(20):
        with open(os.path.join(work, f"file{number}"), "wb") as file:
            file.write(os.urandom(20_000))
        assert git("-C", work, "add", ".").returncode == 0
        assert git("-C", work, "commit", "-q", "-m", f"file {number}").returncode == 0
    assert git("clone", "-q", "--bare", work, served).returncode == 0
    assert git("-C", served, "update-server-info").returncode == 0
    return git("-C", work, "rev-parse", "HEAD").stdout.strip()


def test_curl_downloads(start_server, secure, certificates, directory):
    nginx = start_server(Nginx)
    body = os.urandom(32 * MIB)
    with open(os.path.join(nginx.files, "big"), "wb") as file:
        file.write(body)
    weir = secure(nginx.address)
    target = os.path.join(directory, "got")
    done = run("curl", "-sS", "--fail", "--cacert", certificates.authority, "-o", target,
               f"https://localhost:{weir.port()}/files/big")
    assert done.returncode == 0, done.stderr
    assert digest_of_file(target) == hashlib.sha256(body).hexdigest()


def test_curl_uploads(start_server, secure, certificates, directory):
    if not has_nginx_dav():
        pytest.skip("this nginx cannot store files (no DAV module)")
    nginx = start_server(Nginx)
    path = os.path.join(directory, "upload")
    with open(path, "wb") as file:
        file.write(os.urandom(32 * MIB))
    weir = secure(nginx.address)
    done = run("curl", "-sS", "--fail", "--cacert", certificates.authority, "-T", path,
               f"https://localhost:{weir.port()}/files/upload")
    assert done.returncode == 0, done.stderr
    assert digest_of_file(os.path.join(nginx.files, "upload")) == digest_of_file(path)


def digest_of_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def s_client(weir, certificates, *options, **more):
    return run("openssl", "s_client", "-connect", f"127.0.0.1:{weir.port()}", "-servername",
               "localhost", "-CAfile", certificates.authority, "-verify_return_error", *options,
               **more)


def test_s_client_sees_the_servers_end(start_endpoint, secure, certificates):
    """The server finishes first: s_client gets every byte and a close_notify."""
    weir = secure(start_endpoint(source(MIB, seed=5)).address)
    done = s_client(weir, certificates, "-quiet", input=b"x", text=False)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(done.stdout).hexdigest() == transfer.digest_of(MIB, seed=5)
    assert b"unexpected eof" not in done.stderr
    weir.wait_for_outcomes(server_closed=1)


def test_s_clients_end_reaches_the_server(start_endpoint, secure, certificates):
    """The client finishes first: the server sees every byte and then the end."""
    received = []

    def keep(stream):
        received.append(transfer.receive(stream))

    weir = secure(start_endpoint(keep).address)
    payload = b"".join(transfer.blocks(MIB, seed=6))
    done = s_client(weir, certificates, "-no_ign_eof", "-nocommands", input=payload, text=False)
    assert done.returncode == 0, done.stderr
    weir.wait_for_open(0)
    assert received == [(MIB, transfer.digest_of(MIB, seed=6))]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_half_close_both_ways_over_tls(start_endpoint, secure, certificates, version):
    """Each side says goodbye while the other goes on. (openssl's client cannot; ours can.)"""
    weir = secure(start_endpoint(echo).address)
    context = certificates.client(maximum_version=version, minimum_version=version)
    with weir.connect(tls=context) as stream:
        sending = transfer.Sending(stream, 4 * MIB, seed=3)
        assert transfer.receive(stream) == (4 * MIB, sending.result())
    weir.wait_for_outcomes(client_closed=1)
