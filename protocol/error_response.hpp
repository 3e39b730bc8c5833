// ErrorResponse and NoticeResponse: what a peer may see of a failure, and what a server told us.
//
// Everything pgweir itself can say to a client is one row in the table in error_response.cpp:
// error -> SQLSTATE, severity, text. Details and hints are filled in by the caller.
// Tests: tests/protocol/error_response_test.cpp.
// Source: PostgreSQL documentation, "Error and Notice Message Fields" and "PostgreSQL Error Codes".
#pragma once

#include "protocol/message.hpp"
#include "protocol/sqlstate.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgweir::protocol {

/// What pgweir tells a client on its own account. The table's key.
enum class error : std::uint8_t {
    protocol_violation,     // 08P01 FATAL
    unsupported_protocol,   // 0A000 FATAL unsupported frontend protocol %s
    invalid_startup_packet, // 08P01 FATAL
    no_user_name,           // 28000 FATAL no PostgreSQL user name specified in startup packet
    authentication_failed,  // 28P01 FATAL password authentication failed for user "…"
    authorization_refused,  // 28000 FATAL pg_hba.conf, certificates, channel binding
    login_timeout,          // 08006… FATAL canceling authentication due to timeout (57014)
    unknown_database,       // 3D000 FATAL database "…" does not exist
    too_many_replication,   // 53300 FATAL max_replication
    too_many_clients,       // 53300 FATAL sorry, too many clients already
    pool_exhausted,         // 53300 ERROR (FATAL at login)
    server_unreachable,     // 08001 ERROR (FATAL at login)
    server_login_failed,    // 08004 ERROR (FATAL at login)
    server_lost,            // 08006 FATAL: the server connection was lost in mid-transaction
    server_desync,          // 08P01 FATAL
    query_canceled,         // 57014 ERROR canceling statement due to user request
    admin_shutdown,         // 57P01 FATAL terminating connection due to administrator command
    transaction_in_statement_mode, // 0A000 FATAL
    notifications_unread,          // 53400 FATAL a listener does not read what it is notified of
    setting_refused,       // 22023 FATAL a start-up setting could not be restored on a server
    pin_idle_timeout,      // 57P05 FATAL, as the next one
    idle_session_timeout,  // 57P05 FATAL
    state_rejected,        // 0A000 ERROR session_state: reject
    console_syntax,        // 42601 ERROR
    console_privilege,     // 42501 ERROR
    console_unsupported,   // 0A000 ERROR
    console_reload_failed, // F0000 ERROR
    internal,              // XX000 FATAL
};

struct error_row {
    error code;
    std::string_view sqlstate;
    bool fatal;
    std::string_view text; // the primary message when the caller gives none
};
[[nodiscard]] const error_row& row_of(error code);

/// The fields of one error. Views are into the message they were read from.
struct error_fields {
    std::string_view severity; // V if present, else S
    std::string_view sqlstate;
    std::string_view message;
    std::string_view detail;
    std::string_view hint;
    std::string_view file, line, routine; // where in PostgreSQL's source
    [[nodiscard]] bool fatal() const { return severity == "FATAL" || severity == "PANIC"; }
};

/// Reads a body of an ErrorResponse. Missing and repeated fields are no error: the first of each
/// counts, absent ones are empty; a body cut off in the middle gives what is there.
[[nodiscard]] error_fields read_error_fields(bytes body);

/// What to write about an error besides its row. Empty: the row's text, or no such field.
struct error_words {
    std::string message = {};
    std::string detail = {};
    std::string hint = {};
    std::string sqlstate = {}; // PostgreSQL's own, where its error is passed on …
    std::string file = {}, line = {}, routine = {}; // … and where in its source that is
};
/// PostgreSQL's own words, to be said with another severity. Made printable.
[[nodiscard]] error_words words_of(bytes error_body);

/// Appends the ErrorResponse for `code`. `fatal_at_login` turns an ERROR row into a FATAL.
void append_error(std::string& out, error code, const error_words& words = {},
                  bool as_fatal = false);

/// Printable text of something a peer sent, for messages and logs: control bytes become `?`,
/// at most `limit` bytes.
[[nodiscard]] std::string printable(std::string_view text, std::size_t limit = 200);

} // namespace pgweir::protocol
