// The rules of shard.hpp.
#include "pool/shard.hpp"

#include <algorithm>

namespace pgweir::pool {

namespace {

std::uint32_t size_of(const auto& list) { return static_cast<std::uint32_t>(list.size()); }

/// A share of the lifetime jitter for a server that is open already: ids are consecutive, so a
/// multiplication by the golden ratio spreads them evenly over [0, 1).
double spread(server_id id) {
    return static_cast<double>(id.value * 0x9e3779b97f4a7c15U >> 11) / 9007199254740992.0; // 2^53
}

} // namespace

shard::shard(ledger& shared, stats& counters, worker_index self, const limits& bounds)
    : ledger_(shared)
    , stats_(counters)
    , self_(self)
    , limits_(bounds) {}

// Clients ---------------------------------------------------------------------------------------

server* shard::next_idle() const {
    const auto& idle = servers(server_state::idle);
    return limits_.rotate ? idle.back() : idle.front();
}

server* shard::acquire(waiter& who, time_point now) {
    if (who.waiting) {
        return nullptr;
    }
    // Nobody is overtaken here: while somebody waits on this worker, nothing is idle on it.
    if (auto* const found = next_idle()) {
        lease_idle(*found, who, now);
        return found;
    }
    wait(who, now);
    return nullptr;
}

void shard::lease_idle(server& which, waiter& who, time_point now) { lease(which, who.id, now); }

void shard::wait(waiter& who, time_point now) {
    who.waiting = true;
    who.waiting_since = now;
    waiters_.push_back(who);
    stats_.clients_waiting.add();
    publish_waiters();
    if (ledger_.taken() >= limits_.maxconn) {
        stats_.exhausted.add();
    }
}

void shard::wait_again(waiter& who) {
    who.waiting = true;
    auto* place = waiters_.front();
    while (place != nullptr && place->waiting_since <= who.waiting_since) {
        place = waiters_.next(*place);
    }
    if (place != nullptr) {
        waiters_.insert_before(who, *place);
    } else {
        waiters_.push_back(who);
    }
    stats_.clients_waiting.add();
    publish_waiters();
}

void shard::leave_queue(waiter& who) {
    if (!who.waiting) {
        return;
    }
    waiters_.remove(who);
    who.waiting = false;
    stats_.clients_waiting.subtract();
    publish_waiters();
}

waiter* shard::oldest_waiter() { return waiters_.front(); }

waiter* shard::next_timed_out(time_point now) {
    auto* const oldest = waiters_.front();
    if (oldest == nullptr || now - oldest->waiting_since < limits_.wait_timeout) {
        return nullptr;
    }
    // Their wait counts as well: percentiles of the lucky ones alone would look fine in an outage.
    observe_wait(*oldest, now);
    stats_.wait_timeouts.add();
    leave_queue(*oldest);
    return oldest;
}

// Servers ---------------------------------------------------------------------------------------

shard::placement shard::free(server& who, time_point now) {
    if (who.state == server_state::closing) {
        return {.where = placement::to::close, .reason = server_close::internal_error};
    }
    if (now >= who.expires_at) {
        begin_close(who, server_close::max_lifetime, now);
        return {.where = placement::to::close, .reason = server_close::max_lifetime};
    }
    // The ledger decides, so that workers that notice a lowered maxconn at the same moment close
    // only as many as there are too many.
    if (ledger_.try_leave(limits_.maxconn)) {
        mark_closing(who, server_close::surplus, now);
        return {.where = placement::to::close, .reason = server_close::surplus};
    }

    auto* const here = waiters_.front();
    const auto oldest_here = here ? std::optional(here->waiting_since) : std::nullopt;
    const auto next =
        who_is_next(oldest_here, ledger_.oldest_waiter(self_), limits_.migration_margin);
    switch (next.whom) {
    case next_holder::to::waiter_here:
        observe_wait(*here, now);
        leave_queue(*here);
        lease(who, here->id, now);
        return {.where = placement::to::waiter, .client = here};
    case next_holder::to::waiter_elsewhere:
        release_to_other(who);
        return {.where = placement::to::other_worker, .worker = next.worker};
    case next_holder::to::nobody:
        break;
    }
    set_state(who, server_state::idle, now);
    // The server is published. Whoever began to wait elsewhere before that is seen here; whoever
    // begins after it sees the server, and asks.
    if (const auto elsewhere = ledger_.oldest_waiter(self_)) {
        release_to_other(who);
        return {.where = placement::to::other_worker, .worker = elsewhere->worker};
    }
    return {.where = placement::to::idle};
}

void shard::begin_reset(server& who, time_point now) {
    set_state(who, server_state::resetting, now);
}

void shard::begin_close(server& who, server_close reason, time_point now) {
    if (who.state == server_state::closing) {
        return;
    }
    ledger_.leave();
    mark_closing(who, reason, now);
}

void shard::closed(server& who) {
    const bool left = who.state == server_state::closing;
    take_off_list(who);
    if (left) {
        ledger_.give_back_left();
    } else {
        ledger_.give_back();
    }
}

bool shard::pass_slot_on(server& who, time_point now) {
    if (who.state != server_state::closing || ledger_.taken() > limits_.maxconn ||
        // Full: but by this one less now.
        (!ledger_.may_try(now, limits_.retry_max) && ledger_.state() != ledger::health::full)) {
        return false;
    }
    take_off_list(who);
    ledger_.pass_on_left();
    return true;
}

void shard::add_connecting(server& who, time_point now, double random) {
    who.created_at = now;
    who.expires_at = expiry(now, limits_, random);
    put_on_list(who, server_state::connecting, now);
}

waiter& shard::next_to_open_for(time_point now) {
    auto& oldest = *waiters_.front();
    observe_wait(oldest, now);
    leave_queue(oldest);
    return oldest;
}

void shard::lease_own(server& who, client_id to, time_point now) { lease(who, to, now); }

void shard::adopt(server& who, time_point now) {
    // While it was under way, a reload may have shortened lifetimes.
    who.expires_at = std::min(who.expires_at, expiry(who.created_at, limits_, 0));
    put_on_list(who, server_state::resetting, now);
    stats_.migrations.add();
}

void shard::release_to_other(server& who) { take_off_list(who); }

server* shard::give_idle() {
    // The one used longest ago: the next client here gets the warm one.
    auto* const found = list_of(server_state::idle).back();
    if (found != nullptr) {
        take_off_list(*found);
    }
    return found;
}

bool shard::can_spare_idle() const {
    return !servers(server_state::idle).empty() &&
           (!ledger_.has_clients() || ledger_.staying() > limits_.minconn);
}

server* shard::give_up_idle(time_point now) {
    auto* const longest = list_of(server_state::idle).back();
    const bool used = ledger_.has_clients();
    if (longest == nullptr || !ledger_.try_leave(used ? limits_.minconn : 0)) {
        return nullptr;
    }
    if (!used) {
        ledger_.let_go();
        warm_ = false;
    }
    mark_closing(*longest, server_close::made_room, now);
    return longest;
}

// Growth and decay ------------------------------------------------------------------------------

/// What growth depends on, but for whether an attempt may be made now.
growth_facts shard::facts() const {
    growth_facts now{.waiting = waiting(),
                     .connecting = count(server_state::connecting),
                     .staying = ledger_.staying(),
                     .taken = ledger_.taken(),
                     .health = ledger_.state(),
                     .may_try = true,
                     .warm = warm_};
    if (!limits_.reuse || limits_.mode == pool_mode::session) {
        // Those that connect are for clients who have left the queue, or for the minimum and of
        // no use to most. And a server opened here goes to no other worker first, so a slot must:
        // else a worker whose clients come and go would keep all of them.
        now.connecting = 0;
        const auto* const here = waiters_.front();
        const auto elsewhere = ledger_.oldest_waiter(self_);
        now.older_elsewhere = here != nullptr && elsewhere &&
                              here->waiting_since - elsewhere->since > limits_.migration_margin;
    }
    return now;
}

growth shard::grow(time_point now) {
    if (ledger_.is_unused(now, limits_.idle_timeout)) {
        warm_ = false; // until somebody logs in
    }
    auto known = facts();
    auto decision = should_grow(known, limits_);
    if (decision != growth::open_for_waiter && decision != growth::open_for_minimum) {
        return decision;
    }
    // Wanted and possible: only now claim the attempt, which only one worker gets, ...
    if (!ledger_.may_try(now, limits_.retry_max)) {
        known.health = ledger_.state();
        known.may_try = false;
        return should_grow(known, limits_);
    }
    // ... and the slot. Another worker may have been quicker to take the last one; then the claim
    // is void after a while, like any that nobody reports on.
    const bool for_minimum = decision == growth::open_for_minimum;
    if (ledger_.try_take(limits_.maxconn, for_minimum ? limits_.minconn : ledger::no_minimum)) {
        return decision;
    }
    return for_minimum && ledger_.staying() >= limits_.minconn ? growth::enough : growth::at_bound;
}

std::optional<worker_index> shard::whom_to_ask() const {
    return waiters_.empty() ? std::nullopt : ledger_.who_has_idle(self_);
}

std::optional<worker_index> shard::whom_else(worker_index asker) const {
    const auto other = ledger_.who_has_idle(self_);
    // Where servers are idle nobody waits: if that is the asker itself, it needs none any more.
    return other == asker ? std::nullopt : other;
}

std::optional<shard::eviction> shard::next_eviction(time_point now) {
    // From the back: those idle longest.
    auto& idle = list_of(server_state::idle);
    auto first_expiry = time_point::max();
    auto bounds = limits_;
    bounds.minconn = ledger_.is_unused(now, limits_.idle_timeout) ? 0 : limits_.minconn;
    for (auto* one = idle.back(); one != nullptr; one = idle.previous(*one)) {
        first_expiry = std::min(first_expiry, one->expires_at);
        const auto why =
            should_evict(now, one->state_since, one->expires_at, ledger_.staying(), bounds);
        if (!why) {
            continue; // a younger one may still be at the end of its life
        }
        switch (*why) {
        // Another worker may evict at the same moment: the ledger decides who may.
        case server_close::idle_timeout:
            if (!ledger_.try_leave(bounds.minconn)) {
                continue;
            }
            break;
        case server_close::surplus:
            if (!ledger_.try_leave(limits_.maxconn)) {
                continue;
            }
            break;
        default:
            ledger_.leave();
            break;
        }
        return eviction{one, *why};
    }
    first_expiry_ = first_expiry;
    return std::nullopt;
}

bool shard::attempt_wanted() const {
    const auto decision = should_grow(facts(), limits_);
    return decision == growth::open_for_waiter || decision == growth::open_for_minimum;
}

std::optional<time_point> shard::next_deadline() const {
    auto next = time_point::max();
    if (const auto* const oldest = waiters_.front()) {
        next = std::min(next, oldest->waiting_since + limits_.wait_timeout);
    }
    const auto& idle = servers(server_state::idle);
    if (const auto* const longest_idle = idle.back()) {
        next = std::min(next, first_expiry_);
        const auto staying = ledger_.staying();
        if (staying > limits_.maxconn) {
            next = std::min(next, longest_idle->state_since); // overdue
        } else if (limits_.idle_timeout > duration(0)) {
            const auto unused_since = ledger_.unused_since();
            if (staying > limits_.minconn) {
                next = std::min(next, longest_idle->state_since + limits_.idle_timeout);
            } else if (unused_since) {
                next = std::min(next, std::max(longest_idle->state_since, *unused_since) +
                                          limits_.idle_timeout);
            }
        }
    }
    // While all may try, growth waits for no time: whatever made it possible calls grow().
    if (const auto retry = ledger_.next_try(); retry != time_point::min() && attempt_wanted()) {
        next = std::min(next, retry);
    }
    return next == time_point::max() ? std::nullopt : std::optional(next);
}

void shard::set_limits(const limits& bounds) {
    const bool lifetimes_change = bounds.max_lifetime != limits_.max_lifetime ||
                                  bounds.lifetime_jitter != limits_.lifetime_jitter;
    limits_ = bounds;
    if (!lifetimes_change) {
        return;
    }
    for (auto& list : by_state_) {
        for (auto* one = list.front(); one != nullptr; one = list.next(*one)) {
            one->expires_at = expiry(one->created_at, limits_, spread(one->id));
        }
    }
    first_expiry_ = time_point::max();
    const auto& idle = servers(server_state::idle);
    for (const auto* one = idle.front(); one != nullptr; one = idle.next(*one)) {
        first_expiry_ = std::min(first_expiry_, one->expires_at);
    }
}

// Counts and lists ------------------------------------------------------------------------------

std::uint32_t shard::count(server_state state) const { return size_of(servers(state)); }

std::uint32_t shard::waiting() const { return size_of(waiters_); }

const intrusive_list<server>& shard::servers(server_state state) const {
    return by_state_[static_cast<std::size_t>(state)];
}

intrusive_list<server>& shard::list_of(server_state state) {
    return by_state_[static_cast<std::size_t>(state)];
}

counter& shard::gauge_of(server_state state) {
    switch (state) {
    case server_state::connecting:
        return stats_.servers_connecting;
    case server_state::idle:
        return stats_.servers_idle;
    case server_state::leased:
        return stats_.servers_in_use;
    case server_state::resetting:
        return stats_.servers_resetting;
    case server_state::closing:
        break;
    }
    return stats_.servers_closing;
}

void shard::set_state(server& who, server_state to, time_point now) {
    take_off_list(who);
    put_on_list(who, to, now);
}

void shard::put_on_list(server& who, server_state state, time_point now) {
    who.state = state;
    who.state_since = now;
    gauge_of(state).add();
    if (state != server_state::idle) {
        list_of(state).push_back(who);
        return;
    }
    list_of(state).push_front(who);
    first_expiry_ = std::min(first_expiry_, who.expires_at);
    publish_idle();
}

void shard::take_off_list(server& who) {
    list_of(who.state).remove(who);
    gauge_of(who.state).subtract();
    who.holder = {};
    if (who.state == server_state::idle) {
        publish_idle();
    }
}

void shard::lease(server& who, client_id to, time_point now) {
    set_state(who, server_state::leased, now);
    who.holder = to;
    stats_.assignments.add();
}

void shard::mark_closing(server& who, server_close reason, time_point now) {
    set_state(who, server_state::closing, now);
    stats_.server_closes[static_cast<std::size_t>(reason)].add();
}

void shard::observe_wait(const waiter& who, time_point now) {
    const auto waited = std::max(now - who.waiting_since, duration(0));
    stats_.wait_time.observe(waited);
    stats_.wait_ns.add(static_cast<std::uint64_t>(waited.count()));
}

void shard::publish_waiters() {
    const auto* const oldest = waiters_.front();
    ledger_.publish_oldest_waiter(self_,
                                  oldest ? std::optional(oldest->waiting_since) : std::nullopt);
}

void shard::publish_idle() { ledger_.publish_idle(self_, count(server_state::idle)); }

std::string_view to_string(server_state state) {
    switch (state) {
    case server_state::connecting:
        return "connecting";
    case server_state::idle:
        return "idle";
    case server_state::leased:
        return "leased";
    case server_state::resetting:
        return "resetting";
    case server_state::closing:
        return "closing";
    }
    return "?";
}

} // namespace pgweir::pool
