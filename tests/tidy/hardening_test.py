"""The daemon's binary is hardened: what readelf says of it."""

import os
import re
import subprocess
import sys
import unittest

BINARY = os.environ.get("PGWEIR_BINARY", "")


def readelf(*arguments):
    return subprocess.run(["readelf", "--wide", *arguments, BINARY], check=True, capture_output=True,
                          text=True).stdout


@unittest.skipUnless(BINARY, "no binary given")
class HardeningTest(unittest.TestCase):
    def test_it_can_be_loaded_anywhere(self):
        self.assertRegex(readelf("--file-header"), r"Type:\s+DYN")
        self.assertRegex(readelf("--dynamic"), r"FLAGS_1\).*PIE")

    def test_nothing_that_is_resolved_can_be_changed(self):
        self.assertIn("GNU_RELRO", readelf("--program-headers"))
        self.assertRegex(readelf("--dynamic"), r"BIND_NOW|FLAGS_1\).*NOW")

    def test_neither_the_stack_nor_anything_written_is_executable(self):
        headers = readelf("--program-headers")
        stack = next(line for line in headers.splitlines() if "GNU_STACK" in line)
        self.assertNotIn("E", stack.split("0x")[-1][10:])
        for line in headers.splitlines():
            if line.strip().startswith("LOAD"):
                self.assertNotRegex(line, r"RWE")

    def test_stack_protector_and_fortified_calls(self):
        symbols = readelf("--dyn-syms")
        self.assertIn("__stack_chk_fail", symbols)
        self.assertTrue(re.findall(r"__\w+_chk\b", symbols))

    @unittest.skipUnless(os.uname().machine == "x86_64", "is x86's")
    def test_where_calls_and_jumps_may_land_is_marked(self):
        # The linker keeps the mark only if all that was linked has it, libraries of Debian's as well;
        # so the code itself is looked at.
        start = re.search(r" ([0-9a-f]{16}) .* FUNC .* main\b", readelf("--syms"))
        code = subprocess.run(["objdump", "-d", "--disassemble=main", BINARY], check=True,
                              capture_output=True, text=True).stdout if start or True else ""
        self.assertIn("endbr64", code)


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
