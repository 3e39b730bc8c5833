"""Patterns of names find what PostgreSQL finds: random patterns and names are given to ours
(integration/name_patterns) and to regexp_match of a PostgreSQL whose database has no encoding, as
PostgreSQL has none yet when it reads pg_hba.conf. The seeds are fixed, so that what fails once fails again.

    integration/name_pattern_test.py SEED COUNT          # as many patterns, from that seed
"""

import contextlib
import os
import random
import subprocess
import sys
import unittest

from psycopg2.extras import execute_values

from integration.support import surroundings
from integration.support.postgres import Postgres

BINARY = os.environ.get("PGWEIR_NAME_PATTERNS", os.path.join(
    surroundings.BUILD, "integration", "name_patterns", "pgweir_name_patterns"))
PATTERNS = 4000  # of each kind
NAMES = 3        # for each pattern

FUNCTION = r"""
create function found(pattern text, name text) returns text language plpgsql as $$
declare
    groups text[];
begin
    groups := regexp_match(name, pattern);
    return case when groups is null then 'no' else 'yes:' || coalesce(groups[1], '') end;
exception when others then
    return 'refused';
end $$"""


class Generator:
    """Random patterns of few letters, in which much is ambiguous, and names that they may match."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def one(self, *choices):
        return self.random.choice(choices)

    def chance(self, percent):
        return self.random.randrange(100) < percent

    # Anything that can be written ---------------------------------------------------------------

    def brackets(self):
        inside = "".join(self.one("a", "b", "a-n", "@", "_", ".", "-", "[", "^", "\xf6", "[:alpha:]", "[:digit:]",
                                  "[:punct:]", "[.a.]", "[=a=]", "[:word:]", "+--", "A-", "\n")
                         for _ in range(self.random.randrange(1, 4)))
        return "[" + self.one("", "", "^") + self.one("", "", "", "]", "-") + inside + "]"

    def atom(self, depth):
        if self.chance(50):
            return self.one("a", "b", "n", "@", "_")
        if self.chance(35):
            return self.one("[ab]", "[^a]", "[a-n]", "[^@]", "[]a]", "[a-]", "\\.", "\\-", ".", "]", "}", "\xf6")
        if self.chance(15):
            return self.brackets()
        if self.chance(2):
            return self.one("a{255}", "b{1,256}", "[ab]{1000}")
        if self.chance(60) and depth < 3:
            return "(" + self.either(depth + 1) + ")"
        return self.one("^", "$", "a", "b")

    def piece(self, depth):
        atom = self.atom(depth)
        if self.chance(35) and not (atom in "^$" and self.chance(90)):
            atom += self.one("*", "+", "?", "{2}", "{0,2}", "{1,}", "{1,3}", "{0}")
        return atom

    def sequence(self, depth):
        return "".join(self.piece(depth) for _ in range(self.random.randrange(1, 4)))

    def either(self, depth):
        return "|".join(self.sequence(depth) if self.chance(97) else ""
                        for _ in range(self.one(1, 1, 1, 2, 3)))

    def anything(self):
        inside = self.either(0)
        return self.one("%s", "^%s$", "^(%s)@ex$", "^(%s)" + self.sequence(1).replace("%", "%%") + "$", "(%s)",
                        "(^|_)(%s)", "(%s)(_|$)") % inside

    # A first group that `\1` may stand for ------------------------------------------------------

    def counted(self, most):
        def one_of_them():
            count = self.one("", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "{1,3}", "{2,3}", "{0}")
            return self.one("a", "b", "[ab]", "[ab]", "[^a]", "[a-n]", "[^@]", ".", "@") + count
        return "".join(one_of_them() for _ in range(self.random.randrange(most + 1)))

    def rest(self):
        return "".join(self.one(self.counted(2), self.counted(2), "(" + self.counted(2) + ")", "([ab])*", "(a)?",
                                "(@)+") for _ in range(self.random.randrange(3)))

    def with_group(self):
        return (self.one("^", "^", "") + self.counted(4) + self.one("", "", "", "", "^") + "(" + self.counted(4) + ")"
                + self.rest() + self.one("", "$", "@ex$"))

    def name(self):
        letters = self.one("ab", "ab", "aabb@n._\xf6\n")
        return ("".join(self.one(*letters) for _ in range(self.random.randrange(10)))
                + self.one("", "", "@ex"))


def generated(seed, patterns, kind):
    generator = Generator(seed)
    make = getattr(generator, kind)
    asked = []
    for _ in range(patterns):
        pattern = make()
        asked += [(pattern, generator.name()) for _ in range(NAMES)]
    return [(pattern, name) for pattern, name in asked if "\n" not in pattern + name]


def answers_of_ours(asked):
    given = "".join("%s\t%s\n" % each for each in asked).encode("latin-1")
    ended = subprocess.run([BINARY], input=given, capture_output=True, check=True,
                           timeout=60 * surroundings.PATIENCE)
    return ended.stdout.decode("latin-1").split("\n")[:-1]


def answers_of_postgresql(postgres, asked):
    with contextlib.closing(postgres.connect(database="bytes", client_encoding="SQL_ASCII")) as connection:
        with connection.cursor() as cursor:
            cursor.execute("create temp table asked (number serial, pattern text, name text)")
            execute_values(cursor, "insert into asked (pattern, name) values %s",
                           [[part.encode("latin-1") for part in each] for each in asked],
                           template="(convert_from(%s, 'SQL_ASCII'), convert_from(%s, 'SQL_ASCII'))", page_size=5000)
            cursor.execute("select convert_to(found(pattern, name), 'SQL_ASCII') from asked order by number")
            return [bytes(row[0]).decode("latin-1") for row in cursor.fetchall()]


def differences(postgres, asked):
    """What we find and PostgreSQL does not, or something else; and how often each answer was given."""
    differ, counts = [], {}
    for each, ours, theirs in zip(asked, answers_of_ours(asked), answers_of_postgresql(postgres, asked), strict=True):
        kind = ours.split(":")[0] + (" with a group" if ":" in ours else "")
        counts[kind] = counts.get(kind, 0) + 1
        if ours == theirs or ours == "refused" or ours == "yes" and theirs.startswith("yes:"):
            continue
        differ.append("%r, %r: ours %r, PostgreSQL's %r" % (*each, ours, theirs))
    return differ, counts


def start_postgres():
    postgres = Postgres().start()
    postgres.query("create database bytes template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'")
    postgres.query(FUNCTION, database="bytes")
    return postgres


class NamePatternTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = start_postgres()
        cls.addClassCleanup(cls.postgres.close)

    def expect_the_same(self, seed, kind, at_least):
        differ, counts = differences(self.postgres, generated(seed, PATTERNS, kind))
        self.assertEqual([], differ[:20], counts)
        for answer, least in at_least.items():
            self.assertGreaterEqual(counts.get(answer, 0), least, "%s: %r" % (answer, counts))

    def test_any_pattern_matches_what_it_matches_in_postgresql(self):
        self.expect_the_same(1, "anything", {"yes": 1000, "no": 1000, "refused": 100})

    def test_the_first_group_is_what_it_is_in_postgresql(self):
        self.expect_the_same(2, "with_group", {"yes with a group": 1500, "no": 1000})


if __name__ == "__main__":
    with contextlib.closing(start_postgres()) as server:
        for what in ("anything", "with_group"):
            found, how_often = differences(server, generated(int(sys.argv[1]), int(sys.argv[2]), what))
            print(what, how_often, *found[:40], sep="\n    ")
            print("%d differ" % len(found))
