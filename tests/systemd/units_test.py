"""The unit files: accepted by systemd without a word, and as closed as they claim to be."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd"
ANALYZE = shutil.which("systemd-analyze")


def settings(text):
    """(section, key) -> values, in order."""
    found = {}
    section = None
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault((section, key), []).append(value)
    return found


class Service(unittest.TestCase):
    def setUp(self):
        self.text = (UNITS / "pgweir.service").read_text()
        self.settings = settings(self.text)

    def service(self, key):
        return self.settings[("Service", key)]

    def test_it_is_notified_reloaded_and_watched(self):
        self.assertEqual(self.service("Type"), ["notify"])
        self.assertEqual(self.service("ExecReload"), ["/bin/kill -HUP $MAINPID"])
        self.assertEqual(
            self.service("ExecStart"), ["/usr/bin/pgweir run --config /etc/pgweir/pgweir.yaml"]
        )
        self.assertGreater(int(self.service("WatchdogSec")[0]), 0)

    def test_it_may_finish_open_transactions(self):
        # The default of shutdown_timeout, in seconds.
        self.assertGreater(int(self.service("TimeoutStopSec")[0]), 30)

    def test_it_has_descriptors_for_all_clients(self):
        self.assertGreaterEqual(int(self.service("LimitNOFILE")[0]), 3 * 20_000)

    def test_there_is_a_place_for_unix_sockets_and_their_users_are_known(self):
        self.assertEqual(self.service("RuntimeDirectory"), ["pgweir"])
        self.assertEqual(self.service("RuntimeDirectoryMode"), ["0755"])
        self.assertNotIn(("Service", "PrivateUsers"), self.settings)  # all would be nobody

    def test_postgresql_is_not_required(self):
        for key in ("Requires", "BindsTo", "Requisite"):
            self.assertNotIn(("Unit", key), self.settings)

    @unittest.skipUnless(ANALYZE, "systemd-analyze is not installed")
    def test_systemd_accepts_it(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            binary = folder / "pgweir"
            binary.write_text("#!/bin/sh\n")
            binary.chmod(0o755)
            for name in ("pgweir.service", "pgweir.socket"):
                text = (UNITS / name).read_text().replace("/usr/bin/pgweir", str(binary))
                # The manual may not be installed where the test runs.
                text = re.sub(r"^Documentation=.*\n", "", text, flags=re.M)
                (folder / name).write_text(text)
            result = subprocess.run(
                [ANALYZE, "verify", "--man=no", folder / "pgweir.service", folder / "pgweir.socket"],
                capture_output=True,
                text=True,
            )
        ours = [line for line in result.stderr.splitlines() if "pgweir" in line]
        self.assertEqual(ours, [])
        self.assertEqual(result.returncode, 0, result.stderr)

    @unittest.skipUnless(ANALYZE, "systemd-analyze is not installed")
    def test_it_is_closed(self):
        # Exposure in tenths: 15 is 1.5 of 10, "OK". What is left open: the network, and the files.
        result = subprocess.run(
            [ANALYZE, "security", "--offline=true", "--threshold=15", UNITS / "pgweir.service"],
            capture_output=True,
            text=True,
        )
        if "unrecognized option" in result.stderr:
            self.skipTest("this systemd-analyze cannot judge a file")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


class Socket(unittest.TestCase):
    def test_it_opens_the_client_port_for_both_families(self):
        found = settings((UNITS / "pgweir.socket").read_text())
        self.assertEqual(found[("Socket", "ListenStream")], ["0.0.0.0:6432", "[::]:6432"])
        # Without this, the second address would claim the first one's too.
        self.assertEqual(found[("Socket", "BindIPv6Only")], ["ipv6-only"])
        self.assertEqual(found[("Socket", "FileDescriptorName")], ["clients"])


if __name__ == "__main__":
    unittest.main()
