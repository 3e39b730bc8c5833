// What the salts of users that do not exist are made from: it has to last as users' salts do, or
// who asks before and after a restart, or two pgweirs behind one address, learns which users exist.
//
// Never made from passwords or verifiers: salts are shown to anybody, who could then try passwords
// without asking us.
// Tests: tests/daemon/mock_secret_test.cpp, integration/enumeration_test.py.
#pragma once

#include "config/configuration.hpp"
#include "daemon/tls_context.hpp"

#include <string>

namespace pgweir::daemon {

/// That of the configuration; else made from the key of `clients` (nothing: TLS is not offered);
/// else `chance`, which is this process's.
[[nodiscard]] std::string mock_secret_of(const config::configuration& from,
                                         const tls_context* clients, const std::string& chance);

} // namespace pgweir::daemon
