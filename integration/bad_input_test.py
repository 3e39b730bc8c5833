"""Bytes no driver sends: each ends in a FATAL with the right SQLSTATE where the protocol has a place for
one, then the connection closes; others notice nothing and the daemon lives."""

import random
import struct
import unittest

from integration.support import wire
from integration.support.case import PoolerCase, only_pgweir
from integration.support.peers import cpu_seconds, memory_bytes
from integration.support.postgres import DATABASE, OWNER
from integration.support.waiting import wait_for

GOOD_STARTUP = wire.startup(user=OWNER, database=DATABASE)

# What comes first on a connection: (name, bytes, SQLSTATE or None where closing is the answer)
BEFORE_LOGIN = [
    ("a length below 8", struct.pack("!ii", 4, wire.PROTOCOL_3_0), None),
    ("a length of 0", struct.pack("!ii", 0, wire.PROTOCOL_3_0), None),
    ("a negative length", struct.pack("!ii", -1, wire.PROTOCOL_3_0), None),
    ("a length above 10,000", struct.pack("!ii", 10_001, wire.PROTOCOL_3_0) + b"x" * 9_993, None),
    ("a length of 2^31-1", struct.pack("!ii", 0x7FFFFFFF, wire.PROTOCOL_3_0), None),
    ("protocol 2", wire.untyped(131072, b"user\0x\0\0"), "0A000"),
    ("protocol 4", wire.startup(version=4 << 16, user=OWNER), "0A000"),
    ("no user", wire.startup(database=DATABASE), "28000"),
    ("no terminator", wire.untyped(wire.PROTOCOL_3_0, b"user\0fitness"), "08P01"),
    ("a name without a value", wire.untyped(wire.PROTOCOL_3_0, b"user\0fitness\0database\0"), "08P01"),
    ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", None),
    ("a query first", wire.query("select 1"), None),
    ("two SSL requests", wire.untyped(wire.SSL_REQUEST) * 2, None),
    ("a cancel that is too short", struct.pack("!iii", 12, wire.CANCEL_REQUEST, 1), None),
    ("a cancel with a guessed key", struct.pack("!iiii", 16, wire.CANCEL_REQUEST, 1, 1), None),
    ("a database name of 9 kB", wire.startup(user=OWNER, database="d" * 9_000), "*"),
    ("a user name of 9 kB", wire.startup(user="u" * 9_000, database=DATABASE), "*"),
    ("replication", wire.startup(user=OWNER, database=DATABASE, replication="true"), "*"),
]

# After login: (name, bytes, SQLSTATE)
AFTER_LOGIN = [
    ("an unknown type", wire.message("z", b"what?"), "08P01"),
    ("a type of zero", b"\0\0\0\0\4", "08P01"),
    ("a length below 4", b"Q" + struct.pack("!i", 3), "08P01"),
    ("a negative length", b"Q" + struct.pack("!i", -5), "08P01"),
    ("a startup packet", GOOD_STARTUP, "08P01"),
    ("a password out of order", wire.message("p", b"secret\0"), "08P01"),
    ("a server's message", wire.message("Z", b"I"), "08P01"),
]

# Framed well, but with a body that makes no sense: PostgreSQL answers an ERROR and goes on with the
# session, a pooler that had to look inside may as well end it.
BAD_BODIES = [
    ("a query without its terminator", wire.message("Q", b"select 1")),
    ("a Parse without its names", wire.message("P", b"")),
    ("a Bind that ends early", wire.message("B", b"\0")),
    ("a Bind with counts that lie", wire.message("B", b"\0\0" + struct.pack("!h", 30000))),
    ("a Describe of nothing", wire.message("D", b"")),
    ("a Close of nothing", wire.message("C", b"")),
    ("an Execute without a limit", wire.message("E", b"\0")),
    ("a Sync with a body", wire.message("S", b"x")),
]

# Around what a message may be (1 GB), and around the ends of 32 bits.
LENGTHS = [0x3FFFFFFE, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF]


@only_pgweir
class BadInputTest(PoolerCase):
    settings = {"auth": {"method": "trust", "login_timeout": "3s"}, "pool": {"maxconn": 4}}

    def setUp(self):
        self.witness = self.connect()
        self.rows(self.witness, "select 'in a transaction'")

    def tearDown(self):
        # Whatever came: the witness's transaction goes on, and others are served.
        self.assertEqual(7, self.value(self.witness, "select 7"))
        self.witness.rollback()
        self.assertEqual([(1,)], self.pooler.query("select 1"))
        self.assertIsNone(self.pooler.process.poll(), "the daemon has ended")
        super().tearDown()

    def raw(self):
        return wire.Wire(self.pooler.host, self.pooler.port)

    def logged_in(self):
        raw = self.raw()
        raw.log_in("", user=OWNER, database=DATABASE)
        return raw

    def expect_end(self, raw, sqlstate):
        """The rest of the connection is at most an error and the end. (One-byte answers to an SSL
        request do not parse as messages; the end is what counts then.)"""
        try:
            messages = raw.read_to_end()
        except (struct.error, UnicodeDecodeError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                raise
            return
        if sqlstate is None:
            return
        self.assertTrue(messages and messages[-1][0] == "E", "no error but %r" % messages)
        fields = wire.error_fields(messages[-1][1])
        self.assertEqual("FATAL", fields["S"])
        if sqlstate != "*":
            self.assertEqual(sqlstate, fields["C"], fields)

    def test_before_login(self):
        for name, packet, sqlstate in BEFORE_LOGIN:
            with self.subTest(name=name), self.raw() as raw:
                raw.send(packet)
                self.expect_end(raw, sqlstate)

    def test_after_login(self):
        for name, packet, sqlstate in AFTER_LOGIN:
            with self.subTest(name=name), self.logged_in() as raw:
                raw.send(packet)
                self.expect_end(raw, sqlstate)

    def test_bad_bodies(self):
        for name, packet in BAD_BODIES:
            with self.subTest(name=name), self.logged_in() as raw:
                raw.send(packet, wire.SYNC)
                fields = wire.error_fields(raw.read_until("E")[-1][1])
                # PostgreSQL looks for the statement of a Bind before it reads on: 26000.
                self.assertIn(fields["C"], ("08P01", "26000"), fields)
                if fields["S"] == "FATAL":
                    self.assertEqual([], raw.read_to_end())

    def test_2026_6668_2026_107348_the_length_alone_costs_nothing(self):
        # Also where a message may be so long: what has not come has no buffer.
        cpu, memory = cpu_seconds(self.pooler.process), memory_bytes(self.pooler.process)
        for length in LENGTHS:
            for kind in "QPBEDCdp":
                with self.subTest(length=hex(length), kind=kind), self.logged_in() as raw:
                    raw.send(kind.encode() + struct.pack("!I", length) + bytes(1_000))
                    if length != LENGTHS[0] or kind in "Ep":  # which are short, whatever they hold
                        self.expect_end(raw, "08P01")
            with self.subTest(length=hex(length), kind="the first"), self.raw() as raw:
                raw.send(struct.pack("!Ii", length, wire.PROTOCOL_3_0) + bytes(1_000))
                self.expect_end(raw, None)
        wait_for(lambda: self.pooler.metric("pgweir_clients") <= 1, "all of them are gone")
        self.assertLess(cpu_seconds(self.pooler.process) - cpu, 1)
        self.assertLess(memory_bytes(self.pooler.process) - memory, 16 * 1024 * 1024)

    def test_in_a_transaction_it_is_rolled_back(self):
        self.pooler.query("create table if not exists broken (a int)")
        with self.logged_in() as raw:
            raw.ask("begin")
            raw.ask("insert into broken values (1)")
            raw.send(wire.message("z"))
            self.expect_end(raw, "08P01")
        wait_for(lambda: self.postgres.query(
            "select count(*) from pg_stat_activity where state = 'idle in transaction'"
            " and datname = %s", DATABASE) == [(1,)], "only the witness is in a transaction")
        self.assertEqual([(0,)], self.pooler.query("select count(*) from broken"))

    def test_truncated_at_every_byte(self):
        session = GOOD_STARTUP + wire.parse("select 1") + wire.bind() + wire.execute() + wire.SYNC
        for cut in range(len(session)):
            with self.raw() as raw:
                raw.send(session[:cut])
        wait_for(lambda: self.pooler.metric("pgweir_clients") <= 1, "all of them are gone")

    def test_one_byte_at_a_time(self):
        with self.raw() as raw:
            for byte in GOOD_STARTUP + wire.query("select 'slowly'"):
                raw.send(bytes([byte]))
            raw.read_until("Z")
            self.assertIn("D", [kind for kind, _ in raw.read_until("Z")])

    def test_who_says_nothing_is_let_go(self):
        with self.raw() as silent, self.raw() as halfway:
            halfway.send(GOOD_STARTUP[:10])
            for raw in (silent, halfway):
                raw.socket.settimeout(15)
                self.expect_end(raw, None)

    def test_noise(self):
        chance = random.Random(20260101)
        for _ in range(200):
            logged_in = chance.random() < 0.5
            with (self.logged_in() if logged_in else self.raw()) as raw:
                noise = chance.randbytes(chance.randrange(1, 300))
                if logged_in and noise[:1] in b"QPBEDCHSFX":
                    noise = b"~" + noise
                try:
                    raw.send(noise)
                except OSError:
                    pass


if __name__ == "__main__":
    unittest.main()
