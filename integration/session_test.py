"""Session state in every mode: what a client set up is there when it comes back, whatever others did on
the servers in between, and nothing of it is left for the next client."""

import os
import re
import select
import socket
import struct
import unittest
from concurrent.futures import ThreadPoolExecutor

import psycopg2

from integration.support import wire
from integration.support.case import PoolerCase, only_pgweir
from integration.support.postgres import DATABASE, OWNER
from integration.support.waiting import wait_for


def drop_socket(client, reset):
    """Closes a psycopg2 connection's socket without a Terminate, as when its process was killed
    (reset: as when its machine has forgotten about it). /dev/null takes the descriptor's place, so
    that libpq closes nothing of somebody else's later."""
    if reset:
        with socket.socket(fileno=os.dup(client.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, client.fileno())
    os.close(nothing)


class TransactionModeTest(PoolerCase):
    """Few servers, and other clients that use them in between."""

    settings = {"pool": {"mode": "transaction", "minconn": 2, "maxconn": 3}}

    def setUp(self):
        self.others = [self.connect_autocommit() for _ in range(3)]

    def stir(self):
        """Others use the servers, so that the next statement need not meet the same one."""
        for other in self.others[:2]:
            self.rows(other, "select 1")

    def test_servers_are_shared_between_transactions(self):
        clients = [self.connect_autocommit() for _ in range(20)]
        pids = {self.value(client, "select pg_backend_pid()") for client in clients}
        self.assertLessEqual(len(pids), 3)

    def test_a_transaction_stays_on_one_server(self):
        client = self.connect()
        first = self.value(client, "select pg_backend_pid()")
        for _ in range(10):
            self.stir()
            self.assertEqual(first, self.value(client, "select pg_backend_pid()"))
        client.rollback()

    def test_an_idle_client_holds_no_server(self):
        clients = [self.connect_autocommit() for _ in range(10)]
        for client in clients:
            self.rows(client, "select 1")
        # All ten are connected, three servers exist: an eleventh is served at once.
        self.assertEqual([(1,)], self.pooler.query("select 1"))

    @only_pgweir
    def test_set_is_kept_by_its_client_and_seen_by_no_other(self):
        client = self.connect_autocommit()
        self.rows(client, "set statement_timeout = '4321ms'")
        for _ in range(5):
            self.stir()
            self.assertEqual("4321ms", self.value(client, "show statement_timeout"))
            for other in self.others[:2]:
                self.assertEqual("0", self.value(other, "show statement_timeout"))
        client.close()
        for other in self.others:
            self.assertEqual("0", self.value(other, "show statement_timeout"))

    @only_pgweir
    def test_set_local_and_a_rolled_back_set_leave_nothing(self):
        client = self.connect()
        self.rows(client, "set local work_mem = '5MB'")
        client.commit()
        self.rows(client, "set work_mem = '6MB'")
        client.rollback()
        self.assertEqual("4MB", self.value(client, "show work_mem"))
        client.rollback()

    @only_pgweir
    def test_set_role_is_not_inherited(self):
        self.postgres.query("grant trust_user to fitness")
        client = self.connect_autocommit()
        self.rows(client, "set role trust_user")
        for _ in range(5):
            self.stir()
            self.assertEqual("trust_user", self.value(client, "select current_user::text"))
            self.assertEqual(OWNER, self.value(self.others[0], "select current_user::text"))
        client.close()
        for other in self.others:
            self.assertEqual(OWNER, self.value(other, "select current_user::text"))

    @only_pgweir
    def test_temp_tables_are_kept(self):
        client = self.connect_autocommit()
        self.rows(client, "create temp table basket (item text)")
        self.rows(client, "insert into basket values ('towel')")
        for _ in range(5):
            self.stir()
            self.assertEqual("towel", self.value(client, "select item from basket"))
        client.close()
        for other in self.others:
            with self.fails_with("42P01"):
                self.rows(other, "select * from basket")

    @only_pgweir
    def test_prepared_statements_in_sql_are_kept(self):
        client = self.connect_autocommit()
        self.rows(client, "prepare triple(int) as select 3 * $1")
        for i in range(5):
            self.stir()
            self.assertEqual(3 * i, self.value(client, "execute triple(%s)", i))
        client.close()
        for other in self.others:
            with self.fails_with("26000"):
                self.rows(other, "execute triple(1)")

    @only_pgweir
    def test_listen_is_kept_and_notified(self):
        client = self.connect_autocommit()
        self.rows(client, "listen doors")
        for i in range(3):
            self.stir()
            self.rows(self.others[0], "notify doors, 'door %d'" % i)

            def heard():
                select.select([client], [], [], 0.1)
                client.poll()
                return client.notifies
            wait_for(heard, "the notification comes although the client asks nothing")
            notice = client.notifies.pop()
            self.assertEqual(("doors", "door %d" % i), (notice.channel, notice.payload))
        self.rows(client, "unlisten *")
        client.close()

    @only_pgweir
    def test_session_advisory_locks_are_kept_and_released_with_the_client(self):
        client = self.connect_autocommit()
        self.assertTrue(self.value(client, "select pg_try_advisory_lock(77)"))
        for _ in range(3):
            self.stir()
            self.assertFalse(self.value(self.others[0], "select pg_try_advisory_lock(77)"))
        client.close()
        wait_for(lambda: self.value(self.others[0], "select pg_try_advisory_lock(77)"),
                 "the lock went with its client")
        self.others[0].close()

    @only_pgweir
    def test_cursors_with_hold_are_kept(self):
        client = self.connect()
        self.rows(client, "declare members cursor with hold for select generate_series(1, 5)")
        client.commit()
        for i in range(1, 6):
            self.stir()
            self.assertEqual(i, self.value(client, "fetch members"))
            client.commit()
        client.close()

    @only_pgweir
    def test_currval_is_the_clients_own(self):
        self.postgres.query("create sequence if not exists tickets; grant all on tickets to fitness",
                            database=DATABASE)
        client = self.connect_autocommit()
        mine = self.value(client, "select nextval('tickets')")
        for other in self.others[:2]:
            self.rows(other, "select nextval('tickets')")
        try:
            self.assertEqual(mine, self.value(client, "select currval('tickets')"))
        except psycopg2.Error as error:  # an error is right as well: never another client's value
            self.assertEqual("55000", error.pgcode)

    @only_pgweir
    def test_discard_all_does_what_it_says(self):
        client = self.connect_autocommit()
        self.rows(client, "set work_mem = '7MB'")
        self.rows(client, "create temp table scratch (a int)")
        self.rows(client, "discard all")
        self.assertEqual("4MB", self.value(client, "show work_mem"))
        with self.fails_with("42P01"):
            self.rows(client, "select * from scratch")

    def test_a_client_killed_in_a_transaction_is_rolled_back(self):
        self.rows(self.others[0], "create table if not exists payments (amount int)")
        for round_number in range(6):
            with self.subTest(round=round_number):
                client = self.connect()
                self.rows(client, "insert into payments values (1)")
                drop_socket(client, reset=round_number % 2 == 1)
                wait_for(lambda: not self.postgres.query(
                    "select 1 from pg_stat_activity where state like 'idle in transaction%%'"
                    " and datname = %s", DATABASE), "no transaction is left open")
                self.assertEqual(0, self.value(self.others[0], "select count(*) from payments"))
        # All three servers can still be had at once.
        holders = [self.connect() for _ in range(3)]
        self.assertEqual(3, len({self.value(holder, "select pg_backend_pid()") for holder in holders}))
        for holder in holders:
            holder.rollback()

    def test_a_failed_transaction_left_behind(self):
        for _ in range(4):
            client = self.connect()
            with self.fails_with("22012"):
                self.rows(client, "select 1/0")
            client.close()
        self.assertEqual([(1,)], self.pooler.query("select 1"))


@only_pgweir
class ExtendedProtocolTest(PoolerCase):
    settings = {"auth": {"method": "trust"}, "pool": {"minconn": 2, "maxconn": 4}}

    def raw(self):
        connection = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(connection.socket.close)
        connection.log_in("", user=OWNER, database=DATABASE)
        return connection

    @staticmethod
    def kinds(messages):
        return "".join(kind for kind, _ in messages)

    def test_named_statements_keep_working(self):
        first, second = self.raw(), self.raw()
        for raw, text in ((first, "select 'first' || $1"), (second, "select 'second' || $1")):
            raw.send(wire.parse(text, "s1"), wire.SYNC)
            self.assertEqual("1Z", self.kinds(raw.read_until("Z")))
        for i in range(10):
            for raw, text in ((first, "first"), (second, "second")):
                raw.send(wire.bind("", "s1", [b"%d" % i]), wire.execute(), wire.SYNC)
                messages = raw.read_until("Z")
                self.assertEqual("2DCZ", self.kinds(messages))
                self.assertTrue(messages[1][1].endswith(b"%s%d" % (text.encode(), i)))
            self.pooler.query("select 1")

    def test_an_error_skips_until_sync(self):
        raw = self.raw()
        raw.send(wire.parse("select 1 / zero from generate_series(0, 0) zero"), wire.bind(),
                 wire.execute(), wire.parse("select 1"), wire.bind(), wire.execute(), wire.SYNC)
        self.assertEqual("12EZ", self.kinds(raw.read_until("Z")))
        self.assertEqual("TDCZ", self.kinds(raw.ask("select 1")))

    def test_every_sync_has_its_ready_for_query(self):
        raw = self.raw()
        one = wire.parse("select 1") + wire.bind() + wire.execute() + wire.SYNC
        raw.send(one * 50)
        kinds = ""
        while kinds.count("Z") < 50:
            kinds += self.kinds([raw.read_message()])
        self.assertEqual("12DCZ" * 50, kinds)

    def test_a_row_limit_suspends_the_portal(self):
        raw = self.raw()
        raw.send(wire.query("begin"))
        raw.read_until("Z")
        raw.send(wire.parse("select generate_series(1, 5)"), wire.bind("p"), wire.execute("p", 2),
                 wire.FLUSH)
        self.assertEqual("12DDs", self.kinds(raw.read_until("s")))
        raw.send(wire.execute("p", 2), wire.FLUSH)
        self.assertEqual("DDs", self.kinds(raw.read_until("s")))
        raw.send(wire.execute("p", 2), wire.SYNC)
        self.assertEqual("DCZ", self.kinds(raw.read_until("Z")))
        raw.send(wire.query("commit"))
        self.assertEqual("CZ", self.kinds(raw.read_until("Z")))

    def test_an_empty_query(self):
        raw = self.raw()
        self.assertEqual("IZ", self.kinds(raw.ask("")))

    def test_terminate_behind_a_statement_still_runs_it(self):
        self.pooler.query("create table if not exists last_words (said text)")
        raw = self.raw()
        raw.send(wire.query("insert into last_words values ('goodbye')"), wire.TERMINATE)
        raw.read_to_end()
        wait_for(lambda: self.pooler.query("select said from last_words"), "it was said")

    def test_a_function_call(self):
        raw = self.raw()
        oid = self.pooler.query("select 'pg_catalog.int4pl(int4,int4)'::regprocedure::oid::int")[0][0]
        body = oid.to_bytes(4, "big") + bytes([0, 0, 0, 2, 0, 0, 0, 1]) + b"2" \
            + bytes([0, 0, 0, 1]) + b"3" + bytes([0, 0])
        raw.send(wire.message("F", body))
        messages = raw.read_until("Z")
        self.assertEqual([("V", b"\0\0\0\x015"), ("Z", b"I")], messages)


class SessionModeTest(PoolerCase):
    settings = {"pool": {"mode": "session", "maxconn": 3}}

    def test_a_client_keeps_its_server_until_it_leaves(self):
        client = self.connect_autocommit()
        pid = self.value(client, "select pg_backend_pid()")
        self.rows(client, "create temp table mine (a int)")
        self.pooler.query("select 1")
        self.assertEqual(pid, self.value(client, "select pg_backend_pid()"))
        self.assertEqual([], self.rows(client, "select * from mine"))

    @only_pgweir
    def test_the_process_id_is_postgres_own(self):
        client = self.connect_autocommit()
        self.assertEqual(client.info.backend_pid, self.value(client, "select pg_backend_pid()"))

    def test_the_next_client_sees_a_fresh_session(self):
        client = self.connect_autocommit()
        self.rows(client, "set work_mem = '9MB'")
        self.rows(client, "create temp table mine (a int)")
        self.rows(client, "select pg_advisory_lock(5)")
        client.close()
        for _ in range(6):
            self.assertEqual([("4MB", None)], self.pooler.query(
                "select current_setting('work_mem'), to_regclass('pg_temp.mine')::text"))
        wait_for(lambda: self.pooler.query("select count(*) from pg_locks where locktype='advisory'")
                 == [(0,)], "the lock went with its client")

    def test_reset_goes_back_to_what_was_asked_for_at_startup(self):
        # Twice each, so that the second finds a server that has served the first.
        for zone in ("Asia/Tokyo", "Asia/Tokyo", "America/Lima", "America/Lima"):
            client = self.connect_autocommit(options=f"-c timezone={zone} -c datestyle=German,DMY")
            for back in ("reset timezone", "set timezone to default", "reset all", "discard all"):
                self.rows(client, "set timezone = 'UTC'")
                self.rows(client, back)
                self.assertEqual(zone, self.value(client, "show timezone"), back)
            self.assertEqual("German, DMY", self.value(client, "show datestyle"))
            self.rows(client, "set datestyle = 'SQL'")
            client.close()
        own = self.pooler.query("select reset_val, setting from pg_settings where name = 'TimeZone'")
        self.assertEqual(own, self.postgres.query(
            "select reset_val, setting from pg_settings where name = 'TimeZone'"))


    def test_settings_at_startup_are_taken_as_they_are(self):
        for value in ("two words", "tab\tand\nline", "back\\slash\\", "-c x=y", "'quoted'", ""):
            escaped = re.sub(r"([\s\\])", r"\\\1", value)
            client = self.connect_autocommit(options=f"-c fitness.thing={escaped} -c work_mem=5MB")
            for _ in range(2):
                self.assertEqual((value, "5MB"), self.rows(
                    client, "select current_setting('fitness.thing'), current_setting('work_mem')")[0])
                self.rows(client, "set fitness.thing = 'other'")
                self.rows(client, "reset fitness.thing")
            client.close()

    def test_nobody_becomes_somebody_else_by_a_setting(self):
        for name, value in (("user", "postgres"), ("database", "postgres"), ("replication", "true"),
                            ("options", "-cwork_mem=5MB"), ("_pq_.x", "1")):
            try:
                client = self.connect_autocommit(options=f"-c {name}={value}")
            except psycopg2.OperationalError as refused:
                self.assertIn(name, str(refused))
            else:
                self.assertEqual([(OWNER, DATABASE)], self.rows(
                    client, "select session_user::text, current_database()::text"))
                self.assertEqual("_pq_.x", name)  # a setting with a dot in its name is anybody's
                client.close()


@only_pgweir
class OtherSettingsTest(PoolerCase):
    """All servers have been opened with settings that the next client did not ask for."""

    settings = {"pool": {"mode": "session", "minconn": 0, "maxconn": 3}, "workers": 1}

    def closes(self):
        return self.pooler.metric("pgweir_server_closes_total", reason="other_settings") or 0

    def all_free(self):
        return all(self.pooler.metric("pgweir_pool_servers", state=state) == 0
                   for state in ("in_use", "resetting", "connecting"))

    def test_the_application_name_does_not_need_another_server(self):
        servers = []
        for name in ("one", "two"):
            client = self.connect_autocommit(application_name=name, options="-c timezone=Asia/Tokyo")
            self.assertEqual(name, self.value(client, "show application_name"))
            client.close()
            self.wait_for(self.all_free, "its server is clean")
            servers.append(self.postgres.backends())
        self.assertEqual(*servers)

    def test_one_server_makes_room_for_one_client(self):
        clients = [self.connect_autocommit(options="-c timezone=Asia/Tokyo") for _ in range(3)]
        for client in clients:
            client.close()
        self.wait_for(self.all_free, "all have been cleaned")
        before = self.closes()
        other = self.connect_autocommit(options="-c timezone=America/Lima")
        self.assertEqual("America/Lima", self.value(other, "show timezone"))
        self.assertEqual(before + 1, self.closes())
        for _ in range(2):  # the other two are still there for whom they fit
            client = self.connect_autocommit(options="-c timezone=Asia/Tokyo")
            self.assertEqual("Asia/Tokyo", self.value(client, "show timezone"))
        self.assertEqual(before + 1, self.closes())

    def test_who_waits_gets_the_slot_of_a_server_that_does_not_fit(self):
        holders = [self.connect_autocommit(options="-c timezone=Asia/Tokyo") for _ in range(3)]
        with ThreadPoolExecutor(1) as threads:
            waits = threads.submit(self.connect_autocommit, options="-c timezone=America/Lima")
            self.wait_for(lambda: self.pooler.metric("pgweir_pool_clients", state="waiting") == 1,
                          "it waits")
            holders[0].close()
            self.assertEqual("America/Lima", self.value(waits.result(10), "show timezone"))


class StatementModeTest(PoolerCase):
    settings = {"pool": {"mode": "statement", "maxconn": 3}}

    def test_single_statements_are_served(self):
        client = self.connect_autocommit()
        for i in range(5):
            self.assertEqual(i, self.value(client, "select %s", i))

    def test_a_transaction_is_refused(self):
        client = self.connect_autocommit()
        with self.assertRaises(psycopg2.Error):
            self.rows(client, "begin")
            self.rows(client, "select 1")
        self.assertEqual([(1,)], self.pooler.query("select 1"))


if __name__ == "__main__":
    unittest.main()
