"""The console: database `pgbouncer` on the same port, with the columns that existing tools expect, and with
its privileges."""

import os
import subprocess
import unittest

import psycopg2

from integration.support import surroundings, wire
from integration.support.case import PoolerCase, new_pooler, only_pgweir
from integration.support.pgweir import ADMIN, users
from integration.support.postgres import DATABASE, OWNER, password_of
from integration.support.waiting import wait_for

TYPES = {23: "int4", 20: "int8", 25: "text", 1700: "numeric", 17: "bytea"}


def golden_columns():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "console_columns.golden")
    with open(path, encoding="ascii") as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return {words[0]: words[1:] for words in lines}


@only_pgweir
class ConsoleTest(PoolerCase):
    settings = {"console": {"admin_users": [ADMIN], "stats_users": ["md5_user"]},
                "users": users("md5_user", "scram_user"), "pool": {"minconn": 1, "maxconn": 7}}

    def console_connection(self, user=ADMIN, database="pgbouncer"):
        return self.connect_autocommit(user=user, database=database)

    def show(self, what, user=ADMIN):
        return self.pooler.console("SHOW " + what, user=user)

    # Shapes --------------------------------------------------------------------------------------

    def test_columns_are_the_golden_ones(self):
        console = self.console_connection()
        for name, expected in golden_columns().items():
            with self.subTest(name=name), console.cursor() as cursor:
                cursor.execute("SHOW " + name)
                self.assertEqual(expected, ["%s:%s" % (c.name, TYPES.get(c.type_code, c.type_code))
                                            for c in cursor.description])
                self.assertEqual("SHOW", cursor.statusmessage.split()[0])
                cursor.fetchall()

    def test_spellings(self):
        for spelling in ("SHOW VERSION", "show version;", "  Show  Version ; ", 'SHOW "version"'):
            with self.subTest(spelling=spelling):
                self.assertIn("pgweir", self.pooler.console(spelling)[0]["version"].lower())

    def test_both_database_names(self):
        for database in ("pgbouncer", "pgweir"):
            with self.subTest(database=database):
                self.rows(self.console_connection(database=database), "SHOW POOLS")

    def test_psql_and_the_questions_of_drivers(self):
        console = self.console_connection()
        self.assertEqual("UTF8", self.value(console, "SHOW client_encoding"))

    # Contents ------------------------------------------------------------------------------------

    def test_pools_clients_servers_and_leases_tell_the_same_story(self):
        holder = self.connect(application_name="front desk")
        pid = self.value(holder, "select pg_backend_pid()")
        self.connect_autocommit(application_name="idle one")
        pool = [row for row in self.show("POOLS") if row["database"] == DATABASE][0]
        # As in PgBouncer, an idle client counts as active: it waits for nothing.
        self.assertEqual((OWNER, 2, 0, 1, "transaction"), (
            pool["user"], pool["cl_active"], pool["cl_waiting"], pool["sv_active"],
            pool["pool_mode"]))
        clients = {row["application_name"]: row for row in self.show("CLIENTS")}
        self.assertEqual("active", clients["front desk"]["state"])
        self.assertIn("idle one", clients)
        servers = {row["remote_pid"]: row for row in self.show("SERVERS")}
        self.assertEqual("active", servers[pid]["state"])
        self.assertEqual(servers[pid]["ptr"], clients["front desk"]["link"])
        self.assertEqual(self.postgres.port, servers[pid]["port"])
        leases = self.show("LEASES")
        self.assertEqual(1, len(leases), leases)
        self.assertIn("front desk", [str(value) for value in leases[0].values()])
        self.assertIn("idle in transaction", [str(value) for value in leases[0].values()])
        holder.rollback()
        wait_for(lambda: not self.show("LEASES"), "the lease has ended")

    def test_stats_count(self):
        def transactions():
            return sum(int(row["total_xact_count"]) for row in self.show("STATS")
                       if row["database"] == DATABASE)
        before = transactions()
        client = self.connect_autocommit()
        for _ in range(10):
            self.rows(client, "select 1")
        wait_for(lambda: transactions() >= before + 10, "ten more are counted")

    def test_databases(self):
        rows = {row["name"]: row for row in self.show("DATABASES")}
        own = rows[DATABASE]
        self.assertEqual((self.postgres.host, self.postgres.port, DATABASE, 7, 1, 0),
                         (own["host"], own["port"], own["database"], own["pool_size"],
                          own["min_pool_size"], own["paused"]))

    def test_config_shows_values_defaults_and_no_secret(self):
        rows = {row["key"]: row for row in self.show("CONFIG")}
        self.assertEqual(("7", "50"), (rows["pool.maxconn"]["value"], rows["pool.maxconn"]["default"]))
        self.assertNotIn("-secret", repr(rows))

    # Privileges ----------------------------------------------------------------------------------

    def test_privileges(self):
        refused = ("42501", "28000", "28P01")
        for user, command, allowed in ((ADMIN, "SHOW POOLS", True), (ADMIN, "RELOAD", True),
                                       ("md5_user", "SHOW POOLS", True), ("md5_user", "RELOAD", False),
                                       ("md5_user", "SHUTDOWN", False), ("md5_user", "SHOW LEASES", True)):
            with self.subTest(user=user, command=command):
                console = self.console_connection(user=user)
                if allowed:
                    self.rows(console, command)
                else:
                    with self.assertRaises(psycopg2.Error) as raised:
                        self.rows(console, command)
                    self.assertIn(raised.exception.pgcode, refused)
        with self.assertRaises(psycopg2.OperationalError):
            self.console_connection(user="scram_user")

    def test_an_error_does_not_end_the_session(self):
        console = self.console_connection()
        for command in ("SHOW nonsense_of_all_kinds", "FROBNICATE", "SELECT 1 FROM x"):
            with self.subTest(command=command):
                with self.assertRaises(psycopg2.Error):
                    self.rows(console, command)
                self.rows(console, "SHOW POOLS")

    def test_the_extended_protocol_is_refused_and_the_daemon_lives(self):
        pooler = new_pooler(self.postgres, auth={"method": "trust"}).start()
        self.addCleanup(pooler.close)
        with wire.Wire(pooler.host, pooler.port) as raw:
            raw.log_in("", user=ADMIN, database="pgbouncer")
            raw.send(wire.parse("SHOW POOLS"), wire.bind(), wire.execute(), wire.SYNC)
            self.assertIn("E", [kind for kind, _ in raw.read_to_end_or("Z")])
        self.assertEqual([(1,)], pooler.query("select 1"))

    def test_reload_with_a_bad_file_is_an_error(self):
        good = self.pooler.settings
        try:
            self.pooler.write_config("pool: { maxcon: 1 }\n")
            with self.assertRaises(psycopg2.Error) as raised:
                self.pooler.console("RELOAD")
            self.assertEqual("F0000", raised.exception.pgcode)
        finally:
            self.pooler.settings = good
            self.pooler.write_config()
        self.pooler.console("RELOAD")

    def test_the_console_is_there_while_the_pool_is_exhausted(self):
        holders = [self.connect() for _ in range(7)]
        for holder in holders:
            self.rows(holder, "select 1")
        self.assertEqual(7, len(self.show("LEASES")))
        for holder in holders:
            holder.rollback()


@only_pgweir
class ShowCommandTest(PoolerCase):
    """`pgweir show`, which is a client of the console."""

    settings = {"console": {"admin_users": [ADMIN], "stats_users": ["md5_user"]}, "users": users("md5_user")}

    def run_show(self, *words, config=True, password=password_of(ADMIN)):
        arguments = ["--config", self.pooler.config_path] if config else []
        return subprocess.run(
            [surroundings.BINARY, "show", *words, *arguments], capture_output=True, text=True, timeout=60,
            env=dict(os.environ, PGPASSWORD=password, PGPASSFILE="/dev/null"))

    def test_prints_the_table(self):
        told = self.run_show("version")
        self.assertEqual((0, ""), (told.returncode, told.stderr))
        lines = told.stdout.splitlines()
        self.assertEqual("version", lines[0].strip())
        self.assertIn("pgweir", lines[2])
        self.assertEqual("(1 row)", lines[3].strip())

    def test_several_words_and_another_user(self):
        told = self.run_show("pools", "--user", "md5_user", password=password_of("md5_user"))
        self.assertEqual((0, ""), (told.returncode, told.stderr))
        self.assertIn("cl_waiting", told.stdout)
        told = self.run_show("help")
        self.assertEqual(0, told.returncode)
        self.assertIn("SHOW PINS", told.stderr)

    def test_without_a_configuration(self):
        told = self.run_show("lists", "--host", self.pooler.host, "--port", str(self.pooler.port),
                             "--user", ADMIN, config=False)
        self.assertEqual((0, ""), (told.returncode, told.stderr))
        self.assertIn("used_clients", told.stdout)

    def test_errors(self):
        for words, password, says in ((("nonsense",), password_of(ADMIN), "nonsense"),
                                      (("pools",), "wrong", "password authentication failed"),
                                      (("pools", "--user", OWNER), password_of(OWNER), "")):
            with self.subTest(words=words):
                told = self.run_show(*words, password=password)
                self.assertEqual((1, ""), (told.returncode, told.stdout))
                self.assertIn("pgweir show: ", told.stderr)
                self.assertIn(says, told.stderr)
        told = self.run_show("pools", "--config", "/nonexistent/pgweir.yaml", config=False)
        self.assertEqual(1, told.returncode)
        self.assertIn("/nonexistent/pgweir.yaml", told.stderr)


@only_pgweir
class ShutdownTest(PoolerCase):
    def test_shutdown_ends_the_daemon(self):
        console = self.connect_autocommit(user=ADMIN, database="pgbouncer")
        try:
            self.rows(console, "SHUTDOWN")
        except psycopg2.OperationalError:
            pass  # it may be gone before it has answered
        wait_for(lambda: self.pooler.process.poll() is not None, "it has ended")
        self.assertEqual(0, self.pooler.process.returncode)


if __name__ == "__main__":
    unittest.main()
