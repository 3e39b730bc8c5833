"""Planted secrets: wherever they come from, they are in no log, no metric, no answer of the console or
of HTTP, and in no core dump. Files that others could read are refused."""

import contextlib
import os
import signal
import subprocess
import unittest

import psycopg2

from integration.support import surroundings
from integration.support.case import PoolerCase, new_pooler, only_pgweir
from integration.support.pgweir import ADMIN, merged
from integration.support.postgres import DATABASE, OWNER, password_of
from integration.support.waiting import wait_for

# One for each place. They are what the test looks for.
SECRETS = {"env": "planted-in-environment-7d1f", "file": "planted-in-a-file-93ab",
           "credential": "planted-by-systemd-c4e0", "plain": "planted-in-yaml-51ce",
           "userlist": "planted-in-userlist-08fb", "wrong": "planted-wrong-password-66aa"}


ROOT = os.geteuid() == 0  # what is root's may be its group's


def write(path, text, mode=0o600):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


@only_pgweir
class PlantedSecretsTest(PoolerCase):
    def planted(self):
        pooler = new_pooler(self.postgres)
        self.addCleanup(pooler.close)
        folder = pooler.directory
        write(os.path.join(folder, "secret"), SECRETS["file"] + "\n")
        write(os.path.join(folder, "userlist.txt"), '"of_userlist" "%s"\n' % SECRETS["userlist"])
        credentials = os.path.join(folder, "credentials")
        os.mkdir(credentials)
        write(os.path.join(credentials, "password"), SECRETS["credential"], 0o400)
        pooler.settings = merged(pooler.settings, {
            "auth": {"userlist": "userlist.txt"},
            "log": {"level": "debug"},
            # Everybody is the owner there: PostgreSQL does not know them.
            "databases": {"shared": {"host": self.postgres.host, "port": self.postgres.port,
                                     "dbname": DATABASE, "user": OWNER,
                                     "password": password_of(OWNER)}},
            "users": {"trust_user": {"password": "env:PLANTED"},
                      "of_file": {"password": "file:secret"},
                      "of_credential": {"password": "credential:password"},
                      "of_yaml": {"password": SECRETS["plain"]}}})
        pooler.write_config()
        return pooler.start(PLANTED=SECRETS["env"], CREDENTIALS_DIRECTORY=credentials)

    def attempts(self, pooler):
        for user, secret in (("trust_user", "env"), ("of_file", "file"), ("of_yaml", "plain"),
                             ("of_credential", "credential"), ("of_userlist", "userlist")):
            with self.subTest(user=user):
                self.assertEqual([(1,)], pooler.query("select 1", user=user, database="shared",
                                                      password=SECRETS[secret]))
                with self.assertRaises(psycopg2.OperationalError):
                    pooler.connect(user=user, database="shared", password=SECRETS["wrong"])

    def console(self, pooler):
        text = ""
        with contextlib.closing(psycopg2.connect(**pooler.dsn(
                user=ADMIN, database="pgbouncer", password=password_of(ADMIN)))) as connection:
            connection.autocommit = True
            for what in ("config", "users", "databases", "pools", "clients", "servers", "help"):
                with connection.cursor() as cursor:
                    try:
                        cursor.execute("show " + what)
                        text += str(cursor.fetchall()) if cursor.description else ""
                    except psycopg2.Error as error:
                        text += str(error)
                text += "".join(connection.notices)
        return text

    def test_in_no_output(self):
        pooler = self.planted()
        self.attempts(pooler)
        said = self.console(pooler)
        for page in ("/metrics", "/", "/healthz", "/readyz"):
            said += str(pooler.http(page))
        # A reload tells what has changed, and what is wrong.
        pooler.settings["users"]["of_yaml"]["password"] = SECRETS["plain"] + "-changed"
        pooler.write_config()
        pooler.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "user changed: of_yaml" in pooler.log(), "the reload is told")
        write(os.path.join(pooler.directory, "userlist.txt"), '"x" %s\n' % SECRETS["userlist"])
        pooler.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "must stand in double quotes" in pooler.log(), "the error is told")
        done = subprocess.run([surroundings.BINARY, "check", "--config", pooler.config_path],
                              env=dict(os.environ, PLANTED=SECRETS["env"]), check=False,
                              capture_output=True, text=True, timeout=60)
        said += done.stdout + done.stderr + pooler.log()
        for place, secret in SECRETS.items():
            with self.subTest(place=place):
                self.assertNotIn(secret, said)
        self.assertNotIn(password_of(OWNER), said)

    def test_no_core_dump(self):
        pooler = new_pooler(self.postgres).start()
        self.addCleanup(pooler.close)
        folder = "/proc/%d/" % pooler.process.pid
        with open(folder + "limits", encoding="ascii") as file:
            core = [line.split() for line in file if line.startswith("Max core file size")]
        self.assertEqual(["0", "0"], core[0][4:6])
        # What is not dumpable belongs to root, whoever runs it.
        self.assertEqual(0, os.stat(folder + "environ").st_uid)


@only_pgweir
class OpenFilesTest(unittest.TestCase):
    def check(self, secret_mode, **auth):
        folder = surroundings.temporary_directory("secrets")
        write(os.path.join(folder, "secret"), SECRETS["file"], secret_mode)
        write(os.path.join(folder, "userlist.txt"), '"ann" "%s"' % SECRETS["userlist"], secret_mode)
        path = write(os.path.join(folder, "pgweir.yaml"), "databases: { %s: }\n" % DATABASE + (
            "auth: { userlist: userlist.txt }" if auth else
            "users: { bob: { password: file:secret } }"))
        return subprocess.run([surroundings.BINARY, "check", "--config", path], capture_output=True,
                              text=True, check=False, timeout=60)

    def test_closed_and_open_files(self):
        for mode, good in ((0o600, True), (0o400, True), (0o640, ROOT), (0o604, False),
                           (0o644, False), (0o620, False)):
            for auth in ({}, {"userlist": True}):
                with self.subTest(mode=oct(mode), auth=auth):
                    done = self.check(mode, **auth)
                    self.assertEqual(0 if good else 1, done.returncode, done)
                    self.assertEqual(not good, "does not belong to root (mode 0640 or less) or pgweir's user"
                                     " (0600 or less)" in done.stderr)

    def test_a_configuration_with_secrets_that_others_read_is_warned_of(self):
        folder = surroundings.temporary_directory("secrets")
        text = "databases: { %s: }\nusers: { bob: { password: x } }\n" % DATABASE
        for mode, warned in ((0o600, False), (0o640, not ROOT), (0o644, True)):
            with self.subTest(oct(mode)):
                path = write(os.path.join(folder, "pgweir.yaml"), text, mode)
                done = subprocess.run([surroundings.BINARY, "check", "--config", path], capture_output=True,
                                      text=True, check=False, timeout=60)
                self.assertEqual(0, done.returncode, done)
                self.assertEqual(warned, "pgweir.yaml:2:27: secrets stand in this file, which others may read"
                                 in done.stderr)


if __name__ == "__main__":
    unittest.main()
