"""Protocol 3.0 and 3.2, on both sides: what is negotiated, and cancel keys of every length."""

import socket
import struct
import threading
import unittest

from integration.support import wire
from integration.support.case import PoolerCase, new_pooler, only_pgweir
from integration.support.pgweir import users
from integration.support.postgres import DATABASE, OWNER, password_of
from integration.support.waiting import wait_for

SLEEP = "select pg_sleep(30)"


def version(minor):
    return 3 << 16 | minor


def cancel_packet(key_data):
    return wire.untyped(wire.CANCEL_REQUEST, key_data)


@only_pgweir
class ClientsTest(PoolerCase):
    """Clients of either version, in front of PostgreSQL 15, which speaks 3.0 only."""

    settings = {"auth": {"method": "password"}, "users": users(OWNER)}

    def log_in(self, minor, **parameters):
        """(connection, messages of the login)"""
        raw = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(raw.socket.close)
        raw.send(wire.startup(version(minor), user=OWNER, database=DATABASE, **parameters))
        messages = [raw.read_message()]
        while messages[-1][0] != "Z":
            if messages[-1] == ("R", b"\0\0\0\3"):
                raw.send(wire.message("p", password_of(OWNER).encode() + b"\0"))
            messages.append(raw.read_message())
        return raw, messages

    def key_data(self, messages):
        return next(body for kind, body in messages if kind == "K")

    def send_cancel(self, packet):
        with wire.Wire(self.pooler.host, self.pooler.port) as carrier:
            carrier.send(packet)
            self.assertEqual([], carrier.read_to_end())

    def runs(self):
        return self.postgres.query("select 1 from pg_stat_activity where query = %s"
                                   " and state = 'active'", SLEEP)

    def test_versions_and_options(self):
        for minor, options, told in (
                (0, {}, None), (2, {}, None), (1, {}, None),
                (3, {}, b"\0\3\0\2\0\0\0\0"), (9999, {}, b"\0\3\0\2\0\0\0\0"),
                (0, {"_pq_.x": "1"}, b"\0\3\0\0\0\0\0\1_pq_.x\0"),
                (2, {"_pq_.x": "1", "_pq_.y": ""}, b"\0\3\0\2\0\0\0\2_pq_.x\0_pq_.y\0")):
            with self.subTest(minor=minor, options=options):
                raw, messages = self.log_in(minor, **options)
                self.assertEqual([] if told is None else [("v", told)],
                                 [m for m in messages if m[0] == "v"])
                if told is not None:
                    self.assertEqual("v", messages[0][0])
                self.assertEqual(4 + (32 if minor >= 2 else 4), len(self.key_data(messages)))
                self.assertEqual("D", raw.ask("select 1")[1][0])

    def test_keys_cancel_and_nothing_like_them_does(self):
        for minor in (0, 2):
            with self.subTest(minor=minor):
                raw, messages = self.log_in(minor)
                key = self.key_data(messages)
                raw.send(wire.query(SLEEP))
                self.wait_for(self.runs, "it sleeps")
                for wrong in (key[:-1], key + b"\0", key[:4], key[:7], key[:8] + b"\0" * 28,
                              key[:-1] + bytes([key[-1] ^ 1]), key[:4] + b"\0" * 4,
                              key[:4] + b"k" * 256, key[:4] + b"k" * 257, b"", key * 20):
                    if wrong != key:
                        self.send_cancel(cancel_packet(wrong))
                self.assertTrue(self.runs(), "a wrong key has cancelled")
                self.send_cancel(cancel_packet(key))
                replies = raw.read_until("Z")
                self.assertEqual("57014", wire.error_fields(
                    next(body for kind, body in replies if kind == "E"))["C"])

    def test_a_version_that_never_was_is_refused(self):
        for major in (2, 4, 1234):
            with wire.Wire(self.pooler.host, self.pooler.port) as raw:
                raw.send(wire.startup(major << 16, user=OWNER))
                kind, body = raw.read_message()
                fields = wire.error_fields(body)
                self.assertEqual(("E", "0A000"), (kind, fields["C"]))
                self.assertIn("server supports 3.0 to 3.2", fields["M"])

    def test_encryption_is_declined_once_each(self):
        with wire.Wire(self.pooler.host, self.pooler.port) as raw:
            for code in (wire.GSSENC_REQUEST, wire.SSL_REQUEST):
                raw.send(wire.untyped(code))
                self.assertEqual(b"N", raw.read_exactly(1))
            raw.send(wire.untyped(wire.GSSENC_REQUEST))
            kind, body = raw.read_message()
            self.assertEqual(("E", "0A000"), (kind, wire.error_fields(body)["C"]))


class NewServer:
    """As much of a PostgreSQL of protocol 3.2 as a login, a query that never ends and its cancel need.
    `greeting` stands before its welcome."""

    def __init__(self, key, greeting=b""):
        self.key, self.greeting = key, greeting
        self.startups, self.cancels, self.busy = [], [], None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            with peer, peer.makefile("rb") as reader:
                packet = reader.read(struct.unpack("!i", reader.read(4))[0] - 4)
                if struct.unpack("!i", packet[:4])[0] == wire.CANCEL_REQUEST:
                    self.cancels.append(packet[4:])
                    self.busy.sendall(wire.message("E", b"SERROR\0VERROR\0C57014\0Mcancelled\0\0")
                                      + wire.message("Z", b"I"))
                    return
                self.startups.append(packet)
                peer.sendall(self.greeting + wire.message("R", b"\0\0\0\0")
                             + wire.message("K", struct.pack("!i", 4711) + self.key)
                             + wire.message("Z", b"I"))
                catalogues_asked = False
                while True:
                    kind, length = struct.unpack("!ci", reader.read(5))
                    body = reader.read(length - 4)
                    if kind == b"Q" and b"max_connections" in body:
                        peer.sendall(wire.message("C", b"SELECT 0\0") + wire.message("Z", b"I"))
                    elif kind == b"Q":
                        self.busy = peer
                    elif kind == b"S" and catalogues_asked:
                        peer.sendall(wire.NOTHING_HIDDEN)
                    elif kind == b"C" and not catalogues_asked:
                        peer.sendall(wire.message("3"))
                    elif kind == b"S":
                        peer.sendall(wire.message("Z", b"I"))
                    catalogues_asked = kind != b"S" and (catalogues_asked or b"pgw_names" in body)
        except (OSError, struct.error):
            pass

    def close(self):
        self.listener.close()


@only_pgweir
class ServersTest(unittest.TestCase):
    def run_daemon(self, server):
        daemon = new_pooler(server, workers=1, auth={"method": "trust"}, databases={
            DATABASE: {"host": server.host, "port": server.port, "sslmode": "disable"}},
            pool={"minconn": 0, "maxconn": 1, "wait_timeout": "500ms"})
        self.addCleanup(server.close)
        self.addCleanup(daemon.close)
        return daemon.start()

    def test_a_server_with_a_key_of_256_bytes_is_cancelled_with_it(self):
        server = NewServer(bytes(range(256)))
        daemon = self.run_daemon(server)
        with wire.Wire(daemon.host, daemon.port) as raw:
            raw.send(wire.startup(user=OWNER, database=DATABASE))
            key = next(body for kind, body in raw.read_until("Z") if kind == "K")
            self.assertEqual(8, len(key))
            raw.send(wire.query("sleep"))
            wait_for(lambda: server.busy, "the server has the query")
            with wire.Wire(daemon.host, daemon.port) as carrier:
                carrier.send(cancel_packet(key))
                self.assertEqual([], carrier.read_to_end())
            self.assertEqual("E", raw.read_until("Z")[0][0])
        self.assertEqual([struct.pack("!i", 4711) + bytes(range(256))], server.cancels)
        self.assertEqual(struct.pack("!i", version(2)), server.startups[0][:4])

    def test_bad_negotiation_and_bad_keys_let_nobody_in(self):
        def negotiation(number, options=b""):
            return wire.message("v", struct.pack("!i", number) + (options or b"\0\0\0\0"))
        for name, server in (
                ("asks for no change", NewServer(b"k" * 4, negotiation(version(2)))),
                ("3.1", NewServer(b"k" * 4, negotiation(version(1)))),
                ("newer", NewServer(b"k" * 4, negotiation(version(3)))),
                ("twice", NewServer(b"k" * 4, negotiation(version(0)) * 2)),
                ("an option", NewServer(b"k" * 4, negotiation(version(0), b"\0\0\0\1_pq_.x\0"))),
                ("3.0 with a long key", NewServer(b"k" * 32, negotiation(version(0)))),
                ("a key of 3 bytes", NewServer(b"k" * 3)),
                ("a key of 257 bytes", NewServer(b"k" * 257))):
            with self.subTest(name):
                daemon = self.run_daemon(server)
                with wire.Wire(daemon.host, daemon.port) as raw:
                    raw.send(wire.startup(user=OWNER, database=DATABASE))
                    kind, body = raw.read_to_end()[-1]
                    self.assertEqual("E", kind)
                    self.assertRegex(wire.error_fields(body)["C"], "08001|08004")
                daemon.close()


if __name__ == "__main__":
    unittest.main()
