// A client's way from its first byte to a proven identity. pgweir plays the server. TLS, where the
// client asks for it, is begun and judged here, and done by whoever drives this.
//
// Event in, one action out: whoever drives it does the I/O, looks users up and derives keys (never
// on a worker thread). Any message out of order, too large or malformed ends in `refuse`.
//
// An unknown user, one without a password and a wrong password are the same in bytes, salts and
// steps, but for one thing: a plaintext secret costs a key derivation. So a driver that answers
// failures late counts from the arrival of the client's message, not from the `refuse`.
// Owner: a client that is logging in. Thread: its worker's. Life: until `authenticated` or an end.
// Tests: tests/protocol/client_login_test.cpp (every step failing, split at every byte).
// Source: PostgreSQL documentation, "Start-up" and "SASL Authentication"; RFC 5802, RFC 7677.
#pragma once

#include "protocol/admission.hpp"
#include "protocol/error_response.hpp"
#include "protocol/message.hpp"
#include "protocol/scram.hpp"
#include "protocol/secret.hpp"
#include "protocol/startup.hpp"
#include "protocol/tls_facts.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

namespace pgweir::protocol {

// Actions ------------------------------------------------------------------------------------

struct login_read {}; // wait for more bytes
struct login_write {
    std::string data;
}; // send; then call resume() with nothing for the next
/// Who is this, and on what terms may it log in? Answer with found_user(), now or later. Whoever
/// answers may have to look the user up; a refusal that needs no look-up comes first.
struct login_find_user {
    std::string user, database;
    replication_kind replication = replication_kind::none;
    bool tls = false; // the client speaks through TLS; what its certificate says is in facts()
};
/// PBKDF2-HMAC-SHA-256 of `password`; answer with derived_key().
struct login_derive {
    secret password;
    std::string salt;
    std::uint32_t iterations;
};
struct login_cancel {
    cancel_request request;
}; // route it, then close without a word
struct login_authenticated {
    startup_message startup;
    /// The password itself where the method showed it (password), for logging in to servers.
    secret password;
    /// What the client's proof was made with, where a verifier is stored for its user: logs in to
    /// any server that has the same verifier (server_login::options::keys).
    std::optional<scram_keys> keys;
    std::string data; // AuthenticationOk (with what goes before it); send before the welcome
};
struct login_refuse {
    std::string data; // ErrorResponse to send before closing; empty: close silently
    error code;
    std::string log_reason; // for the log: never shown to the peer, holds no secret
    /// It has failed to prove who it is: whoever drives this lets it wait before it is told.
    bool unproven = false;
};

using login_action = std::variant<login_read, login_write, login_start_tls, login_find_user,
                                  login_derive, login_cancel, login_authenticated, login_refuse>;

class client_login {
public:
    struct options {
        /// For a driver that knows no other terms than a user's credential.
        auth_method method = auth_method::scram_sha_256;
        bool tls_offered = false; // SSLRequest is answered S, and a ClientHello is understood
        /// Nobody logs in without TLS. (A cancel request needs none: libpq before 17 sends it in
        /// the clear whatever its sslmode.)
        bool tls_required = false;
        /// Secret from which the salts of users that do not exist are made, so that they stay the
        /// same from one attempt to the next.
        std::string mock_secret;
        /// Fresh from a cryptographic generator for each login: SCRAM nonce, md5 salt.
        std::array<std::byte, 32> random{};
    };

    explicit client_login(options opts);
    ~client_login();
    client_login(client_login&&) noexcept;
    client_login& operator=(client_login&&) noexcept;

    /// Bytes have come, or the last `login_write` has been sent (then `in` may be empty). Advances
    /// `in` past what it used. Call again after every action but read, find_user, derive and the
    /// final ones.
    [[nodiscard]] login_action resume(bytes& in);
    /// Answer to login_start_tls: the handshake is done. (One that fails ends the connection;
    /// there is nothing to be said.)
    [[nodiscard]] login_action secured(tls_facts facts);
    /// Answer to login_find_user.
    [[nodiscard]] login_action found_user(admission terms);
    /// The same by `options::method`; nothing for a user that is not known.
    [[nodiscard]] login_action found_user(std::optional<stored_credential> credential);
    /// Answer to login_derive: the 32-byte SaltedPassword.
    [[nodiscard]] login_action derived_key(secret salted_password);
    /// The login deadline has passed.
    [[nodiscard]] login_action timed_out();

    /// The user named in the startup message, once it has come (for logs and limits).
    [[nodiscard]] std::string_view user() const;
    /// What the handshake has said; null without TLS.
    [[nodiscard]] const tls_facts* facts() const;

private:
    struct state; // the exchange so far; cold, gone once the client is logged in
    std::unique_ptr<state> state_;
};

} // namespace pgweir::protocol
