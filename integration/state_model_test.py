"""Random clients see through the daemon what they see direct: `./dev state --model` does it at length."""

import unittest

from integration.state import model
from integration.state.known import KNOWN_REFUSED, KNOWN_WRONG, NOT_IN_MODEL
from integration.state.registry import KINDS
from integration.support.case import only_pgweir

SEEDS = range(1, 201)


@only_pgweir
class StateModelTest(unittest.TestCase):
    def test_random_clients_see_what_a_direct_connection_shows(self):
        failures, ran, _ = model.check(SEEDS, report=lambda text: None)
        self.assertEqual([], failures, "\n".join(failures))
        self.assertEqual(len(SEEDS), ran)

    def test_a_difference_is_found_and_made_small(self):
        """Of two clients, one is told to expect what is not so, twenty steps on."""
        clients = [model.operations.make_client("planted", number, model.operations.dice_of("x", number))
                   for number in range(2)]
        steps = [("simple", "select %d" % number) for number in range(20)] + [("simple", "select 'here'")]
        planted = [steps, steps[:5]]

        def found(_seed, some_clients, all_steps, _where):
            hit = ("simple", "select 'here'") in all_steps[0]
            return model.Difference(some_clients[0], all_steps[0], len(all_steps[0]), [], []) if hit else None

        difference = found(None, clients, planted, None)
        difference.clients, difference.all_steps = clients, planted
        smallest, others = model.smaller("planted", difference, None, find=found)
        self.assertEqual([("simple", "select 'here'")], list(smallest.steps))
        self.assertEqual([], others)

    def test_what_is_left_out_is_known(self):
        for what, kind in NOT_IN_MODEL.items():
            if kind in KINDS:
                self.assertTrue(kind in KNOWN_WRONG or kind in KNOWN_REFUSED, what)


if __name__ == "__main__":
    unittest.main()
