// SASLprep (RFC 4013): one form for passwords that look the same, however they were typed. SCRAM
// hashes that form.
// Tests: tests/protocol/saslprep_test.cpp; integration/saslprep_test.py (against PostgreSQL and
// libpq).
#pragma once

#include "protocol/secret.hpp"

namespace pgweir::protocol {

/// As PostgreSQL does it: what is no UTF-8, or has something in it that RFC 4013 prohibits, stays
/// as it is, and so does ASCII. Characters are judged as they were typed, before they are
/// normalised.
[[nodiscard]] secret saslprep(const secret& password);

} // namespace pgweir::protocol
