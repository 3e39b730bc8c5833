"""Prepared statements of the protocol in transaction mode: a client's statements are its own on every
server, whatever is evicted, dropped or changed meanwhile. (prepared_limits_test.py: caches of one,
lost servers, memory, and rows that say whose they are.)"""

import random
import struct
import unittest

import psycopg2

from integration.support import wire
from integration.support.case import PoolerCase, only_pgweir
from integration.support.peers import kinds, read_ready, rows_of, wait_until_given_back
from integration.support.prepared import PreparedCase, close, run, sqlstates


@only_pgweir
class OneWorkerTest(PreparedCase):
    """On one worker the server that was used last is used next: whoever begins a transaction behind a
    client takes that client's server away."""

    settings = dict(PreparedCase.settings, workers=1)

    def test_a_statement_is_there_on_every_server(self):
        raw = self.raw()
        self.prepare(raw, "select pg_backend_pid()::text || ':' || $1", "s")
        for _ in range(5):
            pids = set()
            for count in (0, 1, 2):
                let_go = self.occupy(count)
                pid, value = self.fetch(raw, "s", b"v%d" % count)[0].split(":")
                self.assertEqual("v%d" % count, value)
                pids.add(pid)
                let_go()
            self.assertGreater(len(pids), 1, "the statement kept its client on its server")


@only_pgweir
class OnAnyServerTest(PreparedCase):
    def test_more_clients_than_servers_each_with_statements(self):
        clients = [self.raw() for _ in range(12)]
        for i, raw in enumerate(clients):
            self.prepare(raw, "select '%d/' || $1" % (i % 4), "s")
        for round_number in range(20):
            for i, raw in enumerate(clients):
                self.assertEqual(["%d/%d" % (i % 4, round_number)],
                                 self.fetch(raw, "s", b"%d" % round_number))

    def test_two_clients_with_the_same_name_and_other_texts(self):
        one, other = self.raw(), self.raw()
        self.prepare(one, "select 'one ' || $1", "s1")
        self.prepare(other, "select 'other ' || $1 || $2", "s1")
        for i in range(20):
            self.assertEqual(["one %d" % i], self.fetch(one, "s1", b"%d" % i))
            self.assertEqual(["other %da" % i], self.fetch(other, "s1", b"%d" % i, b"a"))
        one.send(close("S", "s1"), wire.SYNC)
        self.assertEqual("3Z", kinds(one.read_until("Z")))
        self.fails(one, "26000", run("s1", b"x"), wire.SYNC)
        self.assertEqual(["other xy"], self.fetch(other, "s1", b"x", b"y"))

    def test_the_same_text_with_other_types(self):
        one, other = self.raw(), self.raw()
        self.prepare(one, "select pg_typeof($1)::text", "s", [23])
        self.prepare(other, "select pg_typeof($1)::text", "s", [25])
        for _ in range(5):
            self.assertEqual(["integer"], self.fetch(one, "s", b"7"))
            self.assertEqual(["text"], self.fetch(other, "s", b"7"))

    def test_a_name_is_taken_until_it_is_closed(self):
        for where in (self.postgres, self.pooler):
            raw = self.raw(where)
            self.prepare(raw, "select 1", "s")
            self.fails(raw, "42P05", wire.parse("select 2", "s"), wire.SYNC)
            self.assertEqual(["1"], self.fetch(raw, "s"))
            raw.send(close("S", "s"), wire.parse("select 2", "s"), wire.SYNC)
            self.assertEqual("31Z", kinds(raw.read_until("Z")))
            self.assertEqual(["2"], self.fetch(raw, "s"))
            raw.send(close("S", "never heard of"), wire.SYNC)
            self.assertEqual("3Z", kinds(raw.read_until("Z")))

    def test_a_failed_parse_leaves_no_trace(self):
        for where in (self.postgres, self.pooler):
            raw = self.raw(where)
            self.fails(raw, "42703", wire.parse("select nosuch", "s"), wire.SYNC)
            self.fails(raw, "26000", run("s"), wire.SYNC)
            self.prepare(raw, "select 'good'", "s")
            self.assertEqual(["good"], self.fetch(raw, "s"))
            # Skipped behind an error: never parsed.
            self.fails(raw, "22012", wire.parse("select 1/0"), run(""), wire.parse("select 1", "t"),
                       wire.SYNC)
            self.fails(raw, "26000", run("t"), wire.SYNC)
            # Rolled back with its transaction it is not: prepared statements are not transactional.
            raw.ask("begin")
            self.prepare(raw, "select 'kept'", "u")
            raw.ask("rollback")
            self.assertEqual(["kept"], self.fetch(raw, "u"))

    def test_describe(self):
        for where in (self.postgres, self.pooler):
            raw = self.raw(where)
            self.prepare(raw, "select $1::int4 as a, $2::text as b", "s")
            answers = []
            for count in (0, 2):
                let_go = self.occupy(count)
                raw.send(wire.describe("S", "s"), wire.SYNC)
                answers.append(raw.read_until("Z"))
                let_go()
            self.assertEqual("tTZ", kinds(answers[0]))
            self.assertEqual(("t", struct.pack("!hii", 2, 23, 25)), answers[0][0])
            self.assertEqual(answers[0], answers[1])
            self.fails(raw, "26000", wire.describe("S", "nosuch"), wire.SYNC)

    def test_parse_bind_and_close_in_one_batch(self):
        raw = self.raw()
        for i in range(30):
            raw.send(wire.parse("select %d + $1" % i, "s"), run("s", b"1"), run("s", b"2"),
                     close("S", "s"), wire.SYNC)
            messages = raw.read_until("Z")
            self.assertEqual("12DC2DC3Z", kinds(messages))
            self.assertEqual([str(i + 1), str(i + 2)], rows_of(messages))

    def test_unnamed_statements_across_transactions(self):
        # The unnamed statement lives until the next unnamed Parse or Query, also when transactions
        # end in between: it must be the client's own.
        one, other = self.raw(), self.raw()
        for i in range(10):
            one.send(wire.parse("select 'one %d'" % i), wire.SYNC)
            other.send(wire.parse("select 'other %d'" % i), wire.SYNC)
            one.read_until("Z")
            other.read_until("Z")
            self.assertEqual(["one %d" % i], self.fetch(one, ""))
            self.assertEqual(["other %d" % i], self.fetch(other, ""))
            self.assertEqual(["one %d" % i], self.fetch(one, ""))
        one.ask("select 1")
        self.fails(one, "26000", run(""), wire.SYNC)

    def test_deallocate_and_discard(self):
        raw = self.raw()
        for statement, left in (("deallocate s", False), ("deallocate all", False),
                                ("discard all", False), ("discard plans", True),
                                ("deallocate prepare all", False), ("reset all", True)):
            with self.subTest(statement=statement):
                raw.send(close("S", "s"), wire.SYNC)
                raw.read_until("Z")
                self.prepare(raw, "select 'still there'", "s")
                self.assertEqual("C", kinds(raw.ask(statement))[-2:-1])
                for _ in range(3):
                    if left:
                        self.assertEqual(["still there"], self.fetch(raw, "s"))
                    else:
                        self.fails(raw, "26000", run("s"), wire.SYNC)

    def test_deallocate_of_a_statement_nobody_has(self):
        raw = self.raw()
        messages = raw.ask("deallocate nosuch")
        self.assertEqual(["26000"], sqlstates(messages))

    def test_sql_execute_of_a_statement_of_the_protocol(self):
        for where in (self.postgres, self.pooler):
            raw = self.raw(where)
            self.prepare(raw, "select $1::int + 1", "plus")
            self.assertEqual(["42"], rows_of(raw.ask("execute plus(41)")))

    def test_portals_with_row_limits_in_a_transaction(self):
        raw = self.raw()
        self.prepare(raw, "select generate_series(1, $1::int)", "s")
        raw.ask("begin")
        raw.send(run("s", b"5", portal="p", rows=2), wire.SYNC)
        self.assertEqual("2DDsZ", kinds(raw.read_until("Z")))
        raw.send(wire.execute("p", 2), wire.execute("p", 2), wire.SYNC)
        messages = raw.read_until("Z")
        self.assertEqual("DDsDCZ", kinds(messages))
        self.assertEqual(["3", "4", "5"], rows_of(messages))
        raw.ask("commit")

    def test_pgdog_763_execute_with_row_limit_and_flush(self):
        raw = self.raw()
        self.prepare(raw, "select generate_series(1, 6)", "s")
        for begin in ("", "begin"):
            if begin:
                raw.ask(begin)
            raw.send(wire.bind("", "s"), wire.execute("", 2), wire.FLUSH)
            self.assertEqual("2DDs", kinds(raw.read_until("s")))
            # Its server is still its own, however much others ask for one.
            let_go = self.occupy(2)
            raw.send(wire.execute("", 3), wire.FLUSH)
            self.assertEqual("DDDs", kinds(raw.read_until("s")))
            raw.send(wire.execute("", 0), wire.SYNC)
            messages = raw.read_until("Z")
            self.assertEqual("DCZ", kinds(messages))
            self.assertEqual(["6"], rows_of(messages))
            let_go()
        raw.ask("commit")

    def test_a_pipeline_of_statements(self):
        raw = self.raw()
        raw.send(b"".join(wire.parse("select %d * $1" % i, "s%d" % i) for i in range(20)), wire.SYNC,
                 b"".join(run("s%d" % (i % 20), b"%d" % i) + (wire.SYNC if i % 7 == 0 else b"")
                          for i in range(500)), wire.SYNC)
        messages = read_ready(raw, 2 + len(range(0, 500, 7)))
        self.assertEqual([str((i % 20) * i) for i in range(500)], rows_of(messages))

    def test_errors_in_the_middle_of_a_pipeline(self):
        raw = self.raw()
        self.prepare(raw, "select 6 / z from generate_series($1::int, $1::int) z", "s")
        for _ in range(20):
            raw.send(run("s", b"2"), run("s", b"0"), run("s", b"3"), wire.SYNC, run("s", b"3"),
                     wire.parse("select 'new'", "new"), wire.SYNC, run("new"), close("S", "new"),
                     wire.SYNC, run("nosuch"), wire.SYNC, run("s", b"1"), wire.SYNC)
            messages = read_ready(raw, 5)
            self.assertEqual("2DC2EZ2DC1Z2DC3ZEZ2DCZ", kinds(messages))
            self.assertEqual(["3", "2", "new", "6"], rows_of(messages))

    def test_psycopg2_and_named_statements_of_another_driver(self):
        client = self.connect_autocommit()
        raw = self.raw()
        self.prepare(raw, "select 1", "s")
        for _ in range(5):
            self.assertEqual(1, self.value(client, "select 1"))
            self.assertEqual(["1"], self.fetch(raw, "s"))


@only_pgweir
class SyncTest(PreparedCase):
    def test_supavisor_1079_pgbouncer_759_n_syncs_owe_n_ready(self):
        chance = random.Random(1079)
        clients = [self.raw() for _ in range(8)]
        for raw in clients:
            self.prepare(raw, "select $1::text", "s")
        for round_number in range(30):
            expected = {}
            for number, raw in enumerate(clients):
                packets, answers = [], ""
                for i in range(chance.randrange(1, 30)):
                    how = chance.randrange(5)
                    nonce = "%d/%d/%d" % (number, round_number, i)
                    if how == 0:
                        packets.append(run("s", nonce.encode()) + wire.SYNC)
                        answers += "2DCZ"
                    elif how == 1:
                        packets.append(run("s", nonce.encode()) + run("nosuch") + run("s", b"x")
                                       + wire.SYNC)
                        answers += "2DCEZ"
                    elif how == 2:
                        packets.append(wire.SYNC * 3)
                        answers += "ZZZ"
                    elif how == 3:
                        packets.append(wire.query("select '%s'" % nonce))
                        answers += "TDCZ"
                    else:
                        packets.append(wire.parse("select nosuch") + wire.query("select 'never'")
                                       + wire.SYNC)
                        answers += "EZ"
                expected[raw] = answers
                raw.send(*packets)
            for raw in clients:
                self.assertEqual(expected[raw], kinds(read_ready(raw, expected[raw].count("Z"))))

    def test_pgdog_1356_yugabyte_33915_a_query_behind_an_extended_error(self):
        # PostgreSQL drops it with all the rest up to the Sync: it owes one ReadyForQuery, not two.
        for where in (self.postgres, self.pooler):
            raw = self.raw(where)
            for _ in range(5):
                raw.send(wire.parse("select nosuch"), wire.query("select 'dropped'"),
                         wire.query("select 'dropped too'"), wire.SYNC, wire.query("select 'heard'"))
                messages = read_ready(raw, 2)
                self.assertEqual("EZTDCZ", kinds(messages))
                self.assertEqual(["heard"], rows_of(messages))
        wait_until_given_back(self.pooler, clients=1)

    def test_pgdog_668_887_a_bad_set_leaves_the_server_in_step(self):
        for i in range(10):
            raw = self.raw()
            raw.send(wire.query("set nosuch.setting to"), wire.query("set work_mem = 'much'"),
                     wire.parse("set nosuch = 1"), run(""), wire.SYNC, wire.query("select '%d'" % i))
            messages = read_ready(raw, 4)
            self.assertEqual(["42601", "22023", "42704"], sqlstates(messages))
            self.assertEqual([str(i)], rows_of(messages))
            raw.socket.close()
        wait_until_given_back(self.pooler)
        self.assertEqual([("4MB",)], self.pooler.query("show work_mem"))


@only_pgweir
class StalePlanTest(PreparedCase):
    """A plan whose result type has changed is refused by PostgreSQL (0A000)."""

    def setUp(self):
        self.owner = self.raw()
        self.owner.ask("drop table if exists changing; create table changing (a int);"
                       " insert into changing values (1)")

    def test_outside_a_transaction_it_is_prepared_again(self):
        raw = self.raw()
        self.prepare(raw, "select * from changing", "s")
        self.assertEqual(["1"], self.fetch(raw, "s"))
        for i in range(5):
            self.owner.ask("alter table changing add column b%d int" % i)
            self.assertEqual(["1"], self.fetch(raw, "s"))
        raw.send(wire.describe("S", "s"), wire.SYNC)
        messages = raw.read_until("Z")
        self.assertEqual(6, struct.unpack("!h", messages[1][1][:2])[0])

    def test_also_when_described_in_the_same_batch(self):
        raw = self.raw()
        self.prepare(raw, "select * from changing", "s")
        self.assertEqual(["1"], self.fetch(raw, "s"))
        self.owner.ask("alter table changing add column c int")
        raw.send(wire.bind("", "s"), wire.describe(), wire.execute(), wire.SYNC)
        messages = raw.read_until("Z")
        self.assertEqual("2TDCZ", kinds(messages))
        self.assertEqual(2, struct.unpack("!h", messages[1][1][:2])[0])

    def test_whoever_reads_rows_by_an_old_description_is_told(self):
        described = {
            "once": lambda raw: (raw.send(wire.describe("S", "s"), wire.SYNC), raw.read_until("Z")),
            "with its first portal": lambda raw: (
                raw.send(wire.bind("", "s"), wire.describe(), wire.execute(), wire.SYNC),
                raw.read_until("Z")),
        }
        for how, describe in described.items():
            for where in (self.postgres, self.pooler):
                with self.subTest(how=how, where=where):
                    self.owner.ask("drop table changing; create table changing (a int);"
                                   " insert into changing values (1)")
                    clients = [self.raw(where) for _ in range(5)]
                    for raw in clients:
                        self.prepare(raw, "select * from changing", "s")
                        describe(raw)
                        self.assertEqual(["1"], self.fetch(raw, "s"))
                    # Past the pooler, which cannot know of it.
                    self.raw(self.postgres).ask("alter table changing add column e int")
                    for raw in clients:
                        for _ in range(3):  # on whatever server
                            self.fails(raw, "0A000", run("s"), wire.SYNC)
                        raw.ask("begin")
                        self.fails(raw, "0A000", run("s"), wire.SYNC)
                        raw.ask("rollback")
                        raw.send(close("S", "s"), wire.parse("select * from changing", "s"),
                                 wire.describe("S", "s"), wire.SYNC)
                        messages = raw.read_until("Z")
                        self.assertEqual("31tTZ", kinds(messages))
                        self.assertEqual(2, struct.unpack("!h", messages[3][1][:2])[0])
                    for raw in clients:
                        for _ in range(3):
                            self.assertEqual(["1"], self.fetch(raw, "s"))

    def test_in_a_transaction_it_is_as_postgres_shows_it(self):
        came = []
        for where in (self.postgres, self.pooler):
            self.owner.ask("drop table changing; create table changing (a int)")
            raw = self.raw(where)
            self.prepare(raw, "select * from changing", "s")
            self.fetch(raw, "s")
            raw.ask("begin")
            self.owner.ask("alter table changing add column c int")
            raw.send(run("s"), wire.SYNC)
            messages = raw.read_until("Z")
            raw.ask("rollback")
            came.append([(kind, body) for kind, body in messages])
            self.assertEqual(["0A000"], sqlstates(messages))
        self.assertEqual(came[0], came[1])

    def test_nothing_that_was_carried_out_is_carried_out_again(self):
        raw = self.raw()
        self.owner.ask("create table if not exists counted (n int); truncate counted")
        self.prepare(raw, "insert into counted values (1)", "count")
        self.prepare(raw, "select * from changing", "s")
        self.fetch(raw, "s")
        self.owner.ask("alter table changing add column d int")
        raw.send(run("count"), run("s"), wire.SYNC)
        raw.read_until("Z")
        counted = rows_of(self.owner.ask("select count(*) from counted"))
        self.assertIn(counted, (["0"], ["1"]))

    def test_a_dropped_table(self):
        for where in (self.postgres, self.pooler):
            self.owner.ask("create table if not exists dropped (a int)")
            raw = self.raw(where)
            self.prepare(raw, "select * from dropped", "s")
            self.fetch(raw, "s")
            self.owner.ask("drop table dropped")
            self.fails(raw, "42P01", run("s"), wire.SYNC)
            self.owner.ask("create table dropped (a int)")
            self.assertEqual([], self.fetch(raw, "s"))


class DriverTest(PoolerCase):
    """A driver that prepares in SQL, as DBD::Pg and old PHP do, beside those of the protocol."""

    settings = {"pool": {"minconn": 1, "maxconn": 3}}

    @only_pgweir
    def test_prepare_in_sql_is_kept(self):
        clients = [self.connect_autocommit() for _ in range(3)]
        for i, client in enumerate(clients):
            with client.cursor() as cursor:
                cursor.execute("prepare s(int) as select %s + $1", (i * 100,))
        for round_number in range(5):
            for i, client in enumerate(clients):
                self.assertEqual(i * 100 + round_number,
                                 self.value(client, "execute s(%s)", round_number))
        for client in clients:
            with client.cursor() as cursor:
                cursor.execute("deallocate s")
            with self.assertRaises(psycopg2.Error):
                self.value(client, "execute s(1)")


if __name__ == "__main__":
    unittest.main()
