"""Runs the clients and counts. Each client is a thread that walks through all kinds in an order of its
own, each on a new session, which leaves as it happens to; so clients are in different kinds at the same
time, and get servers that others have just used for something else.
"""

import collections
import os
import random
import threading
import time

from integration.state import (  # noqa: F401 (these fill the registry)
    effect_kinds, lock_kinds, memory_kinds, object_kinds, role_kinds, settings_kinds, stage,
    statement_kinds)
from integration.state.registry import KINDS
from integration.state.session import PROTOCOLS, Marks, Observer, Refused, Session, Wrong
from integration.support.pgbouncer import Pgbouncer
from integration.support.pgweir import ADMIN, Pgweir, users
from integration.support.postgres import OWNER, Postgres, password_of
from integration.support.surroundings import POSTGRES_BIN
from integration.support.waiting import wait_for

RIGHT, ERROR, WRONG, PROCESS_ID = OUTCOMES = ("right", "error", "wrong", "process id")
LIBRARIES = os.path.join(os.path.dirname(POSTGRES_BIN), "lib")
EXAMPLES = 3
STEPS = 8  # of a session, in an example

Run = collections.namedtuple("Run", "clients rounds seconds kinds protocol seed")


def available_kinds(names=None):
    """Those of these names, or all, that this PostgreSQL has the libraries for."""
    unknown = set(names or ()) - set(KINDS)
    if unknown:
        raise LookupError("no such kind: " + ", ".join(sorted(unknown)))
    return [kind for kind in KINDS.values() if (not names or kind.name in names)
            and (kind.library is None or os.path.exists(os.path.join(LIBRARIES, kind.library)))]


def start_postgres():
    postgres = Postgres(hba=stage.HBA, autovacuum="on", max_prepared_transactions=50,
                        wal_level="replica", max_wal_senders=1, max_replication_slots=30).start()
    stage.prepare(postgres)
    return postgres


def start_pgweir(postgres, servers, switch, workers=2, **pool):
    """With all its servers open, so that there is another one to switch to."""
    pool = dict(pool, mode="transaction", minconn=servers, maxconn=servers, wait_timeout="60s")
    logins = dict(users(*stage.LOGINS, ADMIN), **{OWNER: None})
    daemon = Pgweir(postgres, rotate=switch, users=logins, auth={"method": "trust"}, pool=pool,
                    slow_query="off", workers=workers).start()
    wait_for(lambda: daemon.metric("pgweir_pool_servers", state="idle") == servers * len(stage.LOGINS),
             "all servers are open")
    return daemon


def start_pgbouncer(postgres, servers):
    bouncer = Pgbouncer(postgres, auth_type="trust", default_pool_size=servers, min_pool_size=servers,
                        query_wait_timeout=60)
    with open(os.path.join(bouncer.directory, "users.txt"), "a", encoding="ascii") as file:
        file.writelines('"%s" "%s"\n' % (role, password_of(role)) for role in stage.LOGINS)
    return bouncer.start()


class Tally:
    """Outcomes by kind, and a few examples of each that is not right."""

    def __init__(self, kinds):
        self.kinds = kinds
        self.counts = {kind.name: collections.Counter() for kind in kinds}
        self.examples = collections.defaultdict(list)
        self.lock = threading.Lock()

    def add(self, kind, outcome, example):
        if outcome == WRONG and kind.about_process_id:
            outcome = PROCESS_ID
        with self.lock:
            self.counts[kind.name][outcome] += 1
            examples = self.examples[kind.name, outcome]
            if example is not None and len(examples) < EXAMPLES:
                examples.append(example)

    def total(self, outcome=None):
        return sum(sum(counts.values()) if outcome is None else counts[outcome]
                   for counts in self.counts.values())

    def names(self, outcome):
        return [kind.name for kind in self.kinds if self.counts[kind.name][outcome]]

    def line(self):
        return "%d kinds %d rounds right %d errors %d wrong %d process id %d" % (
            (len(self.kinds), self.total()) + tuple(self.total(outcome) for outcome in OUTCOMES))

    def table(self):
        lines = ["%-40s %8s %8s %8s %10s" % (("kind",) + OUTCOMES)]
        for kind in self.kinds:
            counts = self.counts[kind.name]
            lines.append("%-40s %8d %8d %8d %10d"
                         % ((kind.name,) + tuple(counts[outcome] for outcome in OUTCOMES)))
        return "\n".join(lines)

    def explanations(self):
        """What was wrong and what was refused, one line for each kind and outcome."""
        lines = []
        for outcome in (WRONG, ERROR, PROCESS_ID):
            for kind in self.kinds:
                for example in self.examples[kind.name, outcome][:1]:
                    lines.append("%s: %s (%s)\n    %s" % (outcome, kind.name, kind.about, example))
        return "\n".join(lines)


def described(trouble, session):
    """What happened, and the last of what the session had sent by then."""
    return "%s\n    %s: %s" % (trouble, session.protocol, "; ".join(session.steps[-STEPS:]))


class Client(threading.Thread):
    """One of the dozen."""

    def __init__(self, number, run, where, postgres, tally, shared):
        super().__init__(name="client %d" % number)
        self.number, self.run_of, self.where, self.tally = number, run, where, tally
        self.observer, self.shared = Observer(postgres), shared
        self.failure = None

    def run(self):
        deadline = None if self.run_of.seconds is None else time.monotonic() + self.run_of.seconds
        try:
            for round_number in range(self.run_of.rounds):
                self.walk(round_number, deadline)
        except Exception as failure:  # the checker's own
            self.failure = failure
        finally:
            self.observer.close()

    def walk(self, round_number, deadline):
        dice = random.Random("%s/%d/%d" % (self.run_of.seed, self.number, round_number))
        kinds = list(self.run_of.kinds)
        dice.shuffle(kinds)
        for kind in kinds:
            if deadline is not None and time.monotonic() > deadline:
                return
            outcome, example = self.visit(kind, round_number, dice)
            self.tally.add(kind, outcome, example)

    def visit(self, kind, round_number, dice):
        marks = Marks(self.number, round_number * len(KINDS) + list(KINDS).index(kind.name))
        protocol = self.run_of.protocol or dice.choice(PROTOCOLS)
        session = Session(self.where, kind.user, marks, dice, self.observer, self.shared, protocol,
                          kind.parameters(marks))
        try:
            session.open()
            kind.run(session)
            return RIGHT, None
        except Wrong as wrong:
            return WRONG, described(wrong, session)
        except Refused as refused:
            return ERROR, described(refused, session)
        finally:
            session.close()


def check(run, where, postgres, tally=None):
    """Runs all clients against `where` to the end; what they found, in `tally` if there is one."""
    tally, shared = tally or Tally(run.kinds), {}
    clients = [Client(number, run, where, postgres, tally, shared) for number in range(run.clients)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    for client in clients:
        if client.failure is not None:
            raise client.failure
    return tally
