"""Many users, and a PostgreSQL that has no connection for all of their pools: who has left keeps none for ever."""

import unittest

from integration.support.case import only_pgweir
from integration.support.pgweir import ADMIN, Pgweir, users
from integration.support.postgres import QUERY_USER, Postgres, password_of
from integration.support.waiting import wait_for

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
