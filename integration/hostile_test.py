"""Peers that are hostile or broken, on both sides: servers that misbehave at every step of a login and
of a query, clients that vanish, flood, or ask for more than there is. Whatever they do: others are
served, what they held comes back, and the daemon is idle when they are gone."""

import os
import random
import socket
import struct
import threading
import time
import unittest

from integration.support import surroundings, wire
from integration.support.case import PoolerCase, new_pooler, only_pgweir
from integration.support.peers import cpu_seconds
from integration.support.pgweir import ADMIN
from integration.support.postgres import DATABASE, OWNER
from integration.support.waiting import wait_for

STARTUP = wire.startup(user=OWNER, database=DATABASE)


def reset(connection):
    """Closes it with an RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# A server that misbehaves --------------------------------------------------------------------------

OK = wire.message("R", struct.pack("!i", 0))
READY = wire.message("Z", b"I")
KEY = wire.message("K", struct.pack("!ii", 4242, 77))
PARAMETER = wire.message("S", b"server_version\0" + b"15.1\0")
WELCOME = OK + PARAMETER + KEY + READY
ROW = wire.message("T", struct.pack("!h", 1) + b"a\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)) \
    + wire.message("D", struct.pack("!hi", 1, 3) + b"100")
DONE = wire.message("C", b"SELECT 1\0")


def error(severity, sqlstate):
    return wire.message("E", b"S%s\0V%s\0C%s\0Mwords\0\0" % (severity, severity, sqlstate))


def parameters(count):
    return b"".join(wire.message("S", b"p%d\0v\0" % i) for i in range(count))


class BadServer:
    """Says `login` to whoever connects, and `answer` to queries with the word `bad` in them. With
    `leaves` it closes after either."""

    def __init__(self, login=WELCOME, answer=b"", leaves=False):
        self.login, self.answer, self.leaves = login, answer, leaves
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self.listener.getsockname()
        self.connections = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            with peer, peer.makefile("rb") as reader:
                reader.read(struct.unpack("!i", reader.read(4))[0] - 4)
                peer.sendall(self.login)
                catalogues_asked = False
                while not (self.leaves and not self.answer):
                    kind, length = struct.unpack("!ci", reader.read(5))
                    body = reader.read(length - 4)
                    if kind == b"X":
                        return
                    if b"bad" in body:
                        peer.sendall(self.answer)
                        if self.leaves:
                            return
                    elif kind == b"Q":
                        peer.sendall(ROW + DONE + READY)
                    elif kind == b"S" and catalogues_asked:
                        peer.sendall(wire.NOTHING_HIDDEN)
                    catalogues_asked = kind != b"S" and (catalogues_asked or b"pgw_names" in body)
        except (OSError, struct.error):
            pass

    def close(self):
        self.listener.close()


# (name, what it says at login, does it close then)
BAD_LOGINS = [
    ("says nothing", b"", False),
    ("closes at once", b"", True),
    ("noise", bytes(range(1, 200)), False),
    ("half a welcome", WELCOME[:20], False),
    ("GSSAPI", wire.message("R", struct.pack("!i", 7)), False),
    ("a method nobody knows", wire.message("R", struct.pack("!i", 99)), False),
    ("a salt that is too short", wire.message("R", struct.pack("!i", 5) + b"ab"), False),
    ("no end of the SASL mechanisms", wire.message("R", struct.pack("!i", 10) + b"SCRAM"), False),
    ("the middle of a SASL exchange", wire.message("R", struct.pack("!i", 11) + b"r=x"), False),
    ("SCRAM, but not to the end",
     wire.message("R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0") + WELCOME, False),
    ("FATAL after the login", OK + PARAMETER + error(b"FATAL", b"XX000"), True),
    ("FATAL without closing", error(b"FATAL", b"57P03"), False),
    ("a transaction that fails already", OK + KEY + wire.message("Z", b"E"), False),
    ("an error of 900 kB", wire.message("E", b"SFATAL\0C57P03\0M" + b"y" * 900_000 + b"\0\0"), False),
    ("2,000 parameters", OK + parameters(2_000) + KEY + READY, False),
    ("parameters without end", OK + wire.message("S", b"p\0" + b"v" * 60_000 + b"\0") * 40, False),
]

# (name, what it answers, does it close then, what the client gets: SQLSTATE or type of the last)
BAD_ANSWERS = [
    ("closes", b"", True, "08006"),
    ("half a row", ROW[:-2], True, None),
    ("noise", bytes(range(200, 255)), False, "08P01"),
    ("only ReadyForQuery", READY, False, "08P01"),
    ("ReadyForQuery twice", ROW + DONE + READY + READY, False, "Z"),
    ("three answers", (ROW + DONE + READY) * 3, False, "Z"),
    ("a status nobody knows", ROW + DONE + wire.message("Z", b"?"), False, "08P01"),
    ("a login request", OK, False, "08P01"),
    ("a negative length", b"D\xff\xff\xff\xff", False, "08P01"),
    ("FATAL and closes", error(b"FATAL", b"57P01"), True, "57P01"),
    ("PANIC and closes", error(b"PANIC", b"XX000"), True, "XX000"),
    ("CopyBothResponse", wire.message("W", b"\0\0\0"), False, "08P01"),
    ("an error of 3 MB", wire.message("E", b"SERROR\0C22000\0M" + b"y" * 3_000_000 + b"\0\0") + READY,
     False, "Z"),
    ("a parameter of 300 kB", wire.message("S", b"p\0" + b"v" * 300_000 + b"\0") + DONE + READY,
     False, "08P01"),
    ("2,000 parameters", parameters(2_000) + DONE + READY, False, "08P01"),
    ("50,000 notices", wire.message("N", b"SNOTICE\0C00000\0Mx\0\0") * 50_000 + DONE + READY,
     False, "Z"),
]


@only_pgweir
class BadServerTest(unittest.TestCase):
    def run_daemon(self, server):
        daemon = new_pooler(server, workers=1, auth={"method": "trust"}, databases={
            DATABASE: {"host": server.host, "port": server.port, "sslmode": "disable"}},
            pool={"minconn": 1, "maxconn": 2, "wait_timeout": "300ms", "connect_timeout": "2s"})
        self.addCleanup(server.close)
        self.addCleanup(daemon.close)
        return daemon.start()

    def still_well(self, daemon):
        before = cpu_seconds(daemon.process)
        time.sleep(0.2)
        self.assertLess(cpu_seconds(daemon.process) - before, 0.1, "it spins")
        self.assertEqual(200, daemon.http("/healthz")[0])

    def test_logins(self):
        for name, login, leaves in BAD_LOGINS:
            with self.subTest(name=name):
                daemon = self.run_daemon(BadServer(login, leaves=leaves))
                with wire.Wire(daemon.host, daemon.port) as raw:
                    raw.send(STARTUP)
                    kind, body = raw.read_to_end()[-1]
                    self.assertEqual("E", kind)
                    self.assertRegex(wire.error_fields(body)["C"], "08001|08004")
                self.still_well(daemon)
                self.assertEqual(0, daemon.stop())

    def test_answers(self):
        for name, answer, leaves, wanted in BAD_ANSWERS:
            with self.subTest(name=name):
                server = BadServer(answer=answer, leaves=leaves)
                if leaves and not answer:
                    server.answer = wire.message("N", b"\0")
                daemon = self.run_daemon(server)
                for _ in range(2):
                    with wire.Wire(daemon.host, daemon.port) as raw:
                        raw.log_in("", user=OWNER, database=DATABASE)
                        raw.send(wire.query("bad"))
                        kind, body = raw.read_to_end_or("Z")[-1]
                        if wanted is None:
                            continue
                        got = wire.error_fields(body)["C"] if kind == "E" else kind
                        self.assertEqual(wanted, got)
                with wire.Wire(daemon.host, daemon.port) as raw:
                    raw.log_in("", user=OWNER, database=DATABASE)
                    self.assertIn("D", [kind for kind, _ in raw.ask("good")])
                self.still_well(daemon)
                self.assertEqual(0, daemon.stop())

    def test_last_words_are_heard_although_nothing_can_be_sent(self):
        """PostgreSQL says why it closes; what was still on its way to it makes sending fail first."""
        server = BadServer(answer=error(b"FATAL", b"57P01"), leaves=True)
        daemon = self.run_daemon(server)
        for _ in range(50):
            with wire.Wire(daemon.host, daemon.port) as raw:
                raw.log_in("", user=OWNER, database=DATABASE)
                raw.send(wire.query("bad") + wire.query("x" * 20_000) * 20)
                kind, body = raw.read_to_end()[-1]
                self.assertEqual("E", kind)
                self.assertEqual("57P01", wire.error_fields(body)["C"])


# Clients that misbehave ----------------------------------------------------------------------------

STREAM = [
    wire.query("select 1"), wire.query("begin"), wire.query("commit"), wire.query("select 1/0"),
    wire.query("copy hostile from stdin"), wire.query("copy nosuch from stdin"),
    wire.query("copy (select generate_series(1, 2000)) to stdout"),
    wire.parse("select $1::int"), wire.bind("", "", [b"1"]), wire.describe(), wire.execute(),
    wire.execute("", 1), wire.SYNC, wire.FLUSH, wire.parse("select 1", "named"),
    wire.bind("", "named"), wire.message("d", b"1\n"), wire.message("c"),
    wire.message("f", b"no\0"), wire.message("F", struct.pack("!ihhih", 1598, 0, 0, 0, 0)),
    wire.query("x" * 9000), wire.message("d", b"z" * 20000), wire.query("set work_mem = '1MB'"),
    wire.query("listen hostile"), wire.query(""), wire.query("select repeat('x', 100000)"),
]


@only_pgweir
class BadClientTest(PoolerCase):
    settings = {"auth": {"method": "trust"}, "workers": 2, "log": {"level": "warning"},
                "pool": {"maxconn": 3, "minconn": 1, "wait_timeout": "20s"}}

    def setUp(self):
        self.pooler.query("create table if not exists hostile (a text)")

    def raw(self, **startup):
        raw = wire.Wire(self.pooler.host, self.pooler.port)
        if startup:
            raw.log_in("", **startup)
        return raw

    def expect_baseline(self):
        """No client is left, and every server is idle."""
        def leftovers():
            samples = self.pooler.metrics()
            left = {name: samples.value(name) for name in (
                "pgweir_clients", "pgweir_pool_clients", "pgweir_pool_pinned_clients")}
            left["busy"] = samples.value("pgweir_pool_servers") \
                - samples.value("pgweir_pool_servers", state="idle")
            return {name: value for name, value in left.items() if value}
        wait_for(lambda: not leftovers(), lambda: "all is given back: %r" % leftovers(), 5)
        self.assertEqual([(1,)], self.pooler.query("select 1"))

    def test_streams_of_anything_then_gone(self):
        chance = random.Random(20260102)
        for _ in range(400):
            stream = bytearray(b"".join(chance.choices(STREAM, k=chance.randrange(1, 10))))
            if chance.random() < 0.3:
                stream[chance.randrange(len(stream))] = chance.randrange(256)
            if chance.random() < 0.3:
                del stream[chance.randrange(len(stream)):]
            with self.raw() as raw:
                raw.send(STARTUP + stream)
                if chance.random() < 0.3:
                    raw.socket.recv(1000)
                if chance.random() < 0.5:
                    reset(raw.socket)
        with at_most(self, 8):
            self.expect_baseline()

    def test_a_query_inside_a_failed_batch_then_gone(self):
        # PostgreSQL drops the Query and goes on waiting for a Sync.
        for _ in range(6):
            with self.raw() as raw:
                raw.send(STARTUP, wire.describe(), wire.query("select 1"))
                raw.read_until("E")
        with at_most(self, 3):
            self.expect_baseline()

    def test_resets_without_a_word(self):
        for count in range(3000):
            probe = socket.create_connection((self.pooler.host, self.pooler.port))
            if count % 3:
                probe.send(STARTUP[:count % len(STARTUP)])
            reset(probe)
        self.expect_baseline()

    def test_slow_readers_that_leave(self):
        for _ in range(20):
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect((self.pooler.host, self.pooler.port))
            slow.sendall(STARTUP + wire.query("begin; select repeat('z', 10000000)"))
            slow.recv(3000)
            reset(slow)
        self.expect_baseline()

    def test_console_knows_what_it_is_sent(self):
        for name, packet in [("an unknown type", wire.message("z", b"x")), ("a startup", STARTUP),
                             ("CopyData", wire.message("d", b"x")),
                             ("a function call", wire.message("F", b"1234"))]:
            with self.subTest(name=name), self.raw(user=ADMIN, database="pgbouncer") as raw:
                raw.send(packet)
                self.assertEqual("08P01", wire.error_fields(raw.read_to_end()[-1][1])["C"])

    def test_console_flood_that_is_not_read(self):
        with self.raw(user=ADMIN, database="pgbouncer") as raw:
            before = self.pooler.metric("process_resident_memory_bytes")
            raw.socket.settimeout(0.5)
            flood = (wire.message("P", b"\0x\0\0\0") + wire.SYNC) * 5000
            with self.assertRaises(TimeoutError):
                while True:
                    raw.socket.sendall(flood)
            self.assertLess(self.pooler.metric("process_resident_memory_bytes") - before, 20e6)


@only_pgweir
class DescriptorsTest(PoolerCase):
    settings = {"auth": {"method": "trust"}}

    @classmethod
    def setUpClass(cls):
        binary = surroundings.BINARY
        start = surroundings.start_process
        surroundings.start_process = lambda command, *rest, **options: start(
            ["prlimit", "--nofile=80:80"] + command if command[0] == binary else command,
            *rest, **options)
        try:
            super().setUpClass()
        finally:
            surroundings.start_process = start

    def test_the_last_ones_are_not_for_clients(self):
        pid = self.pooler.process.pid
        peers = [socket.create_connection((self.pooler.host, self.pooler.port)) for _ in range(200)]
        for peer in peers:
            peer.sendall(STARTUP)
        wait_for(lambda: "cannot accept clients" in self.pooler.log(), "no more are accepted")
        before = cpu_seconds(self.pooler.process)
        time.sleep(1)
        self.assertLess(cpu_seconds(self.pooler.process) - before, 0.05, "it spins")
        self.assertLess(len(os.listdir("/proc/%d/fd" % pid)), 75)
        self.assertEqual(200, self.pooler.http("/healthz")[0])
        for peer in peers:
            peer.close()
        self.assertEqual([(1,)], self.pooler.query("select 1"))
        self.assertEqual(1, self.pooler.log().count("cannot accept clients"))


class at_most:
    """The block takes no longer than so many seconds."""

    def __init__(self, case, seconds):
        self.case, self.seconds = case, seconds * surroundings.PATIENCE

    def __enter__(self):
        self.began = time.monotonic()

    def __exit__(self, kind, *_):
        if kind is None:
            self.case.assertLess(time.monotonic() - self.began, self.seconds)


if __name__ == "__main__":
    unittest.main()
