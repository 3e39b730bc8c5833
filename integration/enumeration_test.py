"""Who exists and who does not: what SCRAM shows of a user before any proof (salt and iterations) is
shown of a stranger as well, now, after a restart, and by another pgweir behind the same address."""

import base64
import hashlib
import hmac
import os
import subprocess
import unittest

from integration.support import surroundings, wire
from integration.support.case import only_pgweir, shared_postgres
from integration.support.certificates import Authority
from integration.support.login_matrix import SASL_INITIAL
from integration.support.pgweir import ADMIN, Pgweir, users
from integration.support.postgres import DATABASE, OWNER, password_of
from integration.support.waiting import wait_for

SECRET, ANOTHER = "a-secret-of-this-test-alone", "another-secret-of-this-test"


def verifier(password, iterations, salt_bytes=16):
    salt = os.urandom(salt_bytes)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = [base64.b64encode(each).decode() for each in (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))]
    return "SCRAM-SHA-256$%d:%s$%s:%s" % (iterations, *parts)


def shown_of(pooler, user):
    """(salt, iterations) that anybody is shown who says that name."""
    with wire.Wire(pooler.host, pooler.port) as raw:
        raw.send(wire.startup(user=user, database=DATABASE))
        assert raw.read_message()[0] == "R"
        raw.send(SASL_INITIAL)
        kind, body = raw.read_message()
        assert kind == "R", body
        fields = dict(field.split("=", 1) for field in body[4:].decode().split(","))
        return base64.b64decode(fields["s"]), int(fields["i"])


def shape_of(pooler, user):
    salt, iterations = shown_of(pooler, user)
    return len(salt), iterations


class EnumerationCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = shared_postgres()

    def pgweir(self, **settings):
        made = Pgweir(self.postgres, pool={"minconn": 0}, **settings)
        self.addCleanup(made.close)
        return made.start()


@only_pgweir
class ShapeTest(EnumerationCase):
    def test_a_stranger_has_as_many_iterations_as_most_users(self):
        def listed(**iterations):
            return dict(users(ADMIN), **{name: {"password": verifier(password_of(name), count)}
                                         for name, count in iterations.items()})
        pooler = self.pgweir(console={"stats_users": [OWNER]}, users=dict(
            listed(fitness=20_000, scram_user=20_000, old=4096), **users("plain")))
        for user in ("nobody", "somebody", "plain", ADMIN, "fitness", "scram_user"):
            self.assertEqual((16, 20_000), shape_of(pooler, user), user)
        for user in (OWNER, ADMIN):  # the one by a verifier, the other by a password that is listed as it is
            pooler.query("show version", user=user, database="pgbouncer")
        pooler.settings["users"] = listed(fitness=20_000, scram_user=4096, old=4096)
        pooler.reload()
        wait_for(lambda: shape_of(pooler, "nobody") == (16, 4096), "others are more now", 20)

    def test_a_longer_salt(self):
        pooler = self.pgweir(users={OWNER: {"password": verifier(password_of(OWNER), 5000, 40)}})
        self.assertEqual([(40, 5000)] * 2, [shape_of(pooler, user) for user in (OWNER, "nobody")])

    def test_users_that_are_looked_up_count_as_well(self):
        for name, iterations in (("many", 20_000), ("more", 20_000), ("few", 4096)):
            self.postgres.query("create role %s login password '%s'" % (name, verifier(password_of(name), iterations)))
        self.postgres.query("create role asking login superuser password '%s'" % password_of("asking"))
        pooler = self.pgweir(workers=2, users=users("asking", ADMIN), auth={
            "query_user": "asking", "query": "select rolname, rolpassword from pg_authid where rolname = $1"})
        for user, iterations in (("many", 20_000), ("few", 4096), ("more", 20_000)):
            self.assertEqual((16, iterations), shape_of(pooler, user))
        # On whichever worker.
        self.assertEqual([(16, 20_000)] * 8, [shape_of(pooler, "nobody%d" % number) for number in range(8)])
        self.postgres.query("alter role many password '%s'" % verifier(password_of("many"), 4096))
        pooler.reload()  # what was looked up before is asked for again
        wait_for(lambda: shape_of(pooler, "many") == (16, 4096), "the new verifier is known", 20)
        self.assertEqual((16, 4096), shape_of(pooler, "nobody"))
        pooler.query("select 1", user="many")


@only_pgweir
class SaltTest(EnumerationCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        authority = Authority()
        cls.tls, cls.other_tls = (dict(zip(("certificate", "key"), authority.sign(name, "localhost", "DNS:localhost")))
                                  for name in ("one", "other"))

    def salts(self, pooler):
        made = [shown_of(pooler, user)[0] for user in ("nobody", "somebody", "nobody2")]
        self.assertEqual(3, len(set(made)), "every name has a salt of its own")
        self.assertEqual(made[0], shown_of(pooler, "nobody")[0])
        return made

    def after_a_restart(self, pooler):
        pooler.stop()
        pooler.start()
        return self.salts(pooler)

    def test_with_a_tls_key_they_last(self):
        pooler = self.pgweir(tls=self.tls)
        before = self.salts(pooler)
        self.assertEqual(before, self.after_a_restart(pooler))
        self.assertEqual(before, self.salts(self.pgweir(tls=self.tls)), "another pgweir with this key")
        self.assertNotEqual(before, self.salts(self.pgweir(tls=self.other_tls)))
        pooler.reload(tls=self.other_tls)
        wait_for(lambda: shown_of(pooler, "nobody")[0] != before[0], "the new key counts", 20)

    def test_with_a_secret_they_last(self):
        pooler = self.pgweir(auth={"mock_secret": SECRET})
        before = self.salts(pooler)
        self.assertEqual(before, self.after_a_restart(pooler))
        self.assertEqual(before, self.salts(self.pgweir(auth={"mock_secret": SECRET})), "another pgweir with it")
        self.assertEqual(before, self.salts(self.pgweir(auth={"mock_secret": SECRET}, tls=self.tls)),
                         "it counts before the key")
        pooler.reload(auth={"mock_secret": ANOTHER})
        wait_for(lambda: shown_of(pooler, "nobody")[0] != before[0], "the new secret counts", 20)
        after = self.salts(pooler)
        self.assertEqual(after, self.after_a_restart(pooler))

    def test_with_neither_they_are_those_of_the_process(self):
        pooler = self.pgweir()
        before = self.salts(pooler)
        pooler.reload(log={"level": "debug"})
        wait_for(lambda: "reloaded" in pooler.log(), "the reload is done", 20)
        self.assertEqual(before, self.salts(pooler))
        self.assertNotEqual(before, self.salts(self.pgweir()))
        self.assertNotEqual(before, self.after_a_restart(pooler))

    def test_nobody_is_told_the_secret(self):
        pooler = self.pgweir(auth={"mock_secret": SECRET}, log={"level": "debug"})
        check = subprocess.run([surroundings.BINARY, "check", "--config", pooler.config_path], check=True,
                               capture_output=True, text=True)
        self.assertNotIn(SECRET, check.stdout + check.stderr)
        pooler.reload(auth={"mock_secret": "too-short"})
        wait_for(lambda: "reload refused" in pooler.log(), "the reload is refused", 20)
        self.assertIn("auth.mock_secret must have at least 16 bytes", pooler.log())
        self.assertEqual({"***"}, {row["value"] for row in pooler.console("show config")
                                   if row["key"] == "auth.mock_secret"})
        pooler.reload(auth={"mock_secret": ANOTHER})
        wait_for(lambda: "auth.mock_secret: changed" in pooler.log(), "it is told that it has changed", 20)
        for secret in (SECRET, ANOTHER, "too-short"):
            self.assertNotIn(secret, pooler.log())


if __name__ == "__main__":
    unittest.main()
