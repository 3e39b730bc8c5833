"""Many users, many databases: nobody gets another's keys, answers, plans or settings.

PGWEIR_FULL_SIZE=1 keeps everybody busy for a minute."""

import contextlib
import itertools
import random
import threading
import time
import unittest

import psycopg2

from integration.support import wire
from integration.support.case import only_pgweir
from integration.support.login_matrix import FULL_SIZE
from integration.support.peers import RAW_USER, assert_comes_back, kinds, rows_of
from integration.support.pgweir import ADMIN, Pgweir, users
from integration.support.postgres import DATABASE, Postgres, password_of
from integration.support.prepared import PreparedCase

SECONDS = 60 if FULL_SIZE else 5


@only_pgweir
class OneRoleTest(unittest.TestCase):
    """The same role on two PostgreSQL, which keep another verifier of it each."""

    def setUp(self):
        self.servers = {}
        for name in ("first", "second"):
            made = Postgres().start()
            self.addCleanup(made.close)
            made.query("create role pgweir login password 'pgweir-secret'")
            made.query("create role everywhere login password 'of-both'")  # another salt each time
            made.query("create role two_faced login password 'of-%s'" % name)
            made.install_user_lookup()
            self.servers[name] = made

    def pgweir(self, **settings):
        databases = {name: {"host": made.host, "port": made.port, "dbname": DATABASE}
                     for name, made in self.servers.items()}
        # Further names for the same place.
        databases["first_too"] = databases["first"]
        made = Pgweir(self.servers["first"], databases=databases, **settings)
        del made.settings["databases"][DATABASE]
        made.write_config()
        made.start()
        self.addCleanup(made.close)
        return made

    def where(self, pooler, database, user, password):
        """The port of the PostgreSQL one has got to, and who one is there."""
        return pooler.query("select inet_server_port(), current_user::text", database=database, user=user,
                            password=password)[0]

    def refused(self, pooler, **options):
        with self.assertRaises(psycopg2.Error):
            pooler.query("select 1", **options)

    def test_pgbouncer_1501_each_database_has_keys_of_its_own(self):
        pooler = self.pgweir(users=users("pgweir", ADMIN), auth={"query_user": "pgweir"}, pool={"minconn": 1})
        ports = {name: made.port for name, made in self.servers.items()}
        ports["first_too"] = ports["first"]
        for _ in range(3):
            for database, port in ports.items():
                self.assertEqual((port, "everywhere"), self.where(pooler, database, "everywhere", "of-both"))
                own, other = (("of-second", "of-first") if database == "second" else ("of-first", "of-second"))
                self.assertEqual((port, "two_faced"), self.where(pooler, database, "two_faced", own))
                self.refused(pooler, database=database, user="two_faced", password=other)
        # What was learnt for one serves reconnects and refills of that one.
        for made in self.servers.values():
            for user in ("everywhere", "two_faced"):
                assert_comes_back(made, user, 1)
        for database, port in ports.items():
            self.assertEqual((port, "everywhere"), self.where(pooler, database, "everywhere", "of-both"))

    def test_pgbouncer_1501_keys_of_one_server_do_not_break_another(self):
        verifier = self.servers["first"].query("select rolpassword from pg_authid where rolname = 'everywhere'")[0][0]
        pooler = self.pgweir(users={"everywhere": {"password": verifier}, ADMIN: {"password": "x"}},
                             pool={"minconn": 0, "wait_timeout": "2s"})
        told = dict(user="everywhere", password="of-both")
        for _ in range(3):
            self.assertEqual((self.servers["first"].port, "everywhere"), self.where(pooler, "first", **told))
            self.refused(pooler, database="second", **told)  # its verifier is another
            self.assertEqual((self.servers["first"].port, "everywhere"), self.where(pooler, "first_too", **told))


@only_pgweir
class MixedTest(unittest.TestCase):
    """A dozen users in five databases on few servers, all at once."""

    USERS = ["member_%d" % number for number in range(12)]
    DATABASES = ["club_%d" % number for number in range(5)]

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(max_connections=200).start()
        cls.addClassCleanup(cls.postgres.close)
        for user in cls.USERS:
            cls.postgres.query("create role %s login password '%s'" % (user, password_of(user)))
        for database in cls.DATABASES:
            cls.postgres.query("create database " + database)
            cls.postgres.query("create table mark as select current_database()::text as of; grant select on mark"
                               " to public; create table own (who text, said text); alter table own enable row"
                               " level security; create policy own on own using (who = current_user)"
                               "; grant all on own to public", database=database)
        place = {"host": cls.postgres.host, "port": cls.postgres.port}
        cls.pooler = Pgweir(cls.postgres, databases={name: place for name in cls.DATABASES},
                            users=users(ADMIN, *cls.USERS), workers=2,
                            pool={"minconn": 0, "maxconn": 2, "wait_timeout": "30s"}).start()
        cls.addClassCleanup(cls.pooler.close)

    def member(self, number, wrong, counts):
        chance = random.Random(number)
        stop_at = time.monotonic() + SECONDS
        try:
            while time.monotonic() < stop_at:
                user, database = chance.choice(self.USERS), chance.choice(self.DATABASES)
                if chance.random() < 0.1:
                    with contextlib.suppress(psycopg2.OperationalError):
                        psycopg2.connect(**self.pooler.dsn(user=user, database=database, password="wrong")).close()
                        wrong.append((user, database, "got in with a wrong password"))
                with contextlib.closing(psycopg2.connect(**self.pooler.dsn(user=user, database=database))) as one:
                    one.autocommit = True
                    cursor = one.cursor()
                    for _ in range(chance.randrange(1, 30)):
                        nonce = str(chance.randrange(1 << 40))
                        cursor.execute("insert into own values (current_user, %s)", (nonce,))
                        cursor.execute("select current_user::text, session_user::text, current_database()::text,"
                                       " (select of from mark), (select bool_and(who = current_user) from own),"
                                       " %s", (nonce,))
                        row = cursor.fetchone()
                        counts[number] += 1
                        if row != (user, user, database, database, True, nonce):
                            wrong.append((user, database, nonce, row))
        except Exception as error:  # pylint: disable=broad-except
            wrong.append(repr(error))

    def test_pgpool_2024_45624_2023_22332_everybody_sees_their_own(self):
        wrong, counts = [], [0] * 24
        threads = [threading.Thread(target=self.member, args=(number, wrong, counts)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong[:5])
        print("%d answers, each its own" % sum(counts), flush=True)
        self.assertGreater(sum(counts), 500)


@only_pgweir
class RolesTest(PreparedCase):
    """Clients with the same statements on the same server, under other roles and other search paths."""

    settings = dict(PreparedCase.settings, pool={"minconn": 1, "maxconn": 1, "wait_timeout": "30s"})
    ROLES = ("anna", "otto", "eva")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for role in cls.ROLES:
            cls.postgres.query("create role %s; grant %s to %s; create schema %s; create table %s.place as select"
                               " '%s' as of; grant usage on schema %s to public; grant select on %s.place to public"
                               % ((role, role, RAW_USER) + (role,) * 5), database=DATABASE)
        cls.postgres.query(
            "create table secrets as select unnest(array['anna', 'otto', 'eva']) as who; alter table secrets enable"
            " row level security; create policy own on secrets using (who = current_user); grant select on secrets"
            " to public; create function seen() returns setof secrets language sql stable as 'select * from secrets'",
            database=DATABASE)

    def check(self, setting, text):
        clients = {role: self.raw() for role in self.ROLES}
        for role, raw in clients.items():
            raw.ask(setting % role)
            self.prepare(raw, text, "s")
        for _ in range(8):  # from the sixth time on a generic plan
            for role, raw in clients.items():
                self.assertEqual([role], self.fetch(raw, "s"))
        clients["anna"].ask(setting % "otto")
        self.assertEqual(["otto"], self.fetch(clients["anna"], "s"))
        self.assertEqual(["eva"], self.fetch(clients["eva"], "s"))

    def test_pg_2016_2193_no_plan_of_another_role(self):
        self.check("set role %s", "select who from secrets")

    def test_pg_2023_2455_no_inlined_function_of_another_role(self):
        self.check("set role %s", "select who from seen()")

    def test_no_plan_of_another_search_path(self):
        self.check("set search_path = %s", "select of from place")


@only_pgweir
class EncodingTest(PreparedCase):
    """PG 2025-1094: what is half a character in one encoding is a quote in another."""

    HOSTILE = (b"\xbf'; create table intruder(); --", b"\xc0'; create table intruder(); --", b"\x81\\'; create table"
               b" intruder(); --", b"\xe5'||(select 1)||'", b"a\xf0'\xf0''; create table intruder(); --")
    ENCODINGS = ("SJIS", "BIG5", "GBK", "UHC", "GB18030", "UTF8", "LATIN1", "SQL_ASCII")

    def start(self, user, **parameters):
        pairs = b"".join(name.encode() + b"\0" + value + b"\0" for name, value in dict(
            parameters, user=user, database=DATABASE.encode()).items())
        raw = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(raw.socket.close)
        raw.send(wire.untyped(wire.PROTOCOL_3_0, pairs + b"\0"))
        return raw

    def no_intruder(self):
        self.assertEqual([], self.postgres.query("select 1 from pg_class where relname = 'intruder'",
                                                 database=DATABASE))

    def test_pg_2025_1094_settings_are_values_in_every_encoding(self):
        for encoding, hostile in itertools.product(self.ENCODINGS, self.HOSTILE):
            with self.subTest(encoding=encoding, hostile=hostile):
                for setting in ("application_name", "search_path"):
                    raw = self.start(RAW_USER.encode(), client_encoding=encoding.encode(), **{setting: hostile})
                    other = self.raw()
                    if raw.read_to_end_or("Z")[-1][0] == "Z":
                        for _ in range(2):  # again and again it is replayed on the one server
                            other.ask("select 1")
                            raw.send(wire.query("select current_user"))
                            raw.read_to_end_or("Z")
                    self.assertEqual([RAW_USER], rows_of(other.ask("select current_user")))
                    raw.socket.close()
                    other.socket.close()
        self.no_intruder()

    def test_pg_2025_1094_a_user_that_is_looked_up_is_a_value(self):
        self.postgres.query("create role pgweir login password 'pgweir-secret'")
        self.postgres.install_user_lookup()
        asked = Pgweir(self.postgres, users=users("pgweir", ADMIN), auth={"method": "password",
                                                                           "query_user": "pgweir"}).start()
        self.addCleanup(asked.close)
        trusting, self.pooler = self.pooler, asked
        try:
            for encoding, hostile in itertools.product(self.ENCODINGS, self.HOSTILE):
                raw = self.start(hostile, client_encoding=encoding.encode())
                raw.send(wire.message("p", b"x\0"))
                self.assertNotIn("Z", kinds(raw.read_to_end()), (encoding, hostile))
        finally:
            self.pooler = trusting
        self.no_intruder()
        self.assertEqual([(1,)], asked.query("select 1"))


if __name__ == "__main__":
    unittest.main()
