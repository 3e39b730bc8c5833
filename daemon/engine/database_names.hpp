// What is known of the names in a database (protocol/name_effects.hpp), shared by its pools and
// their workers: who reads it, when, and what was last read. How it is read: names.cpp.
//
// Thread: any. What is not const is atomic. Workers look at `version` alone while nothing changes.
#pragma once

#include "daemon/engine/ports.hpp"
#include "protocol/name_effects.hpp"

#include <atomic>
#include <cstdint>
#include <memory>

namespace pgweir::daemon {

/// A client has changed something that may hide less since.
inline constexpr auto names_reread_soon = std::chrono::seconds(1);

class database_names {
public:
    /// `number`: tells databases apart.
    explicit database_names(std::uint32_t number = 0)
        : number_(number) {}

    /// Of what latest() returns; 0: nothing has been read yet. Different for each database.
    [[nodiscard]] std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
    [[nodiscard]] std::shared_ptr<const protocol::name_effects> latest() const {
        return latest_.load();
    }

    /// When it is to be read again.
    [[nodiscard]] time_point due() const { return time_point(duration(due_.load())); }
    /// It is due, and nobody else is at it: the caller is to read it now.
    /// `interval`: others than the clients of the pools may change what names hide.
    [[nodiscard]] bool take_turn(time_point now, duration interval) {
        auto due = due_.load();
        return due <= now.time_since_epoch().count() &&
               due_.compare_exchange_strong(due, after(now, interval));
    }
    /// What names hide may have changed.
    void changed(time_point now) {
        auto due = due_.load();
        const auto soon = after(now, names_reread_soon);
        while (soon < due && !due_.compare_exchange_weak(due, soon)) {
        }
    }
    /// They are not what they were, for sure: nobody is given a server before they have been read.
    void hide_more() { changes_.fetch_add(1); }
    [[nodiscard]] bool pending() const { return known_changes_.load() < changes_.load(); }
    /// To be noted when a question is put to a server, for learned().
    [[nodiscard]] std::uint64_t changes() const { return changes_.load(); }
    /// They have been read, by a question put at `as_of`. Nothing: that was not possible, and what
    /// was known before stands.
    void learned(const std::shared_ptr<const protocol::name_effects>& what, std::uint64_t as_of,
                 time_point now, duration interval) {
        due_.store(after(now, interval));
        const auto known = latest_.load();
        if (what != nullptr && (known == nullptr || !(*known == *what))) {
            latest_.store(what);
            version_.fetch_add(1 + (known == nullptr ? std::uint64_t{number_} << 32 : 0),
                               std::memory_order_acq_rel);
        }
        auto before = known_changes_.load();
        while (before < as_of && !known_changes_.compare_exchange_weak(before, as_of)) {
        }
    }
    /// True: it was possible before, or has not been tried.
    [[nodiscard]] bool first_failure() { return !failing_.exchange(true); }
    void succeeded() { failing_.store(false); }

private:
    static std::int64_t after(time_point now, duration wait) {
        return (now + wait).time_since_epoch().count();
    }

    const std::uint32_t number_;
    std::atomic<std::shared_ptr<const protocol::name_effects>> latest_;
    std::atomic<std::uint64_t> version_{0};
    std::atomic<std::int64_t> due_{0};
    std::atomic<std::uint64_t> changes_{1}, known_changes_{0};
    std::atomic<bool> failing_{false};
};

} // namespace pgweir::daemon
