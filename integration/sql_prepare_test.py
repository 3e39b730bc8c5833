"""SQL's PREPARE in transaction mode, where it is not to pin: what it has made is there wherever its client is, nobody else sees it,
and nobody keeps a server for it. The daemon hands out another server at every boundary where it may."""

import unittest

import psycopg2

from integration.support import wire
from integration.support.case import PoolerCase, only_pgweir
from integration.support.peers import RAW_USER
from integration.support.postgres import OWNER
from integration.support.raw_case import RawCase
from integration.support.waiting import wait_for

SERVERS = 3
LISTED = "select name, statement, parameter_types::text, from_sql from pg_prepared_statements order by name"

# What a session says, statement by statement; the same comes out directly and through the pooler.
SCRIPTS = {
    "with types and without": [
        "prepare one (int, text) as select $1 + 1, $2 || '!'", "execute one (1, 'a')", "execute one ('2', 'b')",
        "prepare two as select $1::int * 2;", "execute two (21)", "execute one (3, 'c')", "execute two (4)"],
    "names": [
        'prepare Mixed as select 1', "execute MIXED", 'prepare "Mixed" as select 2', 'execute "Mixed"',
        'prepare "a""b" as select 3', 'execute "a""b"', "prepare %s as select 4" % ("n" * 70),
        "execute %s" % ("n" * 63)],
    "a name that is taken": [
        "prepare one as select 1", "prepare one as select 2", "execute one", "deallocate one",
        "prepare one as select 3", "execute one"],
    "what is prepared, and then made anew": [
        "create table prepared_from (value int)", "insert into prepared_from values (1)",
        "prepare one as select value from prepared_from", "execute one",
        "insert into prepared_from values (2)", "execute one", "drop table prepared_from"],
    "transactions do not undo it": [
        "begin", "prepare one as select 1", "execute one", "rollback", "execute one", "begin", "deallocate one",
        "rollback", "execute one"],
    "failures": [
        "prepare one as select * from there_is_none", "execute one", "begin", "select 1/0",
        "prepare two as select 1", "rollback", "execute two", "prepare one as select 1/$1::int",
        "execute one (1)", "execute one (0)", "execute one (1)", "execute one ()"],
    "gone": [
        "prepare one as select 1", "prepare two as select 2", "deallocate prepare one", "execute one",
        "execute two", "deallocate all", "execute two", "prepare two as select 3", "discard all", "execute two"],
    "commands that execute": [
        "prepare one (int) as select $1 as value", "create table prepared_into as execute one (7)",
        "select * from prepared_into", "drop table prepared_into", "explain (costs off) execute one (8)",
        "prepare change as update pg_description set description = description where false", "execute change"],
    "listed": [
        "prepare one (int) as select $1", LISTED, "PREPARE two AS select 'x'", LISTED, "deallocate one", LISTED],
    "settings that matter": [
        "set search_path = pg_catalog", "prepare one as select current_setting('search_path'), to_char($1::date, 'YYYY')",
        "execute one ('2020-01-01')", "set datestyle = 'German'", "execute one ('31.12.2020')",
        "reset search_path", "execute one ('1.1.2021')"],
    "several in one text": ["prepare one as select 1; select 2", "execute one", "deallocate one"],
    "in code": ["do $$ begin execute 'prepare one as select 5'; end $$", "execute one", "deallocate one"],
}


def said(connection, script):
    """What each statement came to: rows, a tag, or an SQLSTATE."""
    answers = []
    with connection.cursor() as cursor:
        for statement in script:
            try:
                cursor.execute(statement)
                answers.append(cursor.fetchall() if cursor.description else cursor.statusmessage)
            except psycopg2.Error as error:
                answers.append((error.pgcode, error.diag.message_primary))
    return answers


@only_pgweir
class SqlPrepareTest(PoolerCase):
    settings = {"rotate": True, "workers": 1,
                "pool": {"mode": "transaction", "minconn": SERVERS, "maxconn": SERVERS,
                         "session_state": {"sql_statements": "virtualise"}}}

    def test_the_same_as_directly(self):
        for about, script in SCRIPTS.items():
            with self.subTest(about=about):
                connection = self.connect_autocommit()
                direct = self.postgres.connect(user=OWNER)
                direct.autocommit = True
                self.assertEqual(said(direct, script), said(connection, script))
                direct.close()
                connection.close()

    def test_nobody_keeps_a_server_and_nobody_sees_another_s(self):
        clients = [self.connect_autocommit() for _ in range(SERVERS * 4)]
        for number, client in enumerate(clients):
            self.rows(client, "prepare mine (int) as select %d + $1" % number)
        for _ in range(3):
            for number, client in enumerate(clients):
                self.assertEqual([(number + 1,)], self.rows(client, "execute mine (1)"))
                self.assertEqual([("mine",)], self.rows(client, "select name from pg_prepared_statements"))
        for client in clients[::2]:
            self.rows(client, "deallocate mine")
        for number, client in enumerate(clients):
            if number % 2 == 0:
                with self.assertRaises(psycopg2.errors.InvalidSqlStatementName):
                    self.rows(client, "execute mine (1)")
            else:
                self.assertEqual([(number + 1,)], self.rows(client, "execute mine (1)"))
        self.assertEqual(0, self.pooler.metric("pgweir_pool_pinned_clients", user=OWNER))
        self.assertEqual(0, self.pooler.metric("pgweir_pins_total", user=OWNER))

    def test_what_a_client_leaves_is_gone(self):
        for statements in (["prepare mine as select 1"], ["prepare mine as select 1", "execute mine"],
                           ["begin", "prepare mine as select 1"]):
            client = self.connect_autocommit()
            for statement in statements:
                self.rows(client, statement)
            client.close()
            other = self.connect_autocommit()
            for _ in range(SERVERS * 2):
                self.assertEqual([], self.rows(other, LISTED))

    def test_what_it_prepares_may_pin(self):
        client = self.connect_autocommit()
        self.rows(client, "prepare locks as select pg_advisory_lock(4711)")
        self.rows(client, "execute locks")
        wait_for(lambda: self.pooler.metric("pgweir_pool_pinned_clients", user=OWNER) == 1, "it is pinned")


@only_pgweir
class MessagesTest(RawCase):
    """The same, message by message."""

    settings = {**RawCase.settings, "rotate": True, "workers": 1,
                "pool": {"mode": "transaction", "minconn": SERVERS, "maxconn": SERVERS,
                         "session_state": {"sql_statements": "virtualise"}}}

    def test_messages_are_those_of_a_direct_connection(self):
        prepare, execute = wire.query("prepare mine as select 1::int4"), wire.query("execute mine")
        bound = wire.bind(name="mine") + wire.execute()
        closed, described = wire.message("C", b"Smine\0"), wire.message("D", b"Smine\0")
        for sent in ([prepare], [prepare, execute], [prepare + execute + wire.query("deallocate mine") + execute],
                     [prepare, described + bound + wire.SYNC], [prepare, bound + bound + wire.SYNC],
                     [prepare + bound + wire.SYNC], [prepare, wire.parse("select 2", "mine") + wire.SYNC, execute],
                     [prepare, closed + bound + wire.SYNC, execute],
                     [prepare, wire.bind(name="none") + closed + wire.SYNC, execute],
                     [prepare, wire.parse("execute mine") + wire.bind() + wire.execute() + wire.SYNC],
                     [wire.query("prepare mine as syntax error") + execute],
                     [prepare + wire.query("prepare mine as select 2") + execute],
                     [wire.query("prepare a as select 1/0"), wire.query("execute a") + prepare + execute]):
            with self.subTest(sent=sent):
                answers = [self.said(where, sent) for where in (self.postgres, self.pooler)]
                self.assertEqual(*answers)
        self.assertEqual(0, self.pooler.metric("pgweir_pool_pinned_clients", user=RAW_USER))

    def said(self, where, packets):
        """Types and what is in them, of errors the SQLSTATE."""
        session, got = self.raw(where), []
        for packet in packets:
            session.send(packet)
            for _ in range(packet.count(b"Q\0\0") + packet.count(wire.SYNC)):
                got += [(kind, wire.error_fields(body)["C"] if kind == "E" else body)
                        for kind, body in session.read_until("Z")]
        return got


@only_pgweir
class PinnedTest(PoolerCase):
    settings = {"workers": 1, "pool": {"minconn": 1, "maxconn": 2}}

    def test_it_pins_where_nothing_else_is_said(self):
        client = self.connect_autocommit()
        self.rows(client, "prepare mine as select 1")
        wait_for(lambda: self.pooler.metric("pgweir_pool_pinned_clients", user=OWNER) == 1, "it is pinned")
        self.assertEqual([(1,)], self.rows(client, "execute mine"))


if __name__ == "__main__":
    unittest.main()
