// The four messages of SCRAM-SHA-256, from either end. Text in, text out; the frames around them
// and the policy (who may log in) are client_login's and server_login's.
//
// Owner: the login that runs it. Life: one login attempt.
// Tests: tests/protocol/scram_exchange_test.cpp (RFC 7677's own example among them).
// Source: RFC 5802 (section 7 has the grammar), RFC 7677.
#pragma once

#include "protocol/scram.hpp"
#include "protocol/secret.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace pgweir::protocol {

/// Why an exchange cannot go on.
struct scram_failure {
    enum class why : std::uint8_t {
        malformed,
        unsupported, // well formed, but asks for what is not there
        nonce,
        downgrade,       // the client thinks that we cannot bind channels: we said that we can
        binding_type,    // it binds to something else than the end point
        wrong_binding,   // … or to another end point: somebody is in between
        refused_by_peer, // the server said so
        unproven,        // the server does not know the password itself
    };
    why reason;
    std::string_view text; // static: holds nothing a peer has sent
};

/// The server's end: a client proves that it knows the password.
class scram_server_exchange {
public:
    /// `nonce`: our part of it, printable and without commas. `end_point_hash`: what an exchange
    /// is bound to (tls_facts); empty: no -PLUS is offered.
    explicit scram_server_exchange(std::string nonce, std::string end_point_hash = {})
        : nonce_(std::move(nonce))
        , end_point_hash_(std::move(end_point_hash)) {}

    [[nodiscard]] bool offers_binding() const { return !end_point_hash_.empty(); }
    /// The client has chosen the mechanism with -PLUS.
    void bind() { bound_ = true; }
    /// client-first-message in.
    [[nodiscard]] std::optional<scram_failure> read_client_first(std::string_view message);
    /// server-first-message out, with what the client's key is derived from.
    [[nodiscard]] std::string server_first(std::string_view salt, std::uint32_t iterations);
    /// client-final-message in: its form and nonce are checked, its proof is kept.
    [[nodiscard]] std::optional<scram_failure> read_client_final(std::string_view message);
    /// Does the proof fit? Constant time.
    [[nodiscard]] bool proven(const scram_verifier& verifier) const {
        return !client_key(verifier).empty();
    }
    /// The ClientKey that the proof was made with; empty when the proof does not fit.
    [[nodiscard]] secret client_key(const scram_verifier& verifier) const;
    /// server-final-message out: our own proof.
    [[nodiscard]] std::string server_final(const scram_verifier& verifier) const;

private:
    [[nodiscard]] std::optional<scram_failure> read_binding_flag(std::string_view& message);
    [[nodiscard]] std::string auth_message() const;

    std::string nonce_; // ours; after client-first: the client's and ours
    std::string end_point_hash_;
    bool bound_ = false;
    std::string channel_binding_; // what c= must say
    std::string client_first_bare_;
    std::string server_first_;
    std::string client_final_without_proof_;
    std::string proof_;
};

/// What our first message says of channel binding: that we cannot, that we could but were not
/// offered it, or that this exchange is bound to `end_point_hash` (tls_facts).
struct scram_binding {
    enum class flag : char { none = 'n', not_offered = 'y', bound = 'p' };
    flag is = flag::none;
    std::string end_point_hash = {};
};

/// The client's end: proves that it knows the password, and that the server does.
class scram_client_exchange {
public:
    explicit scram_client_exchange(std::string nonce, scram_binding binding = {});

    /// client-first-message out. The user's name is empty: PostgreSQL takes the startup message's.
    [[nodiscard]] std::string client_first() const;
    /// server-first-message in; then salt() and iterations() are there.
    [[nodiscard]] std::optional<scram_failure> read_server_first(std::string_view message);
    [[nodiscard]] const std::string& salt() const { return salt_; }
    [[nodiscard]] std::uint32_t iterations() const { return iterations_; }
    /// client-final-message out.
    [[nodiscard]] std::string client_final(const secret& salted_password);
    [[nodiscard]] std::string client_final(const scram_keys& keys);
    /// server-final-message in. Nothing returned: the server has proven itself (constant time).
    [[nodiscard]] std::optional<scram_failure> read_server_final(std::string_view message) const;

private:
    std::string nonce_;      // ours; after server-first: ours and the server's
    std::string gs2_header_; // RFC 5802: what comes before client_first_bare_
    std::string end_point_hash_;
    std::string client_first_bare_;
    std::string salt_;
    std::uint32_t iterations_ = 0;
    std::string server_first_;
    std::string server_signature_; // what v= must say, once the key is known
};

} // namespace pgweir::protocol
