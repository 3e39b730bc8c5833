// One worker's part of a pool: its shard, what has been learned of the pool's servers here, and who
// listens.
//
// Owner: the engine's table of pools. Thread: the worker's.
#pragma once

#include "daemon/engine/listening.hpp"
#include "daemon/engine/pool_entry.hpp"
#include "daemon/engine/ports.hpp"
#include "pool/shard.hpp"
#include "protocol/setting_trial.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace pgweir::daemon {

struct pool_part {
    pool_part(std::shared_ptr<pool_entry> entry_, worker_index self, const pool::limits& bounds)
        : entry(std::move(entry_))
        , shard(entry->shared, *entry->counters[self.value], self, bounds) {}

    std::shared_ptr<pool_entry> entry;
    pool::shard shard;
    /// What a server says of itself when it carries these settings.
    /// Keyed by the pointer itself, which keeps the set alive: another set must not get its
    /// address.
    std::unordered_map<std::shared_ptr<const protocol::setting_map>,
                       std::shared_ptr<const std::map<std::string, std::string>>>
        welcomes;
    /// The pool's welcome when it was last looked at.
    std::shared_ptr<const protocol::server_welcome> welcomes_as_of;
    /// What names hide, as this worker last looked.
    std::shared_ptr<const protocol::name_effects> names;
    std::uint64_t names_version = 0;
    /// What whoever logs in has been seen to be permitted to set.
    protocol::permitted_settings permitted;
    /// They should be read again, and no server has idled: the next one that comes free is asked.
    bool names_overdue = false;
    /// So many leases are still to end before one is audited; 0: none is.
    std::uint32_t until_audit = 0;
    std::uint32_t audited_closely = 0; // so many leases are all audited
    /// Wait time-outs are logged now and then, not one by one: when next, and how many have gone
    /// without a line since.
    time_point next_timeout_line{};
    std::uint64_t timeouts_unlogged = 0;
    /// The failure for which others have been asked to make room: once for each.
    std::shared_ptr<const connect_failure> room_asked_for;
    pool_listeners listeners;
    std::unique_ptr<listening_connection> listening; // of a pool of that kind, where it is at home
    [[nodiscard]] pool::stats& stats() { return shard.counters(); }
};

} // namespace pgweir::daemon
