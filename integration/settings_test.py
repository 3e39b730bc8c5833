"""Settings in transaction mode: each client has its own on whatever server it is given, nobody else has
them, and nobody keeps a server because of them. The daemon hands out another server at every boundary
where it may (--rotate-servers)."""

import contextlib
import random
import threading

import psycopg2

from integration.support import wire
from integration.support.case import PoolerCase, only_pgweir
from integration.support.peers import RAW_USER, rows_of
from integration.support.postgres import DATABASE, OWNER
from integration.support.raw_case import RawCase
from integration.support.waiting import wait_for

SERVERS = 3


@only_pgweir
class SettingsTest(PoolerCase):
    settings = {"rotate": True, "workers": 1,
                "pool": {"mode": "transaction", "minconn": SERVERS, "maxconn": SERVERS}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.query(
            "do $$ begin create role settings_role nologin;"
            " exception when duplicate_object then null; end $$")
        cls.postgres.query("grant settings_role to " + OWNER)

    def client(self, **options):
        return self.connect_autocommit(**options)

    def unpinned(self):
        """Nobody keeps a server, and nobody has."""
        wait_for(lambda: self.pooler.metric("pgweir_pool_pinned_clients", user=OWNER) == 0,
                 "nobody is pinned")
        self.assertEqual(0, self.pooler.metric("pgweir_pins_total", user=OWNER))

    def everywhere(self, client, expression, expected):
        """The same on every server, whatever others see of it."""
        pids = set()
        for _ in range(SERVERS * 2):
            value, pid = self.rows(client, "select %s, pg_backend_pid()" % expression)[0]
            self.assertEqual(expected, value)
            pids.add(pid)
        self.assertGreater(len(pids), 1, "it was never given another server")

    def test_set_and_reset(self):
        a, b = self.client(), self.client()
        self.rows(a, "set work_mem = '7MB'")
        self.rows(b, "set search_path to \"Odd \"\"Name\", public")
        self.everywhere(a, "current_setting('work_mem')", "7MB")
        self.everywhere(b, "current_setting('search_path')", '"Odd ""Name", public')
        self.everywhere(b, "current_setting('work_mem')", "4MB")
        self.rows(a, "reset work_mem")
        self.everywhere(a, "current_setting('work_mem')", "4MB")
        self.unpinned()

    def test_a_reset_that_is_rolled_back(self):
        for sets in ("update pg_settings set setting = '9216' where name = 'work_mem'",  # without its unit
                     "set work_mem = 9216", "select set_config('work_mem', '9216', false)"):
            for resets in ("begin; reset work_mem; rollback", "begin; set work_mem to default; rollback",
                           "begin; savepoint s; reset work_mem; rollback to s; commit"):
                with self.subTest(sets=sets, resets=resets):
                    a, b = self.client(), self.client()
                    self.rows(a, sets)
                    self.rows(a, resets)
                    self.everywhere(b, "current_setting('work_mem')", "4MB")
                    self.everywhere(a, "current_setting('work_mem')", "9MB")

    def test_rolled_back_as_postgresql_does_it(self):
        a = self.client()
        self.rows(a, "set work_mem = '5MB'")
        for statements, expected in [
                (["begin", "set work_mem = '6MB'", "rollback"], "5MB"),
                (["begin", "set work_mem = '6MB'", "commit"], "6MB"),
                (["begin", "set work_mem = '7MB'", "savepoint s", "set work_mem = '8MB'",
                  "rollback to s", "commit"], "7MB"),
                (["begin", "set local work_mem = '9MB'", "commit"], "7MB"),
                (["begin", "set work_mem = '9MB'", "set local work_mem = '10MB'", "commit"], "9MB"),
                (["begin", "reset work_mem", "rollback"], "9MB")]:
            for statement in statements:
                self.rows(a, statement)
            self.everywhere(a, "current_setting('work_mem')", expected)
        with self.assertRaises(psycopg2.errors.DivisionByZero):
            self.rows(a, "set work_mem = '11MB'; select 1/0")
        self.everywhere(a, "current_setting('work_mem')", "9MB")
        self.unpinned()

    def test_reset_goes_back_to_what_the_client_asked_for(self):
        a = self.client(options="-c work_mem=5MB -c datestyle=German")
        for undo in ("reset all", "discard all", "set work_mem to default", "reset work_mem"):
            self.rows(a, "set work_mem = '12MB'")
            self.everywhere(a, "current_setting('work_mem')", "12MB")
            self.rows(a, undo)
            self.everywhere(a, "current_setting('work_mem')", "5MB")
            self.everywhere(a, "current_setting('datestyle')", "German, DMY")
        self.unpinned()

    def test_every_form_of_set(self):
        a, b = self.client(), self.client()
        for statement, name, expected in [
                ("set session work_mem = 8192", "work_mem", "8MB"),
                ("set time zone 'Europe/Paris'", "timezone", "Europe/Paris"),
                ("set time zone interval '+05:30' hour to minute", "timezone", "<+05:30>-05:30"),
                ("set names 'LATIN1'", "client_encoding", "LATIN1"),
                ("set names 'UTF8'", "client_encoding", "UTF8"),
                ("set schema 'pg_catalog'", "search_path", "pg_catalog"),
                ("set xml option document", "xmloption", "document"),
                ("set session characteristics as transaction isolation level serializable, read only",
                 "default_transaction_isolation", "serializable"),
                ("set session characteristics as transaction read write",
                 "default_transaction_read_only", "off"),
                ("select set_config('statement_timeout', '4321', false)", "statement_timeout", "4321ms"),
                ("select set_config('app.user', 'it''s me', false)", "app.user", "it's me"),
                ("set app.other.name = 'x'", "app.other.name", "x"),
                ("set role settings_role", "role", "settings_role"),
                ("reset role", "role", "none"),
                ("set role settings_role", "role", "settings_role"),
                ("set role none", "role", "none")]:
            with self.subTest(statement=statement):
                before = self.value(b, "select current_setting('%s', true)" % name)
                self.rows(a, statement)
                self.everywhere(a, "current_setting('%s')" % name, expected)
                self.assertIn(self.value(b, "select current_setting('%s', true)" % name),
                              (before, "" if "." in name else before))
        self.unpinned()

    def test_a_hidden_setting_that_is_reported(self):
        self.postgres.query("create or replace function settings_hidden() returns void language plpgsql as"
                            " $$ begin perform set_config('datestyle', 'SQL', false); end $$",
                            database=DATABASE)
        a, b = self.client(), self.client()
        self.rows(a, "select settings_hidden()")
        self.everywhere(a, "current_setting('datestyle')", "SQL, MDY")
        self.everywhere(b, "current_setting('datestyle')", "ISO, MDY")
        self.unpinned()

    def test_a_role_is_nobody_elses(self):
        a, b = self.client(), self.client()
        self.rows(a, "set role settings_role")
        for _ in range(10):
            self.assertEqual("settings_role", self.value(a, "select current_user::text"))
            self.assertEqual(OWNER, self.value(b, "select current_user::text"))
        a.close()
        for _ in range(SERVERS * 2):
            self.assertEqual(OWNER, self.value(b, "select current_user::text"))
        self.unpinned()

    def test_what_cannot_be_replayed_ends_the_session_before_it_does_anything(self):
        """The role is gone: nothing is carried out as somebody else."""
        self.postgres.query("create table if not exists settings_done (who text)", database=DATABASE)
        self.postgres.query("grant all on settings_done to public", database=DATABASE)
        self.postgres.query("create role settings_short_lived nologin")
        self.postgres.query("grant settings_short_lived to " + OWNER)
        a = self.client()
        self.rows(a, "set role settings_short_lived")
        self.everywhere(a, "current_user::text", "settings_short_lived")
        # The servers carry it no longer, and then it cannot be taken on any more.
        b = self.client()
        for _ in range(SERVERS):
            self.rows(b, "select 1")
        self.postgres.query("drop role settings_short_lived")
        with self.assertRaises(psycopg2.Error): # libpq keeps to itself what it has been told
            self.rows(a, "insert into settings_done values (current_user)")
        wait_for(lambda: "reason=setting_refused" in self.pooler.log(), "the log says why")
        self.assertEqual([], self.postgres.query("select * from settings_done", database=DATABASE))
        self.assertEqual([(1,)], self.rows(b, "select 1"))

    def test_a_hundred_clients_with_settings_of_their_own(self):
        dice = random.Random(7)
        clients = []
        for i in range(100):
            wanted = {"search_path": "s%d, public" % i, "statement_timeout": "%dms" % (100001 + 2 * i),
                      "timezone": dice.choice(["UTC", "Europe/Paris", "Asia/Tokyo"]),
                      "role": dice.choice(["none", "settings_role"])}
            client = self.client()
            for name, value in wanted.items():
                self.rows(client, "select set_config(%s, %s, false)", name, value)
            clients.append((client, wanted))
        for _ in range(3):
            dice.shuffle(clients)
            for client, wanted in clients:
                self.assertEqual(tuple(wanted.values()), self.rows(
                    client, "select " + ", ".join("current_setting('%s')" % n for n in wanted))[0])
        self.unpinned()


@only_pgweir
class UnseenSettingsTest(PoolerCase):
    """What is set under a name that the text does not show may be one that applications make up, and
    PostgreSQL lists no such: its client keeps the server."""

    settings = {"rotate": True, "workers": 1,
                "pool": {"mode": "transaction", "minconn": SERVERS, "maxconn": SERVERS}}

    def test_no_other_client_sees_it(self):
        for statement in ("do $$ begin perform set_config('app.user', 'alice', false); end $$",
                          "select set_config('app.' || 'user', 'alice', false)"):
            with self.subTest(statement=statement):
                a, b = self.connect_autocommit(), self.connect_autocommit()
                self.rows(a, statement)
                for _ in range(SERVERS * 2):
                    self.assertEqual("alice", self.value(a, "select current_setting('app.user')"))
                    self.assertIn(self.value(b, "select current_setting('app.user', true)"),
                                  (None, ""))
                a.close()
                for _ in range(SERVERS * 2):
                    self.assertIn(self.value(b, "select current_setting('app.user', true)"),
                                  (None, ""))


@only_pgweir
class AheadTest(RawCase):
    """Settings go ahead of the client's first message, in the same batch (protocol/setting_replay.hpp):
    the client notices nothing of them."""

    settings = {**RawCase.settings, "rotate": True, "workers": 1,
                "pool": {"mode": "transaction", "minconn": SERVERS, "maxconn": SERVERS}}

    def with_settings(self, **settings):
        client = self.raw()
        for name, value in settings.items():
            client.ask("set %s = '%s'" % (name, value))
        return client

    def visit_all_servers(self, client):
        """… so that none carries another's settings. One that is being opened takes its time."""
        pids = set()

        def all_seen():
            pids.add(self.shown(client.ask("select pg_backend_pid()"))[1])
            return len(pids) == SERVERS
        wait_for(all_seen, lambda: "all servers: only %s" % pids)

    def shown(self, messages):
        """Types, with what rows, tags, reports and errors say."""
        def words(kind, body):
            if kind == "D":
                return "D " + body[6:].decode()
            if kind in "CS":
                return kind + " " + body.rstrip(b"\0").replace(b"\0", b"=").decode()
            return "E " + wire.error_fields(body)["C"] if kind == "E" else kind
        return [words(*message) for message in messages]

    def test_of_what_is_asked_for_twice_the_last_counts(self):
        for parameters, expected in [
                ({"options": "-c work_mem=5MB -c work_mem=6MB"}, "6MB"),
                ({"options": "-c work_mem=5MB --Work-Mem=6MB"}, "6MB"),
                ({"options": "-c work_mem=5MB", "work_mem": "7MB"}, "7MB"),
                ({"work_mem": "7MB", "options": "-c work_mem=5MB -c work_mem=6MB"}, "7MB")]:
            for where in (self.postgres, self.pooler):
                with self.subTest(parameters=parameters, where=type(where).__name__):
                    session = self.raw(where, **parameters)
                    self.assertIn("D " + expected, self.shown(session.ask("show work_mem")))

    def test_the_transaction_is_the_clients_own(self):
        """… the first that it asks for may be of any kind, and undoes nothing of them."""
        self.postgres.query("create table if not exists ahead_table ()", database=DATABASE)
        self.postgres.query("alter table ahead_table owner to " + RAW_USER, database=DATABASE)
        a, b = self.with_settings(timezone="UTC", lock_timeout="4s"), self.with_settings(timezone="GMT")
        for _ in range(SERVERS * 2):
            for text, tags in [("begin isolation level serializable", ["C BEGIN"]),
                               ("rollback", ["C ROLLBACK"]),
                               ("vacuum ahead_table", ["C VACUUM"]),
                               ("select 1/0", ["E 22012"]),
                               ("begin; set transaction read only; rollback",
                                ["C BEGIN", "C SET", "C ROLLBACK"])]:
                self.assertEqual([*tags, "Z"], self.shown(a.ask(text)))
                if not text.startswith("begin isolation"):
                    self.assertEqual("D UTC", self.shown(a.ask("show timezone"))[1])
                    self.assertEqual("D GMT", self.shown(b.ask("show timezone"))[1])
            a.send(wire.parse("vacuum ahead_table"), wire.bind(), wire.execute(), wire.SYNC)
            self.assertEqual(["1", "2", "C VACUUM", "Z"], self.shown(a.read_until("Z")))
            self.assertEqual("D GMT", self.shown(b.ask("show timezone"))[1])

    def test_only_what_the_client_sets_is_reported(self):
        """PostgreSQL reports a setting when it differs from what it has reported last, just before
        ReadyForQuery: what was reported there last is another client's."""
        for value, reported in [("GMT", ["S TimeZone=GMT"]), ("UTC", [])]:
            a, b = self.with_settings(timezone="UTC"), self.with_settings(timezone="GMT")
            for _ in range(SERVERS * 2):
                self.assertEqual(["C SELECT 1", "Z"], self.shown(b.ask("select 1"))[-2:])
                self.assertEqual(["C SELECT 1", "Z"], self.shown(a.ask("select 1"))[-2:])
            for _ in range(SERVERS):
                b.ask("select 1")
            with self.subTest(value=value):
                self.assertEqual(["C SET", *reported, "Z"],
                                 self.shown(a.ask("set timezone = '%s'" % value)))
                self.assertEqual("D " + value, self.shown(a.ask("show timezone"))[1])

    def test_a_refused_one_lets_no_batch_pass(self):
        """Several batches in one write: not one of them is carried out."""
        self.postgres.query("create table if not exists ahead_done (who text)", database=DATABASE)
        self.postgres.query("grant all on ahead_done to public", database=DATABASE)
        insert = "insert into ahead_done values (current_user)"
        batch = wire.parse(insert) + wire.bind() + wire.execute() + wire.SYNC
        for name, sent in [("queries", wire.query(insert) * 3), ("batches", batch * 3),
                           ("mixed", wire.query(insert) + batch)]:
            with self.subTest(sent=name):
                self.postgres.query("create role ahead_short_lived nologin")
                self.postgres.query("grant ahead_short_lived to " + RAW_USER)
                a, b = self.with_settings(role="ahead_short_lived"), self.with_settings(timezone="GMT")
                self.visit_all_servers(b)  # a server that has the role still would not be asked for it
                self.postgres.query("drop role ahead_short_lived")
                a.send(sent)
                last = a.read_to_end()[-1]
                self.assertEqual(("E", "FATAL"), (last[0], wire.error_fields(last[1])["V"]))
                self.assertIn("ahead_short_lived", wire.error_fields(last[1])["M"])
                self.assertEqual([], self.postgres.query("select * from ahead_done", database=DATABASE))
                for _ in range(SERVERS * 2):
                    self.assertEqual("D GMT", self.shown(b.ask("show timezone"))[1])

    def test_what_fails_behind_them_leaves_the_clients_settings(self):
        """… at once, when it is planned, when it commits; and what stands behind that in one write."""
        self.postgres.query("create table if not exists ahead_unique (a int unique deferrable"
                            " initially deferred)", database=DATABASE)
        self.postgres.query("grant all on ahead_unique to public", database=DATABASE)
        a = self.with_settings(timezone="UTC", search_path="one")
        b = self.with_settings(timezone="GMT", search_path="two")
        look = "select current_setting('timezone') || ' ' || current_setting('search_path')"
        own = [(a, "D UTC one"), (b, "D GMT two")]
        for text, code in [("select 1/0", "22012"), ("select * from there_is_none", "42P01"),
                           ("select '", "42601"),
                           ("insert into public.ahead_unique values (1), (1)", "23505")]:
            with self.subTest(text=text):
                for _ in range(SERVERS):
                    for client, shown in own:
                        self.assertEqual(["E " + code, "Z"], self.shown(client.ask(text)))
                        self.assertEqual(["T", shown, "C SELECT 1", "Z"],
                                         self.shown(client.ask(look)))
                    for client, shown in own:
                        client.send(wire.query(text), wire.query(look), wire.query(text),
                                    wire.query(look))
                        answers = [self.shown(client.read_until("Z")) for _ in range(4)]
                        self.assertEqual([["E " + code, "Z"], ["T", shown, "C SELECT 1", "Z"]] * 2, answers)
        self.assertEqual(0, self.pooler.metric("pgweir_pool_pinned_clients", user=RAW_USER))

    def test_a_query_is_as_if_it_were_alone(self):
        a = self.with_settings(timezone="UTC", work_mem="5MB", statement_timeout="100ms")
        b = self.with_settings(timezone="GMT", work_mem="6MB", statement_timeout="0")
        for _ in range(SERVERS):
            # How long it may take is this client's, whoever's timer ran before.
            self.assertEqual("E 57014", self.shown(a.ask("select pg_sleep(20)"))[-2])
            self.assertEqual("C SELECT 1", self.shown(b.ask("select pg_sleep(0.3)"))[-2])
            # What it sets for its transaction ends with it.
            for client, own in [(a, "5MB"), (b, "6MB")]:
                self.assertEqual("D 9MB", self.shown(client.ask("select set_config('work_mem', '9MB', true)"))[1])
                self.assertEqual("D " + own, self.shown(client.ask("show work_mem"))[1])
                self.assertEqual("D t", self.shown(client.ask("select now() = statement_timestamp()"))[1])

    def test_nothing_is_left_of_them_when_the_client_vanishes(self):
        a, b = self.with_settings(timezone="UTC"), self.with_settings(timezone="GMT")
        for text in ("select 1/0", "select pg_sleep(0.1), 1", "select 1/(pg_sleep(0.1) is null)::int"):
            for _ in range(SERVERS):
                c = self.with_settings(timezone="PST8PDT")
                c.send(wire.query(text))
                c.socket.close()
            for _ in range(SERVERS * 2):
                for client, own in [(a, "D UTC"), (b, "D GMT")]:
                    self.assertEqual(own, self.shown(client.ask("select current_setting('timezone')"))[1])

    def test_what_comes_with_the_first_batch_goes_to_the_same_server(self):
        a, b = self.with_settings(timezone="UTC"), self.with_settings(timezone="GMT")
        for _ in range(SERVERS * 2):
            b.ask("select 1")
            a.send(wire.query("select pg_backend_pid()"), wire.query("select pg_backend_pid()"))
            first, second = (self.shown(a.read_until("Z")) for _ in range(2))
            self.assertEqual(first[1], second[1])

    def test_whatever_becomes_of_the_statements_that_servers_keep_for_it(self):
        a, b = self.with_settings(timezone="UTC"), self.with_settings(timezone="GMT")
        for text in ("deallocate all", "do $$ begin execute 'deallocate all'; end $$", "discard all",
                     "deallocate pgw_begin", "deallocate pgw_set_a", "select 1"):
            with self.subTest(text=text):
                for _ in range(SERVERS * 2):
                    a.ask(text)
                    a.ask("set timezone = 'UTC'")
                    for client, own in [(b, "D GMT"), (a, "D UTC")]:
                        self.assertEqual(own, self.shown(client.ask("show timezone"))[1])

    def test_a_long_query_behind_them_can_be_cancelled(self):
        a = self.connect_autocommit(user=RAW_USER)
        self.rows(a, "set timezone = 'UTC'")
        b = self.with_settings(timezone="GMT")
        for _ in range(SERVERS):
            b.ask("select 1")
        errors = []

        def sleep():
            try:
                self.rows(a, "select pg_sleep(60) /* ahead */")
            except psycopg2.Error as error:
                errors.append(error.pgcode)
        thread = threading.Thread(target=sleep)
        thread.start()
        wait_for(lambda: self.postgres.query("select 1 from pg_stat_activity where state = 'active'"
                                             " and query like '%/* ahead */'"), "it sleeps")
        a.cancel()
        thread.join()
        self.assertEqual(["57014"], errors)
        self.assertEqual("UTC", self.value(a, "select current_setting('timezone')"))


@only_pgweir
class SuperusersSettingsTest(PoolerCase):
    """What only a superuser may set, set by a function with SECURITY DEFINER or under SET ROLE: whoever
    logs in could not set it elsewhere, nor take it off. Its client keeps the server; nobody else
    meets it."""

    settings = {"rotate": True, "workers": 1,
                "pool": {"mode": "transaction", "minconn": SERVERS, "maxconn": SERVERS}}
    shown = "select current_setting('session_replication_role')"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.query("create role settings_boss superuser")
        cls.postgres.query("grant settings_boss to " + OWNER)
        with contextlib.closing(cls.pooler.connect()) as maker:  # which pgweir notices
            maker.autocommit = True
            maker.cursor().execute(
                "create function settings_replica() returns text language sql security definer as"
                " $$ select set_config('session_replication_role', 'replica', false) $$")
        cls.postgres.query("alter function settings_replica() owner to settings_boss", database=DATABASE)

    def client(self):
        return self.connect_autocommit()

    def pinned(self, count):
        wait_for(lambda: self.pooler.metric("pgweir_pool_pinned_clients", user=OWNER) == count,
                 "%d are pinned" % count)

    def others_are_as_new(self):
        other = self.client()
        for _ in range(SERVERS * 2):
            self.assertEqual("origin", self.value(other, self.shown))
        other.close()

    def test_it_stays_with_its_client(self):
        for statements in (["select settings_replica()"],
                           ["set role settings_boss", "set session_replication_role = replica"],
                           ["begin; set local role settings_boss; set session_replication_role = replica; commit"]):
            with self.subTest(statements=statements):
                a = self.client()
                for statement in statements:
                    self.rows(a, statement)
                for _ in range(SERVERS * 2):
                    self.assertEqual("replica", self.value(a, self.shown))
                    self.others_are_as_new()
                self.pinned(1)
                a.close()
                self.pinned(0)
                self.others_are_as_new()
        self.assertNotIn("setting_refused", self.pooler.log())

    def test_reset_it_pins_no_longer(self):
        a = self.client()
        self.rows(a, "set role settings_boss")
        self.rows(a, "set session_replication_role = replica")
        self.pinned(1)
        self.rows(a, "set work_mem = '5MB'")  # which it could take elsewhere, but not the other
        self.pinned(1)
        self.rows(a, "reset session_replication_role")
        self.pinned(0)
        self.assertEqual(("settings_boss", "5MB"), self.rows(
            a, "select current_user::text, current_setting('work_mem')")[0])
        self.others_are_as_new()

    def test_what_may_be_set_pins_nobody(self):
        a = self.client()
        before = self.pooler.metric("pgweir_pins_total", user=OWNER)
        for statement in ("set enable_seqscan = off", "set app.settings = 'x'", "set role settings_boss",
                          "set geqo = off"):
            self.rows(a, statement)
            self.pinned(0)
        pids = {self.value(a, "select pg_backend_pid()") for _ in range(SERVERS * 2)}
        self.assertGreater(len(pids), 1)
        self.assertEqual(("off", "x", "off"), self.rows(
            a, "select current_setting('enable_seqscan'), current_setting('app.settings'), current_setting('geqo')")[0])
        self.assertEqual(before, self.pooler.metric("pgweir_pins_total", user=OWNER))


@only_pgweir
class DeferrableTest(RawCase):
    """Transactions that are SERIALIZABLE, READ ONLY, DEFERRABLE wait for whoever writes SERIALIZABLE; what
    pgweir asks between two of a client whose default that is does not."""

    settings = {**RawCase.settings, "rotate": True, "workers": 1,
                "pool": {"mode": "transaction", "minconn": SERVERS, "maxconn": SERVERS}}
    reading = "set session characteristics as transaction isolation level serializable, read only, deferrable"
    apart = "begin isolation level read committed"

    def quick(self, client, text):
        """It is answered while the writer has not finished."""
        messages = client.ask(text)
        self.assertNotIn("E", [kind for kind, _ in messages])
        return messages

    def test_nothing_of_ours_waits(self):
        self.postgres.query("create table if not exists deferrable_table (i int)", database=DATABASE)
        self.postgres.query("grant all on deferrable_table to public", database=DATABASE)
        writer = self.raw()
        writer.ask("begin isolation level serializable")
        writer.ask("select count(*) from deferrable_table")
        writer.ask("insert into deferrable_table values (1)")
        try:
            readers = [self.raw(timeout=5) for _ in range(SERVERS)]
            for reader in readers:
                self.quick(reader, self.reading)
            for text in ("show work_mem", "set enable_seqscan = off", "set timezone = 'Asia/Tokyo'",
                         "set client_encoding = 'LATIN1'",
                         self.apart + "; select pg_advisory_lock(7); select pg_advisory_unlock(7); commit",
                         "reset all", self.reading):
                for reader in readers:
                    with self.subTest(text=text):
                        self.quick(reader, text)
            other = self.raw(timeout=5)
            for _ in range(SERVERS * 2):
                self.quick(other, "select 1")
            # One that is cleaned before it is anybody else's.
            self.quick(readers[0], self.apart + " read write; create temp table deferrable_left (); commit")
            readers[0].socket.close()
            for _ in range(SERVERS * 2):
                self.quick(other, "select 1")
        finally:
            writer.ask("commit")

    def test_a_listener_keeps_no_server(self):
        """PostgreSQL tells it of what has been notified, ours among that, in a transaction of its defaults."""
        self.postgres.query("create table if not exists deferrable_table (i int)", database=DATABASE)
        self.postgres.query("grant all on deferrable_table to public", database=DATABASE)
        writer = self.raw()
        for text in ("begin isolation level serializable", "select count(*) from deferrable_table",
                     "insert into deferrable_table values (1)"):
            writer.ask(text)
        try:
            reader = self.raw(timeout=5)
            for text in (self.reading, "listen deferrable_news"):
                self.quick(reader, text)
            wait_for(lambda: self.pooler.metric("pgweir_pool_servers", state="idle", user=RAW_USER) ==
                     SERVERS - 1, "nobody but the writer has a server")
            told = self.quick(reader, "notify deferrable_news, '1'")
            self.assertIn("A", [kind for kind, _ in told])
            self.assertEqual(["on"], rows_of(self.quick(reader, "show default_transaction_deferrable")))
            other = self.raw(timeout=5)
            for _ in range(SERVERS * 2):
                self.quick(other, "select 1")
        finally:
            writer.ask("commit")
