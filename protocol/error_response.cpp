#include "protocol/error_response.hpp"

#include <array>
#include <cstddef>

namespace pgweir::protocol {

namespace {

// One row per enumerator, in the enumerator's order. Where PostgreSQL has a wording, it is used:
// drivers and their users' scripts look for it.
constexpr std::array rows{
    error_row{error::protocol_violation, sqlstate::protocol_violation, true, "protocol violation"},
    error_row{error::unsupported_protocol, sqlstate::feature_not_supported, true,
              "unsupported frontend protocol"},
    error_row{error::invalid_startup_packet, sqlstate::protocol_violation, true,
              "invalid startup packet"},
    error_row{error::no_user_name, sqlstate::invalid_authorization_specification, true,
              "no PostgreSQL user name specified in startup packet"},
    error_row{error::authentication_failed, sqlstate::invalid_password, true,
              "password authentication failed"},
    error_row{error::authorization_refused, sqlstate::invalid_authorization_specification, true,
              "the connection is not allowed"},
    error_row{error::login_timeout, sqlstate::query_canceled, true,
              "canceling authentication due to timeout"},
    error_row{error::unknown_database, sqlstate::invalid_catalog_name, true,
              "database does not exist"},
    error_row{error::too_many_replication, sqlstate::too_many_connections, true,
              "too many replication connections"},
    error_row{error::too_many_clients, sqlstate::too_many_connections, true,
              "sorry, too many clients already"},
    error_row{error::pool_exhausted, sqlstate::too_many_connections, false,
              "no server connection became free within wait_timeout"},
    error_row{error::server_unreachable, sqlstate::sqlclient_unable_to_establish_sqlconnection,
              false, "could not connect to the server"},
    error_row{error::server_login_failed,
              sqlstate::sqlserver_rejected_establishment_of_sqlconnection, false,
              "the server refused the connection"},
    error_row{error::server_lost, sqlstate::connection_failure, true,
              "the connection to the server was lost"},
    error_row{error::server_desync, sqlstate::protocol_violation, true,
              "the server sent an unexpected message"},
    error_row{error::query_canceled, sqlstate::query_canceled, false,
              "canceling statement due to user request"},
    error_row{error::admin_shutdown, sqlstate::admin_shutdown, true,
              "terminating connection due to administrator command"},
    error_row{error::transaction_in_statement_mode, sqlstate::feature_not_supported, true,
              "a transaction cannot span several statements in statement mode"},
    error_row{error::notifications_unread, sqlstate::configuration_limit_exceeded, true,
              "too many notifications wait for this client"},
    error_row{error::setting_refused, sqlstate::invalid_parameter_value, true,
              "a session setting could not be restored"},
    error_row{error::pin_idle_timeout, sqlstate::idle_session_timeout, true,
              "terminating connection due to pin_idle_timeout"},
    error_row{error::idle_session_timeout, sqlstate::idle_session_timeout, true,
              "terminating connection due to idle-session timeout"},
    error_row{error::state_rejected, sqlstate::feature_not_supported, false,
              "what this statement leaves in the session is not allowed here"},
    error_row{error::console_syntax, sqlstate::syntax_error, false, "syntax error"},
    error_row{error::console_privilege, sqlstate::insufficient_privilege, false,
              "permission denied"},
    error_row{error::console_unsupported, sqlstate::feature_not_supported, false,
              "the console does not support this command"},
    error_row{error::console_reload_failed, sqlstate::config_file_error, false,
              "the configuration was not reloaded"},
    error_row{error::internal, sqlstate::internal_error, true, "internal error"},
};

constexpr bool rows_follow_the_enum() {
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (static_cast<std::size_t>(rows[i].code) != i || rows[i].sqlstate.size() != 5 ||
            rows[i].text.empty()) {
            return false;
        }
    }
    return rows.size() == static_cast<std::size_t>(error::internal) + 1;
}
static_assert(rows_follow_the_enum(), "each error has exactly one row, in the enum's order");

/// Bytes of the well-formed UTF-8 character at the front of `text`, which is not empty; 0 if it is
/// not well formed (overlong forms, surrogates and code points above U+10FFFF included).
std::size_t utf8_length(std::string_view text) {
    const auto at = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = at(0);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xc2 ? 0
                               : lead < 0xe0 ? 2
                               : lead < 0xf0 ? 3
                               : lead < 0xf5 ? 4
                                             : 0;
    if (length == 0 || length > text.size()) {
        return 0;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if ((at(i) & 0xc0U) != 0x80) {
            return 0;
        }
    }
    const bool malformed = (lead == 0xe0 && at(1) < 0xa0) || (lead == 0xed && at(1) > 0x9f) ||
                           (lead == 0xf0 && at(1) < 0x90) || (lead == 0xf4 && at(1) > 0x8f);
    return malformed ? 0 : length;
}

/// Controls of ASCII, and the C1 ones, which terminals obey as well.
bool is_control(std::string_view character) {
    const auto lead = static_cast<unsigned char>(character[0]);
    return lead < 0x20 || lead == 0x7f ||
           (lead == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0);
}

} // namespace

const error_row& row_of(error code) { return rows[static_cast<std::size_t>(code)]; }

error_fields read_error_fields(bytes body) {
    error_fields fields;
    std::string_view localised_severity;
    const auto keep_first = [](std::string_view& field, std::string_view value) {
        if (field.empty()) {
            field = value;
        }
    };
    body_reader reader(body);
    while (!reader.rest().empty()) {
        const char type = reader.character();
        const auto value = reader.c_string();
        if (type == '\0' || !reader.ok()) {
            break;
        }
        switch (type) {
        case 'S':
            keep_first(localised_severity, value);
            break;
        case 'V':
            keep_first(fields.severity, value);
            break;
        case 'C':
            keep_first(fields.sqlstate, value);
            break;
        case 'M':
            keep_first(fields.message, value);
            break;
        case 'D':
            keep_first(fields.detail, value);
            break;
        case 'H':
            keep_first(fields.hint, value);
            break;
        case 'F':
            keep_first(fields.file, value);
            break;
        case 'L':
            keep_first(fields.line, value);
            break;
        case 'R':
            keep_first(fields.routine, value);
            break;
        default:
            break; // fields we do not need, and those of later versions
        }
    }
    keep_first(fields.severity, localised_severity);
    return fields;
}

void append_error(std::string& out, error code, const error_words& words, bool as_fatal) {
    const auto& row = row_of(code);
    const std::string_view severity = row.fatal || as_fatal ? "FATAL" : "ERROR";
    message_writer writer(out);
    const auto field = [&writer](char type, std::string_view value) {
        writer.u8(static_cast<std::uint8_t>(type)).c_string(value);
    };
    writer.begin(backend::error_response);
    field('S', severity);
    field('V', severity);
    field('C', words.sqlstate.size() == row.sqlstate.size() ? words.sqlstate : row.sqlstate);
    field('M', words.message.empty() ? row.text : words.message);
    if (!words.detail.empty()) {
        field('D', words.detail);
    }
    if (!words.hint.empty()) {
        field('H', words.hint);
    }
    if (!words.file.empty()) {
        field('F', words.file);
        field('L', words.line);
        field('R', words.routine);
    }
    writer.u8(0).end();
}

error_words words_of(bytes error_body) {
    const auto fields = read_error_fields(error_body);
    return {.message = printable(fields.message),
            .detail = printable(fields.detail),
            .hint = printable(fields.hint),
            .sqlstate = printable(fields.sqlstate),
            .file = printable(fields.file),
            .line = printable(fields.line),
            .routine = printable(fields.routine)};
}

std::string printable(std::string_view text, std::size_t limit) {
    std::string out;
    while (!text.empty()) {
        const auto length = utf8_length(text);
        const bool replace = length == 0 || is_control(text.substr(0, length));
        const auto character = replace ? std::string_view("?") : text.substr(0, length);
        if (character.size() > limit - out.size()) {
            break; // never half a character
        }
        out += character;
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return out;
}

} // namespace pgweir::protocol
