"""State that no text shows, made inside functions, triggers, views and what else calls them: in
transaction mode it stays with its client, and no other client finds it. The daemon hands out another
server at every boundary where it may (--rotate-servers)."""

import contextlib
import struct
import unittest

from integration.support import wire
from integration.support.case import PoolerCase, new_pooler, only_pgweir
from integration.support.peers import SilencingProxy
from integration.support.postgres import DATABASE, OWNER
from integration.support.waiting import wait_for

SERVERS = 3
SETTINGS = {"rotate": True, "workers": 2, "auth": {"method": "trust"},
            "pool": {"mode": "transaction", "minconn": SERVERS, "maxconn": SERVERS}}
SET = "perform set_config('join_collapse_limit', '%s', false);"

# What is made, and the text that does not show that it sets join_collapse_limit to 5 (or 4, as a role).
HIDING = {
    "function": ("create function f() returns void language plpgsql as $$ begin SET end $$",
                 "select f()"),
    "quoted": ('create function "F f"() returns void language plpgsql as $$ begin SET end $$',
               'select "F f"()'),
    "quoted body": ("create function f() returns void language plpgsql as"
                    " 'begin perform set_config(''join_collapse_limit'', ''5'', false); end'", "select f()"),
    "sql": ("create function f() returns text language sql as"
            " $$ select set_config('join_collapse_limit', '5', false) $$", "select * from f()"),
    "sql standard body": ("create function f() returns text language sql begin atomic"
                          " select set_config('join_collapse_limit', '5', false); end", "select f()"),
    "default argument": ("create function f(a text default"
                         " set_config('join_collapse_limit', '5', false)) returns text"
                         " language plpgsql as 'begin return a; end'", "select f()"),
    "procedure": ("create procedure f() language plpgsql as $$ begin SET end $$", "call f()"),
    "dynamic": ("create function f() returns void language plpgsql as"
                " $$ begin execute 'set join_collapse_limit = ' || 5; end $$", "select f()"),
    "dynamic, a variable": ("create function f() returns void language plpgsql as $$ declare s text;"
                            " begin s := 's' || 'et join_collapse_limit = 5'; execute s; end $$",
                            "select f()"),
    "dynamic, a name behind SET": (
        "create function f() returns void language plpgsql as"
        " $$ begin execute 'set ' || quote_ident('join_collapse_limit') || ' to ' || 5; end $$", "select f()"),
    "dynamic, concat": ("create function f(a text) returns void language plpgsql as"
                        " $$ begin execute concat('set ', a, ' to 5'); end $$",
                        "select f('join_collapse_limit')"),
    "dynamic, format": ("create function f(a text) returns void language plpgsql as"
                        " $$ begin execute format('set join_%s to 5', a); end $$",
                        "select f('collapse_limit')"),
    "dynamic, a statement behind another": (
        "create procedure f(a text) language plpgsql as $$ begin execute 'select 1; ' || a; end $$",
        "call f('set join_collapse_limit to 5')"),
    "dynamic, an assignment by =": (
        "create function f(a text) returns void language plpgsql as $$ declare s text; begin s := 'select 1';"
        " if a <> '' then s = a; end if; execute s; end $$", "select f('set join_collapse_limit to 5')"),
    "dynamic, a parameter": (
        "create function f(a text) returns void language plpgsql as"
        " $$ begin if a = '' then a := 'select 1'; end if; execute a; end $$",
        "select f('set join_collapse_limit to 5')"),
    "dynamic, an initial value": (
        "create function f(a text) returns void language plpgsql as $$ declare s text := a;"
        " begin if s is null then s := 'select 1'; end if; execute s; end $$",
        "select f('set join_collapse_limit to 5')"),
    "query_to_xml": (
        "create function f(a text) returns xml language sql as $$ select query_to_xml(a, true, true, '') $$",
        "select f('select set_config(''join_collapse_limit'', ''5'', false)')"),
    "view with ts_stat": (
        "create view f as select word from"
        " ts_stat('select set_config(''join_collapse_limit'', ''5'', false)::tsvector')", "select * from f"),
    "two calls away": ("create function f() returns void language plpgsql as $$ begin SET end $$;"
                       "create function g() returns void language plpgsql as $$ begin perform f(); end $$;"
                       "create function h() returns void language plpgsql as"
                       " $$ begin execute 'select g()'; end $$", "select h()"),
    "made by another": ("create function maker() returns void language plpgsql as $$ begin"
                        " execute $q$ create or replace function f() returns void language plpgsql as"
                        " $z$ begin SET end $z$ $q$; end $$; select maker()", "select f()"),
    "view": ("create view f as select set_config('join_collapse_limit', '5', false)", "select * from f"),
    "view of a view": ("create function g() returns text language sql as"
                       " $$ select set_config('join_collapse_limit', '5', false) $$;"
                       "create view h as select g(); create view f as select * from h", "table f"),
    "rule": ("create table f (a int); create table t (a int); create rule r as on insert to f"
             " do instead select set_config('join_collapse_limit', '5', false)",
             "insert into f values (1)"),
    "trigger": ("create function g() returns trigger language plpgsql as $$ begin SET return null; end $$;"
                "create table f (a int); create trigger t after insert on f execute function g()",
                "insert into f values (1)"),
    "trigger of a partition": (
        "create function g() returns trigger language plpgsql as $$ begin SET return null; end $$;"
        "create table f (a int) partition by list (a); create table p partition of f for values in (1);"
        "create trigger t after insert on p for each row execute function g()",
        "insert into f values (1)"),
    "trigger behind a foreign key": (
        "create function g() returns trigger language plpgsql as $$ begin SET return null; end $$;"
        "create table f (a int primary key); create table p (a int references f on delete cascade);"
        "create trigger t after delete on p for each row execute function g();"
        "insert into f values (1); insert into p values (1)", "delete from f"),
    "trigger of a view's table": (
        "create function g() returns trigger language plpgsql as $$ begin SET return null; end $$;"
        "create table t (a int); create trigger t after insert on t execute function g();"
        "create view f as select * from t", "insert into f values (1)"),
    "default": ("create table f (a int, b text default set_config('join_collapse_limit', '5', false))",
                "insert into f values (1)"),
    "check": ("create table f (a text check (set_config('join_collapse_limit', a, false) is not null))",
              "insert into f values (5)"),
    "policy": ("create function g() returns boolean language plpgsql as $$ begin SET return true; end $$;"
               "create table f (a int); insert into f values (1); alter table f enable row level security,"
               " force row level security; create policy p on f using (g())", "select * from f"),
    "domain": ("create function g(text) returns boolean language plpgsql as"
               " $$ begin SET return true; end $$;"
               "create domain f as text check (g(value))", "select 'x'::f"),
    "domain of a column": (
        "create function g(text) returns boolean language plpgsql as $$ begin SET return true; end $$;"
        "create domain d as text check (g(value)); create table f (a d)", "insert into f values ('x')"),
    "aggregate": ("create function g(text, text) returns text language plpgsql as"
                  " $$ begin SET return $1; end $$;"
                  "create aggregate f(text) (sfunc = g, stype = text, initcond = '')", "select f('x')"),
    "operator": ("create function g(text, text) returns text language plpgsql as"
                 " $$ begin SET return $1; end $$;"
                 "create operator ### (function = g, leftarg = text, rightarg = text)",
                 "select 'a'::text ### 'b'::text"),
}
SCHEMA = "drop schema if exists made cascade; create schema made authorization %s" % OWNER


def started(postgres):
    return contextlib.closing(new_pooler(postgres, **SETTINGS).start())


def made_by(name):
    return HIDING[name][0].replace("SET", SET % 5)


class Session:
    def __init__(self, pooler):
        self.wire = wire.Wire(pooler.host, pooler.port)
        self.wire.log_in("", user=OWNER, database=DATABASE, search_path="made")

    def ask(self, text, extended=False):
        """The rows' first columns, or the SQLSTATE."""
        self.wire.send(*([wire.parse(text), wire.bind(), wire.execute(), wire.SYNC] if extended
                         else [wire.query(text)]))
        rows = []
        for kind, body in self.wire.read_until("Z"):
            if kind == "D":
                rows.append(body[6:].decode())
            elif kind == "E":
                raise AssertionError(text, wire.error_fields(body))
        return rows

    def limits(self):
        """Looked at on another server each time, where that is permitted."""
        return {self.ask("select current_setting('join_collapse_limit')")[0]
                for _ in range(SERVERS + 1)}

    def close(self):
        self.wire.socket.close()


class FunctionsCase(PoolerCase):
    settings = SETTINGS

    def setUp(self):
        self.postgres.query(SCHEMA, database=DATABASE)

    def session(self, pooler=None):
        session = Session(pooler or self.pooler)
        self.addCleanup(session.close)
        return session

    def directly(self, sql):
        self.postgres.query("set search_path = made; set role %s; %s" % (OWNER, sql), database=DATABASE)

    def stays_with_its_client(self, pooler, use, extended):
        other = self.session(pooler)
        self.assertEqual({"8"}, other.limits())
        a = self.session(pooler)
        a.ask(use, extended)
        self.assertEqual({"5"}, a.limits())
        self.assertEqual({"8"}, other.limits())
        a.close()
        self.assertEqual({"8"}, other.limits())
        self.assertEqual({"8"}, self.session(pooler).limits())


@only_pgweir
class FunctionsTest(FunctionsCase):
    def test_made_before_the_daemon_starts(self):
        for number, (name, (_, use)) in enumerate(HIDING.items()):
            with self.subTest(name=name):
                self.setUp()
                self.directly(made_by(name))
                with started(self.postgres) as pooler:
                    self.stays_with_its_client(pooler, use, number % 2 == 1)

    def test_made_by_a_client(self):
        """It counts from the moment the client hears that it is done, for others as well."""
        for number, (name, (_, use)) in enumerate(HIDING.items()):
            with self.subTest(name=name):
                self.setUp()
                maker = self.session()
                maker.ask(made_by(name), number % 2 == 1 and ";" not in made_by(name))
                maker.close()
                self.stays_with_its_client(self.pooler, use, number % 2 == 0)

    def test_made_and_used_in_one_transaction(self):
        a = self.session()
        a.ask("begin")
        a.ask(made_by("function"))
        a.ask("select f()")
        a.ask("commit")
        self.assertEqual({"5"}, a.limits())
        self.assertEqual({"8"}, self.session().limits())

    def test_prepared_before_it_was_made(self):
        """What a statement does is looked at again when what its names hide has changed."""
        self.directly("create function f() returns text language sql as 'select 1::text'")
        a = self.session()
        a.wire.send(wire.parse("select f()", "mine"), wire.SYNC)
        a.wire.read_until("Z")
        self.session().ask("create or replace function f() returns text language sql as"
                           " $$ select set_config('join_collapse_limit', '5', false) $$")
        a.wire.send(wire.bind(name="mine"), wire.execute(), wire.SYNC)
        a.wire.read_until("Z")
        self.assertEqual({"5"}, a.limits())

    def test_called_by_number(self):
        self.directly(made_by("sql"))
        number = int(self.postgres.query("select 'made.f'::regproc::oid", database=DATABASE)[0][0])
        with started(self.postgres) as pooler:
            a = self.session(pooler)
            a.wire.send(wire.message("F", struct.pack("!ihhh", number, 0, 0, 0)))
            a.wire.read_until("Z")
            self.assertEqual({"5"}, a.limits())
            self.assertEqual({"8"}, self.session(pooler).limits())

    def test_nothing_pins_that_does_nothing(self):
        """And a setting whose name the function shows pins nobody either."""
        self.directly("create function plain() returns void language plpgsql as"
                      " $$ begin update t set a = 1; perform set_config('work_mem', '1MB', true);"
                      " execute 'insert into ' || 't' || ' values (2)'; end $$; create table t (a int);"
                      "create function declared() returns setof int language plpgsql as"
                      " $$ declare s text := 'select * from t'; begin s := s || ' limit ' || 1;"
                      " return query execute s; end $$;"
                      + made_by("sql"))
        with started(self.postgres) as pooler:
            a = self.session(pooler)
            for _ in range(3):
                a.ask("select plain()")
                a.ask("select declared()")
                a.ask("select f()")
            self.assertEqual({"5"}, a.limits())
            self.assertEqual(0, pooler.metric("pgweir_pins_total", user=OWNER))

    def test_in_c_and_of_the_applications_own(self):
        """Nobody can read what they keep in memory: whoever calls one keeps its server, which is nobody's
        afterwards. What only computes something is another matter."""
        self.postgres.query(
            "set search_path = made; create extension if not exists pg_trgm schema public;"
            "create function volatile_one() returns uuid language c as '$libdir/pgcrypto', 'pg_random_uuid';"
            "create function keeps_nothing(text, text) returns bytea immutable language c"
            " as '$libdir/pgcrypto', 'pg_digest';"
            "create function same(text, text) returns boolean strict language c as '$libdir/citext', 'citext_eq';"
            "create operator === (function = same, leftarg = text, rightarg = text);"
            "create function stamp() returns trigger language c as '$libdir/moddatetime', 'moddatetime';"
            "create table stamped (a int, at timestamp);"
            "create trigger t before update on stamped for each row execute function stamp('at');"
            "grant all on all tables in schema made to %s" % OWNER, database=DATABASE)
        with started(self.postgres) as pooler:
            for use, pins in (("select volatile_one()", 1), ("select keeps_nothing('a', 'md5')", 0),
                              ("select text 'a' === text 'A'", 0),
                              ("select public.set_limit(public.show_limit())", 1),
                              ("select public.similarity('a', 'b')", 0), ("table stamped", 0),
                              ("update stamped set a = 1", 1), ("select 1", 0)):
                with self.subTest(use=use):
                    a = self.session(pooler)
                    backend = a.ask("select pg_backend_pid()")
                    before = pooler.metric("pgweir_pool_pins_total", user=OWNER, reason="loaded_library")
                    a.ask(use)
                    if pins:
                        backend = a.ask("select pg_backend_pid()")
                        self.assertEqual(backend, a.ask("select pg_backend_pid()"))
                    self.assertEqual(before + pins, pooler.metric(
                        "pgweir_pool_pins_total", user=OWNER, reason="loaded_library"))
                    a.close()
                    if pins:
                        wait_for(lambda: not self.postgres.query(
                            "select from pg_stat_activity where pid = %s" % backend[0]), "it is closed")


@only_pgweir
class MadePastTheDaemonTest(FunctionsCase):
    settings = dict(SETTINGS, functions_interval="100ms")

    def test_it_counts_after_a_while(self):
        self.directly(made_by("function"))

        def is_noticed():
            a, other = self.session(), self.session()
            a.ask("select f()")
            seen = a.limits(), other.limits()
            a.close()
            other.ask("reset all")
            return seen == ({"5"}, {"8"})
        wait_for(is_noticed, "it is noticed")


@only_pgweir
class NotReadTest(FunctionsCase):
    """Where the catalogues cannot be read nobody waits, and no server is closed for it. What PostgreSQL can
    be asked about stays with its client, and nothing is found by others."""
    FAILURE = "what functions do to a session cannot be read"

    def starts(self, **settings):
        pooler = new_pooler(self.postgres, **dict(SETTINGS, **settings)).start()
        self.addCleanup(pooler.close)
        return pooler

    def is_known(self, pooler):
        return pooler.metric("pgweir_pool_catalogue_known", user=OWNER) == 1

    def forbid(self):
        self.postgres.query("revoke select on pg_catalog.pg_policy from public", database=DATABASE)

    def permit(self):
        self.postgres.query("grant select on pg_catalog.pg_policy to public", database=DATABASE)

    def test_it_is_read_where_nothing_is_wrong(self):
        pooler = self.starts(functions_interval="100ms")
        self.assertEqual(["1"], self.session(pooler).ask("select 1"))
        wait_for(lambda: pooler.metric("pgweir_catalogue_questions_total", user=OWNER) > 5, "it is read again")
        self.assertTrue(self.is_known(pooler))
        self.assertEqual(0, pooler.metric("pgweir_catalogue_questions_failed_total", user=OWNER))

    def test_forbidden(self):
        self.forbid()
        self.addCleanup(self.permit)
        self.directly("create function locks() returns void language sql as 'select pg_advisory_lock(7)';"
                      "create function custom() returns text language sql as"
                      " $$ select set_config('app.tenant', '7', false) $$;" + made_by("function"))
        pooler = self.starts(functions_interval="300ms")
        self.stays_with_its_client(pooler, "select f()", False)
        a, other = self.session(pooler), self.session(pooler)
        a.ask("select locks()")
        for _ in range(SERVERS):
            self.assertEqual(["t"], a.ask("select pg_advisory_unlock(7)"))
            a.ask("select locks()")
        a.ask("select custom()")
        for _ in range(2 * SERVERS):
            self.assertIn(other.ask("select current_setting('app.tenant', true)")[0], ("", "\xff\xff\xff\xff"))
        self.assertFalse(self.is_known(pooler))
        # A client that makes something does not wait either.
        self.session(pooler).ask("create or replace function g() returns text language sql as"
                                 " $$ select set_config('work_mem', '7MB', false) $$")
        self.assertEqual(1, pooler.log().count(self.FAILURE))
        self.permit()
        wait_for(lambda: self.is_known(pooler), "it is tried again")
        self.assertEqual(1, pooler.log().count("can be read again"))
        self.assertEqual(SERVERS, pooler.metric("pgweir_server_connects_total", user=OWNER))
        a.close()
        self.stays_with_its_client(pooler, "select f()", True)

    def test_relations_that_are_locked(self):
        """As a migration does for minutes: nobody waits for it, and everything is known."""
        self.directly(made_by("view") + "; create table t (a text default"
                      " set_config('join_collapse_limit', '5', false))")
        with contextlib.closing(self.postgres.connect(database=DATABASE)) as migration:
            migration.cursor().execute("begin; lock table made.f, made.t in access exclusive mode")
            pooler = self.starts()
            session = self.session(pooler)
            self.assertEqual(["1"], session.ask("select 1"))
            self.assertTrue(self.is_known(pooler))
            migration.rollback()
        self.stays_with_its_client(pooler, "select * from f", False)

    def test_a_catalogue_that_is_locked(self):
        """As VACUUM FULL does."""
        with contextlib.closing(self.postgres.connect(database=DATABASE)) as vacuum:
            vacuum.cursor().execute("begin; lock table pg_catalog.pg_policy in access exclusive mode")
            pooler = self.starts(functions_interval="1s")
            self.assertEqual(["1"], self.session(pooler).ask("select 1"))
            self.assertFalse(self.is_known(pooler))
            wait_for(lambda: "lock timeout" in pooler.log(), "it is said", 20)
            vacuum.rollback()
        wait_for(lambda: self.is_known(pooler), "it is tried again")
        self.assertEqual(SERVERS, pooler.metric("pgweir_server_connects_total", user=OWNER))

    def test_a_question_that_is_not_answered(self):
        """That server is closed, once. Others are served, and asked later."""
        proxy = SilencingProxy(self.postgres, b"pgw_names")
        self.addCleanup(proxy.close)
        pooler = self.starts(workers=1, databases={DATABASE: {"host": proxy.host, "port": proxy.port}},
                             pool={"mode": "transaction", "minconn": 1, "maxconn": 1})
        session = self.session(pooler)
        for _ in range(3):
            self.assertEqual(["1"], session.ask("select 1"))
        self.assertFalse(self.is_known(pooler))
        self.assertEqual(2, pooler.metric("pgweir_server_connects_total", user=OWNER))
        self.assertEqual(1, pooler.log().count(self.FAILURE))


if __name__ == "__main__":
    unittest.main()
