"""TLS, with clients and with PostgreSQL: who gets in by which mode, who proves what, and that nothing
is believed that came before it."""

import contextlib
import ctypes
import io
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest
import warnings

import psycopg2

from integration.support import surroundings, wire
from integration.support.case import PoolerCase
from integration.support.certificates import Authority, postgres_with_tls
from integration.support.peers import assert_can_be_cancelled, assert_comes_back
from integration.support.pgweir import Pgweir
from integration.support.postgres import DATABASE, OWNER, Postgres, password_of
from integration.support.waiting import wait_for

SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)
LOCAL = ("DNS:localhost", "IP:127.0.0.1")


def verifier_of(postgres, role):
    return postgres.query("select rolpassword from pg_authid where rolname = %s", role)[0][0]


class KeyUpdates:
    """Somebody who has not logged in, and has made so many records in advance, each with a new key. (Python's
    own ssl cannot.)"""

    def __init__(self, pooler, count):
        libssl = ctypes.CDLL("libssl.so.3")
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new", "BIO_new", "BIO_s_mem"):
            getattr(libssl, name).restype = ctypes.c_void_p
        self._socket = socket.create_connection((pooler.host, pooler.port), timeout=20)
        self._socket.settimeout(None)
        self._socket.sendall(SSL_REQUEST)
        assert self._socket.recv(1) == b"S"
        context = ctypes.c_void_p(libssl.SSL_CTX_new(ctypes.c_void_p(libssl.TLS_client_method())))
        stream = ctypes.c_void_p(libssl.SSL_new(context))
        libssl.SSL_CTX_free(context)
        libssl.SSL_set_fd(stream, self._socket.fileno())
        assert libssl.SSL_connect(stream) == 1
        memory = ctypes.c_void_p(libssl.BIO_new(ctypes.c_void_p(libssl.BIO_s_mem())))
        libssl.SSL_set0_wbio(stream, memory)
        for _ in range(count):
            libssl.SSL_key_update(stream, 0)
            assert libssl.SSL_do_handshake(stream) == 1
        records = ctypes.create_string_buffer(count * 27)
        assert libssl.BIO_read(memory, records, len(records)) == len(records)
        libssl.SSL_free(stream)
        self._records = records.raw

    def pour(self):
        """Whether the other side ends it."""
        self._socket.settimeout(10)
        try:
            self._socket.sendall(self._records)
            return self._socket.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        finally:
            self._socket.close()


class ClientsTest(PoolerCase):
    """TLS with clients; PostgreSQL has none."""

    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        certificate, key = cls.authority.sign("pgweir", "localhost", *LOCAL)
        cls.settings = {"tls": {"certificate": certificate, "key": key}}
        super().setUpClass()

    def mode(self, mode, **options):
        return self.pooler.connect(sslmode=mode, **options)

    def test_every_sslmode_of_libpq(self):
        for mode, secured in (("disable", False), ("allow", False), ("prefer", True), ("require", True),
                              ("verify-ca", True), ("verify-full", True)):
            for binding in ("disable", "prefer", "require"):
                with self.subTest(sslmode=mode, channel_binding=binding):
                    options = dict(sslmode=mode, channel_binding=binding, host="localhost",
                                   sslrootcert=self.authority.certificate)
                    if binding == "require" and not secured:
                        with self.assertRaises(psycopg2.OperationalError):
                            self.pooler.connect(**options)
                        continue
                    connection = self.pooler.connect(**options)
                    self.assertEqual(secured, connection.info.ssl_in_use)
                    with connection.cursor() as cursor:
                        cursor.execute("select current_user::text, repeat('x', 100000)")
                        self.assertEqual((OWNER, "x" * 100000), cursor.fetchone())
                    connection.close()

    def test_who_trusts_another_authority_is_not_spoken_with(self):
        other = Authority("another")
        with self.assertRaisesRegex(psycopg2.OperationalError, "certificate verify failed"):
            self.mode("verify-ca", sslrootcert=other.certificate)
        self.pooler.query("select 1", sslmode="require")

    def version_of(self, pooler, least, most):
        """Of TLS, where a client offers these and all in between."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.authority.certificate)
        context.set_ciphers("ALL:@SECLEVEL=0")  # below, OpenSSL would not even offer 1.1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version, context.maximum_version = least, most
        with socket.create_connection((pooler.host, pooler.port), timeout=20) as raw:
            raw.sendall(SSL_REQUEST)
            self.assertEqual(b"S", raw.recv(1))
            with context.wrap_socket(raw, server_hostname="localhost") as inside:
                inside.sendall(wire.startup(user=OWNER, database=DATABASE))
                self.assertEqual(b"R", inside.recv(1))
                return inside.version()

    def refused_version(self, pooler, least, most):
        with self.assertRaises(ssl.SSLError) as raised:
            self.version_of(pooler, least, most)
        self.assertEqual("TLSV1_ALERT_PROTOCOL_VERSION", raised.exception.reason)

    def test_the_newest_version_that_both_have(self):
        version = ssl.TLSVersion
        self.assertEqual("TLSv1.3", self.version_of(self.pooler, version.TLSv1_2, version.TLSv1_3))
        self.assertEqual("TLSv1.3", self.version_of(self.pooler, version.TLSv1, version.TLSv1_3))
        self.assertEqual("TLSv1.2", self.version_of(self.pooler, version.TLSv1, version.TLSv1_2))

    def test_versions_before_1_2_are_refused(self):
        for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            with self.subTest(old.name):
                self.refused_version(self.pooler, ssl.TLSVersion.TLSv1, old)

    def test_1_2_is_refused_where_1_3_is_the_least(self):
        version = ssl.TLSVersion
        strict = Pgweir(self.postgres, tls=dict(self.settings["tls"], min_version="1.3")).start()
        self.addCleanup(strict.close)
        self.refused_version(strict, version.TLSv1, version.TLSv1_2)
        self.assertEqual("TLSv1.3", self.version_of(strict, version.TLSv1_2, version.TLSv1_3))

    def test_what_is_no_tls_is_refused(self):
        with socket.create_connection((self.pooler.host, self.pooler.port), timeout=20) as raw:
            raw.sendall(SSL_REQUEST)
            self.assertEqual(b"S", raw.recv(1))
            raw.sendall(b"this is not a ClientHello, and not short either")
            while raw.recv(1000):
                pass
        self.pooler.query("select 1", sslmode="require")

    def test_2021_3935_bytes_behind_an_ssl_request_are_refused(self):
        for request in (SSL_REQUEST, GSSENC_REQUEST):
            with wire.Wire(self.pooler.host, self.pooler.port) as raw:
                raw.send(request + wire.startup(user=OWNER, database=DATABASE))
                [(kind, body)] = raw.read_to_end()
                self.assertEqual("E", kind)
                self.assertIn(b"received unencrypted data after", body)

    def test_2026_6479_each_request_once(self):
        with wire.Wire(self.pooler.host, self.pooler.port) as raw:
            raw.send(GSSENC_REQUEST)
            self.assertEqual(b"N", raw.read_exactly(1))
            raw.send(GSSENC_REQUEST)
            [(kind, body)] = raw.read_to_end()
            self.assertIn(b"FATAL", body)

    def secured(self, sock, alpn=("postgresql",)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.authority.certificate)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context.wrap_socket(sock, server_hostname="localhost")

    def test_direct_tls_wants_the_protocol_named(self):
        def connect():
            return socket.create_connection((self.pooler.host, self.pooler.port), timeout=20)
        with self.secured(connect()) as direct:
            self.assertEqual("postgresql", direct.selected_alpn_protocol())
            direct.sendall(wire.startup(user=OWNER, database=DATABASE))
            self.assertEqual(b"R", direct.recv(1))
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            with self.secured(connect(), alpn=("http/1.1",)) as direct:
                direct.sendall(wire.startup(user=OWNER, database=DATABASE))
                direct.recv(1)
        with self.secured(connect(), alpn=()) as direct:
            direct.sendall(wire.startup(user=OWNER, database=DATABASE))
            with contextlib.suppress(OSError):
                self.assertNotEqual(b"R", direct.recv(1))

    def test_2026_14681_no_gssenc_inside_tls(self):
        with socket.create_connection((self.pooler.host, self.pooler.port), timeout=20) as raw:
            raw.sendall(SSL_REQUEST)
            self.assertEqual(b"S", raw.recv(1))
            with self.secured(raw) as inside:
                inside.sendall(GSSENC_REQUEST)
                self.assertEqual(b"E", inside.recv(1))

    def test_a_cancel_request_through_tls(self):
        # libpq 15 sends cancel requests in the clear; this is what libpq 17 does.
        with socket.create_connection((self.pooler.host, self.pooler.port), timeout=20) as raw:
            raw.sendall(SSL_REQUEST)
            raw.recv(1)
            with self.secured(raw) as inside:
                inside.sendall(struct.pack("!IIII", 16, 80877102, 12345, 67890))
                self.assertEqual(b"", inside.recv(1))

    def test_who_sends_new_keys_without_end_is_cut_and_holds_up_nobody(self):
        strangers = [KeyUpdates(self.pooler, 30000) for _ in range(2)]
        ends = []
        threads = [threading.Thread(target=lambda s=stranger: ends.append(s.pour())) for stranger in strangers]
        with contextlib.closing(self.pooler.connect()) as others, others.cursor() as cursor:
            for thread in threads:
                thread.start()
            slowest = 0
            while any(thread.is_alive() for thread in threads):
                began = time.monotonic()
                cursor.execute("select 1")
                slowest = max(slowest, time.monotonic() - began)
        self.assertEqual([True, True], ends, "they are cut")
        self.assertLess(slowest, 0.5)

    def test_much_in_both_directions(self):
        connection = self.mode("require")
        with connection.cursor() as cursor:
            cursor.execute("create table much (line text)")
            text = "".join("%d %s\n" % (i, "y" * 200) for i in range(100000))
            cursor.copy_expert("copy much from stdin", io.StringIO(text))
            out = io.StringIO()
            cursor.copy_expert("copy much to stdout", out)
            self.assertEqual(text, out.getvalue())
        connection.rollback()

    def test_who_was_offered_tls_before_a_reload_took_it_away_still_has_it(self):
        hello = b"\x16\x03\x01\x00\x05xxxxx"
        for without in ({"mode": "disable"}, {"certificate": None, "key": None}):
            pooler = Pgweir(self.postgres, **self.settings).start()
            self.addCleanup(pooler.close)
            with contextlib.ExitStack() as held:
                asks, begins, works = (held.enter_context(
                    socket.create_connection((pooler.host, pooler.port), timeout=20)) for _ in range(3))
                wait_for(lambda: len(pooler.console("show clients")) >= 4, "they have been accepted", 20)
                pooler.reload(tls=without)
                wait_for(lambda: self.answer_to_ssl_request(pooler) == b"N", "TLS is gone", 20)
                works.sendall(SSL_REQUEST)
                self.assertEqual(b"S", works.recv(1))
                with ssl._create_unverified_context().wrap_socket(works) as secured:
                    secured.sendall(wire.startup(user=OWNER, database=DATABASE))
                    self.assertEqual(b"R", secured.recv(1))
                asks.sendall(SSL_REQUEST)
                self.assertEqual(b"S", asks.recv(1))
                asks.sendall(hello)
                begins.sendall(hello)
                for each in (asks, begins):
                    with contextlib.suppress(ConnectionError):
                        while each.recv(1000):
                            pass
            self.assertEqual([(1,)], pooler.query("select 1"))

    @staticmethod
    def answer_to_ssl_request(pooler):
        with socket.create_connection((pooler.host, pooler.port), timeout=20) as raw:
            raw.sendall(SSL_REQUEST)
            return raw.recv(1)

    def test_a_new_certificate_after_a_reload_and_a_bad_one(self):
        def serial():
            with socket.create_connection((self.pooler.host, self.pooler.port), timeout=20) as raw:
                raw.sendall(SSL_REQUEST)
                raw.recv(1)
                with self.secured(raw) as inside:
                    return inside.getpeercert()["serialNumber"]
        kept = self.mode("require")
        before = serial()
        certificate, key = self.authority.sign("pgweir", "localhost", *LOCAL)
        self.pooler.reload()
        wait_for(lambda: serial() != before, "the new certificate is shown", 20)
        after = serial()
        with open(certificate, "w", encoding="ascii") as file:
            file.write("nonsense")
        self.pooler.reload()
        wait_for(lambda: "reload refused" in self.pooler.log(), "the bad one is told of", 20)
        self.assertEqual(after, serial())
        with kept.cursor() as cursor:
            cursor.execute("select 1")
        self.authority.sign("pgweir", "localhost", *LOCAL)
        self.assertTrue(os.path.exists(key))
        self.pooler.reload()


class RequiredTest(PoolerCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        certificate, key = cls.authority.sign("pgweir", "localhost", *LOCAL)
        cls.settings = {"tls": {"mode": "require", "certificate": certificate, "key": key}}
        super().setUpClass()

    def test_nobody_logs_in_without(self):
        with self.assertRaises(psycopg2.OperationalError):
            self.pooler.connect(sslmode="disable")
        self.pooler.query("select 1", sslmode="require")


class ClientCertificateTest(PoolerCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        certificate, key = cls.authority.sign("pgweir", "localhost", *LOCAL)
        cls.settings = {"tls": {"mode": "verify-full", "certificate": certificate, "key": key,
                                "ca": cls.authority.certificate}}
        super().setUpClass()

    def test_a_certificate_is_wanted_and_has_to_be_good(self):
        with self.assertRaises(psycopg2.OperationalError):
            self.pooler.connect(sslmode="require", sslcert="/nonexistent", sslkey="/nonexistent")
        stranger = Authority("stranger")
        certificate, key = stranger.sign("client", OWNER)
        with self.assertRaises(psycopg2.OperationalError):
            self.pooler.connect(sslmode="require", sslcert=certificate, sslkey=key)
        certificate, key = self.authority.sign("client", OWNER)
        self.pooler.query("select 1", sslmode="require", sslcert=certificate, sslkey=key)


class SecuredPostgresCase(unittest.TestCase):
    """PostgreSQL has TLS."""

    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.postgres = postgres_with_tls(cls.authority).start()
        cls.addClassCleanup(cls.postgres.close)


class ServersTest(SecuredPostgresCase):
    """TLS with PostgreSQL."""

    PATIENT = {"wait_timeout": "60s"}

    def pgweir(self, postgres=None, pool=None, auth=None, **database):
        made = Pgweir(postgres or self.postgres, databases={DATABASE: database}, pool=pool or {},
                      auth=auth or {})
        made.start()
        self.addCleanup(made.close)
        return made

    SECURED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"

    def test_every_sslmode(self):
        for mode, secured in (("disable", False), ("allow", False), ("prefer", True), ("require", True),
                              ("verify-ca", True), ("verify-full", True)):
            for binding in ("disable", "prefer", "require"):
                with self.subTest(sslmode=mode, channel_binding=binding):
                    pooler = self.pgweir(sslmode=mode, sslrootcert=self.authority.certificate,
                                         channel_binding=binding, host="localhost")
                    if binding == "require" and not secured:
                        with self.assertRaises(psycopg2.Error):
                            pooler.query("select 1")
                    else:
                        self.assertEqual([(secured,)], pooler.query(self.SECURED))

    def test_the_name_and_the_authority_count(self):
        other = Authority("another")
        for options, text in (
                (dict(sslmode="verify-ca", sslrootcert=other.certificate), "certificate verify failed"),
                (dict(sslmode="require", sslrootcert=other.certificate), "certificate verify failed"),
                (dict(sslmode="verify-full", sslrootcert=self.authority.certificate),
                 "IP address mismatch")):
            with self.subTest(**options):
                pooler = self.pgweir(pool=self.PATIENT, auth={"method": "trust"}, **options)
                self.told_at_once(pooler, text)

    def test_a_server_without_tls(self):
        plain = Postgres().start()
        self.addCleanup(plain.close)
        for mode in ("disable", "allow", "prefer"):
            self.assertEqual([(False,)], self.pgweir(plain, sslmode=mode).query(self.SECURED))
        for pool in ({"mode": "transaction"}, {"mode": "session", "reuse": "never"}):
            with self.subTest(**pool):
                pooler = self.pgweir(plain, pool=dict(self.PATIENT, **pool), auth={"method": "trust"},
                                     sslmode="require")
                self.told_at_once(pooler, "the server does not support TLS, but TLS is required")

    def told_at_once(self, pooler, text):
        """Waiting would not help: every client hears why, and the log tells it once."""
        for _ in range(3):
            began = time.monotonic()
            with self.assertRaises(psycopg2.OperationalError) as raised:
                pooler.query("select 1")
            self.assertLess(time.monotonic() - began, 15)  # wait_timeout is a minute
            self.assertIn("could not connect to ", str(raised.exception))
            self.assertIn(":%d: " % self.server_port(pooler), str(raised.exception))
            self.assertIn(text, str(raised.exception))
        told = [line for line in pooler.log().splitlines() if "PostgreSQL not reachable" in line]
        self.assertEqual(1, len(told), pooler.log())
        self.assertIn(text, told[0])

    @staticmethod
    def server_port(pooler):
        return pooler.settings["databases"][DATABASE]["port"]

    def test_a_server_that_goes_in_the_middle_of_the_handshake_is_waited_for(self):
        tries = []

        def interrupt(listening):
            with contextlib.suppress(OSError):
                while True:
                    with listening.accept()[0] as one:
                        one.recv(8)
                        one.sendall(b"S")
                        one.recv(1)
                        tries.append(one)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=interrupt, args=(listening,))
            thread.start()
            pooler = self.pgweir(pool={"wait_timeout": "2s"}, auth={"method": "trust"}, sslmode="require",
                                 host="127.0.0.1", port=listening.getsockname()[1])
            fields = self.told(pooler)
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
        self.assertEqual("08001", fields["C"])
        self.assertIn(" in 2.0 s: could not connect to 127.0.0.1:", fields["M"])
        self.assertGreaterEqual(len(tries), 2)

    @staticmethod
    def told(pooler):
        """The error that a client gets, whom nobody asks for a password."""
        with wire.Wire(pooler.host, pooler.port) as raw:
            raw.send(wire.startup(user=OWNER, database=DATABASE))
            return wire.error_fields(dict(raw.read_to_end())["E"])

    def told_at_once(self, pooler, text):
        """Waiting would not help: every client hears why, and the log tells it once."""
        where = pooler.settings["databases"][DATABASE]
        for _ in range(3):
            began = time.monotonic()
            fields = self.told(pooler)
            self.assertLess(time.monotonic() - began, 15)  # of wait_timeout's minute
            self.assertEqual(("FATAL", "08001"), (fields["S"], fields["C"]))
            self.assertIn("could not connect to %s:%d: " % (where["host"], where["port"]), fields["M"])
            self.assertIn(text, fields["M"])
        told = [line for line in pooler.log().splitlines() if "PostgreSQL not reachable" in line]
        self.assertEqual(1, len(told), pooler.log())
        self.assertIn(text, told[0])
        self.assertIn(str(where["port"]), told[0])

    def test_allow_tries_again_with_tls_where_it_is_required(self):
        hba = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        strict = postgres_with_tls(self.authority, hba=hba).start()
        self.addCleanup(strict.close)
        self.assertEqual([(True,)], self.pgweir(strict, sslmode="allow").query(self.SECURED))

    def test_our_certificate_is_shown(self):
        hba = "local all all trust\nhostssl all all 127.0.0.1/32 cert\n"
        strict = postgres_with_tls(self.authority, hba=hba).start()
        self.addCleanup(strict.close)
        certificate, key = self.authority.sign("client", OWNER)
        pooler = self.pgweir(strict, sslmode="require", sslcert=certificate, sslkey=key)
        self.assertEqual([(OWNER,)], pooler.query("select current_user::text"))

    def test_2020_25694_a_cancel_request_goes_through_tls(self):
        hba = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        strict = postgres_with_tls(self.authority, hba=hba).start()
        self.addCleanup(strict.close)
        pooler = self.pgweir(strict, sslmode="verify-full", sslrootcert=self.authority.certificate,
                             host="localhost")
        assert_can_be_cancelled(pooler.connect(), strict)

    def test_a_server_connection_moves_between_workers(self):
        pooler = Pgweir(self.postgres, workers=2, databases={DATABASE: {"sslmode": "require"}},
                        pool={"maxconn": 1}).start()
        self.addCleanup(pooler.close)
        clients = [pooler.connect() for _ in range(4)]
        for client in clients:
            client.autocommit = True
        pids = set()
        for _ in range(20):
            for client in clients:
                with client.cursor() as cursor:
                    cursor.execute("select pg_backend_pid(), repeat('z', 50000)")
                    pid, text = cursor.fetchone()
                    self.assertEqual("z" * 50000, text)
                    pids.add(pid)
        self.assertEqual(1, len(pids))


class PassThroughTest(SecuredPostgresCase):
    """Nothing but a client's verifier is known, and servers are logged in to as that user."""

    def pgweir(self, **settings):
        users = {OWNER: {"password": verifier_of(self.postgres, OWNER)},
                 "scram_user": {"password": verifier_of(self.postgres, "scram_user")}}
        made = Pgweir(self.postgres, users=dict(users, operator={"password": "x"}), **settings).start()
        self.addCleanup(made.close)
        return made

    def test_the_first_client_and_reconnects_and_refills(self):
        pooler = self.pgweir(pool={"minconn": 2})
        self.assertEqual([(OWNER,)], pooler.query("select current_user::text"))
        assert_comes_back(self.postgres, OWNER, 2)
        self.assertEqual([("scram_user",)], pooler.query("select current_user::text", user="scram_user"))

    def test_with_channel_binding_on_both_sides(self):
        certificate, key = self.authority.sign("pgweir", "localhost", *LOCAL)
        pooler = self.pgweir(tls={"certificate": certificate, "key": key},
                             databases={DATABASE: {"sslmode": "require", "channel_binding": "require"}})
        self.assertEqual([(OWNER,)], pooler.query("select current_user::text", sslmode="require",
                                                  channel_binding="require"))

    def test_pgpool_2025_46801_a_wrong_password_against_warm_servers(self):
        pooler = self.pgweir()
        pooler.query("select 1")
        with self.assertRaises(psycopg2.OperationalError):
            pooler.connect(password="wrong")

    def test_another_verifier_at_the_server_is_told_of(self):
        other = subprocess.run([surroundings.BINARY, "passwd"], input=password_of(OWNER) + "\n",
                               capture_output=True, text=True, check=True).stdout.strip()
        pooler = Pgweir(self.postgres, users={OWNER: {"password": other}}).start()
        self.addCleanup(pooler.close)
        with self.assertRaises(psycopg2.Error):
            pooler.query("select 1")
        wait_for(lambda: "verifier" in pooler.log(), lambda: "it is said why:\n" + pooler.log(), 10)


if __name__ == "__main__":
    unittest.main()
