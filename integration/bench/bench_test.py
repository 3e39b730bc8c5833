"""The benchmark itself works: a very short run of two scenarios, with every row ending in a ratio and a
report that says the same. What the numbers are is not judged here."""

import os
import subprocess
import sys
import unittest

from integration.support import surroundings

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench.py")


class BenchTest(unittest.TestCase):
    def run_bench(self, *arguments):
        return subprocess.run([sys.executable, BENCH, *arguments], capture_output=True, text=True,
                              timeout=200, check=False)

    def rows_of(self, count, *names):
        """What one short round of these scenarios prints."""
        done = self.run_bench("--rounds", "1", "--seconds", "1", "--report", os.devnull, "--", *names)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        rows = done.stdout.splitlines()
        self.assertEqual(count, len(rows), done.stdout)
        return rows

    def test_rows_end_in_ratios_and_the_report_has_them_too(self):
        report = os.path.join(surroundings.temporary_directory("bench"), "report.md")
        done = self.run_bench("--rounds", "1", "--seconds", "1", "--report", report,
                              "--users", "20", "--", "simple", "users")
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        rows = done.stdout.splitlines()
        self.assertGreater(len(rows), 8)
        for row in rows:
            self.assertRegex(row, r"^(simple|users 20) +\S.* pgweir +\S+ +pgbouncer +\S+ +ratio ([0-9.]+|inf)$")
        with open(report, encoding="utf-8") as file:
            text = file.read()
        for row in rows:
            self.assertIn(row[row.rindex("ratio"):], text)

    def test_ratios_of_two_pgweirs_say_whose_they_are(self):
        for row in self.rows_of(10, "settings", "tracking"):
            self.assertRegex(row, r"^(settings +(transfer +)?\S.* with +\S+ +without +\S+|tracking (simple|prepared) +\S.* on"
                                  r" +\S+ +off +\S+) +ratio [0-9.]+$")

    def test_the_protocols_of_one_pgweir_are_compared_in_one_run(self):
        for row in self.rows_of(4, "protocols"):
            self.assertRegex(row, r"^protocols (extended +\S.* pgweir +\S+ +pgbouncer +\S+|"
                                  r" +\S.* prepared +\S+ +extended +\S+) +ratio [0-9.]+$")

    def test_tls_is_compared_in_logins_idle_clients_transactions_and_bulk(self):
        for row in self.rows_of(14, "tls"):
            self.assertRegex(row, r"^(tls idle|scram (tls )?logins|tls simple|tls bulk \d+) +\S.*"
                                  r" pgweir +\S+ +pgbouncer +\S+ +ratio [0-9.]+$")

    def test_an_unknown_scenario_is_named(self):
        done = self.run_bench("speed")
        self.assertEqual(2, done.returncode)
        self.assertIn("unknown scenario 'speed'", done.stderr)


if __name__ == "__main__":
    unittest.main()
