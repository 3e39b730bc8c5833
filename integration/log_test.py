"""The log: what was slow is told without what was in it, JSON is JSON, and nothing closes without a
reason."""

import json
import time
import unittest

import psycopg2

from integration.support import surroundings
from integration.support.case import PoolerCase, new_pooler, only_pgweir, shared_postgres
from integration.support.postgres import DATABASE, OWNER, password_of
from integration.support.waiting import wait_for

#: A number with more digits than a port, a time or a duration has, and a word.
CARD = "492912345678"
SECRET = CARD + "-hunter2"


@only_pgweir
class JsonLogTest(PoolerCase):
    settings = {"slow_query": "50ms", "pool": {"minconn": 1, "maxconn": 3},
                "log": {"format": "json", "connections": True, "disconnections": True}}

    def setUp(self):
        self.seen = len(self.pooler.log())

    def lines(self, event=None):
        """The lines of this test, or those of one event. The last one may not be whole yet."""
        text = self.pooler.log()[self.seen:]
        parsed = [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]
        return [line for line in parsed if event is None or line["event"] == event]

    def one(self, event):
        return wait_for(lambda: self.lines(event), lambda: "%s in:\n%s" % (
            event, self.pooler.log()[self.seen:]))[0]

    def assert_no_secret(self):
        for part in SECRET.split("-"):
            self.assertNotIn(part, self.pooler.log()[self.seen:])

    def test_a_slow_query_is_told_without_its_literals(self):
        client = self.connect_autocommit(application_name="till")
        self.rows(client, "select '%s', %s, pg_sleep(0.1) /* hunter2 */" % (SECRET, CARD))
        line = self.one("slow query")
        self.assertIn("pg_sleep", line["statement"])
        self.assertEqual(("warning", DATABASE, OWNER, "till"), (
            line["level"], line["database"], line["user"], line["application_name"]))
        self.assertTrue(0.1 <= line["seconds"] < 5 * surroundings.PATIENCE, line)
        self.assert_no_secret()

    def test_every_kind_of_literal(self):
        client = self.connect_autocommit()
        for literal in ("E'%s\\'%s'" % (CARD, CARD), "$$hunter2 %s$$" % CARD, "$a$hunter2$a$",
                        "U&'hunter2'", "'it''s hunter2'", "%s.%s" % (CARD, CARD),
                        "'{\"card\": \"%s\"}'::jsonb" % CARD):
            with self.subTest(literal=literal):
                self.seen = len(self.pooler.log())
                self.rows(client, "select %s, pg_sleep(0.1)" % literal)
                self.assertIn("pg_sleep", self.one("slow query")["statement"])
                self.assert_no_secret()

    def test_a_fast_query_is_not_told(self):
        client = self.connect_autocommit()
        for _ in range(5):
            self.rows(client, "select 1")
        self.rows(client, "select pg_sleep(0.1)")
        self.one("slow query")
        self.assertEqual([], [line for line in self.lines("slow query")
                              if "pg_sleep" not in line["statement"]
                              and line["seconds"] < 0.05])

    def test_a_slow_transaction_of_fast_queries(self):
        client = self.connect()
        self.rows(client, "select '%s'" % SECRET)
        time.sleep(0.15)  # the client is slow, that is the point
        self.rows(client, "select '%s'" % SECRET)
        client.commit()
        line = self.one("slow transaction")
        self.assertGreaterEqual(line["seconds"], 0.15)
        self.assert_no_secret()

    def test_every_end_has_a_reason(self):
        self.connect_autocommit().close()
        self.assertIn("reason", self.one("client closed"))
        with self.assertRaises(psycopg2.OperationalError):
            self.connect(password="wrong")
        wait_for(lambda: len(self.lines("client closed")) >= 2, "the refused client is told")
        client = self.connect_autocommit()
        with self.assertRaises(psycopg2.Error):
            self.rows(client, "select pg_terminate_backend(pg_backend_pid())")
        self.one("server closed")
        ends = self.lines("client closed") + self.lines("server closed")
        self.assertEqual([], [line for line in ends if not line.get("reason")])
        self.assertGreater(len({line["reason"] for line in ends}), 2, ends)

    def test_what_clients_write_cannot_forge_lines(self):
        name = 'x"}\n{"time":"now","level":"error","event":"forged'
        client = self.connect_autocommit(application_name=name)
        self.rows(client, "select pg_sleep(0.1) /* \n{\"event\":\"forged\"} */")
        self.one("slow query")
        self.assertEqual([], self.lines("forged"))


@only_pgweir
class WholeLifeTest(PoolerCase):
    """Every line from the start to the end."""

    @classmethod
    def setUpClass(cls):
        cls.postgres = shared_postgres()

    def live(self, form):
        self.pooler = new_pooler(self.postgres, log={"format": form, "level": "debug"})
        self.addCleanup(self.pooler.close)
        self.pooler.start()
        self.assertEqual([(1,)], self.pooler.query("select 1"))
        self.pooler.reload(pool={"maxconn": 5})
        wait_for(lambda: "reloaded" in self.pooler.log(), "it has reloaded")
        self.assertEqual(0, self.pooler.stop())
        text = self.pooler.log()
        self.assertNotIn(password_of(OWNER), text)
        return text.splitlines()

    def test_json(self):
        lines = [json.loads(line) for line in self.live("json")]
        for line in lines:
            self.assertEqual(["time", "level", "event"], list(line)[:3])
            self.assertIn(line["level"], ("debug", "info", "warning", "error"))
        ends = [line for line in lines if line["event"] in ("client closed", "server closed")]
        self.assertTrue(ends)
        self.assertTrue(all(line["reason"] for line in ends), ends)

    def test_text(self):
        for line in self.live("text"):
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
                                   r" (debug|info|warning|error) ")
            if "client closed" in line or "server closed" in line:
                self.assertRegex(line, r" reason=\S+")


if __name__ == "__main__":
    unittest.main()
