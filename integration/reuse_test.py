"""`reuse: never`: each session has a server connection of its own, opened with the client's own start-up
packet, so that nothing tells it from a direct connection but the key that cancels."""

import contextlib
import subprocess
import threading
import unittest

import psycopg2

from integration.support import surroundings, wire
from integration.support.case import PoolerCase, only_pgweir
from integration.support.pgweir import users
from integration.support.postgres import DATABASE, OWNER, password_of

NEVER = {"mode": "session", "reuse": "never", "minconn": 3, "maxconn": 4, "wait_timeout": "5s"}


def fingerprint(connection):
    """What a session knows of its start: settings that are not the server's, and what RESET makes."""
    with connection.cursor() as cursor:
        cursor.execute("select name, setting, reset_val, source from pg_settings"
                       " where source in ('client', 'session', 'user', 'database') order by 1")
        settings = cursor.fetchall()
        cursor.execute("reset all")
        cursor.execute("show datestyle")
        reset = cursor.fetchone()
        cursor.execute("discard all")
        cursor.execute("show datestyle")
        return settings, reset, cursor.fetchone()


@only_pgweir
class NeverReusedTest(PoolerCase):
    settings = {"pool": NEVER, "auth": {"method": "password"}, "users": users(OWNER, "operator")}

    def raw(self, **parameters):
        pooler = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(pooler.socket.close)
        return pooler, pooler.log_in(password_of(OWNER), user=OWNER,
                                     **dict({"database": DATABASE}, **parameters))

    def test_every_session_has_a_backend_of_its_own_that_ends_with_it(self):
        seen = set()
        for _ in range(5):
            client = self.connect_autocommit()
            pid = self.value(client, "select pg_backend_pid()")
            self.assertEqual(pid, client.info.backend_pid)
            self.assertNotIn(pid, seen)
            seen.add(pid)
            client.close()
            self.wait_for(lambda p=pid: p not in self.postgres.backends(), "the backend has ended")

    def test_the_start_up_packet_is_the_clients_own(self):
        options = {"options": r"-c datestyle=German,DMY -c my.thing=a\ b --work-mem=3MB"
                              " -c search_path=pg_temp",
                   "application_name": "reuse test", "client_encoding": "LATIN1"}
        direct = psycopg2.connect(host=self.postgres.host, port=self.postgres.port, user=OWNER,
                                  dbname=DATABASE, password=password_of(OWNER), **options)
        with contextlib.closing(direct):
            direct.autocommit = True
            self.assertEqual(fingerprint(direct), fingerprint(self.connect_autocommit(**options)))

    def test_the_welcome_is_what_postgresql_says(self):
        parameters = {"DateStyle": "SQL, DMY", "extra_float_digits": "2", "TimeZone": "utc"}
        with wire.Wire(self.postgres.host, self.postgres.port) as direct:
            direct.send(wire.startup(user="trust_user", database=DATABASE, **parameters))
            expected = direct.read_until("Z")
        _, got = self.raw(**parameters)
        told = {kind: sorted(body for k, body in got if k == kind) for kind in "SNE"}
        self.assertEqual(sorted(body.replace(b"trust_user", OWNER.encode())
                                for kind, body in expected if kind == "S"), told["S"])
        self.assertEqual([], told["N"] + told["E"])

    def refusal(self, host, port, user, password, **parameters):
        with wire.Wire(host, port) as connection:
            connection.send(wire.startup(user=user, database=DATABASE, **parameters))
            while True:
                kind, body = connection.read_message()
                if kind == "R" and body == b"\0\0\0\3":
                    connection.send(wire.message("p", password.encode() + b"\0"))
                elif kind == "E":
                    self.assertEqual([], connection.read_to_end())
                    return wire.error_fields(body)

    def test_what_postgresql_refuses_it_refuses_in_its_own_words(self):
        self.postgres.query("alter role %s connection limit -1" % OWNER)
        for parameters in ({"datestyle": "nonsense"}, {"no_such_setting": "1"},
                           {"options": "--nonsense"}, {"options": "-c work_mem=x"},
                           {"options": "-Z"}, {"max_connections": "7"},
                           {"client_encoding": "nonsense"}, {"TimeZone": "Nowhere/Never"}):
            with self.subTest(parameters):
                direct = self.refusal(self.postgres.host, self.postgres.port, "password_user",
                                      password_of("password_user"), **parameters)
                ours = self.refusal(self.pooler.host, self.pooler.port, OWNER,
                                    password_of(OWNER), **parameters)
                self.assertEqual(direct, ours)
        # None of it has made anybody believe that PostgreSQL is down.
        self.assertEqual(1, self.value(self.connect_autocommit(), "select 1"))
        self.assertNotIn("not reachable", self.pooler.log())

    def test_a_role_at_its_connection_limit_is_told_so(self):
        self.postgres.query("alter role %s connection limit 0" % OWNER)
        try:
            fields = self.refusal(self.pooler.host, self.pooler.port, OWNER, password_of(OWNER))
        finally:
            self.postgres.query("alter role %s connection limit -1" % OWNER)
        self.assertEqual(("53300", 'too many connections for role "%s"' % OWNER),
                         (fields["C"], fields["M"]))
        self.wait_for(self.lets_in, "the next is let in")

    def test_a_role_that_may_not_log_in_is_told_so(self):
        self.postgres.query("alter role %s nologin" % OWNER)
        try:
            fields = self.refusal(self.pooler.host, self.pooler.port, OWNER, password_of(OWNER))
        finally:
            self.postgres.query("alter role %s login" % OWNER)
        self.assertEqual("28000", fields["C"])
        self.assertTrue(self.lets_in())

    def lets_in(self):
        try:
            return self.pooler.query("select 1") == [(1,)]
        except psycopg2.OperationalError:
            return False

    def test_warnings_at_login_reach_the_client(self):
        # A collation version that is not the system's own is warned of at each login.
        self.postgres.query("update pg_database set datcollversion = '0.1', datcollate = 'C.UTF-8',"
                            " datlocprovider = 'c' where datname = %s", DATABASE)
        try:
            with wire.Wire(self.postgres.host, self.postgres.port) as direct:
                direct.send(wire.startup(user="trust_user", database=DATABASE))
                expected = [body for kind, body in direct.read_until("Z") if kind == "N"]
            self.assertEqual(1, len(expected))
            self.assertEqual(expected, [body for kind, body in self.raw()[1] if kind == "N"])
        finally:
            self.postgres.query("update pg_database set datcollversion = null where datname = %s",
                                DATABASE)

    def test_maxconn_bounds_and_the_next_gets_a_new_server(self):
        clients = [self.connect_autocommit() for _ in range(4)]
        pids = [self.value(client, "select pg_backend_pid()") for client in clients]
        waiting = []
        thread = threading.Thread(target=lambda: waiting.append(self.connect_autocommit()))
        thread.start()
        self.wait_for(lambda: any(row["cl_waiting"] for row in self.pooler.console("show pools")),
                      "one waits")
        self.assertEqual(4, len(self.postgres.backends()))
        clients[2].close()
        thread.join()
        self.assertNotIn(self.value(waiting[0], "select pg_backend_pid()"), pids)
        self.assertEqual(4, len(self.postgres.backends()))

    def test_who_waits_in_vain_is_told_who_holds_them(self):
        clients = [self.connect() for _ in range(4)]
        self.pooler.reload(pool={"wait_timeout": "200ms"})
        self.wait_for(lambda: "wait_timeout" in self.pooler.log(), "the reload")
        try:
            with self.fails_with("53300", "all 4 are in use"):
                self.connect()
        finally:
            self.pooler.reload(pool={"wait_timeout": "5s"})
        for client in clients:
            client.close()

    def test_a_cancel_strikes_the_session_that_asked(self):
        client = self.connect_autocommit()
        failed = []

        def sleep():
            try:
                self.rows(client, "select pg_sleep(30)")
            except psycopg2.Error as error:
                failed.append(error.pgcode)
        thread = threading.Thread(target=sleep)
        thread.start()
        self.wait_for(lambda: self.postgres.query(
            "select 1 from pg_stat_activity where query = 'select pg_sleep(30)'"), "it sleeps")
        client.cancel()
        thread.join()
        self.assertEqual(["57014"], failed)

    def test_the_key_is_not_postgresqls(self):
        connection, messages = self.raw()
        pid = next(body for kind, body in messages if kind == "K")[:4]
        self.assertEqual(int.from_bytes(pid, "big"),
                         int([b for k, b in connection.ask("select pg_backend_pid()")
                              if k == "D"][0][6:]))

    def test_what_was_sent_before_the_end_is_done(self):
        client = self.connect_autocommit()
        self.rows(client, "create table if not exists done (n int)")
        for ending in (wire.TERMINATE, b""):
            connection, _ = self.raw()
            connection.send(wire.query("select pg_sleep(0.3); insert into done values (1)"), ending)
            connection.socket.close()
        self.wait_for(lambda: self.value(client, "select count(*) from done") == 2,
                      "both have been written")
        self.rows(client, "drop table done")

    def test_a_transaction_that_is_left_open_is_rolled_back(self):
        client = self.connect_autocommit()
        self.rows(client, "create table if not exists left_open (n int)")
        connection, _ = self.raw()
        connection.ask("begin; insert into left_open values (1)")
        connection.socket.close()
        self.wait_for(lambda: len(self.postgres.backends()) == 1, "its backend has ended")
        self.assertEqual(0, self.value(client, "select count(*) from left_open"))
        self.rows(client, "drop table left_open")

    def test_ends_are_counted_under_their_reason(self):
        before = self.pooler.metric("pgweir_server_closes_total", reason="session_ended")
        self.pooler.query("select 1")
        self.wait_for(lambda: self.pooler.metric("pgweir_server_closes_total",
                                                 reason="session_ended") > before, "it is counted")


@only_pgweir
class BeforeTheFirstClientTest(PoolerCase):
    settings = {"pool": NEVER}

    def test_no_server_is_opened_in_advance_and_none_is_needed_to_be_ready(self):
        status, text = self.pooler.http("/readyz")
        self.assertEqual(200, status, text)
        self.assertEqual([], self.postgres.backends())
        self.assertEqual(1, self.value(self.connect(), "select 1"))


@only_pgweir
class ConfigurationTest(unittest.TestCase):
    def test_check_says_what_is_wrong(self):
        for text, expected in (
                ("pool: { reuse: never }", "pool.reuse never needs pool.mode session"),
                ("pool: { reuse: sometimes }", "must be one of always, never")):
            path = surroundings.temporary_directory("reuse") + "/pgweir.yaml"
            with open(path, "w", encoding="ascii") as file:
                file.write("databases: { x: {} }\nusers: { u: { password: p } }\n%s\n" % text)
            done = subprocess.run([surroundings.BINARY, "check", "--config", path],
                                  capture_output=True, text=True, check=False)
            self.assertNotEqual(0, done.returncode)
            self.assertIn(expected, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
