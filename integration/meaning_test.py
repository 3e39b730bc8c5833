"""What a prepared statement means to a client in transaction mode: what it meant when that client parsed it, as far as
PostgreSQL keeps it so. Equal texts of others may mean something else: other tables are found first, tables have been
altered since, constants are read otherwise. Each script gives the same directly and through the pooler, which hands out
another server at every boundary where it may."""

import struct
import unittest

import psycopg2

from integration.support import wire
from integration.support.case import only_pgweir
from integration.support.peers import RAW_USER
from integration.support.postgres import DATABASE
from integration.support.raw_case import RawCase

MIDNIGHT = "select extract(epoch from '2020-01-01 00:00'::timestamptz)::bigint"
TABLES = """
drop schema if exists one, other cascade;
create schema one; create schema other;
create table one.priced (price int8, what text); create table other.priced (price float8, size int, what text);
insert into one.priced values (1, 'one'); insert into other.priced values (1, 7, 'other');
drop table if exists public.altered; create table public.altered (id int default 1, price bigint, what text);
insert into public.altered (what) values ('first');
grant all on schema one, other, public to public; grant all on all tables in schema one, other, public to public;
"""


def int4(value):
    return struct.pack("!i", value)


def int8(value):
    return struct.pack("!q", value)


def float8(value):
    return struct.pack("!d", value)


def bind_binary(name, *values):
    body = b"\0" + name.encode() + b"\0" + struct.pack("!hhh", 1, 1, len(values))
    body += b"".join(int4(len(value)) + value for value in values)
    return wire.message("B", body + struct.pack("!h", 0))


def answer(raw, *packets):
    """What comes back, but for what differs between servers."""
    raw.send(*packets, wire.SYNC)
    return [wire.error_fields(body)["C"] if kind == "E" else (kind, body.hex())
            for kind, body in raw.read_until("Z") if kind in "DCE"]


def parse(raw, text):
    answer(raw, wire.parse(text, "s"), wire.describe("S", "s"))


def use(raw, *values):
    return answer(raw, bind_binary("s", *values), wire.execute())


@only_pgweir
class MeaningTest(RawCase):
    settings = dict(RawCase.settings, workers=1, rotate=True,
                    pool={"minconn": 3, "maxconn": 3, "wait_timeout": "30s"})

    def setUp(self):
        super().setUp()
        self.alter(TABLES)

    def alter(self, sql):
        """Past the pooler, as a migration is."""
        self.postgres.query(sql, database=DATABASE)

    def compare(self, script):
        came = []
        for where in (self.postgres, self.pooler):
            self.alter(TABLES)
            came.append(script(lambda where=where: self.raw(where)))
        self.assertEqual(*came)

    def test_tables_found_by_the_transactions_own_search_path(self):
        for text, values in (("select what from priced where price = $1", (int8(1), float8(1))),
                             ("insert into priced (price) values ($1)", (int8(3), float8(2.5))),
                             ("select * from priced", ((), ()))):
            with self.subTest(text):
                self.compare(lambda new, text=text, values=values: self.two_tenants(new, text, values))

    @staticmethod
    def two_tenants(new, text, values):
        tenants = [(new(), schema, value) for schema, value in zip(("one", "other"), values)]
        came = []
        for turn in range(6):
            for raw, schema, value in tenants:
                raw.ask("begin; set local search_path = %s" % schema)
                if turn == 0:
                    parse(raw, text)
                came.append(use(raw, *([value] if value else [])))
                raw.ask("commit")
        came.append(answer(tenants[0][0], wire.parse("select price, count(*) from one.priced group by 1 order by 1"),
                           wire.bind(), wire.execute()))
        return came

    def test_constants_read_under_settings_of_the_transaction_alone(self):
        def script(new):
            came = []
            clients = [(new(), zone) for zone in ("Asia/Tokyo", "America/New_York")]
            for turn in range(6):
                for raw, zone in clients:
                    raw.ask("begin; select set_config('timezone', '%s', true)" % zone)
                    if turn == 0:
                        parse(raw, MIDNIGHT)
                    came.append(use(raw))
                    raw.ask("commit")
            return came
        self.compare(script)

    def test_who_sets_and_parses_in_one_go_does_so_for_nobody_else(self):
        def script(new):
            sets, innocent = new(), new()
            sets.send(wire.query("set timezone = 'Asia/Tokyo'"), wire.parse(MIDNIGHT, "s"), wire.SYNC)
            sets.read_until("Z")
            sets.read_until("Z")
            parse(innocent, MIDNIGHT)
            return [use(raw) for _ in range(6) for raw in (innocent, sets)]
        self.compare(script)

    def test_a_session_that_begins_after_a_table_was_altered(self):
        cases = (("select * from altered", (), "add column size int default 5", ()),
                 ("select what from altered where id = $1", (int4(1),), "alter column id type bigint", (int8(1),)),
                 ("insert into altered (price) values ($1)", (int8(1),), "alter column price type float8",
                  (float8(2.5),)))

        def script(new, text, before, change, after):
            olds = [new() for _ in range(3)]
            for old in olds:  # every server knows it
                parse(old, text)
            for _ in range(3):
                for old in olds:
                    use(old, *before)
            for old in olds:
                old.socket.close()
            self.alter("alter table altered " + change)
            came = []
            for _ in range(2):
                young = new()
                parse(young, text)
                for _ in range(5):
                    came.append(use(young, *after))
                    young.ask("begin")  # there, it cannot be asked once more
                    came.append(use(young, *after))
                    young.ask("commit")
            return came
        for case in cases:
            with self.subTest(case[0]):
                self.compare(lambda new, case=case: script(new, *case))

    def test_a_session_goes_on_sending_what_it_was_told_to_send(self):
        def script(new):
            old = new()
            parse(old, "insert into altered (id, price, what) values ($1, $2, 'old')")
            came = [use(old, int4(1), int8(7))]
            self.alter("alter table altered alter column id type bigint, alter column price type float8")
            came += [use(old, int4(1), int8(7)) for _ in range(5)]
            came.append(answer(new(), wire.parse("select id, price, count(*) from altered where what = 'old' group by 1, 2"),
                               wire.bind(), wire.execute()))
            return came
        self.compare(script)

    def test_nobody_is_pinned_by_it(self):
        raw = self.raw()
        raw.ask("begin; set local search_path = one")
        parse(raw, "select what from priced")
        raw.ask("commit")
        use(raw)
        with psycopg2.connect(**self.pooler.dsn(user=RAW_USER)) as other, other.cursor() as cursor:
            cursor.execute("select 1")
        self.assertEqual(0, self.pooler.metric("pgweir_pool_pinned_clients"))


if __name__ == "__main__":
    unittest.main()
