"""LISTEN in transaction mode when something goes wrong, is changed meanwhile, or is not as usual: the
listening connection is refused or killed, PostgreSQL restarts, the policy is reloaded, names and
encodings are odd."""

import os
import select
import signal
import threading
import time
import unittest

from integration.listen_test import POOL, SERVERS, Listener, ListenCase
from integration.support import wire
from integration.support.case import only_pgweir
from integration.support.postgres import DATABASE, OWNER
from integration.support.surroundings import PATIENCE
from integration.support.waiting import wait_for


@only_pgweir
class OddTest(ListenCase):
    def test_names_that_are_cut_off_or_escaped(self):
        """UNLISTEN in a transaction block names what no server listens to."""
        one = Listener(self.connect())
        names = ['"%s"' % ("ö" * 40), '"x%s"' % ("ö" * 40), "x" * 70, 'U&"d\\0061t\\+000061"']
        for name in names:
            one.run("listen " + name)
        self.is_shared()
        self.assertEqual(4, len(one.channels().split(",")), one.channels())
        for count, name in enumerate(names, 1):
            one.run("begin", "unlisten " + name, "commit")
            left = one.channels()
            self.assertEqual(4 - count, 0 if left == "none" else len(left.split(",")), name)

    def test_another_encoding_disturbs_nobody(self):
        latin = Listener(self.connect(client_encoding="LATIN1"))
        latin.run('listen "ö"')  # one byte, which is not UTF-8
        one = self.listener('"ö"', "plain")
        self.direct.run("notify \"ö\", 'ä'")
        latin.hears(("ö", "ä"))
        one.hears(("ö", "ä"))
        wait_for(lambda: self.metric("pgweir_pool_pinned_clients") == 1, "only one is pinned")
        latin.run("unlisten *")
        self.is_shared()
        self.assertNotIn("listening connection lost", self.pooler.log())

    def test_an_encoding_that_is_set_behind_listen(self):
        """What is the same in every encoding is told, however long it is and whoever says it."""
        one = self.listener("early")
        self.is_shared()
        one.run("set client_encoding to latin1")
        for length in range(0, 300, 20):
            self.notify("early", "x" * length)
            one.hears(("early", "x" * length))
        self.notify("early", "ö")
        with self.fails_with(None):
            wait_for(one.collect, "it is sent away")
        wait_for(lambda: "reason=notifications_unread" in self.pooler.log(), "it is logged")

    def test_ones_own_process_id(self):
        one = self.listener("own")
        self.is_shared()
        for _ in range(5):
            one.connection.autocommit = True
            with one.connection.cursor() as cursor:
                cursor.execute("begin")
                cursor.execute("notify own, '1'")
                cursor.execute("select pg_backend_pid()")
                (pid,) = cursor.fetchone()
                self.assertEqual([], one.connection.notifies)
                cursor.execute("commit")
            self.assertEqual([(pid, "own", "1")],
                             [(n.pid, n.channel, n.payload) for n in one.connection.notifies])
            del one.connection.notifies[:]

    def test_read_only_transactions(self):
        one = Listener(self.connect(options="-c default_transaction_read_only=on"))
        one.run("listen read_only")
        self.is_shared()
        one.run("notify read_only, '1'")
        self.assertEqual([("read_only", "1")], one.heard)
        one.heard = []
        one.run("unlisten *")
        self.assertEqual("none", one.channels())

    def test_in_functions(self):
        one = Listener(self.connect())
        for name, code in (("hears", "listen of_function"), ("deaf", "unlisten of_function")):
            one.run("create or replace function %s() returns void language plpgsql as"
                    " $$ begin %s; end $$" % (name, code))
        one.run("select hears()")
        self.is_shared()
        self.notify("of_function", "1")
        one.hears(("of_function", "1"))
        self.assertEqual("of_function", one.channels())
        one.run("select deaf()")
        self.assertEqual("none", one.channels())

    def test_unlisten_in_a_do_block(self):
        one = self.listener("a", "b")
        self.is_shared()
        one.run("do $$ begin unlisten a; end $$")
        self.assertEqual("b", one.channels())
        one.run("do $$ begin execute 'unlisten *'; end $$")
        self.assertEqual("none", one.channels())

    def test_thousands_of_channels(self):
        one = Listener(self.connect())
        many = 3000
        one.run(";".join("listen c%d" % i for i in range(many)))
        self.is_shared()
        self.notify("c0", "first")
        self.notify("c%d" % (many - 1), "last")
        one.hears(("c0", "first"), ("c%d" % (many - 1), "last"))
        one.run("unlisten c7")
        self.assertEqual(many - 1, len(one.channels().split(",")))
        one.run("unlisten *")
        self.assertEqual("none", one.channels())
        wait_for(lambda: self.metric("pgweir_listening_channels") == 0, "nothing is listened to")

    def test_discard_all_while_it_moves(self):
        for _ in range(20):
            one = self.listener("short")
            one.run("discard all", "listen longer")
            self.assertEqual("longer", one.channels())
            self.notify("short", "no")
            self.notify("longer", "yes")
            one.hears(("longer", "yes"))
            one.connection.close()
        wait_for(lambda: self.metric("pgweir_listening_channels") == 0, "nothing is listened to")

    def test_clients_that_vanish_at_any_moment(self):
        for i in range(60):
            one = Listener(self.connect())
            one.connection.autocommit = True
            cursor = one.connection.cursor()
            cursor.execute(["listen gone", "listen gone; notify gone", "begin; listen gone"][i % 3])
            if i % 2:
                cursor.execute("select 1")
            one.connection.close()
        self.is_shared()
        wait_for(lambda: self.metric("pgweir_listening_channels") == 0, "nothing is listened to")
        self.assertEqual(0, self.metric("pgweir_pool_listening_clients"))
        one = Listener(self.connect())
        for _ in range(2 * 2):
            self.assertEqual("none", one.channels())  # nor does any server


class FaultCase(ListenCase):
    """A stream of numbers is notified all along."""

    def setUp(self):
        super().setUp()
        self.told, self.stop = 0, threading.Event()

    def tell(self):
        def run():
            teller = Listener(self.postgres.connect())
            while not self.stop.is_set():
                teller.run("notify stream, '%d'" % self.told)
                self.told += 1
                time.sleep(0.0005)
            teller.connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.stop.set)

    def numbers(self, who):
        who.collect()
        return [int(payload) for channel, payload in who.heard if channel == "stream"]


@only_pgweir
class KilledTest(FaultCase):
    def test_killed_again_and_again_under_a_stream(self):
        listeners = [self.listener("stream") for _ in range(4)]
        self.is_shared()
        self.tell()
        for _ in range(8):
            before = wait_for(self.listening_process, "one listens")
            time.sleep(0.1)
            self.direct.run("select pg_terminate_backend(%d)" % before)
            for one in listeners:
                one.run("begin", "select 1", "commit", "listen more", "unlisten more", "notify more")
            wait_for(lambda: self.listening_process() not in (None, before), "another one listens")
        seen = self.told
        for one in listeners:
            wait_for(lambda: self.numbers(one)[-1:] > [seen], "it goes on")
            numbers = self.numbers(one)
            self.assertEqual(sorted(set(numbers)), numbers)  # gaps there may be, nothing else
        self.assertEqual(8, self.metric("pgweir_listen_gaps_total"))


@only_pgweir
class RefusedRequestTest(ListenCase):
    settings = dict(ListenCase.settings, workers=1, pool=dict(POOL, wait_timeout="300ms"))

    def test_hears_what_came_before_the_rest_of_it(self):
        one, two = wire.Wire(self.pooler.host, self.pooler.port), self.listener("refused")
        self.addCleanup(one.socket.close)
        one.log_in("", user=OWNER, database=DATABASE)
        one.ask("listen refused")
        self.is_shared()
        for _ in range(SERVERS):
            Listener(self.connect()).run("begin")
        one.send(wire.parse("select 1"), wire.bind(), wire.execute())
        self.assertIn(b"C53300", one.read_until("E")[-1][1])  # nobody gives up a server
        self.notify("refused", "1")
        two.hears(("refused", "1"))  # the worker has been told
        one.send(wire.SYNC)
        self.assertEqual(b"refused\0" + b"1\0", one.read_until("A")[-1][1][4:])


@only_pgweir
class UnaskableTest(ListenCase):
    """What a server listens to cannot be asked, while something else is about to move."""

    def test_goes_on_hearing(self):
        one = self.listener("kept")
        self.is_shared()
        listening = self.listening_process()
        os.kill(listening, signal.SIGSTOP)
        try:
            one.run("listen moves")  # … as soon as the listening connection has heard of it
            (pid,), = one.run("select pg_backend_pid()")
            asked = "select count(*) = 1 from pg_stat_activity where pid = %d and state = 'idle'" \
                    " and query like '%%pg_listening_channels%%'" % pid
            self.direct.run("revoke execute on function pg_listening_channels() from public")
            self.addCleanup(self.direct.run,
                            "grant execute on function pg_listening_channels() to public")
            one.run("listen stays")
            wait_for(lambda: self.direct.run(asked)[0][0], "it is asked")
        finally:
            os.kill(listening, signal.SIGCONT)
        for channel in ("kept", "moves", "stays"):
            self.notify(channel, "1")
            one.hears((channel, "1"))

    def test_nothing_is_left_of_what_was_about_to_move(self):
        one = self.listener("kept")
        self.is_shared()
        listening = self.listening_process()
        os.kill(listening, signal.SIGSTOP)
        try:
            one.run("listen moves", "set client_encoding to latin1", "listen stays")
        finally:
            os.kill(listening, signal.SIGCONT)
        for channel in ("moves", "stays", "kept"):
            self.notify(channel, "1")
            one.hears((channel, "1"))
        one.connection.close()
        wait_for(lambda: self.metric("pgweir_listening_channels") == 0, "nothing is listened to")


@only_pgweir
class TimeoutTest(ListenCase):
    settings = dict(ListenCase.settings, pool=dict(POOL, minconn=0))

    def setUp(self):
        super().setUp()
        for name in ("idle_session_timeout", "statement_timeout"):
            self.direct.run("alter role %s set %s = '300ms'" % (OWNER, name))
            self.addCleanup(self.direct.run, "alter role %s reset %s" % (OWNER, name))

    def test_idles_for_as_long_as_anybody_listens(self):
        one = self.listener("rare", options="-c idle_session_timeout=0")
        self.is_shared()
        before = self.listening_process()
        self.connect()
        wait_for(lambda: self.pooler.metric("pgweir_client_closes_total", user=OWNER,
                                            reason="idle_session_timeout") == 1, "others are ended")
        time.sleep(0.6)
        self.assertEqual(before, self.listening_process())
        self.assertEqual(0, self.metric("pgweir_listen_gaps_total"))
        self.notify("rare", "1")
        one.hears(("rare", "1"))


@only_pgweir
class RestartTest(FaultCase):
    def test_postgres_restarts(self):
        postgres = self.postgres
        one = self.listener("stream", "other")
        self.is_shared()
        postgres.restart()
        self.direct = Listener(postgres.connect())
        wait_for(self.listening_process, "it listens again", 30)
        wait_for(lambda: "notifications may have been lost" in self.pooler.log(), "it is logged")
        self.notify("other", "1")
        one.hears(("other", "1"))
        self.assertEqual("other,stream", one.channels())


@only_pgweir
class ReloadTest(ListenCase):
    def test_another_policy(self):
        early = self.listener("news")
        self.is_shared()
        for policy, pinned in (("pin", 1), ("virtualise", 0), ("reject", 0)):
            self.pooler.reload(pool={"session_state": {"listen": policy}})
            wait_for(lambda: [row["value"] for row in self.pooler.console("show config")
                              if row["key"] == "pool.session_state.listen"] == [policy], "reloaded")
            self.notify("news", policy)
            early.hears(("news", policy))  # whoever listens goes on
            late = Listener(self.connect())
            if policy == "reject":
                with self.fails_with("0A000", "LISTEN"):
                    late.run("listen late")
            else:
                late.run("listen late")
                wait_for(lambda: self.metric("pgweir_pool_pinned_clients") == pinned, "pinned or not")
                self.notify("late", "1")
                late.hears(("late", "1"))
            late.connection.close()
        self.assertEqual("news", early.channels())
        early.run("unlisten *")
        self.is_shared()
        self.assertEqual("none", early.channels())


@only_pgweir
class ShutdownTest(ListenCase):
    def test_ends_promptly_and_says_so(self):
        listeners = [self.listener("shut") for _ in range(3)]
        self.is_shared()
        began = time.monotonic()
        self.pooler.process.send_signal(signal.SIGTERM)
        for one in listeners:
            with self.fails_with("57P01"):
                wait_for(lambda: (select.select([one.connection], [], [], 0.1),
                                  one.connection.poll())[1] == "never", "it is told")
        self.pooler.process.wait(20 * PATIENCE)
        self.assertLess(time.monotonic() - began, 5 * PATIENCE)
        self.assertEqual(0, self.pooler.process.returncode)


@only_pgweir
class StatementModeTest(ListenCase):
    settings = dict(ListenCase.settings, pool=dict(POOL, mode="statement"))

    def test_listens_all_the_same(self):
        one, two = self.listener("a", "b"), self.listener("a")
        self.is_shared()
        self.notify("a", "1")
        one.hears(("a", "1"))
        two.hears(("a", "1"))
        one.run("notify a, '2'")
        self.assertEqual([("a", "2")], one.heard)
        one.heard = []
        one.run("unlisten a")
        self.assertEqual("b", one.channels())


@only_pgweir
class RefusedTest(ListenCase):
    """The role may have one connection: there is none for listening."""

    settings = dict(ListenCase.settings, workers=1,
                    pool=dict(POOL, minconn=1, maxconn=1, wait_timeout="2s"))

    def setUp(self):
        super().setUp()
        self.direct.run("alter role %s connection limit 1" % OWNER)
        self.addCleanup(self.direct.run, "alter role %s connection limit -1" % OWNER)

    def test_listens_on_its_own_server_until_there_is_room(self):
        one = self.listener("scarce")
        self.notify("scarce", "1")
        one.hears(("scarce", "1"))
        one.run("notify scarce, '2'")
        one.hears(("scarce", "2"))
        time.sleep(1)
        self.assertLess(self.pooler.log().count("\n"), 60, self.pooler.log()[-3000:])
        self.assertEqual(1, self.metric("pgweir_pool_pinned_clients"))
        self.direct.run("alter role %s connection limit -1" % OWNER)
        self.is_shared()
        self.notify("scarce", "3")
        one.hears(("scarce", "3"))


if __name__ == "__main__":
    unittest.main()
