"""Certificates for the tests, made with the openssl command, each at most once a run."""

import os
import ssl
from typing import NamedTuple

from support.processes import run

_KEYS = {
    "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "rsa": ["-newkey", "rsa:2048"],
}


class Certificate(NamedTuple):
    cert: str
    key: str

    def server_context(self):
        """For a TLS endpoint that serves it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


class Certificates:
    """A small authority in a directory."""

    def __init__(self, directory):
        self.directory = directory
        self._issued = {}
        self._authority = self._make("authority", "ec", "/CN=Weir Test Authority", [])
        self.authority = self._authority.cert

    def localhost(self, kind="ec"):
        return self.issue("localhost", "IP:127.0.0.1", kind=kind)

    def issue(self, name, *more, kind="ec", **options):
        """Signed by the authority for the DNS name and further subjectAltNames."""
        key = (name, *more, kind, *options.items())
        if key not in self._issued:
            extension = ["-addext", "subjectAltName=" + ",".join([f"DNS:{name}", *more]),
                         "-CA", self._authority.cert, "-CAkey", self._authority.key]
            self._issued[key] = self._make(f"leaf{len(self._issued)}", kind, f"/CN={name}",
                                           extension, **options)
        return self._issued[key]

    def self_signed(self, name):
        key = (name, "self-signed")
        if key not in self._issued:
            self._issued[key] = self._make(f"self{len(self._issued)}", "ec", f"/CN={name}",
                                           ["-addext", f"subjectAltName=DNS:{name}"])
        return self._issued[key]

    def _make(self, file, kind, subject, extension, days=365):
        made = Certificate(*(os.path.join(self.directory, f"{file}.{end}")
                             for end in ("pem", "key")))
        done = run("openssl", "req", "-x509", *_KEYS[kind], "-nodes", "-days", days,
                   "-subj", subject, "-keyout", made.key, "-out", made.cert, *extension)
        assert done.returncode == 0, done.stderr
        return made

    def expired(self, name):
        """Signed by the authority, and over since yesterday."""
        key = (name, "expired")
        if key not in self._issued:
            self._issued[key] = self._make_expired(name)
        return self._issued[key]

    def _make_expired(self, name):
        # `openssl req -x509` makes nothing that is over already; `openssl ca` does.
        base = os.path.join(self.directory, "expired")
        os.makedirs(base)
        with open(f"{base}/index", "w", encoding="ascii"):
            pass
        with open(f"{base}/ca.conf", "w", encoding="ascii") as file:
            file.write(f"[ca]\ndefault_ca=a\n[a]\ndatabase={base}/index\nnew_certs_dir={base}\n"
                       "rand_serial=yes\ndefault_md=sha256\npolicy=p\nx509_extensions=x\n"
                       f"[p]\ncommonName=supplied\n[x]\nsubjectAltName=DNS:{name}\n")
        made = Certificate(f"{base}/leaf.pem", f"{base}/leaf.key")
        asked = run("openssl", "req", *_KEYS["ec"], "-nodes", "-subj", f"/CN={name}",
                    "-keyout", made.key, "-out", f"{base}/leaf.csr")
        assert asked.returncode == 0, asked.stderr
        signed = run("openssl", "ca", "-batch", "-config", f"{base}/ca.conf", "-notext",
                     "-cert", self._authority.cert, "-keyfile", self._authority.key,
                     "-startdate", "20200101000000Z", "-enddate", "20200201000000Z",
                     "-in", f"{base}/leaf.csr", "-out", made.cert)
        assert signed.returncode == 0, signed.stderr
        return made

    def client(self, certificate=None, **options):
        """An ssl.SSLContext that trusts the authority."""
        context = ssl.create_default_context(cafile=self.authority)
        if certificate is not None:
            context.load_cert_chain(certificate.cert, certificate.key)
        for name, value in options.items():
            setattr(context, name, value)
        return context
