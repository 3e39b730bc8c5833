"""The other clients of the pool: the same user's, with settings, roles and statements of their own under
names that the applications use too, coming and going. They assert that what they see is theirs."""

import contextlib
import random
import threading

from integration.applications.stage import noise_of
from integration.state.session import Marks, Session
from integration.support.postgres import OWNER

# What drivers call their statements: DBD::Pg, PDO, psycopg 3, JDBC, node-postgres as scripted, SQL's.
STATEMENT_NAMES = ("dbdpg_p1_1", "pdo_stmt_00000001", "_pg3_0", "S_1", "by name", "mine")
ZONES = ("Asia/Tokyo", "America/New_York", "Australia/Sydney")


def looks(s, sql, *expected):
    """Thrice, because another server may answer each time."""
    for _ in range(3):
        s.is_shown([expected], sql, s.run(sql))


def tune(s, noise, dice):
    """Session settings of every sort."""
    zone, timeout = dice.choice(ZONES), "%dms" % dice.choice((100001, 123457))
    s.run("set search_path = %s" % noise, "set time zone '%s'" % zone, "set statement_timeout = '%s'" % timeout,
          "set app.tenant = '%s'" % noise, "set role %s" % noise, "set datestyle = german")
    looks(s, "select current_user, current_schema(), current_setting('timezone'),"
             " current_setting('statement_timeout'), current_setting('app.tenant')",
          noise, noise, zone, timeout, noise)
    looks(s, "select name from products", noise)


def name_statements(s, noise, dice):
    """Prepared statements under the applications' names."""
    for name in dice.sample(STATEMENT_NAMES, 3):
        s.prepare(name, "select '%s %s'::text" % (noise, name))
        s.is_shown([("%s %s" % (noise, name),)], name, s.execute(name))


def transact(s, noise, dice):
    """What ends with the transaction, one way or the other."""
    s.run("begin", "set local role %s" % noise, "set local search_path = %s" % noise,
          "set time zone '%s'" % dice.choice(ZONES))
    looks(s, "select value from whoami", noise)
    s.run(dice.choice(("commit", "rollback")))


def leave_things(s, noise, dice):
    """What pins, and is left behind or discarded."""
    s.run("create temp table products as select '%s'::text as name" % noise,
          "prepare mine as select '%s'::text" % noise)
    looks(s, "select name from products", noise)
    looks(s, "execute mine", noise)
    if dice.random() < 0.5:
        s.run("discard all")


# A temporary table would hide what `tune` looks at.
VISITS = ((transact, tune, name_statements), (name_statements, tune), (transact, leave_things))


class Contender(threading.Thread):
    def __init__(self, where, number, stopped):
        super().__init__(name="contender %d" % number)
        self.where, self.number, self.stopped = where, number, stopped
        self.visits, self.failure = 0, None

    def run(self):
        dice = random.Random(self.number)
        try:
            while not self.stopped.is_set():
                self.visit(dice)
                self.visits += 1
        except Exception as failure:
            self.failure = "%s: %s: %s" % (self.name, type(failure).__name__, failure)

    def visit(self, dice):
        session = Session(self.where, OWNER, Marks(self.number, self.visits), dice, None, {},
                          dice.choice(("simple", "extended")), {})
        session.open()
        try:
            for part in dice.choice(VISITS):
                part(session, noise_of(self.number), dice)
        finally:
            session.close()


@contextlib.contextmanager
def contending(where, count):
    """The block runs beside `count` contenders; yields them, to be looked at when they have ended."""
    stopped = threading.Event()
    contenders = [Contender(where, number, stopped) for number in range(count)]
    for contender in contenders:
        contender.start()
    try:
        yield contenders
    finally:
        stopped.set()
        for contender in contenders:
            contender.join()
