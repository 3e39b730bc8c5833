"""ALTER ROLE … SET and ALTER DATABASE … SET while servers are open: from the first server on that has the
new value, no client is given one that has the old."""

import unittest

import psycopg2

from integration.support.case import only_pgweir
from integration.support.peers import RAW_USER
from integration.support.pgweir import ADMIN, Pgweir, users
from integration.support.postgres import DATABASE, Postgres, password_of
from integration.support.raw_case import RawCase
from integration.support.waiting import wait_for

SERVERS = 4
SHOWN = "select current_setting('join_collapse_limit')"
BACKENDS = "from pg_stat_activity where usename = '%s' and backend_type = 'client backend'" % RAW_USER


@only_pgweir
class RoleSettingsTest(RawCase):
    settings = {**RawCase.settings, "workers": 2, "rotate": True,
                "pool": {"mode": "transaction", "minconn": SERVERS, "maxconn": SERVERS,
                         "wait_timeout": "30s"}}

    def setUp(self):
        super().setUp()
        wait_for(self.all_open, "all servers are open")
        self.replace(SERVERS)  # they may have what another test has undone since
        wait_for(self.all_open, "all servers are open again")

    def value(self, client):
        return [body[6:].decode() for kind, body in client.ask(SHOWN) if kind == "D"][0]

    def pids(self):
        return {row[0] for row in self.postgres.query("select pid " + BACKENDS)}

    def replace(self, how_many):
        """Of those that idle, as max_lifetime does in time. Done when others are there instead, since
        until then a client may be given one that is about to go."""
        gone = {row[0] for row in self.postgres.query(
            "select pid from (select pid %s and state = 'idle' limit %d) s where pg_terminate_backend(pid)"
            % (BACKENDS, how_many))}
        wait_for(lambda: not gone & self.pids() and len(self.pids()) == SERVERS, "they are replaced")

    def all_open(self):
        return self.pooler.metric("pgweir_pool_servers", state="idle", user=RAW_USER) == SERVERS

    def changes(self, statement, undo):
        old = self.raw()
        before = self.value(old)
        self.postgres.query(statement, database=DATABASE)
        self.addCleanup(self.postgres.query, undo, database=DATABASE)
        self.assertEqual({self.value(old) for _ in range(2 * SERVERS)}, {before})
        self.replace(1)
        new = self.raw()
        wait_for(lambda: self.value(new) == "3", "the new value is seen")
        wait_for(self.all_open, "all servers are open again")
        for client in (old, new, self.raw(), self.raw(from_collapse_limit="5")):
            self.assertEqual({self.value(client) for _ in range(4 * SERVERS)}, {"3"})

    def test_of_a_role(self):
        self.changes("alter role %s set join_collapse_limit = 3" % RAW_USER,
                     "alter role %s reset join_collapse_limit" % RAW_USER)

    def test_of_a_database(self):
        self.changes("alter database %s set join_collapse_limit = 3" % DATABASE,
                     "alter database %s reset join_collapse_limit" % DATABASE)

    def test_of_a_role_in_a_database(self):
        self.changes("alter role %s in database %s set join_collapse_limit = 3" % (RAW_USER, DATABASE),
                     "alter role %s in database %s reset join_collapse_limit" % (RAW_USER, DATABASE))

    def test_a_server_that_is_in_use_is_closed_when_it_is_free(self):
        busy = self.raw()
        before = self.value(busy)
        busy.ask("begin")
        self.assertEqual(self.value(busy), before)
        self.postgres.query("alter role %s set join_collapse_limit = 4" % RAW_USER)
        self.addCleanup(self.postgres.query, "alter role %s reset join_collapse_limit" % RAW_USER)
        self.replace(SERVERS - 1)
        other = self.raw()
        wait_for(lambda: self.value(other) == "4", "the new value is seen")
        self.assertEqual(self.value(busy), before)
        busy.ask("commit")
        self.assertEqual({self.value(busy) for _ in range(4 * SERVERS)}, {"4"})

    def one_is_replaced(self):
        """How many are still there."""
        before = self.pids()
        self.replace(1)
        wait_for(self.all_open, "all servers are open again")
        return len(before & self.pids())

    def test_what_concerns_other_roles_concerns_nobody_here(self):
        self.postgres.query("alter role postgres set join_collapse_limit = 3")
        self.addCleanup(self.postgres.query, "alter role postgres reset join_collapse_limit")
        self.assertEqual(self.one_is_replaced(), SERVERS - 1)


class RoleToBeginWithTest(unittest.TestCase):
    """A role that whoever logs in begins with, by ALTER ROLE SET or in the start-up options: SET ROLE NONE
    is not what RESET ROLE is, and concerns nobody else."""

    SHOWN = "select session_user || ' ' || current_user"
    USERS = ("confined", "free")

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres().start()
        cls.addClassCleanup(cls.postgres.close)
        cls.postgres.query("; ".join(
            ["create role crew; create role low"] +
            ["create role %s login password '%s'; grant crew, low to %s" % (user, password_of(user), user)
             for user in cls.USERS] + ["alter role confined set role = 'crew'"]))
        cls.postgres.query(
            "create function become(r text) returns void language plpgsql as"
            " $$ begin perform set_config('role', r, false); end $$", database=DATABASE)

    def servers(self, number, rotate=False):
        pooler = Pgweir(self.postgres, users=users(*self.USERS, ADMIN), rotate=rotate,
                        pool={"minconn": number, "maxconn": number, "wait_timeout": "30s"})
        self.addCleanup(pooler.close)
        pooler.start()
        return pooler

    def connect(self, where, user, **options):
        client = where.connect(user=user, password=password_of(user), **options)
        self.addCleanup(client.close)
        client.autocommit = True
        return client

    def is_user(self, client, *expected):
        with client.cursor() as cursor:
            cursor.execute(self.SHOWN)
            self.assertEqual(cursor.fetchone()[0], " ".join(expected))

    GIVEN_UP = [("set role none",), ("begin; set role none; commit",), ("begin", "set role none", "commit"),
                ("set session authorization confined",), ("select set_config('role', 'none', false)",),
                ("do $$ begin set role none; end $$",), ("select become('none')",)]

    def test_it_is_given_up_by_one_client_alone(self):
        pooler = self.servers(1)
        other = self.connect(pooler, "confined")
        for statements in self.GIVEN_UP:
            with self.subTest(statements=statements):
                client = self.connect(pooler, "confined")
                self.is_user(client, "confined", "crew")
                for statement in statements:
                    client.cursor().execute(statement)
                self.is_user(client, "confined", "confined")
                if statements == ("select become('none')",):
                    client.cursor().execute("discard all")  # it keeps the server
                for another in (other, self.connect(pooler, "confined")):
                    self.is_user(another, "confined", "crew")

    def test_it_is_given_up_on_all_servers(self):
        pooler = self.servers(3, rotate=True)
        wait_for(lambda: pooler.metric("pgweir_pool_servers", state="idle", user="confined") == 3,
                 "all servers are open")
        client, other = (self.connect(pooler, "confined") for _ in range(2))
        for statement, expected in (("set role none", "confined"), ("reset role", "crew"),
                                    ("set role low", "low"), ("set role none", "confined"),
                                    ("discard all", "crew")):
            client.cursor().execute(statement)
            for _ in range(6):
                self.is_user(client, "confined", expected)
                self.is_user(other, "confined", "crew")

    BACK = [("reset role",), ("discard all",), ("set role none; reset role",), ("begin", "reset role", "commit"),
            ("set session authorization default",),
            ("set session authorization {user}; reset session authorization",)]
    NOT_BACK = [("reset all",), ("begin", "reset role", "rollback"), ("begin", "discard all", "rollback"),
                ("reset role; set role none",)]

    def test_reset_goes_back_to_the_start_up_options(self):
        pooler = self.servers(1)
        for user in self.USERS:
            for statements in self.BACK + self.NOT_BACK:
                with self.subTest(user=user, statements=statements):
                    for where in (self.postgres, pooler):
                        client = self.connect(where, user, options="-c role=low")
                        client.cursor().execute("set role none")
                        self.is_user(client, user, user)
                        for statement in statements:
                            try:
                                client.cursor().execute(statement.format(user=user))
                            except psycopg2.errors.ActiveSqlTransaction:
                                self.assertEqual(statement, "discard all")
                        expected = "low" if statements in self.BACK else user
                        self.is_user(client, user, expected)
                        self.is_user(client, user, expected)
                        client.close()


class RecreatedRoleTest(unittest.TestCase):
    """A role that has been dropped and made anew is not the one that its servers have logged in as."""

    CREATE = "create role again login password '%s'" % password_of("again")

    def test_servers_of_the_old_one_are_closed(self):
        self.postgres = Postgres().start()
        self.addCleanup(self.postgres.close)
        self.postgres.query(self.CREATE)
        pooler = Pgweir(self.postgres, users=users("again"))
        self.addCleanup(pooler.close)
        pooler.start()
        clients = [pooler.connect(user="again") for _ in range(3)]
        for client in clients:
            client.cursor().execute("select 1")  # a server for each
        for client in clients:
            client.commit()
        # At once: a login in between is refused, and whoever waits for it is told so.
        self.postgres.query("drop role again; " + self.CREATE)
        wait_for(lambda: all([self.works(client) for client in clients]), "they have other servers", 10)
        for client in clients * 4:
            self.assertTrue(self.works(client))

    def test_servers_of_one_that_has_been_renamed_are_closed(self):
        """By the first server that logs in as the new one."""
        self.postgres = Postgres().start()
        self.addCleanup(self.postgres.close)
        self.postgres.query(self.CREATE)
        pooler = Pgweir(self.postgres, users=users("again"), rotate=True,
                        pool={"minconn": 3, "maxconn": 3, "wait_timeout": "30s"})
        self.addCleanup(pooler.close)
        pooler.start()
        client = pooler.connect(user="again")
        client.autocommit = True
        all_open = "select count(*) = 3 from pg_stat_activity where usename = %s and state = 'idle'"
        wait_for(lambda: self.postgres.query(all_open, "again") == [(True,)], "all servers are open")
        self.postgres.query("alter role again rename to former; " + self.CREATE)
        self.assertEqual(self.session_user(client), "former")
        self.postgres.query("select pg_terminate_backend(min(pid)) from pg_stat_activity where usename = 'former'")
        wait_for(lambda: self.postgres.query(all_open, "again") == [(True,)], "the others are closed as well")
        self.assertEqual({self.session_user(client) for _ in range(6)}, {"again"})

    @staticmethod
    def session_user(client):
        with client.cursor() as cursor:
            cursor.execute("select session_user::text")
            return cursor.fetchone()[0]

    @staticmethod
    def works(client):
        try:
            with client.cursor() as cursor:
                cursor.execute("select current_user::text")
                return cursor.fetchall() == [("again",)]
        except psycopg2.errors.UndefinedObject:
            return False
        finally:
            client.rollback()
