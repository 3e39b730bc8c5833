// `pgweir check --user …`: which line of the access rules would count for a client, and what it
// asks for. Looks host names up, asks no PostgreSQL. Tests: tests/daemon/access_check_test.cpp;
// integration/hba_test.py.
#pragma once

#include "config/configuration.hpp"
#include "config/hba.hpp"

#include <optional>
#include <string>
#include <vector>

namespace pgweir::daemon {

/// A client that might come.
struct access_question {
    std::string user = {};     // empty: nothing is asked
    std::string database = {}; // empty: named as the user, as libpq does it
    std::string address = "local";
    bool tls = false;
    bool replication = false;
    std::optional<std::vector<std::string>> groups = {}; // nothing: not known
    std::optional<std::string> host_name = {};           // nothing: look it up
};

/// Exit codes of `pgweir check`, as docs/access.md has them.
enum class access_answer : int { let_in = 0, error = 2, refused = 3, unknown = 4 };

struct explained_access {
    access_answer answer = access_answer::error;
    std::string text; // lines, each with its end
};
/// `file`: the configuration's, for the lines that stand in it.
[[nodiscard]] explained_access explain_access(const config::configuration& of,
                                              const std::string& file,
                                              const access_question& question);

} // namespace pgweir::daemon
