"""The daemon's binary is hardened: what readelf and objdump say of it, and with what it was compiled. Each
check is tried on small programs, built with and without what it looks for."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

BINARY = os.environ.get("PGWEIR_BINARY", "")
COMMANDS = os.environ.get("PGWEIR_COMPILE_COMMANDS", "")
COMPILER = shutil.which(os.environ.get("CXX") or "c++")
X86 = os.uname().machine == "x86_64"
OURS = ("config", "daemon", "pool", "protocol", "systemd")
PAGE_BYTES = 4096


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def readelf(binary, *arguments):
    return output_of("readelf", "--wide", *arguments, binary)


# Each answers what is wrong with a binary; nothing: all is well ------------------------------------

def cannot_be_loaded_anywhere(binary):
    if re.search(r"Type:\s+DYN", readelf(binary, "--file-header")) and \
            re.search(r"FLAGS_1\).*PIE", readelf(binary, "--dynamic")):
        return None
    return "it is loaded at one place (-fPIE, -pie)"


def can_be_changed_once_resolved(binary):
    if "GNU_RELRO" not in readelf(binary, "--program-headers"):
        return "no RELRO (-z relro)"
    if not re.search(r"\(BIND_NOW\)|FLAGS\).*BIND_NOW|FLAGS_1\).*NOW", readelf(binary, "--dynamic")):
        return "functions are looked up when they are called (-z now)"
    return None


def has_executable_data(binary):
    """The flags of a segment stand behind five numbers: where it is and how large."""
    segments = re.findall(r"^\s+(LOAD|GNU_STACK)(?:\s+0x[0-9a-f]+){5}\s+([R ])([W ])([E ])\s",
                          readelf(binary, "--program-headers"), re.MULTILINE)
    kinds = [kind for kind, *_ in segments]
    if kinds.count("GNU_STACK") != 1 or "LOAD" not in kinds:
        return "its segments cannot be told: %r" % segments
    for kind, _, writable, executable in segments:
        if executable == "E" and (writable == "W" or kind == "GNU_STACK"):
            return "%s can be executed (-z noexecstack)" % kind
    return None


def has_no_stack_protector(binary):
    return None if "__stack_chk_fail" in readelf(binary, "--dyn-syms") else "-fstack-protector-strong is missing"


def has_no_fortified_calls(binary):
    calls = set(re.findall(r"\b__(\w+)_chk\b", readelf(binary, "--dyn-syms")))
    return None if calls else "nothing is called by its checking name (_FORTIFY_SOURCE)"


def has_no_landing_marks(binary):
    """The linker keeps the mark only if all that was linked has it, libraries of the system's as well; so
    the code itself is looked at."""
    code = output_of("objdump", "-d", "--no-show-raw-insn", "--disassemble=main", binary)
    if "<main>:" not in code:
        return "main cannot be found"
    return None if re.search(r"<main>:\n\s*[0-9a-f]+:\s+endbr64", code) else "-fcf-protection is missing"


def jumps_over_guard_pages(binary):
    """With -fstack-clash-protection the stack grows by a page at most before it is touched."""
    probes, farthest = 0, 0
    with subprocess.Popen(["objdump", "-d", "--no-show-raw-insn", binary], stdout=subprocess.PIPE,
                          text=True) as process:
        for line in process.stdout:
            if ",%rsp" in line or "(%rsp)" in line:
                probes += re.search(r"\bor[ql]?\s+\$0x0,(0x[0-9a-f]+)?\(%rsp\)", line) is not None
                grown = re.search(r"\bsubq?\s+\$0x([0-9a-f]+),%rsp", line)
                by = int(grown.group(1), 16) if grown else 0
                farthest = max(farthest, by if by < 1 << 63 else 0)  # of two's complement: it shrinks
    if farthest > PAGE_BYTES or not probes:
        return "a frame grows by %d bytes, of %d probes (-fstack-clash-protection)" % (farthest, probes)
    return None


CHECKS = [cannot_be_loaded_anywhere, can_be_changed_once_resolved, has_executable_data,
          has_no_stack_protector, has_no_fortified_calls]
CHECKS += [has_no_landing_marks, jumps_over_guard_pages] if X86 else []


def is_compiled_without(command):
    """What a compiler's command line lacks. The last word of several counts."""
    level, optimised, clash = "0", False, False
    for word in shlex.split(command):
        if word in ("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE"):
            level = "0"
        elif word.startswith("-D_FORTIFY_SOURCE="):
            level = word.partition("=")[2]
        elif re.fullmatch(r"-O\w*", word):
            optimised = word not in ("-O0", "-Og")
        elif word in ("-fstack-clash-protection", "-fno-stack-clash-protection"):
            clash = not word.startswith("-fno-")
    missing = [] if level == "3" else ["_FORTIFY_SOURCE is %s" % level]
    missing += [] if optimised else ["without optimisation _FORTIFY_SOURCE does nothing"]
    return missing + ([] if clash else ["-fstack-clash-protection is missing"])


@unittest.skipUnless(BINARY, "no binary given")
class HardeningTest(unittest.TestCase):
    def test_the_binary(self):
        for check in CHECKS:
            with self.subTest(check.__name__):
                self.assertIsNone(check(BINARY))

    @unittest.skipUnless(os.path.exists(COMMANDS), "no compile_commands.json given")
    def test_how_each_of_its_files_is_compiled(self):
        with open(COMMANDS, encoding="utf-8") as file:
            commands = json.load(file)
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        seen = set()
        for each in commands:
            path = os.path.relpath(each["file"], root)
            if path.split(os.sep)[0] in OURS:
                seen.add(path.split(os.sep)[0])
                with self.subTest(path):
                    self.assertEqual([], is_compiled_without(each["command"]))
        self.assertEqual(set(OURS), seen)


PROGRAM = r"""
#include <cstdio>
#include <cstring>
#include <cstdlib>
// The array's size is known to the compiler.
__attribute__((noinline)) int large(int n) {
    char space[100000];
    std::memset(space, n, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
    return space[n];
}
__attribute__((noinline)) void fixed(const char* from) {
    char into[16];
    std::strcpy(into, from);
    std::puts(into);
}
#ifdef DYNAMIC
// The size is known when it runs: level 2 leaves this alone.
__attribute__((noinline)) void dynamic(unsigned n, const char* from) {
    char* into = static_cast<char*>(std::malloc(n));
    std::memcpy(into, from, std::strlen(from));
    std::puts(into);
    std::free(into);
}
#endif
int main(int count, char** words) {
#ifdef DYNAMIC
    dynamic(static_cast<unsigned>(count) * 10, words[0]);
#endif
    fixed(words[0]);
    return large(count);
}
"""
ALL = ["-O2", "-fPIE", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3", "-fstack-protector-strong",
       "-fstack-clash-protection", "-pie", "-Wl,-z,relro,-z,now,-z,noexecstack"] + (["-fcf-protection"] if X86 else [])
WITHOUT = {
    cannot_be_loaded_anywhere: ["-fno-pie", "-no-pie"],
    can_be_changed_once_resolved: ["-Wl,-z,lazy"],
    has_executable_data: ["-Wl,-z,execstack"],
    has_no_stack_protector: ["-fno-stack-protector"],
    has_no_fortified_calls: ["-U_FORTIFY_SOURCE"],
    has_no_landing_marks: ["-fcf-protection=none"],
    jumps_over_guard_pages: ["-fno-stack-clash-protection"],
}


@unittest.skipUnless(COMPILER, "no compiler")
class ChecksTest(unittest.TestCase):
    """The checks find what they look for, and nothing else."""

    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self._source = os.path.join(self._folder.name, "program.cpp")
        with open(self._source, "w", encoding="ascii") as file:
            file.write(PROGRAM)

    def build(self, *flags):
        binary = os.path.join(self._folder.name, "program")
        output_of(COMPILER, "-w", *flags, self._source, "-o", binary)
        return binary

    def test_with_all_there_is_nothing_to_say(self):
        binary = self.build(*ALL)
        for check in CHECKS:
            with self.subTest(check.__name__):
                self.assertIsNone(check(binary))

    def test_what_is_missing_is_noticed(self):
        for check in CHECKS:
            with self.subTest(check.__name__):
                self.assertIsNotNone(check(self.build(*ALL, *WITHOUT[check])))
        self.assertIsNotNone(can_be_changed_once_resolved(self.build(*ALL, "-Wl,-z,norelro")))

    def test_level_3_checks_what_level_2_does_not(self):
        """Why the level is looked at: the symbols are there with either."""
        for level, checked in ((2, False), (3, True)):
            binary = self.build(*ALL, "-DDYNAMIC", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=%d" % level)
            self.assertIsNone(has_no_fortified_calls(binary))
            self.assertEqual(checked, "__memcpy_chk" in readelf(binary, "--dyn-syms"))

    def test_command_lines(self):
        line = "c++ %s -c a.cpp" % " ".join(ALL)
        self.assertEqual([], is_compiled_without(line))
        for less in ("-D_FORTIFY_SOURCE=2", "-U_FORTIFY_SOURCE", "-O0", "-fno-stack-clash-protection"):
            with self.subTest(less):
                self.assertEqual(1, len(is_compiled_without(line.replace(" -c ", " %s -c " % less))))
        self.assertEqual(3, len(is_compiled_without("c++ -c a.cpp")))


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
