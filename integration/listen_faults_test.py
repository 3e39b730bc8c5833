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
