// PostgreSQL has no connection left for clients who wait, and other pools keep idle servers there:
// the one that has been idle longest goes, on this worker or, where there is none, on the next that
// has one. When PostgreSQL has closed it, its slot there is tried for at once.
//
// A server that is idle between two transactions of a busy pool goes only where the other pool has
// none, or fewer even then: otherwise each would take the other's, again and again.
#include "daemon/engine/engine.hpp"

#include <algorithm>

namespace pgweir::daemon {

namespace {

using why = protocol::server_refused::why;

/// Nobody has needed it for so long.
constexpr auto long_idle = std::chrono::seconds(1);

/// Does the limit that has been reached count the servers of both?
bool counts_both(why reason, const server_access& a, const server_access& b) {
    return a.where == b.where && (reason != why::too_many_of_role || a.user == b.user) &&
           (reason != why::too_many_to_database || a.database == b.database);
}

/// A server that was in use a moment ago: who has nothing may, and who has less even afterwards.
bool may_take(const pool::ledger& from, const pool::ledger& to) {
    return !from.has_clients() || to.staying() == 0 || from.staying() > to.staying() + 1;
}

} // namespace

/// When an attempt has failed, or somebody comes to wait who cannot make one yet.
void engine::ask_for_room(pool_part& part, time_point now) {
    const auto failure = part.entry->failure.load();
    if (shutting_down_ || failure == nullptr || failure == part.room_asked_for ||
        !protocol::server_refused::is_too_many(failure->reason) ||
        (part.shard.waiting() == 0 && !part.entry->shared.oldest_waiter(options_.self))) {
        return; // nobody is to lose anything for a minimum
    }
    part.room_asked_for = failure;
    make_room asked{part.entry, failure->reason, options_.self};
    on(now, asked);
}

void engine::on(time_point now, make_room& message) {
    if (give_up_idle(message, now)) {
        return;
    }
    const worker_index next{(options_.self.value + 1) % options_.workers};
    if (next != message.from) {
        ports_.post(next, {std::move(message)});
    }
}

bool engine::give_up_idle(const make_room& asked, time_point now) {
    const auto wants = asked.entry->access.load();
    pool_part* from = nullptr;
    auto since = time_point::max();
    for (const auto& [entry, part] : pools_) {
        const auto* const longest = part->shard.servers(pool::server_state::idle).back();
        if (entry == asked.entry.get() || entry->is != pool_entry::kind::clients ||
            longest == nullptr || longest->state_since >= since || !part->shard.can_spare_idle() ||
            !counts_both(asked.reason, *wants, *entry->access.load())) {
            continue;
        }
        if (now - longest->state_since < long_idle &&
            !may_take(entry->shared, asked.entry->shared)) {
            continue;
        }
        from = part.get();
        since = longest->state_since;
    }
    auto* const found = from == nullptr ? nullptr : from->shard.give_up_idle(now);
    if (found == nullptr) {
        return false;
    }
    auto& s = static_cast<server&>(*found);
    s.room_for = asked.entry;
    close_server(s, pool::server_close::made_room, now);
    return true;
}

/// One attempt, whoever makes it; where that succeeds, more follow.
void engine::room_made(const std::shared_ptr<pool_entry>& entry, time_point now) {
    entry->shared.room_made();
    for (std::uint32_t w = 0; w < options_.workers; ++w) {
        if (!entry->shared.has_waiter({w})) {
            continue;
        }
        if (w == options_.self.value) {
            grow(part_of(entry), now);
        } else {
            ports_.post({w}, {wake{entry}});
        }
    }
}

/// Of pools that this worker knows.
std::uint32_t engine::idle_of_others(const pool_entry& entry, why reason) const {
    const auto wants = entry.access.load();
    std::uint32_t all = 0;
    for (const auto& [other, part] : pools_) {
        if (other != &entry && counts_both(reason, *wants, *other->access.load())) {
            all += other->shared.idle();
        }
    }
    return all;
}

} // namespace pgweir::daemon
