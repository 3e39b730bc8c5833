"""What PostgreSQL says without being asked: notices, notifications and changed parameters reach the
client they are for, at the place where a direct connection would have them, also while it is idle."""

import select
import struct
import threading
import unittest

from integration.support import wire
from integration.support.case import only_pgweir
from integration.support.peers import (RAW_USER, allow_raw_users, kinds, rows_of,
                                       wait_until_given_back)
from integration.support.postgres import DATABASE
from integration.support.raw_case import RawCase
from integration.support.waiting import wait_for


def extended(sql, *values):
    return wire.parse(sql) + wire.bind("", "", values) + wire.describe() + wire.execute()


def notice(words):
    return "do $$ begin raise notice '%s'; end $$" % words


def notification(body):
    """(process id, channel, payload) of a NotificationResponse."""
    channel, payload, _ = body[4:].split(b"\0")
    return struct.unpack("!i", body[:4])[0], channel.decode(), payload.decode()


def texts(messages):
    """The words of the notices among some messages, in their order, each with what surrounds it."""
    return [wire.error_fields(body)["M"] if kind == "N" else kind for kind, body in messages]


class AsynchronousCase(RawCase):
    settings = dict(RawCase.settings,
                    pool={"minconn": 1, "maxconn": 4, "wait_timeout": "30s"})

    def tearDown(self):
        super().tearDown()
        self.doCleanups()
        wait_until_given_back(self.pooler)

    def nothing_comes(self, *clients, seconds=0.2):
        """For so long nobody is told anything."""
        readable, _, _ = select.select([client.socket for client in clients], [], [], seconds)
        told = [client.socket.recv(1000) for client in clients if client.socket in readable]
        self.assertEqual([], told + [client.buffer for client in clients if client.buffer])


# Played with PostgreSQL and through the daemon: what comes must be the same, byte by byte.
CONVERSATIONS = {
    "notices in one Query": [wire.query(";".join(notice("n%d" % i) for i in range(3)) + "; select 1"),
                             "Z"],
    "notices in a pipeline": [
        b"".join(extended(notice("n%d" % i)) + extended("select %d" % i) for i in range(10))
        + wire.SYNC, "Z"],
    "notices in a pipeline of Syncs": [
        b"".join(extended(notice("n%d" % i)) + wire.SYNC + wire.query("select %d" % i)
                 for i in range(10)), "Z" * 20],
    "warnings of the extended protocol": [
        extended("commit") + wire.SYNC + extended("begin") + extended("begin") + wire.SYNC
        + extended("rollback") + wire.SYNC, "ZZZ"],
    "a notice, then an error": [wire.query(notice("before") + "; select 1/0"), "Z",
                                extended(notice("before")) + extended("select 1/0")
                                + extended(notice("never")) + wire.SYNC, "Z"],
    "client_min_messages": [
        wire.query("set client_min_messages = error"), "Z", wire.query(notice("not told")), "Z",
        wire.query("set client_min_messages = debug1"), "Z",
        wire.query("do $$ begin raise debug 'told'; end $$"), "Z",
        wire.query("reset client_min_messages"), "Z", wire.query(notice("told")), "Z",
        wire.query("do $$ begin raise debug 'not told'; end $$"), "Z"],
    "client_min_messages for a transaction": [
        wire.query("begin; set local client_min_messages = error"), "Z",
        wire.query(notice("not told")), "Z", wire.query("commit"), "Z", wire.query(notice("told")), "Z"],
    "a long notice": [wire.query("do $$ begin raise notice '%', repeat('n', 100000); end $$"), "Z"],
    "parameters": [
        wire.query("set datestyle = 'German, DMY'"), "Z", wire.query("select now()::date - now()::date"),
        "Z", wire.query("set timezone = 'Asia/Tokyo'; set intervalstyle = 'iso_8601'"), "Z",
        extended("set client_encoding = 'LATIN1'") + extended("select 1") + wire.SYNC, "Z",
        wire.query("reset all"), "Z", wire.query("set application_name = 'changed'"), "Z"],
    "parameters in a transaction that is rolled back": [
        wire.query("begin; set timezone = 'Asia/Tokyo'"), "Z", wire.query("show timezone"), "Z",
        wire.query("rollback"), "Z", wire.query("show timezone"), "Z"],
    "SET LOCAL of a parameter": [
        wire.query("begin; set local timezone = 'Asia/Tokyo'; select 1"), "Z", wire.query("commit"),
        "Z", wire.query("show timezone"), "Z"],
    "a parameter set inside a function": [
        wire.query("select set_config('timezone', 'Asia/Tokyo', true)"), "Z",
        wire.query("begin; select set_config('timezone', 'Asia/Seoul', false)"), "Z",
        wire.query("rollback"), "Z"],
    "parameters between the answers of a pipeline": [
        b"".join(extended("set timezone = 'Etc/GMT+%d'" % i) + extended("show timezone")
                 for i in range(1, 6)) + wire.SYNC, "Z"],
    "a parameter set to what it is": [wire.query("set timezone = 'UTC'"), "Z"],
    "discard all": [wire.query("set timezone = 'Asia/Tokyo'"), "Z", wire.query("discard all"), "Z",
                    wire.query("show timezone"), "Z"],
    "a notice among the rows": [
        wire.query("create or replace function told(i int) returns int language plpgsql as"
                   " $$ begin raise notice 'row %', i; return i; end $$"), "Z",
        wire.query("select told(i) from generate_series(1, 20) i"), "Z",
        wire.query("copy (select told(i) from generate_series(1, 5) i) to stdout"), "Z"],
}


@only_pgweir
class AtTheRightPlaceTest(AsynchronousCase):
    def play(self, where, steps):
        raw = self.raw(where)
        came = []
        for step in steps:
            if isinstance(step, bytes):
                raw.send(step)
            else:
                for kind in step:
                    came += raw.read_until(kind)
        self.nothing_comes(raw, seconds=0.05)
        raw.socket.close()
        return came

    def test_notices_and_parameters_as_in_a_direct_connection(self):
        for name, steps in CONVERSATIONS.items():
            with self.subTest(name=name):
                direct, pooled = (self.play(where, steps) for where in (self.postgres, self.pooler))
                self.assertEqual(texts(direct), texts(pooled))
                self.assertEqual(direct, pooled)

    def test_notices_of_many_clients_on_few_servers(self):
        wrong = []

        def run(number):
            try:
                raw = self.raw()
                for i in range(100):
                    words = "%d/%d" % (number, i)
                    raw.send(extended(notice(words)), extended("select '%s'" % words), wire.SYNC)
                    messages = raw.read_until("Z")
                    if texts(messages) != ["1", "2", "n", words, "C", "1", "2", "T", "D", "C", "Z"] \
                            or rows_of(messages) != [words]:
                        wrong.append((words, texts(messages)))
            except Exception as error:  # pylint: disable=broad-except
                wrong.append(repr(error))
        threads = [threading.Thread(target=run, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong[:3])

    def test_what_one_client_has_set_is_told_to_no_other(self):
        one, other = self.raw(), self.raw()
        one.ask("set timezone = 'Asia/Tokyo'")
        one.ask("set client_min_messages = error")
        for i in range(10):
            self.assertEqual("TDCZ", kinds(other.ask("show timezone")))
            self.assertEqual(["told", "C", "Z"], texts(other.ask(notice("told"))))
            self.assertEqual("TDCZ", kinds(one.ask("show timezone")), i)
            self.assertEqual(["Asia/Tokyo"], rows_of(one.ask("show timezone")))
            self.assertEqual(["C", "Z"], texts(one.ask(notice("not told"))))


@only_pgweir
class NotificationTest(AsynchronousCase):
    def listener(self, *channels, **options):
        raw = self.raw(**options)
        for channel in channels:
            self.assertEqual("CZ", kinds(raw.ask("listen " + channel)))
        return raw

    def test_an_idle_listener_is_told_at_once(self):
        listener, other, bystander = self.listener("gym"), self.raw(), self.raw()
        bystander.ask("select 1")
        for i in range(50):
            other.ask("notify gym, 'm%d'" % i)
            kind, body = listener.read_message()
            self.assertEqual(("A", "gym", "m%d" % i), (kind,) + notification(body)[1:])
        self.nothing_comes(listener, other, bystander)

    def test_the_process_id_is_the_notifiers(self):
        listener, other = self.listener("gym"), self.raw()
        other.ask("begin")
        pid = int(rows_of(other.ask("select pg_backend_pid()"))[0])
        other.ask("notify gym")
        self.nothing_comes(listener, seconds=0.1)  # before the commit
        other.ask("commit")
        self.assertEqual((pid, "gym", ""), notification(listener.read_message()[1]))

    def test_one_that_notifies_itself_is_told_before_ready_for_query(self):
        direct, pooled = self.raw(self.postgres), self.raw()
        for raw in (direct, pooled):
            raw.ask("listen gym")
            self.assertEqual("CAZ", kinds(raw.ask("notify gym, 'self'")))
            self.assertEqual("CZ", kinds(raw.ask("begin")))
            self.assertEqual("CZ", kinds(raw.ask("notify gym, 'in a transaction'")))
            self.assertEqual("TDCZ", kinds(raw.ask("select 1")))
            self.assertEqual("CAZ", kinds(raw.ask("commit")))
            self.assertEqual("CZ", kinds(raw.ask("begin; notify gym; rollback"))[-2:])
            raw.send(extended("notify gym, 'batch'"), extended("select 1"), wire.SYNC)
            self.assertEqual("12nC12TDCAZ", kinds(raw.read_until("Z")))
            raw.ask("unlisten gym")
            self.assertEqual("CZ", kinds(raw.ask("notify gym")))
            self.nothing_comes(raw, seconds=0.05)
            raw.socket.close()

    def test_not_inside_a_transaction_but_after_it(self):
        listener, other = self.listener("gym"), self.raw()
        listener.ask("begin")
        other.ask("notify gym, 'later'")
        self.nothing_comes(listener, seconds=0.1)
        self.assertEqual("TDCZ", kinds(listener.ask("select 1")))
        self.assertEqual("CAZ", kinds(listener.ask("commit")))

    def test_many_listeners_each_hears_its_own_channels(self):
        listeners = [self.listener("all_of_them", "number_%d" % i) for i in range(3)]
        other = self.raw()
        for round_number in range(10):
            for i in range(3):
                other.ask("notify number_%d, '%d'" % (i, round_number))
            other.ask("notify all_of_them, '%d'" % round_number)
        for i, listener in enumerate(listeners):
            heard = [notification(listener.read_message()[1])[1:] for _ in range(20)]
            expected = []
            for round_number in range(10):
                expected += [("number_%d" % i, str(round_number)),
                             ("all_of_them", str(round_number))]
            self.assertEqual(expected, heard)
        self.nothing_comes(other, *listeners)

    def test_a_flood_of_notifications_to_one_that_does_not_read(self):
        listener, other = self.listener("gym", receive_buffer=4096), self.raw()
        payload = "p" * 7000
        for i in range(300):
            other.ask("notify gym, '%05d%s'" % (i, payload))
        for i in range(300):
            self.assertEqual("%05d%s" % (i, payload), notification(listener.read_message()[1])[2])
        self.assertEqual("TDCZ", kinds(listener.ask("select 1")))

    def test_the_next_client_hears_nothing(self):
        for _ in range(6):
            self.listener("gym").socket.close()
        wait_until_given_back(self.pooler)
        clients = [self.raw() for _ in range(4)]
        for client in clients:
            client.ask("begin")  # each has a server of its own
        other = self.raw(self.postgres)
        other.ask("notify gym, 'for nobody'")
        for client in clients:
            self.assertEqual("CZ", kinds(client.ask("commit")))
            self.assertEqual([], rows_of(client.ask("select pg_listening_channels()")))
        self.nothing_comes(*clients)


@only_pgweir
class TwoDatabasesTest(AsynchronousCase):
    def setUp(self):
        self.two = None

    @classmethod
    def setUpClass(cls):
        postgres_port = {"host": "127.0.0.1"}
        cls.settings = dict(AsynchronousCase.settings, databases={"second": postgres_port})
        super(AsynchronousCase, cls).setUpClass()
        allow_raw_users(cls.postgres)
        cls.postgres.query("create database second")
        cls.addClassCleanup(cls.postgres.query, "drop database second with (force)")
        cls.pooler.reload(databases={"second": {"port": cls.postgres.port}})

    def test_pgdog_1285_the_same_channel_in_two_databases(self):
        def connect(database):
            raw = wire.Wire(self.pooler.host, self.pooler.port)
            self.addCleanup(raw.socket.close)
            raw.log_in("", user=RAW_USER, database=database)
            return raw
        first, second = connect(DATABASE), connect("second")
        for raw in (first, second):
            raw.ask("listen gym")
        for database, told, not_told in ((DATABASE, first, second), ("second", second, first)):
            connect(database).ask("notify gym, '%s'" % database)
            self.assertEqual(("gym", database), notification(told.read_message()[1])[1:])
            self.nothing_comes(not_told)


@only_pgweir
class WhileIdleTest(AsynchronousCase):
    """A client that is idle and pinned holds a server, and is told what that server says."""

    def test_a_pinned_idle_client_is_told_that_its_server_ends(self):
        raw = self.raw()
        raw.ask("create temp table gym (a int)")
        pid = int(rows_of(raw.ask("select pg_backend_pid()"))[0])
        self.postgres.query("select pg_terminate_backend(%s)", pid)
        messages = raw.read_to_end()
        self.assertEqual("57P01", wire.error_fields(messages[0][1])["C"])
        self.assertEqual("E", kinds(messages))

    def test_an_idle_client_that_is_not_pinned_is_told_nothing(self):
        raw = self.raw()
        raw.ask("select 1")
        wait_until_given_back(self.pooler, clients=1)
        before = self.pooler.metric("pgweir_server_closes_total")
        pids = self.postgres.backends()
        # The listening connection, if others have left one, is beside the pool.
        beside = self.pooler.metric("pgweir_listening_connections")
        for pid in pids:
            self.postgres.query("select pg_terminate_backend(%s)", pid)
        wait_for(lambda: self.pooler.metric("pgweir_server_closes_total") >= before + len(pids) - beside,
                 "the daemon has seen them go")
        self.assertEqual(["still here"], rows_of(raw.ask("select 'still here'")))

    def test_in_an_idle_transaction_that_times_out(self):
        for where in (self.postgres, self.pooler):
            raw = self.raw(where)
            raw.ask("begin; set local idle_in_transaction_session_timeout = 200")
            messages = raw.read_to_end()
            self.assertEqual("E", kinds(messages))
            self.assertEqual("25P03", wire.error_fields(messages[0][1])["C"])

    def test_a_parameter_changed_for_everybody_reaches_a_pinned_idle_client(self):
        # PostgreSQL tells it with the next ReadyForQuery, also to a session that was idle.
        direct, pinned = self.raw(self.postgres), self.raw()
        for raw in (direct, pinned):
            raw.ask("listen gym")
        self.addCleanup(self.postgres.query, "select pg_reload_conf()")
        self.addCleanup(self.postgres.query, "alter system reset intervalstyle")
        self.postgres.query("alter system set intervalstyle = 'iso_8601'")
        self.postgres.query("select pg_reload_conf()")
        for raw in (direct, pinned):
            told = wait_for(lambda raw=raw: [message for message in raw.ask("select 1")
                                             if message[0] == "S"], "it is told")
            self.assertEqual([("S", b"IntervalStyle\0iso_8601\0")], told)


class OneServerTest(AsynchronousCase):
    settings = dict(AsynchronousCase.settings, pool={"minconn": 1, "maxconn": 1})

    def test_a_parameter_changed_for_everybody_reaches_all_that_share_a_server(self):
        # A server says it once; whoever comes to it later is told as well.
        clients = [self.raw() for _ in range(3)]
        direct = self.raw(self.postgres)
        self.addCleanup(self.postgres.query, "select pg_reload_conf()")
        self.addCleanup(self.postgres.query, "alter system reset intervalstyle")
        self.postgres.query("alter system set intervalstyle = 'iso_8601'")
        self.postgres.query("select pg_reload_conf()")
        wait_for(lambda: "S" in kinds(direct.ask("select 1")), "it is in force")
        for raw in clients:
            # The server may hear of it a little later than the other one.
            told = wait_for(lambda raw=raw: [message for message in raw.ask("select 1")
                                             if message[0] == "S"], "it is told")
            self.assertEqual([("S", b"IntervalStyle\0iso_8601\0")], told)
            self.assertEqual(["1"], rows_of(raw.ask("select 1")))
            wait_until_given_back(self.pooler, clients=3)


if __name__ == "__main__":
    unittest.main()
