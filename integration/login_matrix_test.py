"""Every sslmode and channel_binding of libpq, every method, every `tls.mode`: with the daemon a login
comes to the same as with PostgreSQL itself under the same rules. And the other side: the daemon logs in
to PostgreSQL, or does not, as libpq does with the same parameters.

No outcome is written down here: PostgreSQL and libpq are the model. What may differ is ALLOWED, with the
reason. By default a part of the cells, always the same; PGWEIR_FULL_SIZE=1 tries all."""

import itertools
import re
import unittest
import zlib

from integration.support.case import only_pgweir
from integration.support.certificates import postgres_with_tls
from integration.support.login_matrix import (BINDINGS, Certificates, FULL_SIZE, METHODS, NO_FILE, SSLMODES,
                                              attempt, attempt_all, hba_line, make_roles, password_of, verifiers)
from integration.support.pgweir import Pgweir
from integration.support.postgres import Postgres
from integration.support.surroundings import PATIENCE

# `tls.mode`, and what says the same in pg_hba.conf: (kind of line, clientcert)
TLS_MODES = {
    "disable": ("host", ""),
    "allow": ("host", ""),
    "prefer": ("host", ""),
    "require": ("hostssl", ""),
    "verify-ca": ("hostssl", "clientcert=verify-ca"),
    "verify-full": ("hostssl", "clientcert=verify-ca"),  # names are for the access rules
}
# What a client has to show, and whom it believes.
CREDENTIALS = ("all is right", "no certificate", "another's certificate", "a stranger's certificate",
               "a wrong password", "another authority trusted", "another name")


def chosen(cell, one_in):
    """Whether a cell is among those tried by default: a part of them, always the same."""
    return FULL_SIZE or zlib.crc32(repr(cell).encode()) % one_in == 0


def database_of(mode):
    return "m_" + mode.replace("-", "_")


def other_words(ours, theirs):
    """Refused on both sides, in other words."""
    def without(outcome, words):
        return [line for line in outcome[1] if not re.fullmatch(words, line)]

    def applies(_, here, model):
        return here[0] == model[0] == "refused" and without(here, ours) == without(model, theirs) \
            and without(here, ours) != list(here[1]) and without(model, theirs) != list(model[1])
    return applies


def in_the_clear_or_not_at_all(outcome):
    """libpq did not like the certificate: it is told so, or it went on without TLS."""
    return "SSL error: certificate verify failed" in outcome[1] if outcome[0] == "refused" \
        else not outcome[1]["row"][1]


class MatrixCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.made = Certificates()

    @classmethod
    def start(cls, postgres):
        cls.addClassCleanup(postgres.close)
        postgres.start()
        make_roles(postgres)
        return postgres

    @classmethod
    def start_pgweir(cls, postgres, **settings):
        pooler = Pgweir(postgres, log={"level": "warning"}, workers=1, **settings)
        cls.addClassCleanup(pooler.close)
        return pooler.start()

    @staticmethod
    def same(here, model):
        return here == model

    def compare(self, what, cells, ours, theirs, allowed, sql):
        """Outcome by outcome; what differs has to be allowed, and what is allowed has to occur. `ours` and
        `theirs`: the parameters of a login by its cell."""
        here = attempt_all({cell: (sql, ours(cell)) for cell in cells})
        model = attempt_all({cell: (sql, theirs(cell)) for cell in cells}, threads=16)

        def reasons(cell):
            return [name for name, (applies, _) in allowed.items() if applies(cell, here[cell], model[cell])]
        differ = [cell for cell in cells if not self.same(here[cell], model[cell])]
        used = {reasons(cell)[0] for cell in differ if reasons(cell)}
        # A machine that is busy elsewhere may have let one of them time out.
        for cell in [cell for cell in differ if not reasons(cell)]:
            here[cell], model[cell] = attempt(sql, ours(cell)), attempt(sql, theirs(cell))
        wrong = ["%s:\n    pgweir: %r\n    model:  %r" % (cell, here[cell], model[cell])
                 for cell in differ if not self.same(here[cell], model[cell]) and not reasons(cell)]
        ins = sum(outcome[0] == "in" for outcome in model.values())
        print("%s: %d cells, %d log in, %d refused; differ as allowed: %s" % (
            what, len(cells), ins, len(cells) - ins, ", ".join(sorted(used)) or "none"), flush=True)
        if wrong:
            self.fail("%d cells differ:\n%s" % (len(wrong), "\n".join(wrong[:20])))
        self.assertGreater(ins, 0)
        if FULL_SIZE:
            self.assertEqual(set(allowed), used, "what is allowed does not occur: strike it off")


@only_pgweir
class ClientSideTest(MatrixCase):
    """libpq with the daemon, and with a PostgreSQL that has the same rules."""

    NO_TLS = r"FATAL:  connection requires TLS|HINT:  Connect with sslmode=require, or a stricter one\."
    NO_ENTRY = r'FATAL:  no pg_hba.conf entry for host "127\.0\.0\.1", .*, no encryption'
    ALLOWED = {
        "the words for no TLS": (
            other_words(NO_TLS, NO_ENTRY), "tls.mode is not an access rule, so it is not blamed on one"),
        "the words for no certificate": (
            other_words(NO_TLS + "|SSL error: tlsv13 alert certificate required",
                        NO_ENTRY + "|FATAL:  connection requires a valid client certificate"),
            "tls.mode says so in the handshake already, before anybody has named a user"),
    }

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lines = ["local all all trust"]
        for mode, (kind, extra) in TLS_MODES.items():
            lines += [hba_line(kind, database_of(mode), role, extra) for role in METHODS]
        lines += ["host behind m_pass 127.0.0.1/32 scram-sha-256", "host behind all 127.0.0.1/32 trust", ""]
        hba = "\n".join(lines)
        cls.secured = cls.start(postgres_with_tls(cls.made.authority, hba=hba, max_connections=300))
        cls.plain = cls.start(Postgres(hba="\n".join(line for line in lines if "hostssl" not in line),
                                      max_connections=300))
        for mode in TLS_MODES:
            (cls.plain if mode == "disable" else cls.secured).query("create database " + database_of(mode))
        cls.plain.query("create database behind")
        # One verifier for m_pass on both; the daemon has nothing else of it.
        kept = verifiers(cls.secured)
        cls.plain.query("alter role m_pass password '%s'" % kept["m_pass"])
        secrets = {role: password_of(role) for role in kept}
        secrets.update(m_pass=kept["m_pass"], m_md5=kept["m_md5"], m_md5_verifier=kept["m_md5_verifier"])
        certificate, key = cls.made.authority.sign("pgweir", "localhost", "DNS:localhost")
        cls.poolers = {mode: cls.start_pgweir(
            cls.plain, users={role: {"password": secret} for role, secret in secrets.items()},
            databases={database_of(mode): {"host": cls.plain.host, "port": cls.plain.port, "dbname": "behind"}},
            pool={"minconn": 0, "maxconn": 1, "wait_timeout": "20s"},
            tls={"mode": mode, "certificate": certificate, "key": key, "ca": cls.made.authority.certificate},
            auth={"hba": [hba_line("host", "all", role) for role in METHODS]}) for mode in TLS_MODES}

    def options(self, cell, where):
        mode, sslmode, binding, role, credential = cell
        certificate = {"no certificate": self.made.none, "another's certificate": self.made.own("otto"),
                       "a stranger's certificate": self.made.named(self.made.strangers)
                       }.get(credential, self.made.own(role))
        trusted = self.made.other if credential == "another authority trusted" else self.made.authority
        return dict(certificate, host="elsewhere" if credential == "another name" else "localhost",
                    hostaddr="127.0.0.1", port=where.port, user=role, dbname=database_of(mode), sslmode=sslmode,
                    channel_binding=binding, sslrootcert=trusted.certificate,
                    password="wrong" if credential == "a wrong password" else password_of(role))

    def test_a_login_comes_to_the_same_as_with_postgres(self):
        cells = [cell for cell in itertools.product(TLS_MODES, SSLMODES, BINDINGS, METHODS, CREDENTIALS)
                 if chosen(cell, 8)]
        self.compare("with clients", cells, lambda cell: self.options(cell, self.poolers[cell[0]]),
                     lambda cell: self.options(cell, self.plain if cell[0] == "disable" else self.secured),
                     self.ALLOWED, "select current_user::text, session_user::text")


# What PostgreSQL has of TLS, and the kind of line in its pg_hba.conf.
SERVERS = {"no TLS": "host", "TLS": "host", "TLS only": "hostssl", "no TLS wanted": "hostnossl"}
WAIT = "%dms" % (1500 * PATIENCE)  # that long a client waits for a server whose TLS will not do
ROOTS = ("right", "another", "none")
SECRETS = ("password", "a wrong password", "verifier")


@only_pgweir
class ServerSideTest(MatrixCase):
    """The daemon with PostgreSQL, and libpq with the same PostgreSQL and the same parameters."""

    ALLOWED = {
        "nothing to prove it with": (
            lambda cell, here, model: here[0] == "refused" and model[0] == "in" and model[1]["password used"]
            and cell[-1] == "verifier" and cell[4] in ("m_password", "m_md5"),
            "a verifier is no password: it serves SCRAM alone"),
        "an authority below require": (
            lambda cell, here, model: here[0] == "in" and here[1]["row"][1] and cell[1] in ("allow", "prefer")
            and cell[3] == "another" and in_the_clear_or_not_at_all(model),
            "allow and prefer check no certificate: libpq, given an authority, would rather speak in the clear"),
    }

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.by_kind = {}
        for name in ("no TLS", "TLS"):
            hba = ["local all all trust"]
            for kind, line in SERVERS.items():
                hba += [hba_line(line, cls.database(kind), role) for role in METHODS]
            hba = "\n".join(line for line in hba if name == "TLS" or "ssl" not in line) + "\n"
            made = postgres_with_tls(cls.made.authority, hba=hba, max_connections=800) if name == "TLS" \
                else Postgres(hba=hba, max_connections=800)
            cls.by_kind[name] = cls.start(made)
        for kind in SERVERS:
            cls.server(kind).query("create database " + cls.database(kind))
        cls.users_of = {secret: cls.users_with(secret) for secret in SECRETS}
        cls.cells = [cell for cell in itertools.product(SERVERS, SSLMODES, BINDINGS, ROOTS, METHODS, SECRETS)
                     if chosen(cell, 12) and cell[4] in cls.users_of[cell[-1]]
                     # libpq refuses this when it connects, the daemon its configuration (config_tests).
                     and not (cell[1] == "verify-ca" and cell[3] == "none")]
        cls.poolers = {secret: cls.start_pgweir(
            cls.by_kind["TLS"], users=cls.users_of[secret],
            databases={cls.name_of(cell): cls.parameters(cell) for cell in cls.cells if cell[-1] == secret},
            pool={"minconn": 0, "maxconn": 1, "idle_timeout": "1s", "wait_timeout": WAIT},
            auth={"hba": ["host all all all " + ("scram-sha-256" if secret == "verifier" else "trust")]})
            for secret in SECRETS}

    @staticmethod
    def database(kind):
        return "m_" + kind.replace(" ", "_").lower()

    @classmethod
    def server(cls, kind):
        return cls.by_kind["no TLS" if kind == "no TLS" else "TLS"]

    @classmethod
    def users_with(cls, secret):
        kept = verifiers(cls.by_kind["TLS"])
        for role, verifier in kept.items():  # the same on both
            cls.by_kind["no TLS"].query("alter role %s password '%s'" % (role, verifier))
        secrets = {"password": password_of, "a wrong password": lambda role: "wrong", "verifier": kept.get}[secret]
        return {role: {"password": secrets(role)} for role in kept
                if secret != "verifier" or kept[role].startswith("SCRAM")}

    @classmethod
    def parameters(cls, cell):
        """What libpq and the daemon are both told."""
        kind, sslmode, binding, root, role, _ = cell
        told = {"host": "localhost", "port": cls.server(kind).port, "sslmode": sslmode, "channel_binding": binding,
                "dbname": cls.database(kind)}
        if root != "none":
            told["sslrootcert"] = (cls.made.authority if root == "right" else cls.made.other).certificate
        if role in ("m_cert", "m_both"):
            told.update(cls.made.own(role))
        return told

    @classmethod
    def name_of(cls, cell):
        return "/".join((cls.database(cell[0]),) + cell[1:4] + ((cell[4],) if cell[4] in ("m_cert", "m_both") else ()))

    def of_pgweir(self, cell):
        pooler = self.poolers[cell[-1]]
        return dict(host=pooler.host, port=pooler.port, user=cell[4], dbname=self.name_of(cell),
                    password=password_of(cell[4]), sslmode="disable")

    def of_libpq(self, cell):
        told = dict(self.made.none, sslrootcert=NO_FILE)
        told.update(self.parameters(cell))
        return dict(told, user=cell[4], password="wrong" if cell[-1] == "a wrong password" else password_of(cell[4]))

    def test_the_daemon_logs_in_where_libpq_does(self):
        self.compare("with servers", self.cells, self.of_pgweir, self.of_libpq, self.ALLOWED,
                     "select current_user::text, ssl, version, cipher from pg_stat_ssl where pid = pg_backend_pid()")

    @staticmethod
    def same(here, model):
        """As the server sees the connection; the words of a refusal are each one's own."""
        return here[0] == model[0] and (here[0] == "refused" or here[1]["row"] == model[1]["row"])


if __name__ == "__main__":
    unittest.main()
