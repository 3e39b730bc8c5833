"""What the daemon tells its service manager (sd_notify(3)), heard on a socket of the test's own."""

import os
import signal
import socket
import time
import unittest

from integration.support.case import PoolerCase, new_pooler, only_pgweir, shared_postgres
from integration.support.surroundings import PATIENCE


class Manager:
    """Stands in for systemd: the socket, and all that was heard on it."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.heard = []  # (when, {name: value})

    def hear(self, seconds):
        """The next message, or None."""
        self.socket.settimeout(max(seconds, 0.001))
        try:
            text = self.socket.recv(65536).decode()
        except socket.timeout:
            return None
        message = dict(line.split("=", 1) for line in text.splitlines())
        self.heard.append((time.monotonic(), message))
        return message

    def wait_for(self, name, seconds=10):
        """The next message that says `name`=1; nothing that was heard before."""
        deadline = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < deadline:
            message = self.hear(deadline - time.monotonic())
            if message is not None and message.get(name) == "1":
                return message
        raise AssertionError("no %s=1 within %g s: %r" % (name, seconds * PATIENCE, self.heard))


@only_pgweir
class NotifyTest(PoolerCase):
    # The workers give a sign of life once a second, and count as stuck after half of this.
    WATCHDOG_SECONDS = 4

    @classmethod
    def setUpClass(cls):
        cls.postgres = shared_postgres()

    def setUp(self):
        self.pooler = new_pooler(self.postgres, shutdown_timeout="20s")
        self.addCleanup(self.pooler.close)
        self.manager = Manager(os.path.join(self.pooler.directory, "notify"))
        self.addCleanup(self.manager.socket.close)

    def start(self, **environment):
        self.pooler.start(NOTIFY_SOCKET=self.manager.path, **environment)
        return self.manager.wait_for("READY")

    def names(self):
        return {name for _, message in self.manager.heard for name in message}

    def test_ready_once_it_serves(self):
        self.assertIn("STATUS", self.start())
        self.assertTrue(self.pooler.accepts())
        self.assertEqual(0, self.pooler.stop())
        self.manager.wait_for("STOPPING")
        self.assertNotIn("WATCHDOG", self.names())  # nobody has asked for it

    def test_reloading_and_ready_again(self):
        self.start()
        earlier = 0
        for maxconn in (3, 4):
            before = time.monotonic_ns() // 1000
            self.pooler.reload(pool={"maxconn": maxconn})
            at = int(self.manager.wait_for("RELOADING")["MONOTONIC_USEC"])
            self.assertTrue(before <= at <= time.monotonic_ns() // 1000, (before, at))
            self.assertGreater(at, earlier)
            self.manager.wait_for("READY")
            earlier = at

    def test_a_refused_reload_ends_in_ready_too(self):
        self.start()
        self.pooler.write_config("pool: {maxconn: many}\n")
        self.pooler.process.send_signal(signal.SIGHUP)
        self.manager.wait_for("RELOADING")
        self.assertIn("refused", self.manager.wait_for("READY")["STATUS"])
        self.assertEqual([(1,)], self.pooler.query("select 1"))

    def test_signs_of_life_come_in_time(self):
        self.start(WATCHDOG_USEC=str(self.WATCHDOG_SECONDS * 1_000_000))
        last = time.monotonic()
        for _ in range(5):
            self.manager.wait_for("WATCHDOG", self.WATCHDOG_SECONDS)
            now = time.monotonic()
            self.assertLess(now - last, self.WATCHDOG_SECONDS * PATIENCE)
            last = now

    def test_a_watchdog_for_somebody_else_is_not_fed(self):
        # WATCHDOG_PID is the test's own.
        self.start(WATCHDOG_USEC="500000", WATCHDOG_PID=str(os.getpid()))
        self.pooler.reload(pool={"maxconn": 3})
        self.manager.wait_for("RELOADING")
        while self.manager.hear(2.5) is not None:
            pass
        self.assertNotIn("WATCHDOG", self.names())

    def test_stopping_comes_before_the_last_transaction_ends(self):
        self.start(WATCHDOG_USEC=str(self.WATCHDOG_SECONDS * 1_000_000))
        client = self.connect()
        self.rows(client, "select 1")
        self.pooler.process.send_signal(signal.SIGTERM)
        self.manager.wait_for("STOPPING")
        self.assertIsNone(self.pooler.process.poll())
        # It is watched until the end, so it must tell that it lives.
        self.manager.wait_for("WATCHDOG", self.WATCHDOG_SECONDS)
        client.commit()
        self.assertEqual(0, self.pooler.process.wait(20 * PATIENCE))

    def test_without_a_manager_it_runs_as_well(self):
        self.pooler.start()
        self.assertEqual([(1,)], self.pooler.query("select 1"))


if __name__ == "__main__":
    unittest.main()
