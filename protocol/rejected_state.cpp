#include "protocol/rejected_state.hpp"

#include <array>
#include <string_view>

namespace pgweir::protocol {

namespace {

constexpr std::string_view text_front = "pgweir_rejects_";

struct row {
    pin_reason reason;
    std::string_view what, setting;
};
constexpr std::array<row, 7> rows = {{
    {pin_reason::listen, "LISTEN", "listen"},
    {pin_reason::advisory_lock, "an advisory lock of the session", "advisory_locks"},
    {pin_reason::temporary_object, "a temporary object", "temporary_objects"},
    {pin_reason::held_cursor, "a cursor WITH HOLD", "held_cursors"},
    {pin_reason::sql_statement, "PREPARE", "sql_statements"},
    {pin_reason::loaded_library, "what a process keeps in memory", "libraries"},
    {pin_reason::random_seed, "a seed for random()", "random_seed"},
}};

} // namespace

std::string rejected_message(bytes message, std::uint16_t why) {
    std::string_view setting;
    for (const auto& each : rows) {
        if (setting.empty() && (why & static_cast<unsigned>(each.reason)) != 0) {
            setting = each.setting;
        }
    }
    const auto text = std::string(text_front) + std::string(setting);
    const auto type = static_cast<frontend>(message[0]);
    std::string out;
    message_writer to(out);
    to.begin(type);
    if (type == frontend::parse) {
        to.c_string(string_at(message, header_bytes).text).c_string(text).u16(0);
    } else {
        to.c_string(text);
    }
    to.end();
    return out;
}

std::optional<pin_reason> rejected_for(bytes error_response) {
    if (error_response.size() <= header_bytes) {
        return std::nullopt;
    }
    const auto fields = read_error_fields(error_response.subspan(header_bytes));
    if (fields.sqlstate != sqlstate::syntax_error) {
        return std::nullopt;
    }
    const auto at = fields.message.find(text_front);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const auto rest = fields.message.substr(at + text_front.size());
    for (const auto& each : rows) {
        if (rest.starts_with(each.setting)) {
            return each.reason;
        }
    }
    return std::nullopt;
}

error_words words_of_rejection(pin_reason why) {
    for (const auto& each : rows) {
        if (each.reason == why) {
            return {.message = std::string(each.what) +
                               " would keep this client on its server connection, which is not "
                               "allowed here",
                    .detail = {},
                    .hint = "session_state." + std::string(each.setting) +
                            " of pgweir's configuration is reject; pin allows it."};
        }
    }
    return {};
}

} // namespace pgweir::protocol
