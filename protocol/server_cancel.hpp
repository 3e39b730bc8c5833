// A CancelRequest on a connection of its own, under the same policy of encryption as the connection
// it is about (PG 2020-25694: with less, its key would be shown to whoever listens).
//
// Owner: an attempt to cancel. Thread: its worker's. Sans-io.
// Tests: tests/protocol/server_cancel_test.cpp.
// Source: PostgreSQL documentation, "Canceling Requests in Progress" (protocol-flow).
#pragma once

#include "protocol/client_login.hpp"
#include "protocol/message.hpp"
#include "protocol/server_encryption.hpp"
#include "protocol/startup.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace pgweir::protocol {

/// Send this, through TLS if that has begun, then wait for the server to close: it has done by then
/// what it will do. Nothing that it says is of interest.
struct cancel_send {
    std::string data;
};

using server_cancel_action =
    std::variant<login_read, login_write, login_start_tls, cancel_send, server_refused>;

class server_cancel {
public:
    /// `key`: what the server's BackendKeyData said. `mode`: how the connection that is to be
    /// cancelled came to be: a server that was reached through TLS with `allow` or `prefer` is
    /// asked with `require`.
    server_cancel(cancel_key key, tls_mode mode, bool direct_tls)
        : key_(std::move(key))
        , encryption_(mode, direct_tls) {}

    /// As those of server_login.
    [[nodiscard]] server_cancel_action start() { return next(encryption_.start()); }
    [[nodiscard]] server_cancel_action resume(bytes& in) { return next(encryption_.resume(in)); }
    [[nodiscard]] server_cancel_action secured(tls_facts facts) {
        return next(encryption_.secured(std::move(facts)));
    }
    [[nodiscard]] server_cancel_action handshake_failed(const tls_failure& failure) {
        return encryption_.handshake_failed(failure);
    }

private:
    [[nodiscard]] server_cancel_action next(encryption_action action) const;

    cancel_key key_;
    server_encryption encryption_;
};

} // namespace pgweir::protocol
