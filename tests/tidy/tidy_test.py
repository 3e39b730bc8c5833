"""The tidy rules find what they are for: each row plants one violation in a tree of its own and
expects a finding of that rule; the clean tree and the written exceptions must pass.
"""

import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tidy  # noqa: E402

TOP = "// What it is.\n"
HEADER = TOP + "#pragma once\n"
LONG_BODY = "    call();\n" * tidy.MAX_FUNCTION_LINES

CLEAN = {
    "protocol/message.hpp": HEADER + '#include "protocol/secret.hpp"\n#include <chrono>\n',
    "protocol/message.cpp": '#include "protocol/message.hpp"\n// std::cout << "not code";\n'
                            'const char* text = "std::cout steady_clock::now() // {";\n',
    "protocol/secret.hpp": HEADER,
    "pool/ledger.hpp": HEADER + "#include <atomic>\nusing clock_ = std::chrono::steady_clock;\n",
    "pool/policy.cpp": TOP + "void f(int a,\n       int b) {\n    g();\n}\n",
    "config/settings.cpp": TOP + "static constexpr int port = 6432;\n",
    "daemon/engine/engine.cpp": TOP + '#include "pool/ledger.hpp"\n#include "config/secret.hpp"\n'
                                "#include <boost/system/error_code.hpp>\n",
    "daemon/worker.cpp": TOP + '#include "daemon/engine/engine.hpp"\n#include <boost/asio.hpp>\n'
                         "#include <thread>\n",
    "tests/protocol/message_test.cpp": TOP + '#include "protocol/message.hpp"\n',
    "integration/basic_test.py": '"""What it is."""\n',
    "dev": "#!/bin/bash\n# What it is.\n",
}

# rule, file, contents
PLANTED = [
    ("layers", "protocol/a.cpp", TOP + '#include "pool/ids.hpp"\n'),
    ("layers", "protocol/a.cpp", TOP + '#include "config/secret.hpp"\n'),
    ("layers", "pool/a.cpp", TOP + '#include "protocol/message.hpp"\n'),
    ("layers", "config/a.cpp", TOP + '#include "daemon/worker.hpp"\n'),
    ("layers", "systemd/a.cpp", TOP + '#include "pool/ids.hpp"\n'),
    ("layers", "daemon/engine/a.cpp", TOP + '#include "daemon/worker.hpp"\n'),
    ("layers", "daemon/engine/a.cpp", TOP + '#include "systemd/notify.hpp"\n'),
    ("layers", "daemon/a.cpp", TOP + '#include "tests/support/fake.hpp"\n'),
    ("layers", "tests/pool/a.cpp", TOP + '#include "protocol/message.hpp"\n'),
    ("layers", "tests/simulation/a.cpp", TOP + '#include "daemon/worker.hpp"\n'),
    ("layers", "protocol/a.cpp", TOP + '#include "message.hpp"\n'),
    ("layers", "protocol/a.cpp", TOP + '#  include "../pool/ids.hpp"\n'),
    ("sans-io", "protocol/a.cpp", TOP + "#include <sys/socket.h>\n"),
    ("sans-io", "pool/a.cpp", TOP + "#include <unistd.h>\n"),
    ("sans-io", "pool/a.cpp", TOP + "#include <thread>\n"),
    ("sans-io", "pool/a.cpp", TOP + "#include <mutex>\n"),
    ("sans-io", "protocol/a.cpp", TOP + "#include <atomic>\n"),
    ("sans-io", "config/a.cpp", TOP + "#include <iostream>\n"),
    ("sans-io", "daemon/engine/a.cpp", TOP + 'void f() {\n    std::cout << "x";\n}\n'),
    ("sans-io", "pool/a.cpp", TOP + "#include <spdlog/spdlog.h>\n"),
    ("sans-io", "daemon/engine/a.cpp", TOP + "#include <boost/asio.hpp>\n"),
    ("sans-io", "pool/a.cpp", TOP + "auto now = std::chrono::steady_clock::now();\n"),
    ("sans-io", "pool/a.cpp", TOP + "auto now = time(nullptr);\n"),
    ("sans-io", "daemon/engine/a.cpp", TOP + "std::random_device device;\n"),
    ("sans-io", "config/a.cpp", TOP + 'auto home = std::getenv("HOME");\n'),
    ("sans-io", "config/a.cpp", TOP + "#include <fstream>\n"),
    ("sans-io", "protocol/a.cpp", TOP + "#include <libpq-fe.h>\n"),
    ("sans-io", "pool/a.cpp", TOP + "void f() {\n    static int calls = 0;\n}\n"),
    ("file-length", "daemon/a.cpp", TOP + "int a();\n" * tidy.MAX_FILE_LINES),
    ("file-length", "tests/pool/a.cpp", TOP + "int a();\n" * tidy.MAX_TEST_FILE_LINES),
    ("function-length", "daemon/a.cpp", TOP + "void f(int a,\n       int b) {\n" + LONG_BODY + "}\n"),
    ("function-length", "pool/a.hpp", HEADER + "class a {\n    int f() const {\n" + LONG_BODY +
     "    }\n};\n"),
    ("names", "daemon/string_utils.cpp", TOP),
    ("names", "daemon/common/a.cpp", TOP),
    ("names", "pool/connection_manager.hpp", HEADER),
    ("names", "integration/helper.py", '"""What it is."""\n'),
    ("top-comment", "daemon/a.cpp", "#include <vector>\n"),
    ("top-comment", "integration/a.py", "import os\n"),
    ("top-comment", "dev", "#!/bin/bash\n\nset -e\n"),
    ("white-space", "daemon/a.cpp", TOP + "\tint a;\n"),
    ("white-space", "daemon/a.cpp", TOP + "int a; \n"),
    ("white-space", "daemon/a.cpp", TOP + "int a;"),
    ("pragma-once", "daemon/a.hpp", TOP),
    ("using-namespace", "daemon/a.hpp", HEADER + "using namespace std;\n"),
]

# An exception with a reason passes; one without, or for another rule, does not.
EXCEPTIONS = [
    (True, "#include <atomic> // tidy: allow sans-io: shared by workers, one writer\n"),
    (True, "// tidy: allow sans-io: shared by workers, one writer\n#include <atomic>\n"),
    (False, "#include <atomic> // tidy: allow sans-io:\n"),
    (False, "#include <atomic> // tidy: allow layers: shared by workers\n"),
]


class TidyTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="pgweir-tidy-")
        self.addCleanup(shutil.rmtree, self.root)

    def write(self, files):
        for path, contents in files.items():
            full = os.path.join(self.root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(contents)

    def rules_found(self):
        return [f.message.split("]")[0].lstrip("[") for f in tidy.check_tree(self.root)]

    def test_a_clean_tree_passes(self):
        self.write(CLEAN)
        self.assertEqual([], list(tidy.check_tree(self.root)))

    def test_every_rule_has_a_planted_violation(self):
        self.assertEqual({name for name, _, _ in tidy.RULES}, {rule for rule, _, _ in PLANTED})

    def test_planted_violations_are_found(self):
        for rule, path, contents in PLANTED:
            with self.subTest(rule=rule, path=path, contents=contents[:60]):
                shutil.rmtree(self.root)
                self.write(CLEAN)
                self.write({path: contents})
                found = list(tidy.check_tree(self.root))
                self.assertEqual([(path, rule)] * len(found),
                                 [(f.path, f.message.split("]")[0][1:]) for f in found])
                self.assertTrue(found, "nothing was found")

    def test_exceptions_need_the_rule_and_a_reason(self):
        for passes, contents in EXCEPTIONS:
            with self.subTest(contents=contents):
                shutil.rmtree(self.root)
                self.write({"protocol/a.cpp": TOP + contents})
                self.assertEqual([] if passes else ["sans-io"], self.rules_found())

    @unittest.skipUnless(shutil.which("clang-format-14"), "clang-format-14 is not installed")
    def test_formatting_is_clang_formats(self):
        self.write({".clang-format": "BasedOnStyle: LLVM\n", "pool/a.cpp": TOP + "int   a;\n"})
        self.assertEqual(["format"], self.rules_found())


if __name__ == "__main__":
    unittest.main()
