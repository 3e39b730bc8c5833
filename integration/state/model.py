"""The model test: random clients, and PostgreSQL itself as the model.

Each client of a seed does random state operations on a session of its own, direct: that is what it must
see. Then the clients do the same through pgweir, their steps interleaved by dice on as many servers as
there are clients, another server at every permitted boundary, one step at a time, so that a seed does
the same each time. What each is shown, step by step, must be what it was shown direct. The direct run
draws the steps as it goes, knowing whether it is in a transaction; a seed that fails is made smaller by
leaving out steps for as long as it fails.
"""

import argparse
import contextlib
import sys
import time

from integration.state import model_operations as operations
from integration.state import stage
from integration.state.checker import start_pgweir, start_postgres
from integration.state.known import NOT_IN_MODEL
from integration.state.model_player import Player
from integration.support import surroundings
from integration.support.postgres import DATABASE

CLIENTS = 4
STEPS = 30
MODEL_DATABASE = "model"
END = (("simple", "rollback"), ("simple", "select current_user, session_user, current_schemas(false)"))
NOTIFICATION_SECONDS = 5
NOTHING = ("3F000", "42P01", "42883")  # no such schema, table, function


class Difference(Exception):
    """A client was shown something else."""

    def __init__(self, client, steps, position, expected, seen):
        super().__init__(client, steps, position, expected, seen)
        self.client, self.steps, self.position = client, steps, position
        self.expected, self.seen = expected, seen

    def __str__(self):
        lines = ["%s, a client of %s %s, is shown something else at step %d" % (
            self.client.name, self.client.user, self.client.parameters or "", self.position)]
        for number, step in enumerate([("login",)] + list(self.steps)[:self.position]):
            lines.append("    %2d %s" % (number, " | ".join(step)))
        return "\n".join(lines + ["  direct:  %s" % shown(self.expected, self.seen),
                                  "  pgweir:  %s" % shown(self.seen, self.expected)])


def shown(seen, other):
    """All that was seen, but of what is reported only what the other lacks."""
    known = {pair for one in other if one[0] == "reported" for pair in one}
    told = [("reported",) + tuple(sorted(set(one[1:]) - known)) if one[0] == "reported" else one for one in seen]
    return "; ".join(" ".join(str(part) for part in one) for one in told)


def comparable(step, seen):
    """Without what is known to be reported late, and whether there once was a temporary schema."""
    text = " ".join(step).lower()
    late = NOT_IN_MODEL["ParameterStatus at once of RESET"] and any(
        word in text for word in ("reset", "default", "discard", "local", "undo()"))
    return [("error", "nothing temporary") if one[0] == "error" and one[1] in NOTHING and "pg_temp." in text else one
            for one in seen if not (late and one[0] == "reported")]


class Stage:
    """A PostgreSQL with two databases that are the same, and pgweir in front of one of them."""

    def __init__(self):
        self.postgres = start_postgres()
        self.postgres.query("create database %s template %s" % (MODEL_DATABASE, DATABASE))
        self.postgres.query("alter role %s in database %s set join_collapse_limit = 6" % (
            stage.CONFIGURED, MODEL_DATABASE))
        # One worker: with several, which server is next would depend on the moment.
        self.pooler = start_pgweir(self.postgres, CLIENTS, switch=True, workers=1)
        self.observers = [self.postgres.connect(database=name) for name in (DATABASE, MODEL_DATABASE)]

    def prepare(self, clients):
        """The clients' own objects, as if nobody had been there."""
        for observer in self.observers:
            with observer.cursor() as cursor:
                for client in clients:
                    cursor.execute("drop table if exists public.{0}; drop sequence if exists public.{0}_numbers"
                                   .format(client.name))
                    cursor.execute(operations.objects(client))

    def close(self):
        for observer in self.observers:
            observer.close()
        self.pooler.close()
        self.postgres.close()


def draw(client, dice, place):
    """The steps of a client, drawn while it runs direct, and what it sees."""
    drawn, steps = operations.Operations(client, dice), []
    with contextlib.closing(Player(place, client.user, client.parameters)) as player:
        while len(steps) < STEPS:
            drawn.status = player.status
            for step in operations.next_steps(drawn):
                steps.append(step)
                player.play(step)
        for step in END:
            steps.append(step)
            player.play(step)
        return steps, player.seen, player.notifications


def replay(client, steps, place):
    """What a client sees direct of steps that are given."""
    with contextlib.closing(Player(place, client.user, client.parameters)) as player:
        for step in steps:
            player.play(step)
        return player.seen, player.notifications


def compare(client, steps, player, expected):
    seen, at = player.seen, len(player.seen) - 1
    step = steps[at - 1] if at > 0 else ("login",)
    if comparable(step, seen[at]) != comparable(step, expected[at]):
        raise Difference(client, steps, at, expected[at], seen[at])


def through_pgweir(clients, runs, dice, place):
    """The clients' steps, interleaved. `runs`: steps, what is to be seen, notifications, for each client."""
    with contextlib.ExitStack() as stack:
        players = []
        for client, (steps, expected, _) in zip(clients, runs):
            players.append(stack.enter_context(contextlib.closing(
                Player(place, client.user, client.parameters))))
            compare(client, steps, players[-1], expected)
        left = [number for number, (steps, _, _) in enumerate(runs) for _ in steps]
        dice.shuffle(left)
        for number in left:
            steps, expected, _ = runs[number]
            player = players[number]
            player.play(steps[len(player.seen) - 1])
            compare(clients[number], steps, player, expected)
        for client, player, (steps, _, notifications) in zip(clients, players, runs):
            deadline = time.monotonic() + NOTIFICATION_SECONDS * surroundings.PATIENCE
            while len(player.notifications) < len(notifications) and time.monotonic() < deadline:
                player.carry_out(("simple", "select 1"))
                time.sleep(0.01)
            if player.notifications != notifications:
                raise Difference(client, steps, len(steps), notifications, player.notifications)


def run_seed(seed, where):
    """Raises Difference; `clients` and their runs go with it, to be made smaller."""
    clients = [operations.make_client(seed, number, operations.dice_of(seed, number)) for number in range(CLIENTS)]
    where.prepare(clients)
    runs = [draw(client, operations.dice_of(seed, 100 + client.number), (where.postgres, MODEL_DATABASE))
            for client in clients]
    try:
        through_pgweir(clients, runs, operations.dice_of(seed, 1000), (where.pooler, DATABASE))
    except Difference as difference:
        difference.clients, difference.all_steps = clients, [steps for steps, _, _ in runs]
        raise
    return sum(len(steps) for steps, _, _ in runs)


def fails(seed, clients, all_steps, where):
    """The difference that these steps show, or None."""
    where.prepare(clients)
    runs = [(steps,) + replay(client, steps, (where.postgres, MODEL_DATABASE))
            for client, steps in zip(clients, all_steps)]
    try:
        through_pgweir(clients, runs, operations.dice_of(seed, 1000), (where.pooler, DATABASE))
    except Difference as difference:
        return difference
    return None


def may_be_drawn(steps):
    """Leaving out a COMMIT must not make what is known to be wrong of what is right."""
    inside = False
    for step in steps:
        text = " ".join(step[1:]).lower()
        if text.startswith(("begin", "start")) or "chain" in text:
            inside = True
        elif text.startswith(("commit", "rollback", "end")) and " to " not in text:
            inside = False
        elif step[0] == "reconnect":
            inside = False
        elif inside and "undo()" in text:
            return False
    return True


def smaller(seed, difference, where, seconds=60, find=None):
    """Leaves out clients, halves, and single steps, for as long as there is a difference."""
    deadline = time.monotonic() + seconds
    find = find or fails
    clients, best = difference.clients, [list(steps) for steps in difference.all_steps]
    size = STEPS
    while size:
        for number in range(len(best)):
            start = 0
            while start < len(best[number]) and time.monotonic() < deadline:
                tried = [list(steps) for steps in best]
                del tried[number][start:start + size]
                found = find(seed, clients, tried, where) if may_be_drawn(tried[number]) else None
                if found is None:
                    start += size
                else:
                    best, difference = tried, found
        size //= 2
    others = [steps for client, steps in zip(clients, best) if client != difference.client and steps]
    return difference, others


def explain(seed, difference, where):
    smallest, others = smaller(seed, difference, where)
    text = "seed %s: %s" % (seed, smallest)
    for steps in others:
        text += "\n  beside another that does: %s" % "; ".join(" | ".join(step) for step in steps)
    return text


def check(seeds, seconds=None, report=print, shrink=True):
    """Runs the seeds; the explanations of those that failed, how many ran, how many steps."""
    failures, steps, ran = [], 0, 0
    deadline = None if seconds is None else time.monotonic() + seconds
    with contextlib.closing(Stage()) as where:
        for seed in seeds:
            if deadline is not None and time.monotonic() > deadline:
                break
            ran += 1
            try:
                steps += run_seed(seed, where)
            except Difference as difference:
                failures.append(explain(seed, difference, where) if shrink else "seed %s: %s" % (seed, difference))
                report(failures[-1])
    return failures, ran, steps


def main(argv):
    parser = argparse.ArgumentParser(prog="./dev state --model", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=300, metavar="N", help="how many (300)")
    parser.add_argument("--first", type=int, default=1, metavar="M", help="the first of them (1)")
    parser.add_argument("--seconds", type=float, default=None, metavar="S", help="begin none after this time")
    parser.add_argument("--as-it-is", action="store_true", help="make no failing seed smaller")
    given = parser.parse_args(argv)
    began = time.monotonic()
    failures, ran, steps = check(range(given.first, given.first + given.seeds), given.seconds,
                                 lambda text: print(text, flush=True), not given.as_it_is)
    print("%d seeds %d steps %.1f s differ %d" % (ran, steps, time.monotonic() - began, len(failures)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
