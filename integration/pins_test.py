"""What keeps a client on its server in transaction mode, and that it goes on without it when PostgreSQL
says that nothing of it is there any more. One server: whoever is not pinned lets others have it."""

import contextlib
import time

import psycopg2

from integration.support import wire
from integration.support.case import PoolerCase, new_pooler, only_pgweir
from integration.support.postgres import DATABASE, OWNER, password_of
from integration.support.waiting import wait_for

# reason, what makes it, what gives it up
MADE_AND_GIVEN_UP = [
    ("temporary_object", "create temp table mine (value text)", "drop table mine"),
    ("temporary_object", "create view pg_temp.mine as select 1", "drop view pg_temp.mine"),
    ("temporary_object", "create function pg_temp.mine() returns int language sql as 'select 1'",
     "discard temp"),
    ("held_cursor", "declare mine cursor with hold for select 1", "close mine"),
    ("sql_statement", "prepare mine as select 1", "deallocate mine"),
    ("listen", "listen mine", "unlisten mine"),
    ("advisory_lock", "select pg_advisory_lock(7)", "select pg_advisory_unlock(7)"),
    ("advisory_lock", "select pg_try_advisory_lock_shared(7)", "select pg_advisory_unlock_all()"),
]

NEVER_THERE = [
    "begin; create temp table mine (value text); rollback",
    "begin; create temp table mine (value text) on commit drop; commit",
    "create temp table mine (value text); drop table mine",
    "begin; savepoint a; declare mine cursor with hold for select 1; rollback to a; commit",
    "begin; listen mine; rollback",
    "select 1 where pg_try_advisory_lock(8)",  # which another session has
    "do $$ begin null; end $$",
    "do $$ begin execute 'create table pg_' || 'temp.mine ()'; drop table pg_temp.mine; end $$",
    "discard plans",
]

LEFT = """select (select count(*) from pg_class where relnamespace = pg_my_temp_schema())
               + (select count(*) from pg_cursors where is_holdable)
               + (select count(*) from pg_prepared_statements where from_sql)
               + (select count(*) from pg_listening_channels())
               + (select count(*) from pg_locks where locktype = 'advisory'
                                                  and pid = pg_backend_pid())"""


@only_pgweir
class PinsTest(PoolerCase):
    settings = {"workers": 1, "pool": {"minconn": 1, "maxconn": 1,
                                       "session_state": {"listen": "pin"}}}

    def client(self):
        connection = self.pooler.connect()
        connection.autocommit = True
        return connection.cursor()

    def pinned(self):
        return self.pooler.metric("pgweir_pool_pinned_clients", user=OWNER)

    def becomes_pinned(self, by_how_many):
        wait_for(lambda: self.pinned() == by_how_many, "%d pinned" % by_how_many)

    def another_is_served(self):
        """... and finds nothing on the server."""
        other = self.client()
        other.execute(LEFT)
        self.assertEqual(0, other.fetchone()[0])
        other.connection.close()

    def test_made_and_given_up(self):
        for reason, make, give_up in MADE_AND_GIVEN_UP:
            with self.subTest(make=make):
                one = self.client()
                one.execute(make)
                self.becomes_pinned(1)
                one.execute("select 1")
                self.assertIn(reason, self.holding())
                one.execute(give_up)
                self.another_is_served()
                self.becomes_pinned(0)
                one.execute("select 1")
                one.connection.close()

    def holding(self):
        return [row["state"] for row in self.pooler.console("SHOW LEASES")][0]

    def test_what_was_never_there(self):
        with contextlib.closing(self.postgres.connect()) as outside:
            outside.cursor().execute("select pg_advisory_lock(8)")
            for text in NEVER_THERE:
                with self.subTest(text=text):
                    before = self.pooler.metric("pgweir_pins_total", user=OWNER)
                    one = self.client()
                    one.execute(text)
                    self.another_is_served()
                    self.assertEqual(before, self.pooler.metric("pgweir_pins_total", user=OWNER))
                    one.connection.close()

    def test_some_of_it_is_still_there(self):
        one = self.client()
        one.execute("create temp table mine (value text); listen mine")
        self.becomes_pinned(1)
        one.execute("drop table mine")
        wait_for(lambda: self.holding().endswith("pinned: listen"), "only LISTEN pins")
        one.execute("unlisten *")
        self.another_is_served()

    def test_what_was_prepared_for_asking_is_gone(self):
        one = self.client()
        one.execute("create temp table mine (value text)")
        one.execute("do $$ begin execute 'deallocate ' || 'all'; end $$")
        one.execute("drop table mine")
        self.another_is_served()

    def test_what_a_prepared_statement_does_is_not_known(self):
        one = self.client()
        one.execute("prepare mine as select set_config('work_mem', '7MB', false)")
        one.execute("execute mine")
        one.execute("deallocate mine")
        one.execute("show work_mem")
        self.assertEqual("7MB", one.fetchone()[0])
        self.becomes_pinned(1)

    def test_who_pins_why_and_how_often(self):
        one = self.pooler.connect(application_name="front desk")
        one.autocommit = True
        cursor = one.cursor()
        for name in ("mine", "yours"):
            cursor.execute("create temp table t as select '%s'; listen mine" % name)
            self.becomes_pinned(1)
            cursor.execute("drop table t; unlisten *")
            self.becomes_pinned(0)
        cursor.execute("listen mine")
        self.becomes_pinned(1)
        rows = {(row["reason"], row["query"]): row for row in self.pooler.console("SHOW PINS")
                if row["application_name"] == "front desk"}
        both = "create temp table t as select ?; listen mine"
        self.assertEqual([("listen", both), ("listen", "listen mine"), ("temporary_object", both)],
                         sorted(rows))
        self.assertEqual((2, 0), (rows["listen", both]["times"], rows["listen", both]["pinned"]))
        self.assertGreater(rows["temporary_object", both]["seconds"], 0)
        self.assertEqual(1, rows["listen", "listen mine"]["pinned"])
        self.assertEqual(1, self.pooler.metric("pgweir_pool_pins", user=OWNER, reason="listen"))
        self.assertEqual(0, self.pooler.metric("pgweir_pool_pins", user=OWNER,
                                               reason="temporary_object"))
        self.assertGreater(self.pooler.metric("pgweir_pool_pinned_seconds_total", user=OWNER,
                                              reason="temporary_object"), 0)


@only_pgweir
class ObserveTest(PoolerCase):
    """Before a team moves from mode session to transaction: what would pin there?"""

    settings = {"pool": {"mode": "session", "observe": True, "minconn": 1, "maxconn": 5}}

    def use(self, name):
        one = self.connect_autocommit(application_name=name)
        self.rows(one, "set work_mem = '9MB'")  # would not pin
        self.rows(one, "listen mine")
        return one

    def pins(self):
        return [(row["application_name"], row["reason"], row["query"], row["pinned"])
                for row in self.pooler.console("SHOW PINS")]

    def test_what_would_pin_is_told(self):
        one = self.use("front desk")
        wait_for(lambda: self.pins() == [("front desk", "listen", "listen mine", 1)],
                 lambda: "the pin that would be: %s" % self.pins())
        one.close()
        wait_for(lambda: self.pins() == [("front desk", "listen", "listen mine", 0)], "it has ended")

    def test_without_it_nothing_is(self):
        pooler = new_pooler(self.postgres, pool={"mode": "session", "minconn": 1}).start()
        self.addCleanup(pooler.close)
        with contextlib.closing(pooler.connect()) as one:
            one.autocommit = True
            with one.cursor() as cursor:
                cursor.execute("listen mine")
                cursor.execute("select 1")
            self.assertEqual([], pooler.console("SHOW PINS"))


@only_pgweir
class PinIdleTimeoutTest(PoolerCase):
    settings = {"workers": 1, "auth": {"method": "trust"},
                "pool": {"minconn": 1, "maxconn": 1, "pin_idle_timeout": "500ms",
                         "wait_timeout": "20s"}}

    def test_whoever_is_pinned_and_idle_is_ended_and_told_why(self):
        one = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(one.socket.close)
        one.log_in("", user=OWNER, database=DATABASE)
        one.send(wire.query("create temp table mine (value text)"))
        one.read_until("Z")
        other = self.pooler.connect()
        other.autocommit = True
        with other.cursor() as waits:
            waits.execute("select to_regclass('mine')")  # waits until the server comes free
            self.assertEqual((None,), waits.fetchone())
        told = wire.error_fields(one.read_until("E")[-1][1])
        self.assertEqual(("FATAL", "57P05"), (told["S"], told["C"]))
        self.assertIn("pin_idle_timeout", told["M"])
        self.assertIn("temporary_object", told["M"])
        wait_for(lambda: self.pooler.metric("pgweir_client_closes_total", user=OWNER,
                                            reason="pin_idle_timeout") == 1, "it is counted")

    def test_nobody_else_is(self):
        one = self.pooler.connect()
        one.autocommit = True
        with one.cursor() as cursor:
            cursor.execute("create temp table mine (value text)")
            cursor.execute("select pg_sleep(1)")  # not idle
            cursor.execute("begin")
            time.sleep(1)  # in a transaction
            cursor.execute("commit")
            cursor.execute("drop table mine")
            time.sleep(1)  # not pinned
            cursor.execute("select 1")


@only_pgweir
class StateOfOneUserTest(PoolerCase):
    settings = {"workers": 1, "pool": {"minconn": 1, "maxconn": 3},
                "users": {"scram_user": {"password": password_of("scram_user"),
                                         "session_state": {"listen": "reject"}}}}

    def test_one_is_refused_what_others_may(self):
        self.rows(self.connect_autocommit(), "listen mine")
        with self.assertRaises(psycopg2.errors.FeatureNotSupported):
            self.rows(self.connect_autocommit(user="scram_user"), "listen mine")


REJECTED = {"temporary_objects": "create temp table mine (value text)",
            "held_cursors": "declare mine cursor with hold for select 1",
            "sql_statements": "prepare mine as select 1",
            "listen": "listen mine",
            "advisory_locks": "select pg_advisory_lock(7)",
            "libraries": "load 'auto_explain'",
            "random_seed": "select setseed(0.5)"}


@only_pgweir
class RejectedStateTest(PoolerCase):
    settings = {"workers": 1, "auth": {"method": "trust"},
                "pool": {"minconn": 1, "maxconn": 1,
                         "session_state": {kind: "reject" for kind in REJECTED}}}

    def session(self):
        session = wire.Wire(self.pooler.host, self.pooler.port)
        session.log_in("", user=OWNER, database=DATABASE)
        self.addCleanup(session.socket.close)
        return session

    def told(self, session, *packets, ready=1):
        """Types of the messages, with the SQLSTATE of errors and the status of ReadyForQuery."""
        session.send(*packets)
        found = []
        while ready:
            kind, body = session.read_message()
            if kind == "E":
                self.fields = wire.error_fields(body)
                kind += self.fields["C"]
            elif kind == "Z":
                kind += body.decode()
            ready -= kind[0] == "Z"
            if kind not in ("T", "D", "S"):
                found.append(kind)
        return " ".join(found)

    def test_each_kind_is_an_error_that_names_its_setting(self):
        session = self.session()
        for kind, text in REJECTED.items():
            with self.subTest(kind=kind):
                self.assertEqual("E0A000 ZI", self.told(session, wire.query(text)))
                self.assertIn("session_state." + kind, self.fields["H"])
                self.assertEqual("C ZI", self.told(session, wire.query("select 1")))
        self.assertEqual(0, self.pooler.metric("pgweir_pins_total", user=OWNER))

    def test_an_error_like_any_other(self):
        session = self.session()
        listen = REJECTED["listen"]
        parse = (wire.parse(listen), wire.bind(), wire.execute())
        others = (wire.parse("select 1"), wire.bind(), wire.execute())
        # In a transaction, which fails.
        self.assertEqual("C ZT", self.told(session, wire.query("begin")))
        self.assertEqual("E0A000 ZE", self.told(session, wire.query(listen)))
        self.assertEqual("E25P02 ZE", self.told(session, wire.query("select 1")))
        self.assertEqual("E0A000 ZE", self.told(session, wire.query(listen)))
        self.assertEqual("C ZI", self.told(session, wire.query("rollback")))
        # In a batch: what comes behind it is skipped, what came before is undone.
        self.assertEqual("1 2 C E0A000 ZI", self.told(session, *others, *parse, *others, wire.SYNC))
        self.assertEqual("E0A000 ZI 1 2 C ZI",
                         self.told(session, *parse, wire.SYNC, *others, wire.SYNC, ready=2))
        # Prepared under a name, with parameters: there is no such statement afterwards.
        self.assertEqual("E0A000 ZI", self.told(
            session, wire.parse("select pg_advisory_lock($1)", "mine"), wire.SYNC))
        self.assertEqual("E26000 ZI", self.told(session, wire.bind("", "mine"), wire.SYNC))
        # Several statements in one Query: none is carried out.
        self.assertEqual("E0A000 ZI", self.told(session, wire.query("select 1; %s; select 2" % listen)))

    def test_an_error_too_long_to_be_seen_whole_is_passed_on(self):
        session = self.session()
        # Like one of ours in all but its length: PostgreSQL shows the text that it could not run.
        text = "do $$ begin execute 'pgweir_rejects_listen ' || repeat('x ', 20000); end $$"
        self.assertEqual("E42601 ZI", self.told(session, wire.query(text)))
        self.assertEqual("C ZI", self.told(session, wire.query("select 1")))

    def test_what_leaves_nothing_is_carried_out(self):
        session = self.session()
        for text in ("unlisten *", "select pg_advisory_xact_lock(7)", "set work_mem = '7MB'",
                     "select 'listen mine'"):
            with self.subTest(text=text):
                self.assertEqual("C ZI", self.told(session, wire.query(text)))


@only_pgweir
class IgnoredStateTest(PoolerCase):
    settings = {"workers": 1, "pool": {"minconn": 1, "maxconn": 1},
                "databases": {DATABASE: {"session_state": {"temporary_objects": "ignore"}}}}

    def test_it_is_let_pass_and_pins_nobody(self):
        with contextlib.closing(self.pooler.connect()) as one:
            one.autocommit = True
            one.cursor().execute("create temp table mine (value text)")
            with contextlib.closing(self.pooler.connect()) as other, other.cursor() as cursor:
                cursor.execute("select 1")
        self.assertEqual(0, self.pooler.metric("pgweir_pins_total", user=OWNER))
