"""A cancel request reaches the query of the client that asked, or nothing: never the query of the next
client on the same server, however busy the pool is."""

import random
import threading
import time
import unittest

import psycopg2

from integration.support.case import PoolerCase
from integration.support.waiting import Stopwatch, wait_for


class CancelTest(PoolerCase):
    settings = {"pool": {"minconn": 2, "maxconn": 4, "wait_timeout": "20s"}}

    def run_and_cancel(self, client, sql, wait_until):
        """Runs `sql` on a thread, cancels when `wait_until` says so; the error it ended in."""
        ended = []

        def run():
            try:
                self.rows(client, sql)
                ended.append(None)
            except psycopg2.Error as error:
                ended.append(error)
        thread = threading.Thread(target=run)
        thread.start()
        wait_for(wait_until, "it is time to cancel")
        client.cancel()
        thread.join(20)
        self.assertTrue(ended, "the query has not ended")
        return ended[0]

    def is_running(self, text):
        return lambda: self.postgres.query(
            "select 1 from pg_stat_activity where state = 'active' and query like %s"
            " and pid <> pg_backend_pid()", "%" + text + "%")

    def test_a_running_query_is_cancelled_and_the_session_goes_on(self):
        client = self.connect_autocommit()
        with Stopwatch() as watch:
            error = self.run_and_cancel(client, "select pg_sleep(30) /* one */",
                                        self.is_running("/* one */"))
        self.assertEqual("57014", error.pgcode)
        self.assertLess(watch.seconds, 15)
        self.assertEqual(1, self.value(client, "select 1"))

    def test_in_a_transaction(self):
        client = self.connect()
        self.rows(client, "select 1")
        error = self.run_and_cancel(client, "select pg_sleep(30) /* two */",
                                    self.is_running("/* two */"))
        self.assertEqual("57014", error.pgcode)
        with self.fails_with("25P02"):
            self.rows(client, "select 1")
        client.rollback()
        self.assertEqual(1, self.value(client, "select 1"))

    def test_an_idle_clients_cancel_does_nothing(self):
        idle = self.connect_autocommit()
        self.rows(idle, "select 1")
        busy = [self.connect_autocommit() for _ in range(4)]
        errors = []

        def run(client):
            try:
                self.rows(client, "select pg_sleep(1.5) /* busy */")
            except psycopg2.Error as error:
                errors.append(error)
        threads = [threading.Thread(target=run, args=(client,)) for client in busy]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(self.is_running("/* busy */")()) == 4, "all servers are busy")
        for _ in range(20):
            idle.cancel()
        for thread in threads:
            thread.join()
        self.assertEqual([], errors)
        self.assertEqual(1, self.value(idle, "select 1"))

    def test_a_waiting_client_is_taken_out_of_the_queue(self):
        holders = [self.connect() for _ in range(4)]
        for holder in holders:
            self.rows(holder, "select 1")
        waiter = self.connect_autocommit()
        began = time.monotonic()
        # There is nothing to look at in PostgreSQL: the waiter has not got there.
        error = self.run_and_cancel(waiter, "select 1", lambda: time.monotonic() > began + 0.3)
        self.assertIsNotNone(error)
        self.assertEqual("57014", error.pgcode)
        for holder in holders:
            holder.rollback()
        self.assertEqual(1, self.value(waiter, "select 1"))


class CancelStormTest(PoolerCase):
    """Everybody cancels at random times; every answer is the client's own, and only a client that has
    just cancelled sees 57014."""

    settings = {"pool": {"minconn": 2, "maxconn": 4, "wait_timeout": "30s"}}
    SECONDS = 6

    def test_only_ones_own_query_is_hit(self):
        wrong, counts = [], {"cancelled": 0, "answered": 0}
        stop_at = time.monotonic() + self.SECONDS

        def client_life(number):
            chance = random.Random(number)
            client = psycopg2.connect(**self.pooler.dsn())
            client.autocommit = True
            cancels = number % 2 == 0
            try:
                while time.monotonic() < stop_at:
                    timer = None
                    if cancels:
                        timer = threading.Timer(chance.uniform(0, 0.02), client.cancel)
                        timer.start()
                    nonce = chance.randrange(1 << 30)
                    try:
                        answer = self.value(client, "select %s from pg_sleep(%s)", nonce,
                                            chance.uniform(0, 0.01))
                        counts["answered"] += 1
                        if answer != nonce:
                            wrong.append((number, nonce, answer))
                    except psycopg2.Error as error:
                        counts["cancelled"] += 1
                        if error.pgcode != "57014" or not cancels:
                            wrong.append((number, repr(error)))
                    if timer is not None:
                        timer.join()
            except Exception as error:  # pylint: disable=broad-except
                wrong.append((number, repr(error)))
            finally:
                client.close()
        threads = [threading.Thread(target=client_life, args=(i,)) for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong[:5])
        self.assertGreater(counts["cancelled"], 20, counts)
        self.assertGreater(counts["answered"], 100, counts)


if __name__ == "__main__":
    unittest.main()
