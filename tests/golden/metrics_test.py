"""Metric names are a promise to dashboards and alerts.

metrics.txt lists every metric with its type. After a deliberate change:
    metrics_sample | awk '/^# TYPE/ { print $3, $4 }' | sort > tests/golden/metrics.txt
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/metrics.txt"
DASHBOARD = ROOT / "deploy/grafana/pgweir.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
ALERTS_TEST = ROOT / "deploy/prometheus/alerts_test.yml"
METRIC = re.compile(r"\b(?:pgweir|process)_[a-z0-9_]+\b")
PROMTOOL = shutil.which("promtool")


def golden():
    return dict(line.split() for line in GOLDEN.read_text().splitlines())


def sample():
    return subprocess.run(
        [os.environ["PGWEIR_METRICS_SAMPLE"]], check=True, capture_output=True, text=True
    ).stdout


def series_names():
    """Every name that a query can select: histograms have three each."""
    names = set()
    for name, kind in golden().items():
        if kind == "histogram":
            names |= {name + suffix for suffix in ("_bucket", "_sum", "_count")}
        else:
            names.add(name)
    return names


def dashboard_queries(node):
    """Every PromQL text of the dashboard: panel targets and template variables."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query", "definition") and isinstance(value, str):
                yield value
            yield from dashboard_queries(value)
    elif isinstance(node, list):
        for value in node:
            yield from dashboard_queries(value)


def promtool(*arguments, stdin=None):
    return subprocess.run(
        [PROMTOOL, *arguments], input=stdin, capture_output=True, text=True, cwd=ALERTS.parent
    )


class Metrics(unittest.TestCase):
    def test_names_and_types_are_those_of_the_golden_list(self):
        exported = dict(re.findall(r"^# TYPE (\S+) (\S+)$", sample(), re.M))
        self.assertEqual(exported, golden())

    def test_the_list_is_sorted(self):
        lines = GOLDEN.read_text().splitlines()
        self.assertEqual(lines, sorted(lines))

    def test_labels_are_few(self):
        labels = set(re.findall(r'[{,]([a-z_]+)="', sample()))
        self.assertEqual(
            labels, {"database", "user", "state", "reason", "kind", "class", "le", "version"}
        )

    @unittest.skipUnless(PROMTOOL, "promtool is not installed")
    def test_promtool_has_nothing_to_say(self):
        result = promtool("check", "metrics", stdin=sample())
        self.assertEqual((result.returncode, result.stdout + result.stderr), (0, ""))


class Dashboard(unittest.TestCase):
    def test_it_queries_only_what_is_exported(self):
        queried = set()
        for query in dashboard_queries(json.loads(DASHBOARD.read_text())):
            queried |= set(METRIC.findall(query))
        self.assertGreater(len(queried), 20)
        self.assertEqual(queried - series_names(), set())

    def test_every_panel_shows_something_and_stands_where_nothing_else_does(self):
        taken = set()
        ids = set()
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            with self.subTest(panel["title"]):
                self.assertNotIn(panel["id"], ids)
                ids.add(panel["id"])
                place = panel["gridPos"]
                cells = {
                    (x, y)
                    for x in range(place["x"], place["x"] + place["w"])
                    for y in range(place["y"], place["y"] + place["h"])
                }
                self.assertLessEqual(place["x"] + place["w"], 24)
                self.assertFalse(cells & taken)
                taken |= cells
                if panel["type"] != "row":
                    self.assertTrue(panel["targets"])
                    self.assertTrue(panel["description"])

    @unittest.skipUnless(PROMTOOL, "promtool is not installed")
    def test_its_queries_are_promql(self):
        # Checked as the expressions of recording rules, with Grafana's variables filled in.
        rules = []
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", []):
                expr = target["expr"].replace("$__rate_interval", "1m")
                self.assertNotIn("[$", expr)
                rules.append({"record": f"panel:{panel['id']}{target['refId']}", "expr": expr})
        document = json.dumps({"groups": [{"name": "dashboard", "rules": rules}]})
        result = promtool("check", "rules", "/dev/stdin", stdin=document)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


class Alerts(unittest.TestCase):
    def test_they_query_only_what_is_exported(self):
        for path in (ALERTS, ALERTS_TEST):
            queried = set(METRIC.findall(path.read_text()))
            self.assertGreater(len(queried), 3)
            self.assertEqual(queried - series_names(), set(), path)

    def test_every_alert_is_tested(self):
        declared = set(re.findall(r"^\s*- alert: (\S+)$", ALERTS.read_text(), re.M))
        tested = set(re.findall(r"alertname: (\S+)$", ALERTS_TEST.read_text(), re.M))
        self.assertGreater(len(declared), 5)
        self.assertEqual(declared, tested)

    @unittest.skipUnless(PROMTOOL, "promtool is not installed")
    def test_promtool_accepts_the_rules(self):
        result = promtool("check", "rules", "--lint-fatal", str(ALERTS))
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    @unittest.skipUnless(PROMTOOL, "promtool is not installed")
    def test_the_rules_fire_and_stay_silent_as_they_should(self):
        result = promtool("test", "rules", str(ALERTS_TEST))
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


if __name__ == "__main__":
    unittest.main()
