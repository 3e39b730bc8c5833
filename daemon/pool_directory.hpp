// Every pool of the daemon, by database and user: what the workers' engines ask at login, the ops
// thread at every scrape. Pools are never taken out: their counters live as long as the daemon.
//
// Owner: the service. Thread: any (a mutex; never on the path of a transaction).
// Tests: tests/daemon/pool_directory_test.cpp.
#pragma once

#include "config/configuration.hpp"
#include "daemon/engine/pool_entry.hpp"
#include "daemon/tls_contexts.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace pgweir::daemon {

class pool_directory {
public:
    pool_directory(
        std::uint32_t workers, std::shared_ptr<const config::configuration> config,
        std::shared_ptr<const tls_contexts> tls = std::make_shared<const tls_contexts>());

    /// The pool for clients of `where` as `user`. `shown`: by the client's login; servers are
    /// logged in to with it where the configuration has no password.
    [[nodiscard]] std::shared_ptr<pool_entry>
    find_or_make(const config::database& where, std::string_view user, const shown_secrets& shown);
    /// The pool for replication connections beside that one. It is in no list: who wants it asks
    /// pool_entry::for_replication.
    [[nodiscard]] std::shared_ptr<pool_entry>
    find_or_make_replication(const config::database& where, std::string_view user,
                             const shown_secrets& shown);
    /// Pools that are kept warm from the start: every configured database with each user of the
    /// YAML file who has a password to log in with (or its own `user`), but for auth.query_user.
    [[nodiscard]] std::vector<std::shared_ptr<pool_entry>> make_configured();
    [[nodiscard]] std::vector<std::shared_ptr<pool_entry>> all() const;
    /// Hosts and passwords may have changed: pools whose way to PostgreSQL did get the new one.
    void reconfigure(std::shared_ptr<const config::configuration> config,
                     std::shared_ptr<const tls_contexts> tls);

private:
    [[nodiscard]] const std::shared_ptr<pool_entry>&
    entry_for(const config::database& where, std::string_view user, const shown_secrets& shown);
    [[nodiscard]] std::shared_ptr<const server_access> access_for(const config::database& where,
                                                                  std::string_view user,
                                                                  const shown_secrets& shown) const;

    const std::uint32_t workers_;
    mutable std::mutex mutex_;
    std::shared_ptr<const config::configuration> config_;
    std::shared_ptr<const tls_contexts> tls_;
    std::map<std::pair<std::string, std::string>, std::shared_ptr<pool_entry>, std::less<>> pools_;
    std::map<std::string, std::shared_ptr<database_names>, std::less<>> names_; // by database
};

} // namespace pgweir::daemon
