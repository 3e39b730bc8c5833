// ALTER ROLE … SET and ALTER DATABASE … SET count for sessions that begin afterwards. A server
// keeps what it began with, so that a client would see one value or the other with the server it is
// given. Each server tells at its login what the catalogue has for its role and database: where
// that is other than before, those with the old values are closed as soon as nobody has them.
//
// A role that has been dropped and made anew is another one, with another OID: that is in the hash.
// The error that PostgreSQL says of a role that is gone outdates all servers of its pool. Of one
// that has been renamed it says none: there the first server that logs in tells.
//
// Between a server's login and its question the catalogue may change: then it counts as a new one
// and has the old values, until it is as old as servers get (max_lifetime).
//
// Tests: integration/role_settings_test.py.
// Source: PostgreSQL documentation, "pg_db_role_setting".
#include "daemon/engine/role_settings.hpp"

#include "daemon/engine/engine.hpp"
#include "protocol/error_response.hpp"

#include <charconv>

namespace pgweir::daemon {

namespace {

/// Its pool is reached or logged in to in another way now, or its role is another or has other
/// settings than when it logged in.
bool is_outdated(const server& s) {
    const auto& entry = *s.pool->entry;
    return s.generation != entry.generation.load(std::memory_order_relaxed) ||
           (s.role_settings != 0 &&
            s.role_settings != entry.role_settings.load(std::memory_order_relaxed));
}

void wake_all(const std::shared_ptr<pool_entry>& entry, engine_ports& ports) {
    for (std::uint32_t worker = 0; worker < entry->counters.size(); ++worker) {
        ports.post(worker_index{worker}, {wake{entry}});
    }
}

} // namespace

void note_dropped_role(server& s, const protocol::server_step& error, engine_ports& ports) {
    // "invalid role OID: N", in whatever language, of the session's role or one that it has SET.
    if (error.sqlstate != protocol::sqlstate::undefined_object ||
        protocol::read_error_fields(protocol::as_bytes(error.error)).routine !=
            "GetUserNameFromId") {
        return;
    }
    auto expected = s.generation; // another one: somebody has noticed before
    if (s.pool->entry->generation.compare_exchange_strong(expected, s.generation + 1)) {
        wake_all(s.pool->entry, ports);
    }
}

/// A server has logged in and tells a hash of what its role and database have.
void engine::take_role_settings(server& s, std::string_view told) {
    std::int64_t hash = 0;
    const auto [end, error] = std::from_chars(told.data(), told.data() + told.size(), hash);
    if (error != std::errc() || end != told.data() + told.size()) {
        return;
    }
    auto& entry = *s.pool->entry;
    s.role_settings = hash == 0 ? 1 : hash;
    const auto before = entry.role_settings.exchange(s.role_settings);
    if (before == 0 || before == s.role_settings) {
        return;
    }
    ports_.log(log_severity::info, "settings of the role or database have changed",
               {{"database", entry.database}, {"user", entry.user}});
    wake_all(s.pool->entry, ports_);
}

/// True: it is closed, and nobody is given it any more.
bool engine::close_outdated(server& s, time_point now) {
    if (!is_outdated(s)) {
        return false;
    }
    close_server(s, pool::server_close::reconfigured, now);
    return true;
}

void engine::close_outdated(pool_part& part, time_point now) {
    std::vector<server*> outdated; // closing takes it off the list
    const auto& idle = part.shard.servers(pool::server_state::idle);
    for (auto* at = idle.front(); at != nullptr; at = idle.next(*at)) {
        auto& s = static_cast<server&>(*at);
        if (is_outdated(s)) {
            outdated.push_back(&s);
        }
    }
    for (auto* const s : outdated) {
        if (s->state == pool::server_state::idle) { // closing one may close another for room
            close_server(*s, pool::server_close::reconfigured, now);
        }
    }
}

} // namespace pgweir::daemon
