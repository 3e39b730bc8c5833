#include "protocol/setting_replay.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

namespace pgweir::protocol {

namespace {

// src/include/catalog/pg_proc.dat; the numbers of built-in functions never change.
constexpr std::uint32_t set_config_function = 2'078;      // (text, text, bool)
constexpr std::uint32_t current_setting_function = 3'294; // (text, bool)

using argument = std::optional<std::string_view>; // nothing: null

void append_call(std::string& out, reply_queue& owed, std::uint32_t function,
                 std::initializer_list<argument> arguments) {
    message_writer call(out);
    call.begin(frontend::function_call).u32(function).u16(0); // all in text format
    call.u16(static_cast<std::uint16_t>(arguments.size()));
    for (const auto& value : arguments) {
        call.u32(value ? static_cast<std::uint32_t>(value->size()) : 0xffffffff);
        call.raw(value.value_or(""));
    }
    call.u16(0).end();
    owed.sent(frontend::function_call, fate::swallow);
}

// Whoever one is decides what one may set: they are given up first and taken on last.
constexpr std::array<std::string_view, 2> identities = {"session_authorization", "role"};

bool is_identity(std::string_view name) {
    return std::find(identities.begin(), identities.end(), name) != identities.end();
}

} // namespace

void append_setting_replay(std::string& out, reply_queue& owed, const setting_map& carried,
                           const setting_map& wanted, refused_setting refused) {
    if (carried == wanted) {
        return;
    }
    const auto set = [&](std::string_view name, argument value) {
        append_call(out, owed, set_config_function, {name, value, "f"});
    };
    constexpr std::string_view guard = "exit_on_error";
    if (refused == refused_setting::ends_server) {
        set(guard, "on");
    }
    for (const auto name : identities) {
        if (carried.contains(name)) {
            set(name, std::nullopt);
        }
    }
    const auto ordinary = [&](std::string_view name) {
        return !is_identity(name) && (name != guard || refused == refused_setting::is_told);
    };
    for (const auto& [name, value] : carried) {
        if (ordinary(name) && !wanted.contains(name)) {
            set(name, std::nullopt);
        }
    }
    for (const auto& [name, value] : wanted) {
        const auto has = carried.find(name);
        if (ordinary(name) && (has == carried.end() || has->second != value)) {
            set(name, value);
        }
    }
    for (const auto name : identities) {
        if (const auto want = wanted.find(name); want != wanted.end()) {
            set(name, want->second);
        }
    }
    if (refused == refused_setting::ends_server) {
        const auto own = wanted.find(guard);
        set(guard, own != wanted.end() ? argument(own->second) : std::nullopt);
    }
}

void append_setting_question(std::string& out, reply_queue& owed, std::string_view name) {
    append_call(out, owed, current_setting_function, {name, "t"});
}

std::optional<std::string_view> function_result(bytes body) {
    body_reader reader(body);
    const auto length = reader.u32();
    const auto value = reader.raw(length);
    return reader.finished() ? std::optional(as_text(value)) : std::nullopt;
}

} // namespace pgweir::protocol
