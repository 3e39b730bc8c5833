"""`pgweir passwd`: verifiers that PostgreSQL and pgweir take, from a pipe and from a terminal that
shows nothing."""

import base64
import hashlib
import hmac
import os
import pty
import re
import select
import signal
import subprocess
import termios
import unittest

from integration.support import surroundings
from integration.support.case import PoolerCase, new_pooler, only_pgweir, shared_postgres
from integration.support.pgweir import ADMIN
from integration.support.waiting import wait_for

SECRET = "correct horse battery staple"
FORM = re.compile(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(\S+)")


def passwd(text, *arguments):
    return subprocess.run([surroundings.BINARY, "passwd", *arguments], input=text,
                          capture_output=True, text=True, check=False, timeout=60)


def is_verifier_of(line, password):
    match = FORM.fullmatch(line.strip())
    iterations, salt, stored_key, server_key = match.groups()
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(key, b"Client Key", "sha256")
    return (base64.b64decode(stored_key) == hashlib.sha256(client_key).digest()
            and base64.b64decode(server_key) == hmac.digest(key, b"Server Key", "sha256")
            and len(base64.b64decode(salt)) == 16)


@only_pgweir
class PipeTest(unittest.TestCase):
    def test_verifiers(self):
        seen = set()
        for text, password in ((SECRET + "\n", SECRET), (SECRET, SECRET), ("jelszó\nmore\n", "jelszó")):
            with self.subTest(text=text):
                done = passwd(text)
                self.assertEqual((0, ""), (done.returncode, done.stderr))
                self.assertTrue(is_verifier_of(done.stdout, password))
                self.assertIn("SCRAM-SHA-256$4096:", done.stdout)
                seen.add(done.stdout.split(":")[1])
        self.assertEqual(3, len(seen))  # salts

    def test_iterations(self):
        done = passwd(SECRET, "--iterations", "20000")
        self.assertIn("SCRAM-SHA-256$20000:", done.stdout)
        self.assertTrue(is_verifier_of(done.stdout, SECRET))
        for wrong in ("4095", "1", "-5", "1000001", "many"):
            with self.subTest(wrong=wrong):
                done = passwd(SECRET, "--iterations", wrong)
                self.assertNotEqual(0, done.returncode)
                self.assertEqual("", done.stdout)

    def test_what_is_no_password(self):
        for text in ("", "\n", "tab\tinside\n", "x" * 8193 + "\n"):
            with self.subTest(text=text[:20]):
                done = passwd(text)
                self.assertEqual((1, ""), (done.returncode, done.stdout))

    def test_a_password_is_no_argument(self):
        done = passwd("", "hunter2")
        self.assertNotEqual(0, done.returncode)
        self.assertEqual("", done.stdout)


@only_pgweir
class OutputTest(unittest.TestCase):
    """Whoever redirects a verifier into a file learns that it is not there."""
    def run_into(self, redirection, *arguments):
        return subprocess.run(["sh", "-c", 'exec "$@" ' + redirection, "sh", surroundings.BINARY, *arguments],
                              input=SECRET, capture_output=True, text=True, check=False, timeout=60)

    def test_nowhere_to_write_to(self):
        config = new_pooler(shared_postgres()).config_path
        for redirection in (">/dev/full", ">&-"):
            for arguments in (["passwd"], ["check", "--config", config], ["version"],
                              ["check", "--config", config, "--user", "anna", "--database", "x"]):
                with self.subTest(redirection=redirection, arguments=arguments):
                    done = self.run_into(redirection, *arguments)
                    self.assertNotEqual(0, done.returncode)
                    self.assertIn("cannot write to standard output: ", done.stderr)

    def test_nothing_is_written_to_a_connection_instead(self):
        pooler = new_pooler(shared_postgres(), users={ADMIN: {"password": "x"}},
                            auth={"method": "trust"}).start()
        self.addCleanup(pooler.close)
        done = self.run_into(">&-", "show", "version", "--host", pooler.host, "--port", str(pooler.port),
                             "--user", ADMIN, "--config", pooler.config_path)
        self.assertEqual(1, done.returncode)
        self.assertIn("cannot write to standard output: ", done.stderr)


@only_pgweir
class TerminalTest(unittest.TestCase):
    def start(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.slave = slave
        self.addCleanup(os.close, slave)
        process = subprocess.Popen([surroundings.BINARY, "passwd"], stdin=slave, stderr=slave,
                                   stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.kill)
        self.shown = ""
        self.master = master
        return process

    def read_until(self, text):
        while text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], 30)
            self.assertTrue(ready, "'%s' is shown; so far: %r" % (text, self.shown))
            self.shown += os.read(self.master, 1000).decode()

    def echoes(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def type(self, text):
        os.write(self.master, text.encode())

    def test_typed_twice_and_not_shown(self):
        process = self.start()
        self.read_until("Password: ")
        self.assertFalse(self.echoes())
        self.type(SECRET + "\n")
        self.read_until("Again: ")
        self.type(SECRET + "\n")
        out = process.stdout.read()
        self.assertEqual(0, process.wait(30))
        self.assertTrue(is_verifier_of(out, SECRET))
        self.assertNotIn("horse", self.shown)
        self.assertTrue(self.echoes())

    def test_typed_differently(self):
        process = self.start()
        self.read_until("Password: ")
        self.type(SECRET + "\n")
        self.read_until("Again: ")
        self.type("something else\n")
        self.assertEqual("", process.stdout.read())
        self.assertEqual(1, process.wait(30))
        self.read_until("differ")

    def test_a_signal_leaves_the_terminal_as_it_was(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A few times: one that came just before the program waited was once lost.
            for _ in range(5):
                with self.subTest(signal=number):
                    process = self.start()
                    self.read_until("Password: ")
                    process.send_signal(number)
                    self.assertEqual(-number, process.wait(30))
                    wait_for(self.echoes, "the terminal shows again what is typed")


@only_pgweir
class LoginTest(PoolerCase):
    def test_pgweir_lets_in_with_it(self):
        verifier = passwd(SECRET, "--iterations", "5000").stdout.strip()
        pooler = new_pooler(self.postgres, users={"trust_user": {"password": verifier}})
        self.addCleanup(pooler.close)
        pooler.start()
        self.assertEqual([("trust_user",)], pooler.query("select current_user::text",
                                                         user="trust_user", password=SECRET))

    def test_postgres_lets_in_with_it(self):
        verifier = passwd(SECRET).stdout.strip()
        self.postgres.query("create role of_passwd login password '%s'" % verifier)
        self.addCleanup(self.postgres.query, "drop role of_passwd")
        stored = self.postgres.query("select rolpassword from pg_authid where rolname = 'of_passwd'")
        self.assertEqual([(verifier,)], stored)


if __name__ == "__main__":
    unittest.main()
