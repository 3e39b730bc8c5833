"""What the matrices of logins are made of: who logs in, what a login came to, and cells that differ.

Nothing here says what a login ought to come to. libpq is asked twice, once for each side of a
comparison, and whoever compares has a list of what may differ, with the reason."""

import concurrent.futures
import os
import re
import struct

import psycopg2

from integration.support import wire
from integration.support.certificates import Authority

FULL_SIZE = bool(os.environ.get("PGWEIR_FULL_SIZE"))
SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
BINDINGS = ("disable", "prefer", "require")
NO_FILE = "/nonexistent"
FIRST_SCRAM = b"n,,n=,r=abcdefghijklmnopqrstuvwx"
SASL_INITIAL = wire.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(FIRST_SCRAM)) + FIRST_SCRAM)

# A role for each way to prove who one is: (method of pg_hba.conf, options, how PostgreSQL keeps the
# password). `m_pass` is known to the daemon by the verifier alone.
METHODS = {
    "m_trust": ("trust", "", "scram-sha-256"),
    "m_password": ("password", "", "scram-sha-256"),
    "m_md5": ("md5", "", "md5"),
    "m_md5_verifier": ("md5", "", "scram-sha-256"),
    "m_scram": ("scram-sha-256", "", "scram-sha-256"),
    "m_pass": ("scram-sha-256", "", "scram-sha-256"),
    "m_cert": ("cert", "", "scram-sha-256"),
    "m_both": ("scram-sha-256", "clientcert=verify-full", "scram-sha-256"),
    "m_reject": ("reject", "", "scram-sha-256"),
    "m_stranger": ("scram-sha-256", "", None),  # no such role
}


def password_of(role):
    return role + "-secret"


def hba_line(kind, database, role, extra="", address="127.0.0.1/32"):
    """The line that lets a role in at a database by its method; what only TLS can do is about TLS."""
    method, options, _ = METHODS[role]
    if method == "cert" or options:
        kind = "hostssl"
    if kind == "hostssl" and "clientcert" not in options and method != "cert":
        options = extra
    return " ".join(word for word in (kind, database, role, address, method, options) if word)


def make_roles(postgres):
    for role, (_, _, kept_as) in METHODS.items():
        if kept_as is not None:
            postgres.query("set password_encryption = '%s'; create role %s login password '%s'"
                           % (kept_as, role, password_of(role)))


def verifiers(postgres):
    return dict(postgres.query("select rolname, rolpassword from pg_authid where rolname like 'm!_%%' escape '!'"))


class Certificates:
    """Authorities, and one certificate for each role from each of them."""

    def __init__(self):
        self.authority, self.other = Authority(), Authority("another")
        self.pairs = {}
        for role in METHODS:
            self.pairs[role] = self.authority.sign(role, role)
        self.pairs["otto"] = self.authority.sign("otto", "otto")
        self.strangers = self.other.sign("stranger", "m_cert")

    def own(self, role):
        return self.named(self.pairs[role])

    @staticmethod
    def named(pair):
        return {"sslcert": pair[0], "sslkey": pair[1]}

    none = {"sslcert": NO_FILE, "sslkey": NO_FILE}


def normal(text):
    """What libpq says, without where and how often it tried: an unordered set of reasons."""
    text = re.sub(r"connection to server at \"[^\"]*\"(, port \d+| \([^)]*\), port \d+)* failed: ", "", text)
    return tuple(sorted(line.strip() for line in text.splitlines() if line.strip()))


def attempt(sql, options):
    """What a login came to: ("in", its facts) or ("refused", what libpq says)."""
    try:
        connection = psycopg2.connect(connect_timeout=30, gssencmode="disable", **options)
    except psycopg2.OperationalError as error:
        return ("refused", normal(str(error)))
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone()
        info = connection.info
        return ("in", {"ssl": info.ssl_in_use, "version": info.ssl_attribute("protocol"),
                       "password used": info.used_password, "row": row})
    except psycopg2.Error as error:
        return ("refused", normal(str(error)))
    finally:
        connection.close()


def attempt_all(jobs, threads=96):
    """{cell: outcome} of {cell: (sql, options)}; many at once: a refusal takes its time."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return dict(zip(jobs, pool.map(lambda job: attempt(*job), jobs.values())))
