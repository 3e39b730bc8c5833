"""Whom the daemon runs as: never root, unless it is told so."""

import os
import shutil
import subprocess
import unittest

from integration.support import surroundings
from integration.support.case import shared_postgres
from integration.support.pgweir import ME, Pgweir

AS_ROOT = os.geteuid() == 0


class RunAsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = shared_postgres()

    def run_with(self, *arguments):
        pooler = Pgweir(self.postgres)
        return subprocess.run([surroundings.BINARY, "run", "--config", pooler.config_path, *arguments],
                              capture_output=True, text=True, timeout=60, check=False)

    @unittest.skipUnless(AS_ROOT, "is about root")
    def test_root_has_to_say_whom_to_become(self):
        ended = self.run_with()
        self.assertEqual(1, ended.returncode)
        self.assertIn("will not run as root", ended.stderr)

    def test_somebody_who_is_not_there(self):
        ended = self.run_with("--user", "nobody_by_that_name")
        self.assertEqual(1, ended.returncode)
        self.assertIn("there is no user 'nobody_by_that_name'", ended.stderr)

    @unittest.skipIf(AS_ROOT, "is about others than root")
    def test_only_root_becomes_somebody_else(self):
        ended = self.run_with("--user", "root")
        self.assertEqual(1, ended.returncode)
        self.assertIn("only root can become 'root'", ended.stderr)

    @unittest.skipUnless(AS_ROOT, "is about root")
    def test_root_becomes_another_with_nothing_left(self):
        pooler = Pgweir(self.postgres)
        os.chmod(pooler.directory, 0o755)
        os.chmod(pooler.config_path, 0o644)
        pooler.user = "postgres"
        pooler.start()
        self.addCleanup(pooler.close)
        with open("/proc/%d/status" % pooler.process.pid, encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        self.assertNotIn("0", status["Uid"].split() + status["Gid"].split())
        self.assertEqual(0, int(status["CapEff"], 16))
        self.assertNotEqual(ME, "")
        pooler.query("select 1")

    @unittest.skipUnless(AS_ROOT, "is about root")
    def test_root_checks_what_another_will_read(self):
        folder = surroundings.temporary_directory("check")
        secret, path = (os.path.join(folder, name) for name in ("secret", "pgweir.yaml"))
        for name, text in ((secret, "x"), (path, "databases: { shop: }\nusers: { a: { password: file:secret } }\n")):
            with open(name, "w", encoding="ascii") as file:
                file.write(text)
            os.chmod(name, 0o644)

        def check(*arguments):
            done = subprocess.run([surroundings.BINARY, "check", "--config", path, *arguments],
                                  capture_output=True, text=True, timeout=60, check=False)
            return done.returncode, done.stderr
        as_other = ("--run-as", "postgres")
        os.chmod(secret, 0o600)  # root's own: never read once root is gone
        code, said = check()
        self.assertEqual(0, code)
        self.assertIn(secret + ": only root can read it", said)
        code, said = check(*as_other)
        self.assertEqual(1, code)
        self.assertIn("does not belong to root (mode 0640 or less) or pgweir's user (0600 or less)", said)
        shutil.chown(secret, group="postgres")
        os.chmod(secret, 0o640)
        self.assertEqual((0, ""), check(*as_other))
        self.assertEqual((0, ""), check())
        shutil.chown(secret, "postgres")
        self.assertEqual(1, check(*as_other)[0])  # one's own is nobody else's
        os.chmod(secret, 0o600)
        self.assertEqual((0, ""), check(*as_other))
        self.assertEqual(2, check("--run-as", "nobody_by_that_name")[0])


if __name__ == "__main__":
    unittest.main()
