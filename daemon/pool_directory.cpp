#include "daemon/pool_directory.hpp"

#include <algorithm>

namespace pgweir::daemon {

namespace {

/// A SCRAM verifier proves clients; it cannot log in anywhere.
bool can_log_in(const config::secret& password) {
    return !password.empty() && !password.reveal().starts_with("SCRAM-SHA-256$");
}

bool same(const std::optional<protocol::scram_keys>& a,
          const std::optional<protocol::scram_keys>& b) {
    if (!a || !b) {
        return a.has_value() == b.has_value();
    }
    return a->client_key.equals(b->client_key.reveal()) &&
           a->server_key.equals(b->server_key.reveal()) && a->salt == b->salt &&
           a->iterations == b->iterations;
}

bool same(const server_access& a, const server_access& b) {
    return a.where == b.where && a.database == b.database && a.user == b.user &&
           a.password.equals(b.password.reveal()) && same(a.keys, b.keys) && a.shown == b.shown &&
           a.tls == b.tls && a.sslmode == b.sslmode && a.direct_tls == b.direct_tls &&
           a.binding == b.binding;
}

/// A login that has just been verified has shown something else than what servers are logged in to
/// with: its user has another password by now. What the configuration has is final.
bool is_news(const server_access& known, const shown_secrets& shown) {
    return known.shown &&
           ((!shown.password.empty() && !known.password.equals(shown.password.reveal())) ||
            (shown.keys && !same(known.keys, shown.keys)));
}

/// Keys are kept beside a password, or those who log in by either would replace each other's for
/// ever. Not the other way round: new keys say that the password may be another by now.
shown_secrets with_known_keys(const shown_secrets& shown, const server_access& known) {
    return {shown.password, shown.keys ? shown.keys : known.keys};
}

} // namespace

pool_directory::pool_directory(std::uint32_t workers,
                               std::shared_ptr<const config::configuration> config,
                               std::shared_ptr<const tls_contexts> tls)
    : workers_(workers)
    , config_(std::move(config))
    , tls_(std::move(tls)) {}

std::shared_ptr<const server_access> pool_directory::access_for(const config::database& where,
                                                                std::string_view user,
                                                                const shown_secrets& shown) const {
    auto access = std::make_shared<server_access>();
    access->where = {where.connects_to(), where.port};
    access->database = where.dbname.empty() ? where.name : where.dbname;
    access->user = where.user.empty() ? user : std::string_view(where.user);
    const auto* const known = config_->find_user(access->user);
    if (!where.password.empty()) {
        access->password = protocol::secret(std::string(where.password.reveal()));
    } else if (known != nullptr && can_log_in(known->password)) {
        access->password = protocol::secret(std::string(known->password.reveal()));
    } else {
        access->password = shown.password;
        access->keys = shown.keys;
        access->shown = true;
    }
    access->tls = tls_->for_database(where.name);
    if (access->tls != nullptr && !where.has_unix_socket()) {
        access->sslmode = static_cast<protocol::tls_mode>(where.sslmode);
        access->direct_tls = where.sslnegotiation == config::tls_negotiation::direct;
    }
    access->binding = static_cast<protocol::channel_binding>(where.binding);
    return access;
}

/// With the mutex held.
const std::shared_ptr<pool_entry>& pool_directory::entry_for(const config::database& where,
                                                             std::string_view user,
                                                             const shown_secrets& shown) {
    auto& entry = pools_[{where.name, std::string(user)}];
    if (!entry) {
        auto& names = names_[where.name];
        if (!names) {
            names = std::make_shared<database_names>(static_cast<std::uint32_t>(names_.size()));
        }
        entry = std::make_shared<pool_entry>(where.name, std::string(user), workers_,
                                             pool_entry::kind::clients, names);
        entry->set_access(access_for(where, user, shown));
    } else if (const auto known = entry->access.load(); is_news(*known, shown)) {
        entry->set_access(access_for(where, user, with_known_keys(shown, *known)));
    }
    return entry;
}

std::shared_ptr<pool_entry> pool_directory::find_or_make(const config::database& where,
                                                         std::string_view user,
                                                         const shown_secrets& shown) {
    const std::lock_guard lock(mutex_);
    return entry_for(where, user, shown);
}

std::shared_ptr<pool_entry> pool_directory::find_or_make_replication(const config::database& where,
                                                                     std::string_view user,
                                                                     const shown_secrets& shown) {
    const std::lock_guard lock(mutex_);
    return entry_for(where, user, shown)->replication_entry();
}

std::vector<std::shared_ptr<pool_entry>> pool_directory::make_configured() {
    std::vector<std::shared_ptr<pool_entry>> made;
    const auto config = [this] {
        const std::lock_guard lock(mutex_);
        return config_;
    }();
    const auto listed = [](const std::vector<std::string>& list, const std::string& name) {
        return std::find(list.begin(), list.end(), name) != list.end();
    };
    for (const auto& database : config->databases) {
        if (database.name == "*") {
            continue;
        }
        if (!database.user.empty()) {
            made.push_back(find_or_make(database, database.user, shown_secrets{}));
            continue;
        }
        for (const auto& user : config->users) {
            if (!user.from_file && can_log_in(user.password) && user.name != config->query_user &&
                !listed(config->admin_users, user.name) &&
                !listed(config->stats_users, user.name)) {
                made.push_back(find_or_make(database, user.name, shown_secrets{}));
            }
        }
    }
    return made;
}

std::vector<std::shared_ptr<pool_entry>> pool_directory::all() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<pool_entry>> list;
    list.reserve(pools_.size());
    for (const auto& [key, entry] : pools_) {
        list.push_back(entry);
    }
    return list;
}

void pool_directory::reconfigure(std::shared_ptr<const config::configuration> config,
                                 std::shared_ptr<const tls_contexts> tls) {
    const std::lock_guard lock(mutex_);
    config_ = std::move(config);
    tls_ = std::move(tls);
    for (const auto& [key, entry] : pools_) {
        if (const auto where = config_->find_database(entry->database)) {
            const auto running = entry->access.load();
            // A password that the configuration does not have any more counts no longer.
            const auto shown =
                running->shown ? shown_secrets{running->password, running->keys} : shown_secrets{};
            auto wanted = access_for(*where, entry->user, shown);
            if (!same(*running, *wanted)) {
                entry->set_access(wanted);
            }
        }
    }
}

} // namespace pgweir::daemon
