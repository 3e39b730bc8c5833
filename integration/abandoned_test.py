"""Clients that vanish at every byte of what they send, by RST, FIN, half-close and Terminate. What a
client has not committed is not committed; its server comes back clean or is closed; and what it was
answered before it went is what PostgreSQL would have answered. (vanished_test.py has the rest.)"""

import select
import socket
import struct
import unittest

from integration.support import wire
from integration.support.abandoned import STREAMS, AbandonedCase, extended, insert, q, with_tag
from integration.support.case import only_pgweir
from integration.support.peers import (RAW_USER, WAYS_TO_LEAVE, kinds, raw_client,
                                       wait_until_given_back)
from integration.support.postgres import DATABASE
from integration.support.waiting import wait_for


def message_ends(stream):
    """Where its messages end."""
    at, ends = 0, {0}
    while at < len(stream):
        at += 1 + struct.unpack("!i", stream[at + 1:at + 5])[0]
        ends.add(at)
    return ends


class Attempt:
    """What one client that vanished may have left: `most` is what it has committed for certain if all
    it sent has arrived, `stages` what it had committed at some time."""

    def __init__(self, pieces, cut):
        self.stages, self.most, at = [""], "", 0
        for packet, committed in pieces:
            at += len(packet)
            if committed is not None and at <= cut:
                self.most = committed
            # The bytes of a Terminate may be the last of a message that was cut short.
            if committed is not None and at <= cut + len(wire.TERMINATE):
                self.stages.append(committed)


@only_pgweir
class AtEveryByteTest(AbandonedCase):
    """Every stream, cut at every byte, left in every way."""

    def vanish(self, pieces, way, first_tag):
        attempts = {}
        stream = b"".join(packet for packet, _ in pieces)
        ends = message_ends(stream)
        for cut in range(len(stream) + 1):
            tag = first_tag + cut
            raw = raw_client(self.pooler)
            raw.send(with_tag(stream, tag)[:cut])
            if cut % 3 == 0:  # the server is in the middle of it, or done
                select.select([raw.socket], [], [], 0.002)
            if way == "half-close":
                raw.socket.shutdown(socket.SHUT_WR)
                raw.read_to_end()
                raw.socket.close()
            elif way == "Terminate":
                # Inside a message it is a part of that message, which then goes on for ever.
                raw.send(wire.TERMINATE)
                if cut in ends:
                    raw.read_to_end()
                raw.socket.close()
            else:
                WAYS_TO_LEAVE[way](raw.socket)
            attempts["%05d" % tag] = (Attempt(pieces, cut), cut)
        return attempts

    def check(self, way, exactly):
        attempts, names = {}, {}
        for name, pieces in STREAMS.items():
            new = self.vanish(pieces, way, len(attempts))
            names.update({tag: name for tag in new})
            attempts.update(new)
        self.expect_all_well()
        there = self.committed()
        wrong = []
        for tag, (attempt, cut) in attempts.items():
            found = there.get(tag, "")
            exact = exactly(cut, STREAMS[names[tag]])
            good = found == attempt.most if exact else found in attempt.stages
            if not good:
                wrong.append("%s, cut at byte %d: %r is there, not %r" % (
                    names[tag], cut, found, attempt.most if exact else attempt.stages))
        self.assertEqual([], wrong[:10], "%d of %d" % (len(wrong), len(attempts)))

    def test_pgdog_848_terminate_in_a_transaction_at_every_byte(self):
        # Between two messages it is a Terminate; inside one it is a part of that message.
        self.check("Terminate", lambda cut, pieces: cut in message_ends(
            b"".join(packet for packet, _ in pieces)))

    def test_rst_at_every_byte(self):
        self.check("RST", lambda cut, pieces: False)

    def test_fin_at_every_byte(self):
        # What was not read when the socket is closed makes the kernel send an RST.
        self.check("FIN", lambda cut, pieces: False)

    def test_half_closed_at_every_byte(self):
        # Whoever hangs up while waiting for a server has asked for nothing.
        self.check("half-close", lambda cut, pieces: False)


@only_pgweir
class AsDirectTest(AbandonedCase):
    """What a client that leaves behind work has done, and has been answered, is the same with and
    without the daemon."""

    LAST_WORDS = {
        "a Query": q(insert("a")),
        "many Queries": b"".join(q(insert(c)) for c in "abcdefgh"),
        "a transaction": q("begin") + q(insert("a")) + q("commit") + q(insert("b")),
        "an open transaction": q("begin") + q(insert("a")),
        "a batch": extended(insert("a")) + wire.SYNC,
        "a batch without Sync": extended(insert("a")),
        "batches": (extended(insert("a")) + wire.SYNC) * 3 + extended(insert("b")),
        "an error": extended("select 1/0") + extended(insert("a")) + wire.SYNC + q(insert("b")),
        "COPY": q("copy abandoned from stdin") + wire.message("d", b"00000\ta\n") + wire.message("c"),
        "several statements": q(insert("a") + "; commit; begin; " + insert("b")),
        "a large answer": q("select repeat('x', 100000)") + q(insert("a")),
        "nothing": b"",
        "Sync": wire.SYNC * 5,
    }
    # What PostgreSQL still says to these depends on what it has flushed: no answer was promised.
    UNFINISHED = {
        "an unfinished COPY": q("copy abandoned from stdin") + wire.message("d", b"00000\ta\n"),
        "Flush": extended("select 1") + wire.FLUSH,
        "an error without Sync": extended("select 1/0") + q(insert("a")),
    }

    def play_last_words(self, where, packets, how):
        self.play_direct("truncate abandoned")
        # Whoever hangs up while it waits for a server has asked for nothing.
        wait_for(lambda: self.pooler.metric("pgweir_pool_servers", user=RAW_USER, state="idle"),
                 "a server is idle")
        raw = raw_client(where)
        raw.send(with_tag(packets, 0))
        if how == "Terminate":
            raw.send(wire.TERMINATE)
        else:
            raw.socket.shutdown(socket.SHUT_WR)
        came = raw.read_to_end()
        raw.socket.close()
        wait_until_given_back(self.pooler)
        return came, dict(self.committed())

    def expect_the_same(self, how):
        for name, packets in {**self.LAST_WORDS, **self.UNFINISHED}.items():
            with self.subTest(name=name):
                direct, pooled = (self.play_last_words(where, packets, how)
                                  for where in (self.postgres, self.pooler))
                self.assertEqual(direct[1], pooled[1])
                if name in self.UNFINISHED:
                    self.assertTrue(kinds(direct[0]).startswith(kinds(pooled[0])))
                    continue
                self.assertEqual(kinds(direct[0]), kinds(pooled[0]))
                self.assertEqual(direct[0], pooled[0])

    def test_yugabyte_33913_terminate_behind_statements(self):
        self.expect_the_same("Terminate")

    def test_half_closed_behind_statements(self):
        self.expect_the_same("half-close")

    def play_a_login(self, where, packets):
        with wire.Wire(where.host, where.port) as raw:
            raw.send(*packets)
            raw.socket.shutdown(socket.SHUT_WR)
            return [(kind, wire.error_fields(body).get("C") if kind == "E" else body)
                    for kind, body in raw.read_to_end() if kind in "EDCZ"]

    def test_half_closed_behind_a_login(self):
        # What nobody has asked for before is shown to a server first.
        for number, settings in enumerate(({}, {"work_mem": "%dkB"}, {"work_mem": "nonsense %d"},
                                           {"options": "-c statement_timeout=%ds"})):
            for more, packets in enumerate(([], [q("show work_mem")], [extended("show work_mem")])):
                asked = {name: value % (1000 + 10 * number + more) for name, value in settings.items()}
                with self.subTest(settings=asked, more=more):
                    packets = [wire.startup(user=RAW_USER, database=DATABASE, **asked)] + packets
                    direct, pooled = (self.play_a_login(where, packets)
                                      for where in (self.postgres, self.pooler))
                    self.assertEqual(direct, pooled)


if __name__ == "__main__":
    unittest.main()
