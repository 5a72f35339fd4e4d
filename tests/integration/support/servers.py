"""Real servers, each in its own directory on a port of its own, gone after the test."""

import glob
import os
import pwd
import shutil
import tempfile

from support import address as addresses
from support.patience import wait_until
from support.processes import Process, run

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

    def stop(self):
        if self.process:
            self.process.kill()
        self._reserved.close()


class Nginx(Server):
    """Serves files: GET and PUT below /files, over plain HTTP."""

    def __init__(self, directory, name="nginx", connections=1024):
        super().__init__(directory, name)
        self.files = os.path.join(self.directory, "files")
        os.makedirs(self.files)
        temporary = "\n".join(f"  {kind}_temp_path {self.directory}/{kind};" for kind in (
            "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        dav = "\n      dav_methods PUT; client_max_body_size 0;" if has_nginx_dav() else ""
        path = self.file("nginx.conf", f"""
daemon off; master_process off; pid {self.directory}/pid; error_log stderr warn;
worker_rlimit_nofile {connections + 64};
events {{ worker_connections {connections}; }}
http {{
  access_log off; sendfile on; default_type application/octet-stream;
  client_header_timeout 600s; keepalive_timeout 600s;
{temporary}
  server {{
    listen {self.address} backlog=4096;
    location = /name {{ return 200 "{name}\\n"; }}
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


class Postgres(Server):
    """A fresh data directory; it refuses to run as root, so it runs as postgres then."""

    user = "weir"

    def __init__(self, directory):
        super().__init__(directory, "postgres")
        self._as_user = []
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.directory, account.pw_uid, account.pw_gid)
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data = self.file("data")
        made = run(*self._as_user, self.program("initdb"), "-D", data, "-U", self.user,
                   "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8", timeout=60,
                   cwd=self.directory)
        assert made.returncode == 0, made.stderr
        self.start(*self._as_user, self.program("postgres"), "-D", data, "-p", str(self.port),
                   "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                   "-c", "fsync=off", "-c", "max_connections=100", cwd=self.directory)
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
        # SIGKILL would leave its children and its shared memory.
        if self.process and self.process.is_running():
            self.process.stop(timeout=20)
        super().stop()


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
