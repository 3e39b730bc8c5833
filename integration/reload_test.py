"""SIGHUP: the file is checked whole, then bounds, time-outs and users change while everybody stays
connected; a bad file changes nothing and is reported."""

import os
import signal
import subprocess
import unittest

import psycopg2

from integration.support import surroundings, wire
from integration.support.case import PoolerCase, new_pooler, only_pgweir, shared_postgres
from integration.support.certificates import Authority
from integration.support.pgweir import users
from integration.support.postgres import DATABASE, OWNER, password_of
from integration.support.waiting import Stopwatch, wait_for


@only_pgweir
class ReloadTest(PoolerCase):
    settings = {"pool": {"minconn": 1, "maxconn": 2, "wait_timeout": "1s", "idle_timeout": "1s"}}

    @classmethod
    def setUpClass(cls):
        cls.postgres = shared_postgres()

    def setUp(self):
        self.pooler = new_pooler(self.postgres, **self.settings).start()
        self.addCleanup(self.pooler.close)

    def reload(self, **settings):
        before = self.pooler.metric("pgweir_config_reloads_total")
        self.pooler.reload(**settings)
        wait_for(lambda: self.pooler.metric("pgweir_config_reloads_total") == before + 1,
                 lambda: "the reload is done:\n" + self.pooler.log()[-2000:])

    def hold(self, count):
        holders = [self.connect() for _ in range(count)]
        for holder in holders:
            self.rows(holder, "select 1")
        return holders

    def test_a_higher_maxconn_serves_more_at_once(self):
        stays = self.connect_autocommit()
        self.rows(stays, "select 1")
        self.hold(2)
        with self.fails_with("53300"):
            self.rows(stays, "select 1")
        self.reload(pool={"maxconn": 3})
        self.assertEqual(1, self.value(stays, "select 1"))
        self.assertEqual(3, self.pooler.metric("pgweir_pool_maxconn", user=OWNER))

    def test_a_lowered_maxconn_closes_what_comes_back(self):
        self.reload(pool={"maxconn": 4})
        holders = self.hold(4)
        self.reload(pool={"maxconn": 2})
        self.assertEqual(4, len(self.postgres.backends()))
        for holder in holders:
            self.assertEqual(1, self.value(holder, "select 1"))  # nobody is cut off
            holder.rollback()
        wait_for(lambda: len(self.postgres.backends()) <= 2, "the surplus is closed")
        for holder in holders:
            self.assertEqual(1, self.value(holder, "select 1"))
            holder.rollback()

    def test_a_higher_minconn_is_filled_at_once(self):
        self.pooler.query("select 1")
        self.reload(pool={"minconn": 5, "maxconn": 6})
        wait_for(lambda: len(self.postgres.backends()) == 5, "minconn are open", 3)
        self.reload(pool={"minconn": 1})
        wait_for(lambda: len(self.postgres.backends()) == 1, "the pool has shrunk", 10)

    def test_a_shorter_login_timeout_counts_for_the_next_one(self):
        self.reload(auth={"login_timeout": "60s"})
        with wire.Wire(self.pooler.host, self.pooler.port) as early:
            wait_for(lambda: self.pooler.metric("pgweir_clients") == 1, "it has come")
            self.reload(auth={"login_timeout": "300ms"})
            with wire.Wire(self.pooler.host, self.pooler.port) as silent, Stopwatch() as watch:
                silent.read_to_end()
            self.assertLess(watch.seconds, 20)
            early.send(wire.startup(user=OWNER, database=DATABASE))
            self.assertEqual("R", early.read_message()[0])

    def test_users_come_and_go(self):
        with self.assertRaises(psycopg2.OperationalError):
            self.pooler.query("select 1", password="a new one")
        client = self.connect_autocommit()
        self.rows(client, "select 1")
        self.reload(users=users("trust_user", "md5_user"))
        for role in ("trust_user", "md5_user"):
            self.assertEqual([(1,)], self.pooler.query("select 1", user=role))
        self.reload(users={"trust_user": {"password": "a new one"}, "md5_user": None})
        self.assertEqual([(1,)], self.pooler.query("select 1", user="trust_user",
                                                   password="a new one"))
        for gone in ("trust_user", "md5_user"):
            with self.assertRaises(psycopg2.OperationalError):
                self.pooler.query("select 1", user=gone, password=password_of(gone))
        self.assertEqual(1, self.value(client, "select 1"))

    def test_a_bad_file_changes_nothing(self):
        client = self.connect_autocommit()
        self.rows(client, "select 1")
        secret = "s3cret-in-a-bad-file"
        for text, told in (
                ("pool: { maxcon: 7 }\n", "did you mean"),
                ("pool: { maxconn: many }\nusers: { x: { password: %s } }\n" % secret, "maxconn"),
                ("pool: [ not closed\n", "pgweir.yaml:1"),
                ("", "")):
            with self.subTest(text=text):
                before = self.pooler.metric("pgweir_config_reload_failures_total") or 0
                self.pooler.write_config(text)
                self.pooler.process.send_signal(signal.SIGHUP)
                wait_for(lambda b=before: self.pooler.metric(
                    "pgweir_config_reload_failures_total") == b + 1, "the reload is refused")
                wait_for(lambda t=told: t in self.pooler.log(), "the log says why")
                self.assertEqual(0, self.pooler.metric("pgweir_config_last_reload_successful"))
                self.assertEqual(2, self.pooler.metric("pgweir_pool_maxconn", user=OWNER))
                self.assertEqual(1, self.value(client, "select 1"))
                self.assertEqual([(1,)], self.pooler.query("select 1"))
        self.assertNotIn(secret, self.pooler.log())
        self.reload(pool={"maxconn": 3})
        self.assertEqual(1, self.pooler.metric("pgweir_config_last_reload_successful"))

    def test_a_directory_where_a_certificate_should_be(self):
        client = self.connect_autocommit()
        authority = Authority()
        certificate, key = authority.sign("pgweir", "localhost", "DNS:localhost")
        for name, settings in (
                ("tls.ca", {"tls": {"certificate": certificate, "key": key, "ca": authority.directory}}),
                ("sslcert", {"databases": {DATABASE: {"sslmode": "require", "sslkey": key,
                                                      "sslcert": authority.directory}}})):
            with self.subTest(name=name):
                before = self.pooler.metric("pgweir_config_reload_failures_total") or 0
                good = self.pooler.settings
                self.pooler.reload(**settings)
                self.pooler.settings = good
                wait_for(lambda b=before: self.pooler.metric(
                    "pgweir_config_reload_failures_total") == b + 1, "the reload is refused")
                wait_for(lambda: authority.directory + ": " in self.pooler.log(), "it is said", 20)
                self.assertEqual(1, self.value(client, "select 1"))
                checked = subprocess.run(
                    [surroundings.BINARY, "check", "--config", self.pooler.config_path],
                    capture_output=True, text=True, check=False, timeout=60)
                self.assertEqual(1, checked.returncode)
                self.assertIn(authority.directory + ": ", checked.stderr)
        self.reload()

    def test_others_are_served_while_a_long_file_is_read(self):
        path = os.path.join(self.pooler.directory, "userlist.txt")
        with open(path, "w", encoding="ascii") as file:
            os.chmod(path, 0o600)
            file.writelines('"user%d" "password"\n' % i for i in range(100_000))
        before = self.pooler.metric("pgweir_config_reloads_total")
        self.pooler.reload(auth={"userlist": "userlist.txt"})
        served = 0
        while self.pooler.metric("pgweir_config_reloads_total") == before:
            self.assertNotIn("reload refused", self.pooler.log())
            self.assertEqual([(1,)], self.pooler.query("select 1"))
            served += 1
        self.assertGreater(served, 3)
        # One more that is asked for meanwhile is not forgotten: the file has changed since.
        self.pooler.reload()
        self.pooler.reload(pool={"maxconn": 7})
        wait_for(lambda: self.pooler.metric("pgweir_pool_maxconn", user=OWNER) == 7,
                 "what was written while the other was read counts", 30)
        self.pooler.reload()
        self.pooler.reload(pool={"maxconn": 8})
        self.pooler.console("RELOAD")  # answers when that file is the one that counts
        self.assertEqual(8, self.pooler.metric("pgweir_pool_maxconn", user=OWNER))
        self.pooler.reload()
        self.assertEqual(0, self.pooler.stop())  # whatever is being read

    def test_many_reloads_under_load(self):
        clients = [self.connect_autocommit() for _ in range(5)]
        for i in range(30):
            self.reload(pool={"maxconn": 1 + i % 5, "minconn": i % 2})
            for client in clients:
                self.assertEqual(i, self.value(client, "select %s", i))


if __name__ == "__main__":
    unittest.main()
