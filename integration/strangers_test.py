"""Strangers by the hundred thousand: malformed first packets end nothing but their own connections, and
guessed cancel keys hit nobody. What either costs is printed.

PGWEIR_FULL_SIZE=1 sends ten million of each."""

import json
import os
import random
import subprocess
import threading
import unittest

import psycopg2

from integration.support import surroundings
from integration.support.case import PoolerCase, only_pgweir
from integration.support.certificates import Authority
from integration.support.login_matrix import FULL_SIZE
from integration.support.peers import cpu_seconds, memory_bytes
from integration.support.surroundings import PATIENCE
from integration.support.waiting import wait_for

BINARY = os.environ.get("PGWEIR_STRANGERS",
                        os.path.join(surroundings.BUILD, "integration", "strangers", "pgweir_strangers"))
COUNT = 10_000_000 if FULL_SIZE else int(150_000 / PATIENCE)
GROWTH_BYTES = 24 << 20


@only_pgweir
class StrangersTest(PoolerCase):
    settings = {"log": {"level": "error"}, "pool": {"minconn": 1, "maxconn": 4},
                "auth": {"login_timeout": "10s"}}

    @classmethod
    def setUpClass(cls):
        certificate, key = Authority().sign("pgweir", "localhost", "DNS:localhost")
        cls.settings = dict(cls.settings, tls={"certificate": certificate, "key": key})
        super().setUpClass()

    def send(self, what, count, *more, seed=1):
        """So many of them; what the program says, and the daemon's CPU for each."""
        before = cpu_seconds(self.pooler.process)
        done = subprocess.run([BINARY, "--port", str(self.pooler.port), "--what", what, "--count", str(count),
                               "--seed", str(seed), *more], capture_output=True, text=True, check=True)
        came_to = json.loads(done.stdout)
        micros = (cpu_seconds(self.pooler.process) - before) / count * 1e6
        print("%s: %d in %.1f s, %.1f us of the daemon's CPU each, failed to connect %d, answers %r" % (
            what, count, came_to["seconds"], micros, came_to["failed"], came_to["answers"]), flush=True)
        self.assertLess(came_to["failed"], count / 100)
        return came_to, micros

    def busy(self, stop, wrong, counts):
        """A client whom nobody may disturb."""
        try:
            client = psycopg2.connect(**self.pooler.dsn(sslmode="disable"))
            client.autocommit = True
            while not stop.is_set():
                nonce = random.randrange(1 << 30)
                if self.value(client, "select %s from pg_sleep(0.02)", nonce) != nonce:
                    wrong.append(nonce)
                counts.append(1)
            client.close()
        except psycopg2.Error as error:
            wrong.append(repr(error))

    def test_malformed_first_packets(self):
        self.send("startup", 20_000)  # the pools of buffers are filled
        before = memory_bytes(self.pooler.process)
        witness = self.connect(sslmode="disable")
        self.value(witness, "select 1")
        _, micros = self.send("startup", COUNT, seed=random.randrange(1 << 60))
        self.assertEqual(7, self.value(witness, "select 7"))
        self.assertIsNone(self.pooler.process.poll(), "the daemon has ended")
        wait_for(lambda: self.pooler.metric("pgweir_clients") == 1, "all of them are gone", 30)
        if PATIENCE == 1:
            self.assertLess(memory_bytes(self.pooler.process) - before, GROWTH_BYTES)
        self.assertLess(micros, 1000 * PATIENCE)
        self.assertEqual([(1,)], self.pooler.query("select 1"))

    def test_guessed_cancel_keys_hit_nobody(self):
        idle = [self.connect_autocommit(sslmode="disable") for _ in range(20)]
        known = [argument for one in idle for argument in ("--process-id", str(one.info.backend_pid))]
        stop, wrong, counts = threading.Event(), [], []
        clients = [threading.Thread(target=self.busy, args=(stop, wrong, counts)) for _ in range(4)]
        sleeper = self.connect_autocommit(sslmode="disable")
        for client in clients:
            client.start()
        try:
            came_to, micros = self.send("cancel", COUNT, *known, seed=random.randrange(1 << 60))
        finally:
            stop.set()
            for client in clients:
                client.join()
        self.assertEqual([], wrong)
        self.assertGreater(len(counts), 50)
        self.assertEqual({""}, set(came_to["answers"]))  # nobody is told whether there is such a client
        self.assertLess(micros, 1000 * PATIENCE)
        self.assertEqual(1, self.value(sleeper, "select 1"))
        self.assertNotIn("canceling statement", self.postgres.log())


if __name__ == "__main__":
    unittest.main()
