"""idle_session_timeout: it ends the client that has idled for so long, with PostgreSQL's own words, and
never a server that waits for the next client."""

import time

from integration.support import wire
from integration.support.case import only_pgweir, shared_postgres
from integration.support.peers import RAW_USER, rows_of
from integration.support.raw_case import RawCase

LIMIT = 0.3
SET = "set idle_session_timeout = '300ms'"
WAYS_TO_SET = [
    SET,
    "set session idle_session_timeout to 300",
    "select set_config('idle_session_timeout', '0.3 s', false)",
    "begin; %s; commit" % SET,
    "do $$ begin %s; end $$" % SET.replace("'", "''''").replace("''''", "'"),
]


class IdleSessionCase(RawCase):
    def told_at_the_end(self, client):
        """How long it takes until it is ended, and the fields of what it is told before."""
        begin = time.monotonic()
        kinds_and_bodies = client.read_to_end()
        self.assertEqual(["E"], [kind for kind, _ in kinds_and_bodies])
        told = wire.error_fields(kinds_and_bodies[0][1])
        return time.monotonic() - begin, {field: told[field] for field in "SVCM"}

    def backends(self):
        return self.postgres.query("select pid from pg_stat_activity where usename = %s order by 1",
                                   RAW_USER)

    def servers_lost(self):
        return self.postgres.log().count("idle-session timeout")

    def ended(self):
        return self.pooler.metric("pgweir_client_closes_total", user=RAW_USER,
                                  reason="idle_session_timeout")


@only_pgweir
class IdleSessionTest(IdleSessionCase):
    settings = dict(RawCase.settings, pool={"minconn": 1, "maxconn": 2, "wait_timeout": "30s"},
                    rotate=True)

    def test_the_words_are_postgresqls(self):
        told = []
        for where in (self.postgres, self.pooler):
            client = self.raw(where)
            client.ask(SET)
            told.append(self.told_at_the_end(client)[1])
        self.assertEqual(told[0], told[1])

    def test_a_client_is_ended_however_it_has_set_it(self):
        before, lost = self.ended(), self.servers_lost()
        clients = [self.raw(options="-c idle_session_timeout=300"),
                   self.raw(idle_session_timeout="0.3 s")]
        for text in WAYS_TO_SET:
            clients.append(self.raw())
            self.assertNotIn("E", [kind for kind, _ in clients[-1].ask(text)], text)
        other = self.raw()
        for client in clients:
            self.assertEqual("57P05", self.told_at_the_end(client)[1]["C"])
        self.wait_for(lambda: self.ended() == before + len(clients), "they are counted")
        self.assertEqual(["0"], rows_of(other.ask("show idle_session_timeout")))
        self.assertEqual(lost, self.servers_lost(), "a server was ended instead")

    def test_it_counts_from_when_the_client_became_idle(self):
        client = self.raw()
        client.ask(SET)
        for _ in range(4):
            time.sleep(LIMIT / 2)
            self.assertEqual(["300ms"], rows_of(client.ask("show idle_session_timeout")))
        client.ask("select pg_sleep(0.6)")
        client.ask("begin")
        time.sleep(LIMIT * 2)
        client.ask("commit")
        took, told = self.told_at_the_end(client)
        self.assertEqual("57P05", told["C"])
        self.assertGreater(took, LIMIT * 0.8)

    def test_nobody_else_is_ended_and_no_server(self):
        lost, other, last = self.servers_lost(), self.raw(), self.raw()
        backends = set()
        for text in (SET, "set idle_session_timeout = 0", SET, "reset all", SET, "discard all"):
            last.ask(text)
            backends.update(rows_of(other.ask("select pg_backend_pid()")))
        limited = self.raw()
        limited.ask("set idle_session_timeout = '1200ms'")
        limited.ask("select 1")
        self.told_at_the_end(limited)
        for client in (other, last):
            self.assertEqual(["0"], rows_of(client.ask("show idle_session_timeout")))
            backends.update(rows_of(client.ask("select pg_backend_pid()")))
        self.assertEqual(lost, self.servers_lost())
        self.assertLessEqual(len(backends), 2, "a server was replaced")

    def test_a_client_that_keeps_its_server_is_ended_by_postgresql(self):
        client = self.raw()
        client.ask("create temp table mine (value text)")
        client.ask(SET)
        self.assertEqual("57P05", self.told_at_the_end(client)[1]["C"])


@only_pgweir
class OwnLimitTest(IdleSessionCase):
    """... of the role, or of the database."""

    settings = dict(RawCase.settings, workers=1, pool={"minconn": 2, "maxconn": 2})

    @classmethod
    def setUpClass(cls):
        postgres = shared_postgres(**cls.postgres_settings)
        postgres.query("alter role %s set idle_session_timeout = '300ms'" % RAW_USER)
        cls.addClassCleanup(postgres.query,
                            "alter role %s reset idle_session_timeout" % RAW_USER)
        super().setUpClass()

    def test_whoever_has_it_is_ended_and_servers_are_not(self):
        lost = self.servers_lost()
        first, own = self.raw(), self.raw()
        self.assertEqual(["300ms"], rows_of(first.ask("show idle_session_timeout")))
        own.ask("set idle_session_timeout = 0")
        self.wait_for(lambda: len(self.backends()) == 2, "the minimum is open")
        backends = self.backends()
        self.assertEqual("57P05", self.told_at_the_end(first)[1]["C"])
        again = self.raw()
        self.assertEqual("57P05", self.told_at_the_end(again)[1]["C"])
        self.assertEqual(["0"], rows_of(own.ask("show idle_session_timeout")))
        own.ask("reset idle_session_timeout")
        self.assertEqual("57P05", self.told_at_the_end(own)[1]["C"])
        self.assertEqual(backends, self.backends())
        self.assertEqual(lost, self.servers_lost())


@only_pgweir
class StatementModeTest(IdleSessionCase):
    settings = dict(RawCase.settings, pool={"mode": "statement", "minconn": 1, "maxconn": 2})

    def test_a_client_is_ended(self):
        lost, client = self.servers_lost(), self.raw()
        client.ask(SET)
        self.assertEqual("57P05", self.told_at_the_end(client)[1]["C"])
        self.assertEqual(lost, self.servers_lost())


@only_pgweir
class SessionModeTest(IdleSessionCase):
    settings = dict(RawCase.settings, workers=1,
                    pool={"mode": "session", "minconn": 0, "maxconn": 2})

    def test_a_client_is_ended_by_postgresql(self):
        for options in ({}, {"options": "-c idle_session_timeout=300"}):
            lost, client = self.servers_lost(), self.raw(**options)
            client.ask("select 1" if options else SET)
            self.assertEqual("57P05", self.told_at_the_end(client)[1]["C"])
            self.assertEqual(lost + 1, self.servers_lost())

    def test_a_server_that_waits_for_the_same_settings_is_not(self):
        lost = self.servers_lost()
        first = self.raw(options="-c idle_session_timeout=300")
        backend = rows_of(first.ask("select pg_backend_pid()"))
        first.send(wire.message("X"))
        first.read_to_end()
        time.sleep(LIMIT * 2)
        second = self.raw(options="-c idle_session_timeout=300")
        self.assertEqual(backend, rows_of(second.ask("select pg_backend_pid()")))
        self.assertEqual(["300ms"], rows_of(second.ask("show idle_session_timeout")))
        self.assertEqual(lost, self.servers_lost())
        self.assertEqual("57P05", self.told_at_the_end(second)[1]["C"])
