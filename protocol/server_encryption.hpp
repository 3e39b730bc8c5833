// How a connection to a server begins, whatever it is for (a login, a cancel request): is there
// TLS, and on whose word? pgweir plays the client. Nothing that comes before TLS is believed, but
// that there is none where the mode permits it.
//
// Owner: a server_login or server_cancel. Life: until `encryption_settled` or `server_refused`.
// Tests: tests/protocol/server_encryption_test.cpp (every answer, every mode, failing at each
// step). Source: PostgreSQL documentation, "SSL Session Encryption" (protocol-flow), sslmode and
// sslnegotiation of libpq; fe-connect.c for what is refused.
#pragma once

#include "protocol/client_login.hpp"
#include "protocol/message.hpp"
#include "protocol/server_refused.hpp"
#include "protocol/tls_facts.hpp"

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

namespace pgweir::protocol {

/// Go on with the first packet: through TLS, or (nothing) in the clear.
struct encryption_settled {
    std::optional<tls_facts> tls;
};

using encryption_action =
    std::variant<login_read, login_write, login_start_tls, encryption_settled, server_refused>;

class server_encryption {
public:
    /// `direct`: TLS begins without an SSLRequest (PostgreSQL 17); with `require` and stricter
    /// modes only, since a server that does not know it just closes the connection.
    server_encryption(tls_mode mode, bool direct)
        : mode_(mode)
        , direct_(direct && mode >= tls_mode::require) {}

    /// The connection is open.
    [[nodiscard]] encryption_action start();
    /// Bytes have come (advances `in`), or the last `login_write` has been sent.
    [[nodiscard]] encryption_action resume(bytes& in);
    /// Answer to login_start_tls.
    [[nodiscard]] encryption_action secured(tls_facts facts);
    /// The other answer: no handshake, or a certificate that does not do.
    [[nodiscard]] server_refused handshake_failed(const tls_failure& failure);

private:
    enum class phase : std::uint8_t { not_started, awaiting_answer, handshake, ended };

    server_refused refuse(server_refused::why reason, std::string_view text);
    encryption_action settle(std::optional<tls_facts> tls);

    tls_mode mode_;
    bool direct_;
    phase phase_ = phase::not_started;
};

} // namespace pgweir::protocol
