// The inside of client_login: its phases and what it does in them. Included by client_login.cpp
// (terms, password, md5, the ends), client_login_start.cpp (up to the startup message) and
// client_login_scram.cpp, by nobody else.
//
// Owner: its client_login. Tests: tests/protocol/client_login_test.cpp.
#pragma once

#include "protocol/client_login.hpp"
#include "protocol/scram.hpp"
#include "protocol/scram_exchange.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace pgweir::protocol::client_login_phases {

/// What a SCRAM proof is checked against. A client cannot tell the three apart before its proof
/// has been judged: each shows it a salt and a count.
struct scram_check {
    std::string salt;
    std::uint32_t iterations = default_scram_iterations;
    std::optional<scram_verifier> verifier; // stored as such
    secret plaintext;                       // stored so: the key has yet to be derived
    std::string_view doomed;                // neither: why it will fail whatever the proof
};

struct awaiting_startup {
    bool ssl_answered = false;
    bool gssenc_answered = false;
};
struct awaiting_tls { // secured() is owed to us, once we have said that TLS begins
    bool direct = false;
    bool said = false;
};
struct awaiting_user {}; // found_user() is owed to us
struct awaiting_password {
    std::optional<stored_credential> stored; // nothing: no such user
};
struct deriving_password_key { // derived_key() is owed to us
    secret password;
    scram_verifier verifier;
};
struct awaiting_md5 {
    std::string expected; // empty: no answer will do
    std::string_view doomed;
};
struct awaiting_sasl_start { // SASLInitialResponse
    scram_server_exchange exchange;
    scram_check check;
};
struct awaiting_sasl_client_first { // in a SASLResponse: there was none in the
                                    // SASLInitialResponse
    scram_server_exchange exchange;
    scram_check check;
};
struct awaiting_sasl_client_final {
    scram_server_exchange exchange;
    scram_check check;
};
struct deriving_scram_key { // derived_key() is owed to us
    scram_server_exchange exchange;
    scram_check check;
};
struct ended {};

} // namespace pgweir::protocol::client_login_phases

namespace pgweir::protocol {

// Included by the files of client_login only, which speak of little else.
// tidy: allow using-namespace: see the line above
using namespace client_login_phases;

struct client_login::state {
    using any_phase = std::variant<awaiting_startup, awaiting_tls, awaiting_user, awaiting_password,
                                   deriving_password_key, awaiting_md5, awaiting_sasl_start,
                                   awaiting_sasl_client_first, awaiting_sasl_client_final,
                                   deriving_scram_key, ended>;

    explicit state(options given)
        : opts(std::move(given)) {}

    options opts;
    any_phase now;
    std::optional<tls_facts> tls; // nothing: in the clear
    startup_message startup;
    auth_method method = auth_method::scram_sha_256; // of the terms
    /// Why the client's certificate does not do, whatever comes of the method. Told last, as
    /// PostgreSQL does, so that nobody tries certificates without knowing the password.
    std::string_view wrong_certificate;
    std::string negotiation; // NegotiateProtocolVersion, until it has gone out with something

    /// Hands the phase to its handler, which works on it while `now` moves on, and never on a
    /// reference that the next phase has overwritten. Until the handler enters one, it is over.
    template <typename Phase>
    Phase leave(Phase& current) {
        auto left = std::move(current);
        now = ended{};
        return left;
    }

    // Ends
    login_action refuse(error code, error_words words, std::string log_reason);
    login_action refuse_unproven(error code, error_words words, std::string log_reason);
    login_action protocol_violation(std::string message, std::string_view detail = {});
    login_action silence(error code, std::string log_reason);
    login_action authentication_failed(std::string_view log_reason);
    login_action authenticated(secret password, std::string_view sasl_final = {},
                               std::optional<scram_keys> keys = std::nullopt);

    // Steps
    login_action write(std::string data);
    std::optional<login_action> take_password(bytes& in, std::size_t limit,
                                              std::string_view& password);
    std::optional<login_action> take_message(bytes& in, std::size_t max_body_bytes,
                                             std::string_view expected, bytes& body);
    login_action answer_encryption_request(bool& answered, bytes in, std::uint32_t code,
                                           std::string_view name);
    login_action secured(tls_facts facts);
    login_action begin(startup_message message);
    login_action on_terms(admission terms);
    login_action let_in_known(bool known, std::string_view log_reason);
    login_action ask_for_password(std::optional<stored_credential> stored);
    login_action ask_for_md5(const std::optional<stored_credential>& stored);
    login_action ask_for_scram(const std::optional<stored_credential>& stored,
                               const scram_shape& mock);
    [[nodiscard]] std::string mock_salt(std::size_t size_bytes) const;
    login_action check_password(std::optional<stored_credential> stored, std::string_view given);
    login_action read_client_first(scram_server_exchange exchange, scram_check check,
                                   std::string_view message);
    login_action judge(const scram_server_exchange& exchange, const scram_verifier& verifier,
                       bool stored);
    login_action scram_refused(const scram_failure& failure);

    // One for each phase: bytes have come
    login_action on(awaiting_startup& phase, bytes& in);
    login_action on(awaiting_tls& phase, bytes& in);
    login_action on(awaiting_password& phase, bytes& in);
    login_action on(awaiting_md5& phase, bytes& in);
    login_action on(awaiting_sasl_start& phase, bytes& in);
    login_action on(awaiting_sasl_client_first& phase, bytes& in);
    login_action on(awaiting_sasl_client_final& phase, bytes& in);
    // What comes while we wait for an answer from our own side stays where it is.
    login_action on(awaiting_user&, bytes&) { return login_read{}; }
    login_action on(deriving_password_key&, bytes&) { return login_read{}; }
    login_action on(deriving_scram_key&, bytes&) { return login_read{}; }
    login_action on(ended&, bytes&) { return out_of_turn(); }

    login_action out_of_turn() { return refuse(error::internal, {}, "login driven out of turn"); }
};

/// One of the Authentication… messages.
inline void append_authentication(std::string& out, std::uint32_t kind,
                                  std::string_view rest = {}) {
    message_writer(out).begin(backend::authentication).u32(kind).raw(rest).end();
}

} // namespace pgweir::protocol
