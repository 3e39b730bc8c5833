// Why a connection ended. Log, metric and console print this same enum, so one word explains the
// end of every connection. Tests: tests/pool/close_reason_test.cpp (every reason has a name).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace pgweir::pool {

enum class client_close : std::uint8_t {
    terminate,     // the client said Terminate
    eof,           // … closed its socket without
    network_error, // … reset, timed out
    login_refused, // authentication failed, or a bad startup packet
    login_timeout,
    unknown_database,
    too_many_clients,
    cancel_request, // a connection that carried a CancelRequest; not a session
    protocol_violation,
    pool_exhausted,     // wait_timeout before the session had begun
    server_refused,     // … because PostgreSQL refused it
    server_unreachable, // … because no server could be had at all
    server_lost,        // the server went away inside a transaction
    server_desync,      // … sent what nobody asked for
    transaction_in_statement_mode,
    setting_refused,
    pin_idle_timeout,     // it kept its server between transactions and did nothing
    idle_session_timeout, // its own, or that of its role or database
    notifications_unread, // too many waited for it
    shutdown,
    internal_error,
    count_,
};

enum class server_close : std::uint8_t {
    connect_failed,
    connect_timeout,
    login_failed,
    idle_timeout,
    max_lifetime,
    surplus,    // maxconn was lowered
    server_eof, // PostgreSQL closed it (restart, administrator)
    network_error,
    server_fatal,   // PostgreSQL said FATAL
    desync,         // out of step with what was asked
    client_left,    // its client left it in a state that could not be cleaned
    session_ended,  // it was opened for one client alone, who has left
    other_settings, // a client that asked for other settings at start-up needed its slot
    made_room,      // PostgreSQL had no connection left for another pool's clients
    reset_failed,   // cleaning it failed or took too long
    session_leak,   // an audit has found what a client has left there
    reconfigured,   // host, port, credentials or the role's settings changed
    shutdown,
    internal_error,
    count_,
};

[[nodiscard]] std::string_view to_string(client_close reason);
[[nodiscard]] std::string_view to_string(server_close reason);

inline constexpr std::size_t client_close_count = static_cast<std::size_t>(client_close::count_);
inline constexpr std::size_t server_close_count = static_cast<std::size_t>(server_close::count_);

} // namespace pgweir::pool
