// The words of close_reason.hpp: the enumerators themselves, so that code, log, metric label and
// console agree. They are part of what operators see: renaming one breaks dashboards.
#include "pool/close_reason.hpp"

namespace pgweir::pool {

std::string_view to_string(client_close reason) {
    switch (reason) {
    case client_close::terminate:
        return "terminate";
    case client_close::eof:
        return "eof";
    case client_close::network_error:
        return "network_error";
    case client_close::login_refused:
        return "login_refused";
    case client_close::login_timeout:
        return "login_timeout";
    case client_close::unknown_database:
        return "unknown_database";
    case client_close::too_many_clients:
        return "too_many_clients";
    case client_close::cancel_request:
        return "cancel_request";
    case client_close::protocol_violation:
        return "protocol_violation";
    case client_close::pool_exhausted:
        return "pool_exhausted";
    case client_close::server_unreachable:
        return "server_unreachable";
    case client_close::server_refused:
        return "server_refused";
    case client_close::server_lost:
        return "server_lost";
    case client_close::server_desync:
        return "server_desync";
    case client_close::transaction_in_statement_mode:
        return "transaction_in_statement_mode";
    case client_close::setting_refused:
        return "setting_refused";
    case client_close::pin_idle_timeout:
        return "pin_idle_timeout";
    case client_close::idle_session_timeout:
        return "idle_session_timeout";
    case client_close::notifications_unread:
        return "notifications_unread";
    case client_close::shutdown:
        return "shutdown";
    case client_close::internal_error:
        return "internal_error";
    case client_close::count_:
        break;
    }
    return "?";
}

std::string_view to_string(server_close reason) {
    switch (reason) {
    case server_close::connect_failed:
        return "connect_failed";
    case server_close::connect_timeout:
        return "connect_timeout";
    case server_close::login_failed:
        return "login_failed";
    case server_close::idle_timeout:
        return "idle_timeout";
    case server_close::max_lifetime:
        return "max_lifetime";
    case server_close::surplus:
        return "surplus";
    case server_close::server_eof:
        return "server_eof";
    case server_close::network_error:
        return "network_error";
    case server_close::server_fatal:
        return "server_fatal";
    case server_close::desync:
        return "desync";
    case server_close::client_left:
        return "client_left";
    case server_close::session_ended:
        return "session_ended";
    case server_close::other_settings:
        return "other_settings";
    case server_close::made_room:
        return "made_room";
    case server_close::reset_failed:
        return "reset_failed";
    case server_close::session_leak:
        return "session_leak";
    case server_close::reconfigured:
        return "reconfigured";
    case server_close::shutdown:
        return "shutdown";
    case server_close::internal_error:
        return "internal_error";
    case server_close::count_:
        break;
    }
    return "?";
}

} // namespace pgweir::pool
