// What can be done with a row of the table: read, write, compare, describe. The member's type says
// how. See settings.hpp. Tests: tests/config/settings_test.cpp.
#include "config/address.hpp"
#include "config/settings.hpp"
#include "config/text.hpp"

#include <array>
#include <type_traits>

namespace pgweir::config {
namespace {

using maybe_refusal = std::optional<std::string>;

// The words of a choice, in the order of its enum.
constexpr std::array<std::string_view, 3> mode_words{"transaction", "session", "statement"};
constexpr std::array<std::string_view, 2> reuse_words{"always", "never"};
constexpr std::array<std::string_view, 3> policy_words{"pin", "reject", "ignore"};
constexpr std::array<std::string_view, 4> virtual_words{"virtualise", "pin", "reject", "ignore"};
constexpr std::array<std::string_view, 4> auth_words{"trust", "password", "md5", "scram-sha-256"};
constexpr std::array<std::string_view, 6> tls_words{"disable", "allow",     "prefer",
                                                    "require", "verify-ca", "verify-full"};
constexpr std::array<std::string_view, 2> version_words{"1.2", "1.3"};
constexpr std::array<std::string_view, 2> negotiation_words{"postgres", "direct"};
constexpr std::array<std::string_view, 3> binding_words{"disable", "prefer", "require"};
constexpr std::array<std::string_view, 2> format_words{"text", "json"};
constexpr std::array<std::string_view, 4> level_words{"debug", "info", "warning", "error"};
constexpr std::span<const std::string_view> words_of(pool_mode) { return mode_words; }
constexpr std::span<const std::string_view> words_of(server_reuse) { return reuse_words; }
constexpr std::span<const std::string_view> words_of(state_policy) { return policy_words; }
constexpr std::span<const std::string_view> words_of(virtual_policy) { return virtual_words; }
constexpr std::span<const std::string_view> words_of(auth_method) { return auth_words; }
constexpr std::span<const std::string_view> words_of(tls_mode) { return tls_words; }
constexpr std::span<const std::string_view> words_of(tls_version) { return version_words; }
constexpr std::span<const std::string_view> words_of(tls_negotiation) { return negotiation_words; }
constexpr std::span<const std::string_view> words_of(channel_binding) { return binding_words; }
constexpr std::span<const std::string_view> words_of(log_format) { return format_words; }
constexpr std::span<const std::string_view> words_of(log_level) { return level_words; }

/// Calls `act` with a value of the row's type (not the row's own value).
template <typename Act>
auto by_type(const setting& row, Act act) {
    return std::visit([&]<typename Owner, typename Value>(Value Owner::*) { return act(Value{}); },
                      row.where);
}

/// Calls `act` with the row's member of `owner`.
template <typename Act>
auto with_member(const setting& row, setting_owner owner, Act act) {
    return std::visit([&]<typename Owner, typename Value>(
                          Value Owner::*member) { return act(std::get<Owner*>(owner)->*member); },
                      row.where);
}

template <typename Value>
constexpr bool is_number_v =
    std::is_same_v<Value, std::uint32_t> || std::is_same_v<Value, std::uint16_t>;
template <typename Value>
constexpr bool is_duration_v =
    std::is_same_v<Value, duration> || std::is_same_v<Value, std::optional<duration>>;

std::string or_word(const setting& row) {
    return row.word.empty() ? std::string{} : concat({" or '", row.word, "'"});
}

std::string between(const setting& row, const std::string& least, const std::string& most,
                    std::string_view value) {
    return concat({"must be from ", least, " to ", most, or_word(row), not_this(value)});
}

// put(): one for each type a setting can have ---------------------------------------------------

template <typename Number>
requires is_number_v<Number> maybe_refusal put(const setting& row, Number& into,
                                               std::string_view text) {
    if (!row.word.empty() && text == row.word) {
        into = 0;
        return std::nullopt;
    }
    const auto value = read_number(text);
    if (!value) {
        return must_be(row) + not_this(text);
    }
    if (*value < row.least || *value > row.most) {
        return between(row, std::to_string(row.least), std::to_string(row.most), text);
    }
    into = static_cast<Number>(*value);
    return std::nullopt;
}

maybe_refusal put(const setting& row, bool& into, std::string_view text) {
    const auto value = read_flag(text);
    if (!value) {
        return must_be(row) + not_this(text);
    }
    into = *value;
    return std::nullopt;
}

maybe_refusal put(const setting& row, duration& into, std::string_view text) {
    const auto value = read_duration(text);
    if (!value && read_number(text).value_or(-1) > 0) {
        return concat({"needs a unit: ", text.substr(0, 20), "s, or ms, m, h, d"});
    }
    if (!value) {
        return must_be(row) + not_this(text);
    }
    if (value->count() < row.least || value->count() > row.most) {
        return between(row, write_duration(duration(row.least)), write_duration(duration(row.most)),
                       text);
    }
    into = *value;
    return std::nullopt;
}

maybe_refusal put(const setting& row, std::optional<duration>& into, std::string_view text) {
    if (text == row.word) {
        into.reset();
        return std::nullopt;
    }
    duration value{};
    auto refused = put(row, value, text);
    if (!refused) {
        into = value;
    }
    return refused;
}

bool has_form(text_form form, std::string_view text) {
    switch (form) {
    case text_form::address:
        return is_address(text);
    case text_form::listen:
        return is_address(text) || text.starts_with('/');
    case text_form::host:
        return is_host(text);
    case text_form::directory:
        return text.starts_with('/') && is_host(text);
    case text_form::network:
        return read_network(text).has_value();
    case text_form::name:
    case text_form::path:
    case text_form::line:
        break;
    }
    return true;
}

maybe_refusal put(const setting& row, std::string& into, std::string_view text) {
    const auto size = static_cast<std::int64_t>(text.size());
    if (size < row.least) {
        return "must not be empty";
    }
    if (size > row.most) {
        return concat({"must not be longer than ", std::to_string(row.most), " bytes"});
    }
    if (has_control_character(text)) {
        return "must not hold control characters";
    }
    if (!text.empty() && !has_form(row.form, text)) {
        if (row.form == text_form::network) { // one of a list
            return "must be an address and how many of its bits count, such as 10.0.0.0/8" +
                   not_this(text);
        }
        return must_be(row) + (row.form == text_form::host ? "" : not_this(text));
    }
    into = text;
    return std::nullopt;
}

maybe_refusal put(const setting& row, std::vector<std::string>& into, std::string_view text) {
    std::string one;
    auto refused = put(row, one, text);
    if (!refused) {
        into.push_back(std::move(one));
    }
    return refused;
}

maybe_refusal put(const setting& row, secret& into, std::string_view text) {
    const auto size = static_cast<std::int64_t>(text.size());
    if (size < row.least) {
        return row.least == 1
                   ? "must not be empty"
                   : concat({"must have at least ", std::to_string(row.least), " bytes"});
    }
    if (size > row.most) {
        return concat({"must not be longer than ", std::to_string(row.most), " bytes"});
    }
    if (has_control_character(text)) {
        return "must not hold control characters";
    }
    into = secret(std::string(text));
    return std::nullopt;
}

template <typename Choice>
requires std::is_enum_v<Choice> maybe_refusal put(const setting& row, Choice& into,
                                                  std::string_view text) {
    const auto words = words_of(Choice{});
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] == text) {
            into = static_cast<Choice>(i);
            return std::nullopt;
        }
    }
    return must_be(row) + not_this(text);
}

// tell(): the other way round -------------------------------------------------------------------

template <typename Number>
requires is_number_v<Number> std::string tell(const setting& row, const Number& value) {
    return value == 0 && !row.word.empty() ? std::string(row.word) : std::to_string(value);
}
std::string tell(const setting&, const bool& value) { return value ? "true" : "false"; }
std::string tell(const setting&, const duration& value) { return write_duration(value); }
std::string tell(const setting& row, const std::optional<duration>& value) {
    return value ? write_duration(*value) : std::string(row.word);
}
std::string tell(const setting&, const std::string& value) { return value; }
std::string tell(const setting&, const std::vector<std::string>& value) {
    const std::vector<std::string_view> names(value.begin(), value.end());
    return concat({"[", join(names, ", "), "]"});
}
std::string tell(const setting&, const secret& value) { return value.empty() ? "" : "***"; }
template <typename Choice>
requires std::is_enum_v<Choice> std::string tell(const setting&, const Choice& value) {
    return std::string(words_of(Choice{})[static_cast<std::size_t>(value)]);
}

} // namespace

std::optional<std::string> assign(const setting& row, setting_owner owner, std::string_view text) {
    return with_member(row, owner, [&](auto& member) { return put(row, member, text); });
}

std::string text_of(const setting& row, setting_owner owner) {
    return with_member(row, owner, [&](const auto& member) { return tell(row, member); });
}

bool same(const setting& row, setting_owner left, setting_owner right) {
    return std::visit(
        [&]<typename Owner, typename Value>(Value Owner::*member) {
            return std::get<Owner*>(left)->*member == std::get<Owner*>(right)->*member;
        },
        row.where);
}

void copy(const setting& row, setting_owner from, setting_owner to) {
    std::visit(
        [&]<typename Owner, typename Value>(Value Owner::*member) {
            std::get<Owner*>(to)->*member = std::get<Owner*>(from)->*member;
        },
        row.where);
}

bool is_secret(const setting& row) {
    return by_type(row, []<typename Value>(const Value&) { return std::is_same_v<Value, secret>; });
}

bool is_list(const setting& row) {
    return by_type(row, []<typename Value>(const Value&) {
        return std::is_same_v<Value, std::vector<std::string>>;
    });
}

bool is_in_pool(const setting& row) { return row.key.starts_with(pool_prefix); }

std::string type_of(const setting& row) {
    return by_type(row, [&]<typename Value>(const Value&) -> std::string {
        if constexpr (is_number_v<Value>) {
            return "whole number" + or_word(row);
        } else if constexpr (is_duration_v<Value>) {
            return "duration" + or_word(row);
        } else if constexpr (std::is_same_v<Value, bool>) {
            return "true or false";
        } else if constexpr (std::is_enum_v<Value>) {
            return "choice";
        } else if constexpr (std::is_same_v<Value, std::vector<std::string>>) {
            return row.form == text_form::line      ? "list of lines"
                   : row.form == text_form::network ? "list of networks"
                                                    : "list of names";
        } else if constexpr (std::is_same_v<Value, secret>) {
            return "secret";
        } else {
            switch (row.form) {
            case text_form::name:
                return "name";
            case text_form::address:
                return "address";
            case text_form::listen:
                return "address or directory";
            case text_form::host:
                return "host";
            case text_form::directory:
                return "directory";
            case text_form::network:
                return "network";
            case text_form::path:
                return "path";
            case text_form::line:
                return "line";
            }
            return {};
        }
    });
}

std::string bounds_of(const setting& row) {
    return by_type(row, [&]<typename Value>(const Value&) -> std::string {
        if constexpr (is_number_v<Value>) {
            return concat({std::to_string(row.least), " to ", std::to_string(row.most)});
        } else if constexpr (is_duration_v<Value>) {
            return concat(
                {write_duration(duration(row.least)), " to ", write_duration(duration(row.most))});
        } else if constexpr (std::is_enum_v<Value>) {
            return join(words_of(Value{}), ", ");
        } else if constexpr (std::is_same_v<Value, bool>) {
            return {};
        } else {
            return concat({row.least > 1 ? concat({std::to_string(row.least), " to "}) : "up to ",
                           std::to_string(row.most), " bytes"});
        }
    });
}

std::string must_be(const setting& row) {
    return by_type(row, [&]<typename Value>(const Value&) -> std::string {
        if constexpr (is_number_v<Value>) {
            return concat({"must be a whole number", or_word(row)});
        } else if constexpr (is_duration_v<Value>) {
            return concat({"must be a duration such as 500ms, 5s, 10m, 1h or 2d", or_word(row)});
        } else if constexpr (std::is_same_v<Value, bool>) {
            return "must be true or false";
        } else if constexpr (std::is_enum_v<Value>) {
            return concat({"must be one of ", join(words_of(Value{}), ", ")});
        } else if constexpr (std::is_same_v<Value, std::vector<std::string>>) {
            return row.form == text_form::line
                       ? "must be a list of lines such as ['local all all peer']"
                   : row.form == text_form::network
                       ? "must be a list of networks such as [10.0.0.0/8, '::1/128']"
                       : "must be a list of names such as [alice, bob]";
        } else if constexpr (std::is_same_v<Value, secret>) {
            return "must be a text, env:NAME, file:PATH or credential:NAME";
        } else {
            switch (row.form) {
            case text_form::name:
                return "must be a name";
            case text_form::address:
                return "must be an IPv4 or IPv6 address such as 127.0.0.1 or ::1";
            case text_form::listen:
                return "must be an IPv4 or IPv6 address such as 127.0.0.1 or ::1, or the absolute "
                       "path of a directory";
            case text_form::network:
                return "must be a network such as 10.0.0.0/8";
            case text_form::host:
                return "must be a host name, an address, or the absolute path of a directory";
            case text_form::directory:
                return "must be the absolute path of a directory";
            case text_form::path:
                return "must be a path";
            case text_form::line:
                return "must be a line";
            }
            return {};
        }
    });
}

} // namespace pgweir::config
