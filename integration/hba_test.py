"""Access rules as PostgreSQL reads them: the same lines are given to PostgreSQL, whose view
pg_hba_file_rules says what it makes of each, and to `pgweir check`; and `pgweir check` says which line
would count for a client."""

import json
import os
import subprocess
import unittest

from integration.support import surroundings
from integration.support.certificates import Authority
from integration.support.postgres import HBA, Postgres

# Lines that both take.
GOOD = r"""
local all all trust
local all all peer
local all all peer map=ops
local all all peer map="my ops"
local all all ident
local all all reject
local all all password
local all all md5
local all all scram-sha-256
local shop,other ann,bob md5
local shop, other ann, bob md5
local "all","sameuser" "all" md5
local sameuser,samerole,samegroup,replication +staff,all md5
local replication all md5
local "a b","c,d","e#f","g""h" all md5
local all all md5 # a comment
local All ALL md5
local "" all md5
"local" all all "md5"
host all all all md5
host all all samehost md5
host all all samenet md5
host all all "samenet" md5
host all all 127.0.0.1/32 md5
host all all 10.1.2.3/8 md5
host all all 0.0.0.0/0 reject
host all all 10.0.0.0/+8 md5
host all all "10.0.0.0/ +8" md5
host all all 10.0.0.0/008 md5
host all all 10.0.0.0/-0 md5
host all all ::1/+128 md5
host all all 10.0.0.0 255.0.0.0 md5
host all all 10.0.0.0 255.0.255.0 md5
host all all ::1/128 md5
host all all ::/0 md5
host all all fe80:: ffff:: md5
host all all ::ffff:10.0.0.0/104 md5
host all all localhost md5
host all all app.example.com md5
host all all .example.com md5
hostssl all all all scram-sha-256
hostssl all all all cert
hostssl all all all cert map=m
hostssl all all all cert clientcert=verify-full
hostssl all all all cert clientname=CN
hostssl all all all cert clientname=DN
hostssl all all all cert clientname=DN map=m
hostssl all all all md5 clientcert=verify-full,clientname=DN
hostssl all all all md5 clientcert=verify-ca
hostssl all all all md5 clientcert=verify-full
hostssl all all all trust clientcert=verify-ca,clientname=CN
hostnossl all all all reject
hostgssenc all all all md5
hostnogssenc all all all md5
""".strip().split("\n")

# Lines that neither takes.
BAD = r"""
lokal all all md5
HOST all all all md5
local,host all all md5
local
local all
local all all
local all all # md5
host all all
host all all all
host all all 10.0.0.0
host all all 10.0.0.0 md5
host all all 10.0.0.0/8 255.0.0.0 md5
host all all 10.0.0.0/33 md5
host all all 10.0.0.0/-1 md5
host all all 10.0.0.0/ md5
host all all 10.0.0.0/ 8 md5
host all all 10.0.0.0/+ md5
host all all 10.0.0.0/+33 md5
host all all 10.0.0.0/+-8 md5
host all all 10.0.0.0/0x8 md5
host all all "10.0.0.0/ " md5
host all all "10.0.0.0/8 " md5
host all all "10.0.0.0/+ 8" md5
host all all 10.0.0.0/4294967304 md5
host all all 10.0.0.0/99999999999999999999 md5
host all all 10.0.0.0/x md5
host all all 10.0.0.0/8/8 md5
host all all ::1/129 md5
host all all 10.0.0.0 ffff:: md5
host all all 10.0.0.0,11.0.0.0 md5
host all all localhost/8 md5
host all all .example.com/8 md5
local all all scram
local all all MD5
local all all md5,trust
local all all krb5
host all all all peer
hostssl all all all peer
local all all cert
host all all all cert
hostnossl all all all cert
local all all md5 map
local all all peer map = x
local all all md5 map=x
local all all trust map=x
local all all md5 clientcert=verify-ca
host all all all md5 clientcert=verify-ca
hostssl all all all md5 clientcert=1
hostssl all all all cert clientcert=verify-ca
host all all all md5 clientname=CN
hostssl all all all cert clientname=dn
local all all md5 foo=bar
local @missing all md5
include other file
""".strip().split("\n")

# Lines that PostgreSQL 15 takes and pgweir does not: docs/access.md says why.
STRICTER = r"""
host all all all ident
host all all all pam
host all all all gss
host all all 10.1 255.0.0.0 md5
host all all 300.0.0.1 trust
local all all "md5
local all /( md5
""".strip().split("\n")


class HbaTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = surroundings.temporary_directory("hba")
        cls.hba_path = os.path.join(cls.directory, "pg_hba.conf")
        cls.config_path = os.path.join(cls.directory, "pgweir.yaml")
        pair = Authority().sign("pgweir", "localhost")
        with open(cls.config_path, "w", encoding="utf-8") as file:
            json.dump({"databases": {"shop": {}, "*": {}}, "tls": dict(zip(("certificate", "key"), pair)),
                       "users": {name: {"password": "x"} for name in ("ann", "bob", "eve", "shop")},
                       "auth": {"hba_file": "pg_hba.conf",
                                "ident": ["ops root ann", '"my ops" root ann', "m root ann"]}}, file)

    def write(self, text):
        with open(self.hba_path, "w", encoding="utf-8") as file:
            file.write(text)

    def check(self, text, *arguments):
        self.write(text)
        return subprocess.run([surroundings.BINARY, "check", "--config", self.config_path, *arguments],
                              capture_output=True, text=True, check=False, timeout=60)

    def lines_with_errors(self, text):
        done = self.check(text)
        errors = [line for line in done.stderr.splitlines() if not line.endswith(" (warning)")]
        self.assertEqual(1 if errors else 0, done.returncode, done)
        found = set()
        for line in errors:
            self.assertRegex(line, r"^pg_hba\.conf:\d+:\d+: ")
            found.add(int(line.split(":")[1]))
        return found


class LikePostgresTest(HbaTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres = Postgres().start()
        cls.addClassCleanup(cls.postgres.close)

    def errors_of_postgres(self, text):
        """Line -> error, as its view shows the file. A line that merely cannot match, for want of TLS,
        has an error and yet a type; some that are refused have neither."""
        path = os.path.join(self.postgres.data, "pg_hba.conf")
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            rows = self.postgres.query(
                "select line_number, error from pg_hba_file_rules where type is null")
        finally:
            with open(path, "w", encoding="utf-8") as file:
                file.write(HBA)
        return dict(rows)

    def test_lines_that_both_take(self):
        text = "\n".join(GOOD) + "\n"
        self.assertEqual({}, self.errors_of_postgres(text))
        self.assertEqual(set(), self.lines_with_errors(text))

    def test_lines_that_neither_takes(self):
        for line in BAD:
            with self.subTest(line=line):
                self.assertEqual([1], list(self.errors_of_postgres(line + "\n")))
                self.assertEqual({1}, self.lines_with_errors(line + "\n"))

    def test_where_pgweir_is_stricter(self):
        for line in STRICTER:
            with self.subTest(line=line):
                self.assertEqual({}, self.errors_of_postgres(line + "\n"))
                self.assertEqual({1}, self.lines_with_errors(line + "\n"))

    def test_continued_lines_and_their_numbers(self):
        text = "# one \\\nstill one\nlocal all \\\n all \\\n md5\n\nlocal all all md6\nlocal all all trust\n"
        self.assertEqual([7], list(self.errors_of_postgres(text)))
        self.assertEqual({7}, self.lines_with_errors(text))

    def test_what_each_line_says(self):
        """Type, databases, users and method, as PostgreSQL's view has them, by asking about a client
        for whom only that line is there."""
        for line, question, matches in (
                ("local sameuser all md5", ("--user", "shop", "--database", "shop"), True),
                ("local sameuser all md5", ("--user", "ann", "--database", "shop"), False),
                ("local \"all\" all md5", ("--user", "ann", "--database", "shop"), False),
                ("local All all md5", ("--user", "ann", "--database", "shop"), False),
                ("host all all 10.0.0.0 255.0.255.0 md5",
                 ("--user", "ann", "--address", "10.9.0.9"), True),
                ("host all all 10.0.0.0 255.0.255.0 md5",
                 ("--user", "ann", "--address", "10.9.1.9"), False),
                ("local replication all md5", ("--user", "ann", "--replication"), True),
                ("local all all md5", ("--user", "ann", "--replication"), False)):
            with self.subTest(line=line, question=question):
                self.assertEqual({}, self.errors_of_postgres(line + "\n"))
                self.assertEqual(0 if matches else 3, self.check(line, *question).returncode)


class CheckTest(HbaTest):
    RULES = ("# staff\n"
             "local all all peer map=ops\n"
             "hostssl shop ann 10.0.0.0/8 scram-sha-256\n"
             "host all bob all reject\n"
             "host all +staff samehost md5\n"
             "host all all localhost password\n")

    def test_which_line(self):
        for arguments, code, told in (
                (("--user", "ann"), 0, "pg_hba.conf:2: local all all peer map=ops\n"),
                (("--user", "ann", "--database", "shop", "--address", "10.1.1.1", "--tls"), 0,
                 "pg_hba.conf:3: hostssl shop ann 10.0.0.0/8 scram-sha-256\n"),
                (("--user", "ann", "--database", "shop", "--address", "10.1.1.1", "--no-tls",
                  "--host-name", "x"), 3, "no line matches"),
                (("--user", "bob", "--address", "::1"), 3, "pg_hba.conf:4: host all bob all reject\n"),
                (("--user", "eve", "--address", "127.0.0.1", "--host-name", "x"), 4, "staff"),
                (("--user", "eve", "--address", "127.0.0.1", "--member-of", "staff"), 0,
                 "pg_hba.conf:5:"),
                (("--user", "eve", "--address", "127.0.0.1", "--member-of", "", "--host-name", "x"), 3,
                 "no line matches")):
            with self.subTest(arguments=arguments):
                done = self.check(self.RULES, *arguments)
                self.assertEqual(code, done.returncode, done)
                self.assertIn(told, done.stdout)

    def test_a_host_name_is_looked_up(self):
        done = self.check("host all all localhost password\n", "--user", "eve", "--address",
                          "127.0.0.1")
        self.assertEqual(0, done.returncode, done)
        done = self.check("host all all localhost password\n", "--user", "eve", "--address",
                          "192.0.2.1")
        self.assertEqual(3, done.returncode, done)

    def test_what_is_not_a_question(self):
        self.assertEqual(0, self.check(self.RULES).returncode)
        done = self.check(self.RULES, "--user", "ann", "--address", "somewhere")
        self.assertEqual(2, done.returncode)
        self.assertIn("address", done.stderr)
        self.assertNotIn(self.check(self.RULES, "--database", "shop").returncode, (0, 1, 3, 4))


if __name__ == "__main__":
    unittest.main()
