// `pgweir show`: asks the console of a pgweir that runs, and prints the answer as psql would.
//
// Owner: main(). Thread: main's; it may block, no worker is there. Tests:
// integration/console_test.py.
#pragma once

#include "config/configuration.hpp"

#include <string>
#include <vector>

namespace pgweir::daemon {

/// Where the console is and who asks. Whatever is not given is what the configuration of the daemon
/// says: the first address of `listen`, the first of console.admin_users (or stats_users).
struct console_access {
    std::string host;
    std::string port;
    std::string user;
};

/// Fills in what is not given. `config` may be none. Returns an error, or an empty text.
[[nodiscard]] std::string complete(console_access& access, const config::configuration* config);

/// Sends SHOW with these words and prints the table to standard output. The password comes from
/// where libpq takes it (PGPASSWORD, PGPASSFILE, ~/.pgpass). Returns an error, or an empty text.
[[nodiscard]] std::string show(const console_access& access, const std::vector<std::string>& words);

} // namespace pgweir::daemon
