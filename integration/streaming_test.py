"""Streaming and back-pressure: values and COPYs far larger than the daemon's memory pass through it
with little of it, whoever is slow delays nobody else, and nobody is cut off for being slow.

PGWEIR_FULL_SIZE=1 moves 1 GB values and 10 GB COPYs; without it less, for a test of a minute."""

import os
import selectors
import struct
import threading
import time
import unittest

from integration.support import wire
from integration.support.case import PoolerCase, only_pgweir
from integration.support.peers import (PeakMemory, RAW_USER, allow_raw_users, assert_idle, kinds,
                                       memory_bytes, raw_client, read_ready, reset, rows_of,
                                       wait_until_given_back)
from integration.support.pgweir import ADMIN, users
from integration.support.postgres import OWNER
from integration.support.surroundings import PATIENCE
from integration.support.waiting import wait_for

FULL_SIZE = bool(os.environ.get("PGWEIR_FULL_SIZE"))
VALUE_BYTES = 1_000_000_000 if FULL_SIZE else 64_000_000
COPY_BYTES = 10_000_000_000 if FULL_SIZE else 300_000_000
# One read buffer of 256 KiB per direction, as ARCHITECTURE.md has it, and what the allocator rounds.
BYTES_PER_CONNECTION = 640 * 1024
ALLOCATOR_BYTES = 512 * 1024


def report(what, **figures):
    """One line on stdout, for whoever runs this at full size."""
    if FULL_SIZE:
        print(what, " ".join("%s=%s" % item for item in figures.items()), flush=True)


class StreamingCase(PoolerCase):
    settings = {"auth": {"method": "trust"}, "users": users(OWNER, RAW_USER, ADMIN),
                "log": {"level": "warning"},
                "pool": {"minconn": 1, "maxconn": 4, "wait_timeout": "60s"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        allow_raw_users(cls.postgres)

    def raw(self, **options):
        raw = raw_client(self.pooler, **dict(dict(timeout=120), **options))
        self.addCleanup(raw.socket.close)
        return raw


class Receiver:
    """Reads from a raw connection as fast as Python can, into one buffer."""

    def __init__(self, raw):
        self.raw = raw
        self.buffer = bytearray(1 << 22)

    def exactly(self, count):
        """The next `count` bytes (at most the buffer)."""
        into = memoryview(self.buffer)[:count]
        early = self.raw.buffer[:count]
        into[:len(early)] = early
        self.raw.buffer = self.raw.buffer[count:]
        at = len(early)
        while at < count:
            got = self.raw.socket.recv_into(into[at:])
            if not got:
                raise wire.Closed
            at += got
        return into

    def all_equal(self, count, byte):
        """Are the next `count` bytes all this one?"""
        same = True
        while count:
            part = self.exactly(min(count, len(self.buffer)))
            same = same and bytes(part).count(byte) == len(part)
            count -= len(part)
        return same


@only_pgweir
class LargeValueTest(StreamingCase):
    def read_value(self, byte):
        raw = self.raw()
        raw.send(wire.query("select repeat('%s', %d)" % (byte.decode(), VALUE_BYTES)))
        self.assertEqual("T", raw.read_message()[0])
        kind, length = struct.unpack("!ci", raw.read_exactly(5))
        self.assertEqual((b"D", VALUE_BYTES + 10), (kind, length))
        self.assertEqual(struct.pack("!hi", 1, VALUE_BYTES), raw.read_exactly(6))
        self.assertTrue(Receiver(raw).all_equal(VALUE_BYTES, byte))
        self.assertEqual("CZ", kinds(raw.read_until("Z")))

    def write_value(self, byte, kind):
        """As the parameter of a Bind."""
        raw = self.raw()
        raw.send(wire.parse("select length($1::%s)" % kind))
        head = b"\0\0" + struct.pack("!hhhi", 1, 1, 1, VALUE_BYTES)  # binary: no \x.. for bytea
        tail = struct.pack("!h", 0)
        raw.send(b"B" + struct.pack("!i", 4 + len(head) + VALUE_BYTES + len(tail)) + head)
        chunk = byte * (1 << 22)
        left = VALUE_BYTES
        while left:
            part = min(left, len(chunk))
            raw.socket.sendall(memoryview(chunk)[:part])
            left -= part
        raw.send(tail, wire.execute(), wire.SYNC)
        messages = raw.read_until("Z")
        self.assertEqual("12DCZ", kinds(messages), messages[-2])
        self.assertEqual([str(VALUE_BYTES)], rows_of(messages))

    def expect_little_memory(self, what, action, connections=1):
        self.pooler.query("select 1")
        began = time.monotonic()
        with PeakMemory(self.pooler.process) as memory:
            action()
        took = time.monotonic() - began
        report(what, bytes=VALUE_BYTES * connections, seconds="%.1f" % took,
               rss_growth_kib=memory.grown // 1024)
        self.assertLess(memory.grown, connections * BYTES_PER_CONNECTION + ALLOCATOR_BYTES)

    def test_a_value_is_read(self):
        self.expect_little_memory("value out", lambda: self.read_value(b"r"))

    def test_a_text_is_written(self):
        self.expect_little_memory("text in", lambda: self.write_value(b"t", "text"))

    def test_a_bytea_is_written(self):
        self.expect_little_memory("bytea in", lambda: self.write_value(b"b", "bytea"))

    @unittest.skipIf(FULL_SIZE, "four values of 1 GB are more than PostgreSQL's machine may have")
    def test_four_at_once(self):
        def action():
            threads = [threading.Thread(target=self.trying(self.read_value, errors, b"%c" % letter))
                       for letter in b"wxyz"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        errors = []
        self.expect_little_memory("four values out", action, connections=4)
        self.assertEqual([], errors)

    @staticmethod
    def trying(action, errors, *arguments):
        def run():
            try:
                action(*arguments)
            except BaseException as error:  # pylint: disable=broad-except
                errors.append(repr(error))
        return run


# A row of a COPY: a number of ten digits, a tab, filler, a newline. One CopyData each.
ROW_BYTES = 65_536
ROWS = COPY_BYTES // ROW_BYTES
FILLER = b"f" * (ROW_BYTES - 12)
FRAME = b"d" + struct.pack("!i", ROW_BYTES + 4)


@only_pgweir
class LargeCopyTest(StreamingCase):
    def expect_little_memory(self, what, action):
        self.pooler.query("select 1")
        began = time.monotonic()
        with PeakMemory(self.pooler.process) as memory:
            action()
        took = time.monotonic() - began
        report(what, bytes=ROWS * ROW_BYTES, seconds="%.1f" % took,
               mb_per_second="%.0f" % (ROWS * ROW_BYTES / took / 1e6),
               rss_growth_kib=memory.grown // 1024)
        if PATIENCE == 1:  # else a sanitizer keeps what was freed
            self.assertLess(memory.grown, BYTES_PER_CONNECTION + ALLOCATOR_BYTES)

    def copy_out(self):
        raw = self.raw()
        raw.send(wire.query("copy (select lpad(i::text, 10, '0'), repeat('f', %d)"
                            " from generate_series(1, %d) i) to stdout" % (len(FILLER), ROWS)))
        self.assertEqual("H", raw.read_message()[0])
        receiver = Receiver(raw)
        frame_bytes = len(FRAME) + ROW_BYTES
        at_once = len(receiver.buffer) // frame_bytes
        number = 0
        while number < ROWS:
            count = min(at_once, ROWS - number)
            part = bytes(receiver.exactly(count * frame_bytes))
            for i in range(count):
                number += 1
                frame = part[i * frame_bytes:(i + 1) * frame_bytes]
                self.assertTrue(frame.startswith(FRAME + b"%010d\t" % number), frame[:40])
                self.assertTrue(frame.endswith(FILLER + b"\n"), number)
        messages = raw.read_until("Z")
        self.assertEqual("cCZ", kinds(messages))
        self.assertEqual(b"COPY %d\0" % ROWS, messages[1][1])

    def copy_in(self):
        # PostgreSQL looks at every row and keeps none.
        raw = self.raw()
        raw.ask("create table if not exists sink (number int, filler text)")
        raw.ask("drop sequence if exists arrived; create sequence arrived cache 1000000000")
        raw.send(wire.query("copy sink from stdin where number <> nextval('arrived')"
                            " or length(filler) <> %d or filler !~ '^f*$'" % len(FILLER)
                            if not FULL_SIZE else
                            "copy sink from stdin where number <> nextval('arrived')"
                            " or length(filler) <> %d" % len(FILLER)))
        self.assertEqual("G", raw.read_message()[0])
        at_once = 32
        for first in range(1, ROWS + 1, at_once):
            raw.socket.sendall(b"".join(
                FRAME + b"%010d\t" % number + FILLER + b"\n"
                for number in range(first, min(first + at_once, ROWS + 1))))
        raw.send(wire.message("c"))
        messages = raw.read_until("Z")
        self.assertEqual("CZ", kinds(messages), messages[0])
        self.assertEqual(b"COPY 0\0", messages[0][1])
        self.assertEqual(["1"], rows_of(raw.ask("select (nextval('arrived') > %d)::int" % ROWS)))

    def test_copy_out(self):
        self.expect_little_memory("COPY out", self.copy_out)

    def test_copy_in(self):
        self.expect_little_memory("COPY in", self.copy_in)


@only_pgweir
class SlowReaderTest(StreamingCase):
    ANSWER_BYTES = 40_000_000

    def latency(self, seconds):
        """(99th percentile, count) of short queries of four clients on the same pool."""
        took, errors = [], []
        stop_at = time.monotonic() + seconds

        def run():
            client = self.raw()
            try:
                while time.monotonic() < stop_at:
                    began = time.monotonic()
                    answer = rows_of(client.ask("select 'quick'"))
                    took.append(time.monotonic() - began)
                    if answer != ["quick"]:
                        errors.append(answer)
            except Exception as error:  # pylint: disable=broad-except
                errors.append(repr(error))
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], errors)
        return sorted(took)[len(took) * 99 // 100], len(took)

    def test_a_client_that_reads_1_kB_per_second_delays_nobody(self):
        before, _ = self.latency(2)
        # Three of the four servers, each blocked by a client that hardly reads.
        slow = []
        for i in range(3):
            raw = self.raw(receive_buffer=4096)
            raw.send(wire.query("select repeat('%d', %d)" % (i, self.ANSWER_BYTES)))
            slow.append(raw)
        stop = threading.Event()

        def trickle():
            while not stop.wait(1):
                for raw in slow:
                    raw.buffer += raw.socket.recv(1024)
        reader = threading.Thread(target=trickle)
        memory = memory_bytes(self.pooler.process)
        reader.start()
        try:
            during, count = self.latency(8)
        finally:
            stop.set()
            reader.join()
        report("p99", before_ms="%.2f" % (before * 1e3), during_ms="%.2f" % (during * 1e3))
        self.assertGreater(count, 100)
        self.assertLess(during, max(20 * before, 0.2 * PATIENCE))
        if PATIENCE == 1:  # else a sanitizer keeps what was freed
            self.assertLess(memory_bytes(self.pooler.process) - memory,
                            4 * BYTES_PER_CONNECTION + ALLOCATOR_BYTES)
        # Nobody was cut off: what is left is all there, now that they read.
        for i, raw in enumerate(slow):
            self.assertEqual("T", raw.read_message()[0])
            self.assertEqual(b"D", raw.read_exactly(11)[:1])
            self.assertTrue(Receiver(raw).all_equal(self.ANSWER_BYTES, b"%d" % i))
            self.assertEqual("CZ", kinds(raw.read_until("Z")))

    def test_pg_doorman_3_6_5_a_large_row_and_a_disconnect_pin_no_server(self):
        for _ in range(3):
            slow = []
            for _ in range(4):
                raw = self.raw(receive_buffer=4096)
                raw.send(wire.query("begin; select repeat('z', 30000000)"))
                raw.read_exactly(3000)
                slow.append(raw)
            for raw in slow:
                reset(raw.socket)
            wait_until_given_back(self.pooler)
        self.assertEqual([(1,)], self.pooler.query("select 1"))
        assert_idle(self, self.pooler)


@only_pgweir
class PipelineTest(StreamingCase):
    """Clients that write much before they read anything. A kernel's buffers take tens of megabytes."""

    def test_3000_pipelined_queries_before_reading_extended(self):
        raw = self.raw()
        one = wire.parse("select $1::int") + wire.bind("", "", [b"%d"]) + wire.execute()
        raw.send(b"".join(wire.parse("select $1::int") + wire.bind("", "", [b"%d" % i])
                          + wire.execute() + wire.SYNC for i in range(3000)))
        messages = read_ready(raw, 3000)
        self.assertEqual("12DCZ" * 3000, kinds(messages))
        self.assertEqual([str(i) for i in range(3000)], rows_of(messages))
        raw.send(b"".join(wire.parse("select $1::int") + wire.bind("", "", [b"%d" % i])
                          + wire.execute() for i in range(3000)), wire.SYNC)
        messages = read_ready(raw, 1)
        self.assertEqual("12DC" * 3000 + "Z", kinds(messages))
        self.assertEqual([str(i) for i in range(3000)], rows_of(messages))
        del one

    def test_3000_pipelined_queries_before_reading_simple(self):
        raw = self.raw()
        raw.send(b"".join(wire.query("select %d" % i) for i in range(3000)))
        messages = read_ready(raw, 3000)
        self.assertEqual("TDCZ" * 3000, kinds(messages))
        self.assertEqual([str(i) for i in range(3000)], rows_of(messages))

    def test_3000_pipelined_queries_of_many_clients_on_few_servers(self):
        wrong = []

        def run(number):
            try:
                raw = self.raw()
                raw.send(b"".join(wire.query("select '%d/%d'" % (number, i)) for i in range(3000)))
                rows = rows_of(read_ready(raw, 3000))
                if rows != ["%d/%d" % (number, i) for i in range(3000)]:
                    wrong.append((number, len(rows), rows[:3]))
            except Exception as error:  # pylint: disable=broad-except
                wrong.append((number, repr(error)))
        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong)

    def write_until_stuck(self, raw, packets):
        """Writes what can be written without reading; (bytes not written, how many were). Stuck is
        who could not write for a second."""
        raw.socket.setblocking(False)
        view = memoryview(packets)
        at = 0
        with selectors.DefaultSelector() as selector:
            selector.register(raw.socket, selectors.EVENT_WRITE)
            while at < len(view) and selector.select(1.0 * PATIENCE):
                try:
                    at += raw.socket.send(view[at:at + 1_000_000])
                except BlockingIOError:
                    pass
        raw.socket.settimeout(120)
        return view[at:], at

    def check_duplex(self, packets, expected, answers, **options):
        """Writes until all buffers are full in both directions, then reads while a thread goes on
        writing. `expected` are the rows, `answers` the ReadyForQuerys."""
        raw = self.raw(**options)
        rest, written = self.write_until_stuck(raw, packets)
        self.assertGreater(len(rest), 0, "nothing was blocked: %d bytes went through" % written)
        self.assertEqual([(1,)], self.pooler.query("select 1"))  # others are not
        writer = threading.Thread(target=lambda: raw.socket.sendall(rest))
        writer.start()
        try:
            found = []
            for number in range(answers):
                messages = raw.read_until("Z")
                found += rows_of(messages)
                if found[-1:] != [expected(number)]:
                    self.fail("answer %d is %r" % (number, found[-1:]))
                found = []
        finally:
            writer.join(30)
        self.assertEqual("TDCZ", kinds(raw.ask("select 1")))

    def test_both_sides_blocked_simple_odyssey_1459_1475_supavisor_993(self):
        count, width = 3000, 20_000
        packets = b"".join(wire.query("select repeat('%05d', %d) /* %s */" % (
            i, width // 5, "c" * 40_000)) for i in range(count))
        self.check_duplex(packets, lambda i: "%05d" % i * (width // 5), count, send_buffer=65536,
                          receive_buffer=65536)

    def test_both_sides_blocked_extended_odyssey_1459_1475_supavisor_993(self):
        count, width = 3000, 40_000
        packets = b"".join(
            wire.parse("select $1::text") + wire.bind("", "", [b"%05d" % i * (width // 5)])
            + wire.execute() + wire.SYNC for i in range(count))
        self.check_duplex(packets, lambda i: "%05d" % i * (width // 5), count, send_buffer=65536,
                          receive_buffer=65536)

    def test_both_sides_blocked_with_every_size_of_record(self):
        # Around the sizes of the daemon's buffers and of what it looks at.
        for size in (1, 4091, 8186, 8187, 8192, 16_384, 65_536, 262_139, 262_144, 300_000, 1_000_000):
            with self.subTest(size=size):
                count = max(20, min(20_000, 30_000_000 // size))
                packets = b"".join(
                    wire.parse("select $1::text") + wire.bind("", "", [b"%d" % (i % 10) * size])
                    + wire.execute() + wire.SYNC for i in range(count))
                raw = self.raw(receive_buffer=65_536, send_buffer=65_536)
                rest, _ = self.write_until_stuck(raw, packets) if count > 1000 or size > 100_000 \
                    else (memoryview(packets), 0)
                writer = threading.Thread(target=lambda raw=raw, rest=rest: raw.socket.sendall(rest))
                writer.start()
                for i in range(count):
                    self.assertEqual(["%d" % (i % 10) * size], rows_of(raw.read_until("Z")))
                writer.join()

    def test_a_copy_in_both_directions_at_once(self):
        # A pipeline of COPY out, not read, while more is written.
        raw = self.raw()
        count = 200
        packets = b"".join(wire.query("copy (select repeat('%d', 500000)) to stdout /* %s */" % (
            i % 10, "c" * 600_000)) for i in range(count))
        rest, _ = self.write_until_stuck(raw, packets)
        self.assertGreater(len(rest), 0)
        writer = threading.Thread(target=lambda: raw.socket.sendall(rest))
        writer.start()
        for i in range(count):
            messages = raw.read_until("Z")
            self.assertEqual("HdcCZ", kinds(messages))
            self.assertEqual(b"%d" % (i % 10) * 500_000 + b"\n", messages[1][1])
        writer.join()


@only_pgweir
class MemoryReturnsTest(StreamingCase):
    # A statement so large pins its client to a server.
    settings = dict(StreamingCase.settings, pool={"minconn": 1, "maxconn": 30})
    CLIENTS = 24
    MESSAGE_BYTES = 16 << 20

    def test_pg_doorman_3_6_3_one_16_MB_message_of_many_clients_and_memory_returns(self):
        clients = [self.raw() for _ in range(self.CLIENTS)]
        for client in clients:
            client.ask("select 1")
        before = memory_bytes(self.pooler.process)
        value = b"v" * self.MESSAGE_BYTES
        packets = {
            "Query": (wire.query("select length('%s')" % value.decode()), "TDCZ"),
            "Bind": (wire.parse("select length($1::text)") + wire.bind("", "", [value])
                     + wire.execute() + wire.SYNC, "12DCZ"),
            "Parse": (wire.parse("select length('%s')" % value.decode()) + wire.bind()
                      + wire.execute() + wire.SYNC, "12DCZ"),
        }
        largest = 0
        for name, (packet, expected) in packets.items():
            for client in clients:
                client.send(packet)
                messages = client.read_until("Z")
                self.assertEqual(expected, kinds(messages), name)
                self.assertEqual([str(self.MESSAGE_BYTES)], rows_of(messages))
                largest = max(largest, memory_bytes(self.pooler.process))
        for client in clients:
            client.send(wire.query("select repeat('x', %d)" % self.MESSAGE_BYTES))
            self.assertEqual("T", client.read_message()[0])
            client.read_exactly(11)
            self.assertTrue(Receiver(client).all_equal(self.MESSAGE_BYTES, b"x"))
            self.assertEqual("CZ", kinds(client.read_until("Z")))
        report("after 16 MB messages", clients=self.CLIENTS, before_kib=before // 1024,
               most_kib=largest // 1024, after_kib=memory_bytes(self.pooler.process) // 1024)
        # The free list keeps eight large blocks per worker.
        kept = 2 * 8 * 256 * 1024
        wait_for(lambda: memory_bytes(self.pooler.process) - before < kept + ALLOCATOR_BYTES
                 + self.CLIENTS * 16 * 1024,
                 lambda: "memory returns: %d KiB more than before" % (
                     (memory_bytes(self.pooler.process) - before) // 1024))


if __name__ == "__main__":
    unittest.main()
