// The TLS of one configuration: for clients, and for each database. Made when a configuration is
// loaded; what has not changed since the last time, down to the bytes in its files, is kept, so
// that a reload replaces no server connection for nothing.
//
// Owner: shared. Thread: any. Tests: tests/daemon/tls_contexts_test.cpp, integration/tls_test.py.
#pragma once

#include "config/configuration.hpp"
#include "daemon/tls_context.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::daemon {

struct tls_contexts {
    std::shared_ptr<const tls_context> clients; // nothing: TLS is not offered
    /// By the database's name in the configuration; nothing: never.
    std::map<std::string, std::shared_ptr<const tls_context>, std::less<>> servers;

    [[nodiscard]] std::shared_ptr<const tls_context> for_database(std::string_view name) const;
};

/// `directory`: of the configuration, where relative paths begin. `running`: what to keep from, may
/// be nothing. What is wrong is appended to `errors`, a line each.
[[nodiscard]] std::shared_ptr<const tls_contexts>
make_tls_contexts(const config::configuration& from, const std::string& directory,
                  const tls_contexts* running, std::vector<std::string>& errors);

/// A path that the configuration in `directory` names; none where it names none.
[[nodiscard]] std::string absolute(const std::string& directory, const std::string& path);

} // namespace pgweir::daemon
