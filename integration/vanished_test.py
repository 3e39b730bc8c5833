"""Clients that vanish in every situation: in transactions, COPYs, pipelines, large messages and
answers, queues. Locks and session state go with them, servers and descriptors come back, memory does
not grow, nobody else notices and the daemon is idle afterwards."""

import os
import random
import socket
import threading
import time
import unittest

from integration.support import wire
from integration.support.abandoned import STREAMS, AbandonedCase, extended, insert, q, with_tag
from integration.support.case import only_pgweir
from integration.support.peers import (RAW_USER, WAYS_TO_LEAVE, assert_idle, kinds, memory_bytes,
                                       memory_tells, raw_client, reset, rows_of,
                                       wait_until_given_back)
from integration.support.postgres import DATABASE
from integration.support.waiting import wait_for


@only_pgweir
class VanishedTest(AbandonedCase):
    def leave_in_each_way(self, *packets, until=None, receive_buffer=None):
        for _ in range(2):
            for leave in WAYS_TO_LEAVE.values():
                raw = raw_client(self.pooler, receive_buffer=receive_buffer)
                raw.send(*packets)
                if until is not None:
                    raw.read_until(until)
                leave(raw.socket)

    def test_locks_go_with_a_transaction(self):
        self.leave_in_each_way(q("begin; lock table abandoned; " + insert("x")
                                 + "; select pg_advisory_xact_lock(77)"), until="Z")
        self.expect_all_well()
        self.assertEqual({}, self.committed())

    def test_a_failed_transaction(self):
        self.leave_in_each_way(q("begin"), q("select 1/0"), until="E")
        self.expect_all_well()

    def test_in_a_copy_in(self):
        self.leave_in_each_way(q("copy abandoned from stdin"), until="G")
        self.leave_in_each_way(q("copy abandoned from stdin"), wire.message("d", b"x\ty\n" * 1000),
                               until="G")
        self.leave_in_each_way(q("copy abandoned from stdin"),
                               wire.message("d", b"x\ty\n" * 1000)[:-1], until="G")
        self.leave_in_each_way(extended("copy abandoned from stdin"), wire.FLUSH, until="G")
        self.leave_in_each_way(extended("copy abandoned from stdin"), wire.SYNC, until="G")
        self.leave_in_each_way(extended("copy abandoned from stdin"), wire.SYNC, wire.SYNC,
                               wire.message("d", b"x\ty\n"), wire.SYNC, until="G")
        self.expect_all_well()
        self.assertEqual({}, self.committed())

    def test_in_a_copy_out_and_a_large_answer(self):
        out = "select repeat('x', 1000) from generate_series(1, 20000)"
        self.leave_in_each_way(q("copy (%s) to stdout" % out), until="H", receive_buffer=4096)
        self.leave_in_each_way(q(out), until="D", receive_buffer=4096)
        self.leave_in_each_way(q("select repeat('y', 20000000)"), until="T", receive_buffer=4096)
        self.leave_in_each_way(extended(out), wire.SYNC, until="D", receive_buffer=4096)
        self.leave_in_each_way(extended(out), wire.FLUSH, until="D", receive_buffer=4096)
        self.expect_all_well(30)

    def test_in_a_pipeline(self):
        one = extended("select repeat('p', 500)")
        self.leave_in_each_way((one + wire.SYNC) * 500)
        self.leave_in_each_way(one * 500)
        self.leave_in_each_way(one * 500 + wire.SYNC + q("select 1") * 500)
        self.leave_in_each_way((one + extended("select 1/0") + wire.SYNC) * 200, until="E")
        self.leave_in_each_way(extended("select 1/0") + one * 200, until="E")
        self.leave_in_each_way(wire.parse("select 1") + wire.FLUSH, until="1")
        self.expect_all_well(30)

    def test_in_a_large_message(self):
        text = ("insert into abandoned values ('%s', 'x')" % ("t" * 1_000_000)).encode() + b"\0"
        for packet in (wire.message("Q", text), wire.message("P", b"\0" + text + b"\0\0"),
                       wire.parse("insert into abandoned values ($1, 'x')")
                       + wire.bind("", "", [b"b" * 3_000_000]) + wire.execute() + wire.SYNC):
            for cut in (1, 4, 5, 6, 100, 8191, 8192, 8193, 262_143, 262_144, 262_145, 700_000,
                        len(packet) - 1):
                for way in ("RST", "FIN"):
                    raw = raw_client(self.pooler)
                    raw.send(packet[:cut])
                    WAYS_TO_LEAVE[way](raw.socket)
        self.expect_all_well()
        self.assertEqual({}, self.committed())

    def test_yugabyte_33914_33166_nothing_of_a_session_is_left(self):
        states = ["set work_mem = '7MB'", "set weir.custom = 'mine'", "prepare mine as select 1",
                  "listen mine", "select pg_advisory_lock(1234)", "set role %s" % RAW_USER,
                  "create temp table mine (a int)", "declare mine cursor with hold for select 1",
                  "set search_path to pg_catalog", "set session authorization default",
                  "set default_transaction_read_only = on; commit"]
        for state in states:
            for around in ("%s", "begin; %s", "begin; savepoint s; %s", "begin; %s; commit"):
                for way, leave in WAYS_TO_LEAVE.items():
                    raw = raw_client(self.pooler)
                    raw.ask(around % state)
                    if way == "Terminate":
                        raw.ask("select 1/0")
                    leave(raw.socket)
            raw = raw_client(self.pooler)  # as a batch whose Sync never comes
            raw.send(wire.parse("begin") + wire.bind() + wire.execute() + wire.SYNC
                     + wire.parse(state.split(";")[0]) + wire.bind() + wire.execute() + wire.FLUSH)
            raw.read_until("C")
            reset(raw.socket)
        self.expect_all_well()
        for _ in range(6):
            raw = raw_client(self.pooler)
            self.assertEqual("CZ", kinds(raw.ask("begin; commit"))[-2:])
            self.assertEqual(["off"], rows_of(raw.ask("show default_transaction_read_only")))
            self.assertEqual("EZ", kinds(raw.ask("execute mine")))
            raw.socket.close()

    def test_a_long_query_does_not_keep_its_server_for_ever(self):
        clients = [raw_client(self.pooler) for _ in range(3)]
        for raw in clients:
            raw.send(q("select pg_sleep(600)"))
        wait_for(lambda: self.postgres.query(
            "select 1 from pg_stat_activity where query = 'select pg_sleep(600)' group by 1"
            " having count(*) = 3"), "all three sleep")
        for raw, leave in zip(clients, WAYS_TO_LEAVE.values()):
            leave(raw.socket)
        self.expect_all_well(40)

    def test_a_query_that_takes_its_time_is_finished(self):
        # PostgreSQL finishes what it was sent; so does the daemon, within reason.
        for i, leave in enumerate(WAYS_TO_LEAVE.values()):
            raw = raw_client(self.pooler)
            raw.send(q(insert("s").replace("{tag}", "%05d" % i).replace(
                "values ('%05d', 's')" % i, "select '%05d', 's' from pg_sleep(0.5)" % i)))
            wait_for(lambda: self.postgres.query(
                "select 1 from pg_stat_activity where query like '%%pg_sleep(0.5)%%'"
                " and state = 'active' and pid <> pg_backend_pid()"), "it runs")
            leave(raw.socket)
            wait_until_given_back(self.pooler)
        self.assertEqual({"00000": "s", "00001": "s", "00002": "s"}, self.committed())

    def test_while_it_waits_for_a_server(self):
        holders = [raw_client(self.pooler) for _ in range(3)]
        for holder in holders:
            holder.ask("begin")
        for way, leave in WAYS_TO_LEAVE.items():
            for _ in range(5):
                raw = raw_client(self.pooler)
                raw.send(q("select 1"))
                if way == "Terminate":
                    raw.send(wire.TERMINATE)
                    raw.socket.close()
                else:
                    leave(raw.socket)
        for holder in holders:
            self.assertEqual("TDCZ", kinds(holder.ask("select 1")))
            holder.ask("commit")
            holder.socket.close()
        self.expect_all_well()

    def test_odyssey_1499_everybody_is_served_after_the_faults(self):
        # Clients that stay go on while others vanish in every way and at random bytes; afterwards
        # each of them still gets its own answers: no wake-up was lost.
        chance = random.Random(1499)
        streams = [b"".join(packet for packet, _ in pieces) for pieces in STREAMS.values()]
        stayers = [raw_client(self.pooler) for _ in range(12)]
        for round_number in range(300):
            raw = raw_client(self.pooler)
            stream = with_tag(chance.choice(streams), 99_999)
            raw.send(stream[:chance.randrange(len(stream))])
            for stayer in chance.sample(stayers, 3):
                stayer.send(q("select %d" % round_number))
                stayer.expected = getattr(stayer, "expected", []) + [str(round_number)]
            chance.choice(list(WAYS_TO_LEAVE.values()))(raw.socket)
        for stayer in stayers:
            found = []
            for _ in getattr(stayer, "expected", []):
                found += rows_of(stayer.read_until("Z"))
            self.assertEqual(getattr(stayer, "expected", []), found)
        for stayer in stayers:
            self.assertEqual(["alive"], rows_of(stayer.ask("select 'alive'")))
            stayer.socket.close()
        self.expect_all_well()

    def test_pg_doorman_3_5_2_odyssey_1225_proxysql_5767_no_permit_is_lost_and_the_bound_holds(self):
        # Two workers, three servers, twenty clients: servers move between workers all the time.
        def run(number):
            chance = random.Random(number)
            try:
                for i in range(60):
                    raw = raw_client(self.pooler)
                    for _ in range(chance.randrange(1, 5)):
                        nonce = "%d/%d" % (number, i)
                        if rows_of(raw.ask("select '%s'" % nonce)) != [nonce]:
                            wrong.append(nonce)
                    if chance.random() < 0.3:
                        raw.send(q("begin; select 1"))
                    chance.choice(list(WAYS_TO_LEAVE.values()))(raw.socket)
            except Exception as error:  # pylint: disable=broad-except
                wrong.append((number, repr(error)))
        wrong = []
        threads = [threading.Thread(target=run, args=(i,)) for i in range(20)]
        for thread in threads:
            thread.start()
        most = 0
        while any(thread.is_alive() for thread in threads):
            most = max(most, len(self.backends_of_raw_user()))
            time.sleep(0.02)
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong[:5])
        self.assertLessEqual(most, 3)
        self.expect_all_well()  # which takes all three servers at once

    def test_odyssey_769_yugabyte_29591_pgagroal_110_idle_after_every_fault(self):
        def leave(way, *packets, until=None):
            raw = raw_client(self.pooler, receive_buffer=4096)
            raw.send(*packets)
            if until is not None:
                raw.read_until(until)
            way(raw.socket)
            return raw

        def stay(connection):
            pass

        def half_close(connection):
            connection.shutdown(socket.SHUT_WR)

        def both_gone(connection):
            self.postgres.query("select pg_terminate_backend(pid) from pg_stat_activity"
                                " where usename = %s", RAW_USER)
            reset(connection)

        out = q("select repeat('x', 30000000)")
        faults = {
            "half-closed while its query runs": lambda: leave(half_close, q("select pg_sleep(1.5)")),
            "half-closed with an answer it does not read": lambda: leave(half_close, out, until="T"),
            "half-closed in a transaction": lambda: leave(half_close, q("begin"), until="Z"),
            "half-closed in a COPY": lambda: leave(half_close, q("copy abandoned from stdin"),
                                                   until="G"),
            "half-closed inside a message": lambda: leave(half_close, q("select 1")[:-3]),
            "an answer that is not read": lambda: leave(stay, out, until="T"),
            "a pipeline that is not read": lambda: leave(stay, out * 20),
            "a message that does not go on": lambda: leave(stay, q("s" * 100_000)[:-10]),
            "reset in a COPY": lambda: leave(reset, q("copy abandoned from stdin"), until="G"),
            "reset in an answer": lambda: leave(reset, out, until="T"),
            "Terminate in a pipeline": lambda: leave(stay, out, wire.TERMINATE, out),
            "both sides gone": lambda: leave(both_gone, q("begin"), until="Z"),
        }
        for name, fault in faults.items():
            with self.subTest(name=name):
                raw = fault()
                # Nothing can be waited for here: what goes wrong goes on and on.
                assert_idle(self, self.pooler)
                raw.socket.close()
                wait_until_given_back(self.pooler, 20)
                assert_idle(self, self.pooler)

    def test_pgagroal_72_nobody_elses_descriptor_is_closed(self):
        def descriptors():
            return len(os.listdir("/proc/%d/fd" % self.pooler.process.pid))
        stayers = [raw_client(self.pooler) for _ in range(8)]
        pids = []
        for stayer in stayers[:2]:
            stayer.ask("begin; set local weir.custom = 'still mine'")
            pids += rows_of(stayer.ask("select pg_backend_pid()"))
        for stayer in stayers[2:]:
            stayer.ask("select 1")
        before = descriptors()
        # Descriptors' numbers are used again at once by whoever comes next.
        for i in range(1500):
            probe = socket.create_connection((self.pooler.host, self.pooler.port))
            if i % 3 == 0:
                probe.send(wire.startup(user=RAW_USER, database=DATABASE)[:i % 60])
            if i % 2:
                reset(probe)
            else:
                probe.close()
            if i % 10 == 0:
                raw = raw_client(self.pooler)
                raw.send(q("select 1"))
                list(WAYS_TO_LEAVE.values())[i % 3](raw.socket)
        for stayer, pid in zip(stayers, pids):
            self.assertEqual(["still mine"], rows_of(stayer.ask("show weir.custom")))
            self.assertEqual([pid], rows_of(stayer.ask("select pg_backend_pid()")))
            stayer.ask("commit")
        for i, stayer in enumerate(stayers):
            self.assertEqual([str(i)], rows_of(stayer.ask("select %d" % i)))
        wait_for(lambda: descriptors() <= before + 3,
                 lambda: "descriptors are closed: %d, once %d" % (descriptors(), before))
        for stayer in stayers:
            stayer.socket.close()
        self.expect_all_well()

    def backends_of_raw_user(self):
        return self.postgres.query(
            "select pid from pg_stat_activity where usename = %s and client_addr is not null",
            RAW_USER)

    @memory_tells
    def test_odyssey_1515_pgcat_70_pgbouncer_1519_churn_leaves_no_memory(self):
        def churn(count):
            for i in range(count):
                probe = socket.create_connection((self.pooler.host, self.pooler.port))
                packet = wire.startup(user=RAW_USER, database=DATABASE, weir="x" * 3000)
                probe.send(packet[:i % len(packet)])  # never logged in
                reset(probe)
                raw = raw_client(self.pooler)
                raw.ask("select '%d' /* %s */" % (i, "s" * (i % 5000)))
                raw.send(q("begin; select %d" % i))
                list(WAYS_TO_LEAVE.values())[i % 3](raw.socket)
            wait_until_given_back(self.pooler)
        churn(400)
        before = memory_bytes(self.pooler.process)
        churn(2000)
        grown = memory_bytes(self.pooler.process) - before
        self.assertLess(grown, 2_000_000, "%d bytes per client" % (grown / 2000))


@only_pgweir
class AfterATimeoutTest(AbandonedCase):
    settings = dict(AbandonedCase.settings,
                    pool={"minconn": 1, "maxconn": 1, "wait_timeout": "200ms"})

    def test_pg_doorman_1_8_3_nothing_of_a_request_outlives_its_timeout(self):
        requests = [q("select 'stale'"), extended("select 'stale'") + wire.SYNC,
                    extended("select 'stale'") * 3 + wire.SYNC,
                    wire.parse("select 'stale'", "named") + wire.bind("", "named") + wire.execute()
                    + wire.SYNC,
                    wire.query("select 'stale' /* %s */" % ("c" * 50_000)),
                    wire.parse("select length($1)") + wire.bind("", "", [b"v" * 400_000])
                    + wire.execute() + wire.SYNC]
        holder, waiter = raw_client(self.pooler), raw_client(self.pooler)
        for number, request in enumerate(requests):
            holder.ask("begin")
            waiter.send(request)
            messages = waiter.read_until("Z")
            self.assertEqual("EZ", kinds(messages), number)
            self.assertEqual("53300", wire.error_fields(messages[0][1])["C"])
            holder.ask("commit")
            waiter.send(q("select 'fresh %d'" % number))
            self.assertEqual(["fresh %d" % number], rows_of(waiter.read_until("Z")))
            # The same, with the next request already on its way.
            holder.ask("begin")
            waiter.send(request + q("select 'also too late'"))
            self.assertEqual("EZEZ", kinds(waiter.read_until("Z") + waiter.read_until("Z")))
            holder.ask("commit")
            self.assertEqual(["again"], rows_of(waiter.ask("select 'again'")))
        holder.socket.close()
        waiter.socket.close()
        self.expect_all_well()


if __name__ == "__main__":
    unittest.main()
