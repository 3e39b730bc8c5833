"""A real Prometheus scrapes the daemon; promtool reads the alert rules and what /metrics says."""

import json
import os
import re
import subprocess
import unittest
import urllib.parse

from integration.support import surroundings
from integration.support.case import PoolerCase, only_pgweir
from integration.support.metrics import http_get
from integration.support.waiting import wait_for

ALERTS = os.path.join(surroundings.ROOT, "deploy", "prometheus", "alerts.yml")


@only_pgweir
class PrometheusTest(PoolerCase):
    def start_prometheus(self):
        directory = surroundings.temporary_directory("prometheus")
        self.port = surroundings.reserve_port()
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [ALERTS] if os.path.exists(ALERTS) else [],
            "scrape_configs": [{
                "job_name": "pgweir",
                "static_configs": [{"targets": ["127.0.0.1:%d" % self.pooler.metrics_port]}]}],
        }
        path = os.path.join(directory, "prometheus.yml")
        with open(path, "w", encoding="ascii") as file:
            json.dump(config, file)
        self.log_path = os.path.join(directory, "prometheus.log")
        process = surroundings.start_process(
            ["/usr/bin/prometheus", "--config.file=" + path,
             "--storage.tsdb.path=" + os.path.join(directory, "data"),
             "--web.listen-address=127.0.0.1:%d" % self.port], self.log_path)
        self.addCleanup(surroundings.end_process, process)

    def ask(self, path, **parameters):
        """The `data` of an answer of Prometheus' API; None while it is not up."""
        try:
            status, body = http_get("127.0.0.1", self.port,
                                    path + "?" + urllib.parse.urlencode(parameters))
        except OSError:
            return None
        return json.loads(body)["data"] if status == 200 else None

    def test_it_is_scraped(self):
        self.pooler.query("select 1")
        self.start_prometheus()

        def target():
            data = self.ask("/api/v1/targets")
            active = data["activeTargets"] if data else []
            return active[0] if active and active[0]["health"] != "unknown" else None
        seen = wait_for(target, lambda: "a scrape:\n" + surroundings.read_text(self.log_path), 60, 0.2)
        self.assertEqual(("up", ""), (seen["health"], seen["lastError"]))

        def maxconn():
            data = self.ask("/api/v1/query", query="pgweir_pool_maxconn")
            return data["result"] if data else None
        result = wait_for(maxconn, "the series is there", 20, 0.2)
        self.assertEqual("10", result[0]["value"][1])
        self.assertEqual({"__name__", "database", "user", "instance", "job"},
                         set(result[0]["metric"]))
        rules = self.ask("/api/v1/rules")
        for group in rules["groups"]:
            for rule in group["rules"]:
                self.assertNotEqual("err", rule["health"], rule)

    def test_promtool_finds_nothing_wrong_with_the_metrics(self):
        self.pooler.query("select 1")
        done = subprocess.run(["/usr/bin/promtool", "check", "metrics"],
                              input=self.pooler.metrics().text, capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_every_metric_of_the_alerts_is_exported(self):
        self.pooler.query("select 1")
        exported = self.pooler.metrics().names()
        with open(ALERTS, encoding="utf-8") as file:
            used = set(re.findall(r"\bpgweir_[a-z_]+", re.sub(r"(?m)#.*$", "", file.read())))
        self.assertTrue(used)
        self.assertEqual(set(), used - exported)

    def test_a_scrape_costs_the_same_with_many_clients(self):
        few = len(self.pooler.metrics().samples)
        clients = [self.connect_autocommit() for _ in range(300)]
        for client in clients[:20]:
            self.rows(client, "select 1")
        # A series more for a reason that occurs for the first time is all that may come.
        self.assertLess(len(self.pooler.metrics().samples), few + 20)


class PromtoolTest(unittest.TestCase):
    def test_the_alert_rules_are_valid(self):
        done = subprocess.run(["/usr/bin/promtool", "check", "rules", ALERTS], capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
