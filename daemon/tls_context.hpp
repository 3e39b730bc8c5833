// Certificates, keys and rules of TLS, for one side of connections: those that clients open to us,
// or those that we open to servers. Read from files once, immutable then: a reload makes a new one,
// and connections that have been secured keep theirs.
//
// Owner: shared. Thread: any. Made off the workers: reading files may block.
// Tests: tests/daemon/tls_stream_test.cpp, integration/tls_test.py.
// Source: PostgreSQL documentation, "Secure TCP/IP Connections with SSL", "SSL Support" (libpq);
// RFC 5929 (tls-server-end-point), RFC 7301 (ALPN).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

struct ssl_ctx_st;
struct x509_st;
struct x509_store_st;

namespace pgweir::daemon {

/// What was wrong with which file, in one line.
struct tls_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

enum class tls_version : std::uint8_t { tls_1_2, tls_1_3 };

/// Connections that clients open.
struct accepting_tls {
    /// Of clients' certificates: is one asked for, and what if there is none or a bad one?
    enum class client_certificate : std::uint8_t { none, optional, required };
    std::string certificate; // paths of PEM files; the certificate may be followed by its chain
    std::string key;
    std::string authorities; // who signs clients' certificates
    std::string revoked;     // which of these have been revoked; empty: nobody asks
    client_certificate clients = client_certificate::none;
    tls_version least = tls_version::tls_1_2;
};

/// Connections that we open.
struct connecting_tls {
    enum class verify : std::uint8_t { nothing, authority, authority_and_name };
    verify what = verify::nothing;
    std::string authorities; // path; empty: those of the system
    std::string revoked;     // as above
    std::string certificate; // ours, and its key: empty, we show none
    std::string key;
    tls_version least = tls_version::tls_1_2;
};

/// Who signs servers' certificates. Each place is read once, and shared by all contexts that are
/// made with this: the system's authorities are some hundred certificates, milliseconds and a
/// megabyte.
class tls_authorities {
public:
    struct source {
        std::shared_ptr<x509_store_st> store;
        std::string identity; // the same for the same certificates
    };
    /// A PEM file's; of an empty path, the system's. `revoked`: the path of their lists, or empty.
    /// Throws tls_error.
    [[nodiscard]] const source& from(const std::string& path, const std::string& revoked);

private:
    std::map<std::pair<std::string, std::string>, source> read_; // by both paths
};

class tls_context {
public:
    /// All throw tls_error.
    [[nodiscard]] static std::shared_ptr<const tls_context> make(const accepting_tls& from);
    [[nodiscard]] static std::shared_ptr<const tls_context> make(const connecting_tls& from,
                                                                 tls_authorities& authorities);
    [[nodiscard]] static std::shared_ptr<const tls_context> make(const connecting_tls& from) {
        tls_authorities authorities;
        return make(from, authorities);
    }
    ~tls_context();
    tls_context(const tls_context&) = delete;
    tls_context& operator=(const tls_context&) = delete;

    [[nodiscard]] ssl_ctx_st* get() const { return context_; }
    [[nodiscard]] bool accepts() const { return accepts_; }
    [[nodiscard]] bool verifies_name() const { return verifies_name_; }
    /// Of our own certificate (accepting); empty where it has none that both sides would agree on.
    [[nodiscard]] const std::string& end_point_hash() const { return end_point_hash_; }
    /// The same for two that were made from the same rules and the same bytes.
    [[nodiscard]] const std::string& identity() const { return identity_; }

private:
    explicit tls_context(bool accepts);
    void restrict(tls_version least);
    [[nodiscard]] std::string use_key(const std::string& certificate, const std::string& key);

    ssl_ctx_st* context_;
    bool accepts_;
    bool verifies_name_ = false;
    std::string end_point_hash_, identity_;
};

/// RFC 5929, section 4.1: the certificate's hash by the algorithm that it is signed with, SHA-256
/// for MD5 and SHA-1. Empty where that names no hash (Ed25519).
[[nodiscard]] std::string end_point_hash_of(const x509_st* certificate);

} // namespace pgweir::daemon
