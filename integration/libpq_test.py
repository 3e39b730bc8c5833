"""libpq's own corners (pipelines, COPY, cancel, notices, large objects, …) behave through the daemon
as they do without it: integration/libpq/corners_test.cpp plays each script twice and compares."""

import os
import subprocess
import unittest

from integration.support import surroundings
from integration.support.case import PoolerCase
from integration.support.postgres import DATABASE, OWNER, password_of

CORNERS = os.environ.get("PGWEIR_LIBPQ_CORNERS", os.path.join(
    surroundings.BUILD, "integration", "libpq", "pgweir_libpq_corners"))


class CornersTest(PoolerCase):
    def play(self, **environment):
        def conninfo(port):
            return "host=127.0.0.1 port=%d user=%s password=%s dbname=%s" % (
                port, OWNER, password_of(OWNER), DATABASE)
        ended = subprocess.run(
            [CORNERS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=120 * surroundings.PATIENCE,
            env=dict(os.environ, PGWEIR_DIRECT=conninfo(self.postgres.port),
                     PGWEIR_POOLED=conninfo(self.pooler.port), **environment))
        self.assertEqual(0, ended.returncode, ended.stdout[-8000:])
        self.assertIn("SUCCESS", ended.stdout)

    def test_the_same_with_and_without(self):
        self.play()
        # Again, on server connections that have seen all of it.
        self.play()


@unittest.skipIf(os.environ.get("PGWEIR_STAND_IN"), "is about pgweir itself")
class OneServerTest(CornersTest):
    """Everything through the same server connection, which each script must leave clean."""

    settings = {"pool": {"minconn": 1, "maxconn": 1}}


@unittest.skipIf(os.environ.get("PGWEIR_STAND_IN"), "is about pgweir itself")
class SessionModeTest(CornersTest):
    settings = {"pool": {"mode": "session"}}


if __name__ == "__main__":
    unittest.main()
