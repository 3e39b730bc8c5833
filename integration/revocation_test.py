"""Certificates that their authority has taken back: clients' (tls.crl) and servers' (sslcrl), the same as with
PostgreSQL's ssl_crl_file and libpq's sslcrl."""

import json
import os
import shutil
import subprocess
import unittest

from integration.support import surroundings
from integration.support.certificates import Authority, postgres_with_tls
from integration.support.pgweir import ADMIN, Pgweir, users
from integration.support.postgres import DATABASE, HBA, OWNER, QUERY_USER
from integration.support.waiting import wait_for


def shown(authority, name):
    return dict(zip(("sslcert", "sslkey"), authority.sign(name, OWNER)), sslmode="require")


class ClientsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.certificate, cls.key = cls.authority.sign("pgweir", "localhost", "DNS:localhost")
        cls.good, cls.bad = (shown(cls.authority, name) for name in ("good", "bad"))
        cls.lists = {
            "nobody": (cls.authority.revocation_list(name="nobody"), True, True),
            "bad": (cls.authority.revocation_list(cls.bad["sslcert"], name="bad"), True, False),
            "both": (cls.authority.revocation_list(cls.bad["sslcert"], cls.good["sslcert"], name="both"), False, False),
            "run out": (cls.authority.revocation_list(name="old", run_out=True), False, False),
            "another's": (Authority("another").revocation_list(), False, False)}

    def pgweir(self, postgres, crl):
        made = Pgweir(postgres, tls={"certificate": self.certificate, "key": self.key, "ca": self.authority.certificate,
                                     "crl": crl}, auth={"hba": ["hostssl all all all cert"]})
        self.addCleanup(made.close)
        return made.start()

    def test_who_gets_in_gets_in_at_postgresql(self):
        rule = "hostssl all all all cert\n"
        postgres = postgres_with_tls(self.authority, hba=rule + HBA, ssl_crl_file="root.crl")
        self.addCleanup(postgres.close)
        for name, (path, good, bad) in self.lists.items():
            with self.subTest(name):
                target = os.path.join(postgres.data, "root.crl")
                shutil.copy(path, target)
                os.chmod(target, 0o644)
                postgres.start()
                pooler = self.pgweir(postgres, path)
                for certificate, expected in ((self.good, good), (self.bad, bad)):
                    self.assertEqual(expected, pooler.lets_in(port=postgres.port, **certificate))
                    self.assertEqual(expected, pooler.lets_in(**certificate))
                pooler.close()
                postgres.stop()

    def test_a_reload_takes_a_new_list_and_leaves_who_is_there(self):
        postgres = postgres_with_tls(self.authority).start()
        self.addCleanup(postgres.close)
        path = self.authority.path("present.crl")
        shutil.copy(self.lists["nobody"][0], path)
        pooler = self.pgweir(postgres, path)
        there = pooler.connect(**self.bad)
        shutil.copy(self.lists["bad"][0], path)
        pooler.reload()
        wait_for(lambda: not pooler.lets_in(**self.bad), "it is taken back", 20)
        self.assertTrue(pooler.lets_in(**self.good))
        there.cursor().execute("select 1")
        # What is no list is refused whole, and said.
        shutil.copy(self.authority.certificate, path)
        pooler.reload()
        wait_for(lambda: "present.crl: the revocation lists cannot be used" in pooler.log(), "it is said", 20)
        self.assertTrue(pooler.lets_in(**self.good))
        self.assertFalse(pooler.lets_in(**self.bad))


class ServersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.postgres = postgres_with_tls(cls.authority).start()
        cls.addClassCleanup(cls.postgres.close)
        cls.postgres.query("create role %s login password 'pgweir-secret'" % QUERY_USER)
        cls.postgres.install_user_lookup()
        cls.own = cls.authority.path("postgres.crt")

    def pgweir(self, crl, **auth):
        made = Pgweir(self.postgres, databases={DATABASE: {
            "host": "localhost", "sslmode": "verify-full", "sslrootcert": self.authority.certificate, "sslcrl": crl}},
            auth=auth, pool={"wait_timeout": "1s"})
        if auth:
            made.settings["users"] = users(QUERY_USER, ADMIN)
            made.write_config()
        self.addCleanup(made.close)
        return made.start()

    def test_a_server_whose_certificate_is_taken_back_is_not_believed(self):
        for name, revoked in (("nobody", ()), ("it", (self.own,))):
            with self.subTest(name):
                crl = self.authority.revocation_list(*revoked, name=name)
                pooler = self.pgweir(crl)
                by_libpq = pooler.lets_in(host="localhost", port=self.postgres.port, sslmode="verify-full",
                                   sslrootcert=self.authority.certificate, sslcrl=crl)
                self.assertEqual(not revoked, by_libpq)
                self.assertEqual(by_libpq, pooler.lets_in())
                if revoked:
                    wait_for(lambda: "certificate revoked" in pooler.log(), "it is said", 20)

    def test_nor_is_it_asked_for_users(self):
        crl = self.authority.revocation_list(self.own, name="asked")
        pooler = self.pgweir(crl, query_user=QUERY_USER)
        self.assertFalse(pooler.lets_in())
        wait_for(lambda: "certificate verify failed" in pooler.log(), "it is said", 20)
        self.assertTrue(self.pgweir(self.authority.revocation_list(name="free"), query_user=QUERY_USER).lets_in())


class CheckTest(unittest.TestCase):
    def test_lists_that_nobody_would_look_at(self):
        for settings, told, status in (
                ({"tls": {"crl": "x.crl"}}, "tls.crl needs tls.ca", 1),
                ({"databases": {"shop": {"sslcrl": "x.crl"}}},
                 "databases.shop.sslcrl is not looked at: this sslmode checks no certificate (warning)", 0)):
            with self.subTest(told):
                path = os.path.join(surroundings.temporary_directory("check"), "pgweir.yaml")
                with open(path, "w", encoding="ascii") as file:
                    json.dump(dict({"databases": {"shop": {}}, "auth": {"method": "trust"}}, **settings), file)
                done = subprocess.run([surroundings.BINARY, "check", "--config", path], capture_output=True, text=True,
                                      check=False)
                self.assertEqual(status, done.returncode)
                self.assertIn(told, done.stderr)


if __name__ == "__main__":
    unittest.main()
