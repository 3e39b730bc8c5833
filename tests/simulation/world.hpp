// What all parts of one simulation share: randomness, virtual time, the trace and the violations
// found. Everything that happens in a simulation follows from its seed.
//
// Owner: a simulation. Thread: the one that runs it. Life: one seed.
#pragma once

#include "pool/ids.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgweir::simulation {

using pool::duration;
using pool::time_point;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// splitmix64. (The distributions of <random> differ between standard libraries.)
class random_source {
public:
    explicit random_source(std::uint64_t seed)
        : state_(seed) {}

    std::uint64_t next() {
        auto z = state_ += 0x9e3779b97f4a7c15U;
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31U);
    }
    /// In [0, n); 0 for n = 0.
    std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : next() % n; }
    /// In [low, high].
    std::uint64_t between(std::uint64_t low, std::uint64_t high) {
        return low + below(high - low + 1);
    }
    duration between(duration low, duration high) {
        return duration(static_cast<std::int64_t>(between(
            static_cast<std::uint64_t>(low.count()), static_cast<std::uint64_t>(high.count()))));
    }
    bool chance(std::uint64_t percent) { return below(100) < percent; }
    template <typename T>
    const T& one_of(const std::vector<T>& choices) {
        return choices[below(choices.size())];
    }

private:
    std::uint64_t state_;
};

/// Virtual time and what is to happen in it, in order of time, then of scheduling.
class timeline {
public:
    using action = std::function<void()>;

    [[nodiscard]] time_point now() const { return now_; }
    void after(duration delay, action what) { at(now_ + delay, std::move(what)); }
    void at(time_point when, action what) {
        events_.push_back({std::max(when, now_), ++serial_, std::move(what)});
        std::push_heap(events_.begin(), events_.end(), later);
    }
    /// time_point::max() when nothing is to happen.
    [[nodiscard]] time_point next() const {
        return events_.empty() ? time_point::max() : events_.front().when;
    }
    void run_next() {
        std::pop_heap(events_.begin(), events_.end(), later);
        auto first = std::move(events_.back());
        events_.pop_back();
        now_ = first.when;
        first.what();
    }
    /// Forgets what was to happen. (Forgetting a connection on its way closes it, which schedules.)
    void clear() {
        while (!events_.empty()) {
            const auto forgotten = std::exchange(events_, {});
        }
    }
    void advance_to(time_point when) { now_ = std::max(now_, when); }

private:
    struct event {
        time_point when;
        std::uint64_t serial;
        action what;
    };
    static bool later(const event& a, const event& b) {
        return a.when != b.when ? a.when > b.when : a.serial > b.serial;
    }
    std::vector<event> events_;
    std::uint64_t serial_ = 0;
    time_point now_ = time_point{} + seconds(1'000);
};

/// Test-only bugs that the simulator must find (see main.cpp's --list-bugs).
enum class planted_bug : std::uint8_t {
    none,
    released_too_early,
    cancel_to_next_client,
    bound_ignored,
    settings_not_replayed,
    sequences_not_forgotten,
    unpinned_unseen,
    names_not_read,
    lost_wakeup,
    state_unseen,
};

struct world {
    explicit world(std::uint64_t seed)
        : random(seed) {}

    random_source random;
    timeline time;
    planted_bug bug = planted_bug::none;
    std::uint64_t faults = 0;
    std::vector<std::string> violations;
    bool faults_stopped = false;
    /// When a server was last killed, cut off or out of reach: what excuses a lost server.
    time_point last_server_fault{};
    bool nonsense_talked = false; // by some server, at some time

    // The trace: always hashed, written as text only when somebody wants to read it.
    bool readable = false;
    std::uint64_t hash = 0;
    std::vector<std::string> lines;

    /// `who` did `what`. The text is only made when the trace is to be read.
    template <typename MakeText>
    void trace(std::uint64_t who, std::string_view what, MakeText&& text) {
        mix(static_cast<std::uint64_t>(time.now().time_since_epoch().count()));
        mix(who);
        mix(what);
        if (readable) {
            line(what, text());
        }
    }
    void mix(std::uint64_t value) { hash = (hash ^ value) * 0x9e3779b97f4a7c15U + (hash >> 29U); }
    void mix(std::string_view text) {
        for (const char c : text) {
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
        }
    }
    void fault(std::string_view what) {
        ++faults;
        trace(0, "FAULT", [&] { return std::string(what); });
    }
    void violation(std::string sentence);

private:
    void line(std::string_view what, const std::string& text);
};

} // namespace pgweir::simulation
