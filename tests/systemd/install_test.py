"""What `cmake --install` puts where, into a DESTDIR of the test's own."""

import os
import pathlib
import stat
import subprocess
import tempfile
import unittest

BUILD = os.environ["PGWEIR_BUILD_DIR"]
CMAKE = os.environ["PGWEIR_CMAKE"]


def install(destination):
    return subprocess.run(
        [CMAKE, "--install", BUILD, "--prefix", "/usr"],
        env={**os.environ, "DESTDIR": str(destination)},
        capture_output=True,
        text=True,
    )


class Install(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def install(self):
        result = install(self.root)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_everything_is_where_debian_expects_it(self):
        self.install()
        for path in (
            "usr/bin/pgweir",
            "etc/pgweir/pgweir.yaml",
            "usr/lib/systemd/system/pgweir.service",
            "usr/lib/systemd/system/pgweir.socket",
            "usr/lib/sysusers.d/pgweir.conf",
            "usr/lib/tmpfiles.d/pgweir.conf",
            "usr/share/doc/pgweir/example.yaml",
            "usr/share/pgweir/grafana/pgweir.json",
            "usr/share/pgweir/prometheus/alerts.yml",
        ):
            with self.subTest(path):
                self.assertTrue((self.root / path).is_file())
        # … and nothing anywhere else.
        self.assertEqual({p.name for p in self.root.iterdir()}, {"usr", "etc"})
        self.assertEqual(
            {p.name for p in (self.root / "usr").iterdir()}, {"bin", "lib", "share"}
        )

    def test_the_binary_runs_and_nobody_else_reads_the_configuration(self):
        self.install()
        self.assertTrue(os.access(self.root / "usr/bin/pgweir", os.X_OK))
        mode = stat.S_IMODE((self.root / "etc/pgweir/pgweir.yaml").stat().st_mode)
        self.assertEqual(mode, 0o640)

    def test_installing_again_keeps_the_operators_file(self):
        self.install()
        file = self.root / "etc/pgweir/pgweir.yaml"
        file.write_text("# mine\n")
        self.install()
        self.assertEqual(file.read_text(), "# mine\n")
        self.assertTrue((self.root / "usr/share/doc/pgweir/example.yaml").is_file())


if __name__ == "__main__":
    unittest.main()
