// What is known of the names in a database (protocol/name_effects.hpp), shared by its pools and
// their workers: who reads it, when, and what was last read. How it is asked for: names.cpp; how
// the answer is read: names_reading.hpp.
//
// Three states. *Known*: everything has been read since it was last known to change. *Awaited*: it
// has not, and there is no reason why it should not be read in a moment, so that nobody is given a
// free server before. *Unknown*: reading has failed, or takes too long; everybody is served, any
// text may do anything (may_hide), and it is tried again, longer each time, but seldom.
//
// Thread: any. What is not const is atomic. Workers look at `version` alone, which tells the state,
// while nothing changes. What changes is a value, and replaced as a whole. There may be thousands
// of names: what goes through all of them is done by learned() alone, which no worker calls.
#pragma once

#include "daemon/engine/ports.hpp"
#include "protocol/name_effects.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

namespace pgweir::daemon {

/// A client has changed something that may hide less since.
inline constexpr auto names_reread_soon = std::chrono::seconds(1);

class database_names {
public:
    using names = std::shared_ptr<const protocol::name_effects>;

    /// `number`: tells databases apart.
    explicit database_names(std::uint32_t number = 0)
        : state_(std::make_shared<const state>())
        , version_(version_of(*state_.load(), number))
        , number_(number) {}

    /// Of what latest() returns. Different for each database.
    [[nodiscard]] std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
    /// What texts are to be read under.
    [[nodiscard]] names latest() const { return state_.load()->latest; }

    [[nodiscard]] bool known() const { return (version() & known_bit) != 0; }
    /// Nobody is to be given a free server before it has been asked.
    [[nodiscard]] bool awaited() const { return (version() & awaited_bit) != 0; }

    /// When it is to be read again.
    [[nodiscard]] time_point due() const { return time_point(duration(due_.load())); }
    /// It is due, and nobody else is at it: the caller is to read it now.
    [[nodiscard]] bool take_turn(time_point now, duration interval) {
        auto due = due_.load();
        return due <= now.time_since_epoch().count() &&
               due_.compare_exchange_strong(due, after(now, retry_wait(interval)));
    }
    /// How long PostgreSQL may take.
    [[nodiscard]] std::chrono::milliseconds patience() const {
        constexpr unsigned most_doublings = 3;
        constexpr std::chrono::milliseconds at_first{1'000};
        return at_first * (1U << std::min(state_.load()->failures, most_doublings));
    }
    /// A question put to a server, and what was known to have changed before. The answers to
    /// several may be read in any order.
    struct question {
        std::uint64_t serial = 0, changes = 0, lessened = 0;
    };
    [[nodiscard]] question ask() {
        const auto before = change([](state& is) { ++is.asked; });
        return {before->asked + 1, before->changes, before->lessened};
    }
    /// All that was known to have changed when that was asked has been read, by this or another.
    [[nodiscard]] bool answers(const question& what) const {
        return state_.load()->read_as_of >= what.changes;
    }

    /// What names hide may have changed to less.
    void changed(time_point now) {
        change([](state& is) { ++is.lessened; });
        hasten(now);
    }
    /// They are not what they were, for sure.
    void hide_more() {
        change([](state& is) { ++is.changes; });
    }
    /// They have been read, by this question. True: that was not possible before. `interval`:
    /// others than the clients of the pools may change what names hide.
    bool learned(const names& what, const question& by, time_point now, duration interval) {
        const auto and_more =
            std::make_shared<const protocol::name_effects>(what->with_more_unknown());
        const auto before = change([&](state& is) {
            if (by.serial > is.read_by) { // else a later one has been answered, and read, before
                is.read = what;
                is.read_and_more = and_more;
                is.read_by = by.serial;
                is.read_as_of = std::max(is.read_as_of, by.changes);
            }
            is.failures = 0;
        });
        due_.store(after(now, interval));
        if (state_.load()->lessened != by.lessened) {
            hasten(now);
        }
        return before->failures != 0;
    }
    /// That was not possible. What was known stands, as far as it was. True: it was possible
    /// before, or had not been tried.
    bool failed(time_point now, duration interval) {
        const auto before = change([](state& is) { ++is.failures; });
        due_.store(after(now, retry_wait(interval)));
        return before->failures == 0;
    }

    /// How often tables have been seen to change, whoever changed them: what was prepared before
    /// may mean something else since.
    std::atomic<std::uint64_t> epoch{1};

private:
    struct state {
        names read; // as it was last read; nothing: never
        names read_and_more = std::make_shared<const protocol::name_effects>(
            protocol::name_effects().with_more_unknown()); // … and more that is not known
        std::uint64_t changes = 1, read_as_of = 0;
        std::uint64_t lessened = 0;           // by changes to less
        std::uint64_t asked = 0, read_by = 0; // serials of questions
        unsigned failures = 0;                // since it was last read
        std::uint32_t serial = 0;
        names latest = under(*this);

        [[nodiscard]] bool known() const { return read_as_of >= changes; }
    };
    static constexpr std::uint64_t known_bit = 1, awaited_bit = 2;

    static names under(const state& is) { return is.known() ? is.read : is.read_and_more; }
    static std::uint64_t version_of(const state& is, std::uint32_t number) {
        constexpr unsigned flags = 2, of_number = 32;
        return (std::uint64_t{number} << of_number) | (std::uint64_t{is.serial} << flags) |
               (is.known() ? known_bit : 0) | (!is.known() && is.failures == 0 ? awaited_bit : 0);
    }
    /// Returns what was before.
    template <class Change>
    std::shared_ptr<const state> change(Change make) {
        auto before = state_.load();
        std::shared_ptr<const state> now;
        do {
            auto next = *before;
            make(next);
            next.latest = under(next);
            const bool same = version_of(next, number_) == version_of(*before, number_) &&
                              (next.latest == before->latest || *next.latest == *before->latest);
            next.serial += same ? 0 : 1;
            now = std::make_shared<const state>(std::move(next));
        } while (!state_.compare_exchange_weak(before, now));
        const auto version = version_of(*now, number_);
        auto seen = version_.load();
        while (seen < version && !version_.compare_exchange_weak(seen, version)) {
        }
        return before;
    }
    void hasten(time_point now) {
        auto due = due_.load();
        const auto soon = after(now, names_reread_soon);
        while (soon < due && !due_.compare_exchange_weak(due, soon)) {
        }
    }
    static std::int64_t after(time_point now, duration wait) {
        return (now + wait).time_since_epoch().count();
    }
    /// A server is to spend little of its time on what does not succeed.
    [[nodiscard]] duration retry_wait(duration interval) const {
        constexpr int share = 20;
        return std::min<duration>(patience() * share, interval);
    }

    std::atomic<std::shared_ptr<const state>> state_;
    std::atomic<std::uint64_t> version_; // of `state_`, or about to be
    std::atomic<std::int64_t> due_{0};
    const std::uint32_t number_;
};

} // namespace pgweir::daemon
