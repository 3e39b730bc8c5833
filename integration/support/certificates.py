"""Certificates for tests, made with openssl: an authority, and what it signs."""

import os
import shutil
import subprocess

from integration.support import surroundings
from integration.support.postgres import HBA, Postgres


class Authority:
    """A directory with the authority's certificate and those it has signed."""

    def __init__(self, name="test authority"):
        self.directory = surroundings.temporary_directory("certificates")
        os.chmod(self.directory, 0o755)  # PostgreSQL runs as somebody else
        self.certificate = self.path("authority.crt")
        self._key = self.path("authority.key")
        self._openssl("req", "-x509", "-subj", "/CN=" + name, "-days", "2", "-keyout", self._key,
                      "-out", self.certificate, *self._new_key())

    def path(self, name):
        return os.path.join(self.directory, name)

    @staticmethod
    def _new_key():
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def sign(self, file, common_name, *alternatives, rest=""):
        """Paths of a certificate for the name and of its key. `alternatives`: DNS:localhost, IP:127.0.0.1 …;
        `rest` of the subject: /OU=staff …"""
        certificate, key, request = (self.path(file + end) for end in (".crt", ".key", ".csr"))
        self._openssl("req", "-utf8", "-subj", "/CN=" + common_name + rest, "-keyout", key, "-out", request,
                      *self._new_key())
        extensions = self.path(file + ".ext")
        with open(extensions, "w", encoding="ascii") as out:
            out.write("basicConstraints=CA:FALSE\n")
            if alternatives:
                out.write("subjectAltName=%s\n" % ",".join(alternatives))
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key,
                      "-CAcreateserial", "-days", "1", "-extfile", extensions, "-out", certificate)
        os.chmod(key, 0o600)
        return certificate, key

    def revocation_list(self, *certificates, name="list", run_out=False):
        """Path of the list that revokes these; `run_out`: there should have been another one by now."""
        settings, index = self.path(name + ".cnf"), self.path(name + ".index")
        with open(settings, "w", encoding="ascii") as out:
            out.write("[ca]\ndefault_ca = ours\n[ours]\ndefault_md = sha256\ndatabase = %s\ncertificate = %s\n"
                      "private_key = %s\n" % (index, self.certificate, self._key))
        with open(index, "w", encoding="ascii"):
            pass
        for certificate in certificates:
            self._openssl("ca", "-config", settings, "-revoke", certificate)
        ends = ["-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200102000000Z"] if run_out else ["-crldays", "1"]
        self._openssl("ca", "-config", settings, "-gencrl", "-out", self.path(name + ".crl"), *ends)
        return self.path(name + ".crl")


def give_certificate(postgres, authority):
    """Shown from its next start on."""
    certificate, key = authority.sign("postgres", "localhost", "DNS:localhost")
    for source, name in ((certificate, "server.crt"), (key, "server.key"), (authority.certificate, "root.crt")):
        target = os.path.join(postgres.data, name)
        shutil.copy(source, target)
        os.chmod(target, 0o600)
        if surroundings.AS_ROOT:
            shutil.chown(target, "postgres", "postgres")


def postgres_with_tls(authority, hba=HBA, **settings):
    """A PostgreSQL that speaks TLS, not started yet."""
    made = Postgres(hba=hba, **settings)
    give_certificate(made, authority)
    with open(os.path.join(made.data, "postgresql.auto.conf"), "a", encoding="ascii") as file:
        file.write("ssl = on\nssl_ca_file = 'root.crt'\n")
    return made
