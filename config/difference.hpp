// What differs between the configuration that runs and one just read: what a reload logs and acts
// on. No text in it holds a secret. Pure, any thread. Tests: tests/config/difference_test.cpp.
#pragma once

#include "config/configuration.hpp"
#include "config/settings.hpp"

#include <string>
#include <vector>

namespace pgweir::config {

struct setting_change {
    std::string key;           // `pool.maxconn`, `databases.fitness_club.host`
    std::string before, after; // secrets: `***`
    change_needs needs = change_needs::reload;
    bool operator==(const setting_change&) const = default;
};

/// A database that both have. Its pool's settings are the ones that count, wherever they were
/// written: a changed `pool.maxconn` changes every database that has none of its own.
struct database_change {
    std::string name;
    std::vector<setting_change> settings;
    bool operator==(const database_change&) const = default;
};

struct difference {
    std::vector<setting_change> settings; // of the whole, in the table's order
    std::vector<std::string> databases_added, databases_removed;
    std::vector<database_change> databases_changed;
    std::vector<std::string> users_added, users_removed, users_changed;

    bool operator==(const difference&) const = default;
    [[nodiscard]] bool empty() const { return *this == difference{}; }
    /// Is there anything that only a restart brings about?
    [[nodiscard]] bool needs_restart() const;

    /// One line for each change, for the log: "pool.maxconn: 50 -> 80",
    /// "workers: auto -> 4 (needs a restart)", "database added: reports". What a database merely
    /// takes over from `pool:` is not repeated; more than a few names become a count.
    [[nodiscard]] std::vector<std::string> lines() const;
};

[[nodiscard]] difference compare(const configuration& running, const configuration& wanted);

/// `wanted` with what needs a restart left as it runs: the configuration that is in force after a
/// reload. A database that is new is as it is wanted.
[[nodiscard]] configuration after_reload(const configuration& running, const configuration& wanted);

} // namespace pgweir::config
