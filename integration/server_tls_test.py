"""What a database's sslmode, sslrootcert and sslnegotiation say holds for every connection to PostgreSQL:
the first one and those that follow it, the warm ones, the one that listens, the one that asks for users."""

import os
import shutil
import signal
import subprocess
import unittest

import psycopg2

from integration.support import surroundings
from integration.support.certificates import Authority, give_certificate, postgres_with_tls
from integration.support.direct_tls import HANDSHAKE, DirectTls
from integration.support.peers import assert_hears_itself
from integration.support.pgweir import ADMIN, Pgweir, users
from integration.support.postgres import DATABASE, OWNER, POSTGRES_BIN, QUERY_USER, Postgres, password_of
from integration.support.waiting import wait_for

# PostgreSQL's log of a client that does not believe its certificate, and of one that is in.
REFUSED = "could not accept SSL connection: tlsv1 alert unknown ca"
LET_IN = "connection authorized: user="
SERVERS = ("select pid, ssl from pg_stat_ssl join pg_stat_activity using (pid)"
           " where usename = %s and client_addr is not null")


class ServerTlsCase(unittest.TestCase):
    def start(self, postgres, auth=None, pool=None, environment=None, prepare=None, **database):
        made = Pgweir(postgres, databases={DATABASE: dict({"host": "localhost"}, **database)},
                      pool=dict({"wait_timeout": "3s"}, **(pool or {})), auth=auth or {})
        if auth:
            made.settings["users"] = users(QUERY_USER, ADMIN)
            made.write_config()
        if prepare:
            prepare(made)
        made.start(**(environment or {}))
        self.addCleanup(made.close)
        return made

    def unanswered(self, pooler):
        with self.assertRaises(psycopg2.Error) as raised:
            pooler.query("select 1")
        return str(raised.exception)


class LostOnReconnectTest(ServerTlsCase):
    """2020-25694: what was asked for at first has to be asked for again."""

    def setUp(self):
        self.authority, self.another = Authority(), Authority("another")
        self.postgres = postgres_with_tls(self.authority).start()
        self.addCleanup(self.postgres.close)

    def restart_with(self, authority):
        """Answers where its log begins."""
        self.postgres.stop()
        give_certificate(self.postgres, authority)
        begins = len(self.postgres.log())
        self.postgres.start()
        return begins

    def show_from_now_on(self, authority):
        """PostgreSQL goes on, with another certificate for those who come. Answers where its log goes on."""
        begins = len(self.postgres.log())
        give_certificate(self.postgres, authority)
        self.postgres.query("select pg_reload_conf()")
        wait_for(lambda: "received SIGHUP" in self.postgres.log()[begins:], "it has been told", 20)
        return len(self.postgres.log())

    def refused_since(self, begins):
        return self.postgres.log()[begins:].count(REFUSED)

    def verifying(self, **pool):
        return self.start(self.postgres, sslmode="verify-full", sslrootcert=self.authority.certificate, pool=pool)

    def test_2020_25694_clients_and_warm_servers_after_another_authority_has_signed(self):
        pooler = self.verifying(minconn=2)
        self.assertEqual([(1,)], pooler.query("select 1"))
        wait_for(lambda: len(self.postgres.backends()) >= 2, "they are warm", 20)
        begins = self.restart_with(self.another)
        wait_for(lambda: self.refused_since(begins), "they are tried by themselves, to be warm again", 30)
        self.assertIn("certificate verify failed", self.unanswered(pooler))
        self.assertEqual([], self.postgres.backends())
        self.assertNotIn(LET_IN + OWNER, self.postgres.log()[begins:])  # PostgreSQL would let in without TLS
        self.restart_with(self.authority)
        wait_for(lambda: len(self.postgres.backends()) >= 2, "they come back", 60)
        self.assertEqual([(1,)], pooler.query("select 1"))

    def test_2020_25694_the_connection_that_listens(self):
        pooler = self.verifying(minconn=0)
        listener = pooler.connect()
        listener.autocommit = True
        with listener.cursor() as cursor:
            cursor.execute("listen news")
        begins = self.show_from_now_on(self.another)
        self.postgres.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", OWNER)
        # No client asks for a server, and none is kept warm.
        wait_for(lambda: self.refused_since(begins) >= 3, "it is tried, again and again", 20)
        self.assertEqual([], self.postgres.backends())
        self.assertNotIn(LET_IN + OWNER, self.postgres.log()[begins:])
        self.show_from_now_on(self.authority)

        def heard():
            self.postgres.query("notify news, 'heard'", database=DATABASE)
            listener.poll()
            return listener.notifies
        wait_for(heard, "it listens again", 20)

    def test_2020_25694_a_reload_from_disable_to_require_replaces_warm_servers(self):
        pooler = self.start(self.postgres, sslmode="disable", pool={"minconn": 2})

        def servers(secured):
            found = self.postgres.query(SERVERS, OWNER)
            return {pid for pid, _ in found} if len(found) >= 2 and {ssl for _, ssl in found} == {secured} else set()
        before = wait_for(lambda: servers(False), "they are warm, without", 20)
        pooler.reload(databases={DATABASE: {"sslmode": "require"}})
        after = wait_for(lambda: servers(True), "they are replaced by some with", 30)
        self.assertEqual(set(), before & after)
        self.assertEqual([(True,)], pooler.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()"))


class AuthQueryTest(ServerTlsCase):
    """The connection on which PostgreSQL is asked for users is libpq's own."""

    @classmethod
    def setUpClass(cls):
        cls.authority, cls.another = Authority(), Authority("another")
        cls.postgres = postgres_with_tls(cls.authority).start()
        cls.addClassCleanup(cls.postgres.close)
        cls.postgres.query("create role %s login password 'pgweir-secret'" % QUERY_USER)
        cls.postgres.install_user_lookup()

    def asking(self, authority=None, environment=None, **database):
        """`authority`: its certificate is root.crt in the folder of the configuration."""
        def prepare(pooler):
            if authority is not None:
                shutil.copy(authority.certificate, os.path.join(pooler.directory, "root.crt"))
        return self.start(self.postgres, {"query_user": QUERY_USER}, environment=environment, prepare=prepare,
                          **database)

    def assert_asked(self, pooler, secured):
        self.assertEqual([(OWNER,)], pooler.query("select current_user::text"))
        self.assertEqual([secured], [ssl for _, ssl in self.postgres.query(SERVERS, QUERY_USER)])
        pooler.close()
        wait_for(lambda: not self.postgres.query(SERVERS, QUERY_USER), "it has gone", 20)

    def assert_not_asked(self, pooler):
        begins = len(self.postgres.log())
        self.unanswered(pooler)
        wait_for(lambda: REFUSED in self.postgres.log()[begins:], "it is refused", 20)
        self.assertNotIn(LET_IN + QUERY_USER, self.postgres.log()[begins:])
        self.assertNotIn(LET_IN + OWNER, self.postgres.log()[begins:])

    def test_with_and_without(self):
        for mode, secured in (("disable", False), ("prefer", True), ("require", True)):
            with self.subTest(mode):
                self.assert_asked(self.asking(sslmode=mode), secured)

    def test_2020_25694_a_path_that_begins_at_the_folder_of_the_configuration(self):
        for mode in ("require", "verify-ca", "verify-full"):
            with self.subTest(mode):
                self.assert_asked(self.asking(self.authority, sslmode=mode, sslrootcert="root.crt"), True)
                self.assert_not_asked(self.asking(self.another, sslmode=mode, sslrootcert="root.crt"))

    def test_the_authorities_of_the_system(self):
        for named in ({}, {"sslrootcert": "system"}):
            with self.subTest(**named):
                for authority, check in ((self.authority, lambda pooler: self.assert_asked(pooler, True)),
                                         (self.another, self.assert_not_asked)):
                    check(self.asking(environment={"SSL_CERT_FILE": authority.certificate},
                                      sslmode="verify-full", **named))


class AuthoritiesTest(unittest.TestCase):
    def test_what_any_authority_has_signed_is_not_taken_for_anybody(self):
        folder = surroundings.temporary_directory("check")
        for line, why in (("sslmode: verify-ca", "4:5: databases.shop.sslmode verify-ca needs"),
                          ("sslrootcert: system", "4:5: databases.shop.sslrootcert system needs")):
            path = os.path.join(folder, "pgweir.yaml")
            with open(path, "w", encoding="ascii") as file:
                file.write("auth: { method: trust }\ndatabases:\n  shop:\n    %s\n" % line)
            done = subprocess.run([surroundings.BINARY, "check", "--config", path], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(1, done.returncode)
            self.assertIn("pgweir.yaml:" + why, done.stderr)


class DirectTest(ServerTlsCase):
    """sslnegotiation: direct. PostgreSQL 15 lacks it."""

    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.postgres = Postgres().start()
        cls.addClassCleanup(cls.postgres.close)

    def setUp(self):
        certificate, key = self.authority.sign("postgres", "localhost", "DNS:localhost")
        self.front = self.enterContext(DirectTls(self.postgres, certificate, key))

    def direct(self, authority=None, negotiation="direct"):
        return self.start(self.postgres, host="localhost", port=self.front.port, sslmode="verify-full",
                          sslnegotiation=negotiation, sslrootcert=(authority or self.authority).certificate)

    def assert_all_direct(self):
        self.assertEqual({HANDSHAKE}, set(self.front.first_bytes))
        self.assertEqual({"postgresql"}, set(self.front.protocols))

    def test_cancel_requests(self):
        pooler = self.direct()
        # In a process of its own: psycopg2 lets no other thread run while it cancels, and the server is one.
        with subprocess.Popen([os.path.join(POSTGRES_BIN, "psql"), "-X", "-h", pooler.host, "-p", str(pooler.port),
                               "-U", OWNER, "-c", "select pg_sleep(60)", DATABASE], text=True, stderr=subprocess.PIPE,
                              env=dict(os.environ, PGPASSWORD=password_of(OWNER))) as client:
            wait_for(lambda: self.postgres.query("select 1 from pg_stat_activity where state = 'active' and"
                                                 " query = 'select pg_sleep(60)'"), "it runs", 20)
            before = len(self.front.protocols)
            client.send_signal(signal.SIGINT)
            self.assertIn("canceling statement due to user request", client.communicate(timeout=30)[1])
            self.assertGreater(len(self.front.protocols), before)
        self.assert_all_direct()

    def test_queries_and_the_one_that_listens(self):
        pooler = self.direct()
        connection = pooler.connect()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select repeat('x', 300000)")
            self.assertEqual("x" * 300000, cursor.fetchone()[0])
        before = len(self.front.protocols)
        assert_hears_itself(connection)
        # Until it does, the client has its own server listen.
        wait_for(lambda: len(self.front.protocols) > before, "one more listens", 20)
        self.assert_all_direct()

    def test_a_certificate_of_another_authority(self):
        pooler = self.direct(Authority("another"))
        self.unanswered(pooler)
        wait_for(lambda: "certificate verify failed" in pooler.log(), "it is said", 20)
        self.assertEqual({HANDSHAKE}, set(self.front.first_bytes))
        self.assertEqual([], self.postgres.backends())

    def test_it_is_what_the_setting_says(self):
        self.unanswered(self.direct(negotiation="postgres"))
        self.assertEqual({0}, set(self.front.first_bytes))  # the length of an SSLRequest


if __name__ == "__main__":
    unittest.main()
