"""The audit: what a client leaves in its session and pgweir does not notice is found when the server comes
back, the server is closed, and the log says which statement it was. Where everything is noticed, nothing
is found."""

import contextlib
import json
import unittest

from integration.state.checker import Run, available_kinds, check, start_pgweir, start_postgres
from integration.state.known import KNOWN_WRONG
from integration.state.registry import KINDS
from integration.support.case import PoolerCase, only_pgweir
from integration.support.pgweir import LEAK
from integration.support.postgres import DATABASE, OWNER
from integration.support.waiting import wait_for

SECRET = "hunter2"

# kind, what leaves it, how it is named
LEFT_BEHIND = [
    ("setting", "select set_config('work_mem', '64MB', false), '%s'" % SECRET, "setting work_mem"),
    ("setting", "set work_mem = '64MB'; set enable_seqscan = off", "setting enable_seqscan, setting work_mem"),
    ("setting", "set role pg_monitor", "setting role"),
    ("listen", "listen mine", "listen mine"),
    ("advisory_lock", "select pg_advisory_lock(4711)", "advisory_lock ExclusiveLock"),
    ("temporary_object", "create temp table mine (value text)", "temporary_object table mine"),
    ("held_cursor", "declare mine cursor with hold for select '%s'" % SECRET, "held_cursor mine"),
    ("sql_statement", "prepare mine as select '%s'" % SECRET, "sql_statement mine"),
]


class AuditCase(PoolerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with contextlib.closing(cls.postgres.connect()) as outside:
            outside.autocommit = True
            outside.cursor().execute("grant pg_monitor to %s" % OWNER)

    def setUp(self):
        self.pooler.may_leak = True
        self.seen = len(self.pooler.log())

    def lines(self):
        """What the log says of leaks, in this test. The last line may not be whole yet."""
        text = self.pooler.log()[self.seen:]
        parsed = [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]
        return [line for line in parsed if line["event"].startswith(LEAK)]

    def line(self):
        return wait_for(self.lines, "a leak is told", 10)[-1]

    def leave(self, *statements, **options):
        """A client that does this and goes. The process it had."""
        with contextlib.closing(self.connect_autocommit(**options)) as client:
            process_id = self.value(client, "select pg_backend_pid()")
            for statement in statements:
                self.rows(client, statement)
        return process_id

    def audits(self):
        """How often, when nothing is being done any more."""
        wait_for(lambda: self.pooler.metric("pgweir_pool_servers", state="resetting", user=OWNER) == 0, "at rest")
        return self.pooler.metric("pgweir_session_audits_total", user=OWNER)

    def detected(self, kind):
        return self.pooler.metric("pgweir_session_leak_detected_total", kind=kind, user=OWNER)


@only_pgweir
class UnnoticedTest(AuditCase):
    """A daemon that does not look at what clients do."""
    settings = {"track": False, "workers": 1, "log": {"format": "json"},
                "pool": {"minconn": 1, "maxconn": 1, "audit_every": 1}}

    def test_every_kind_is_found_and_its_server_closed(self):
        fresh = self.pooler.query("select current_user, session_user, current_setting('work_mem')")
        for kind, statement, found in LEFT_BEHIND:
            with self.subTest(statement=statement):
                self.seen = len(self.pooler.log())
                before = self.detected(kind)
                self.leave(statement)
                line = self.line()
                self.assertEqual((kind, found), (line["kinds"], ", ".join(sorted(line["found"].split(", ")))))
                self.assertEqual(("warning", DATABASE, OWNER), (line["level"], line["database"], line["user"]))
                self.assertIn(statement.split(" ")[0], line["statements"])
                self.assertNotIn(SECRET, self.pooler.log())
                self.assertNotIn("4711", line["statements"])
                wait_for(lambda: self.detected(kind) == before + 1, "it is counted")
                with contextlib.closing(self.postgres.connect()) as outside, outside.cursor() as cursor:
                    wait_for(lambda: cursor.execute("select from pg_stat_activity where pid = %s",
                                                    (line["process_id"],)) or cursor.rowcount == 0,
                             "its server is closed")
                self.assertEqual(fresh, self.pooler.query(
                    "select current_user, session_user, current_setting('work_mem')"))
        self.assertEqual(len(LEFT_BEHIND), self.pooler.metric("pgweir_server_closes_total",
                                                              reason="session_leak", user=OWNER))

    def test_the_statement_is_named_among_others(self):
        with contextlib.closing(self.connect()) as client:
            for statement in ("select 1", "select set_config('work_mem', '%s', false)" % "64MB", "select 2"):
                self.rows(client, statement)
            client.commit()
            line = self.line()
        self.assertEqual("BEGIN | select set_config(?, ?, false) | select ? | COMMIT", line["statements"])
        self.assertEqual(1, line["transactions"])

    def test_what_is_undone_is_no_leak(self):
        self.leave("begin; set work_mem = '64MB'; rollback", "set local work_mem = '64MB'",
                   "set work_mem = '64MB'; reset work_mem")
        before = self.audits()
        self.leave("select 1")
        self.assertGreater(self.audits(), before)
        self.assertEqual([], self.lines())


@only_pgweir
class SampledTest(AuditCase):
    settings = {"track": False, "workers": 1, "log": {"format": "json"},
                "pool": {"minconn": 1, "maxconn": 1, "audit_every": 0}}

    def test_none_then_an_old_leak_then_its_statement(self):
        process_id = self.leave("set work_mem = '64MB'")
        self.leave("select 1")
        self.assertEqual(0, self.audits())
        self.assertEqual("64MB", self.value(self.connect_autocommit(), "show work_mem"))
        self.pooler.close_connections()
        self.pooler.reload(pool={"audit_every": 1})
        wait_for(lambda: self.leave("select 2") and self.lines(), "it is found")
        line = self.lines()[0]
        self.assertIn("earlier transaction", line["event"])
        self.assertEqual(("setting work_mem", "not known"), (line["found"], line["statements"]))
        self.assertEqual(process_id, line["process_id"])
        self.leave("set work_mem = '32MB'")
        line = wait_for(lambda: len(self.lines()) == 2 and self.lines(), "it is found again")[1]
        self.assertEqual("set work_mem = ?", line["statements"])
        self.pooler.reload(pool={"audit_every": 0})
        wait_for(lambda: "audit_every" in self.pooler.log()[self.seen:].split("1 -> 0")[0]
                 and "1 -> 0" in self.pooler.log(), "it is off")
        before = self.audits()
        for _ in range(5):
            self.leave("select 3")
        self.assertLessEqual(self.audits(), before + 1)


@only_pgweir
class TrackedTest(AuditCase):
    """A daemon as it comes, and what it cannot know."""
    settings = {"workers": 1, "functions_interval": "1h", "log": {"format": "json"},
                "pool": {"minconn": 1, "maxconn": 1, "audit_every": 1}}

    def test_a_function_made_past_pgweir(self):
        self.pooler.query("select 1")
        with contextlib.closing(self.postgres.connect()) as outside:
            outside.autocommit = True
            outside.cursor().execute("create or replace function lock_it(bigint) returns void language plpgsql as"
                                     " $$ begin perform pg_advisory_lock($1); end $$")
        self.leave("select lock_it(4711)")
        line = self.line()
        self.assertEqual(("advisory_lock ExclusiveLock", "select lock_it(?)"), (line["found"], line["statements"]))
        with contextlib.closing(self.postgres.connect()) as outside, outside.cursor() as cursor:
            wait_for(lambda: cursor.execute("select from pg_locks where locktype = 'advisory'") or
                     cursor.rowcount == 0, "the lock is gone with its server")

    def test_what_is_noticed_is_no_leak(self):
        for statement in ("set work_mem = '65536kB'", "set datestyle = german", "set role pg_monitor",
                          "create temp table mine (value text)", "listen mine", "prepare mine as select 1",
                          "declare mine cursor with hold for select 1", "select pg_advisory_lock(1)",
                          "select set_config('app.user', 'x', false)", "set statement_timeout = '20s'"):
            self.leave(statement)
        for options in ("-c work_mem=65536 -c datestyle=iso,dmy -c timezone=utc", "-c app.user=y",
                        "-c client_encoding=utf-8 -c enable_seqscan=0"):
            self.leave("select 1", options=options)
            self.leave("select 1; set extra_float_digits = 2", options=options)
        before = self.audits()
        self.leave("select 1")
        self.assertGreater(self.audits(), before)
        self.assertEqual([], self.lines())

    def test_a_question_that_fails_is_no_leak(self):
        failed = lambda: self.pooler.metric("pgweir_session_audits_failed_total", user=OWNER)  # noqa: E731
        before = failed()
        with contextlib.closing(self.postgres.connect()) as outside, outside.cursor() as cursor:
            cursor.execute("revoke execute on function pg_listening_channels() from public")
            try:
                process_id = self.leave("select 1")
                wait_for(lambda: failed() > before, "it has failed")
                self.assertEqual(process_id, self.leave())
            finally:
                cursor.execute("grant execute on function pg_listening_channels() to public")
        self.assertEqual([], self.lines())


@only_pgweir
class IgnoredTest(AuditCase):
    settings = {"workers": 1, "log": {"format": "json"},
                "pool": {"minconn": 1, "maxconn": 1, "audit_every": 1,
                         "session_state": {"temporary_objects": "ignore", "held_cursors": "ignore",
                                           "sql_statements": "ignore", "listen": "ignore",
                                           "advisory_locks": "ignore"}}}

    def test_what_is_ignored_is_no_leak(self):
        before = self.audits()
        process_id = self.leave("create temp table mine (value text)", "listen mine", "prepare mine as select 1",
                                "declare mine cursor with hold for select 1", "select pg_advisory_lock(1)")
        self.assertGreater(self.audits(), before)
        self.assertEqual([], self.lines())
        self.assertEqual(process_id, self.leave())


@only_pgweir
class SessionModeTest(AuditCase):
    settings = {"workers": 1, "log": {"format": "json"},
                "pool": {"mode": "session", "minconn": 1, "maxconn": 1, "audit_every": 1}}

    def test_a_server_is_as_new_for_the_next_session(self):
        for statement in ("set work_mem = '64MB'", "create temp table mine (value text)", "listen mine",
                          "prepare mine as select 1", "set role pg_monitor", "set application_name = 'mine'"):
            before = self.audits()
            self.leave(statement, "begin; select 1")
            wait_for(lambda: self.audits() > before, "it has been audited")
        self.leave("select 1", options="-c work_mem=1234 -c app.user=z", application_name="till")
        self.leave("select 1")
        self.assertEqual([], self.lines())


@only_pgweir
class DisturbsNobodyTest(AuditCase):
    """Several servers, and another one at every boundary where that is permitted."""
    settings = {"rotate": True, "workers": 1, "log": {"format": "json"},
                "pool": {"minconn": 3, "maxconn": 3, "audit_every": 1}}

    def test_who_reads_sequences_goes_back_to_its_server(self):
        with contextlib.closing(self.connect_autocommit()) as client:
            self.rows(client, "create sequence numbers")
            with self.fails_with("55000"):
                self.rows(client, "select currval('numbers')")  # from here on it is known to read them
            for number in range(1, 20):
                self.rows(client, "select nextval('numbers')")
                self.assertEqual(number, self.value(client, "select currval('numbers')"))
            self.rows(client, "drop sequence numbers")


@only_pgweir
class StateTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = start_postgres()
        cls.addClassCleanup(cls.postgres.close)

    def test_of_all_that_clients_do_to_their_sessions_nothing_is_missed(self):
        """As many clients as servers: nearly every lease is audited. Where somebody asks for currval() it is
        left be, so that clients find their servers idle."""
        names = [name for name in KINDS if name not in KNOWN_WRONG
                 and not any(word in name for word in ("currval", "lastval", "sequence"))]
        with contextlib.closing(start_pgweir(self.postgres, 4, True, audit_every=1)) as daemon:
            check(Run(4, 1, None, available_kinds(names), None, "1"), daemon, self.postgres)
            self.assertGreater(daemon.metric("pgweir_session_audits_total"), 1000)
            self.assertEqual([], daemon.leaks())



if __name__ == "__main__":
    unittest.main()
