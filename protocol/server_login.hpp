// Our way into a PostgreSQL server: start-up, password, md5 or SCRAM-SHA-256, and everything it
// says until it is ready. pgweir plays the client.
//
// Owner: a server connection that is being opened. Thread: its worker's. Sans-io; key derivation is
// an action, because it takes milliseconds.
// Tests: tests/protocol/server_login_test.cpp (a fake server failing at every step, split at every
// byte, hostile SCRAM values).
// Source: PostgreSQL documentation, "Start-up", "SASL Authentication"; RFC 5802.
#pragma once

#include "protocol/client_login.hpp"
#include "protocol/error_response.hpp"
#include "protocol/message.hpp"
#include "protocol/secret.hpp"
#include "protocol/startup.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace pgweir::protocol {

/// What a server has said of itself by the time it is ready: what our clients are welcomed with.
struct server_welcome {
    std::map<std::string, std::string> parameters; // ParameterStatus, in PostgreSQL's own spelling
    cancel_key key;
    std::uint16_t minor_version = newest_minor_version; // of protocol 3, that it speaks with us
    /// First column of each row answering `options::probe_sql`, in order.
    std::vector<std::string> probe_answers;
    std::string notices; // what else it said, NoticeResponse by NoticeResponse
};

struct server_ready {
    server_welcome welcome;
};
struct server_refused {
    enum class why : std::uint8_t {
        too_many_connections, // 53300
        starting_up,          // 57P03, 57P01, 57P02: shutting down, starting, recovering
        authentication,       // class 28, or we have no password of the kind it asks for
        no_such_database,     // 3D000
        other_error,          // any other ErrorResponse
        protocol,             // it does not speak the protocol as it should
    };
    why reason;
    std::string sqlstate; // empty unless it sent an ErrorResponse
    std::string message;  // printable, one line, no secret
    /// The ErrorResponse as it came, where we had been let in: what a server says before that may
    /// be somebody else's words.
    std::string response = {};
};

using server_login_action =
    std::variant<login_read, login_write, login_derive, server_ready, server_refused>;

class server_login {
public:
    struct options {
        std::string user;
        std::string database;
        /// Plaintext, md5… or empty. A SCRAM verifier cannot log in and is refused as such.
        secret password;
        replication_kind replication = replication_kind::none;
        std::vector<std::pair<std::string, std::string>> settings; // further startup parameters
        std::array<std::byte, 18> nonce{};                         // random
        /// Run once when ready, before `server_ready` is given (empty: nothing is run).
        std::string probe_sql;
        /// More than this many SCRAM iterations are refused: a server must not buy our CPU.
        std::uint32_t max_scram_iterations = 1'000'000;
    };

    explicit server_login(options opts);
    ~server_login();
    server_login(server_login&&) noexcept;
    server_login& operator=(server_login&&) noexcept;

    /// The connection is open.
    [[nodiscard]] server_login_action start();
    /// As client_login::resume().
    [[nodiscard]] server_login_action resume(bytes& in);
    [[nodiscard]] server_login_action derived_key(secret salted_password);

private:
    struct state;
    std::unique_ptr<state> state_;
};

} // namespace pgweir::protocol
