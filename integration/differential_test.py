"""Conversations in PostgreSQL's protocol, played direct and through the daemon: what clients hear must
be the same, message by message (integration/differential/README.md).

The scripts are played through pools of 1, 2 and 5 servers, and through two that other clients keep
moving, so that a client gets another server nearly every time.

    PGWEIR_DIFFERENTIAL_ONLY=copy           only scripts with one of these words in their names
    PGWEIR_DIFFERENTIAL_POOLS=one,five      only these pools (POOLS)
    PGWEIR_DIFFERENTIAL_MINUTES=60          so long for random conversations
    PGWEIR_DIFFERENTIAL_SEED=4711           … beginning with this one's seed
"""

import os
import subprocess
import sys
import unittest

from integration.support import surroundings
from integration.support.pgweir import Pgweir
from integration.support.postgres import DATABASE, OWNER, Postgres

FOLDER = os.path.join(surroundings.ROOT, "integration", "differential", "scripts")
PROGRAM = os.environ.get("PGWEIR_DIFFERENTIAL", os.path.join(
    surroundings.BUILD, "integration", "differential", "pgweir_differential"))
ONLY = os.environ.get("PGWEIR_DIFFERENTIAL_ONLY", "").split()
ONLY_POOLS = os.environ.get("PGWEIR_DIFFERENTIAL_POOLS", "").replace(",", " ").split()
# The harness is about what comes after the login; that has tests of its own.
TRUST = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
POOLS = [  # name, servers, other clients
    ("one", 1, 0), ("two", 2, 0), ("five", 5, 0), ("two-moving", 2, 2), ("five-moving", 5, 4),
]


class DifferentialTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(hba=TRUST).start()
        cls.addClassCleanup(cls.postgres.close)

    def pooler(self, servers):
        """A daemon of its own for each pool: what one does to its servers, another does not see."""
        daemon = Pgweir(self.postgres, auth={"method": "trust"}, log={"connections": False,
                                                                      "disconnections": False},
                        pool={"minconn": servers, "maxconn": servers, "wait_timeout": "30s"})
        self.addCleanup(daemon.close)
        return daemon.start()

    def play(self, pools, *arguments, patience=10):
        """Runs the program on those pools; its output is ours, and its last lines the summary."""
        daemons = [(name, servers, others, self.pooler(servers)) for name, servers, others in pools
                   if not ONLY_POOLS or name in ONLY_POOLS]
        command = [PROGRAM, "--user", OWNER, "--database", DATABASE,
                   "--direct", "%s:%d" % (self.postgres.host, self.postgres.port),
                   "--admin", "host=%s port=%d user=%s dbname=%s" % (
                       self.postgres.directory, self.postgres.port, OWNER, DATABASE),
                   "--patience", str(patience * surroundings.PATIENCE)]
        for name, servers, others, daemon in daemons:
            command += ["--through", "%s,%d,%d=%s:%d" % (
                name, servers, others, daemon.host, daemon.port)]
        for part in ONLY:
            command += ["--only", part]
        ended = subprocess.run(command + list(arguments), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, check=False)
        print(ended.stdout, file=sys.stderr)
        for _, _, _, daemon in daemons:
            self.assertIsNone(daemon.process.poll(), "a daemon ended:\n" + daemon.log()[-4000:])
        self.assertEqual(0, ended.returncode, "differences, see above")

    def test_scripts(self):
        self.play(POOLS, "--twice", FOLDER)

    def test_random(self):
        """Random conversations: the same ones each time; more, and for as long as wanted, on demand."""
        self.play(POOLS, "--random",
                  "--seeds", "1000000000" if "PGWEIR_DIFFERENTIAL_MINUTES" in os.environ else "2000",
                  "--seed", os.environ.get("PGWEIR_DIFFERENTIAL_SEED", "1"),
                  "--minutes", os.environ.get("PGWEIR_DIFFERENTIAL_MINUTES", "20"))


if __name__ == "__main__":
    unittest.main()
