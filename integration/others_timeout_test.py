"""A server carries the statement_timeout of its last client until the next one's settings are in effect
there. When PostgreSQL strikes with it what makes them so, the next client hears nothing of that.

Setting default_text_search_config has PostgreSQL look into pg_ts_config: whoever has locked that decides
how long it takes."""

import contextlib
import socket
import threading

from integration.support import wire
from integration.support.case import only_pgweir
from integration.support.peers import RAW_USER, rows_of
from integration.support.postgres import DATABASE
from integration.support.raw_case import RawCase
from integration.support.waiting import wait_for

SLOW = "public.others_timeout"  # the configuration, to be looked up anew whenever it is locked
TIMEOUT = "200ms"


class OthersTimeoutCase(RawCase):
    settings = {**RawCase.settings, "workers": 1, "log": {"level": "info"},
                "pool": {"mode": "transaction", "minconn": 1, "maxconn": 1, "wait_timeout": "20s"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for sql in ("drop text search configuration if exists " + SLOW,
                    "create text search configuration %s (copy = simple)" % SLOW,
                    "create table if not exists others_timeout_done (who text)",
                    "grant all on others_timeout_done to public"):
            cls.postgres.query(sql, database=DATABASE)

    def setUp(self):
        super().setUp()
        self.postgres.query("truncate others_timeout_done", database=DATABASE)

    def done(self):
        return [row[0] for row in self.postgres.query("select who from others_timeout_done", database=DATABASE)]

    def shown(self, messages):
        """Rows, SQLSTATEs, and that there was an end."""
        return [rows_of([(kind, body)])[0] if kind == "D" else
                kind if kind == "Z" else "E " + wire.error_fields(body)["C"]
                for kind, body in messages if kind in "DEZ"]

    def client(self, *settings):
        c = self.raw()
        for name, value in settings:
            self.assertEqual(["Z"], self.shown(c.ask("set %s = '%s'" % (name, value))))
        return c

    def slow_client(self, *settings):
        return self.client(("default_text_search_config", SLOW), *settings)

    def another_was_there(self, timeout=TIMEOUT):
        self.client(("statement_timeout", timeout))

    @contextlib.contextmanager
    def locked(self):
        """Whoever sets the configuration waits."""
        holder = self.postgres.connect()
        run = holder.cursor().execute
        # It is in no server's memory any more.
        run("begin; alter text search configuration %s rename to others_timeout_; "
            "alter text search configuration public.others_timeout_ rename to others_timeout; commit" % SLOW)
        run("begin")
        run("lock table pg_ts_config in access exclusive mode")
        try:
            yield
        finally:
            run("rollback")
            holder.close()

    def waits(self, longer_than="0", by=""):
        sql = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and usename = %s" \
              " and state like %s and now() - query_start > %s::interval"
        wait_for(lambda: self.postgres.query(sql, RAW_USER, by + "%", longer_than), "it waits for the lock")

    def waits_without_limit(self):
        """By calls, for longer than the other client's statements may take."""
        self.waits("600ms", "fastpath")


@only_pgweir
class OthersTimeoutTest(OthersTimeoutCase):
    def test_what_was_asked_for_is_carried_out_once(self):
        insert = "insert into others_timeout_done values (current_setting('app.who'))"
        batch = wire.parse(insert) + wire.bind() + wire.execute() + wire.SYNC
        named = wire.parse(insert, "mine") + wire.bind("", "mine") + wire.execute() + wire.SYNC
        again = wire.bind("", "mine") + wire.execute() + wire.SYNC
        for what, sent, ends in [("query", wire.query(insert), 1), ("batch", batch, 1), ("named", named + again, 2),
                                 ("several", wire.query(insert) + batch + wire.query(insert), 3),
                                 ("long", wire.query(insert + " -- " + 20000 * "x"), 1)]:
            with self.subTest(sent=what):
                b = self.slow_client(("app.who", what))
                self.another_was_there()
                with self.locked():
                    b.send(sent)
                    self.waits_without_limit()
                for _ in range(ends):
                    self.assertEqual(["Z"], self.shown(b.read_until("Z")))
                self.assertEqual([what] * ends, self.done())
                self.assertEqual([SLOW[7:], "0", "Z"], self.shown(b.ask(
                    "select split_part(current_setting('default_text_search_config'), '.', 2);"
                    " show statement_timeout")))
                self.postgres.query("truncate others_timeout_done", database=DATABASE)

    def test_in_a_batch_that_is_not_over(self):
        b = self.slow_client()
        self.another_was_there()
        with self.locked():
            b.send(wire.parse("select 7") + wire.bind() + wire.execute() + wire.FLUSH)
            self.waits_without_limit()
        self.assertEqual(["7"], self.shown(b.read_until("C")))
        b.send(wire.SYNC)
        self.assertEqual(["Z"], self.shown(b.read_until("Z")))

    def test_by_calls(self):
        """client_encoding cannot go ahead of the client's messages."""
        b = self.slow_client(("client_encoding", "LATIN1"), ("statement_timeout", "0"))
        self.another_was_there()
        with self.locked():
            b.send(wire.query("show client_encoding"))
            self.waits_without_limit()
        self.assertEqual(["LATIN1", "Z"], self.shown(b.read_until("Z")))

    def test_a_login_is_not_refused(self):
        for tenant in ("one", "two"):  # nobody has asked for that before
            self.another_was_there()
            came = []
            login = threading.Thread(target=lambda: came.append(
                self.raw(default_text_search_config=SLOW, statement_timeout="0", **{"app.tenant": tenant})))
            with self.locked():
                login.start()
                self.waits_without_limit()
            login.join(20)
            self.assertEqual([tenant, "0", "Z"], self.shown(came[0].ask("show app.tenant; show statement_timeout")))

    def test_the_clients_own_cancel_request_counts(self):
        b = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(b.socket.close)
        key = dict(b.log_in("", user=RAW_USER, database=DATABASE))["K"]
        b.ask("set default_text_search_config = '%s'" % SLOW)
        self.another_was_there("30s")
        with self.locked():
            b.send(wire.query("insert into others_timeout_done values ('cancelled')"))
            self.waits()
            with socket.create_connection((self.pooler.host, self.pooler.port)) as request:
                request.sendall(wire.untyped(wire.CANCEL_REQUEST, key))
                request.recv(1)
            self.assertEqual(["E 57014", "Z"], self.shown(b.read_until("Z")))
        self.assertEqual(["1", "Z"], self.shown(b.ask("select 1")))
        self.assertEqual([], self.done())

    def test_the_clients_own_timeout_counts(self):
        b = self.slow_client(("statement_timeout", "300ms"))
        self.another_was_there()
        with self.locked():
            b.send(wire.query("select pg_sleep(60)"))
            self.waits_without_limit()
        self.assertEqual(["E 57014", "Z"], self.shown(b.read_until("Z")))
        self.assertEqual(["300ms", "Z"], self.shown(b.ask("show statement_timeout")))

    def test_the_timeout_is_all_that_differs(self):
        b = self.slow_client(("statement_timeout", "0"), ("client_encoding", "LATIN1"))
        self.slow_client(("client_encoding", "LATIN1"), ("statement_timeout", TIMEOUT))
        self.assertEqual(["0", "LATIN1", "Z"], self.shown(b.ask("show statement_timeout; show client_encoding")))

    def test_more_than_is_kept_is_told_as_cancelled(self):
        b = self.slow_client()
        self.another_was_there()
        with self.locked():
            b.send(wire.query("select 1 -- " + 100_000 * "x"))
            self.assertEqual(["E 57014", "Z"], self.shown(b.read_until("Z")))
        self.assertEqual(["1", "Z"], self.shown(b.ask("select 1")))


@only_pgweir
class OthersSequencesTest(OthersTimeoutCase):
    def test_sequences_of_others_are_forgotten(self):
        """… which goes the same way."""
        self.postgres.query("create sequence if not exists others_sequence", database=DATABASE)
        self.postgres.query("grant all on others_sequence to public", database=DATABASE)
        b = self.slow_client()
        b.ask("select nextval('others_sequence')")
        self.assertEqual(["E 55000", "Z"], self.shown(self.raw().ask("select lastval()")))
        a = self.client(("statement_timeout", TIMEOUT))
        a.ask("select nextval('others_sequence')")
        with self.locked():
            b.send(wire.query("select 7"))
            self.waits_without_limit()
        self.assertEqual(["7", "Z"], self.shown(b.read_until("Z")))
        self.assertEqual(["E 55000", "Z"], self.shown(b.ask("select lastval()")))
