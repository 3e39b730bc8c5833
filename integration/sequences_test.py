"""currval() and lastval() in transaction mode: a client's own value, as on a direct connection, or
PostgreSQL's "not yet defined in this session" (55000), and never another client's, however they are
asked for. The daemon hands out another server at every boundary where it may (--rotate-servers)."""

import random
import struct

from integration.support import wire
from integration.support.case import PoolerCase, new_pooler, only_pgweir
from integration.support.postgres import DATABASE, OWNER
from integration.support.waiting import wait_for

SERVERS = 3
POOL = {"mode": "transaction", "minconn": SERVERS, "maxconn": SERVERS}
UNDEFINED, FAILED = "55000", "25P02"
LASTVAL_FUNCTION = 2559  # src/include/catalog/pg_proc.dat


class Session:
    """A client that speaks the wire protocol and knows what it may be told."""

    def __init__(self, pooler):
        self.wire = wire.Wire(pooler.host, pooler.port)
        self.wire.log_in("", user=OWNER, database=DATABASE)
        self.own = None  # what lastval() would say on a direct connection

    def heard(self, *packets, ready=1):
        """The rows of what is asked, and an SQLSTATE for each error, until the last ReadyForQuery."""
        self.wire.send(*packets)
        found = []
        while ready:
            kind, body = self.wire.read_message()
            if kind == "D":
                found.append(int(body[6:]))
            elif kind == "V":
                found.append(int(body[4:]))
            elif kind == "E":
                found.append(wire.error_fields(body)["C"])
            ready -= kind == "Z"
        return found

    def ask(self, text):
        return self.heard(wire.query(text))

    def insert(self):
        self.own, = self.ask("insert into sequences_t default values returning id")

    # Every way to ask. Each returns what it was told.

    def simple(self):
        return self.ask("select lastval()")[-1]

    def upper(self):
        return self.ask("SELECT LASTVAL()")[-1]

    def qualified(self):
        return self.ask('select "pg_catalog"."lastval"()')[-1]

    def currval(self):
        return self.ask("select currval('sequences_t_id_seq')")[-1]

    def in_code(self):
        return self.ask("do $$ begin if lastval() = 0 then null; end if; end $$;"
                        "select lastval()")[-1]

    def behind_another(self):
        return self.ask("select 0; select lastval()")[-1]

    def extended(self):
        return self.heard(wire.parse("select lastval()"), wire.bind(), wire.execute(),
                          wire.SYNC)[-1]

    def parsed_before(self):
        told = self.heard(wire.parse("select lastval()", "s"), wire.SYNC)
        told += self.heard(wire.bind("", "s"), wire.execute(), wire.SYNC)
        self.heard(wire.message("C", b"Ss\0"), wire.SYNC)
        return told[0]

    def in_one_batch(self):
        return self.heard(wire.parse("select 0"), wire.bind(), wire.execute(),
                          wire.parse("Select LastVal()"), wire.bind(), wire.execute(),
                          wire.SYNC)[-1]

    def without_sync(self):
        """A Query into an open batch."""
        return self.heard(wire.parse("select 0"), wire.bind(), wire.execute(), wire.FLUSH,
                          wire.query("select lastval()"), wire.SYNC, ready=2)[-1]

    def pipelined(self):
        return self.heard(wire.query("select 0"), wire.query("select lastval()"), ready=2)[-1]

    def by_number(self):
        call = struct.pack("!ihhh", LASTVAL_FUNCTION, 0, 0, 0)
        return self.heard(wire.message("F", call))[-1]

    def in_a_transaction(self):
        told = self.ask("begin") + self.ask("select 0") + self.ask("select lastval()")
        self.ask("rollback")
        return told[-1]

    def later_in_a_transaction(self):
        told = self.ask("begin; select 0")
        told += self.heard(wire.parse("select lastval()"), wire.bind(), wire.execute(), wire.SYNC)
        self.ask("rollback")
        return told[-1]

    def pipelined_transaction(self):
        return self.heard(wire.query("begin"), wire.query("select 0"),
                          wire.query("select lastval()"), wire.query("rollback"), ready=4)[-1]

    def copied(self):
        """COPY (SELECT lastval()) TO STDOUT."""
        self.wire.send(wire.query("copy (select lastval()) to stdout"))
        messages = self.wire.read_until("Z")
        for kind, body in messages:
            if kind == "d":
                return int(body)
            if kind == "E":
                return wire.error_fields(body)["C"]
        raise AssertionError(messages)

    def cursor(self):
        told = self.ask("begin; declare c cursor for select lastval(); fetch c")
        self.ask("rollback")
        return told[-1]

    def large(self):
        """Nobody sees it to its end. (Its client keeps the server from then on.)"""
        return self.ask("select 0 /*" + 300_000 * "x" + "*/; select lastval()")[-1]


WAYS = [Session.simple, Session.upper, Session.qualified, Session.currval, Session.in_code,
        Session.behind_another, Session.extended, Session.parsed_before, Session.in_one_batch, Session.without_sync,
        Session.pipelined, Session.by_number, Session.in_a_transaction,
        Session.later_in_a_transaction, Session.pipelined_transaction, Session.copied,
        Session.cursor]


class SequencesCase(PoolerCase):
    settings = {"rotate": True, "workers": 1, "auth": {"method": "trust"}, "pool": POOL}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.query("create table if not exists sequences_t (id bigserial)",
                           database=DATABASE)
        cls.postgres.query("grant all on all tables in schema public to fitness;"
                           "grant all on all sequences in schema public to fitness",
                           database=DATABASE)

    def session(self):
        session = Session(self.pooler)
        self.addCleanup(session.wire.socket.close)
        return session

    def fill(self):
        """Every server remembers what others did last."""
        others = [self.session() for _ in range(SERVERS)]
        for other in others:
            other.ask("begin")
        for other in others:
            other.insert()
            other.ask("commit")
            other.wire.socket.close()

    def pins(self):
        wait_for(lambda: self.pooler.metric("pgweir_pool_pinned_clients", user=OWNER) == 0,
                 "nobody is pinned")
        return self.pooler.metric("pgweir_pins_total", user=OWNER)


@only_pgweir
class SequencesTest(SequencesCase):
    """Where currval() and lastval() have been seen before."""

    def setUp(self):
        self.session().simple()
        self.fill()
        self.pins_before = self.pins()

    def test_in_the_transaction_that_inserts(self):
        a = self.session()
        for way in (Session.simple, Session.upper, Session.qualified, Session.currval,
                    Session.extended, Session.parsed_before, Session.in_one_batch,
                    Session.by_number, Session.copied):
            with self.subTest(way=way.__name__):
                self.fill()
                a.ask("begin")
                a.insert()
                self.assertEqual(a.own, way(a))
                a.ask("commit")
        self.assertEqual(self.pins_before, self.pins())

    def test_pipelined_with_the_insert(self):
        a = self.session()
        self.fill()
        told = a.heard(*[wire.query(text) for text in (
            "begin", "insert into sequences_t default values returning id", "select lastval()",
            "commit")], ready=4)
        self.assertEqual(told[0], told[1])
        self.fill()
        told = a.heard(wire.parse("insert into sequences_t default values returning id"),
                       wire.bind(), wire.execute(), wire.parse("select lastval()"), wire.bind(),
                       wire.execute(), wire.SYNC)
        self.assertEqual(told[0], told[1])
        self.fill()
        told = a.ask("insert into sequences_t default values returning id; select lastval()")
        self.assertEqual(told[0], told[1])

    def test_going_back_to_the_server_of_the_insert(self):
        for way in WAYS:
            with self.subTest(way=way.__name__):
                a = self.session()  # the first thing it reads
                if way in (Session.in_a_transaction, Session.later_in_a_transaction,
                           Session.pipelined, Session.pipelined_transaction,
                           Session.in_one_batch, Session.without_sync, Session.by_number):
                    a.simple()  # that it reads does not show in its first text
                for _ in range(3):
                    a.insert()
                    self.assertEqual(a.own, way(a))
                    self.assertEqual(a.own, a.simple())
        self.assertEqual(self.pins_before, self.pins())

    def test_others_leave_it_alone_as_long_as_there_are_others(self):
        a, busy, b = self.session(), self.session(), self.session()
        busy.ask("begin")
        a.insert()
        self.assertEqual(a.own, a.simple())
        for _ in range(10):
            a.insert()
            for _ in range(SERVERS):
                b.ask("select 1")
            self.assertEqual(a.own, a.simple())
        busy.ask("rollback")
        self.assertEqual(self.pins_before, self.pins())

    def test_never_anothers(self):
        for way in WAYS:
            with self.subTest(way=way.__name__):
                a = self.session()
                self.assertEqual(UNDEFINED, way(a))
                a.insert()
                self.fill()
                self.assertEqual(UNDEFINED, way(a))
        self.assertEqual(self.pins_before, self.pins())

    def test_no_older_value_of_its_own(self):
        """Two of its servers remember it: the one it used last counts."""
        a = self.session()
        first, second = self.session(), self.session()
        for _ in range(5):
            a.insert()                # on one server
            first.ask("begin")        # … which is taken, or another is
            second.ask("begin")
            a.insert()                # on the only one that is left
            first.ask("commit")
            second.ask("commit")
            self.assertIn(a.simple(), (a.own, UNDEFINED))

    def test_after_discard_all(self):
        a = self.session()
        for command in ("discard all", "discard sequences"):
            a.insert()
            a.ask(command)
            self.assertEqual(UNDEFINED, a.simple())
            a.insert()
            self.assertEqual(a.own, a.simple())

    def test_in_a_failed_transaction(self):
        a = self.session()
        a.ask("begin")
        a.ask("select 1/0")
        self.assertEqual(FAILED, a.simple())
        self.assertEqual(UNDEFINED, a.ask("rollback; select lastval()")[-1])

    def test_anybody_anyhow(self):
        dice = random.Random(11)
        sessions = [self.session() for _ in range(6)]
        told = {"own": 0, "none": 0}
        for _ in range(600):
            a = dice.choice(sessions)
            what = dice.randrange(4)
            if what == 0:
                a.insert()
            elif what == 1:
                a.ask("begin")
                a.insert()
                self.assertEqual(a.own, dice.choice((Session.simple, Session.extended))(a))
                a.ask("commit")
            else:
                way = dice.choice(WAYS)
                value = way(a)
                if value == UNDEFINED:
                    told["none"] += 1
                else:
                    self.assertEqual(a.own, value, way.__name__)
                    told["own"] += 1
        self.assertGreater(told["own"], 50, told)
        self.assertEqual(self.pins_before, self.pins())


@only_pgweir
class SeveralWorkersTest(SequencesCase):
    settings = {"workers": 2, "auth": {"method": "trust"}, "pool": POOL}

    def test_servers_that_go_from_worker_to_worker(self):
        dice = random.Random(12)
        sessions = [self.session() for _ in range(10)]
        for _ in range(600):
            a = dice.choice(sessions)
            if dice.randrange(2):
                a.insert()
            else:
                way = dice.choice(WAYS)
                self.assertIn(way(a), (a.own, UNDEFINED), way.__name__)


@only_pgweir
class FirstReaderTest(SequencesCase):
    """Nobody has read sequences before, and others' values are there: an error, and from then on as
    ever."""

    def setUp(self):
        self.addCleanup(setattr, self, "pooler", self.pooler)
        self.pooler = new_pooler(self.postgres, **self.settings).start()
        self.addCleanup(self.pooler.close)
        self.fill()

    def first(self, way):
        with self.subTest(way=way.__name__):
            self.setUp()
            a = self.session()
            self.assertEqual(UNDEFINED, way(a))
            a.ask("begin")
            a.insert()
            self.assertEqual(a.own, a.simple())
            a.ask("commit")
            self.assertEqual(a.own, a.simple())

    def test_every_way(self):
        for way in WAYS:
            self.first(way)

    def test_a_statement_too_large_to_be_seen(self):
        self.first(Session.large)

    def test_behind_an_insert_of_its_own(self):
        """Once an error; the transaction is the client's to end."""
        for way in (Session.simple, Session.extended, Session.parsed_before, Session.by_number,
                    Session.in_one_batch):
            with self.subTest(way=way.__name__):
                self.setUp()
                a = self.session()
                a.ask("begin")
                a.insert()
                self.assertEqual(UNDEFINED, way(a))
                self.assertEqual(FAILED, a.simple())
                a.ask("rollback")
                a.ask("begin")
                a.insert()
                self.assertEqual(a.own, way(a))
                a.ask("commit")

    def test_its_own_servers_are_its_own(self):
        """Where nobody else has been there is nothing to forget."""
        self.pooler.close()
        self.pooler = new_pooler(self.postgres, **self.settings).start()
        self.addCleanup(self.pooler.close)
        for way in WAYS[:6]:
            with self.subTest(way=way.__name__):
                a = self.session()
                a.ask("begin")
                a.insert()
                self.assertEqual(a.own, way(a))
                a.ask("commit")
                self.assertEqual(a.own, way(a))

    def test_in_a_failed_transaction(self):
        a = self.session()
        a.ask("begin")
        a.ask("select 1/0")
        self.assertEqual(FAILED, a.simple())
        # PostgreSQL would end the transaction and then tell another's value.
        a.wire.send(wire.query("rollback; select lastval()"))
        told = dict(a.wire.read_to_end())
        self.assertEqual(UNDEFINED, wire.error_fields(told["E"])["C"])
        self.assertEqual(UNDEFINED, self.session().simple())
