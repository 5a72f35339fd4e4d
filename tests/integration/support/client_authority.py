"""An authority that signs client certificates, revokes them and says so; by `openssl ca`."""

import os
import time

from support.certificates import Certificate
from support.processes import run

_CONFIG = """\
[ca]
default_ca = a
[a]
database = {base}/index
new_certs_dir = {base}
certificate = {cert}
private_key = {key}
rand_serial = yes
default_md = sha256
default_days = 365
unique_subject = no
policy = p
[p]
organizationName = optional
commonName = optional
"""


class ClientAuthority:
    """A root, or with a parent an intermediate. `cert` is its certificate."""

    def __init__(self, directory, name="clients", parent=None, end=None):
        self.base = os.path.join(directory, name)
        os.makedirs(self.base)
        self.name, self._count = name, 0
        with open(f"{self.base}/index", "w", encoding="ascii"):
            pass
        self.cert, self.key = f"{self.base}/authority.pem", f"{self.base}/authority.key"
        with open(f"{self.base}/ca.conf", "w", encoding="ascii") as file:
            file.write(_CONFIG.format(base=self.base, cert=self.cert, key=self.key))
        if parent is None:
            _openssl("req", "-x509", *_request(f"/CN={name}", self.key), "-days", 365,
                     "-out", self.cert)
        else:
            parent.sign(f"/CN={name}", self.key, self.cert,
                        "basicConstraints=critical,CA:true\nkeyUsage=keyCertSign,cRLSign\n",
                        end=end)

    def sign(self, subject, key, cert, extensions="", start=None, end=None):
        request = f"{cert}.csr"
        _openssl("req", *_request(subject, key), "-out", request)
        with open(f"{cert}.ext", "w", encoding="ascii") as file:
            file.write(extensions)
        dates = [*(["-startdate", _time(start)] if start else []),
                 *(["-enddate", _time(end)] if end else [])]
        self._ca("-notext", "-extfile", f"{cert}.ext", *dates, "-in", request, "-out", cert)

    def issue(self, name=None, *alternatives, usage="clientAuth", start=None, end=None, chain=()):
        """A certificate for /CN=name, or another subject, with subjectAltNames such as "DNS:a".
        `start` and `end` are seconds from now; behind it the file shows the certificates of
        `chain`."""
        self._count += 1
        made = Certificate(*(f"{self.base}/{self._count}.{end}" for end in ("pem", "key")))
        subject = name if name and name.startswith("/") else f"/CN={name}" if name else "/O=Nobody"
        extensions = f"extendedKeyUsage={usage}\n"
        if alternatives:
            extensions += f"subjectAltName={','.join(alternatives)}\n"
        self.sign(subject, made.key, made.cert, extensions, start, end)
        with open(made.cert, "a", encoding="ascii") as file:
            for each in chain:
                with open(each, encoding="ascii") as other:
                    file.write(other.read())
        return made

    def revoke(self, certificate):
        self._ca("-revoke", certificate.cert)

    def list(self, path=None, last=-3600, end=24 * 3600):
        """The list of whom it has revoked, as a file; it ends `end` seconds from now."""
        path = path or f"{self.base}/list.pem"
        self._ca("-gencrl", "-crl_lastupdate", _time(last), "-crl_nextupdate", _time(end),
                 "-out", path)
        return path

    def _ca(self, *options):
        _openssl("ca", "-batch", "-config", f"{self.base}/ca.conf", *options)


def joined(path, *files):
    with open(path, "w", encoding="ascii") as out:
        for each in files:
            with open(each, encoding="ascii") as file:
                out.write(file.read())
    return path


def _request(subject, key):
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8",
            "-subj", subject, "-keyout", key]


def _time(seconds):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))


def _openssl(*arguments):
    done = run("openssl", *arguments)
    assert done.returncode == 0, done.stderr
