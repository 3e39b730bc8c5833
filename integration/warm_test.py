"""The pool keeps minconn open, refills it at once, shrinks when nobody needs more, and replaces what is
too old."""

import time
import unittest

from integration.support.case import PoolerCase, only_pgweir
from integration.support.postgres import DATABASE, OWNER
from integration.support.waiting import Stopwatch, wait_for


@only_pgweir
class WarmTest(PoolerCase):
    settings = {"pool": {"minconn": 4, "maxconn": 10, "idle_timeout": "1s"}}

    def backends(self):
        return self.postgres.backends()

    def setUp(self):
        self.pooler.query("select 1")
        wait_for(lambda: len(self.backends()) == 4, "minconn are open")

    def test_minconn_is_refilled_at_once(self):
        for _ in range(3):
            before = set(self.backends())
            with Stopwatch() as watch:
                self.postgres.query("select pg_terminate_backend(pid) from pg_stat_activity"
                                    " where datname = %s", DATABASE)
                wait_for(lambda b=before: len(set(self.backends()) - b) == 4, "all four are replaced")
            self.assertLess(watch.seconds, 2)

    def test_idle_servers_above_minconn_are_closed(self):
        holders = [self.connect() for _ in range(9)]
        for holder in holders:
            self.rows(holder, "select 1")
        self.assertGreaterEqual(len(self.backends()), 9)
        for holder in holders:
            holder.close()
        wait_for(lambda: len(self.backends()) == 4, "the pool has shrunk to minconn")
        # … and not below: it stays there over several rounds of sweeping.
        seen = set()
        over = time.monotonic() + 2
        while time.monotonic() < over:
            seen.add(len(self.backends()))
        self.assertEqual({4}, seen)

    def test_the_bound_is_a_bound(self):
        holders = [self.connect() for _ in range(10)]
        for holder in holders:
            self.rows(holder, "select 1")
        self.assertEqual(10, len(self.backends()))
        for holder in holders:
            holder.rollback()

    def test_server_states_are_told_as_they_are(self):
        holder = self.connect()
        self.rows(holder, "select 1")
        wait_for(lambda: self.pooler.metric("pgweir_pool_servers", state="in_use", user=OWNER) == 1,
                 "one is in use")
        self.assertEqual(len(self.backends()), self.pooler.metric("pgweir_pool_size", user=OWNER))
        holder.rollback()


@only_pgweir
class LifetimeTest(PoolerCase):
    settings = {"pool": {"minconn": 3, "maxconn": 5, "max_lifetime": "2s"}}

    def test_old_servers_are_replaced_and_nobody_notices(self):
        self.pooler.query("select 1")
        wait_for(lambda: len(self.postgres.backends()) == 3, "minconn are open")
        before = set(self.postgres.backends())
        client = self.connect_autocommit()

        def all_replaced():
            self.assertEqual(1, self.value(client, "select 1"))
            now = set(self.postgres.backends())
            self.assertLessEqual(len(now), 5)
            return not now & before and len(now) >= 3
        wait_for(all_replaced, "every server has been replaced", 15)

    def test_a_transaction_is_not_cut_short(self):
        client = self.connect()
        pid = self.value(client, "select pg_backend_pid()")
        self.rows(client, "select pg_sleep(3)")
        self.assertEqual(pid, self.value(client, "select pg_backend_pid()"))
        client.rollback()
        wait_for(lambda: pid not in self.postgres.backends(), "it is closed when it comes back")


if __name__ == "__main__":
    unittest.main()
