"""What a session sees of its own state, in short: `./dev state` does it at length. The daemon hands out
another server at every boundary where it may."""

import contextlib
import unittest

from integration.state.checker import (
    ERROR, RIGHT, WRONG, Run, available_kinds, check, start_pgweir, start_postgres)
from integration.state.known import AFTER, KNOWN_REFUSED, KNOWN_WRONG
from integration.state.registry import KINDS
from integration.support.case import only_pgweir

CLIENTS = 12
SERVERS = 4
SEED = "1"


@only_pgweir
class StateTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = start_postgres()
        cls.addClassCleanup(cls.postgres.close)

    def play(self, daemon, names, clients, rounds):
        return check(Run(clients, rounds, None, available_kinds(names), None, SEED), daemon,
                     self.postgres)

    def daemon(self, workers):
        return contextlib.closing(start_pgweir(self.postgres, SERVERS, True, workers))

    def test_the_checker_is_right_about_postgresql(self):
        tally = self.play(self.postgres, None, CLIENTS, 1)
        self.assertEqual(tally.total(), tally.total(RIGHT), tally.explanations())

    def test_nothing_is_wrong_but_what_is_known_to_be(self):
        with self.daemon(workers=2) as daemon:
            tally = self.play(daemon, [name for name in KINDS if name not in KNOWN_WRONG], CLIENTS, 2)
        self.assertEqual([], tally.names(WRONG), tally.explanations())
        self.assertEqual(sorted(KNOWN_REFUSED), sorted(tally.names(ERROR)), tally.explanations())

    def test_what_is_known_to_be_wrong_still_is(self):
        """Otherwise strike it off the list in integration/state/known.py. One client alone on one
        worker: it is given another server each time."""
        for name in KNOWN_WRONG:
            with self.subTest(kind=name), self.daemon(workers=1) as daemon:
                if name in AFTER:
                    self.play(daemon, [AFTER[name]], 1, 2 * SERVERS)
                tally = self.play(daemon, [name], 1, 2 * SERVERS if name in AFTER else 1)
                self.assertLess(tally.total(RIGHT), tally.total(), "it is right now")


if __name__ == "__main__":
    unittest.main()
