"""A server whose host is localhost, reached by its Unix socket: PostgreSQL listens nowhere else."""

import os
import stat
import subprocess
import unittest

import psycopg2

from integration.support import surroundings
from integration.support.peers import assert_can_be_cancelled, assert_hears_itself
from integration.support.pgweir import ADMIN, Pgweir, users
from integration.support.postgres import DATABASE, OWNER, QUERY_USER, Postgres
from integration.support.waiting import wait_for

SOCKETS = ("select count(*) filter (where client_addr is null)::int, count(client_addr)::int"
           " from pg_stat_activity where usename = %s")


class UnixSocketTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(listen_addresses="").start()
        cls.addClassCleanup(cls.postgres.close)
        cls.postgres.query("create role %s login password 'pgweir-secret'" % QUERY_USER)
        cls.postgres.install_user_lookup()

    def pgweir(self, auth=None, **database):
        database = dict({"host": "localhost", "unix_socket_directory": self.postgres.directory}, **database)
        made = Pgweir(self.postgres, databases={DATABASE: database}, auth=auth or {})
        if auth:
            made.settings["users"] = users(QUERY_USER, ADMIN)
            made.write_config()
        made.start()
        self.addCleanup(made.close)
        return made

    def test_the_socket_is_where_it_is_said_to_be(self):
        path = os.path.join(self.postgres.directory, ".s.PGSQL.%d" % self.postgres.port)
        self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))

    def test_in_whatever_case_and_whatever_is_said_of_tls(self):
        for options in ({}, {"host": "LocalHost"}, {"sslmode": "disable"}, {"sslmode": "require"},
                        {"sslmode": "require", "sslnegotiation": "direct"}):
            with self.subTest(**options):
                pooler = self.pgweir(**options)
                self.assertEqual([(None,)], pooler.query("select inet_client_addr()"))
                self.assertIn(self.postgres.directory, [row["host"] for row in pooler.console("show databases")])

    def test_without_it_or_with_another_host_there_is_no_way(self):
        for options in ({"unix_socket_directory": None}, {"host": "127.0.0.1"}):
            with self.subTest(**options):
                pooler = self.pgweir(**options)
                with self.assertRaises(psycopg2.Error):
                    pooler.query("select 1")

    def test_a_cancel_request_takes_the_same_way(self):
        assert_can_be_cancelled(self.pgweir().connect(), self.postgres)

    def test_and_the_connection_that_listens(self):
        pooler = self.pgweir()
        listener = pooler.connect()
        listener.autocommit = True
        assert_hears_itself(listener)
        # Until this one does, the client has its own server listen.
        wait_for(lambda: self.postgres.query("select 1 from pg_stat_activity where query ilike 'listen %'"),
                 "one listens for all", 20)

    def test_and_the_one_that_asks_for_users(self):
        pooler = self.pgweir(auth={"query_user": QUERY_USER}, host="LOCALHOST")
        self.assertEqual([(OWNER,)], pooler.query("select current_user::text"))
        self.assertEqual([(1, 0)], self.postgres.query(SOCKETS, QUERY_USER))

    def test_a_reload_turns_to_the_socket(self):
        pooler = self.pgweir(unix_socket_directory=None)
        with self.assertRaises(psycopg2.Error):
            pooler.query("select 1")
        pooler.reload(databases={DATABASE: {"unix_socket_directory": self.postgres.directory}})
        wait_for(lambda: "databases.%s.unix_socket_directory: (none) -> " % DATABASE in pooler.log(), "reloaded", 20)
        self.assertEqual([(None,)], pooler.query("select inet_client_addr()"))


class CheckTest(unittest.TestCase):
    def check(self, directory):
        folder = surroundings.temporary_directory("check")
        path = os.path.join(folder, "pgweir.yaml")
        with open(path, "w", encoding="ascii") as file:
            file.write("databases:\n  shop:\n    host: localhost\n    unix_socket_directory: %s\n"
                       "users: { app: { password: x } }\n" % directory)
        os.chmod(path, 0o600)
        return subprocess.run([surroundings.BINARY, "check", "--config", path], capture_output=True, text=True,
                              check=False)

    def test_what_cannot_be_one_is_told_with_line_and_column(self):
        self.assertEqual(0, self.check("/run/postgresql").returncode)
        for directory, why in (("run", "must be the absolute path of a directory"),
                               ("/" + "d" * 92, "must not be longer than 92 bytes")):
            done = self.check(directory)
            self.assertEqual(1, done.returncode)
            self.assertIn("pgweir.yaml:4:28: databases.shop.unix_socket_directory " + why, done.stderr)


if __name__ == "__main__":
    unittest.main()
