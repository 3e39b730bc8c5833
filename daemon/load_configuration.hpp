// Reads a configuration file with the real environment and file system. The rules are config/'s.
// Tests: integration (check, reload).
#pragma once

#include "config/configuration.hpp"
#include "daemon/tls_contexts.hpp"

#include <memory>
#include <string>
#include <vector>

namespace pgweir::daemon {

struct loaded_configuration {
    std::shared_ptr<const config::configuration> config; // nothing when there are errors
    std::shared_ptr<const tls_contexts> tls;             // the same
    std::vector<std::string> errors;                     // "file:line:column: sentence"
    std::vector<std::string> warnings;                   // the same
    std::vector<std::string> secret_files;               // that it names, whatever came of them
};

/// Whatever goes wrong is an error in what it returns: it throws nothing that a file, or a lack of
/// memory, is to blame for. `running`: certificates that have not changed are kept from these.
[[nodiscard]] loaded_configuration load_configuration(const std::string& path,
                                                      const tls_contexts* running = nullptr);

} // namespace pgweir::daemon
