// What the two logins and whoever does TLS for them tell each other. TLS itself is the daemon's:
// protocol/ says when it begins, and judges what came of it.
// Tests: tests/protocol/client_login_tls_test.cpp, server_encryption_test.cpp.
// Source: PostgreSQL documentation, "SSL Session Encryption" (protocol-flow), "SSL Support"
// (libpq).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pgweir::protocol {

/// The name of PostgreSQL's protocol in ALPN (RFC 7301), on both sides.
inline constexpr std::string_view alpn_name = "postgresql";

/// What a finished handshake says, on either side of the connection.
struct tls_facts {
    std::string alpn;    // the protocol both have agreed on; empty: they did not speak of it
    bool direct = false; // no SSLRequest went before
    /// RFC 5929, tls-server-end-point: the hash of the server's certificate (ours towards clients,
    /// PostgreSQL's towards servers). Empty where its signature names no hash (Ed25519): then there
    /// is nothing to bind a login to.
    std::string end_point_hash;
    std::string client_subject; // of the client's certificate, as RFC 2253 writes it
    std::string client_common_name;
    bool client_verified = false; // it has shown one, and our CA vouches for it
};

/// Hand the connection to TLS now; nothing more of the buffer is used. Answer with secured() when
/// the handshake is done. From now on bytes go in and out through TLS.
struct login_start_tls {
    /// The client's first byte is a ClientHello's (it is still in the buffer), or we are to begin
    /// with one ourselves: ALPN is then required.
    bool direct = false;
};

/// libpq's sslmode. What `verify_…` verifies is seen to by whoever does TLS.
enum class tls_mode : std::uint8_t { disable, allow, prefer, require, verify_ca, verify_full };

/// libpq's channel_binding: whether a login must be, may be or is not bound to the TLS connection.
enum class channel_binding : std::uint8_t { disable, prefer, require };

/// Why there is no TLS: a handshake that has failed.
struct tls_failure {
    std::string_view words; // to be shown; no secret
    bool lost = false; // the connection has broken, or the peer has just gone: nobody has refused
};

} // namespace pgweir::protocol
