"""./dev's table of commands and its functions agree, and its help lists every row."""

import os
import re
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class DevTest(unittest.TestCase):
    def setUp(self):
        with open(os.path.join(ROOT, "dev"), encoding="utf-8") as file:
            self.text = file.read()
        table = re.search(r"^commands=\(\n(.*?)^\)", self.text, re.DOTALL | re.MULTILINE).group(1)
        self.rows = re.findall(r'^    "(\w+)\|(.+)"$', table, re.MULTILINE)

    def run_dev(self, *arguments):
        return subprocess.run([os.path.join(ROOT, "dev"), *arguments], capture_output=True,
                              text=True, timeout=30, check=False)

    def test_every_row_has_its_function_and_every_function_its_row(self):
        functions = re.findall(r"^command_(\w+)\(\)", self.text, re.MULTILINE)
        self.assertEqual(sorted(name for name, _ in self.rows), sorted(functions))

    def test_help_lists_every_row(self):
        done = self.run_dev("help")
        self.assertEqual(0, done.returncode)
        for name, text in self.rows:
            self.assertRegex(done.stdout, r"(?m)^  %s\s+%s$" % (name, re.escape(text)))

    def test_an_unknown_command_shows_the_help_and_fails(self):
        done = self.run_dev("frobnicate")
        self.assertEqual(1, done.returncode)
        self.assertIn("unknown command 'frobnicate'", done.stderr)
        self.assertIn("usage: ./dev", done.stderr)

    def test_continuous_integration_runs_exactly_dev_test(self):
        with open(os.path.join(ROOT, ".ci", "run"), encoding="utf-8") as file:
            commands = [line.strip() for line in file if line.startswith("exec ")]
        self.assertEqual(["exec ./dev test"], commands)


if __name__ == "__main__":
    unittest.main()
