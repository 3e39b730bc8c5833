"""COPY in both directions and both protocols, failing on either side at chosen bytes; function calls
and large objects; several statements in one Query. Each conversation is played with PostgreSQL itself
and through the daemon, byte by byte, and must come out the same."""

import contextlib
import random
import struct
import threading
import unittest

import psycopg2

from integration.support import wire
from integration.support.case import PoolerCase, only_pgweir
from integration.support.peers import (RAW_USER, allow_raw_users, kinds, raw_client, rows_of,
                                       wait_until_given_back)
from integration.support.pgweir import ADMIN, users
from integration.support.postgres import OWNER

COPY_IN = "copy visits from stdin"
COPY_OUT = "copy (select i, 'hall ' || i from generate_series(1, 5) i) to stdout"


def data(text):
    return wire.message("d", text.encode() if isinstance(text, str) else text)


DONE = wire.message("c")


def fail(words="the client will not"):
    return wire.message("f", words.encode() + b"\0")


def extended(sql, *values):
    return wire.parse(sql) + wire.bind("", "", values) + wire.describe() + wire.execute()


# A conversation: bytes are sent, letters are waited for, one message of that type after the other.
# What is waited for makes it certain in which state PostgreSQL is when the next bytes come.
CONVERSATIONS = {
    # In, simple protocol
    "in": [wire.query(COPY_IN), "G", data("1\tone\n2\ttwo\n"), DONE, "Z"],
    "in, nothing": [wire.query(COPY_IN), "G", DONE, "Z"],
    "in, all at once": [wire.query(COPY_IN) + data("1\tone\n") + DONE, "Z"],
    "in, rows cut anywhere": [wire.query(COPY_IN), "G", data("1\to"), data("n"), data("e\n2\ttw"),
                              data("o\n"), DONE, "Z"],
    "in, empty CopyData": [wire.query(COPY_IN), "G", data(""), data("1\tone\n"), data(""), DONE, "Z"],
    "in, end marker": [wire.query(COPY_IN), "G", data("1\tone\n\\.\n"), data("what follows\n"), DONE,
                       "Z"],
    "in, last line without its end": [wire.query(COPY_IN), "G", data("1\tone"), DONE, "Z"],
    "in, client fails": [wire.query(COPY_IN), "G", data("1\tone\n"), fail(), "Z"],
    "in, client fails at once": [wire.query(COPY_IN), "G", fail("at once"), "Z"],
    "in, client fails inside a row": [wire.query(COPY_IN), "G", data("1\to"), fail("inside"), "Z"],
    "in, server fails": [wire.query(COPY_IN), "G", data("not a number\tx\n"), DONE, "Z"],
    "in, server fails, more data": [
        wire.query(COPY_IN), "G", data("not a number\tx\n"), "EZ", data("3\tthree\n"), DONE,
        wire.query("select 1"), "Z"],
    "in, server fails, then CopyFail": [
        wire.query(COPY_IN), "G", data("x\n"), "EZ", data("3\tthree\n"), fail(),
        wire.query("select 1"), "Z"],
    "in, server fails at the end": [
        wire.query(COPY_IN), "G", data("1\tone\n1\tagain\n"), DONE, "Z"],
    "in, server fails in a transaction": [
        wire.query("begin"), "Z", wire.query(COPY_IN), "G", data("x\n"), "EZ", data("4\tx\n"), DONE,
        wire.query("select 1"), "Z", wire.query("rollback"), "Z"],
    "in, in a transaction": [
        wire.query("begin"), "Z", wire.query(COPY_IN), "G", data("1\tone\n"), DONE, "Z",
        wire.query("select count(*) from visits"), "Z", wire.query("commit"), "Z"],
    "in, rolled back": [
        wire.query("begin"), "Z", wire.query(COPY_IN), "G", data("1\tone\n"), DONE, "Z",
        wire.query("rollback"), "Z"],
    "in, Sync in the middle": [
        wire.query(COPY_IN), "G", data("1\tone\n"), wire.SYNC, data("2\ttwo\n"), wire.SYNC, DONE, "Z"],
    "in, Flush in the middle": [
        wire.query(COPY_IN), "G", data("1\tone\n"), wire.FLUSH, data("2\ttwo\n"), DONE, "Z"],
    "in, Sync and Flush first": [
        wire.query(COPY_IN), "G", wire.SYNC, wire.FLUSH, wire.SYNC, data("2\ttwo\n"), DONE, "Z"],
    "in, no such table": [wire.query("copy nosuch from stdin"), "EZ", data("1\tx\n"), DONE,
                          wire.query("select 1"), "Z"],
    "in, no such table, all at once": [
        wire.query("copy nosuch from stdin") + data("1\tx\n") + DONE + wire.query("select 1"), "ZZ"],
    "CopyData, CopyDone and CopyFail when no COPY runs": [
        data("1\tone\n"), DONE, fail(), wire.query("select 1"), "Z"],
    "two COPYs in one Query": [
        wire.query("copy visits from stdin; copy visits from stdin; select count(*) from visits"),
        "G", data("1\tone\n"), DONE, "G", data("2\ttwo\n"), DONE, "Z"],
    "two COPYs in one Query, the second fails": [
        wire.query("copy visits from stdin; copy visits from stdin; select 1"),
        "G", data("1\tone\n"), DONE, "G", data("1\tagain\n"), DONE, "Z"],
    "COPY among others": [
        wire.query("select 1; copy visits from stdin; select 2; " + COPY_OUT + "; select 3"),
        "G", data("1\tone\n"), DONE, "Z"],
    "COPY, then more Queries at once": [
        wire.query(COPY_IN) + data("7\tseven\n") + DONE + wire.query("select 1") + wire.query(COPY_OUT)
        + wire.query("select count(*) from visits"), "ZZZZ"],
    "binary format": [
        wire.query("copy visits from stdin binary"), "G",
        data(b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)),
        data(struct.pack("!hii", 2, 4, 9) + struct.pack("!i", 4) + b"nine"),
        data(struct.pack("!h", -1)), DONE, "Z", wire.query("copy visits to stdout binary"), "Z"],
    "binary format, broken": [
        wire.query("copy visits from stdin binary"), "G", data(b"PGCOPY\n\xff\r\n\0"), DONE, "Z"],
    # In, extended protocol
    "extended in": [extended(COPY_IN) + wire.FLUSH, "G", data("1\tone\n"), DONE + wire.SYNC, "Z"],
    "extended in, the Sync comes first": [
        extended(COPY_IN) + wire.SYNC, "G", data("1\tone\n"), DONE + wire.SYNC, "Z"],
    "extended in, many Syncs": [
        extended(COPY_IN) + wire.SYNC, "G", wire.SYNC, data("1\tone\n"), wire.SYNC, DONE + wire.SYNC,
        "Z", wire.SYNC, "Z"],
    "extended in, client fails": [
        extended(COPY_IN) + wire.FLUSH, "G", data("1\tone\n"), fail() + wire.SYNC, "Z"],
    "extended in, client fails, the Sync came first": [
        extended(COPY_IN) + wire.SYNC, "G", data("1\tone\n"), fail() + wire.SYNC, "Z"],
    "extended in, server fails, then Sync": [
        extended(COPY_IN) + wire.FLUSH, "G", data("x\n"), "E", data("1\tone\n"), DONE + wire.SYNC, "Z"],
    "extended in, server fails, CopyDone after the error": [
        extended(COPY_IN) + wire.FLUSH, "G", data("x\n"), "E", DONE, data("x"), fail(),
        wire.SYNC, "Z", wire.query("select 1"), "Z"],
    "extended in, server fails, the Sync came first": [
        extended(COPY_IN) + wire.SYNC, "G", data("x\n"), "E", data("1\tone\n"), DONE + wire.SYNC,
        "Z", wire.query("select 1"), "Z"],
    "extended in, fails at the end": [
        extended(COPY_IN) + wire.FLUSH, "G", data("1\tone\n1\tagain\n"), DONE + wire.SYNC, "Z"],
    "extended in, more behind it": [
        extended(COPY_IN) + wire.FLUSH, "G", data("1\tone\n"),
        DONE + extended("select count(*) from visits") + wire.SYNC, "Z"],
    "extended in, another message ends it": [
        extended(COPY_IN) + wire.FLUSH, "G", data("1\tone\n"), extended("select 1") + wire.SYNC,
        "END"],
    "extended in, named portal": [
        wire.query("begin"), "Z",
        wire.parse(COPY_IN) + wire.bind("p") + wire.execute("p") + wire.FLUSH, "G", data("1\tone\n"),
        DONE + wire.SYNC, "Z", wire.query("commit"), "Z"],
    "simple in, another message ends it": [
        wire.query(COPY_IN), "G", data("1\tone\n"), wire.query("select 1"), "END"],
    # Out
    "out": [wire.query(COPY_OUT), "Z"],
    "out, nothing": [wire.query("copy visits to stdout"), "Z"],
    "out, fails in the middle": [
        wire.query("copy (select 6 / (4 - i) from generate_series(1, 6) i) to stdout"), "Z"],
    "out, fails in a transaction": [
        wire.query("begin"), "Z",
        wire.query("copy (select 6 / (4 - i) from generate_series(1, 6) i) to stdout"), "Z",
        wire.query("rollback"), "Z"],
    "out, csv": [wire.query("copy (values (1, 'a,b'), (2, null)) to stdout csv header"), "Z"],
    "out, CopyDone and CopyFail from the client": [
        wire.query(COPY_OUT) + DONE + fail() + data("x"), "Z", wire.query("select 1"), "Z"],
    "extended out": [extended(COPY_OUT) + wire.SYNC, "Z"],
    "extended out, fails in the middle": [
        extended("copy (select 6 / (4 - i) from generate_series(1, 6) i) to stdout")
        + extended("select 1") + wire.SYNC, "Z", wire.query("select 2"), "Z"],
    "extended out with Flush": [extended(COPY_OUT) + wire.FLUSH, "C", wire.SYNC, "Z"],
    "in and out, pipelined": [
        extended(COPY_OUT) + wire.SYNC + extended("select 1") + wire.SYNC + extended(COPY_OUT)
        + wire.SYNC, "ZZZ"],
    "out with a row limit": [
        wire.parse(COPY_OUT) + wire.bind() + wire.execute("", 2) + wire.SYNC, "Z"],
    # Several statements in one Query
    "BEGIN and COMMIT inside": [
        wire.query("begin; insert into visits values (1, 'a'); commit; select count(*) from visits"),
        "Z"],
    "a transaction left open": [
        wire.query("insert into visits values (1, 'a'); begin; insert into visits values (2, 'b')"), "Z",
        wire.query("rollback"), "Z"],
    "COMMIT, then a failure": [
        wire.query("insert into visits values (1, 'a'); commit; insert into visits values (2, 'b');"
                   " select 1/0; insert into visits values (3, 'c')"), "Z"],
    "BEGIN, then a failure": [
        wire.query("begin; insert into visits values (1, 'a'); select 1/0; commit"), "Z",
        wire.query("select 1"), "Z", wire.query("commit"), "Z"],
    "a failure undoes the whole Query": [
        wire.query("insert into visits values (1, 'a'); select 1/0; select 2"), "Z"],
    "ROLLBACK and BEGIN in one": [
        wire.query("begin"), "Z", wire.query("insert into visits values (1, 'a')"), "Z",
        wire.query("rollback; begin; insert into visits values (2, 'b')"), "Z",
        wire.query("commit; select 1"), "Z"],
    "savepoints": [
        wire.query("begin; savepoint a; insert into visits values (1, 'a'); savepoint b"), "Z",
        wire.query("select 1/0"), "Z", wire.query("rollback to b; insert into visits values (2, 'b')"),
        "Z", wire.query("release a; commit"), "Z"],
    "COMMIT AND CHAIN": [
        wire.query("begin; insert into visits values (1, 'a'); commit and chain; select 1"), "Z",
        wire.query("rollback and chain"), "Z", wire.query("rollback"), "Z"],
    "empty statements": [wire.query(";;select 1;;"), "Z", wire.query(";"), "Z", wire.query(""), "Z"],
    "warnings inside": [wire.query("commit; begin; begin; commit; commit"), "Z"],
    "an implicit transaction over several Executes": [
        extended("insert into visits values (1, 'a')") + extended("select 1/0") + wire.SYNC, "Z"],
    "COMMIT inside a batch": [
        extended("insert into visits values (1, 'a')") + extended("commit")
        + extended("insert into visits values (2, 'b')") + extended("select 1/0") + wire.SYNC, "Z"],
    "BEGIN inside a batch": [
        extended("begin") + extended("insert into visits values (1, 'a')") + wire.SYNC, "Z",
        extended("commit") + wire.SYNC, "Z"],
    "COPY between BEGIN and COMMIT in one Query": [
        wire.query("begin; copy visits from stdin; commit; select count(*) from visits"), "G",
        data("1\tone\n"), DONE, "Z"],
    "COPY fails between BEGIN and COMMIT in one Query": [
        wire.query("begin; copy visits from stdin; commit"), "G", data("x\n"), "EZ",
        wire.query("rollback"), "Z"],
}


def function_call(oid, *values, formats=()):
    body = struct.pack("!ih", oid, len(formats)) + b"".join(struct.pack("!h", f) for f in formats)
    body += struct.pack("!h", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return wire.message("F", body + struct.pack("!h", 0))


INT4PL, LENGTH, INT4DIV = 177, 1317, 154  # pg_proc.dat; these numbers never change
FUNCTION_CALLS = {
    "answered": [function_call(INT4PL, b"2", b"3"), "Z"],
    "null": [function_call(INT4PL, b"2", None), "Z"],
    "an error": [function_call(INT4DIV, b"2", b"0"), "Z", function_call(INT4DIV, b"6", b"2"), "Z"],
    "no such function": [function_call(4_000_000_000 - 2**32, b"1"), "Z"],
    "too few arguments": [function_call(INT4PL, b"2"), "Z"],
    "an argument that is none": [function_call(INT4PL, b"2", b"three"), "Z"],
    "many at once": [b"".join(function_call(INT4PL, b"%d" % i, b"1") for i in range(50)), "Z" * 50],
    "in a transaction": [wire.query("begin"), "Z", function_call(INT4PL, b"2", b"3"), "Z",
                         function_call(INT4DIV, b"2", b"0"), "Z", function_call(INT4PL, b"2", b"3"),
                         "Z", wire.query("rollback"), "Z"],
    "large": [function_call(LENGTH, b"x" * 3_000_000), "Z"],
    "among others": [wire.query("select 1") + function_call(INT4PL, b"2", b"3") + extended("select 2")
                     + wire.SYNC + function_call(INT4PL, b"2", b"4"), "ZZZZ"],
    "in a batch": [wire.parse("select 1") + wire.bind() + wire.execute()
                   + function_call(INT4PL, b"2", b"3") + wire.SYNC, "ZZ"],
    "in a batch that has failed": [wire.parse("select nosuch") + function_call(INT4PL, b"2", b"3")
                                   + wire.SYNC, "Z", wire.query("select 1"), "Z"],
}


def play(raw, steps):
    """Plays a conversation; all that came."""
    came = []
    for step in steps:
        if isinstance(step, bytes):
            raw.send(step)
        elif step == "END":
            came += raw.read_to_end()
        else:
            for kind in step:
                came += raw.read_until(kind)
    return came


class ConversationCase(PoolerCase):
    settings = {"auth": {"method": "trust"}, "users": users(OWNER, RAW_USER, ADMIN),
                "log": {"level": "warning"},
                "pool": {"minconn": 1, "maxconn": 2, "wait_timeout": "30s"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        allow_raw_users(cls.postgres)
        cls.play_setup("create table if not exists visits (id int primary key, hall text)")

    @classmethod
    def play_setup(cls, sql):
        raw = raw_client(cls.postgres)
        raw.ask(sql)
        raw.socket.close()

    def conversation(self, where, steps):
        """What came, and what is in the table then."""
        self.play_setup("truncate visits")
        raw = raw_client(where)
        try:
            came = play(raw, steps)
        finally:
            raw.socket.close()
        wait_until_given_back(self.pooler)
        raw = raw_client(self.postgres)
        rows = rows_of(raw.ask("select v::text from visits v order by 1"))
        raw.socket.close()
        return came, rows

    def expect_the_same(self, conversations):
        for name, steps in conversations.items():
            with self.subTest(name=name):
                direct, pooled = (self.conversation(where, steps)
                                  for where in (self.postgres, self.pooler))
                self.assertEqual(kinds(direct[0]), kinds(pooled[0]))
                self.assertEqual(direct, pooled)


@only_pgweir
class CopyTest(ConversationCase):
    def test_every_conversation_is_that_of_a_direct_connection(self):
        self.expect_the_same(CONVERSATIONS)

    def test_function_calls(self):
        self.expect_the_same(FUNCTION_CALLS)

    def split(self, steps):
        """One conversation cut at every byte of what the client sends, in two parts that the daemon
        reads apart."""
        direct = self.conversation(self.postgres, steps)[0]
        sent = sum(len(step) for step in steps if isinstance(step, bytes))
        raw = raw_client(self.pooler)
        raw.ask("truncate visits")
        for cut in range(1, sent):
            at, came = 0, []
            for step in steps:
                if isinstance(step, str):
                    came += play(raw, [step])
                    continue
                if at < cut < at + len(step):
                    raw.send(step[:cut - at])
                    self.pooler_has_read()
                    raw.send(step[cut - at:])
                else:
                    raw.send(step)
                at += len(step)
            self.assertEqual(direct, came, cut)
            raw.ask("truncate visits")
        raw.socket.close()
        wait_until_given_back(self.pooler)

    @staticmethod
    def pooler_has_read():
        """On loopback what was sent lies in front of the daemon at once: it needs a moment to read
        it. (If it has not, both parts are read together, as without a cut.)"""
        threading.Event().wait(0.001)

    def test_split_at_every_byte(self):
        for name in ("in, server fails, more data", "extended in, server fails, the Sync came first",
                     "in, Sync in the middle", "extended in, more behind it",
                     "two COPYs in one Query, the second fails"):
            with self.subTest(name=name):
                self.split(CONVERSATIONS[name])

    def test_the_server_fails_at_chosen_rows_while_the_client_streams(self):
        # The client learns of it when it has sent everything, as one that does not look does.
        rows = ["%d\thall %d\n" % (i, i) for i in range(3000)]
        raw = raw_client(self.pooler)
        for protocol in ("simple", "extended"):
            for bad in (0, 1, 99, 100, 1500, 2998, 2999):
                with self.subTest(protocol=protocol, bad=bad):
                    if protocol == "simple":
                        raw.send(wire.query(COPY_IN))
                    else:
                        raw.send(extended(COPY_IN), wire.FLUSH)
                    raw.read_until("G")
                    for i, row in enumerate(rows):
                        raw.send(data("bad row %d\n" % i if i == bad else row))
                    raw.send(DONE, b"" if protocol == "simple" else wire.SYNC)
                    messages = raw.read_until("Z")
                    self.assertEqual("EZ", kinds(messages))
                    self.assertIn("bad row %d" % bad, wire.error_fields(messages[0][1])["M"])
                    self.assertEqual(["0"], rows_of(raw.ask("select count(*) from visits")))
        raw.socket.close()

    def test_the_client_fails_at_chosen_bytes(self):
        text = "".join("%d\thall %d\n" % (i, i) for i in range(200)).encode()
        raw = raw_client(self.pooler)
        for at in list(range(0, 40)) + list(range(40, len(text), 97)):
            raw.send(wire.query(COPY_IN))
            raw.read_until("G")
            raw.send(data(text[:at]), fail("at byte %d" % at))
            messages = raw.read_until("Z")
            self.assertEqual("EZ", kinds(messages))
            self.assertIn("at byte %d" % at, wire.error_fields(messages[0][1])["M"])
            self.assertEqual(["0"], rows_of(raw.ask("select count(*) from visits")))
        raw.socket.close()

    def test_pgbouncer_1025_sync_during_copy_frees_no_server(self):
        # While one client is in a COPY behind which it has sent Syncs, others must not get its server.
        copying = raw_client(self.pooler)
        copying.send(extended(COPY_IN), wire.SYNC)
        copying.read_until("G")
        for i in range(20):
            copying.send(data("%d\tx\n" % i), wire.SYNC, wire.SYNC)
            self.assertEqual([(i,)], self.pooler.query("select %s", i, user=RAW_USER))
        copying.send(DONE, wire.SYNC)
        messages = copying.read_until("Z")
        self.assertEqual([("C", b"COPY 20\0"), ("Z", b"I")], messages)
        self.assertEqual(["20"], rows_of(copying.ask("select count(*) from visits")))
        copying.ask("truncate visits")
        copying.socket.close()

    def test_pgbouncer_1470_a_late_copy_done_strands_no_server(self):
        for _ in range(6):  # more often than there are servers
            raw = raw_client(self.pooler)
            raw.send(wire.query(COPY_IN))
            raw.read_until("G")
            raw.send(data("not a number\n"))
            self.assertEqual("EZ", kinds(raw.read_until("Z")))
            # The server may have gone to somebody else: nothing of this may reach it.
            raw.send(data("1\tlate\n"), DONE)
            self.assertEqual([(1,)], self.pooler.query("select 1", user=RAW_USER))
            self.assertEqual("TDCZ", kinds(raw.ask("select 1")))
            raw.socket.close()
        wait_until_given_back(self.pooler)


@only_pgweir
class OneServerTest(ConversationCase):
    """Everything through the same server, which each conversation must leave clean."""

    settings = dict(ConversationCase.settings, pool={"minconn": 1, "maxconn": 1}, workers=1)

    def test_every_conversation_on_the_same_server(self):
        self.expect_the_same(CONVERSATIONS)
        self.expect_the_same(FUNCTION_CALLS)


@only_pgweir
class SessionModeTest(ConversationCase):
    settings = dict(ConversationCase.settings, pool={"mode": "session", "minconn": 1, "maxconn": 3})

    def test_every_conversation_in_session_mode(self):
        self.expect_the_same(CONVERSATIONS)
        self.expect_the_same(FUNCTION_CALLS)


@only_pgweir
class ServerLostTest(ConversationCase):
    """The server is lost in the middle of a COPY: the client is told, once, and nothing is kept."""

    def lose(self, copy, after, until):
        """The backend is terminated when so many bytes have been sent, or one message has come."""
        raw = raw_client(self.pooler)
        pid = rows_of(raw.ask("begin; select pg_backend_pid()"))[0]
        raw.send(wire.query(copy))
        raw.read_until(until)
        raw.send(b"".join(data("%d\tx\n" % i) for i in range(after)))
        self.postgres.query("select pg_terminate_backend(%s)", int(pid))
        messages = raw.read_to_end()
        errors = [wire.error_fields(body)["C"] for kind, body in messages if kind == "E"]
        raw.socket.close()
        return errors

    def test_in_a_copy_in(self):
        for after in (0, 1, 10, 1000, 50_000):
            self.assertEqual(["57P01"], self.lose(COPY_IN, after, "G"), after)
        wait_until_given_back(self.pooler)
        self.play_setup("select 1")
        self.assertEqual([(0,)], self.pooler.query("select count(*) from visits", user=RAW_USER))

    def test_in_a_copy_out(self):
        # A backend that cannot write is ended without a word; in the middle of a row ours would be
        # taken for a part of it.
        for until in ("H", "d"):
            raw = raw_client(self.pooler, receive_buffer=4096)
            pid = rows_of(raw.ask("begin; select pg_backend_pid()"))[0]
            raw.send(wire.query("copy (select i, repeat('x', 1000) from generate_series(1, 100000) i)"
                                " to stdout"))
            raw.read_until(until)
            self.postgres.query("select pg_terminate_backend(%s)", int(pid))
            messages = raw.read_to_end()
            errors = [wire.error_fields(body)["C"] for kind, body in messages if kind == "E"]
            self.assertIn(errors, ([], ["57P01"], ["08006"]))
            self.assertEqual(set(), set(kinds(messages)) - {"d", "E"})
            raw.socket.close()
        wait_until_given_back(self.pooler)
        self.assertEqual([(1,)], self.pooler.query("select 1", user=RAW_USER))


@only_pgweir
class ContentionTest(ConversationCase):
    """More clients in COPYs than there are servers."""

    CLIENTS, ROUNDS = 8, 12

    def client_life(self, number, wrong):
        chance = random.Random(number)
        raw = raw_client(self.pooler, timeout=60)
        kept = 0
        for round_number in range(self.ROUNDS):
            tag = "client %d round %d" % (number, round_number)
            how = chance.choice(["in", "in", "in fails", "in given up", "out", "extended in"])
            if how == "out":
                messages = raw.ask("copy (select '%s', i from generate_series(1, 500) i) to stdout" % tag)
                lines = [body for kind, body in messages if kind == "d"]
                if lines != [b"%s\t%d\n" % (tag.encode(), i) for i in range(1, 501)]:
                    wrong.append((tag, how, len(lines), lines[:2]))
                continue
            copy = "copy copies_%d from stdin" % number
            raw.send(extended(copy) + wire.FLUSH if how == "extended in" else wire.query(copy))
            raw.read_until("G")
            count = chance.randrange(1, 300)
            for i in range(count):
                raw.send(data("%s\t%d\n" % (tag, i)))
                if chance.random() < 0.02:
                    threading.Event().wait(chance.uniform(0, 0.01))  # a client that thinks
            if how == "in fails":
                raw.send(data("%s\tx\n" % tag), DONE)
            else:
                raw.send(fail(tag) if how == "in given up" else DONE)
            if how == "extended in":
                raw.send(wire.SYNC)
            messages = raw.read_until("Z")
            good = how in ("in", "extended in")
            if ("C", b"COPY %d\0" % count) not in messages if good else messages[0][0] != "E":
                wrong.append((tag, how, count, messages))
            kept += count if good else 0
        there = rows_of(raw.ask("select count(*) from copies_%d where tag like 'client %d round %%'"
                                % (number, number)))
        everything = rows_of(raw.ask("select count(*) from copies_%d" % number))
        if not [str(kept)] == there == everything:
            wrong.append((number, kept, there, everything))
        raw.socket.close()

    def test_pgcat_522_copy_data_reaches_its_own_server_only(self):
        for number in range(self.CLIENTS):
            self.play_setup("drop table if exists copies_%d; create table copies_%d (tag text, i int)"
                            % (number, number))
        wrong = []

        def run(number):
            try:
                self.client_life(number, wrong)
            except Exception as error:  # pylint: disable=broad-except
                wrong.append((number, repr(error)))
        threads = [threading.Thread(target=run, args=(number,)) for number in range(self.CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong[:3])
        wait_until_given_back(self.pooler)


class LargeObjectTest(PoolerCase):
    """libpq's fast path, as psycopg2's lobject uses it."""

    settings = {"pool": {"minconn": 1, "maxconn": 2, "wait_timeout": "30s"}}

    def life(self, number, wrong):
        try:
            with contextlib.closing(psycopg2.connect(**self.pooler.dsn())) as client:
                chance = random.Random(number)
                for _ in range(4):
                    text = bytes(chance.randrange(256) for _ in range(1000)) * chance.randrange(1, 1500)
                    large = client.lobject(0, "wb")
                    oid = large.oid
                    for at in range(0, len(text), 300_000):
                        large.write(text[at:at + 300_000])
                    large.close()
                    client.commit()
                    large = client.lobject(oid, "rb")
                    same = large.read() == text
                    large.seek(len(text) // 2)
                    half = large.read(1000) == text[len(text) // 2:len(text) // 2 + 1000]
                    end = large.seek(0, 2)
                    client.rollback()
                    large = client.lobject(oid, "rwb")
                    large.truncate(77)
                    client.commit()
                    large = client.lobject(oid, "rb")
                    cut = large.read() == text[:77]
                    large.unlink()
                    client.commit()
                    gone = ""
                    try:
                        client.lobject(oid, "rb")
                    except psycopg2.OperationalError as error:
                        gone = str(error)
                    client.rollback()
                    if not (same and half and cut and end == len(text) and "does not exist" in gone):
                        wrong.append((number, len(text), same, half, cut, end, gone))
        except Exception as error:  # pylint: disable=broad-except
            wrong.append((number, repr(error)))

    def test_large_objects_of_many_clients_on_two_servers(self):
        wrong = []
        threads = [threading.Thread(target=self.life, args=(i, wrong)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong)

    def test_an_aborted_large_object_is_gone(self):
        client = self.connect()
        large = client.lobject(0, "wb")
        oid = large.oid
        large.write(b"x" * 100_000)
        client.rollback()
        with self.assertRaisesRegex(psycopg2.OperationalError, "does not exist"):
            client.lobject(oid, "rb")
        client.rollback()
        self.assertEqual(1, self.value(client, "select 1"))


if __name__ == "__main__":
    unittest.main()
