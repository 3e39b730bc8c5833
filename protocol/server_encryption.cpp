#include "protocol/server_encryption.hpp"

#include "protocol/error_response.hpp"
#include "protocol/startup.hpp"

#include <string>
#include <utility>

namespace pgweir::protocol {

using why = server_refused::why;

server_refused server_encryption::refuse(why reason, std::string_view text) {
    phase_ = phase::ended;
    return {reason, {}, std::string(text)};
}

encryption_action server_encryption::settle(std::optional<tls_facts> tls) {
    phase_ = phase::ended;
    return encryption_settled{std::move(tls)};
}

encryption_action server_encryption::start() {
    if (phase_ != phase::not_started) {
        return refuse(why::protocol, "encryption driven out of turn");
    }
    if (mode_ == tls_mode::disable || mode_ == tls_mode::allow) {
        return settle(std::nullopt);
    }
    if (direct_) {
        phase_ = phase::handshake;
        return login_start_tls{.direct = true};
    }
    phase_ = phase::awaiting_answer;
    std::string request;
    message_writer(request).begin_untyped().u32(ssl_request_code).end();
    return login_write{std::move(request)};
}

encryption_action server_encryption::resume(bytes& in) {
    if (phase_ == phase::handshake) {
        return login_read{}; // the handshake's own bytes are none of ours
    }
    if (phase_ != phase::awaiting_answer) {
        return refuse(why::protocol, "encryption driven out of turn");
    }
    if (in.empty()) {
        return login_read{};
    }
    const auto answer = static_cast<char>(in[0]);
    if (answer != 'S' && answer != 'N') {
        // A server that is too old or out of processes sends an ErrorResponse. It may as well be
        // somebody else's, so that nothing of it is shown.
        return refuse(why::protocol,
                      answer == 'E' ? "the server sent an error in answer to a request for TLS"
                                    : "the server sent an invalid answer to a request for TLS");
    }
    if (in.size() > 1) {
        // Whoever has put them there hopes that they will be taken for what came through TLS.
        return refuse(why::protocol, "the server sent unencrypted data behind its answer to a "
                                     "request for TLS");
    }
    in = in.subspan(1);
    if (answer == 'S') {
        phase_ = phase::handshake;
        return login_start_tls{};
    }
    if (mode_ != tls_mode::prefer) {
        return refuse(why::encryption, "the server does not support TLS, but TLS is required");
    }
    return settle(std::nullopt);
}

encryption_action server_encryption::secured(tls_facts facts) {
    if (phase_ != phase::handshake) {
        return refuse(why::protocol, "encryption driven out of turn");
    }
    facts.direct = direct_;
    if (facts.direct && facts.alpn.empty()) {
        return refuse(why::encryption, "direct TLS was established without ALPN");
    }
    if (!facts.alpn.empty() && facts.alpn != alpn_name) {
        return refuse(why::encryption,
                      "TLS was established for another protocol than PostgreSQL's");
    }
    return settle(std::move(facts));
}

server_refused server_encryption::handshake_failed(const tls_failure& failure) {
    auto result = refuse(failure.lost ? why::lost : why::encryption,
                         printable("TLS: " + std::string(failure.words), 500));
    if (mode_ == tls_mode::prefer) {
        result.again = server_refused::retry::without_tls;
    }
    return result;
}

} // namespace pgweir::protocol
