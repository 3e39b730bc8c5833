"""The path of a Unix socket: whose it is when several start at once, and what is left of those that
have gone."""

import os
import signal
import stat
import unittest

import psycopg2

from integration.support import surroundings
from integration.support.case import new_pooler, only_pgweir, shared_postgres
from integration.support.waiting import wait_for


@only_pgweir
class UnixSocketTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = shared_postgres()

    def setUp(self):
        self.folder = surroundings.temporary_directory("socket")
        self.number = surroundings.reserve_port()
        self.path = os.path.join(self.folder, ".s.PGSQL.%d" % self.number)

    def pooler(self):
        made = new_pooler(self.postgres, pool={"minconn": 0})
        made.settings["listen"].append({"address": self.folder, "port": self.number})
        made.write_config()
        self.addCleanup(made.close)
        return made

    def logs_in(self, pooler):
        with psycopg2.connect(**pooler.dsn(host=self.folder, port=self.number)) as connection:
            with connection.cursor() as cursor:
                cursor.execute("select 1")
        connection.close()

    def leave_a_stale_one(self):
        gone = self.pooler().start()
        gone.stop(signal.SIGKILL)
        self.assertTrue(os.path.exists(self.path))

    def test_of_several_that_start_at_once_one_runs(self):
        for attempt in range(6):
            with self.subTest(attempt=attempt):
                self.leave_a_stale_one()
                all_of_them = [self.pooler() for _ in range(6)]
                for each in all_of_them:
                    each.process = surroundings.start_process(
                        [surroundings.BINARY, "run", "--user", each.user, "--config", each.config_path],
                        each.log_path)
                wait_for(lambda a=all_of_them: all(
                    each.process.poll() is not None or "ready version=" in each.log()
                    for each in a), "each has started or given up", 60)
                running = [each for each in all_of_them if each.process.poll() is None]
                self.assertEqual(1, len(running), "\n".join(each.log() for each in all_of_them))
                self.logs_in(running[0])
                running[0].stop(signal.SIGKILL)

    def test_it_leaves_nothing_and_another_may_come(self):
        for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            one = self.pooler().start()
            self.logs_in(one)
            self.assertEqual(one.process.pid, int(surroundings.read_text(self.path + ".lock")))
            second = self.pooler()
            with self.assertRaisesRegex(AssertionError, "in use"):
                second.start()
            self.logs_in(one)
            one.stop(how)
        self.assertEqual([], os.listdir(self.folder))

    def test_what_is_no_socket_is_left_alone(self):
        with open(self.path, "w", encoding="ascii") as file:
            file.write("precious")
        with self.assertRaisesRegex(AssertionError, "in use"):
            self.pooler().start()
        self.assertTrue(stat.S_ISREG(os.stat(self.path).st_mode))
        self.assertEqual("precious", surroundings.read_text(self.path))

    def test_a_postgresql_that_has_it(self):
        """Its lock file is not locked, and stays."""
        self.folder, self.number = self.postgres.directory, self.postgres.port
        self.path = os.path.join(self.folder, ".s.PGSQL.%d" % self.number)
        before = surroundings.read_text(self.path + ".lock")
        self.assertNotEqual("", before)
        with self.assertRaisesRegex(AssertionError, "in use"):
            self.pooler().start()
        self.assertEqual(before, surroundings.read_text(self.path + ".lock"))
        self.assertTrue(os.path.exists(self.path))


if __name__ == "__main__":
    unittest.main()
