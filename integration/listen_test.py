"""LISTEN in transaction mode: clients listen through one server connection for all of them, and hear
what a session of their own would: nothing is lost, nothing comes twice. The daemon hands out another
server at every boundary where it may (--rotate-servers)."""

import os
import random
import resource
import select
import subprocess
import threading
import time
import unittest

from integration.support import wire
from integration.support.case import PoolerCase, new_pooler, only_pgweir, shared_postgres
from integration.support.postgres import DATABASE, OWNER, POSTGRES_BIN
from integration.support.surroundings import PATIENCE
from integration.support.waiting import wait_for

SERVERS = 2
POOL = {"mode": "transaction", "minconn": SERVERS, "maxconn": SERVERS, "wait_timeout": "20s"}
CHANNELS = "select coalesce(string_agg(c, ',' order by c), 'none') from pg_listening_channels() c"
MANY_CLIENTS = int(os.environ.get("PGWEIR_LISTENERS", "300"))


class Listener:
    """A psycopg2 client, each statement a transaction of its own, and what it hears."""

    def __init__(self, connection):
        self.connection = connection
        connection.autocommit = True
        self.heard = []

    def run(self, *statements):
        """The last one's rows."""
        with self.connection.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)
            rows = cursor.fetchall() if cursor.description else []
        self.collect()
        return rows

    def channels(self):
        return self.run(CHANNELS)[0][0]

    def collect(self):
        self.connection.poll()
        self.heard += [(n.channel, n.payload) for n in self.connection.notifies]
        del self.connection.notifies[:]

    def hears(self, *expected):
        """Exactly these, in this order, before long."""
        heard = self.hear(len(expected))
        assert heard == list(expected), (heard[:20], expected[:20])

    def hears_in_any_order(self, *expected):
        heard = self.hear(len(expected))
        assert sorted(heard) == sorted(expected), (heard, expected)

    def hear(self, count, seconds=10):
        deadline = time.monotonic() + seconds * PATIENCE
        while len(self.heard) < count and time.monotonic() < deadline:
            select.select([self.connection], [], [], 0.2)
            self.collect()
        heard, self.heard = self.heard, []
        return heard


class Teller:
    """Notifies one number after another from a thread of its own for as long as a test is at it, but
    no more than a few for each step() of the test's. One that goes ahead as fast as it can makes a
    hundred thousand while the test gets no processor, and a listener that reads 16 KiB at a time
    needs longer for those than anybody waits, or is closed because it does not read. The last one
    comes at the end, behind all that the test has done, however slow the thread was."""

    AT_MOST = 50

    def __init__(self, listener, channel):
        self.listener, self.channel = listener, channel
        self.told, self.may_tell, self.stopped = 0, 0, False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with self.changed:
            self.stopped = True
            self.changed.notify()
        self.thread.join()
        self.tell()
        self.listener.connection.close()

    def step(self):
        with self.changed:
            self.may_tell = self.AT_MOST
            self.changed.notify()

    def run(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.stopped or self.may_tell > 0)
                if self.stopped:
                    return
                self.may_tell -= 1
            self.tell()

    def tell(self):
        self.listener.run("notify %s, '%d'" % (self.channel, self.told))
        self.told += 1


class ListenCase(PoolerCase):
    settings = {"pool": POOL, "workers": 2, "rotate": True, "auth": {"method": "trust"}}

    def setUp(self):
        self.direct = Listener(self.postgres.connect())
        self.addCleanup(self.direct.connection.close)

    def listener(self, *channels, **options):
        who = Listener(self.connect(**options))
        for channel in channels:
            who.run("listen " + channel)
        return who

    def notify(self, channel, payload=""):
        self.direct.run("select pg_notify('%s', '%s')" % (channel, payload))

    def hears_no_more(self, who, channel="the_end"):
        """Nothing has come and nothing is on its way."""
        who.run("listen " + channel)
        self.notify(channel, "end")
        who.hears((channel, "end"))

    def metric(self, name):
        return self.pooler.metric(name, database=DATABASE, user=OWNER)

    def is_shared(self, meanwhile=lambda: None):
        """Nobody keeps a server: whatever has been listened to has moved."""
        wait_for(lambda: (meanwhile(), not self.pooler.console("show leases"))[1],
                 "nobody keeps a server")

    def listening_process(self):
        rows = [row for row in self.pooler.console("show servers") if row["state"] == "listening"]
        return rows[0]["remote_pid"] if rows else None


@only_pgweir
class ListenTest(ListenCase):
    def test_listeners_share_the_servers(self):
        listeners = [self.listener("shared", "mine_%d" % i) for i in range(8)]
        self.is_shared()
        self.notify("shared", "all")
        for i, one in enumerate(listeners):
            one.hears(("shared", "all"))
            self.notify("mine_%d" % i, str(i))
        for i, one in enumerate(listeners):
            one.hears(("mine_%d" % i, str(i)))
            self.assertEqual("mine_%d,shared" % i, one.channels())
        self.is_shared()
        self.assertEqual(1, self.metric("pgweir_listening_connections"))
        self.assertEqual(8, self.metric("pgweir_pool_listening_clients"))

    def test_a_notification_right_behind_listen_is_heard_once(self):
        for i in range(30):
            one = self.listener("prompt")
            for _ in range(random.randrange(4)):
                self.notify("prompt", "noise")
            self.notify("prompt", str(i))
            wait_for(lambda: (one.collect(), one.heard[-1:] == [("prompt", str(i))])[1], "it comes")
            self.assertLessEqual(len(one.heard), 4)
            one.connection.close()

    def test_nothing_is_lost_or_doubled_while_it_moves(self):
        listeners = []
        with Teller(Listener(self.postgres.connect()), "stream") as teller:
            for _ in range(20):
                teller.step()
                listeners.append(self.listener("stream"))
            self.is_shared(meanwhile=teller.step)
            for one in listeners:
                for sql in ("select 1", "begin", "select 2", "commit", "listen other"):
                    teller.step()
                    one.run(sql)
        told = teller.told
        last = ("stream", str(told - 1))
        for one in listeners:
            wait_for(lambda: (one.collect(), one.heard[-1:] == [last])[1],
                     lambda: "the last one, %s, comes behind %s" % (last, one.heard[-1:]))
            numbers = [int(payload) for _, payload in one.heard]
            self.assertEqual(list(range(numbers[0], told)), numbers)

    def test_rolled_back(self):
        one = self.listener("kept")
        one.run("begin", "listen lost", "unlisten kept", "rollback")
        self.notify("lost")
        self.notify("kept", "1")
        one.hears(("kept", "1"))
        self.assertEqual("kept", one.channels())

    def test_savepoints(self):
        one = self.listener("a", "b")
        one.run("begin", "savepoint s", "unlisten a", "listen c", "rollback to s", "unlisten b",
                "savepoint t", "listen d", "release t", "commit")
        self.assertEqual("a,d", one.channels())
        for channel in "abcd":
            self.notify(channel, "1")
        one.hears_in_any_order(("a", "1"), ("d", "1"))  # d may be on its way still
        one.run("begin", "unlisten *", "savepoint s", "listen e", "unlisten *", "rollback to s",
                "listen f", "commit")
        self.assertEqual("f", one.channels())
        one.run("begin; unlisten f; savepoint s; listen g; rollback to s; commit")
        self.assertEqual("none", one.channels())

    def test_errors_undo(self):
        one = self.listener("kept")
        for batch in ("unlisten kept; select 1/0", "begin; unlisten kept; select 1/0; commit"):
            with self.fails_with("22012"):
                one.run(batch)
            one.run("rollback")
        one.run("begin")
        with self.fails_with("22012"):
            one.run("unlisten kept", "select 1/0")
        one.run("commit")
        with self.fails_with("42601"):
            one.run("unlisten")
        self.assertEqual("kept", one.channels())
        one.run("begin; unlisten kept; rollback")
        self.assertEqual("kept", one.channels())
        self.notify("kept", "1")
        one.hears(("kept", "1"))

    def test_unlisten(self):
        one = self.listener("a", "b", "c")
        one.run("unlisten b")
        self.assertEqual("a,c", one.channels())
        one.run("begin", "unlisten c", "commit")
        self.notify("b")
        self.notify("c")
        self.notify("a", "1")
        one.hears(("a", "1"))
        for end in ("unlisten *", "discard all"):
            one.run("listen a", "listen z", end)
            self.assertEqual("none", one.channels())
            self.notify("a")
            self.hears_no_more(one)
            one.run("unlisten *")
        self.is_shared()
        wait_for(lambda: self.metric("pgweir_listening_channels") == 0, "nothing is listened to")

    def test_names(self):
        names = ['Quoted Name', 'with "quotes"', "söndertecken", "x" * 63, "semi;colon", "a.b"]
        one = Listener(self.connect())
        for name in names:
            one.run('listen "%s"' % name.replace('"', '""'))
        one.run("LISTEN Folded")
        self.is_shared()
        for name in names + ["folded"]:
            with self.direct.connection.cursor() as cursor:
                cursor.execute("select pg_notify(%s, 'p')", (name,))
        one.hears(*[(name, "p") for name in names + ["folded"]])
        one.run("begin", *['unlisten "%s"' % name.replace('"', '""') for name in names], "commit")
        self.assertEqual("folded", one.channels())

    def test_large_payloads(self):
        one = self.listener("large")
        self.is_shared()
        payloads = [str(i) * 7999 for i in range(10)]
        for payload in payloads:
            self.notify("large", payload)
        one.hears(*[("large", payload) for payload in payloads])

    def test_not_inside_a_transaction(self):
        one = self.listener("later")
        self.is_shared()
        one.run("begin", "select 1")
        self.notify("later", "1")
        self.notify("later", "2")
        for _ in range(20):
            one.run("select 1")
        self.assertEqual([], one.heard)
        one.run("commit")
        one.hears(("later", "1"), ("later", "2"))

    def test_ones_own(self):
        one = self.listener("own", "other")
        self.is_shared()
        for statements in (["notify own, '1'"], ["begin", "notify own, '1'", "notify own, '1'", "commit"],
                           ["select pg_notify('own', '1')"]):
            one.run(*statements)
            self.assertEqual([("own", "1")], one.heard, statements)  # before ReadyForQuery
            one.heard = []
        one.run("begin", "notify own, 'never'", "rollback")
        self.hears_no_more(one)

    def test_ones_own_while_what_one_listens_to_changes(self):
        one = self.listener("own", "other")
        self.is_shared()
        for statements in (["unlisten own; listen own; notify own, '1'"], ["unlisten other; notify own, '1'"],
                           ["listen other; notify own, '1'"], ["unlisten other", "listen other", "notify own, '1'"],
                           ["begin", "listen third", "notify own, '1'", "commit"]):
            for _ in range(10):
                with self.subTest(statements=statements), one.connection.cursor() as cursor:
                    for sql in statements:
                        cursor.execute(sql)
                    # What has come before ReadyForQuery, and nothing that is read later.
                    heard = [(n.channel, n.payload) for n in one.connection.notifies]
                    del one.connection.notifies[:]
                    self.assertEqual([("own", "1")], heard)
        self.hears_no_more(one)

    def test_process_id_is_that_of_the_server_that_notified(self):
        one = self.listener("pid")
        self.is_shared()
        (pid,), = self.direct.run("select pg_backend_pid()")
        self.notify("pid", "1")
        select.select([one.connection], [], [], 10)
        one.connection.poll()
        self.assertEqual([pid], [n.pid for n in one.connection.notifies])

    def test_psycopg2_without_autocommit(self):
        one = self.listener()
        one.connection.autocommit = False
        with one.connection.cursor() as cursor:
            cursor.execute("listen plain")
            one.connection.commit()
            self.notify("plain", "1")
            one.hears(("plain", "1"))
            cursor.execute("unlisten plain")
            one.connection.rollback()
            self.notify("plain", "2")
            one.hears(("plain", "2"))
            cursor.execute("unlisten plain")
            one.connection.commit()
            self.notify("plain", "3")
            cursor.execute(CHANNELS)
            self.assertEqual("none", cursor.fetchone()[0])
            one.connection.commit()
        one.connection.autocommit = True
        self.hears_no_more(one)

    def test_a_transaction_right_behind_an_unlisten_finds_nothing_of_ours(self):
        one = self.listener()
        for _ in range(40):
            one.run("listen plain")
            wait_for(lambda: not self.pooler.metric("pgweir_pool_pinned_clients"), "the client to be free")
            one.connection.autocommit = False
            with one.connection.cursor() as cursor:
                cursor.execute("unlisten plain")
                one.connection.commit()
                cursor.execute(CHANNELS)
                self.assertEqual("none", cursor.fetchone()[0])
            one.connection.commit()
            one.connection.autocommit = True

    def test_psql(self):
        script = "listen psql_1;\nnotify psql_1, 'a';\nbegin;\nnotify psql_1, 'b';\ncommit;\n" \
                 "unlisten psql_1;\nnotify psql_1, 'c';\nselect 1;\n"

        def said(host, port, user):
            done = subprocess.run(
                [os.path.join(POSTGRES_BIN, "psql"), "-X", "-q", "-A", "-t", "-h", host,
                 "-p", str(port), "-U", user, DATABASE],
                input=script, capture_output=True, text=True, timeout=60)
            lines = done.stdout.splitlines() + done.stderr.splitlines()
            return [line.split(" received from")[0] for line in lines]

        expected = said(self.postgres.directory, self.postgres.port, "postgres")
        self.assertEqual(3, len(expected), expected)
        for _ in range(5):
            self.assertEqual(expected, said(self.pooler.host, self.pooler.port, OWNER))

    def test_pinned_by_something_else(self):
        one = self.listener("pinned")
        one.run("create temp table t (a int)")
        self.notify("pinned", "1")
        one.hears(("pinned", "1"))
        one.run("listen second", "notify second, 'x'")
        one.hears(("second", "x"))
        one.run("discard all")
        self.assertEqual("none", one.channels())

    def test_in_a_do_block(self):
        one = Listener(self.connect())
        one.run("do $$ begin execute 'listen done'; end $$")
        self.is_shared()
        self.notify("done", "1")
        one.hears(("done", "1"))

    def test_other_encodings_keep_their_server(self):
        one = Listener(self.connect(client_encoding="LATIN1"))
        one.run("listen latin")
        self.direct.run("notify latin, 'ö'")
        one.hears(("latin", "ö"))
        wait_for(lambda: self.metric("pgweir_pool_pinned_clients") == 1, "it is pinned")

    def test_a_client_that_leaves(self):
        one, two = self.listener("first", "second"), self.listener("second")
        self.is_shared()
        one.connection.close()
        wait_for(lambda: self.metric("pgweir_listening_channels") == 1, "one channel is left")
        self.notify("second", "1")
        two.hears(("second", "1"))
        two.connection.close()
        wait_for(lambda: self.metric("pgweir_listening_channels") == 0, "none is left")

    def test_the_listening_connection_is_lost(self):
        one, two = self.listener("again"), self.listener("again", "more")
        self.is_shared()
        gaps = self.metric("pgweir_listen_gaps_total")
        before = self.listening_process()
        self.direct.run("select pg_terminate_backend(%d)" % before)
        wait_for(lambda: self.listening_process() not in (None, before), "another one")
        wait_for(lambda: self.metric("pgweir_listen_gaps_total") == gaps + 1, "a gap is counted")
        wait_for(lambda: "notifications may have been lost" in self.pooler.log(), "it is logged")
        self.notify("again", "1")
        for who in (one, two):
            who.hears(("again", "1"))
        one.run("listen new")
        self.notify("new", "1")
        wait_for(lambda: (one.collect(), ("new", "1") in one.heard)[1], "it hears of what is new")

    def test_in_pipelines(self):
        one = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(one.socket.close)
        one.log_in("", user=OWNER, database=DATABASE)

        def batch(sql):
            return wire.parse(sql) + wire.bind() + wire.execute() + wire.SYNC

        for form in (batch, wire.query):
            one.send(*[form("listen p%d" % i) for i in range(20)], form("begin"), form("unlisten p1"),
                     form("unlisten p2"), form("commit"), form("begin"), form("unlisten p3"),
                     form("rollback"), form("unlisten p4"), form("notify p5, 'x'"), form("select 1"))
            told, ready = [], 0
            while ready < 30:
                kind, body = one.read_message()
                ready += kind == "Z"
                self.assertNotEqual("E", kind, body)
                if kind == "A":
                    told.append((ready, body[4:]))
            self.assertEqual([(28, b"p5\0x\0")], told)  # in front of the 29th
            for channel in ("p1", "p2", "p4", "p3"):
                self.notify(channel, "y")
            self.assertEqual("p3\0y\0".encode(), one.read_until("A")[-1][1][4:])
            one.send(form("unlisten *"))
            one.read_until("Z")

    def test_asked_for_by_many_at_once(self):
        """As many as there may be, on one connection; PGWEIR_LISTENERS=5000 for more."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(MANY_CLIENTS, files // 2 - 100)
        clients = []
        for i in range(count):
            client = wire.Wire(self.pooler.host, self.pooler.port, timeout=120 * PATIENCE)
            self.addCleanup(client.socket.close)
            client.log_in("", user=OWNER, database=DATABASE)
            clients.append(client)
        for i, client in enumerate(clients):
            client.send(wire.query("listen many"), wire.query("listen many_%d" % (i % 100)))
        for client in clients:
            client.read_until("Z")
            client.read_until("Z")
        wait_for(lambda: self.metric("pgweir_pool_pinned_clients") == 0, "nobody is pinned", 120)
        self.assertEqual(1, self.metric("pgweir_listening_connections"))
        self.assertEqual(101, self.metric("pgweir_listening_channels"))
        self.notify("many", "all")
        for client in clients:
            self.assertEqual(b"many\0all\0", client.read_until("A")[-1][1][4:])


@only_pgweir
class SlowReaderTest(ListenCase):
    def test_is_told_to_go_and_stops_nobody(self):
        slow, quick = self.listener("flood"), self.listener("flood")
        self.is_shared()
        slow.run("begin")
        count = 300
        with self.direct.connection.cursor() as cursor:
            for i in range(count):
                cursor.execute("select pg_notify('flood', %s)", (str(i) + "x" * 7900,))
                quick.collect()
        wait_for(lambda: (quick.collect(), len(quick.heard) == count)[1], "the other one hears all")
        with self.fails_with(None):
            slow.run("select 1")
        wait_for(lambda: "reason=notifications_unread" in self.pooler.log(), "it is logged")


@only_pgweir
class PinPolicyTest(ListenCase):
    settings = dict(ListenCase.settings, pool=dict(POOL, session_state={"listen": "pin"}))

    def test_a_listener_keeps_its_server_until_it_discards_all(self):
        one = self.listener("kept")
        wait_for(lambda: self.metric("pgweir_pool_pinned_clients") == 1, "it is pinned")
        self.notify("kept", "1")
        one.hears(("kept", "1"))
        self.assertEqual(0, self.metric("pgweir_listening_connections"))
        one.run("discard all")
        self.is_shared()


if __name__ == "__main__":
    unittest.main()
