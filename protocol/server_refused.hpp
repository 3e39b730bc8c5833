// Why a server could not be reached by its protocol: the end of a login, or of what goes before it.
// Owner: whoever drives a server_login, a server_encryption or a server_cancel. A value.
#pragma once

#include <cstdint>
#include <string>

namespace pgweir::protocol {

struct server_refused {
    enum class why : std::uint8_t {
        too_many_connections, // 53300, as the next two: max_connections, or one cannot tell
        too_many_of_role,     // … the role's CONNECTION LIMIT
        too_many_to_database, // … the database's
        starting_up,          // 57P03, 57P01, 57P02: shutting down, starting, recovering
        authentication,       // class 28, or we have no password of the kind it asks for
        no_such_database,     // 3D000
        other_error,          // any other ErrorResponse
        encryption,           // no TLS as it is configured
        lost,                 // the connection broke while TLS was being agreed on
        protocol,             // it does not speak the protocol as it should
    };
    /// There will be room when somebody leaves.
    [[nodiscard]] static bool is_too_many(why reason) {
        return reason == why::too_many_connections || reason == why::too_many_of_role ||
               reason == why::too_many_to_database;
    }

    why reason;
    std::string sqlstate; // empty unless it sent an ErrorResponse
    std::string message;  // printable, one line, no secret
    /// The ErrorResponse as it came, where we had been let in: what a server says before that may
    /// be somebody else's words.
    std::string response = {};
    /// What the mode of encryption says about a second attempt, on a connection of its own and at
    /// once (as tls_mode::require, as tls_mode::disable). Not after that one.
    enum class retry : std::uint8_t { none, with_tls, without_tls };
    retry again = retry::none;
};

} // namespace pgweir::protocol
