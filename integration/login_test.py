"""Who gets in, by which method, on either side; and what those see who do not."""

import concurrent.futures
import contextlib
import hashlib
import os
import socket
import ssl
import struct
import threading
import time
import unittest

import psycopg2

from integration.support import surroundings, wire
from integration.support.case import PoolerCase, new_pooler, only_pgweir
from integration.support.certificates import Authority
from integration.support.pgweir import users
from integration.support.postgres import DATABASE, OWNER, password_of
from integration.support.waiting import wait_for

METHODS = ("trust", "password", "md5", "scram-sha-256")
# PostgreSQL asks each of these in its own way.
SERVER_SIDE = {"trust": "trust_user", "password": "password_user", "md5": "md5_user",
               "scram-sha-256": "scram_user"}


class EveryMethodOnBothSidesTest(PoolerCase):
    def test_matrix(self):
        for client_method in METHODS:
            pooler = new_pooler(self.postgres, auth={"method": client_method},
                                users=users(*SERVER_SIDE.values())).start()
            self.addCleanup(pooler.close)
            for server_method, role in SERVER_SIDE.items():
                with self.subTest(client=client_method, server=server_method):
                    self.assertEqual([(role, role)], pooler.query(
                        "select current_user::text, session_user::text", user=role))


class RefusedTest(PoolerCase):
    REFUSED = 'password authentication failed for user "%s"'

    def refused(self, pooler, text, **options):
        with self.assertRaises(psycopg2.OperationalError) as raised:
            pooler.connect(**options)
        self.assertIn(text, str(raised.exception))
        return str(raised.exception)

    def test_pgpool_2025_46801_a_wrong_password_against_a_warm_pool(self):
        for method in METHODS[1:]:
            with self.subTest(method=method):
                pooler = new_pooler(self.postgres, auth={"method": method}).start()
                self.addCleanup(pooler.close)
                pooler.query("select 1")  # the pool is warm: that must not help
                for wrong in ("wrong", password_of(OWNER) + "x", password_of(OWNER)[:-1]):
                    self.refused(pooler, self.REFUSED % OWNER, password=wrong)
                pooler.query("select 1")

    @only_pgweir
    def test_an_unknown_user_is_told_the_same_as_a_wrong_password(self):
        for method in METHODS[1:]:
            with self.subTest(method=method):
                pooler = new_pooler(self.postgres, auth={"method": method}).start()
                self.addCleanup(pooler.close)
                unknown = self.refused(pooler, self.REFUSED % "nobody", user="nobody")
                known = self.refused(pooler, self.REFUSED % OWNER, password="wrong")
                self.assertEqual(known.replace(OWNER, "nobody"), unknown)

    @only_pgweir
    def test_an_unknown_user_is_asked_the_same_questions(self):
        def exchange(user):
            with wire.Wire(self.pooler.host, self.pooler.port) as raw:
                raw.send(wire.startup(user=user, database=DATABASE))
                kind, body = raw.read_message()
                return kind, body
        self.assertEqual(exchange(OWNER), exchange("nobody"))

    @only_pgweir
    def test_an_unknown_user_without_a_password_under_trust(self):
        pooler = new_pooler(self.postgres, auth={"method": "trust"}).start()
        self.addCleanup(pooler.close)
        with self.assertRaises(psycopg2.OperationalError):
            pooler.query("select 1", user="nobody")

    def test_an_unknown_database(self):
        message = self.refused(self.pooler, "no_such_database", database="no_such_database")
        self.assertNotIn(password_of(OWNER), message)

    @only_pgweir
    def test_an_unknown_database_has_postgres_sqlstate(self):
        pooler = new_pooler(self.postgres, auth={"method": "trust"}).start()
        self.addCleanup(pooler.close)
        with wire.Wire(pooler.host, pooler.port) as raw:
            raw.send(wire.startup(user=OWNER, database="no_such_database"))
            last = raw.read_to_end()[-1]
            self.assertEqual("E", last[0])
            fields = wire.error_fields(last[1])
            self.assertEqual(("FATAL", "3D000"), (fields["S"], fields["C"]))

    @only_pgweir
    def test_failures_are_counted_and_logged_without_the_password(self):
        before = self.pooler.metric("pgweir_login_failures_total") or 0
        self.refused(self.pooler, "authentication failed", password="hunter2-wrong")
        wait_for(lambda: (self.pooler.metric("pgweir_login_failures_total") or 0) > before,
                 "the failure is counted")
        self.assertNotIn("hunter2", self.pooler.log())
        self.assertNotIn(password_of(OWNER), self.pooler.log())


@only_pgweir
class LateRefusalTest(PoolerCase):
    """Who fails to prove who it is hears of it 200 to 400 ms later, which holds up nobody."""

    settings = {"auth": {"method": "password"}, "workers": 1}
    LEAST = 0.2

    def give_a_wrong_password(self, told):
        """Has given a wrong password when this returns; the thread notes when it was given and told."""
        raw = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(raw.socket.close)
        raw.send(wire.startup(user=OWNER, database=DATABASE))
        self.assertEqual("R", raw.read_message()[0])
        given = time.monotonic()
        raw.send(wire.message("p", b"wrong\0"))

        def wait():
            if raw.read_message()[0] == "E":
                told.append((given, time.monotonic()))
        thread = threading.Thread(target=wait)
        thread.start()
        return thread

    def test_failures_are_told_later_each_after_a_time_of_its_own_and_hold_no_worker(self):
        client = self.pooler.connect()
        client.autocommit = True

        def round_of_failures():
            """Was the only worker's other client served before any failure was told?"""
            told = []
            failures = [self.give_a_wrong_password(told) for _ in range(20)]
            client.cursor().execute("select 1")
            self.pooler.query("select 1")
            served = time.monotonic()
            for each in failures:
                each.join()
            delays = [end - begin for begin, end in told]
            self.assertEqual(20, len(delays))
            self.assertGreaterEqual(min(delays), self.LEAST)
            self.assertGreater(max(delays) - min(delays), 0.02, delays)
            return served < min(end for _, end in told)
        # A machine that has much else to do may miss the 200 ms; a worker that waits always does.
        self.assertTrue(any(round_of_failures() for _ in range(5)))

    def test_whatever_the_proof_was(self):
        authority, another = Authority(), Authority("another")
        directory, port = surroundings.temporary_directory("sockets"), surroundings.reserve_port()
        pooler = new_pooler(
            self.postgres, users=users(OWNER, "scram_user", "md5_user", "password_user"),
            tls=dict(zip(("certificate", "key"), authority.sign("pgweir", "localhost", "DNS:localhost")),
                     ca=authority.certificate),
            auth={"hba": ["local all all peer", "hostssl all %s all cert" % OWNER,
                          "hostssl all scram_user all scram-sha-256", "host all md5_user all reject"]})
        pooler.settings["listen"] += [{"address": directory, "port": port}]
        pooler.write_config()
        self.addCleanup(pooler.close)
        pooler.start()
        otto = dict(zip(("sslcert", "sslkey"), authority.sign("otto", "otto")))

        def refused(text, **options):
            before = time.monotonic()
            with self.assertRaises(psycopg2.OperationalError) as raised:
                pooler.connect(**options)
            self.assertIn(text, str(raised.exception))
            return time.monotonic() - before
        none = {"sslcert": "/nonexistent"}
        with InTheMiddle(pooler, another) as middle:
            late = {
                "a certificate of somebody else's": lambda: refused(
                    'certificate authentication failed for user "%s"' % OWNER, **otto),
                "no certificate": lambda: refused("connection requires a valid client certificate", **none),
                "a peer who is somebody else": lambda: refused(
                    'Peer authentication failed for user "%s"' % OWNER, host=directory, port=port),
                "a wrong password": lambda: refused("password authentication failed", user="scram_user",
                                                    password="wrong", **none),
                "another end of TLS": lambda: (refused("SCRAM channel binding check failed", user="scram_user",
                                                       port=middle.port, sslmode="require", **none),
                                               middle.answered_after)[1],
            }
            for name, attempt in late.items():
                with self.subTest(name):
                    self.assertGreaterEqual(min(attempt() for _ in range(3)), self.LEAST)
        # The rules say in so many words what is not let in, whatever it could prove.
        for text, user in (("pg_hba.conf rejects connection", "md5_user"), ("no pg_hba.conf entry", "password_user")):
            with self.subTest(text):
                self.assertLess(min(refused(text, user=user, sslmode="disable") for _ in range(5)), self.LEAST)


class InTheMiddle:
    """Ends TLS with a certificate of its own and passes on, through TLS, what it hears: one client at a time."""

    def __init__(self, pooler, authority):
        self.to = (pooler.host, pooler.port)
        self.answered_after = 0.0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*authority.sign("middle", "localhost", "DNS:localhost"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client, socket.create_connection(self.to, timeout=20) as server, \
                        contextlib.suppress(OSError, wire.Closed):
                    self.pass_on(client, server)

    def pass_on(self, client, server):
        client.settimeout(20)
        server.sendall(client.recv(8))  # SSLRequest
        client.sendall(server.recv(1))
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        with self.context.wrap_socket(client, server_side=True) as near, trusting.wrap_socket(server) as far:
            while True:
                for one, other in ((near, far), (far, near)):  # they take turns in a login
                    asked = time.monotonic()
                    heard = one.recv(65536)
                    if one is far:
                        self.answered_after = time.monotonic() - asked
                    if not heard:
                        return
                    other.sendall(heard)


@only_pgweir
class DeadlineTest(PoolerCase):
    """login_timeout is of the whole login: who sends a byte now and then gains nothing by it."""

    settings = {"auth": {"method": "password", "login_timeout": "2s"}}
    TIMEOUT, EACH = 2, 0.5

    @classmethod
    def setUpClass(cls):
        made = dict(zip(("certificate", "key"), Authority().sign("pgweir", "localhost", "DNS:localhost")))
        cls.settings = dict(cls.settings, tls=made)
        super().setUpClass()

    @staticmethod
    def client_hello():
        says = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), says, server_hostname="localhost").do_handshake()
        return says.read()

    def drip(self, first, slowly):
        """How long a connection lasts on which `first` is answered and `slowly` comes byte by byte; the
        type of what it is told at the end."""
        begun = time.monotonic()
        with wire.Wire(self.pooler.host, self.pooler.port) as raw:
            if first:
                raw.send(first)
                self.assertTrue(raw.socket.recv(100))
            raw.socket.settimeout(self.EACH)
            for byte in slowly:
                try:
                    raw.socket.send(bytes([byte]))
                    said = raw.socket.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    said = b""
                return time.monotonic() - begun, said[:1]
        return time.monotonic() - begun, None

    def test_a_byte_now_and_then_does_not_make_it_longer(self):
        startup = wire.startup(user=OWNER, database=DATABASE)
        slow = {  # what goes before, what trickles in, what is said at the end
            "a start-up packet": (b"", startup, b""),
            "a password": (startup, wire.message("p", b"x" * 100 + b"\0"), b"E"),
            "a ClientHello": (wire.untyped(wire.SSL_REQUEST), self.client_hello(), b""),
            "a ClientHello without SSLRequest": (b"", self.client_hello(), b""),
        }
        with concurrent.futures.ThreadPoolExecutor(len(slow)) as pool:
            ends = {name: pool.submit(self.drip, *what[:2]) for name, what in slow.items()}
        for name, end in ends.items():
            with self.subTest(name):
                lasted, said = end.result()
                self.assertGreaterEqual(lasted, self.TIMEOUT - 0.1)
                # All of it would take 20 s and more.
                self.assertLess(lasted, self.TIMEOUT + 3 * self.EACH * surroundings.PATIENCE)
                self.assertEqual(slow[name][2], said)
        self.pooler.query("select 1")


@only_pgweir
class MostInAllTest(PoolerCase):
    settings = {"auth": {"max_unauthenticated": 4}}

    def come(self, address):
        made = socket.create_connection((self.pooler.host, self.pooler.port), timeout=20, source_address=(address, 0))
        self.addCleanup(made.close)
        return made

    @staticmethod
    def is_closed(one):
        """Without a word: whoever says anything to strangers without end has work with them."""
        one.settimeout(0.3)
        try:
            return one.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        finally:
            one.settimeout(20)

    def is_turned_away(self, address):
        with self.come(address) as one:
            return self.is_closed(one)

    def stay(self, address):
        """Connected and taken: who has just gone may still have its place when another comes."""
        taken = []

        def is_taken():
            one = self.come(address)
            if not self.is_closed(one):
                taken.append(one)
            return taken
        wait_for(is_taken, "%s is taken" % address, 20)
        return taken[0]

    def test_no_more_than_so_many_who_have_not_logged_in_wherever_they_are(self):
        client = self.pooler.connect()
        client.autocommit = True

        def serves():
            client.cursor().execute("select 1")
        strangers = [self.stay("127.0.0.%d" % (number + 2)) for number in range(4)]
        wait_for(lambda: self.is_turned_away("127.0.0.9"), "a fifth is turned away", 20)
        with self.assertRaises(psycopg2.OperationalError):
            self.pooler.connect()
        serves()
        wait_for(lambda: "too many connections that have not logged in" in self.pooler.log(), "it is said", 20)
        for stranger in strangers:  # they have been taken, and are still there
            stranger.sendall(wire.startup(user=OWNER, database=DATABASE))
            self.assertEqual(b"R", stranger.recv(1))
        serves()
        for gone in range(1, 5):
            strangers.pop().close()
            wait_for(lambda: not self.is_turned_away("127.0.0.9"), "%d have gone" % gone, 20)
        # Who logs in gives its place back, and so does who fails.
        logged_in = [self.pooler.connect() for _ in range(6)]
        for _ in range(6):
            with self.assertRaisesRegex(psycopg2.OperationalError, "authentication failed"):
                self.pooler.connect(password="wrong")
        self.assertEqual(6, len(logged_in))
        serves()


@only_pgweir
class UserlistTest(PoolerCase):
    """Secrets in a PgBouncer-style file; the servers behind ask for nothing."""

    def pooler_with(self, method, secret):
        pooler = new_pooler(self.postgres, auth={"method": method, "userlist": "userlist.txt"},
                            users=None)
        with open(os.path.join(pooler.directory, "userlist.txt"), "w", encoding="ascii") as file:
            file.write('"trust_user" "%s"\n' % secret)
            os.fchmod(file.fileno(), 0o600)
        self.addCleanup(pooler.close)
        return pooler.start()

    def assert_lets_in_only_with_the_password(self, pooler):
        self.assertEqual([("trust_user",)],
                         pooler.query("select current_user::text", user="trust_user"))
        with self.assertRaises(psycopg2.OperationalError):
            pooler.connect(user="trust_user", password="wrong")

    def test_a_password(self):
        for method in METHODS[1:]:
            with self.subTest(method=method):
                self.assert_lets_in_only_with_the_password(
                    self.pooler_with(method, password_of("trust_user")))

    def test_an_md5_secret(self):
        digest = hashlib.md5((password_of("trust_user") + "trust_user").encode()).hexdigest()
        for method in ("password", "md5"):
            with self.subTest(method=method):
                self.assert_lets_in_only_with_the_password(self.pooler_with(method, "md5" + digest))

    def test_a_scram_verifier_as_postgres_stores_it(self):
        verifier = self.postgres.query(
            "select rolpassword from pg_authid where rolname = 'trust_user'")[0][0]
        for method in ("password", "scram-sha-256"):
            with self.subTest(method=method):
                self.assert_lets_in_only_with_the_password(self.pooler_with(method, verifier))


@only_pgweir
class NegotiationTest(PoolerCase):
    settings = {"auth": {"method": "trust"}}

    def raw(self):
        connection = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(connection.socket.close)
        return connection

    def test_encryption_is_declined_and_the_session_goes_on(self):
        raw = self.raw()
        raw.send(wire.untyped(wire.GSSENC_REQUEST))
        self.assertEqual(b"N", raw.read_exactly(1))
        raw.send(wire.untyped(wire.SSL_REQUEST))
        self.assertEqual(b"N", raw.read_exactly(1))
        raw.log_in("", user=OWNER, database=DATABASE)
        self.assertIn(("D", b"\0\1\0\0\0\1" + b"7"), raw.ask("select 7"))

    def test_what_comes_in_one_packet_with_an_ssl_request_is_refused(self):
        raw = self.raw()
        raw.send(wire.untyped(wire.SSL_REQUEST), wire.startup(user=OWNER, database=DATABASE))
        kinds = [kind for kind, _ in raw_messages_after(raw)]
        self.assertNotIn("Z", kinds)

    def test_a_newer_minor_version_and_unknown_options_are_negotiated(self):
        raw = self.raw()
        raw.send(wire.startup(version=wire.PROTOCOL_3_0 + 2, user=OWNER, database=DATABASE,
                              **{"_pq_.from_the_future": "1"}))
        messages = raw.read_until("Z")
        answer = dict(messages)["v"]
        minor, count = struct.unpack("!ii", answer[:8])
        self.assertEqual((2, 1), (minor & 0xFFFF, count))
        self.assertEqual(b"_pq_.from_the_future\0", answer[8:])

    def test_a_welcome_takes_no_server_where_it_is_known_what_it_says(self):
        pooler = new_pooler(self.postgres, pool={"mode": "transaction", "maxconn": 1,
                                                 "wait_timeout": "10s"}).start()
        self.addCleanup(pooler.close)
        asked = {"options": "-c datestyle=dmy -c statement_timeout=9s", "client_encoding": "UTF8"}
        first = pooler.connect(application_name="first", **asked)
        self.addCleanup(first.close)
        with first.cursor() as cursor:
            cursor.execute("select 1")  # in a transaction that stays open
        for options in ({"application_name": "second", **asked}, {"application_name": "third"},
                        {"options": "-c statement_timeout=9s"}):
            with self.subTest(**options), contextlib.closing(pooler.connect(**options)) as other:
                for name, value in options.items():
                    if name == "application_name":
                        self.assertEqual(value, other.get_parameter_status(name))
                self.assertEqual("ISO, DMY" if "client_encoding" in options else "ISO, MDY",
                                 other.get_parameter_status("DateStyle"))
        first.rollback()
        with contextlib.closing(pooler.connect(application_name="second", **asked)) as other, \
                other.cursor() as cursor:
            cursor.execute("select current_setting('datestyle'), current_setting('application_name')")
            self.assertEqual(("ISO, DMY", "second"), cursor.fetchone())
        with self.assertRaises(psycopg2.OperationalError) as raised:
            pooler.connect(options="-c statement_timeout=nine")
        self.assertIn('invalid value for parameter "statement_timeout"', str(raised.exception))

    def test_the_welcome_is_complete(self):
        raw = self.raw()
        messages = raw.log_in("", user=OWNER, database=DATABASE)
        kinds = [kind for kind, _ in messages]
        self.assertEqual("R", kinds[0])
        self.assertEqual(["K", "Z"], kinds[-2:])
        through = dict(body.split(b"\0")[:2] for kind, body in messages if kind == "S")
        direct = wire.Wire(self.postgres.host, self.postgres.port)
        self.addCleanup(direct.socket.close)
        expected = dict(body.split(b"\0")[:2]
                        for kind, body in direct.log_in("", user="trust_user", database=DATABASE)
                        if kind == "S")
        expected[b"session_authorization"] = OWNER.encode()
        self.assertEqual(expected, through)


def raw_messages_after(raw):
    """What comes after the one-byte answer to an SSLRequest, if that came at all."""
    try:
        raw.read_exactly(1)
    except wire.Closed:
        return []
    return raw.read_to_end()


if __name__ == "__main__":
    unittest.main()
