"""Prepared statements at their limits: one per server, none at all, servers that are lost, thousands of
distinct ones in bounded memory, and rows that say whose they are under a backlog with time-outs."""

import random
import threading
import time
import unittest

from integration.support import wire
from integration.support.case import only_pgweir
from integration.support.peers import (RAW_USER, kinds, memory_bytes, memory_tells, raw_client,
                                       read_ready, reset, rows_of, wait_until_given_back)
from integration.support.prepared import PreparedCase, close, run, sqlstates
from integration.support.waiting import wait_for


@only_pgweir
class SmallestCacheTest(PreparedCase):
    """Every server keeps one statement only: each other one evicts it."""

    settings = dict(PreparedCase.settings, pool=dict(PreparedCase.settings["pool"],
                                                     prepared_statements=1))

    def test_pg_doorman_3_3_4_and_3_3_5_alternating_statements(self):
        clients = [self.raw() for _ in range(6)]
        for number, raw in enumerate(clients):
            for name in "abc":
                self.prepare(raw, "select '%s of %d ' || $1" % (name, number), name)
        chance = random.Random(1)
        for i in range(200):
            number = chance.randrange(len(clients))
            name = chance.choice("abc")
            self.assertEqual(["%s of %d %d" % (name, number, i)],
                             self.fetch(clients[number], name, b"%d" % i))

    def test_pg_doorman_3_3_4_and_3_3_5_many_in_one_batch(self):
        raw = self.raw()
        for i in range(10):
            self.prepare(raw, "select '%d ' || $1" % i, "s%d" % i)
        for _ in range(5):
            raw.send(b"".join(run("s%d" % i, b"x") for i in range(10)),
                     b"".join(wire.describe("S", "s%d" % i) for i in range(10)), wire.SYNC)
            messages = raw.read_until("Z")
            self.assertEqual("2DC" * 10 + "tT" * 10 + "Z", kinds(messages))
            self.assertEqual(["%d x" % i for i in range(10)], rows_of(messages))

    def test_pg_doorman_3_3_4_and_3_3_5_errors_and_evictions(self):
        raw = self.raw()
        for i in range(4):
            # Not a constant: that would fail in its Bind.
            self.prepare(raw, "select 6 / (z - %d) from generate_series($1::int, $1::int) z" % i,
                         "s%d" % i)
        for _ in range(5):
            for bad in range(4):
                raw.send(b"".join(run("s%d" % i, b"%d" % bad) for i in range(4)), wire.SYNC)
                messages = raw.read_until("Z")
                self.assertEqual("2DC" * bad + "2EZ", kinds(messages))
                self.assertEqual("TDCZ", kinds(raw.ask("select 1")))

    def test_a_portal_outlives_the_eviction_of_its_statement(self):
        raw = self.raw()
        self.prepare(raw, "select generate_series(1, 5)", "a")
        self.prepare(raw, "select 'b'", "b")
        raw.ask("begin")
        raw.send(wire.bind("p", "a"), wire.execute("p", 2), wire.SYNC)
        self.assertEqual("2DDsZ", kinds(raw.read_until("Z")))
        self.assertEqual(["b"], self.fetch(raw, "b"))
        raw.send(wire.execute("p", 0), wire.SYNC)
        self.assertEqual(["3", "4", "5"], rows_of(raw.read_until("Z")))
        raw.ask("commit")


@only_pgweir
class OffTest(PreparedCase):
    settings = dict(PreparedCase.settings, pool=dict(PreparedCase.settings["pool"],
                                                     prepared_statements=0))

    def test_statements_still_work(self):
        raw, other = self.raw(), self.raw()
        self.prepare(raw, "select 'mine'", "s")
        for _ in range(5):
            other.ask("select 1")
            self.assertEqual(["mine"], self.fetch(raw, "s"))


@only_pgweir
class LossTest(PreparedCase):
    def terminate_backends(self):
        before = self.pooler.metric("pgweir_server_closes_total")
        pids = self.postgres.query("select pid from pg_stat_activity where usename = %s", RAW_USER)
        for (pid,) in pids:
            self.postgres.query("select pg_terminate_backend(%s)", pid)
        wait_for(lambda: self.pooler.metric("pgweir_server_closes_total") >= before + len(pids),
                 "the daemon has seen them go")

    def test_statements_outlive_their_servers(self):
        raw = self.raw()
        self.prepare(raw, "select 'kept ' || $1", "s")
        for i in range(5):
            wait_until_given_back(self.pooler, clients=1)
            self.terminate_backends()
            self.assertEqual(["kept %d" % i], self.fetch(raw, "s", b"%d" % i))

    def test_pg_doorman_3_3_4_and_3_3_5_killed_between_parse_and_sync(self):
        for text in ("select 'new ' || $1", "select 'other ' || $1"):
            raw = self.raw()
            raw.send(wire.parse(text, "s"), wire.FLUSH)
            self.assertEqual("1", kinds(raw.read_until("1")))
            self.terminate_backends()
            messages = raw.read_to_end()
            self.assertEqual("57P01", wire.error_fields(messages[0][1])["C"])
            for _ in range(4):
                again = self.raw()
                self.prepare(again, text, "s")
                self.assertEqual([text.split("'")[1] + "x"], self.fetch(again, "s", b"x"))
                again.socket.close()

    def test_pg_doorman_3_3_4_and_3_3_5_vanished_between_parse_and_sync(self):
        text = "select 'seen before ' || $1"
        for count in range(12):
            raw = self.raw()
            packet = wire.parse(text, "s") + wire.describe("S", "s") + run("s", b"x")
            raw.send(packet[:len(packet) - count], *([wire.FLUSH] if count == 0 else []))
            reset(raw.socket)
            again = self.raw()
            self.prepare(again, text, "s")
            self.assertEqual(["seen before x"], self.fetch(again, "s", b"x"))
            again.socket.close()
        wait_until_given_back(self.pooler)

    def test_prepared_by_nobody_on_a_server_that_was_discarded(self):
        # DISCARD ALL of another client empties its server of everybody's statements.
        raw, other = self.raw(), self.raw()
        self.prepare(raw, "select 'kept'", "s")
        for statement in ("discard all", "deallocate all") * 3:
            self.assertEqual("CZ", kinds(other.ask(statement)))
            self.assertEqual(["kept"], self.fetch(raw, "s"))


@only_pgweir
class MemoryTest(PreparedCase):
    @memory_tells
    def test_odyssey_1515_pgcat_70_thousands_of_statements_in_bounded_memory(self):
        def churn(first, count, kept):
            raw = self.raw()
            for i in range(first, first + count):
                raw.send(wire.parse("select %d + length('%s')" % (i, "t" * 500), "s%d" % (i % kept)),
                         run("s%d" % (i % kept)), close("S", "s%d" % (i % kept)), wire.SYNC)
                if i % 100 == 99:
                    self.assertEqual([str(j + 500) for j in range(i - 99, i + 1)],
                                     rows_of(read_ready(raw, 100)))
            raw.socket.close()
            wait_until_given_back(self.pooler)
        churn(0, 3000, 50)
        before = memory_bytes(self.pooler.process)
        churn(3000, 12_000, 50)
        grown = memory_bytes(self.pooler.process) - before
        self.assertLess(grown, 3_000_000, "%d bytes per statement" % (grown // 12_000))
        there = self.postgres.query("select count(*) from pg_stat_activity where usename = %s",
                                    RAW_USER)[0][0]
        self.assertLessEqual(there, 3)

    def test_a_server_keeps_no_more_than_its_share(self):
        raw = self.raw()
        for i in range(500):
            raw.send(wire.parse("select %d" % i, "s%d" % i), run("s%d" % i), wire.SYNC)
            raw.read_until("Z")
        let_go = self.occupy(2)
        # A text that names the view would find the client's own.
        counts = rows_of(raw.ask(
            "select (xpath('//count/text()', query_to_xml('select count(*) from pg_prepared' ||"
            " '_statements', true, false, '')))[1]::text"))
        let_go()
        self.assertLessEqual(int(counts[0]), 201)  # pool.prepared_statements, by default
        for i in (0, 250, 499):
            self.assertEqual([str(i)], self.fetch(raw, "s%d" % i))

    @memory_tells
    def test_what_a_client_has_prepared_goes_with_it(self):
        for i in range(5):
            raw = self.raw()
            for j in range(1000):
                raw.send(wire.parse("select %d, '%s'" % (j, "x" * 2000), "s%d" % j))
            raw.send(wire.SYNC)
            raw.read_until("Z")
            if i == 1:
                before = memory_bytes(self.pooler.process)
            raw.socket.close()
            wait_until_given_back(self.pooler)
        self.assertLess(memory_bytes(self.pooler.process) - before, 4_000_000)


@only_pgweir
class WrongRowsTest(PreparedCase):
    """Every row says whose it is: (client, query, nonce). Under a backlog, with statements of the same
    names and other texts, time-outs, errors and clients that vanish."""

    settings = dict(PreparedCase.settings, pool={"minconn": 1, "maxconn": 3, "wait_timeout": "400ms",
                                                 "prepared_statements": 5})
    SECONDS = 8

    def client_life(self, number, stop_at, wrong, counts):
        chance = random.Random(number)
        while time.monotonic() < stop_at:
            raw = raw_client(self.pooler, timeout=60)
            names = ["s%d" % i for i in range(4)]
            raw.send(b"".join(wire.parse("select '%d/%s/' || $1 from pg_sleep($2::float)"
                                         % (number, name), name) + wire.SYNC for name in names))
            ready = [kinds(raw.read_until("Z")) for _ in names]
            names = [name for name, came in zip(names, ready) if came == "1Z"]
            if not names:
                counts["timed out"] += 1
                raw.socket.close()
                continue
            for _ in range(chance.randrange(1, 60)):
                nonces = ["%d" % chance.randrange(1 << 30) for _ in range(chance.randrange(1, 6))]
                asked = [(chance.choice(names), nonce) for nonce in nonces]
                sleep = b"%.4f" % chance.choice([0, 0, 0, 0.002, 0.02, 0.3])
                one_batch = chance.random() < 0.5
                raw.send(b"".join(run(name, nonce.encode(), sleep)
                                  + (b"" if one_batch else wire.SYNC) for name, nonce in asked)
                         + (wire.SYNC if one_batch else b""))
                if chance.random() < 0.02 or time.monotonic() > stop_at:
                    break  # it vanishes with its answers on their way
                messages = read_ready(raw, 1 if one_batch else len(asked))
                states = sqlstates(messages)
                rows = rows_of(messages)
                expected = ["%d/%s/%s" % (number, name, nonce) for name, nonce in asked]
                if any(row not in expected for row in rows) or any(s != "53300" for s in states) \
                        or (not states and rows != expected):
                    wrong.append((number, expected, rows, states))
                counts["answered"] += len(rows)
                counts["timed out"] += len(states)
            if chance.random() < 0.5:
                reset(raw.socket)
            else:
                raw.socket.close()

    def test_pgdog_759_rows_are_the_clients_own(self):
        wrong, counts = [], {"answered": 0, "timed out": 0}

        def live(number):
            try:
                self.client_life(number, stop_at, wrong, counts)
            except Exception as error:  # pylint: disable=broad-except
                wrong.append((number, repr(error)))
        stop_at = time.monotonic() + self.SECONDS
        threads = [threading.Thread(target=live, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong[:3], "%d wrong of %r" % (len(wrong), counts))
        self.assertGreater(counts["answered"], 100, counts)
        self.assertGreater(counts["timed out"], 0, counts)
        wait_until_given_back(self.pooler)


if __name__ == "__main__":
    unittest.main()
