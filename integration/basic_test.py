"""What an unchanged application does all day, through the pooler: psql, COPY, errors, many statements,
big results, pgbench; and that a session looks as it does without a pooler."""

import io
import os
import subprocess
import tempfile
import unittest

import psycopg2

from integration.support.case import PoolerCase, only_pgweir
from integration.support.postgres import DATABASE, OWNER, POSTGRES_BIN, password_of
from integration.support.waiting import wait_for


def run_client(pooler, program, *arguments, stdin=None, timeout=60):
    """psql or pgbench through the pooler."""
    environment = dict(os.environ, PGPASSWORD=password_of(OWNER), PGHOST=pooler.host,
                       PGPORT=str(pooler.port), PGUSER=OWNER, PGDATABASE=DATABASE, LC_ALL="C",
                       HOME="/nonexistent", PGCONNECT_TIMEOUT="20")
    return subprocess.run([os.path.join(POSTGRES_BIN, program), *arguments], input=stdin,
                          env=environment, capture_output=True, text=True, timeout=timeout,
                          check=False)


class PsqlTest(PoolerCase):
    def psql(self, *arguments, **options):
        return run_client(self.pooler, "psql", "-X", "-A", "-t", *arguments, **options)

    def test_a_query(self):
        done = self.psql("-c", "select 6 * 7")
        self.assertEqual((0, "42\n", ""), (done.returncode, done.stdout, done.stderr))

    def test_describing_a_table(self):
        self.postgres.query("create table if not exists members (id int primary key, name text)",
                            database=DATABASE)
        done = self.psql("-c", r"\d members")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("id|integer||not null|", done.stdout)

    def test_an_error_does_not_end_the_session(self):
        done = self.psql(stdin="select 1/0;\nselect 'after';\n")
        self.assertEqual("after\n", done.stdout)
        self.assertIn("division by zero", done.stderr)

    def test_many_statements_in_one_query(self):
        done = self.psql("-c", "select 1; select 2; select 3")
        self.assertEqual("1\n2\n3\n", done.stdout)

    def test_an_error_in_the_middle_undoes_the_whole_query(self):
        done = self.psql("-c", "create table half_made (a int); select 1/0; select 3")
        self.assertIn("division by zero", done.stderr)
        self.assertEqual([(None,)], self.pooler.query("select to_regclass('half_made')"))

    def test_copy_in_and_out(self):
        done = self.psql(stdin="begin; create table copied (a int, b text);\n"
                               "copy copied from stdin;\n1\tone\n2\ttwo\n\\.\n"
                               "copy copied to stdout; rollback;\n")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("1\tone\n2\ttwo\n", done.stdout)

    def test_a_failing_copy_leaves_the_session_usable(self):
        done = self.psql(stdin="begin; create table copied (a int);\ncopy copied from stdin;\n"
                               "not a number\n\\.\nrollback;\nselect 'after';\n")
        self.assertIn("after\n", done.stdout)
        self.assertIn("invalid input syntax", done.stderr)


class SessionLooksDirectTest(PoolerCase):
    REPORTED = ("server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone",
                "integer_datetimes", "standard_conforming_strings", "IntervalStyle", "is_superuser",
                "session_authorization", "in_hot_standby", "default_transaction_read_only",
                "application_name")

    def direct(self, **options):
        connection = psycopg2.connect(host=self.postgres.host, port=self.postgres.port, user=OWNER,
                                      dbname=DATABASE, password=password_of(OWNER), **options)
        self.addCleanup(connection.close)
        return connection

    def test_reported_parameters_equal_those_of_a_direct_connection(self):
        for options in ({}, {"application_name": "the bot"}, {"client_encoding": "LATIN1"},
                        {"options": "-c datestyle=German,DMY -c intervalstyle=iso_8601"}):
            with self.subTest(options=options):
                direct, through = self.direct(**options), self.connect(**options)
                for name in self.REPORTED:
                    self.assertEqual(direct.get_parameter_status(name),
                                     through.get_parameter_status(name), name)
                self.assertEqual(direct.server_version, through.server_version)

    def test_startup_parameters_are_visible_in_the_session(self):
        options = {"client_encoding": "LATIN1", "application_name": "front desk",
                   "options": "-c statement_timeout=12345 -c search_path=pg_catalog -c TimeZone=Asia/Tokyo"}
        through = self.connect_autocommit(**options)
        other = self.connect_autocommit()
        for name, expected in (("client_encoding", "LATIN1"), ("application_name", "front desk"),
                               ("statement_timeout", "12345ms"), ("search_path", "pg_catalog"),
                               ("TimeZone", "Asia/Tokyo")):
            with self.subTest(name=name):
                # Another client in between, so that servers are exchanged.
                before = self.value(other, "show " + name)
                self.assertEqual(expected, self.value(through, "show " + name))
                self.assertEqual(before, self.value(other, "show " + name))

    def test_every_client_keeps_its_own_parameters_on_shared_servers(self):
        clients = [self.connect_autocommit(application_name="client %d" % i,
                                           options="-c work_mem=%dkB" % (1000 + i))
                   for i in range(6)]
        for _ in range(5):
            for i, client in enumerate(clients):
                self.assertEqual([("client %d" % i, "%dkB" % (1000 + i))], self.rows(
                    client, "select current_setting('application_name'), current_setting('work_mem')"))

    def test_a_bad_startup_parameter_is_refused_as_postgres_does(self):
        with self.assertRaises(psycopg2.OperationalError) as direct:
            self.direct(options="-c no_such_setting_at_all=1")
        with self.assertRaises(psycopg2.OperationalError) as through:
            self.connect(options="-c no_such_setting_at_all=1")
        self.assertIn("no_such_setting_at_all", str(direct.exception))
        self.assertIn("no_such_setting_at_all", str(through.exception))

    def test_notices_arrive(self):
        client = self.connect_autocommit()
        self.rows(client, "do $$ begin raise notice 'closing at ten'; end $$")
        self.assertTrue(any("closing at ten" in notice for notice in client.notices))

    def test_error_fields_are_postgres_own(self):
        client = self.connect_autocommit()
        self.rows(client, "create table if not exists lockers (number int primary key)")
        self.rows(client, "delete from lockers; insert into lockers values (1)")
        with self.fails_with("23505") as caught:
            self.rows(client, "insert into lockers values (1)")
        diagnostics = caught[0].diag
        self.assertEqual(("lockers", "lockers_pkey", "ERROR"), (
            diagnostics.table_name, diagnostics.constraint_name, diagnostics.severity))


class VolumeTest(PoolerCase):
    settings = {"pool": {"maxconn": 4}}

    def test_a_result_of_ten_megabytes(self):
        client = self.connect_autocommit()
        rows = self.rows(client, "select i, repeat(chr(65 + i %% 26), 1000)"
                                 " from generate_series(1, %s) i", 10_000)
        self.assertEqual(10_000, len(rows))
        for i, text in rows:
            self.assertEqual(chr(65 + i % 26) * 1000, text)

    def test_one_value_of_sixteen_megabytes_both_ways(self):
        client = self.connect_autocommit()
        value = "weir" * (4 << 20)
        self.assertEqual(value, self.value(client, "select %s::text", value))

    def test_copying_a_million_rows_in_and_out(self):
        client = self.connect()
        count = 1_000_000
        self.rows(client, "create temp table visits (id int, hall text)")
        text = "".join("%d\thall %d\n" % (i, i % 7) for i in range(count))
        with client.cursor() as cursor:
            cursor.copy_expert("copy visits from stdin", io.StringIO(text))
            with tempfile.TemporaryFile() as out:
                cursor.copy_expert("copy visits to stdout", out)
                out.seek(0)
                self.assertEqual(text.encode(), out.read())
        client.rollback()

    def test_a_slow_reader_is_not_cut_off(self):
        # The result is far bigger than all socket buffers; meanwhile others are served.
        slow = self.connect()
        with slow.cursor("portal") as cursor:
            cursor.itersize = 100
            cursor.execute("select i, repeat('x', 500) from generate_series(1, 20000) i")
            seen = 0
            for row in cursor:
                seen += 1
                self.assertEqual(seen, row[0])
                if seen % 5000 == 0:
                    self.assertEqual([(1,)], self.pooler.query("select 1"))
        self.assertEqual(20000, seen)


class PgbenchTest(PoolerCase):
    settings = {"pool": {"maxconn": 5}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        done = run_client(cls.pooler, "pgbench", "-i", "-q", "-s", "1")
        assert done.returncode == 0, done.stderr

    def test_the_modes_of_pgbench(self):
        for mode in ("simple", "extended", "prepared"):
            with self.subTest(mode=mode):
                # More clients than servers would leave clients of `prepared` without one for good,
                # while a prepared statement keeps its client on its server.
                clients = "5" if mode == "prepared" else "20"
                done = run_client(self.pooler, "pgbench", "-n", "-M", mode, "-c", clients, "-j", "2",
                                  "-t", "50")
                self.assertEqual(0, done.returncode, done.stderr)
                self.assertIn("number of failed transactions: 0 ", done.stdout)
        balances = self.pooler.query("select (select sum(tbalance) from pgbench_tellers),"
                                     " (select sum(delta) from pgbench_history)")[0]
        self.assertEqual(balances[0], balances[1])

    def test_connecting_for_every_transaction(self):
        done = run_client(self.pooler, "pgbench", "-n", "-S", "-C", "-c", "5", "-t", "20")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("number of failed transactions: 0 ", done.stdout)

    def test_a_pipeline(self):
        script = tempfile.NamedTemporaryFile("w", suffix=".sql")
        self.addCleanup(script.close)
        script.write("\\startpipeline\nselect 1;\nselect 2;\nselect 3;\n\\endpipeline\n")
        script.flush()
        done = run_client(self.pooler, "pgbench", "-n", "-M", "extended", "-f", script.name, "-c", "8",
                          "-t", "50")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("number of failed transactions: 0 ", done.stdout)

    @only_pgweir
    def test_everything_is_counted(self):
        before = self.pooler.metric("pgweir_transactions_total")
        done = run_client(self.pooler, "pgbench", "-n", "-S", "-c", "4", "-t", "25")
        self.assertEqual(0, done.returncode, done.stderr)
        wait_for(lambda: self.pooler.metric("pgweir_transactions_total") >= before + 100,
                 "100 transactions are counted")


if __name__ == "__main__":
    unittest.main()
