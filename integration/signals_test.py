"""Ending the daemon: SIGTERM lets open transactions finish, a second one does not wait."""

import signal
import threading
import time
import unittest

import psycopg2

from integration.support import wire
from integration.support.case import PoolerCase, new_pooler, only_pgweir, shared_postgres
from integration.support.postgres import DATABASE, OWNER
from integration.support.waiting import Stopwatch, wait_for


@only_pgweir
class SignalsTest(PoolerCase):
    settings = {"pool": {"minconn": 1, "maxconn": 4}, "shutdown_timeout": "20s",
                "auth": {"method": "trust"}}

    @classmethod
    def setUpClass(cls):
        cls.postgres = shared_postgres()

    def setUp(self):
        self.pooler = new_pooler(self.postgres, **self.settings)
        self.addCleanup(self.pooler.close)

    def raw(self, *statements):
        """A client that reads what it is sent, even after the end; libpq would not tell."""
        raw = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(raw.socket.close)
        raw.log_in("", user=OWNER, database=DATABASE)
        for statement in statements:
            raw.ask(statement)
        return raw

    def assert_told(self, raw):
        """57P01, then the end."""
        kind, body = raw.read_to_end()[-1]
        self.assertEqual(("E", "57P01"), (kind, wire.error_fields(body)["C"]))

    def has_ended(self):
        return self.pooler.process.poll() is not None

    def test_an_idle_daemon_ends_at_once(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(how=how):
                self.pooler.start()
                client = self.raw("select 1")
                with Stopwatch() as watch:
                    self.assertEqual(0, self.pooler.stop(how))
                self.assertLess(watch.seconds, 5)
                self.assert_told(client)
        wait_for(lambda: not self.postgres.backends(), "no server connection is left")

    def test_signals_that_mean_something_to_other_poolers_are_told_of(self):
        self.pooler.start()
        for how in (signal.SIGUSR1, signal.SIGUSR2):
            self.pooler.process.send_signal(how)
            wait_for(lambda name=how.name: name in self.pooler.log(), "it is logged")
        self.assertEqual([(1,)], self.pooler.query("select 1"))

    def test_a_reload_while_it_begins_does_not_end_it(self):
        def heeds_sighup():
            """Who has not come to that yet is ended by it, as any program is."""
            if self.pooler.process is None:
                return False
            with open("/proc/%d/status" % self.pooler.process.pid, encoding="ascii") as status:
                masks = dict(line.split(":", 1) for line in status)
            return (int(masks["SigIgn"], 16) | int(masks["SigCgt"], 16)) & 1

        def reload():
            wait_for(heeds_sighup, "it has begun")
            self.pooler.process.send_signal(signal.SIGHUP)
        reloading = threading.Thread(target=reload)
        reloading.start()
        self.pooler.start()
        reloading.join()
        self.assertEqual([(1,)], self.pooler.query("select 1", user=OWNER))

    def test_open_transactions_finish_and_nobody_new_gets_in(self):
        self.pooler.start()
        self.postgres.query("create table if not exists receipts (a int);"
                            "grant all on receipts to fitness; truncate receipts",
                            database="fitness_club")
        idle, busy = self.raw("select 1"), self.connect()
        self.rows(busy, "insert into receipts values (1)")
        self.pooler.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not self.pooler.accepts(), "it no longer accepts connections")
        self.rows(busy, "insert into receipts values (2)")
        self.assertFalse(self.has_ended())
        busy.commit()
        wait_for(self.has_ended, "it ends after the last transaction", 5)
        self.assertEqual(0, self.pooler.process.returncode)
        self.assertEqual([(2,)], self.postgres.query("select count(*) from receipts",
                                                     database="fitness_club"))
        self.assert_told(idle)

    def test_a_second_signal_ends_at_once(self):
        self.pooler.start()
        busy = self.connect()
        self.rows(busy, "select 1")
        self.pooler.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not self.pooler.accepts(), "the first signal has arrived")
        self.assertFalse(self.has_ended())
        with Stopwatch() as watch:
            self.pooler.process.send_signal(signal.SIGTERM)
            wait_for(self.has_ended, "it has ended")
        self.assertLess(watch.seconds, 2)
        with self.assertRaises(psycopg2.Error):
            self.rows(busy, "select 1")

    def test_shutdown_timeout_ends_what_does_not_finish(self):
        self.pooler = new_pooler(self.postgres, **dict(self.settings, shutdown_timeout="1s"))
        self.addCleanup(self.pooler.close)
        self.pooler.start()
        busy = self.raw("begin", "select 1")
        with Stopwatch() as watch:
            self.pooler.process.send_signal(signal.SIGTERM)
            self.assert_told(busy)
        self.assertTrue(0.9 < watch.seconds < 5, watch.seconds)
        busy.socket.close()
        wait_for(self.has_ended, "it has ended", 5)

    def test_a_running_query_is_answered_before_the_end(self):
        self.pooler.start()
        client, answers = self.connect_autocommit(), []
        thread = threading.Thread(target=lambda: answers.append(
            self.value(client, "select 'answer' from pg_sleep(1.5)")))
        thread.start()
        wait_for(lambda: self.postgres.query(
            "select 1 from pg_stat_activity where query like '%%pg_sleep(1.5)%%'"
            " and state = 'active' and pid <> pg_backend_pid()"), "the query runs")
        self.pooler.process.send_signal(signal.SIGTERM)
        thread.join(10)
        self.assertEqual(["answer"], answers)
        wait_for(self.has_ended, "it ends")

    def test_it_starts_again_on_the_same_port_at_once(self):
        for _ in range(3):
            self.pooler.start()
            client = self.connect_autocommit()
            self.rows(client, "select 1")
            began = time.monotonic()
            self.assertEqual(0, self.pooler.stop())
            self.assertLess(time.monotonic() - began, 5)


if __name__ == "__main__":
    unittest.main()
