"""LISTEN in transaction mode when something goes wrong, is changed meanwhile, or is not as usual: the
listening connection is refused or killed, PostgreSQL restarts, the policy is reloaded, names and
encodings are odd."""

import select
import signal
import threading
import time
import unittest

from integration.listen_test import POOL, Listener, ListenCase
from integration.support.case import only_pgweir
from integration.support.postgres import OWNER
from integration.support.surroundings import PATIENCE
from integration.support.waiting import wait_for


@only_pgweir
class OddTest(ListenCase):
    def test_names_that_are_cut_off_or_escaped(self):
        """UNLISTEN in a transaction block names what no server listens to."""
        one = Listener(self.connect())
        names = ['"%s"' % ("ö" * 40), '"x%s"' % ("ö" * 40), "x" * 70, 'U&"d\\0061t\\+000061"']
        for name in names:
            one.run("listen " + name)
        self.is_shared()
        self.assertEqual(4, len(one.channels().split(",")), one.channels())
        for count, name in enumerate(names, 1):
            one.run("begin", "unlisten " + name, "commit")
            left = one.channels()
            self.assertEqual(4 - count, 0 if left == "none" else len(left.split(",")), name)

    def test_another_encoding_disturbs_nobody(self):
        latin = Listener(self.connect(client_encoding="LATIN1"))
        latin.run('listen "ö"')  # one byte, which is not UTF-8
        one = self.listener('"ö"', "plain")
        self.direct.run("notify \"ö\", 'ä'")
        latin.hears(("ö", "ä"))
        one.hears(("ö", "ä"))
        wait_for(lambda: self.metric("pgweir_pool_pinned_clients") == 1, "only one is pinned")
        latin.run("unlisten *")
        self.is_shared()
        self.assertNotIn("listening connection lost", self.pooler.log())


if __name__ == "__main__":
    unittest.main()
