// The start of client_login: requests for encryption, TLS, and the packet that says what the client
// is here for.
// Source: PostgreSQL documentation, "Start-up" and "SSL Session Encryption" (protocol-flow).
#include "protocol/client_login_state.hpp"

#include <cstddef>
#include <utility>

namespace pgweir::protocol {

namespace {

constexpr std::string_view man_in_the_middle =
    "This could be either a client-software bug or evidence of an attempted man-in-the-middle "
    "attack.";

/// The first byte of a ClientHello (a TLS handshake record), and of no packet of PostgreSQL's: a
/// length of more than 2^28.
constexpr std::byte tls_handshake_record{0x16};

} // namespace

login_action client_login::state::on(awaiting_startup& phase, bytes& in) {
    const bool nothing_came = !phase.ssl_answered && !phase.gssenc_answered;
    if (opts.tls_offered && nothing_came && !in.empty() && in[0] == tls_handshake_record) {
        now = awaiting_tls{.direct = true, .said = true};
        return login_start_tls{.direct = true};
    }
    auto packet = read_startup_packet(in);
    if (std::holds_alternative<std::monostate>(packet)) {
        return login_read{};
    }
    if (std::holds_alternative<ssl_request>(packet)) {
        return answer_encryption_request(phase.ssl_answered, in, ssl_request_code, "SSL request");
    }
    if (std::holds_alternative<gssenc_request>(packet)) {
        return answer_encryption_request(phase.gssenc_answered, in, gssenc_request_code,
                                         "GSSAPI encryption request");
    }
    if (auto* const cancel = std::get_if<cancel_request>(&packet)) {
        now = ended{};
        return login_cancel{std::move(*cancel)};
    }
    if (auto* const refusal = std::get_if<startup_refusal>(&packet)) {
        auto reason = refusal->words.message.empty() ? std::string(row_of(refusal->code).text)
                                                     : refusal->words.message;
        if (refusal->silent) {
            return silence(refusal->code, std::move(reason));
        }
        return refuse(refusal->code, std::move(refusal->words), std::move(reason));
    }
    return begin(std::move(std::get<startup_message>(packet)));
}

login_action client_login::state::answer_encryption_request(bool& answered, bytes in,
                                                            std::uint32_t code,
                                                            std::string_view name) {
    if (answered) {
        // To PostgreSQL a second one is an odd protocol version; without a bound, a client could
        // keep us answering for ever.
        auto refusal = unsupported_protocol_refusal(code);
        auto reason = (tls ? "within TLS: another " : "a second ") + std::string(name);
        return refuse(refusal.code, std::move(refusal.words), std::move(reason));
    }
    answered = true;
    if (!in.empty()) {
        // Whoever wants encryption waits for the answer. Bytes that came before it may have been
        // put there by somebody in between, to be taken for the client's own.
        return protocol_violation("received unencrypted data after " + std::string(name),
                                  man_in_the_middle);
    }
    if (code == ssl_request_code && opts.tls_offered) {
        now = awaiting_tls{};
        return login_write{"S"};
    }
    return login_write{"N"};
}

// TLS ------------------------------------------------------------------------------------------

login_action client_login::state::on(awaiting_tls& phase, bytes& in) {
    if (phase.said) {
        return login_read{}; // the handshake's own bytes are none of ours
    }
    if (!in.empty()) {
        // They have come before it could know our answer; see answer_encryption_request().
        return silence(error::protocol_violation, "unencrypted data where TLS was to begin");
    }
    phase.said = true;
    return login_start_tls{};
}

/// A client that speaks another protocol through TLS (a browser led here: ALPACA) says so in ALPN
/// and is not answered. Who sends no SSLRequest has to say that it speaks PostgreSQL's.
login_action client_login::state::secured(tls_facts facts) {
    const auto* const phase = std::get_if<awaiting_tls>(&now);
    if (phase == nullptr || !phase->said) {
        return out_of_turn();
    }
    facts.direct = phase->direct;
    if (facts.alpn.empty() && facts.direct) {
        return silence(error::protocol_violation,
                       "direct TLS without the protocol negotiation extension (ALPN)");
    }
    if (!facts.alpn.empty() && facts.alpn != alpn_name) {
        return silence(error::protocol_violation,
                       "TLS for another protocol: " + printable(facts.alpn));
    }
    tls = std::move(facts);
    // One of each, and inside TLS none of either.
    now = awaiting_startup{.ssl_answered = true, .gssenc_answered = true};
    return login_read{};
}

// The startup message --------------------------------------------------------------------------

login_action client_login::state::begin(startup_message message) {
    startup = std::move(message);
    const auto spoken = spoken_minor_version(startup.minor_version);
    if (startup.minor_version != spoken || !startup.unknown_protocol_options.empty()) {
        append_negotiate_protocol_version(negotiation, spoken, startup.unknown_protocol_options);
    }
    if (opts.tls_required && !tls) {
        return refuse(error::authorization_refused,
                      {.message = "connection requires TLS",
                       .detail = {},
                       .hint = "Connect with sslmode=require, or a stricter one."},
                      "no TLS");
    }
    now = awaiting_user{};
    return login_find_user{startup.user, startup.database, startup.replication, tls.has_value()};
}

} // namespace pgweir::protocol
