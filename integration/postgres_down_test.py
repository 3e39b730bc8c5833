"""PostgreSQL is away, comes back, dies under load, or has no connection left: clients wait, hear the
cause, lose nothing that was acknowledged, and the log says each thing once."""

import re
import threading
import time
import unittest

import psycopg2

from integration.support.case import PoolerCase, new_pooler, only_pgweir
from integration.support.postgres import DATABASE, Postgres
from integration.support.surroundings import PATIENCE
from integration.support.waiting import Stopwatch, wait_for


class OwnPostgresCase(PoolerCase):
    """Each test has a PostgreSQL that it may stop."""

    postgres_options = {}
    settings = {"pool": {"minconn": 2, "maxconn": 8, "wait_timeout": "1s"}}

    @classmethod
    def setUpClass(cls):
        pass

    def setUp(self):
        self.postgres = Postgres(**self.postgres_options)
        self.addCleanup(self.postgres.close)
        self.pooler = new_pooler(self.postgres, **self.settings)
        self.addCleanup(self.pooler.close)

    def warnings(self):
        return [line for line in self.pooler.log().splitlines()
                if re.search(r"\b(warning|error)\b", line[:60])]

    def idle_servers(self):
        return self.pooler.metric("pgweir_pool_servers", state="idle") or 0


@only_pgweir
class DownTest(OwnPostgresCase):
    def test_down_at_the_start(self):
        self.pooler.start()
        self.assertEqual(200, self.pooler.http("/healthz")[0])
        wait_for(lambda: self.pooler.http("/readyz")[0] == 503, "it is not ready")

        for _ in range(3):
            with Stopwatch() as watch:
                with self.assertRaises(psycopg2.OperationalError) as raised:
                    self.pooler.query("select 1")
            self.assertIn("Connection refused", str(raised.exception))
            self.assertTrue(0.8 < watch.seconds < 5, watch.seconds)

        # A client that is waiting when it comes back is served within a second.
        self.pooler.reload(pool={"wait_timeout": "30s"})
        wait_for(lambda: self.pooler.metric("pgweir_config_reloads_total") == 1, "it has reloaded")
        served = []

        def wait_in_line():
            served.append((self.pooler.query("select 1"), time.monotonic()))
        thread = threading.Thread(target=wait_in_line)
        thread.start()
        self.postgres.start()
        up_at = time.monotonic()
        thread.join(30)
        self.assertTrue(served, "nobody was served")
        self.assertLess(served[0][1] - up_at, 1.0 * PATIENCE)
        wait_for(lambda: self.pooler.http("/readyz")[0] == 200, "it is ready", 3)
        self.assertEqual(200, self.pooler.http("/healthz")[0])

    def test_one_warning_per_change(self):
        self.postgres.start()
        self.pooler.start()
        self.pooler.query("select 1")
        self.assertEqual([], self.warnings())
        for change in (1, 2):
            self.postgres.stop()
            for _ in range(5):
                with self.assertRaises(psycopg2.Error):
                    self.pooler.query("select 1")
            # Clients that waited in vain have lines of their own.
            about_it = [line for line in self.warnings() if "wait timeout" not in line]
            self.assertTrue(change <= len(about_it) <= 2 * change, about_it)
            self.postgres.start()
            wait_for(lambda: self.pooler.http("/readyz")[0] == 200, "it is ready")
            self.assertEqual([(1,)], self.pooler.query("select 1"))

    def test_a_session_outlives_an_outage(self):
        self.postgres.start()
        self.pooler.start()
        client = self.connect_autocommit()
        self.assertEqual(1, self.value(client, "select 1"))
        self.postgres.stop()
        with self.assertRaises(psycopg2.Error) as raised:
            self.rows(client, "select 1")
        self.assertEqual(0, client.closed, "the session was ended: %s" % raised.exception)
        self.postgres.start()
        self.assertEqual(1, self.value(client, "select 1"))

    def test_a_transaction_is_told_that_its_server_is_gone(self):
        self.postgres.start()
        self.pooler.start()
        client = self.connect()
        self.rows(client, "create table t (a int)")
        self.postgres.stop()
        with self.assertRaises(psycopg2.OperationalError):
            self.rows(client, "insert into t values (1)")
            client.commit()


@only_pgweir
class RestartWhileIdleTest(OwnPostgresCase):
    settings = {"pool": {"minconn": 5, "maxconn": 8, "wait_timeout": "10s"}}

    def test_no_client_notices(self):
        self.postgres.start()
        self.pooler.start()
        clients = [self.connect_autocommit() for _ in range(10)]
        for how in ("fast", "immediate", "fast"):
            with self.subTest(how=how):
                for client in clients:
                    self.assertEqual(1, self.value(client, "select 1"))
                wait_for(lambda: self.idle_servers() >= 5, "the pool is warm and idle")
                self.postgres.restart(how)
                for client in clients:
                    self.assertEqual(1, self.value(client, "select 1"))

    def test_terminated_backends_are_never_handed_out(self):
        self.postgres.start()
        self.pooler.start()
        client = self.connect_autocommit()
        for _ in range(10):
            wait_for(lambda: self.idle_servers() >= 5, "the pool is warm")
            # With a time-out it returns when the backends are gone.
            self.postgres.query("select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                                " where datname = %s", DATABASE)
            self.assertEqual(1, self.value(client, "select 1"))


class Ledger:
    """Clients that commit numbered rows, each on a connection of its own, and remember what was
    acknowledged. An answer must always carry the asker's own nonce."""

    def __init__(self, pooler, clients):
        self.pooler = pooler
        self.acknowledged = [[] for _ in range(clients)]  # rows whose commit was acknowledged
        self.attempted = [0] * clients                    # the highest row that was sent
        self.wrong, self.errors = [], []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._life, args=(i,)) for i in range(clients)]

    def _life(self, number):
        connection = None
        while not self.stop.is_set():
            try:
                if connection is None or connection.closed:
                    connection = psycopg2.connect(**self.pooler.dsn())
                with connection.cursor() as cursor:
                    row = self.attempted[number] + 1
                    self.attempted[number] = row
                    cursor.execute("insert into ledger values (%s, %s) returning client, row",
                                   (number, row))
                    answer = cursor.fetchone()
                    if answer != (number, row):
                        self.wrong.append((number, row, answer))
                    connection.commit()
                    self.acknowledged[number].append(row)
            except psycopg2.Error as error:
                self.errors.append((time.monotonic(), str(error)))
                try:
                    connection.rollback()
                except (psycopg2.Error, AttributeError):
                    connection = None
                self.stop.wait(0.01)
        if connection is not None:
            connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def progress(self):
        return sum(len(rows) for rows in self.acknowledged)


class UnderLoadTest(OwnPostgresCase):
    """fsync is on here: an acknowledged commit has to be there after kill -9."""

    postgres_options = {"durable": True}
    settings = {"pool": {"minconn": 2, "maxconn": 6, "wait_timeout": "10s"}}
    CLIENTS = 20

    def test_restarted_and_killed_under_load(self):
        self.postgres.start()
        self.postgres.query("create table ledger (client int, row int, primary key (client, row));"
                            "grant all on ledger to fitness", database=DATABASE)
        self.pooler.start()
        with Ledger(self.pooler, self.CLIENTS) as ledger:
            for interrupt in (lambda: self.postgres.stop("fast"), self.postgres.kill,
                              lambda: self.postgres.stop("immediate"), self.postgres.kill):
                before = ledger.progress()
                wait_for(lambda b=before: ledger.progress() > b + 100, "commits go on", 30)
                interrupt()
                self.postgres.start()
                up_at, at_start = time.monotonic(), ledger.progress()
                wait_for(lambda s=at_start: ledger.progress() > s, "commits go on again", 30, 0.005)
                self.assertLess(time.monotonic() - up_at, 1.0 * PATIENCE)
        self.assertEqual([], ledger.wrong[:5])
        present = {(client, row) for client, row in
                   self.postgres.query("select client, row from ledger", database=DATABASE)}
        acknowledged = {(client, row) for client in range(self.CLIENTS)
                        for row in ledger.acknowledged[client]}
        self.assertEqual(set(), acknowledged - present, "acknowledged, but not there")
        invented = [(client, row) for client, row in present if row > ledger.attempted[client]]
        self.assertEqual([], invented)
        self.assertGreater(len(acknowledged), 400)


@only_pgweir
class TooManyConnectionsTest(OwnPostgresCase):
    """PostgreSQL has fewer connections than maxconn asks for."""

    postgres_options = {"max_connections": 8, "superuser_reserved_connections": 3}
    settings = {"pool": {"minconn": 1, "maxconn": 20, "wait_timeout": "10s"}}

    def test_no_storm_and_both_numbers_are_told(self):
        self.postgres.start()
        self.pooler.start()
        # Twenty at once on the five connections there are: slower, but everybody is served.
        errors = []

        def client_life():
            try:
                client = psycopg2.connect(**self.pooler.dsn())
                client.autocommit = True
                for _ in range(20):
                    self.rows(client, "select pg_sleep(0.01)")
                client.close()
            except psycopg2.Error as error:
                errors.append(str(error))
        threads = [threading.Thread(target=client_life) for _ in range(20)]
        with Stopwatch() as watch:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual([], errors)
        refused = self.postgres.log().count("too many") + self.postgres.log().count(
            "remaining connection slots")
        self.assertGreater(refused, 0, "the test has not reached PostgreSQL's limit")
        received = self.postgres.connections_received()
        # At most the burst up to maxconn, and then a few tries spaced by the back-off.
        self.assertLess(received, 20 + 10 + 10 * watch.seconds, self.postgres.log()[-1000:])
        told = [line for line in self.warnings() if "20" in line and re.search(r"\b[58]\b", line)]
        self.assertTrue(told, self.warnings())
        self.assertLess(len(self.warnings()), 10, self.warnings())


if __name__ == "__main__":
    unittest.main()
