// Reads a configuration file with the real environment and file system. The rules are config/'s.
// Tests: integration (check, reload).
#pragma once

#include "config/configuration.hpp"

#include <memory>
#include <string>
#include <vector>

namespace pgweir::daemon {

struct loaded_configuration {
    std::shared_ptr<const config::configuration> config; // nothing when there are errors
    std::vector<std::string> errors;                     // "file:line:column: sentence"
    std::vector<std::string> warnings;                   // the same
};

[[nodiscard]] loaded_configuration load_configuration(const std::string& path);

} // namespace pgweir::daemon
