"""Many users and a PostgreSQL that has no connection for all of their pools: who has left keeps none that
others need, nor for ever."""

import threading
import time
import unittest

import psycopg2

from integration.support.case import only_pgweir
from integration.support.pgweir import ADMIN, Pgweir, users
from integration.support.postgres import QUERY_USER, Postgres, password_of
from integration.support.waiting import Stopwatch, wait_for

CROWD = ["crowd%d" % number for number in range(6)]
ROOM = 8  # beside the one connection on which users are asked for


@only_pgweir
class CrowdedTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(max_connections=ROOM + 4, superuser_reserved_connections=3).start()
        cls.addClassCleanup(cls.postgres.close)
        cls.postgres.query("create role pgweir login password 'pgweir-secret'")
        for user in CROWD:
            cls.postgres.query("create role %s login password '%s'" % (user, password_of(user)))
        cls.postgres.install_user_lookup()

    def pgweir(self, listed=(), **settings):
        made = Pgweir(self.postgres, **settings)
        made.settings["users"] = users(QUERY_USER, ADMIN, *listed)
        made.settings["auth"] = {"query_user": QUERY_USER}
        made.write_config()
        made.start()
        self.addCleanup(made.close)
        return made

    def servers_of(self, user):
        return self.postgres.query("select count(*) from pg_stat_activity where usename = %s", user)[0][0]

    def client(self, pooler, user):
        """One that stays, with as many servers as it can have of its minimum."""
        connection = pooler.connect(user=user)
        connection.autocommit = True
        connection.cursor().execute("select 1")
        return connection

    def test_users_who_have_left_make_room(self):
        for minconn in (5, 0):
            for workers in (1, 3):
                with self.subTest(minconn=minconn, workers=workers):
                    pooler = self.pgweir(pool={"minconn": minconn, "maxconn": 5, "wait_timeout": "10s"},
                                         workers=workers)
                    for user in CROWD + CROWD[:2]:
                        with Stopwatch() as watch:
                            clients = [self.client(pooler, user) for _ in range(5)]
                            for each in clients:
                                each.cursor().execute("begin")
                                each.cursor().execute("select 1")
                        self.assertLess(watch.seconds, 8, user)
                        for each in clients:
                            each.close()
                        wait_for(lambda: pooler.metric("pgweir_clients") == 0, "all have left", 20)
                    self.assertGreater(self.closes(pooler), 0)
                    pooler.close()

    @staticmethod
    def closes(pooler):
        return pooler.metric("pgweir_server_closes_total", reason="made_room") or 0

    def test_those_who_are_there_keep_their_minimum(self):
        pooler = self.pgweir(pool={"minconn": 4, "maxconn": 5, "wait_timeout": "1s"}, workers=1)
        stay = [self.client(pooler, user) for user in CROWD[:2]]
        for user in CROWD[:2]:
            wait_for(lambda of=user: self.servers_of(of) == 4, "the minimum is there", 20)
        with self.assertRaises(psycopg2.OperationalError) as raised:
            pooler.connect(user=CROWD[2])
        self.assertIn("Other pools of pgweir keep 8 idle: lower minconn", str(raised.exception))
        self.assertEqual([4, 4, 0], [self.servers_of(user) for user in CROWD[:3]])
        stay[1].close()
        wait_for(lambda: pooler.metric("pgweir_clients") == 1, "one has left", 20)
        self.assertEqual([(CROWD[2],)], pooler.query("select current_user::text", user=CROWD[2]))
        self.assertEqual(4, self.servers_of(CROWD[0]))

    def test_busy_pools_do_not_take_each_others_servers_again_and_again(self):
        """Four pools whose clients think between two statements: when each has its share, it keeps it."""
        for workers in (1, 3):
            with self.subTest(workers=workers):
                pooler = self.pgweir(pool={"minconn": 0, "maxconn": 8, "wait_timeout": "20s"}, workers=workers)
                clients = [self.client(pooler, user) for user in CROWD[:4] for _ in range(4)]
                told = []

                def work(client):
                    for _ in range(100):
                        with client.cursor() as cursor:
                            cursor.execute("select pg_sleep(0.005)")
                        time.sleep(0.02)
                    told.append(client)
                threads = [threading.Thread(target=work, args=(each,)) for each in clients]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(60)
                self.assertEqual(len(clients), len(told))
                self.assertLess(self.closes(pooler), 60)  # of 1600 statements; some at the beginning
                pooler.close()

    def test_what_nobody_has_used_for_idle_timeout_goes(self):
        pooler = self.pgweir(listed=[CROWD[0]], pool={"minconn": 2, "maxconn": 3, "idle_timeout": "2s"}, workers=2)
        stays = self.client(pooler, CROWD[1])
        for _ in range(4):  # on either worker
            pooler.query("select 1", user=CROWD[2])
        wait_for(lambda: self.servers_of(CROWD[2]) >= 2, "the minimum is there", 20)
        wait_for(lambda: self.servers_of(CROWD[2]) == 0, "they are closed", 20)
        self.assertEqual([2, 2], [self.servers_of(user) for user in CROWD[:2]])
        stays.close()
        pooler.query("select 1", user=CROWD[2])
        wait_for(lambda: self.servers_of(CROWD[2]) >= 2, "the minimum is back", 20)


if __name__ == "__main__":
    unittest.main()
