// What all workers share of one pool: how its servers are reached and logged in to, its ledger, its
// counters, and what was last learned from PostgreSQL. The pool directory (daemon/) makes one per
// (database, user) and keeps it; every engine holds a reference.
//
// Thread: any. What is not const is atomic.
#pragma once

#include "daemon/engine/database_names.hpp"
#include "daemon/engine/ports.hpp"
#include "pool/ledger.hpp"
#include "pool/stats.hpp"
#include "protocol/accepted_settings.hpp"
#include "protocol/secret.hpp"
#include "protocol/server_login.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgweir::daemon {

/// Why the last attempt to get a server failed: told to those who waited in vain.
struct connect_failure {
    protocol::server_refused::why reason = protocol::server_refused::why::other_error;
    bool network = false; // not even connected
    std::string sqlstate;
    std::string message;
    std::string response = {}; // PostgreSQL's ErrorResponse itself, where there is one

    /// There has been no connection on which PostgreSQL could have said anything.
    [[nodiscard]] bool before_login() const {
        using why = protocol::server_refused::why;
        return network || reason == why::encryption || reason == why::lost;
    }
    [[nodiscard]] protocol::error code() const {
        return before_login() ? protocol::error::server_unreachable
                              : protocol::error::server_login_failed;
    }
};

/// How this pool's servers are reached and logged in to. A reload may replace it.
struct server_access {
    server_address where;
    std::string database;
    std::string user;
    protocol::secret password;
    std::optional<protocol::scram_keys> keys = {}; // a client's, where there is no password
    bool shown = false; // by clients' logins, both; what the configuration has is not replaced
    std::shared_ptr<const tls_context> tls = {}; // nothing: without
    protocol::tls_mode sslmode = protocol::tls_mode::disable;
    bool direct_tls = false;
    protocol::channel_binding binding = protocol::channel_binding::prefer;
};

struct pool_entry {
    /// Whom its servers serve.
    enum class kind : std::uint8_t { clients, replication, listening };

    pool_entry(std::string database_, std::string user_, std::uint32_t workers,
               kind is_ = kind::clients,
               std::shared_ptr<database_names> names_ = std::make_shared<database_names>())
        : database(std::move(database_))
        , user(std::move(user_))
        , is(is_)
        , replication(is_ == kind::replication)
        , names(std::move(names_))
        , shared(workers) {
        for (std::uint32_t i = 0; i < workers; ++i) {
            counters.push_back(std::make_unique<pool::stats>());
        }
    }

    /// Servers opened before this call are closed when they come back.
    void set_access(const std::shared_ptr<const server_access>& to) {
        access.store(to);
        generation.fetch_add(1);
        names->hide_more(); // it may be another database
        if (const auto beside = for_replication.load()) {
            beside->set_access(to);
        }
        if (const auto beside = for_listening.load()) {
            beside->set_access(to);
        }
    }
    /// The pool beside this one, with a bound of its own, made when first asked for. Calls to this
    /// and to set_access() must not overlap.
    [[nodiscard]] std::shared_ptr<pool_entry> replication_entry() {
        auto beside = for_replication.load();
        if (!beside) {
            beside = std::make_shared<pool_entry>(
                database, user, static_cast<std::uint32_t>(counters.size()), kind::replication);
            beside->set_access(access.load());
            for_replication.store(beside);
        }
        return beside;
    }

    /// The pool beside this one that has the listening connection. Called by the worker that has
    /// that (listening_home), by nobody else.
    [[nodiscard]] std::shared_ptr<pool_entry> listening_entry() {
        auto beside = for_listening.load();
        if (!beside) {
            beside = std::make_shared<pool_entry>(
                database, user, static_cast<std::uint32_t>(counters.size()), kind::listening);
            auto known = access.load();
            beside->set_access(known);
            for_listening.store(beside);
            if (const auto now = access.load(); now != known) {
                beside->set_access(now); // set_access() may not have seen it yet
            }
        }
        return beside;
    }
    /// The worker that has the listening connection: the first one that asks, for ever.
    [[nodiscard]] pool::worker_index listening_home(pool::worker_index asks) {
        std::uint32_t home = nobody;
        if (listening_at.compare_exchange_strong(home, asks.value)) {
            home = asks.value;
        }
        return {home};
    }

    const std::string database; // as clients name it
    const std::string user;     // as clients log in
    const kind is;
    const bool replication;                      // its servers serve replication connections
    const std::shared_ptr<database_names> names; // what they hide; shared with others' pools

    std::atomic<std::shared_ptr<const server_access>> access;
    /// Servers opened with an earlier one are closed as soon as nobody has them: `access` is
    /// another, or the role.
    std::atomic<std::uint32_t> generation{0};
    pool::ledger shared;
    std::vector<std::unique_ptr<pool::stats>> counters;                   // one per worker
    std::atomic<std::shared_ptr<const protocol::server_welcome>> welcome; // of any of its servers
    /// What they have made of settings.
    std::atomic<std::shared_ptr<const protocol::accepted_settings>> accepted =
        std::make_shared<const protocol::accepted_settings>();
    std::atomic<std::shared_ptr<const connect_failure>> failure; // nothing while up
    std::atomic<std::shared_ptr<pool_entry>> for_replication;    // nothing: none yet
    std::atomic<std::shared_ptr<pool_entry>> for_listening;      // the same
    static constexpr std::uint32_t nobody = ~0U;
    std::atomic<std::uint32_t> listening_at{nobody};
    /// Somebody has called currval() or lastval(): from now on servers are to remember nothing of
    /// others when a client is given them.
    std::atomic<bool> sequences_read{false};
    std::atomic<std::uint32_t> server_max_connections{0}; // 0: not known yet
    /// idle_session_timeout of the server that has logged in last, where no client has set one.
    std::atomic<std::chrono::milliseconds> own_idle_limit{std::chrono::milliseconds(0)};
    /// A hash of what role and database have set, as the server has it that has logged in last; 0:
    /// it is not known.
    std::atomic<std::int64_t> role_settings{0};
    /// Some client or server has had one: from now on no server may idle with it.
    std::atomic<bool> idle_limited{false};
};

} // namespace pgweir::daemon
