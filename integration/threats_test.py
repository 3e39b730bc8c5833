"""threats.md names tests that exist, and each row of the wire protocol has one that carries its name,
each advisory one that carries its number.
Needs neither PostgreSQL nor the daemon."""

import ast
import os
import re
import unittest

from integration.support.surroundings import ROOT

PAGE = os.path.join(ROOT, "integration", "threats.md")
OWN = "The wire protocol in transaction mode"
OTHERS = "Guarded by other parts"
ADVISORIES = "Advisories"
NUMBER = re.compile(r"\b\d{4}-\d+\b|#\d+")
# Those that must not be forgotten when the page is edited.
PROJECTS = {
    OWN: "PgDog #759 #668 #887 #1356 #1285 #848 #763, Yugabyte #33915 #33913 #33914 #33166 #29591,"
         " Supavisor #1079 #993, PgBouncer #759 #1025 #1470 #1519, PgCat #522 #70,"
         " pg_doorman 1.8.3 3.3.4 3.3.5 3.5.2 3.6.3 3.6.5,"
         " Odyssey #1459 #1475 #1499 #1225 #769 #1515, ProxySQL #5767, pgagroal #110 #72",
    OTHERS: "PgDog #760 #718, PgBouncer #717 #38 #245 #41 #826 #1105 #715 #1565 #420 #801 #822 #904"
            " #138 #428 #1501, Odyssey #1216, pg_doorman 3.10.5 3.10.6 3.0.5",
}
ADVISORY_NUMBERS = """
2012-4575 2015-4054 2015-6817 2021-3935 2021-43766 2021-43767 2021-23214 2021-23222 2025-2291 2025-12819
2026-6664 2026-6665 2026-6666 2026-6667 2026-6668 2026-107348 2026-6669 2026-42198 2026-107349
2026-107350 2025-46801 2024-45624 2023-22332 2025-22248 2026-48773 2026-48772 2024-27304 2024-32655
2024-10977 2026-6479 2026-14681 2026-6478 2025-49146 2026-54291 2020-25694 2016-2193 2023-2455 2025-1094
2015-0244 #209"""


def bugs_of(text):
    """{("PgDog", "759"), …} of a cell such as `PgDog #668, #887, Yugabyte #33915`."""
    found, project = [], ""
    for word in re.findall(r"#?[\w.]+", text):
        if re.match(r"#?\d", word):
            found.append((project, word.lstrip("#").rstrip(".")))
        else:
            project = word
    return found


def rows():
    """(section, where, guards, text of the guards) of every row."""
    section, found = "", []
    with open(PAGE, encoding="utf-8") as file:
        for line in file:
            if line.startswith("## "):
                section = line[3:].strip()
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if line.startswith("|") and len(cells) == 3 and not cells[0].startswith(("---", "where")):
                found.append((section, cells[0], re.findall(r"`([^`]+?)::([^`]+)`", cells[2]), cells[2]))
    return found


def tests_in(path):
    """The names of the tests in a file, Python's or doctest's."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = file.read()
    if path.endswith(".py"):
        return {node.name for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test")}
    return set(re.findall(r'TEST_CASE(?:_FIXTURE\(\w+,|\()\s*"([^"]+)"', text))


def plain(name):
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


class ThreatsTest(unittest.TestCase):
    def test_every_test_that_is_named_exists(self):
        for _, where, guards, text in rows():
            with self.subTest(row=where):
                self.assertTrue(guards or "comes with" in text, "nothing guards it")
                for path, name in guards:
                    self.assertTrue(os.path.exists(os.path.join(ROOT, path)), path)
                    self.assertIn(name, tests_in(path))

    def test_every_row_is_there(self):
        there = {section: set() for section in PROJECTS}
        for section, where, _, _ in rows():
            there.setdefault(section, set()).update(bugs_of(where))
        for section, text in PROJECTS.items():
            self.assertEqual([], sorted(set(bugs_of(text)) - there[section]), section)

    def test_every_bug_of_the_wire_protocol_has_a_test_that_carries_its_name(self):
        for section, where, guards, _ in rows():
            if section != OWN:
                continue
            names = [plain(name) for _, name in guards]
            for project, number in bugs_of(where):
                with self.subTest(bug="%s %s" % (project, number)):
                    wanted = r"%s_(\w*_)?%s(_|$)" % (plain(project), plain(number))
                    self.assertTrue(any(re.search(wanted, name) for name in names), names)

    def test_every_advisory_is_there_and_has_a_test_that_carries_its_number(self):
        there = set()
        for section, where, guards, _ in rows():
            if section != ADVISORIES:
                continue
            names = [plain(name) for _, name in guards]
            there.update(NUMBER.findall(where))
            for number in NUMBER.findall(where):
                with self.subTest(advisory=number):
                    wanted = r"(^|_)%s(_|$)" % plain(number).strip("_")
                    self.assertTrue(not names or any(re.search(wanted, name) for name in names), names)
        self.assertEqual([], sorted(set(ADVISORY_NUMBERS.split()) - there))


if __name__ == "__main__":
    unittest.main()
