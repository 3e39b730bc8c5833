"""Who is let in from where: access rules, Unix sockets with `peer`, client certificates, the PROXY
protocol, and the bounds that hold before anybody has logged in."""

import contextlib
import os
import pwd
import socket
import struct
import subprocess
import unittest

import psycopg2

from integration.support import surroundings, wire
from integration.support.case import shared_postgres
from integration.support.certificates import Authority, postgres_with_tls
from integration.support.pgweir import ADMIN, Pgweir, users
from integration.support.postgres import DATABASE, HBA, OWNER, POSTGRES_BIN, password_of
from integration.support.waiting import wait_for

ME = pwd.getpwuid(os.getuid()).pw_name


class AccessCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = shared_postgres()

    def pgweir(self, **settings):
        made = Pgweir(self.postgres, **settings).start()
        self.addCleanup(made.close)
        return made

    def refused(self, pooler, text, **options):
        with self.assertRaises(psycopg2.OperationalError) as raised:
            pooler.connect(**options)
        self.assertIn(text, str(raised.exception))


class RulesTest(AccessCase):
    def test_the_first_that_matches_counts_and_no_match_refuses(self):
        pooler = self.pgweir(users=users(OWNER, "md5_user", "scram_user", "trust_user"), auth={"hba": [
            "host all trust_user 127.0.0.1/32 trust",
            "host all md5_user 127.0.0.1/32 reject",
            "host fitness_club fitness samehost scram-sha-256",
            "host all scram_user 10.0.0.0/8 trust"]})
        self.assertEqual([(1,)], pooler.query("select 1", user="trust_user", password="whatever"))
        self.assertEqual([(1,)], pooler.query("select 1"))
        self.refused(pooler, "password authentication failed", password="wrong")
        self.refused(pooler, 'pg_hba.conf rejects connection for host "127.0.0.1", user "md5_user",'
                             ' database "fitness_club", no encryption', user="md5_user")
        self.refused(pooler, 'no pg_hba.conf entry for host "127.0.0.1", user "scram_user",'
                             ' database "fitness_club", no encryption', user="scram_user")
        # Nobody who is not known comes in, by no method.
        self.refused(pooler, "", user="stranger")

    def test_a_line_about_a_group_that_cannot_be_known_is_not_stepped_over(self):
        pooler = self.pgweir(auth={"hba": ["host all +banned all reject", "host all all all scram-sha-256"]})
        self.refused(pooler, "no pg_hba.conf entry for host")

    def test_a_reload_counts_for_the_next_and_a_bad_line_refuses_it(self):
        pooler = self.pgweir(auth={"hba": ["host all all all scram-sha-256"]})
        kept = pooler.connect()
        pooler.reload(auth={"hba": ["host all all all rejekt"]})
        wait_for(lambda: "reload refused" in pooler.log(), "it is refused", 20)
        pooler.query("select 1")
        pooler.reload(auth={"hba": ["host all all all reject"]})
        wait_for(lambda: not pooler.lets_in(), "it counts", 20)
        with kept.cursor() as cursor:
            cursor.execute("select 1")

    def test_md5_asks_strangers_for_what_most_users_are_asked_for(self):
        verifier = self.postgres.query("select rolpassword from pg_authid where rolname = %s", OWNER)[0][0]
        self.assertTrue(verifier.startswith("SCRAM-SHA-256$"))
        md5 = {"md5_user": {"password": "plain"}, "other": {"password": "md5" + 32 * "0"}}
        scram = {"password": verifier}
        for who, is_asked_for in (({OWNER: scram}, 10), (md5, 5), (dict(md5, **{OWNER: scram}), 5),
                                  (dict(md5, **{OWNER: scram, "second": scram}), 10)):
            with self.subTest(users=sorted(who)):
                pooler = Pgweir(self.postgres, pool={"minconn": 0}, auth={"method": "md5"}, console=None)
                self.addCleanup(pooler.close)
                pooler.settings["users"] = who
                pooler.write_config()
                pooler.start()
                self.assertEqual(is_asked_for, self.asked_for(pooler, "nobody"))
                if OWNER in who:
                    self.assertEqual(10, self.asked_for(pooler, OWNER))
        pooler.settings["users"] = md5
        pooler.reload()
        wait_for(lambda: self.asked_for(pooler, "nobody") == 5, "a reload counts", 20)

    @staticmethod
    def asked_for(pooler, user):
        with wire.Wire(pooler.host, pooler.port) as raw:
            raw.send(wire.startup(user=user, database=DATABASE))
            kind, body = raw.read_message()
            assert kind == "R", (kind, body)
            return struct.unpack("!I", body[:4])[0]

    def test_certificates(self):
        authority = Authority()
        certificate, key = authority.sign("pgweir", "localhost", "DNS:localhost")
        pooler = self.pgweir(
            tls={"certificate": certificate, "key": key, "ca": authority.certificate},
            auth={"hba": ["hostssl all fitness all cert map=people",
                          "hostssl all all all scram-sha-256 clientcert=verify-full"],
                  "ident": ["people anna fitness"]})
        anna = dict(zip(("sslcert", "sslkey"), authority.sign("anna", "anna")))
        otto = dict(zip(("sslcert", "sslkey"), authority.sign("otto", "otto")))
        none = {"sslcert": "/nonexistent", "sslkey": "/nonexistent"}
        self.assertEqual([(1,)], pooler.query("select 1", sslmode="require", **anna))
        self.refused(pooler, 'certificate authentication failed for user "fitness"', sslmode="require", **otto)
        self.refused(pooler, "connection requires a valid client certificate", sslmode="require", **none)
        self.refused(pooler, "no pg_hba.conf entry", sslmode="disable")
        # Its password would do, but the certificate is another's.
        self.refused(pooler, "", user=ADMIN, database="pgbouncer", sslmode="require", **otto)
        self.assertEqual("operator", authority.sign("op", ADMIN)[0] and ADMIN)

    def test_a_map_that_does_not_name_the_user_refuses_also_who_is_called_like_it(self):
        authority = Authority()
        certificate, key = authority.sign("pgweir", "localhost", "DNS:localhost")
        fitness = dict(zip(("sslcert", "sslkey"), authority.sign("fitness", "fitness")))
        nameless = dict(zip(("sslcert", "sslkey"), authority.sign("nameless", "")))
        refusal = 'certificate authentication failed for user "fitness"'
        for ident, works in (([], False), (["people anna fitness"], False), (["others fitness fitness"], False),
                             (["people fitness fitness"], True), (["people /. fitness"], True),
                             (["people /^.*$ fitness"], True)):
            with self.subTest(ident=ident):
                pooler = self.pgweir(
                    tls={"certificate": certificate, "key": key, "ca": authority.certificate},
                    auth={"hba": ["hostssl all all all cert map=people"], "ident": ident})
                if works:
                    self.assertEqual([(1,)], pooler.query("select 1", sslmode="require", **fitness))
                else:
                    self.refused(pooler, refusal, sslmode="require", **fitness)
                # A certificate that names nobody is nobody's, whatever a pattern matches.
                self.refused(pooler, refusal, sslmode="require", **nameless)

    def test_the_subject_of_a_certificate_is_the_name_that_it_is_at_postgresql(self):
        authority = Authority()
        certificate, key = authority.sign("pgweir", "localhost", "DNS:localhost")
        shown = {name: dict(zip(("sslcert", "sslkey"), authority.sign(name, *subject[:1], rest=subject[1])))
                 for name, subject in {
                     "plain": ("anna", "/OU=staff/O=club"), "alone": ("anna", ""), "twice": ("anna", "/CN=otto"),
                     "odd": ("anna", r'/O=a, b\+c "d" <e>;#'), "wide": ("änna", "/O=Ärzte €"),
                     "fitness": ("fitness", "/OU=staff"), "nobody": ("", "")}.items()}
        maps = ("people CN=anna fitness", 'people "O=club,OU=staff,CN=anna" fitness',
                'people "CN=anna,OU=staff,O=club" fitness', 'people "/^O=club,OU=[a-z]+,CN=anna$" fitness',
                "people anna fitness", "people /CN=anna$ fitness", "people /otto fitness",
                'people "/C3\\\\A4" fitness', "people /ä fitness", "people /. fitness",
                'people "/(^|,)CN=([a-z]+)$" fitness', 'people "/^OU=staff,CN=(.*)$" \\1')
        rule = "hostssl all all all cert map=people clientname=DN"
        postgres = postgres_with_tls(authority, hba=rule + "\n" + HBA).start()
        self.addCleanup(postgres.close)
        some = set()
        for ident in maps:
            with open(os.path.join(postgres.data, "pg_ident.conf"), "w", encoding="utf-8") as file:
                file.write(ident + "\n")
            loaded = postgres.query("select pg_conf_load_time()")
            postgres.query("select pg_reload_conf()")
            wait_for(lambda: postgres.query("select pg_conf_load_time()") != loaded, "PostgreSQL has read it", 20)
            pooler = self.pgweir(tls={"certificate": certificate, "key": key, "ca": authority.certificate},
                                 auth={"hba": [rule], "ident": [ident]})
            for name, files in shown.items():
                with self.subTest(ident=ident, certificate=name):
                    let_in = pooler.lets_in(sslmode="require", **files)
                    self.assertEqual(pooler.lets_in(port=postgres.port, sslmode="require", **files), let_in)
                    some.add((name, let_in))
            pooler.close()
        self.assertEqual({(name, True) for name in shown if name != "nobody"} | {(name, False) for name in shown}, some)


class ShippedTest(AccessCase):
    def test_bitnami_2025_22248_the_shipped_configuration_lets_nobody_in(self):
        """What is installed as /etc/pgweir/pgweir.yaml, in front of a PostgreSQL that lets in whom it knows."""
        pooler = Pgweir(self.postgres)
        self.addCleanup(pooler.close)
        text = surroundings.read_text(os.path.join(surroundings.ROOT, "config", "example.yaml"))
        for shipped, free in (("port: 6432", pooler.port), ("port: 9127", pooler.metrics_port),
                              ("port: 5432", self.postgres.port)):
            self.assertEqual(1, text.count("\n  %s\n" % shipped) + text.count("    %s\n" % shipped), shipped)
            text = text.replace(shipped + "\n", "port: %d\n" % free)
        pooler.write_config(text)
        pooler.start()
        for database in ("fitness_club", DATABASE, "postgres", "template1", "pgbouncer", "pgweir"):
            for user in ("fitness_bot", OWNER, "trust_user", "postgres", "pgbouncer", "pgweir", "admin", ME):
                passwords = ["x", user, "postgres", "pgweir"] + ([password_of(user)] if user == OWNER else [])
                for password in passwords:
                    with self.subTest(database=database, user=user, password=password):
                        self.refused(pooler, "password authentication failed", user=user, database=database,
                                     password=password)


class UnixSocketTest(AccessCase):
    def setUp(self):
        self.directory = surroundings.temporary_directory("sockets")
        self.port = surroundings.reserve_port()

    def on_socket(self, run_by=(), **settings):
        listen = [{"address": "127.0.0.1", "port": self.port}, {"address": self.directory, "port": self.port}]
        pooler = Pgweir(self.postgres, **settings)
        pooler.port = self.port
        pooler.run_by = list(run_by)
        pooler.settings["listen"] = listen
        pooler.write_config()
        pooler.start()
        self.addCleanup(pooler.close)
        return pooler

    def test_clients_on_a_unix_socket(self):
        pooler = self.on_socket()
        self.assertEqual([(1,)], pooler.query("select 1", host=self.directory))
        self.refused(pooler, "password authentication failed", host=self.directory, password="wrong")
        self.assertEqual({"unix", "127.0.0.1"} & {row["addr"] for row in pooler.console("show clients")},
                         {"127.0.0.1"})
        pooler.close_connections()
        pooler.stop()
        self.assertEqual([], os.listdir(self.directory))

    def test_what_is_left_of_another_is_taken_away_and_one_that_is_there_is_not(self):
        path = os.path.join(self.directory, ".s.PGSQL.%d" % self.port)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(path)
        pooler = self.on_socket()
        pooler.query("select 1", host=self.directory)
        second = Pgweir(self.postgres)
        second.settings["listen"] = [{"address": self.directory, "port": self.port}]
        second.write_config()
        with self.assertRaises(AssertionError):
            second.start()
        second.close()
        pooler.query("select 1", host=self.directory)

    def test_peer(self):
        pooler = self.on_socket(auth={"hba": ["local all fitness peer map=system", "local all all peer"],
                                      "ident": ["system %s fitness" % ME]})
        self.assertEqual([(1,)], pooler.query("select 1", host=self.directory, password=""))
        self.refused(pooler, 'Peer authentication failed for user "%s"' % ADMIN, host=self.directory,
                     user=ADMIN, password="")

    def test_peer_with_a_map_that_does_not_name_the_user(self):
        for ident in ([], ["system nobody_else %s" % ME], ["others %s %s" % (ME, ME)]):
            with self.subTest(ident=ident):
                self.port = surroundings.reserve_port()
                pooler = self.on_socket(users=dict(users(OWNER), **{ME: {"password": "x"}}),
                                        auth={"hba": ["local all all peer map=system"], "ident": ident})
                self.refused(pooler, 'Peer authentication failed for user "%s"' % ME, host=self.directory,
                             user=ME, password="")

    @unittest.skipUnless(surroundings.AS_ROOT, "nobody else can become somebody")
    def test_who_is_not_known_in_the_user_namespace_is_not_nobody(self):
        """As with systemd's PrivateUsers=: all but root have the same number there, which is that of nobody."""
        own_namespace = ["unshare", "--user", "--map-user=1", "--map-group=1"]
        if subprocess.run([*own_namespace, "true"], check=False).returncode != 0:
            self.skipTest("there are no user namespaces here")
        os.chmod(self.directory, 0o755)
        for run_by, who in (([], "postgres"), (own_namespace, "")):
            self.port = surroundings.reserve_port()
            pooler = self.on_socket(run_by=run_by, auth={"hba": ["local all all peer"]},
                                    users=dict(users(OWNER), nobody={"password": "x"}, postgres={"password": "x"}))
            for asked in ("nobody", "postgres"):
                with self.subTest(run_by=run_by, asked=asked):
                    done = subprocess.run([os.path.join(POSTGRES_BIN, "psql"), "-X", "-w", "-h", self.directory, "-p",
                                           str(self.port), "-U", asked, "-c", "select 1", DATABASE], user="postgres",
                                          cwd="/", capture_output=True, text=True, check=False, timeout=60)
                    refused = 'Peer authentication failed for user "%s"' % asked
                    (self.assertNotIn if asked == who else self.assertIn)(refused, done.stderr)
            pooler.close()

    def test_who_cannot_have_tls_needs_none(self):
        authority = Authority()
        certificate, key = authority.sign("pgweir", "localhost", "DNS:localhost")
        for mode in ("require", "verify-full"):
            with self.subTest(mode=mode):
                self.port = surroundings.reserve_port()
                pooler = self.on_socket(tls={"certificate": certificate, "key": key, "mode": mode,
                                             "ca": authority.certificate})
                self.assertEqual([(1,)], pooler.query("select 1", host=self.directory))
                self.refused(pooler, "password authentication failed", host=self.directory, password="wrong")
                self.refused(pooler, "connection requires TLS", sslmode="disable")


class ProxyProtocolTest(AccessCase):
    def hello(self, pooler, header):
        with wire.Wire(pooler.host, pooler.port) as raw:
            raw.send(header + wire.startup(user=OWNER, database=DATABASE))
            return raw.read_message()

    def test_the_client_is_where_the_header_says(self):
        pooler = self.pgweir(proxy_protocol=["127.0.0.0/8"],
                             auth={"hba": ["host all all 192.0.2.7/32 scram-sha-256"]})
        good = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 6432\r\n"
        self.assertEqual("R", self.hello(pooler, good)[0])
        kind, body = self.hello(pooler, b"PROXY TCP4 192.0.2.8 10.0.0.1 4711 6432\r\n")
        self.assertEqual("E", kind)
        self.assertIn(b'no pg_hba.conf entry for host "192.0.2.8"', body)
        binary = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 12) + bytes([192, 0, 2, 7, 10, 0, 0, 1])
                  + struct.pack("!HH", 4711, 6432))
        self.assertEqual("R", self.hello(pooler, binary)[0])

    def test_what_a_header_carries_besides_is_skipped_up_to_a_bound(self):
        pooler = self.pgweir(proxy_protocol=["127.0.0.0/8"], auth={"hba": ["host all all 192.0.2.7/32 trust"]})

        def header(size):
            addresses = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack("!HH", 4711, 6432)
            certificate = b"\x28" + struct.pack("!H", size - 31) + b"c" * (size - 31)
            return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", size - 16) + addresses + certificate
        self.assertEqual("R", self.hello(pooler, header(4096))[0])
        with wire.Wire(pooler.host, pooler.port) as raw:
            raw.send(header(4097))
            self.assertEqual([], raw.read_to_end())
        wait_for(lambda: "PROXY header: it is too long" in pooler.log(), "it is said why", 20)

    def test_an_address_has_one_spelling(self):
        pooler = self.pgweir(proxy_protocol=["127.0.0.0/8"],
                             auth={"hba": ["host all all 192.0.2.7/32 trust", "host all all 2001:db8::7/128 trust"]})
        for spelt in (b"TCP6 ::ffff:192.0.2.7 ::1", b"TCP6 ::FFFF:C000:0207 ::1", b"TCP6 0:0:0:0:0:ffff:192.0.2.7 ::1",
                      b"TCP6 2001:DB8:0:0:0:0:0:7 ::1", b"TCP6 2001:0db8::0007 ::1"):
            with self.subTest(spelt=spelt):
                self.assertEqual("R", self.hello(pooler, b"PROXY %s 4711 6432\r\n" % spelt)[0])
        for spelt, shown in ((b"TCP6 ::ffff:192.0.2.8 ::1", b"192.0.2.8"), (b"TCP6 2001:DB8:0::8 ::1", b"2001:db8::8")):
            with self.subTest(spelt=spelt):
                kind, body = self.hello(pooler, b"PROXY %s 4711 6432\r\n" % spelt)
                self.assertEqual("E", kind)
                self.assertIn(b'no pg_hba.conf entry for host "%s"' % shown, body)
        for malformed in (b"TCP6 ::1::2 ::1", b"TCP6 1:2 ::1", b"TCP4 192.0.2 10.0.0.1", b"TCP4 192.0.2.256 10.0.0.1",
                          b"TCP4 192.0.2.7 10.0.1", b"TCP6 2001:db8::7 :::", b"TCP6 ::ffff:192.0.2.300 ::1"):
            with self.subTest(malformed=malformed), wire.Wire(pooler.host, pooler.port) as raw:
                raw.send(b"PROXY %s 4711 6432\r\n" % malformed + wire.startup(user=OWNER, database=DATABASE))
                self.assertEqual([], raw.read_to_end())

    def test_2026_48772_unknown_keeps_the_address_of_the_socket(self):
        pooler = self.pgweir(proxy_protocol=["127.0.0.0/8"],
                             auth={"hba": ["host all all 192.0.2.7/32 trust"]})
        kind, body = self.hello(pooler, b"PROXY UNKNOWN 192.0.2.7 10.0.0.1 4711 6432\r\n")
        self.assertEqual("E", kind)
        self.assertIn(b'no pg_hba.conf entry for host "127.0.0.1"', body)

    def test_without_the_header_and_from_those_who_are_not_trusted(self):
        pooler = self.pgweir(proxy_protocol=["127.0.0.0/8"])
        with wire.Wire(pooler.host, pooler.port) as raw:
            raw.send(wire.startup(user=OWNER, database=DATABASE))
            self.assertEqual([], raw.read_to_end())
        untrusted = self.pgweir(proxy_protocol=["10.0.0.0/8"])
        with wire.Wire(untrusted.host, untrusted.port) as raw:
            raw.send(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 6432\r\n" + wire.startup(user=OWNER, database=DATABASE))
            self.assertNotIn("R", [kind for kind, _ in raw.read_to_end()])
        untrusted.query("select 1")


class BoundsTest(AccessCase):
    def test_so_many_who_have_not_logged_in(self):
        pooler = self.pgweir(auth={"max_unauthenticated_per_address": 5})
        with contextlib.ExitStack() as held:
            waiting = [held.enter_context(socket.create_connection((pooler.host, pooler.port), timeout=20))
                       for _ in range(5)]
            wait_for(lambda: self.is_closed(pooler), "no more are let in", 20)
            waiting.pop().close()
            wait_for(lambda: not self.is_closed(pooler), "there is room again", 20)
        wait_for(lambda: self.works(pooler), "and everybody else comes in", 20)
        clients = [pooler.connect() for _ in range(7)]  # those who have logged in do not count
        self.assertEqual(7, len(clients))

    def test_who_resets_its_connection_at_once_leaves_no_place_taken(self):
        pooler = self.pgweir(workers=2, auth={"max_unauthenticated_per_address": 3})
        for _ in range(4000):
            with socket.socket() as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with contextlib.suppress(ConnectionError):
                    one.connect((pooler.host, pooler.port))
        wait_for(lambda: self.works(pooler), "everybody else comes in", 20)

    def test_spelt_in_another_way_it_is_the_same_address(self):
        pooler = self.pgweir(proxy_protocol=["127.0.0.0/8"], auth={"max_unauthenticated_per_address": 5})
        with contextlib.ExitStack() as held:
            def is_asked(spelt):
                raw = held.enter_context(socket.create_connection((pooler.host, pooler.port), timeout=20))
                raw.sendall(b"PROXY %s 4711 6432\r\n" % spelt + wire.startup(user=OWNER, database=DATABASE))
                with contextlib.suppress(ConnectionError):
                    return raw.recv(1) == b"R"
                return False
            for spelt in (b"TCP4 192.0.2.7 10.0.0.1", b"TCP6 ::ffff:192.0.2.7 ::1", b"TCP6 ::FFFF:192.0.2.7 ::1",
                          b"TCP6 ::ffff:c000:207 ::1", b"TCP6 0:0::ffff:192.0.2.7 ::1"):
                self.assertTrue(is_asked(spelt), spelt)
            for spelt in (b"TCP4 192.0.2.7 10.0.0.1", b"TCP6 ::ffff:192.0.2.7 ::1", b"TCP6 0::FFFF:c000:0207 ::1"):
                self.assertFalse(is_asked(spelt), spelt)
            self.assertTrue(is_asked(b"TCP4 192.0.2.8 10.0.0.1"))

    def test_behind_a_load_balancer_each_address_has_places_of_its_own(self):
        pooler = self.pgweir(proxy_protocol=["127.0.0.0/8"], auth={"max_unauthenticated_per_address": 5})
        with contextlib.ExitStack() as held:
            def comes(client, says=b""):
                raw = held.enter_context(socket.create_connection((pooler.host, pooler.port), timeout=20))
                raw.sendall(b"PROXY TCP4 %s 10.0.0.1 4711 6432\r\n" % client + says if client else says)
                return raw

            def is_refused(client):
                raw = comes(client, wire.startup(user=OWNER, database=DATABASE))
                with contextlib.suppress(ConnectionError):
                    return raw.recv(1) == b""
                return True
            strangers = [comes(b"192.0.2.7") for _ in range(5)]
            silent = [comes(None) for _ in range(10)]  # whoever the balancer says nothing of
            wait_for(lambda: is_refused(b"192.0.2.7"), "no more are let in from there", 20)
            wait_for(lambda: "192.0.2.7" in pooler.log(), "it is said from where", 20)
            for _ in range(5):
                self.assertFalse(is_refused(b"192.0.2.8"))
            strangers.pop().close()
            wait_for(lambda: not is_refused(b"192.0.2.7"), "there is room again", 20)
            self.assertEqual(10, len(silent))

    @staticmethod
    def works(pooler):
        try:
            return pooler.query("select 1") == [(1,)]
        except psycopg2.OperationalError:
            return False

    @staticmethod
    def is_closed(pooler):
        with socket.create_connection((pooler.host, pooler.port), timeout=20) as one:
            one.settimeout(0.3)
            try:
                return one.recv(1) == b""
            except ConnectionError:
                return True
            except socket.timeout:
                return False


if __name__ == "__main__":
    unittest.main()
