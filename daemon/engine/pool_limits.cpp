#include "daemon/engine/pool_limits.hpp"

#include "protocol/session_state.hpp"

namespace pgweir::daemon {

pool::limits pool_limits(const config::configuration& config, std::string_view database,
                         std::string_view user) {
    pool::limits bounds;
    const auto from = config.find_pool(database, user);
    bounds.mode = static_cast<pool::pool_mode>(from.mode);
    bounds.reuse = from.reuse == config::server_reuse::always;
    bounds.minconn = bounds.reuse ? from.minconn : 0;
    bounds.maxconn = from.maxconn;
    bounds.prepared_statements = from.prepared_statements;
    bounds.wait_timeout = from.wait_timeout;
    bounds.idle_timeout = from.idle_timeout;
    bounds.max_lifetime = from.max_lifetime;
    bounds.connect_timeout = from.connect_timeout;
    bounds.pin_idle_timeout = from.pin_idle_timeout;
    bounds.observe = from.observe;
    bounds.audit_every = bounds.reuse ? from.audit_every : 0;
    using protocol::pin_reason;
    const auto take = [&](auto policy, pin_reason reason) {
        const auto bit = static_cast<std::uint16_t>(reason);
        bounds.rejected_state |= policy == decltype(policy)::reject ? bit : std::uint16_t{0};
        bounds.ignored_state |= policy == decltype(policy)::ignore ? bit : std::uint16_t{0};
    };
    take(from.temporary_objects, pin_reason::temporary_object);
    take(from.held_cursors, pin_reason::held_cursor);
    take(from.sql_statements, pin_reason::sql_statement);
    take(from.listen, pin_reason::listen);
    take(from.advisory_locks, pin_reason::advisory_lock);
    take(from.libraries, pin_reason::loaded_library);
    take(from.random_seed, pin_reason::random_seed);
    bounds.shares_sql_statements = from.sql_statements == config::virtual_policy::virtualise;
    bounds.listens_for_all = from.listen == config::virtual_policy::virtualise;
    return bounds;
}

pool::limits replication_limits(const config::configuration& config, std::string_view database,
                                std::string_view user) {
    auto bounds = pool_limits(config, database, user);
    bounds.mode = pool::pool_mode::session;
    bounds.reuse = false;
    bounds.minconn = 0;
    bounds.maxconn = config.find_pool(database, user).max_replication;
    bounds.audit_every = 0;
    return bounds;
}

pool::limits listening_limits(const config::configuration& config, std::string_view database,
                              std::string_view user) {
    auto bounds = pool_limits(config, database, user);
    bounds.mode = pool::pool_mode::transaction;
    bounds.reuse = true;
    bounds.minconn = bounds.maxconn = 1;
    bounds.idle_timeout = bounds.max_lifetime = {};
    bounds.audit_every = 0;
    return bounds;
}

} // namespace pgweir::daemon
