"""The rules of the house that a compiler does not check: who may include whom, what may not be
touched by code that must not see the outside, names, sizes, white space, formatting.

Each rule is one row of RULES: a name (which the message carries), why it is there, and a function
that yields findings. An exception to a rule is written where it is made, with its reason:
    // tidy: allow RULE: reason      (that line, or the next; for `file-length` anywhere in the file)

Run as `tidy.py ROOT`; exits 1 when something was found. Tested by tests/tidy/tidy_test.py, which
plants a violation of every rule.
"""

import ast
import collections
import os
import re
import shutil
import subprocess
import sys

MAX_FILE_LINES = 600
MAX_TEST_FILE_LINES = 800  # tables of cases and scripts of fakes are long without being hard
MAX_FUNCTION_LINES = 70
SKIPPED_FOLDERS = {"build", ".git", ".cache", "__pycache__"}
FORBIDDEN_NAMES = ("utils", "util", "common", "manager", "helper", "helpers", "misc")

Finding = collections.namedtuple("Finding", "path line message")


class Source:
    """One file: its path from the root, its lines, and for C++ the lines without comments and
    the contents of strings (same line numbers)."""

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            self.text = file.read()
        self.lines = self.text.split("\n")
        self.is_cpp = path.endswith((".cpp", ".hpp"))
        self.is_python = path.endswith(".py")
        self.is_shell = path.endswith(".sh") or self.text.startswith(("#!/bin/bash", "#!/bin/sh"))
        self.code = strip_comments_and_strings(self.text).split("\n") if self.is_cpp else self.lines

    def allows(self, rule, line):
        """Is there an exception to this rule at this line (counted from 1), or just before it?"""
        pattern = re.compile(r"tidy: allow %s: \S" % re.escape(rule))
        if rule == "file-length":
            return bool(pattern.search(self.text))
        nearby = self.lines[max(line - 2, 0) : line]
        return any(pattern.search(text) for text in nearby)


def strip_comments_and_strings(text):
    """Blanks out comments and what is inside quotes, but keeps every line break."""
    token = re.compile(
        r'R"(?P<tag>[^()\\ ]{0,16})\(.*?\)(?P=tag)"'  # raw string
        r"|//[^\n]*|/\*.*?\*/"
        r'|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9a-zA-Z_])'(?:\\.|[^'\\\n])+'",
        re.DOTALL,
    )

    def blank(match):
        found = match.group(0)
        breaks = "\n" * found.count("\n")
        return breaks if found.startswith("/") else '""' + breaks

    # An #include names its file in quotes: those stay.
    kept = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"[^"\n]*"', re.MULTILINE)
    pieces, at = [], 0
    for include in kept.finditer(text):
        pieces += [token.sub(blank, text[at : include.start()]), include.group(0)]
        at = include.end()
    pieces.append(token.sub(blank, text[at:]))
    return "".join(pieces)


# ---------------------------------------------------------------------------------- the layers

# Folder -> folders whose headers it may include. The longest matching prefix counts, on both sides.
LAYERS = {
    "protocol": {"protocol"},
    "pool": {"pool"},
    "config": {"config"},
    "systemd": {"systemd"},
    "daemon/engine": {"protocol", "pool", "config", "daemon/engine"},
    "daemon": {"protocol", "pool", "config", "systemd", "daemon", "daemon/engine"},
    "tests/support": {"tests/support", "protocol"},
    "tests/protocol": {"protocol", "tests/support", "tests/protocol"},
    "tests/pool": {"pool", "tests/support", "tests/pool"},
    "tests/config": {"config", "tests/support", "tests/config"},
    "tests/simulation": {
        "protocol", "pool", "config", "daemon/engine", "tests/support", "tests/simulation",
    },
}


def layer_of(path):
    folder = os.path.dirname(path)
    while folder and folder not in LAYERS:
        folder = os.path.dirname(folder)
    return folder


def check_layers(source):
    may_include = LAYERS.get(layer_of(source.path))
    if not source.is_cpp or may_include is None:
        return
    for number, line in enumerate(source.code, 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match:
            continue
        target = match.group(1)
        if "/" not in target:
            yield number, 'include "%s" is not from the root ("folder/file.hpp")' % target
        elif target.startswith("..") or layer_of(target) not in may_include:
            yield number, "%s may not include %s (it may: %s)" % (
                layer_of(source.path), target, ", ".join(sorted(may_include)))


# ------------------------------------------------------------------------------------ sans-io

SANS_IO = ("protocol", "pool", "config", "daemon/engine")
# What is banned there: (pattern in code, what it stands for, layers that may nevertheless)
BANNED = [
    (r"#\s*include\s+<(sys/(socket|epoll|un|select)|netinet/.*|arpa/.*|netdb|poll|unistd|fcntl)\.h>",
     "sockets and descriptors", ()),
    (r"#\s*include\s+<(thread|mutex|shared_mutex|condition_variable|future|semaphore|latch|barrier"
     r"|stop_token|pthread\.h)>", "threads and locks", ()),
    (r"#\s*include\s+<atomic>", "atomics (pool and engine may: what workers share)",
     ("pool", "daemon/engine")),
    (r"#\s*include\s+<(iostream|cstdio|stdio\.h|print|syslog\.h)>|\bstd::(cout|cerr|clog)\b"
     r"|(?<![\w:])f?printf\s*\(", "printing", ()),
    (r"#\s*include\s+[<\"]spdlog/|\bspdlog::", "logging (the daemon logs)", ()),
    (r"#\s*include\s+<boost/(?!system/)", "Boost beyond boost/system", ()),
    (r"\b(steady_clock|system_clock|high_resolution_clock|file_clock)::now\b"
     r"|(?<![\w:.>])(::)?(clock_gettime|gettimeofday)\s*\(|(?<![\w:.>])(std::)?time\s*\(\s*(0|NULL|nullptr)",
     "clocks (`now` is passed in)", ()),
    (r"\bstd::random_device\b|\bRAND_bytes\b|(?<![\w:.>])(std::|::)?s?rand\s*\(",
     "sources of randomness (it is passed in)", ()),
    (r"(?<![\w.>])(std::|::)?(secure_)?getenv\s*\(", "the environment", ()),
    (r"#\s*include\s+<(fstream|filesystem)>", "files (whoever calls reads them)", ()),
    (r"#\s*include\s+<(libpq-fe\.h|prometheus/|systemd/)", "I/O libraries", ()),
    (r"^\s*(static|thread_local)\s+(?!.*\b(const|constexpr|consteval|constinit const)\b)"
     r"[\w:<>, ]+\s+\w+\s*(=|\{[^}]*\};|;)", "mutable globals and statics", ()),
]


def check_sans_io(source):
    layer = layer_of(source.path)
    if not source.is_cpp or layer not in SANS_IO:
        return
    for number, line in enumerate(source.code, 1):
        for pattern, meaning, exempt in BANNED:
            if layer not in exempt and re.search(pattern, line):
                yield number, "%s is sans-io, and this is about %s: %s" % (
                    layer, meaning, line.strip())


# -------------------------------------------------------------------------------------- sizes


def check_file_length(source):
    count = source.text.count("\n")
    most = MAX_TEST_FILE_LINES if source.path.startswith("tests/") else MAX_FILE_LINES
    if count > most:
        yield 1, "%d lines; split at %d" % (count, most)


def check_function_length(source):
    if source.path.startswith(("tests/", "integration/")):
        return  # a table of cases is as long as it is
    if source.is_cpp:
        lengths = cpp_functions(source.code)
    elif source.is_python:
        lengths = python_functions(source.text)
    else:
        return
    for line, count in lengths:
        if count > MAX_FUNCTION_LINES:
            yield line, "a function of %d lines; up to %d" % (count, MAX_FUNCTION_LINES)


def cpp_functions(code):
    """Yields (first line, number of lines) of every brace block that looks like a function."""
    not_functions = re.compile(
        r"^\s*(if|for|while|switch|else|do|try|catch|namespace|class|struct|enum|union|extern)\b|=\s*$")
    open_blocks, statement, statement_line = [], "", 1
    for number, line in enumerate(code, 1):
        if line.lstrip().startswith("#"):
            continue
        for character in line:
            if character == "{":
                is_function = "(" in statement and not not_functions.search(statement.strip())
                open_blocks.append((statement_line, is_function))
                statement = ""
            elif character == "}":
                if open_blocks:
                    first, is_function = open_blocks.pop()
                    if is_function:
                        yield first, number - first + 1
                statement = ""
            elif character == ";":
                statement = ""
            else:
                if not statement.strip():
                    statement, statement_line = "", number
                statement += character
        statement += " "


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno - node.lineno + 1


# --------------------------------------------------------------------------- names and comments


def check_names(source):
    stem = os.path.splitext(os.path.basename(source.path))[0]
    for part in source.path.split("/")[:-1] + [stem]:
        for word in re.split(r"[_\-.]", part.lower()):
            if word in FORBIDDEN_NAMES:
                yield 1, "'%s' says nothing about what is in it" % part
                return


def check_top_comment(source):
    first = next((line for line in source.lines if line.strip()), "")
    own_header = '#include "%s.hpp"' % os.path.splitext(source.path)[0]
    if source.is_cpp and not first.startswith(("//", "/*", own_header)):
        yield 1, "the file does not begin with a comment: what it is, who owns it, which thread"
    elif source.is_python:
        rest = source.text.split("\n", 1)[1] if source.text.startswith("#!") else source.text
        if rest.strip() and not rest.lstrip().startswith(('"""', '#', 'r"""')):
            yield 1, "the file does not begin with a docstring: what it is"
    elif source.is_shell and not any(re.match(r"#[^!]", line) for line in source.lines[:3]):
        yield 1, "the file does not begin with a comment: what it is"


def check_white_space(source):
    for number, line in enumerate(source.lines, 1):
        if "\t" in line:
            yield number, "a tab"
        if line != line.rstrip():
            yield number, "white space at the end of the line"
    if source.text and not source.text.endswith("\n"):
        yield len(source.lines), "no line break at the end of the file"


def check_header_guard(source):
    if source.path.endswith(".hpp") and not re.search(r"^#pragma once$", source.text, re.MULTILINE):
        yield 1, "a header without #pragma once"


def check_using_namespace(source):
    if source.path.startswith("tests/"):
        return  # read by one test program
    for number, line in enumerate(source.code, 1):
        if source.path.endswith(".hpp") and re.match(r"\s*using\s+namespace\b", line):
            yield number, "a header must not open a namespace for everybody who includes it"


RULES = [
    ("layers", "daemon -> {protocol, pool, config, systemd}; the siblings know nothing of each other",
     check_layers),
    ("sans-io", "the core sees no socket, clock, thread, environment, global or log", check_sans_io),
    ("file-length", "a file is read in one go", check_file_length),
    ("function-length", "a function is understood in one go", check_function_length),
    ("names", "a file is found by its name", check_names),
    ("top-comment", "the newcomer's first question is answered first", check_top_comment),
    ("white-space", "a diff shows changes only", check_white_space),
    ("pragma-once", "headers are included once", check_header_guard),
    ("using-namespace", "names come from where they say", check_using_namespace),
]


# -------------------------------------------------------------------------------------- running


def files_below(root):
    """Every text file that belongs to the project, as paths from the root, sorted."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name not in SKIPPED_FOLDERS)
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if name.endswith((".cpp", ".hpp", ".py", ".sh")) or path in ("dev", ".ci/run"):
                yield path


def check_format(root, paths):
    """clang-format's own verdict, if it is installed. (rule `format`)"""
    formatter = shutil.which("clang-format-14")
    sources = [path for path in paths if path.endswith((".cpp", ".hpp"))]
    if formatter is None or not sources or not os.path.exists(os.path.join(root, ".clang-format")):
        return
    done = subprocess.run([formatter, "--dry-run", "--ferror-limit=1"] + sources, cwd=root,
                          capture_output=True, text=True, check=False)
    seen = set()
    for path, line in re.findall(r"^(.+?):(\d+):\d+: (?:warning|error):", done.stderr, re.MULTILINE):
        if path not in seen:
            seen.add(path)
            yield Finding(path, int(line), "[format] not as clang-format-14 writes it (./dev format)")


def check_tree(root):
    """All findings of all rules below `root`."""
    paths = list(files_below(root))
    for path in paths:
        source = Source(root, path)
        for name, why, check in RULES:
            for line, message in check(source):
                if not source.allows(name, line):
                    yield Finding(path, line, "[%s] %s -- %s" % (name, message, why))
    yield from check_format(root, paths)


def main(arguments):
    root = arguments[1] if len(arguments) > 1 else os.getcwd()
    findings = list(check_tree(root))
    for finding in findings:
        print("%s:%d: %s" % finding)
    print("tidy: %d findings" % len(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
