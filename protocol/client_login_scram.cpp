// The SCRAM-SHA-256 part of client_login.
// Source: RFC 5802, RFC 7677; PostgreSQL documentation, "SCRAM-SHA-256 Authentication".
#include "protocol/client_login_state.hpp"

#include <cstddef>
#include <utility>

namespace pgweir::protocol {

namespace {

constexpr std::uint32_t authentication_sasl = 10;
constexpr std::uint32_t authentication_sasl_continue = 11;

constexpr std::string_view mechanism = "SCRAM-SHA-256";
constexpr std::string_view mechanism_plus = "SCRAM-SHA-256-PLUS";
constexpr std::uint32_t no_initial_response = 0xffffffff; // -1 in the length field

/// Bound of what may be buffered for somebody who is not known yet; body bytes.
constexpr std::size_t max_sasl_bytes = 1'024;

constexpr std::size_t scram_nonce_bytes = 18; // of options::random, as many as PostgreSQL takes

} // namespace

/// Made from the name and a secret of ours: the same at each attempt, as a stored salt would be,
/// for a plaintext secret, for a user that does not exist, and for one that cannot use SCRAM.
std::string client_login::state::mock_salt(std::size_t size_bytes) const {
    std::string salt;
    for (char block = 0; salt.size() < size_bytes; ++block) {
        salt += hmac_sha256(opts.mock_secret, "salt" + std::string(1, block) + startup.user);
    }
    salt.resize(size_bytes);
    return salt;
}

login_action client_login::state::ask_for_scram(const std::optional<stored_credential>& stored,
                                                const scram_shape& mock) {
    scram_check check;
    check.iterations = mock.iterations;
    switch (stored ? form_of(stored->value.reveal()) : credential_form::none) {
    case credential_form::scram:
        check.verifier = parse_scram_verifier(stored->value.reveal());
        check.salt = check.verifier->salt;
        check.iterations = check.verifier->iterations;
        break;
    case credential_form::plaintext:
        check.plaintext = stored->value;
        break;
    case credential_form::md5:
        check.doomed = "an md5 secret cannot serve SCRAM";
        break;
    case credential_form::unusable:
        check.doomed = "the stored verifier is malformed";
        break;
    case credential_form::none:
        check.doomed = stored ? "no password is stored" : "unknown user";
        break;
    }
    if (!check.verifier) {
        check.salt = mock_salt(mock.salt_bytes);
    }
    const std::string_view random(reinterpret_cast<const char*>(opts.random.data()),
                                  scram_nonce_bytes);
    scram_server_exchange exchange(base64_encode(random), tls ? tls->end_point_hash : "");
    std::string request;
    message_writer writer(request);
    writer.begin(backend::authentication).u32(authentication_sasl);
    if (exchange.offers_binding()) { // first, as PostgreSQL does: the one that is preferred
        writer.c_string(mechanism_plus);
    }
    writer.c_string(mechanism).u8(0).end();
    now = awaiting_sasl_start{std::move(exchange), std::move(check)};
    return write(std::move(request));
}

login_action client_login::state::on(awaiting_sasl_start& phase, bytes& in) {
    bytes body;
    if (auto other = take_message(in, max_sasl_bytes, "SASL response", body)) {
        return std::move(*other);
    }
    body_reader reader(body);
    const auto chosen = reader.c_string();
    if (!reader.ok()) {
        return protocol_violation("invalid string in message");
    }
    if (chosen == mechanism_plus && phase.exchange.offers_binding()) {
        phase.exchange.bind();
    } else if (chosen != mechanism) {
        return protocol_violation("client selected an invalid SASL authentication mechanism");
    }
    const auto length = reader.u32();
    if (!reader.ok()) {
        return protocol_violation("insufficient data left in message");
    }
    auto left = leave(phase);
    if (length == no_initial_response) {
        if (!reader.finished()) {
            return protocol_violation("invalid message format");
        }
        now = awaiting_sasl_client_first{std::move(left.exchange), std::move(left.check)};
        std::string challenge;
        append_authentication(challenge, authentication_sasl_continue);
        return write(std::move(challenge));
    }
    // Compared with what is left, never added to a position: 2^32 - 2 would wrap.
    if (length != reader.rest().size()) {
        return protocol_violation(length > reader.rest().size()
                                      ? "insufficient data left in message"
                                      : "invalid message format");
    }
    return read_client_first(std::move(left.exchange), std::move(left.check),
                             as_text(reader.rest()));
}

login_action client_login::state::on(awaiting_sasl_client_first& phase, bytes& in) {
    bytes body;
    if (auto other = take_message(in, max_sasl_bytes, "SASL response", body)) {
        return std::move(*other);
    }
    auto left = leave(phase);
    return read_client_first(std::move(left.exchange), std::move(left.check), as_text(body));
}

login_action client_login::state::read_client_first(scram_server_exchange exchange,
                                                    scram_check check, std::string_view message) {
    if (const auto failure = exchange.read_client_first(message)) {
        return scram_refused(*failure);
    }
    std::string challenge;
    append_authentication(challenge, authentication_sasl_continue,
                          exchange.server_first(check.salt, check.iterations));
    now = awaiting_sasl_client_final{std::move(exchange), std::move(check)};
    return write(std::move(challenge));
}

login_action client_login::state::on(awaiting_sasl_client_final& phase, bytes& in) {
    bytes body;
    if (auto other = take_message(in, max_sasl_bytes, "SASL response", body)) {
        return std::move(*other);
    }
    auto left = leave(phase);
    if (const auto failure = left.exchange.read_client_final(as_text(body))) {
        return scram_refused(*failure);
    }
    if (left.check.verifier) {
        return judge(left.exchange, *left.check.verifier, true);
    }
    if (!left.check.doomed.empty()) {
        return authentication_failed(left.check.doomed);
    }
    login_derive derive{left.check.plaintext, left.check.salt, left.check.iterations};
    now = deriving_scram_key{std::move(left.exchange), std::move(left.check)};
    return derive;
}

/// `stored`: the verifier is the user's own, not made for this exchange from a password.
login_action client_login::state::judge(const scram_server_exchange& exchange,
                                        const scram_verifier& verifier, bool stored) {
    auto client_key = exchange.client_key(verifier);
    if (client_key.empty()) {
        return authentication_failed("wrong password");
    }
    std::optional<scram_keys> keys;
    if (stored) {
        keys = scram_keys{std::move(client_key), secret(verifier.server_key), verifier.salt,
                          verifier.iterations};
    }
    return authenticated({}, exchange.server_final(verifier), std::move(keys));
}

login_action client_login::state::scram_refused(const scram_failure& failure) {
    switch (failure.reason) {
    case scram_failure::why::nonce:
        return protocol_violation("invalid SCRAM response", failure.text);
    case scram_failure::why::unsupported:
        return refuse(error::unsupported_protocol,
                      {.message = std::string(failure.text), .detail = {}, .hint = {}},
                      std::string(failure.text));
    case scram_failure::why::downgrade:
        return refuse_unproven(
            error::authorization_refused,
            {.message = "SCRAM channel binding negotiation error",
             .detail = std::string(failure.text),
             .hint = {}},
            "SCRAM channel binding negotiation error: somebody has struck out -PLUS");
    case scram_failure::why::wrong_binding:
        return refuse_unproven(
            error::authorization_refused,
            {.message = "SCRAM channel binding check failed", .detail = {}, .hint = {}},
            "SCRAM channel binding check failed: the client's TLS ends at another certificate");
    case scram_failure::why::binding_type:
        return protocol_violation("unsupported SCRAM channel-binding type");
    case scram_failure::why::malformed:
    case scram_failure::why::refused_by_peer:
    case scram_failure::why::unproven:
        break;
    }
    return protocol_violation("malformed SCRAM message", failure.text);
}

} // namespace pgweir::protocol
