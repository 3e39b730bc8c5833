"""A thousand users of the bot at once, each with a connection of its own, on at most fifty server
connections: every answer is its user's own, and PostgreSQL never sees more than fifty."""

import collections
import multiprocessing
import random
import threading
import time
import traceback
import unittest

from integration.bot.bot import SCHEMA, Bot
from integration.support.case import BackendSampler, PoolerCase
from integration.support.postgres import DATABASE

USERS = 1000
PROCESSES = 2
MESSAGES = 20  # per user
MAXCONN = 50

Report = collections.namedtuple("Report", "seconds booked wrong errors")


def talk(bot, number, start_line, report):
    """One user's conversation."""
    chance = random.Random(number)
    try:
        name = "member %d" % number
        if bot.start(name) != (number, name):
            report.wrong.append((number, "start"))
        start_line.wait(120)
        for message in range(MESSAGES):
            nonce = "%d/%d/%x" % (number, message, chance.getrandbits(40))
            began = time.monotonic()
            kind = chance.random()
            if kind < 0.5:
                answer = bot.profile(nonce)
                expected = (number, name, nonce, report.booked[number], nonce)
            elif kind < 0.8:
                answer, expected = bot.book("yoga", nonce), (number, number, nonce)
                report.booked[number] += 1
            elif kind < 0.9:
                answer = expected = bot.book_and_change_mind(nonce)
            else:
                answer = expected = bot.mistyped()
            report.seconds.append(time.monotonic() - began)
            if answer != expected:
                report.wrong.append((number, nonce, expected, answer))
    except Exception:  # pylint: disable=broad-except
        report.errors.append((number, traceback.format_exc(limit=3)))
    finally:
        bot.database.close()


def users_of_one_process(dsn, numbers, everybody, answers):
    """Runs in a process of its own; sends one Report."""
    threading.stack_size(256 * 1024)
    report = Report([], collections.Counter(), [], [])
    start_line = threading.Barrier(len(numbers), action=lambda: everybody.wait(120))
    threads = [threading.Thread(target=talk, args=(Bot(dsn, n), n, start_line, report))
               for n in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put(report)


class ThousandUsersTest(PoolerCase):
    settings = {"pool": {"minconn": 5, "maxconn": MAXCONN, "wait_timeout": "60s"}}

    def run_users(self):
        context = multiprocessing.get_context("fork")
        answers, everybody = context.Queue(), context.Barrier(PROCESSES)
        dsn = self.pooler.dsn(connect_timeout=120)
        processes = [context.Process(target=users_of_one_process, args=(
            dsn, range(i, USERS, PROCESSES), everybody, answers)) for i in range(PROCESSES)]
        for process in processes:
            process.start()
        reports = [answers.get(timeout=250) for _ in processes]
        for process in processes:
            process.join()
        return reports

    def test_every_answer_is_its_users_own_on_fifty_servers(self):
        self.postgres.query(SCHEMA + "grant all on all tables in schema public to fitness;"
                            "grant all on all sequences in schema public to fitness",
                            database=DATABASE)
        began = time.monotonic()
        # The users are in processes of their own: they do not slow the one who looks.
        sampler = BackendSampler(self.postgres)
        with sampler:
            reports = self.run_users()
        took = time.monotonic() - began

        self.assertEqual([], [error for report in reports for error in report.errors][:3])
        self.assertEqual([], [wrong for report in reports for wrong in report.wrong][:3])
        seconds = sorted(s for report in reports for s in report.seconds)
        self.assertEqual(USERS * MESSAGES, len(seconds))

        booked = sum(sum(report.booked.values()) for report in reports)
        self.assertEqual([(booked, 0)], self.postgres.query(
            "select count(*), count(*) filter (where class = 'never') from bookings",
            database=DATABASE))
        self.assertEqual([(booked,)], self.postgres.query(
            "select sum(1000000 - credits) from members", database=DATABASE))

        print("%d users, %d messages in %.1f s; server connections at most %d of %d (%d looks);"
              " p50 %.0f ms, p95 %.0f ms, p99 %.0f ms"
              % (USERS, len(seconds), took, sampler.most, MAXCONN, sampler.samples,
                 *(1000 * seconds[int(len(seconds) * p)] for p in (0.5, 0.95, 0.99))))
        self.assertLessEqual(sampler.most, MAXCONN)
        self.assertGreater(sampler.most, 1)
        self.assertGreater(sampler.samples, 20)


if __name__ == "__main__":
    unittest.main()
