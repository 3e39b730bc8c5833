// The table of settings: one row each. The parser, the diff for reload, SHOW CONFIG and the
// reference (docs/settings.md) are made from it. To add a setting: a member in configuration.hpp,
// a row in settings.cpp, its behaviour, its test, and a line in config/example.yaml (a test asks
// for it).
//
// Immutable, any thread. Tests: tests/config/settings_test.cpp.
#pragma once

#include "config/configuration.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pgweir::config {

/// Where a row's value is kept. Its type is the setting's type.
using setting_member = std::variant<
    // one value for the whole configuration
    std::uint32_t configuration::*, std::uint16_t configuration::*, bool configuration::*,
    duration configuration::*, std::optional<duration> configuration::*,
    auth_method configuration::*, log_level configuration::*, log_format configuration::*,
    tls_mode configuration::*, tls_version configuration::*, std::string configuration::*,
    std::vector<std::string> configuration::*, secret configuration::*,
    // once in `pool:`, and again in each database
    pool_mode pool_settings::*, server_reuse pool_settings::*, state_policy pool_settings::*,
    virtual_policy pool_settings::*, std::uint32_t pool_settings::*, bool pool_settings::*,
    duration pool_settings::*,
    // in each entry of a list or map
    std::string listen_address::*, std::uint16_t listen_address::*, std::string database::*,
    std::uint16_t database::*, tls_mode database::*, tls_negotiation database::*,
    channel_binding database::*, secret database::*, secret user::*>;

/// What a text must look like.
/// `listen`: an address, or the absolute path of a directory for a Unix socket, which alone
/// `directory` is. `network`: an address and how many of its bits count.
enum class text_form : std::uint8_t { name, address, listen, host, directory, path, line, network };

/// What it takes for a new value to count.
enum class change_needs : std::uint8_t { reload, restart };

struct setting {
    /// Dotted; `databases.<name>.host` for what every database has.
    std::string_view key;
    setting_member where;
    /// As a file would say it; empty: nothing.
    std::string_view fallback;
    /// Numbers: the value. Durations: nanoseconds. Texts, secrets: length in bytes, 0 allowing
    /// none.
    std::int64_t least = 0;
    std::int64_t most = 0;
    /// A word that stands for 0 (`auto`) or for nothing (`off`).
    std::string_view word = {};
    text_form form = text_form::name;
    bool required = false;
    change_needs needs = change_needs::reload;
    std::string_view doc; // one sentence

    [[nodiscard]] std::string_view short_key() const { return key.substr(key.rfind('.') + 1); }
};

[[nodiscard]] std::span<const setting> settings();
/// By dotted key; nullptr: there is none.
[[nodiscard]] const setting* find_setting(std::string_view key);
/// The keys that may follow `prefix` ("" or "pool."), each once, in the table's order.
[[nodiscard]] std::vector<std::string_view> keys_under(std::string_view prefix);

inline constexpr std::string_view database_prefix = "databases.<name>.";
inline constexpr std::string_view user_prefix = "users.<name>.";
inline constexpr std::string_view pool_prefix = "pool.";
inline constexpr std::string_view state_prefix = "pool.session_state.";
inline constexpr std::string_view listen_prefix = "listen.";

/// Whoever has a row's member.
using setting_owner =
    std::variant<configuration*, pool_settings*, listen_address*, database*, user*>;

/// Reads `text` into the row's member. Answers what is wrong with it, to follow the setting's name:
/// "must be a whole number, not 'many'". A list of names is appended to, name by name. Secrets are
/// taken as they are.
[[nodiscard]] std::optional<std::string> assign(const setting& row, setting_owner owner,
                                                std::string_view text);
/// As a file would say it. A secret is `***`, or empty when there is none.
[[nodiscard]] std::string text_of(const setting& row, setting_owner owner);
[[nodiscard]] bool same(const setting& row, setting_owner left, setting_owner right);
void copy(const setting& row, setting_owner from, setting_owner to);
[[nodiscard]] bool is_secret(const setting& row);
[[nodiscard]] bool is_list(const setting& row);
[[nodiscard]] bool is_in_pool(const setting& row);
/// "whole number", "duration", …: for the reference.
[[nodiscard]] std::string type_of(const setting& row);
/// "1 to 10000", "debug, info, warning, error", or empty.
[[nodiscard]] std::string bounds_of(const setting& row);
/// "must be a whole number", for when a map or list was found.
[[nodiscard]] std::string must_be(const setting& row);

/// A row of SHOW CONFIG. Databases and users have commands of their own.
struct shown_setting {
    std::string key, value, fallback;
    bool changeable = false; // by reload
    bool operator==(const shown_setting&) const = default;
};
[[nodiscard]] std::vector<shown_setting> show_settings(const configuration& of);

} // namespace pgweir::config
