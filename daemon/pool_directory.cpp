#include "daemon/pool_directory.hpp"

#include <algorithm>

namespace pgweir::daemon {

namespace {

/// A SCRAM verifier proves clients; it cannot log in anywhere.
bool can_log_in(const config::secret& password) {
    return !password.empty() && !password.reveal().starts_with("SCRAM-SHA-256$");
}

bool same(const server_access& a, const server_access& b) {
    return a.where == b.where && a.database == b.database && a.user == b.user &&
           a.password.equals(b.password.reveal());
}

} // namespace

pool_directory::pool_directory(std::uint32_t workers,
                               std::shared_ptr<const config::configuration> config)
    : workers_(workers)
    , config_(std::move(config)) {}

std::shared_ptr<const server_access>
pool_directory::access_for(const config::database& where, std::string_view user,
                           const protocol::secret& password) const {
    auto access = std::make_shared<server_access>();
    access->where = {where.host, where.port};
    access->database = where.dbname.empty() ? where.name : where.dbname;
    access->user = where.user.empty() ? user : std::string_view(where.user);
    const auto* const known = config_->find_user(access->user);
    if (!where.password.empty()) {
        access->password = protocol::secret(std::string(where.password.reveal()));
    } else if (known != nullptr && can_log_in(known->password)) {
        access->password = protocol::secret(std::string(known->password.reveal()));
    } else {
        access->password = password;
    }
    return access;
}

/// With the mutex held.
const std::shared_ptr<pool_entry>& pool_directory::entry_for(const config::database& where,
                                                             std::string_view user,
                                                             const protocol::secret& password) {
    auto& entry = pools_[{where.name, std::string(user)}];
    if (!entry) {
        auto& names = names_[where.name];
        if (!names) {
            names = std::make_shared<database_names>(static_cast<std::uint32_t>(names_.size()));
        }
        entry = std::make_shared<pool_entry>(where.name, std::string(user), workers_,
                                             pool_entry::kind::clients, names);
        entry->set_access(access_for(where, user, password));
    } else if (!password.empty() && entry->access.load()->password.empty()) {
        entry->set_access(access_for(where, user, password));
    }
    return entry;
}

std::shared_ptr<pool_entry> pool_directory::find_or_make(const config::database& where,
                                                         std::string_view user,
                                                         const protocol::secret& password) {
    const std::lock_guard lock(mutex_);
    return entry_for(where, user, password);
}

std::shared_ptr<pool_entry>
pool_directory::find_or_make_replication(const config::database& where, std::string_view user,
                                         const protocol::secret& password) {
    const std::lock_guard lock(mutex_);
    return entry_for(where, user, password)->replication_entry();
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
            made.push_back(find_or_make(database, database.user, {}));
            continue;
        }
        for (const auto& user : config->users) {
            if (!user.from_file && can_log_in(user.password) &&
                !listed(config->admin_users, user.name) &&
                !listed(config->stats_users, user.name)) {
                made.push_back(find_or_make(database, user.name, {}));
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

void pool_directory::reconfigure(std::shared_ptr<const config::configuration> config) {
    const std::lock_guard lock(mutex_);
    config_ = std::move(config);
    for (const auto& [key, entry] : pools_) {
        if (const auto where = config_->find_database(entry->database)) {
            const auto running = entry->access.load();
            auto wanted = access_for(*where, entry->user, running->password);
            if (!same(*running, *wanted)) {
                entry->set_access(wanted);
            }
        }
    }
}

} // namespace pgweir::daemon
