// What servers have made of the settings that clients ask for at start-up, one by one.
//
// A client's welcome says which values are in effect (ParameterStatus), and a value that PostgreSQL
// does not take is an error there. Only a server can tell. But a setting means the same whatever
// else is set, and clients ask for few values: each that has been accepted once need not be tried
// again, in whatever company it comes. Then a client is welcomed without a server, also while there
// is none.
//
// Not so with a role: who one is decides what may be set.
//
// Immutable once it is shared. Owner: a pool; its workers. Thread: any. Sans-io.
// Tests: tests/protocol/accepted_settings_test.cpp, integration/login_test.py.
// Source: PostgreSQL documentation, "Asynchronous Operations" (which parameters are reported).
#pragma once

#include "protocol/reported_parameters.hpp"
#include "protocol/setting_replay.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace pgweir::protocol {

/// As a server reports them, with its own spelling of the names.

class accepted_settings {
public:
    /// A server that carries these settings reports this. False: that is no news.
    bool learn(const setting_map& settings, const reported_parameters& reported);
    /// What a server would report with these settings that reports `plain` without any. Nothing:
    /// only a server can tell.
    [[nodiscard]] std::optional<reported_parameters>
    welcome_with(const setting_map& settings, const reported_parameters& plain) const;

private:
    // By name, zero and value as asked for: the value as it is reported, if it is.
    std::unordered_map<std::string, std::string> values_;
};

/// `known`, and what this server shows.
[[nodiscard]] std::shared_ptr<const accepted_settings>
learn(const std::shared_ptr<const accepted_settings>& known, const setting_map& settings,
      const reported_parameters& reported);

} // namespace pgweir::protocol
