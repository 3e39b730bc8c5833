"""What a connection costs that has not logged in: thousands of them, stopped at each place where a login
can be stopped, cost little memory each; and one that has, over TLS, and does nothing.

PGWEIR_FULL_SIZE=1 opens 20,000 of each kind."""

import resource
import socket
import ssl
import struct
import unittest

import psycopg2

from integration.support import wire
from integration.support.case import PoolerCase, only_pgweir
from integration.support.certificates import Authority
from integration.support.login_matrix import FULL_SIZE, SASL_INITIAL
from integration.support.peers import memory_bytes, memory_tells
from integration.support.postgres import DATABASE, OWNER
from integration.support.waiting import wait_for

COUNT = 20_000 if FULL_SIZE else 5_000
BYTES_EACH = 16 * 1024
STARTUP = wire.startup(user=OWNER, database=DATABASE)
LONG = wire.startup(user=OWNER, database=DATABASE, options="-c " + "x" * 9_800)
PROXY = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 12)
SSL_REQUEST = wire.untyped(wire.SSL_REQUEST)


def client_hello():
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


CLIENT_HELLO = client_hello()

# How far they have come: what each sends, one answer awaited after each; then what goes unanswered.
STOPS = {
    "nothing sent": ([], b""),
    "half a startup packet": ([], STARTUP[:len(STARTUP) // 2]),
    "the longest startup packet but for a byte": ([], LONG[:-1]),
    "asked for a password": ([STARTUP], b""),
    "half an answer of SASL": ([STARTUP], SASL_INITIAL[:20]),
    "half a SCRAM exchange": ([STARTUP, SASL_INITIAL], b""),
    "TLS begun": ([SSL_REQUEST], b""),
    "a ClientHello but for a byte": ([SSL_REQUEST], CLIENT_HELLO[:-1]),
    "the same of direct TLS": ([], CLIENT_HELLO[:-1]),
}


@only_pgweir
@memory_tells
class MemoryTest(PoolerCase):
    settings = {"workers": 2, "max_clients": 100_000, "log": {"level": "warning"},
                "auth": {"login_timeout": "10m", "max_unauthenticated": 100_000,
                         "max_unauthenticated_per_address": 100_000}}

    @classmethod
    def setUpClass(cls):
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        cls.authority = Authority()
        certificate, key = cls.authority.sign("pgweir", "localhost", "DNS:localhost")
        cls.settings = dict(cls.settings, tls={"certificate": certificate, "key": key})
        super().setUpClass()

    def open(self, answered=(), unanswered=b""):
        one = socket.create_connection((self.pooler.host, self.pooler.port), timeout=60)
        for packet in answered:
            one.sendall(packet)
            self.assertIn(one.recv(1000)[:1], (b"R", b"S"))
        one.sendall(unanswered)
        return one

    def measure(self, what, make, limit=BYTES_EACH, count=COUNT):
        """A daemon of its own, which nothing has warmed up; so many connections, all still there."""
        self.pooler.stop()
        self.pooler.start()
        self.pooler.metrics()
        before = memory_bytes(self.pooler.process)
        held = []
        try:
            held += (make() for _ in range(count))
            wait_for(lambda: self.pooler.metric("pgweir_clients") == count, "all are there", 60)
            self.pooler.query("select 1", sslmode="disable")  # each worker has read what was sent before
            grown = memory_bytes(self.pooler.process) - before
        finally:
            for one in held:
                one.close()
        wait_for(lambda: self.pooler.metric("pgweir_clients") == 0, "all are gone", 60)
        print("%s: %d connections, %.1f kB each" % (what, count, grown / count / 1024), flush=True)
        self.assertLess(grown / count, limit, what)

    def test_those_who_have_not_logged_in(self):
        for what, (answered, unanswered) in STOPS.items():
            with self.subTest(what=what):
                self.measure(what, lambda: self.open(answered, unanswered))  # pylint: disable=cell-var-from-loop

    def test_in_the_middle_of_the_handshake(self):
        # All this is OpenSSL's, as long as the handshake runs; who is let in at all is counted.
        self.measure("a ClientHello, then nothing", lambda: self.open([SSL_REQUEST], CLIENT_HELLO), 56 * 1024)

    def test_behind_the_handshake_of_tls(self):
        context = ssl.create_default_context(cafile=self.authority.certificate)

        def make():
            return context.wrap_socket(self.open([SSL_REQUEST]), server_hostname="localhost")
        self.measure("TLS, then nothing", make, 20 * 1024)

    def test_idle_behind_a_login_over_tls(self):
        def make():
            client = psycopg2.connect(**self.pooler.dsn(sslmode="require"))
            client.autocommit = True
            client.cursor().execute("select 1")
            return client
        self.measure("logged in over TLS, served once, idle", make, 20 * 1024, 1_000)


class ProxyHeaderTest(MemoryTest):
    """From a load balancer."""

    settings = dict(MemoryTest.settings, proxy_protocol=["127.0.0.2/32"])

    def open(self, answered=(), unanswered=b""):
        one = socket.socket()
        one.settimeout(60)
        one.bind(("127.0.0.2", 0))
        one.connect((self.pooler.host, self.pooler.port))
        one.sendall(unanswered)
        return one

    test_in_the_middle_of_the_handshake = test_behind_the_handshake_of_tls = None
    test_idle_behind_a_login_over_tls = None

    def test_those_who_have_not_logged_in(self):
        for what, sent in (("half a PROXY header", b"PROXY TCP4 192.0.2.7 "),
                           ("half a PROXY header, version 2", PROXY[:14])):
            with self.subTest(what=what):
                self.measure(what, lambda: self.open(unanswered=sent))  # pylint: disable=cell-var-from-loop


class PasswordTest(MemoryTest):
    """A password may be 64 KiB long, as in PostgreSQL: who is asked for one may have so much of it read."""

    settings = dict(MemoryTest.settings, auth=dict(MemoryTest.settings["auth"], method="password"))
    test_in_the_middle_of_the_handshake = test_behind_the_handshake_of_tls = None
    test_idle_behind_a_login_over_tls = None

    def test_those_who_have_not_logged_in(self):
        for what, sent, limit in (
                ("half a password", wire.message("p", b"x" * 20)[:-5], BYTES_EACH),
                ("the longest password but for a byte", wire.message("p", b"x" * 65_000)[:-1], 80 * 1024)):
            with self.subTest(what=what):
                self.measure(what, lambda: self.open([STARTUP], sent), limit)  # pylint: disable=cell-var-from-loop


if __name__ == "__main__":
    unittest.main()
