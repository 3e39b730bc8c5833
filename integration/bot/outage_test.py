"""The bot's users write on while PostgreSQL is killed with kill -9 and started again: no answer is
somebody else's, no acknowledged booking is lost, and a second after PostgreSQL accepts connections
again messages are answered again."""

import collections
import multiprocessing
import random
import threading
import time
import traceback
import unittest

import psycopg2

from integration.bot.bot import SCHEMA, Bot
from integration.support.case import PoolerCase, new_pooler, only_pgweir
from integration.support.postgres import DATABASE, Postgres
from integration.support.surroundings import PATIENCE
from integration.support.waiting import wait_for

USERS = 150
PROCESSES = 2
OUTAGES = 3
MAXCONN = 20
BACK_WITHIN = 1.0 * PATIENCE

# answered: (when, user). errors: (when it was sent, when it failed, text).
Report = collections.namedtuple("Report", "answered acknowledged attempted wrong errors bugs")


class User:
    """One user's conversation. What became of a booking whose commit failed is not known to her."""

    def __init__(self, dsn, number, report):
        self.bot, self.number, self.report = Bot(dsn, number), number, report
        self.name = "member %d" % number
        self.chance = random.Random(number)
        self.sure = self.attempts = 0

    def introduce_herself(self):
        self.check(self.bot.start(self.name), (self.number, self.name))

    def check(self, answer, expected):
        if answer != expected:
            self.report.wrong.append((self.number, expected, answer))

    def send_a_message(self):
        nonce = "%d/%x" % (self.number, self.chance.getrandbits(60))
        kind = self.chance.random()
        if kind < 0.4:
            *same, count, again = self.bot.profile(nonce)
            self.check((*same, again), (self.number, self.name, nonce, nonce))
            if not self.sure <= count <= self.attempts:
                self.report.wrong.append((self.number, self.sure, self.attempts, count))
        elif kind < 0.8:
            self.report.attempted.append(nonce)
            self.attempts += 1
            self.check(self.bot.book("yoga", nonce), (self.number, self.number, nonce))
            self.report.acknowledged.append(nonce)
            self.sure += 1
        elif kind < 0.9:
            self.bot.book_and_change_mind(nonce)
        else:
            self.bot.mistyped()

    def live(self, start_line, stop, progress):
        try:
            self.introduce_herself()
            start_line.wait(60)
            while not stop.value:
                sent = time.monotonic()
                try:
                    self.send_a_message()
                    self.report.answered.append((time.monotonic(), self.number))
                    progress[self.number] += 1
                except psycopg2.Error as error:
                    self.report.errors.append((sent, time.monotonic(), str(error)))
                    time.sleep(0.01)  # as a bot would, before it tries again
        except Exception:  # pylint: disable=broad-except
            self.report.bugs.append((self.number, traceback.format_exc(limit=3)))
        finally:
            self.bot.database.close()


def users_of_one_process(dsn, numbers, everybody, stop, progress, answers):
    """Runs in a process of its own; sends one Report."""
    threading.stack_size(256 * 1024)
    report = Report([], [], [], [], [], [])
    start_line = threading.Barrier(len(numbers), action=lambda: everybody.wait(60))
    threads = [threading.Thread(target=User(dsn, n, report).live, args=(start_line, stop, progress))
               for n in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put(report)


@only_pgweir
class OutageTest(PoolerCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(durable=True).start()  # acknowledged is on the disk
        cls.addClassCleanup(cls.postgres.close)
        cls.postgres.query(SCHEMA + "grant all on all tables in schema public to fitness;"
                           "grant all on all sequences in schema public to fitness",
                           database=DATABASE)
        cls.pooler = new_pooler(cls.postgres, pool={"minconn": 5, "maxconn": MAXCONN,
                                                    "wait_timeout": "30s"}).start()
        cls.addClassCleanup(lambda: cls.pooler.close())

    def outage(self):
        """Kills PostgreSQL and starts it again; (killed at, dead at, up at)."""
        killed = time.monotonic()
        self.postgres.kill()
        dead = time.monotonic()
        self.postgres.start(wait=False)
        wait_for(self.postgres.is_ready, "PostgreSQL is up", 60, interval=0.002)
        return killed, dead, time.monotonic()

    def run_users_through_outages(self):
        context = multiprocessing.get_context("fork")
        answers, everybody = context.Queue(), context.Barrier(PROCESSES)
        stop, progress = context.RawValue("b", 0), context.RawArray("L", USERS)
        dsn = self.pooler.dsn(connect_timeout=60)
        processes = [context.Process(target=users_of_one_process, args=(
            dsn, range(i, USERS, PROCESSES), everybody, stop, progress, answers))
            for i in range(PROCESSES)]
        for process in processes:
            process.start()
        outages = []
        try:
            for _ in range(OUTAGES):
                self.wait_for_messages(progress)
                outages.append(self.outage())
            self.wait_for_messages(progress)
        finally:
            stop.value = 1
            reports = [answers.get(timeout=120) for _ in processes]
            for process in processes:
                process.join()
        return outages, Report(*(sum((getattr(report, name) for report in reports), [])
                                 for name in Report._fields))

    @staticmethod
    def wait_for_messages(progress):
        """Everybody has been answered a few times since."""
        before = list(progress)
        wait_for(lambda: all(now >= then + 3 for now, then in zip(progress, before)),
                 "everybody is answered", 60)

    def test_nothing_acknowledged_is_lost_and_service_is_back_at_once(self):
        outages, report = self.run_users_through_outages()
        self.assertEqual([], report.bugs[:3])
        self.assertEqual([], report.wrong[:3])
        self.check_bookings(report)
        back = [self.check_service(report, outage) for outage in outages]
        strays = [error for error in report.errors if not any(
            error[1] >= killed and error[0] <= up + BACK_WITHIN for killed, _, up in outages)]
        self.assertEqual([], strays[:3], "errors that no outage explains")
        print("%d users, %d messages, %d bookings acknowledged and none lost, %d errors in %d"
              " outages of %s s; the first answer after PostgreSQL accepted connections: %s ms;"
              " everybody answered: %s ms"
              % (USERS, len(report.answered), len(report.acknowledged), len(report.errors),
                 len(outages), "/".join("%.1f" % (up - killed) for killed, _, up in outages),
                 "/".join("%.0f" % (1000 * first) for first, _ in back),
                 "/".join("%.0f" % (1000 * last) for _, last in back)))

    def check_bookings(self, report):
        rows = self.postgres.query("select member, class, nonce from bookings", database=DATABASE)
        present = {nonce for _, _, nonce in rows}
        self.assertEqual(len(rows), len(present), "a booking is there twice")
        self.assertEqual(set(), set(report.acknowledged) - present, "acknowledged, but not there")
        self.assertEqual(set(), present - set(report.attempted), "nobody has sent that")
        self.assertEqual([], [row for row in rows if row[1] != "yoga"
                              or row[2].split("/")[0] != str(row[0])])
        # A credit went with each booking, and none without.
        self.assertEqual([(len(rows),)], self.postgres.query(
            "select sum(1000000 - credits) from members", database=DATABASE))
        self.assertGreater(len(report.acknowledged), USERS)

    def check_service(self, report, outage):
        """Seconds from PostgreSQL's being up until the first answer, and until all have had one."""
        _, dead, up = outage
        first_of = {}
        for when, user in sorted(report.answered):
            if when > dead:
                first_of.setdefault(user, when)
        first, last = min(first_of.values()) - up, max(first_of.values()) - up
        self.assertLess(first, BACK_WITHIN, "PostgreSQL accepts connections, but nobody is served")
        return first, last


if __name__ == "__main__":
    unittest.main()
