"""Settings of a library that one server has loaded and another has not. PostgreSQL takes any value from
anybody before it is loaded, and drops what it does not like when it is; no session ends for it."""

import contextlib

from integration.support import wire
from integration.support.case import only_pgweir
from integration.support.peers import RAW_USER
from integration.support.postgres import DATABASE
from integration.support.raw_case import RawCase
from integration.support.waiting import wait_for

LOAD = "do $$ begin perform 1; end $$"  # PL/pgSQL
# A superuser's; a value that it does not take; a name that it does not have.
REFUSED = [("plpgsql.variable_conflict", "use_column", "error"), ("plpgsql.check_asserts", "perhaps", "on"),
           ("plpgsql.tenant", "7", "")]


@only_pgweir
class LibrarySettingsTest(RawCase):
    settings = {**RawCase.settings, "workers": 1, "log": {"level": "info"},
                "pool": {"mode": "transaction", "minconn": 2, "maxconn": 2, "wait_timeout": "5s"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.query("create table library_done (who text)", database=DATABASE)
        cls.postgres.query("grant all on library_done to public", database=DATABASE)

    def values(self, messages):
        """The first columns; an error's SQLSTATE; that there was an end."""
        out = []
        for kind, body in messages:
            if kind == "D":
                out.append(body[6:].decode() if body[2:6] != b"\xff\xff\xff\xff" else None)
            elif kind == "E":
                out.append(wire.error_fields(body)["S"] + " " + wire.error_fields(body)["C"])
        return out

    def ask(self, client, text):
        messages = client.ask(text)
        self.assertEqual("Z", messages[-1][0], self.values(messages))
        return self.values(messages)

    @contextlib.contextmanager
    def one_server_taken(self):
        """… the one that came back last: everybody else is given the other one."""
        holder = self.raw()
        wait_for(lambda: self.idle() == 2, "it has come back")
        self.ask(holder, "begin")
        self.ask(holder, "select 1")
        yield
        self.ask(holder, "rollback")
        holder.socket.close()

    @contextlib.contextmanager
    def carried_elsewhere(self, client, settings, load=True):
        """On from now: the client's next server is one that has the library and none of its settings."""
        for name, value in settings:
            self.ask(client, "set %s = '%s'" % (name, value))
        with self.one_server_taken():
            if load:
                self.ask(self.raw(), LOAD)
            yield

    def idle(self):
        return self.pooler.metric("pgweir_pool_servers", state="idle", user=RAW_USER)

    def start_anew(self):
        """No server has the library."""
        mine = "from pg_stat_activity where usename = '%s'" % RAW_USER
        old = {row[0] for row in self.postgres.query("select pid, pg_terminate_backend(pid) " + mine)}
        self.raw()

        def renewed():
            pids = {row[0] for row in self.postgres.query("select pid " + mine)}
            return self.idle() == len(pids) == 2 and not old & pids
        wait_for(renewed, "two new servers")
        self.postgres.query("truncate library_done", database=DATABASE)

    def done(self):
        return [row[0] for row in self.postgres.query("select who from library_done order by 1", database=DATABASE)]

    def test_the_session_lives_on(self):
        for name, value, default in REFUSED:
            with self.subTest(setting=name):
                self.start_anew()
                c = self.raw()
                with self.carried_elsewhere(c, [(name, value), ("app.tenant", "42"), ("work_mem", "5MB")]):
                    self.assertEqual(["42", "5MB"], self.ask(
                        c, "select current_setting('app.tenant'); select current_setting('work_mem')"))
                    self.assertEqual([default], self.ask(
                        c, "select coalesce(current_setting('%s', true), '')" % name))
                self.assertEqual(["42"], self.ask(c, "show app.tenant"))
                wait_for(lambda told="setting=" + name: told in self.pooler.log(), "it is said", 20)

    def test_what_was_sent_behind_it_is_carried_out_once(self):
        insert = "insert into library_done values (current_setting('app.tenant'))"
        batch = wire.parse(insert) + wire.bind() + wire.execute() + wire.SYNC
        named = (wire.parse(insert, "mine") + wire.bind("", "mine") + wire.execute()) + wire.SYNC
        again = wire.bind("", "mine") + wire.execute() + wire.SYNC
        for what, sent, ends in [("query", wire.query(insert), 1), ("batch", batch, 1), ("named", named + again, 2),
                                 ("several", wire.query(insert) + batch + wire.query(insert), 3),
                                 ("long", wire.query(insert + " -- " + 20000 * "x"), 1)]:
            with self.subTest(sent=what):
                self.start_anew()
                c = self.raw()
                with self.carried_elsewhere(c, [REFUSED[0][:2], ("app.tenant", "42")]):
                    c.send(sent)
                    for _ in range(ends):
                        self.assertEqual([], self.values(c.read_until("Z")))
                self.assertEqual(["42"] * ends, self.done())
                self.assertEqual(["42"], self.ask(c, "show app.tenant"))

    def test_in_a_batch_that_is_not_over(self):
        self.start_anew()
        c = self.raw()
        with self.carried_elsewhere(c, [REFUSED[0][:2], ("app.tenant", "42")]):
            c.send(wire.parse("select current_setting('app.tenant')") + wire.bind() + wire.execute() +
                   wire.message("H", b""))
            self.assertEqual(["42"], self.values(c.read_until("C")))
            c.send(wire.SYNC)
            self.assertEqual([], self.values(c.read_until("Z")))

    def test_who_says_goodbye_behind_it_is_answered(self):
        self.start_anew()
        c = self.raw()
        with self.carried_elsewhere(c, [REFUSED[0][:2]]):
            c.send(wire.query("insert into library_done values ('bye')") + wire.message("X", b""))
            c.read_to_end()
        self.assertEqual(["bye"], self.done())

    def test_set_one_by_one(self):
        """client_encoding cannot go ahead of the client's messages."""
        self.start_anew()
        c = self.raw()
        with self.carried_elsewhere(c, [REFUSED[0][:2], ("app.tenant", "42"), ("client_encoding", "LATIN1")]):
            self.assertEqual(["42", "LATIN1"], self.ask(c, "show app.tenant; show client_encoding"))

    def test_what_cannot_be_taken_off_harms_nobody_else(self):
        """PostgreSQL has dropped it when the client loaded the library, and RESET is a superuser's."""
        self.start_anew()
        c, other = self.raw(), self.raw()
        self.ask(c, "set plpgsql.variable_conflict = 'use_column'")
        self.ask(c, "set app.tenant = '42'")
        self.ask(c, LOAD)
        self.ask(other, "set work_mem = '6MB'")
        for _ in range(4):
            values = self.ask(other, "select coalesce(current_setting('plpgsql.variable_conflict', true), '');"
                              " select coalesce(current_setting('app.tenant', true), ''); show work_mem")
            self.assertIn(values[0], ("error", ""))
            self.assertEqual(["", "6MB"], values[1:])
            self.assertEqual(["42"], self.ask(c, "show app.tenant"))
            with self.one_server_taken():
                self.assertEqual(["6MB"], self.ask(other, "show work_mem"))
                self.assertEqual(["42"], self.ask(c, "show app.tenant"))

    def test_asked_for_at_login(self):
        self.start_anew()
        for _ in range(2):
            with self.one_server_taken():
                self.ask(self.raw(), LOAD)
            self.ask(self.raw(), LOAD)
        for name, value, default in REFUSED:
            with self.subTest(setting=name):
                c = self.raw(options="-c %s=%s -c app.tenant=42" % (name, value))
                self.assertEqual([default, "42"], self.ask(
                    c, "select coalesce(current_setting('%s', true), ''); show app.tenant" % name))
                self.ask(c, "reset all")
                self.assertEqual(["42"], self.ask(c, "show app.tenant"))

    def test_what_is_no_librarys_is_never_left_out(self):
        """set_config() is denied: nothing runs under another's tenant, or without one."""
        insert = "insert into library_done values (coalesce(current_setting('app.tenant', true), 'nobody'))"
        self.start_anew()
        c = self.raw()
        denied = "function pg_catalog.set_config(text, text, bool)"
        with self.carried_elsewhere(c, [("app.tenant", "42")], load=False):
            self.postgres.query("revoke execute on %s from public" % denied, database=DATABASE)
            try:
                c.send(wire.query(insert))
                last = c.read_to_end()[-1]
                self.assertEqual(("E", "FATAL"), (last[0], wire.error_fields(last[1])["V"]))
            finally:
                self.postgres.query("grant execute on %s to public" % denied, database=DATABASE)
        self.assertEqual([], self.done())
