#!/usr/bin/env python3
"""Writes saslprep_tables.hpp: the tables of RFC 3454 that RFC 4013 needs, from Python's own copy of
Unicode 3.2. `protocol/make_saslprep_tables.py > protocol/saslprep_tables.hpp`, and ./dev format."""

import stringprep as s
import sys

TABLES = [
    ("spaces", "C.1.2: become an ordinary space.", [s.in_table_c12]),
    ("mapped_to_nothing", "B.1.", [s.in_table_b1]),
    ("refused", "C.2 to C.9, and A.1: what Unicode 3.2 did not know.",
     [s.in_table_a1, s.in_table_c21, s.in_table_c22, s.in_table_c3, s.in_table_c4, s.in_table_c5, s.in_table_c6,
      s.in_table_c7, s.in_table_c8, s.in_table_c9]),
    ("right_to_left", "D.1: RandALCat.", [s.in_table_d1]),
    ("left_to_right", "D.2: LCat.", [s.in_table_d2]),
]


def ranges(tests):
    found = []
    for code in range(sys.maxunicode + 1):
        if any(test(chr(code)) for test in tests):
            if found and found[-1][1] == code - 1:
                found[-1][1] = code
            else:
                found.append([code, code])
    return found


print("""// Made by make_saslprep_tables.py: not to be changed by hand.
// Source: RFC 3454 (stringprep), appendices A to D, which are of Unicode 3.2.
#pragma once

namespace pgweir::protocol::saslprep_tables {

struct range {
    char32_t first, last; // both within
};
""")
for name, doc, tests in TABLES:
    print("/// %s\ninline constexpr range %s[] = {" % (doc, name))
    print("    " + ", ".join("{0x%X, 0x%X}" % tuple(each) for each in ranges(tests)))
    print("};\n")
print("} // namespace pgweir::protocol::saslprep_tables")
