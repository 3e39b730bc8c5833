// Our way into a PostgreSQL server: TLS, start-up, password, md5 or SCRAM-SHA-256 (-PLUS), and
// everything it says until it is ready. pgweir plays the client.
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
#include "protocol/scram.hpp"
#include "protocol/secret.hpp"
#include "protocol/server_refused.hpp"
#include "protocol/startup.hpp"
#include "protocol/tls_facts.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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

using server_login_action = std::variant<login_read, login_write, login_start_tls, login_derive,
                                         server_ready, server_refused>;

class server_login {
public:
    struct options {
        std::string user;
        std::string database;
        /// Plaintext, md5… or empty. A SCRAM verifier cannot log in and is refused as such.
        secret password;
        /// What a client has proven itself with: used instead of a password where the server has
        /// the very verifier that they belong to (its salt and iterations say so).
        std::optional<scram_keys> keys;
        tls_mode tls = tls_mode::disable;
        bool direct_tls = false; // see server_encryption
        channel_binding binding = channel_binding::prefer;
        replication_kind replication = replication_kind::none;
        std::vector<std::pair<std::string, std::string>> settings; // further startup parameters
        std::array<std::byte, 18> nonce{};                         // random
        /// Run once when ready, before `server_ready` is given (empty: nothing is run).
        std::string probe_sql;
        /// More than this many SCRAM iterations are refused: a server must not buy our CPU.
        std::uint32_t max_scram_iterations = protocol::max_scram_iterations;
        /// Nor fewer than these (RFC 7677's, and what PostgreSQL makes) for a plaintext password:
        /// whoever plays the server gets a proof to try passwords on, and must not choose how cheap
        /// a try is. PostgreSQL 16 can be told to make cheaper ones (scram_iterations). Keys are
        /// another matter: with those, the number is not the server's to choose.
        std::uint32_t min_scram_iterations = default_scram_iterations;
    };

    explicit server_login(options opts);
    ~server_login();
    server_login(server_login&&) noexcept;
    server_login& operator=(server_login&&) noexcept;

    /// The connection is open.
    [[nodiscard]] server_login_action start();
    /// As client_login::resume().
    [[nodiscard]] server_login_action resume(bytes& in);
    /// Answers to login_start_tls: the handshake is done, or it has failed (the connection is then
    /// of no more use).
    [[nodiscard]] server_login_action secured(tls_facts facts);
    [[nodiscard]] server_login_action handshake_failed(const tls_failure& failure);
    [[nodiscard]] server_login_action derived_key(secret salted_password);

private:
    struct state;
    std::unique_ptr<state> state_;
};

} // namespace pgweir::protocol
