// The ledger's atomics: see ledger.hpp. All accesses are seq_cst: the wake-up protocol between
// workers is "write mine, then read yours" on both sides, which nothing weaker keeps in order.
#include "pool/ledger.hpp"

#include <algorithm>

namespace pgweir::pool {

namespace {

constexpr unsigned level_bits = 5;
constexpr unsigned careful_bits = 4;
constexpr std::uint8_t level_max = (1U << level_bits) - 1;
constexpr unsigned claimed_shift = 2;
constexpr unsigned level_shift = claimed_shift + 1;
constexpr unsigned careful_shift = level_shift + level_bits;
constexpr unsigned time_shift = careful_shift + careful_bits; // leaves 52 bits: 142 years of µs
constexpr std::uint64_t time_max = (std::uint64_t{1} << (64 - time_shift)) - 1;

static_assert(ledger::careful_after_full < (1U << careful_bits));

/// Rounded up: a caller that comes back at next_try() must not be early.
std::uint64_t to_us(time_point when) {
    const auto ns = when.time_since_epoch().count();
    if (ns <= 0) {
        return 0;
    }
    return std::min((static_cast<std::uint64_t>(ns) + 999) / 1000, time_max);
}

/// `base` doubled `level` times, at most `cap`.
duration backoff(duration base, std::uint8_t level, duration cap) {
    auto result = std::max(base, duration(1));
    for (std::uint8_t i = 0; i < level && result < cap; ++i) {
        result *= 2;
    }
    return std::min(result, cap);
}

} // namespace

std::uint64_t ledger::pack(const reachability& what) {
    return static_cast<std::uint64_t>(what.state) |
           static_cast<std::uint64_t>(what.claimed) << claimed_shift |
           static_cast<std::uint64_t>(what.level) << level_shift |
           static_cast<std::uint64_t>(what.careful) << careful_shift |
           what.next_try_us << time_shift;
}

ledger::reachability ledger::unpack(std::uint64_t word) {
    return {.state = static_cast<health>(word & 3U),
            .claimed = ((word >> claimed_shift) & 1U) != 0,
            .level = static_cast<std::uint8_t>((word >> level_shift) & level_max),
            .careful =
                static_cast<std::uint8_t>((word >> careful_shift) & ((1U << careful_bits) - 1)),
            .next_try_us = word >> time_shift};
}

ledger::ledger(std::uint32_t workers)
    : workers_(std::max(workers, 1U))
    , boards_(std::make_unique<board[]>(workers_)) {}

// The bound -------------------------------------------------------------------------------------

bool ledger::try_take(std::uint32_t bound, std::uint32_t minimum) {
    auto counts = counts_.load();
    do {
        if (taken_of(counts) >= bound) {
            return false;
        }
        if (minimum != no_minimum && staying_of(counts) >= minimum) {
            return false;
        }
    } while (!counts_.compare_exchange_weak(counts, counts + one_taken));
    return true;
}

void ledger::give_back() { counts_.fetch_sub(one_taken); }

bool ledger::try_leave(std::uint32_t floor) {
    auto counts = counts_.load();
    do {
        if (staying_of(counts) <= floor) {
            return false;
        }
    } while (!counts_.compare_exchange_weak(counts, counts + one_leaving));
    return true;
}

void ledger::leave() { counts_.fetch_add(one_leaving); }

void ledger::give_back_left() { counts_.fetch_sub(one_taken + one_leaving); }

void ledger::pass_on_left() { counts_.fetch_sub(one_leaving); }

// Between workers -------------------------------------------------------------------------------

void ledger::publish_idle(worker_index worker, std::uint32_t count) {
    boards_[worker.value].idle.store(count);
}

void ledger::publish_oldest_waiter(worker_index worker, std::optional<time_point> since) {
    const auto ns = since ? since->time_since_epoch().count() : nobody;
    boards_[worker.value].oldest_waiter_ns.store(ns);
}

std::optional<worker_index> ledger::who_has_idle(worker_index self) const {
    std::optional<worker_index> best;
    std::uint32_t most = 0;
    // Starting behind oneself: workers that ask at the same moment do not all ask the same one.
    auto at = self.value;
    for (std::uint32_t step = 1; step < workers_; ++step) {
        at = at + 1 < workers_ ? at + 1 : 0;
        const auto idle = boards_[at].idle.load();
        if (idle > most) {
            most = idle;
            best = worker_index{at};
        }
    }
    return best;
}

std::optional<ledger::waiting_elsewhere> ledger::oldest_waiter(worker_index self) const {
    auto oldest_ns = nobody;
    std::uint32_t where = 0;
    for (std::uint32_t at = 0; at < workers_; ++at) {
        if (at == self.value) {
            continue;
        }
        const auto ns = boards_[at].oldest_waiter_ns.load();
        if (ns < oldest_ns) {
            oldest_ns = ns;
            where = at;
        }
    }
    if (oldest_ns == nobody) {
        return std::nullopt;
    }
    return waiting_elsewhere{worker_index{where}, time_point(duration(oldest_ns))};
}

bool ledger::has_waiter(worker_index worker) const {
    return boards_[worker.value].oldest_waiter_ns.load() != nobody;
}

// Who uses it -----------------------------------------------------------------------------------

bool ledger::client_left(time_point now) {
    const bool kept = kept_warm_.load();
    unused_since_ns_.store(kept ? nobody : now.time_since_epoch().count());
    return clients_.fetch_sub(1) == 1 && !kept;
}

void ledger::let_go() { unused_since_ns_.store(for_ever); }

std::uint32_t ledger::idle() const {
    std::uint32_t all = 0;
    for (std::uint32_t at = 0; at < workers_; ++at) {
        all += boards_[at].idle.load();
    }
    return all;
}

std::optional<time_point> ledger::unused_since() const {
    // In this order: who finds no clients finds the time at which the last one has left.
    if (has_clients()) {
        return std::nullopt;
    }
    const auto since = unused_since_ns_.load();
    return since == nobody ? std::nullopt : std::optional(time_point(duration(since)));
}

bool ledger::is_unused(time_point now, duration for_so_long) const {
    const auto since = unused_since();
    return since && (*since == time_point(duration(for_ever)) ||
                     (for_so_long > duration(0) && now - for_so_long >= *since));
}

// Reachability ----------------------------------------------------------------------------------

bool ledger::report_up() {
    auto word = reach_.load();
    while (true) {
        const auto was = unpack(word);
        if (was.all_may_try()) {
            return false;
        }
        reachability is{.state = health::up};
        if (was.state == health::full) {
            is.careful = careful_after_full;
            is.level = was.level; // full again soon: the back-off goes on where it was
        } else if (was.state == health::up && was.careful > 1) {
            is.careful = static_cast<std::uint8_t>(was.careful - 1);
            is.level = was.level;
        }
        if (reach_.compare_exchange_weak(word, pack(is))) {
            return was.state != health::up;
        }
    }
}

ledger::failure_report ledger::report_failure(health what, time_point now, duration retry_min,
                                              duration retry_max) {
    auto word = reach_.load();
    while (true) {
        const auto was = unpack(word);
        const bool news = was.state != what;
        if (!news && !was.claimed) {
            // One of many that failed together, or a late one: the first has set the back-off, and
            // it must not double once for each of them.
            const auto next = time_point(std::chrono::microseconds(was.next_try_us));
            return {.news = false, .retry_in = std::max(next - now, duration(0))};
        }
        reachability is{.state = what};
        if (!news || was.careful != 0) {
            is.level = static_cast<std::uint8_t>(std::min(was.level + 1, +level_max));
        }
        const auto wait =
            what == health::full
                ? backoff(retry_max, is.level, std::max<duration>(retry_max, full_retry_max))
                : backoff(retry_min, is.level, std::max(retry_min, retry_max));
        is.next_try_us = to_us(now + wait);
        if (reach_.compare_exchange_weak(word, pack(is))) {
            return {.news = news, .retry_in = wait};
        }
    }
}

void ledger::room_made() {
    auto word = reach_.load();
    auto is = unpack(word);
    while (is.state == health::full && !is.claimed) {
        is.next_try_us = 0;
        if (reach_.compare_exchange_weak(word, pack(is))) {
            return;
        }
        is = unpack(word);
    }
}

bool ledger::may_try(time_point now, duration patience) {
    auto word = reach_.load();
    while (true) {
        auto is = unpack(word);
        if (is.all_may_try()) {
            return true;
        }
        if (now < time_point(std::chrono::microseconds(is.next_try_us))) {
            return false;
        }
        const auto wait =
            is.state == health::full
                ? backoff(patience, is.level, std::max<duration>(patience, full_retry_max))
                : std::max(patience, duration(1));
        is.claimed = true;
        is.next_try_us = to_us(now + wait);
        if (reach_.compare_exchange_weak(word, pack(is))) {
            return true;
        }
    }
}

time_point ledger::next_try() const {
    const auto is = unpack(reach_.load());
    return is.all_may_try() ? time_point::min()
                            : time_point(std::chrono::microseconds(is.next_try_us));
}

std::string_view to_string(ledger::health state) {
    switch (state) {
    case ledger::health::unknown:
        return "unknown";
    case ledger::health::up:
        return "up";
    case ledger::health::unreachable:
        return "unreachable";
    case ledger::health::full:
        return "full";
    }
    return "?";
}

} // namespace pgweir::pool
