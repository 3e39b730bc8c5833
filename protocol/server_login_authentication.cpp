// server_login: what is done with each authentication request.
// Source: PostgreSQL documentation, "Start-up" and "SASL Authentication"; RFC 5802, RFC 7677.
#include "protocol/server_login_state.hpp"

#include <utility>

namespace pgweir::protocol {

using why = server_refused::why;

namespace {

constexpr std::string_view mechanism = "SCRAM-SHA-256";
constexpr std::string_view mechanism_plus = "SCRAM-SHA-256-PLUS";

std::string name_of(authentication kind) {
    switch (kind) {
    case authentication::ok:
        return "none";
    case authentication::kerberos_v5:
        return "Kerberos V5";
    case authentication::cleartext_password:
        return "password";
    case authentication::crypt:
        return "crypt";
    case authentication::md5_password:
        return "md5";
    case authentication::scm_credential:
        return "SCM credential";
    case authentication::gss:
    case authentication::gss_continue:
        return "GSSAPI";
    case authentication::sspi:
        return "SSPI";
    case authentication::sasl:
    case authentication::sasl_continue:
    case authentication::sasl_final:
        return "SASL";
    }
    return "number " + std::to_string(static_cast<std::uint32_t>(kind));
}

} // namespace

/// Before anything else, at most once, and only to speak an older version: we ask for no options,
/// and a server that is content with what we asked has nothing to say. (3.1 was never spoken by
/// any.)
step server_login::state::on_negotiation(awaiting_authentication& phase, bytes body) {
    body_reader reader(body);
    const auto version = reader.u32();
    const auto unknown_options = reader.u32();
    if (!reader.finished() || unknown_options != 0) {
        return refuse(why::protocol, "malformed NegotiateProtocolVersion");
    }
    if (phase.negotiated || version != protocol_3_0) {
        return refuse(why::protocol, "the server wants to speak protocol " +
                                         std::to_string(version >> 16) + "." +
                                         std::to_string(version & 0xffff));
    }
    phase.negotiated = true;
    welcome.minor_version = 0;
    return std::nullopt;
}

step server_login::state::on_authentication(bytes body) {
    body_reader reader(body);
    const auto kind = static_cast<authentication>(reader.u32());
    if (!reader.ok()) {
        return refuse(why::protocol, "malformed authentication request");
    }
    if (auto* const phase = std::get_if<awaiting_sasl_continue>(&now)) {
        // Above all: no AuthenticationOk before the server has proven that it knows the password.
        return kind == authentication::sasl_continue
                   ? on_sasl_continue(*phase, reader.rest())
                   : refuse(why::protocol, "the server left the SASL exchange");
    }
    if (auto* const phase = std::get_if<awaiting_sasl_final>(&now)) {
        return kind == authentication::sasl_final
                   ? on_sasl_final(*phase, reader.rest())
                   : refuse(why::protocol, "the server left the SASL exchange");
    }
    // awaiting_sasl_ok: the exchange was bound if it had to be (start_scram).
    if (opts.binding == channel_binding::require && kind != authentication::sasl &&
        !std::holds_alternative<awaiting_sasl_ok>(now)) {
        return refuse(
            why::authentication,
            "channel binding is required, and the server asks for authentication method " +
                name_of(kind));
    }
    if (kind == authentication::ok && reader.finished()) {
        now = awaiting_ready{};
        return std::nullopt;
    }
    if (std::holds_alternative<awaiting_authentication>(now)) {
        return on_request(kind, reader);
    }
    return refuse(why::protocol, "the server asks for authentication twice");
}

step server_login::state::on_request(authentication kind, body_reader rest) {
    const auto form = form_of(opts.password.reveal());
    switch (kind) {
    case authentication::cleartext_password:
        if (form == credential_form::plaintext) {
            return send_password(opts.password.reveal());
        }
        break;
    case authentication::md5_password: {
        const auto salt = rest.raw(4);
        if (!rest.finished()) {
            return refuse(why::protocol, "malformed authentication request");
        }
        if (form == credential_form::plaintext || form == credential_form::md5) {
            const auto response = md5_response(opts.password.reveal(), opts.user, as_text(salt));
            if (response.empty()) {
                return refuse(why::authentication, "MD5 is not available here");
            }
            return send_password(response);
        }
        break;
    }
    case authentication::sasl:
        if (form == credential_form::plaintext || opts.keys) {
            return start_scram(rest);
        }
        break;
    case authentication::sasl_continue:
    case authentication::sasl_final:
        return refuse(why::protocol, "the server goes on with a SASL exchange nobody started");
    default:
        return refuse(why::authentication, "the server asks for authentication method " +
                                               name_of(kind) + ", which is not supported");
    }
    return refuse(why::authentication,
                  form == credential_form::none && !opts.keys
                      ? "the server asks for a password, and none is configured"
                      : "the server asks for authentication method " + name_of(kind) +
                            ", for which the plaintext password is needed");
}

step server_login::state::send_password(std::string_view text) {
    std::string message;
    message_writer(message).begin(frontend::password).c_string(text).end();
    now = awaiting_ok{};
    return login_write{std::move(message)};
}

/// Which mechanism, and whether bound to the TLS connection. Somebody in between can strike -PLUS
/// from the list, but not the flag from what our proof is about: `y` tells the server.
step server_login::state::start_scram(body_reader mechanisms) {
    bool offered = false;
    bool plus_offered = false;
    for (auto name = mechanisms.c_string(); mechanisms.ok() && !name.empty();
         name = mechanisms.c_string()) {
        offered = offered || name == mechanism;
        plus_offered = plus_offered || name == mechanism_plus;
    }
    if (!mechanisms.finished()) {
        return refuse(why::protocol, "malformed list of SASL mechanisms");
    }
    if (plus_offered && !tls) {
        // Nothing to bind to at our end, and something at the server's: as if there were somebody
        // in between. So sees it libpq.
        return refuse(why::protocol, "the server offers SCRAM-SHA-256-PLUS without TLS");
    }
    const bool can_bind =
        tls && !tls->end_point_hash.empty() && opts.binding != channel_binding::disable;
    if (can_bind && plus_offered) {
        return send_client_first({scram_binding::flag::bound, tls->end_point_hash});
    }
    if (opts.binding == channel_binding::require) {
        return refuse(why::authentication,
                      !tls ? "channel binding is required, and there is no TLS"
                      : tls->end_point_hash.empty()
                          ? "channel binding is required, and the signature of the server's "
                            "certificate names no hash for it"
                          : "channel binding is required, and the server does not offer it");
    }
    if (!offered) {
        return refuse(why::authentication, "the server does not offer SCRAM-SHA-256");
    }
    return send_client_first(
        {can_bind ? scram_binding::flag::not_offered : scram_binding::flag::none});
}

step server_login::state::send_client_first(scram_binding binding) {
    const bool bound = binding.is == scram_binding::flag::bound;
    const std::string_view random(reinterpret_cast<const char*>(opts.nonce.data()),
                                  opts.nonce.size());
    scram_client_exchange exchange(base64_encode(random), std::move(binding));
    const auto first = exchange.client_first();
    std::string message;
    message_writer(message)
        .begin(frontend::password)
        .c_string(bound ? mechanism_plus : mechanism)
        .u32(static_cast<std::uint32_t>(first.size()))
        .raw(first)
        .end();
    now = awaiting_sasl_continue{std::move(exchange)};
    return login_write{std::move(message)};
}

step server_login::state::on_sasl_continue(awaiting_sasl_continue& phase, bytes message) {
    auto left = leave(phase);
    if (const auto failure = left.exchange.read_server_first(as_text(message))) {
        return scram_refused(*failure);
    }
    const auto& keys = opts.keys;
    if (keys && keys->iterations == left.exchange.iterations() &&
        keys->salt == left.exchange.salt()) {
        return prove_with_keys(std::move(left.exchange));
    }
    if (form_of(opts.password.reveal()) == credential_form::plaintext) {
        return derive(std::move(left.exchange));
    }
    return refuse(why::authentication,
                  "the server keeps another SCRAM verifier for this user than "
                  "the one that the client has proven to know the password of");
}

step server_login::state::prove_with_keys(scram_client_exchange exchange) {
    std::string message;
    message_writer(message).begin(frontend::password).raw(exchange.client_final(*opts.keys)).end();
    now = awaiting_sasl_final{std::move(exchange)};
    return login_write{std::move(message)};
}

step server_login::state::derive(scram_client_exchange exchange) {
    const auto asked = exchange.iterations();
    if (asked > opts.max_scram_iterations || asked < opts.min_scram_iterations) {
        const bool many = asked > opts.max_scram_iterations;
        return refuse(
            why::authentication,
            "the server asks for " + std::to_string(asked) + " SCRAM iterations, at " +
                (many ? "most " : "least ") +
                std::to_string(many ? opts.max_scram_iterations : opts.min_scram_iterations) +
                " are done");
    }
    login_derive action{opts.password, exchange.salt(), asked};
    now = deriving_key{std::move(exchange)};
    return action;
}

step server_login::state::on_sasl_final(awaiting_sasl_final& phase, bytes message) {
    const auto left = leave(phase);
    if (const auto failure = left.exchange.read_server_final(as_text(message))) {
        return scram_refused(*failure);
    }
    now = awaiting_sasl_ok{};
    return std::nullopt;
}

step server_login::state::scram_refused(const scram_failure& failure) {
    const bool about_password = failure.reason == scram_failure::why::refused_by_peer ||
                                failure.reason == scram_failure::why::unproven;
    return refuse(about_password ? why::authentication : why::protocol, std::string(failure.text));
}

} // namespace pgweir::protocol
