"""Passwords that SASLprep changes, or must not: what PostgreSQL takes for the password, pgweir does too."""

import subprocess
import unittest

import psycopg2

from integration.support import surroundings
from integration.support.case import PoolerCase, only_pgweir
from integration.support.pgweir import Pgweir
from integration.support.postgres import DATABASE

PASSWORDS = [  # as the role's owner writes it, and as somebody types it to log in
    ("caf\u00e9", "cafe\u0301"),            # composed and decomposed
    ("\ufb01sh", "fish"),                   # a ligature
    ("a\u00a0b", "a b"),                    # a space that does not break
    ("a\u00adb\u200dc", "abc"),             # nothing to be seen
    ("wait\u2026\u2122", "wait...TM"),
    ("\u2168\u00bd\u00b2", "IX1\u20442" + "2"),
    ("\uff21\uff42", "Ab"),                 # full width
    ("\u05d0\u05d1", "\u05d0\u00ad\u05d1"),  # from right to left
    ("a\u05d0\u00aa", None),                # in both directions: stays as it is
    ("\u00aa\u0221", None),                 # has what Unicode 3.2 did not know: the same
    ("plain", None),
]
OTHERS = [("a\u05d0\u00aa", "a\u05d0a"), ("caf\u00e9", "cafe"), ("\u00aa\u0221", "a\u0221")]


@only_pgweir
class SaslprepTest(PoolerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # PostgreSQL has been told the password, or what `pgweir passwd` makes of it.
        cls.roles, cls.told = {}, {}
        for i, both in enumerate(PASSWORDS + OTHERS):
            cls.roles["plain_%d" % i] = cls.roles["made_%d" % i] = both
            cls.told["plain_%d" % i], cls.told["made_%d" % i] = both[0], cls.verifier(both[0])
        for role, told in cls.told.items():
            cls.postgres.query("create role %s login password '%s'" % (role, told))
        stored = dict(cls.postgres.query("select rolname, rolpassword from pg_authid"))
        cls.stored = {role: stored[role] for role in cls.roles}

    def pgweir(self, secrets, method):
        made = Pgweir(self.postgres, pool={"minconn": 0}, auth={"method": method})
        made.settings["users"].update({role: {"password": secret} for role, secret in secrets.items()})
        made.write_config()
        made.start()
        self.addCleanup(made.close)
        return made

    def let_in(self, where, role, password):
        try:
            psycopg2.connect(host="127.0.0.1", port=where.port, user=role, password=password,
                             dbname=DATABASE, connect_timeout=30).close()
            return True
        except psycopg2.OperationalError as error:
            self.assertIn("password authentication failed", str(error))
            return False

    @staticmethod
    def verifier(password):
        return subprocess.run([surroundings.BINARY, "passwd"], input=password + "\n", check=True,
                              capture_output=True, text=True).stdout.strip()

    def test_who_gets_in_is_who_postgresql_lets_in(self):
        self.judges(self.postgres, "PostgreSQL itself")
        for how, secrets, method in (("as told, by SCRAM", self.told, "scram-sha-256"),
                                     ("as stored, by SCRAM", self.stored, "scram-sha-256"),
                                     ("as stored, in clear text", self.stored, "password")):
            pooler = self.pgweir(secrets, method)
            self.judges(pooler, how)
            pooler.close()  # and the servers with it: PostgreSQL has not enough for all at once

    def judges(self, where, how):
        for role, both in self.roles.items():
            for password in filter(None, both):
                with self.subTest(how=how, role=role, password=both, given=password):
                    self.assertEqual(both not in OTHERS or password == both[0], self.let_in(where, role, password))


if __name__ == "__main__":
    unittest.main()
