"""What the tests of abandoned work share: a table that says what was committed by whom, and what must
be true when the clients are gone."""

import collections

from integration.support import wire
from integration.support.peers import (FINGERPRINT, RAW_USER, assert_idle, kinds,
                                       raw_client, rows_of, wait_until_given_back)
from integration.support.raw_case import RawCase


def insert(what):
    return "insert into abandoned values ('%s', '%s')" % ("{tag}", what)


def extended(sql, name="", portal=""):
    return wire.parse(sql, name) + wire.bind(portal, name) + wire.execute(portal)


def q(sql):
    return wire.query(sql)


# What a client sends before it vanishes: pieces, and after which of them what is committed. {tag}, five
# letters wide, is the client.
STREAMS = {
    "a transaction": [
        (q("begin"), None), (q(insert("a")), None), (q(insert("b")), None), (q("commit"), "ab"),
        (q(insert("c")), "abc")],
    "a transaction rolled back": [
        (q("begin"), None), (q(insert("a")), None), (q("rollback"), None), (q(insert("b")), "b")],
    "batches": [
        (extended(insert("a")), None), (wire.SYNC, "a"), (extended(insert("b")), None),
        (extended(insert("c")), None), (wire.SYNC, "abc")],
    "a transaction in batches": [
        (extended("begin") + wire.SYNC, None), (extended(insert("a")) + wire.SYNC, None),
        (extended("commit"), "a"), (wire.SYNC, "a")],
    "a pipeline with an error in it": [
        (extended(insert("a")), None), (extended("select 1/0") + extended(insert("b")), None),
        (wire.SYNC, ""), (extended(insert("c")), None), (wire.SYNC, "c")],
    "named statements and portals": [
        (wire.parse(insert("a"), "s"), None), (wire.bind("p", "s") + wire.execute("p"), None),
        (wire.describe("S", "s") + wire.FLUSH, None), (wire.SYNC, "a")],
    "several statements in one Query": [
        (q("begin; " + insert("a") + "; commit; " + insert("b")), "ab"),
        # BEGIN makes what came before it in its Query a part of the transaction.
        (q(insert("c") + "; begin; " + insert("d")), "ab"), (q("commit"), "abcd")],
    "COPY": [
        (q("copy abandoned from stdin"), None), (wire.message("d", b"{tag}\ta\n"), None),
        (wire.message("d", b"{tag}\tb\n"), None), (wire.message("c"), "ab")],
    "COPY in a transaction": [
        (q("begin"), None), (q("copy abandoned from stdin"), None),
        (wire.message("d", b"{tag}\ta\n"), None), (wire.message("c"), None), (q("commit"), "a")],
    "COPY in the extended protocol": [
        (extended("copy abandoned from stdin"), None), (wire.message("d", b"{tag}\ta\n"), None),
        (wire.message("c"), None), (wire.SYNC, "a")],
    "COPY given up": [
        (q("copy abandoned from stdin"), None), (wire.message("d", b"{tag}\ta\n"), None),
        (wire.message("f", b"no\0"), ""), (q(insert("b")), "b")],
}


def with_tag(packet, number):
    # As wide as `{tag}`: lengths stay.
    return packet.replace(b"{tag}", b"%05d" % number)


class AbandonedCase(RawCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        raw = raw_client(cls.postgres)
        raw.ask("create table if not exists abandoned (tag text, what text)")
        raw.socket.close()

    def setUp(self):
        self.play_direct("truncate abandoned")
        raw = raw_client(self.pooler)
        self.fresh = rows_of(raw.ask("select t::text from (%s) t" % FINGERPRINT))
        raw.socket.close()
        wait_until_given_back(self.pooler)

    def play_direct(self, sql):
        raw = raw_client(self.postgres)
        rows = rows_of(raw.ask(sql))
        raw.send(wire.TERMINATE)
        raw.read_to_end()
        raw.socket.close()
        return rows

    def committed(self):
        """What is there of each client, by its tag."""
        found = collections.defaultdict(str)
        for row in self.play_direct("select tag || what from abandoned order by tag, what"):
            found[row[:5]] += row[5:]
        return found

    def expect_all_well(self, seconds=15.0):
        """Every server can be had, all at once, and looks like new."""
        wait_until_given_back(self.pooler, seconds)
        bound = self.settings["pool"]["maxconn"]
        holders = [raw_client(self.pooler) for _ in range(bound)]
        for holder in holders:
            self.assertEqual("CZ", kinds(holder.ask("begin")))
        pids = set()
        for holder in holders:
            pids.update(rows_of(holder.ask("select pg_backend_pid()")))
            self.assertEqual(self.fresh, rows_of(holder.ask("select t::text from (%s) t" % FINGERPRINT)))
        self.assertEqual(bound, len(pids))
        for holder in holders:
            holder.ask("rollback")
            holder.socket.close()
        wait_until_given_back(self.pooler, seconds)
        self.assertLessEqual(self.pooler.metric("pgweir_pool_servers", user=RAW_USER), bound)
        assert_idle(self, self.pooler)
