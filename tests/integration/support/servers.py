"""Real servers, each in its own directory on a port of its own, gone after the test."""

import glob
import os
import pwd
import shutil
import signal
import tempfile

from support import address as addresses
from support import streams
from support.patience import wait_until
from support.processes import Process, read_text, run

SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


class Server:
    """A program that listens on one reserved port."""

    def __init__(self, directory, name):
        self.directory = tempfile.mkdtemp(prefix=name, dir=directory)
        os.chmod(self.directory, 0o755)
        self.name = name
        self._reserved = addresses.ReservedPort()
        self.port, self.address = self._reserved.port, self._reserved.address
        self.process = None

    def file(self, name, text=None):
        """The path of a file of its own, written when there is a text."""
        path = os.path.join(self.directory, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path

    def start(self, *arguments, **options):
        self.process = Process(arguments, self.directory, self.name, **options)
        try:
            wait_until(self._accepts, f"{self.name} listens", timeout=30)
        except AssertionError as error:
            self.process.kill()
            raise AssertionError(f"{error}\n{self.process.errors()[-2000:]}") from None

    def _accepts(self):
        assert self.process.is_running(), f"{self.name} ended:\n{self.process.errors()[-2000:]}"
        try:
            addresses.connect(self.address).close()
            return True
        except OSError:
            return False

    def as_account(self, name):
        """What goes before a program that refuses to run as root; and its directory is that
        account's from now on."""
        if os.getuid() != 0:
            return []
        account = pwd.getpwnam(name)
        os.chown(self.directory, account.pw_uid, account.pw_gid)
        return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}",
                "--clear-groups"]

    def stop(self):
        if self.process:
            self.process.kill()
        self._reserved.close()

    def stop_in_order(self, number=signal.SIGTERM):
        """For servers that SIGKILL would leave in pieces: children, shared memory."""
        if self.process and self.process.is_running():
            self.process.signal(number)
            self.process.wait(20)
        Server.stop(self)


class Nginx(Server):
    """Serves files: GET and PUT below /files, over plain HTTP, or over TLS 1.3 with a certificate.

    /name says its name and closes; /client says whom it takes for the client. With
    `proxy_protocol` that is whom the PROXY header names, and without a header it says nothing.
    """

    def __init__(self, directory, name="nginx", connections=1024, certificate=None,
                 proxy_protocol=False):
        super().__init__(directory, name)
        self.files = os.path.join(self.directory, "files")
        os.makedirs(self.files)
        temporary = "\n".join(f"  {kind}_temp_path {self.directory}/{kind};" for kind in (
            "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        dav = "\n      dav_methods PUT; client_max_body_size 0;" if has_nginx_dav() else ""
        secure, how = "", " proxy_protocol" if proxy_protocol else ""
        if certificate is not None:
            how += " ssl"
            secure = (f"\n    ssl_certificate {certificate.cert}; ssl_protocols TLSv1.3;"
                      f"\n    ssl_certificate_key {certificate.key};")
        client = "proxy_protocol_" if proxy_protocol else "remote_"
        path = self.file("nginx.conf", f"""
daemon off; master_process off; pid {self.directory}/pid; error_log stderr warn;
worker_rlimit_nofile {connections + 64};
events {{ worker_connections {connections}; }}
http {{
  access_log off; sendfile on; default_type application/octet-stream;
  client_header_timeout 600s; keepalive_timeout 600s;
{temporary}
  server {{
    listen {self.address} backlog=4096{how};{secure}
    location = /name {{ return 200 "{name}\\n"; }}
    location = /client {{ return 200 "${client}addr ${client}port\\n"; }}
    location /files/ {{ root {self.directory};{dav}
    }}
  }}
}}
""")
        self.start(shutil.which("nginx", path=SBIN), "-c", path, "-e", "stderr",
                   "-p", self.directory)


def has_nginx_dav():
    return "http_dav_module" in run(shutil.which("nginx", path=SBIN), "-V").stderr


class Redis(Server):
    def __init__(self, directory):
        super().__init__(directory, "redis")
        self.start("redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
                   "--save", "", "--appendonly", "no", "--dir", self.directory,
                   "--daemonize", "no")

    def ask(self, *words):
        """The answer of redis-cli, which does not go through Weir."""
        done = run("redis-cli", "-h", "127.0.0.1", "-p", self.port, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stat(self, name):
        """A number of INFO stats."""
        lines = dict(line.split(":", 1) for line in self.ask("info", "stats").splitlines()
                     if ":" in line)
        return int(lines[name])


class Memcached(Server):
    def __init__(self, directory):
        super().__init__(directory, "memcached")
        self.start("memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-t", "1",
                   "-m", "16", *(["-u", "nobody"] if os.getuid() == 0 else []))

    def stats(self):
        """{name: value} of its own, which do not go through Weir."""
        with streams.connect(self.address) as stream:
            stream.send(b"stats\r\n")
            lines = iter(stream.receive_line, b"END\r\n")
            return dict(line.decode().split()[1:3] for line in lines)


class Postgres(Server):
    """A fresh data directory; it refuses to run as root, so it runs as postgres then. Settings
    go to the command line: authentication_timeout="5s"."""

    user = "weir"

    def __init__(self, directory, **settings):
        super().__init__(directory, "postgres")
        as_user = self.as_account("postgres")
        data = self.file("data")
        made = run(*as_user, self.program("initdb"), "-D", data, "-U", self.user,
                   "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8", timeout=60,
                   cwd=self.directory)
        assert made.returncode == 0, made.stderr
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "",
                    "fsync": "off", "max_connections": "100", **settings}
        options = [f"--{name}={value}" for name, value in settings.items()]
        self.start(*as_user, self.program("postgres"), "-D", data, "-p", str(self.port),
                   *options, cwd=self.directory)
        wait_until(lambda: self.query("select 1").returncode == 0, "PostgreSQL answers", 30)

    @staticmethod
    def program(name):
        found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
        assert found, f"no {name} of PostgreSQL"
        return found[-1]

    def query(self, statement, port=None):
        return run(self.program("psql"), "-h", "127.0.0.1", "-p", port or self.port, "-U",
                   self.user, "-d", "postgres", "-X", "-A", "-t", "-c", statement)

    def bench(self, *arguments, port=None):
        return run(self.program("pgbench"), "-h", "127.0.0.1", "-p", port or self.port, "-U",
                   self.user, *arguments, "postgres", timeout=60)

    def stop(self):
        self.stop_in_order(signal.SIGINT)  # which does not wait for its clients


class MariaDb(Server):
    """A fresh data directory. It refuses to run as root, and needs no account of its own. Settings
    go to the command line: connect_timeout=5."""

    def __init__(self, directory, **settings):
        super().__init__(directory, "mariadb")
        as_user = self.as_account("nobody")
        data = self.file("data")
        made = run(*as_user, "mariadb-install-db", "--no-defaults", f"--datadir={data}",
                   "--auth-root-authentication-method=normal", "--skip-test-db",
                   "--skip-name-resolve", cwd=self.directory, timeout=60)
        assert made.returncode == 0, made.stdout + made.stderr
        settings = {"innodb_buffer_pool_size": "8M", "innodb_flush_log_at_trx_commit": 0,
                    "performance_schema": "OFF", "max_connections": 200, **settings}
        options = [f"--{name}={value}" for name, value in settings.items()]
        self.start(*as_user, shutil.which("mariadbd", path=SBIN), "--no-defaults",
                   f"--datadir={data}", "--bind-address=127.0.0.1", f"--port={self.port}",
                   f"--socket={self.directory}/socket", f"--pid-file={self.directory}/pid",
                   "--skip-name-resolve", *options, cwd=self.directory)
        wait_until(lambda: self.query("select 1").returncode == 0, "MariaDB answers", 30)

    def query(self, statement, port=None):
        """Rows as lines, columns with tabs between them."""
        return run("mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", port or self.port, "-u",
                   "root", "--skip-ssl", "-N", "-B", "-e", statement)

    def stop(self):
        self.stop_in_order()


class Exim(Server):
    """An SMTP server that takes every message and keeps it. Its greeting is another one for each
    connection: it ends with the number of the process and of the peer's port. Only root may start
    it."""

    def __init__(self, directory):
        super().__init__(directory, "exim")
        self.as_account("Debian-exim")  # which it becomes by itself
        self.spool = self.directory
        path = self.file("exim.conf", f"""
primary_hostname = mail.test
daemon_smtp_ports = {self.port}
local_interfaces = 127.0.0.1
spool_directory = {self.spool}
log_file_path = {self.spool}/%slog
pid_file_path = {self.spool}/pid
smtp_banner = "$primary_hostname ESMTP $pid $sender_host_port"
smtp_accept_max = 0
tls_advertise_hosts =
host_lookup =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = accept
acl_smtp_data = accept
queue_only = true
keep_environment =
begin acl
begin routers
""")
        self.start(shutil.which("exim4", path=SBIN), "-C", path, "-bdf")

    def messages(self):
        """The log's lines of messages that were taken."""
        return [line for line in read_text(os.path.join(self.spool, "mainlog")).splitlines()
                if " <= " in line]

    def stop(self):
        self.stop_in_order()


class HaProxy(Server):
    """Hands connections on to one address, with a PROXY header before their bytes."""

    def __init__(self, directory, target, how="send-proxy-v2"):
        super().__init__(directory, "haproxy")
        path = self.file("haproxy.cfg", f"""
global
  maxconn 500
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen front
  bind {self.address}
  server weir {target} {how}
""")
        self.start(shutil.which("haproxy", path=SBIN), "-db", "-f", path)


class Prometheus(Server):
    """Scrapes one target twice a second."""

    def __init__(self, directory, target):
        super().__init__(directory, "prometheus")
        path = self.file("prometheus.yml", f"""
global: {{ scrape_interval: 500ms, scrape_timeout: 500ms }}
scrape_configs:
  - job_name: weir
    static_configs: [ {{ targets: ["{target}"] }} ]
""")
        self.start("prometheus", f"--config.file={path}",
                   f"--storage.tsdb.path={self.directory}/data",
                   f"--web.listen-address={self.address}")


class Standalone(Server):
    """standalone.py: an endpoint in a process of its own, which can be killed and come back."""

    def __init__(self, directory, name):
        super().__init__(directory, name)
        self.run()

    def run(self):
        script = os.path.join(os.path.dirname(__file__), "standalone.py")
        self.start("/usr/bin/python3", script, self.address, self.name)
