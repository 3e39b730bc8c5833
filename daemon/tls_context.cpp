#include "daemon/tls_context.hpp"

#include "daemon/secret_files.hpp"
#include "protocol/scram.hpp"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <string_view>

namespace pgweir::daemon {

namespace {

constexpr std::string_view alpn_list{"\x0apostgresql", 11};

template <typename T, auto Free>
struct freed {
    void operator()(T* what) const { Free(what); }
};
template <typename T, auto Free>
using owned = std::unique_ptr<T, freed<T, Free>>;

void free_infos(STACK_OF(X509_INFO) * all) { sk_X509_INFO_pop_free(all, X509_INFO_free); }

std::string subject_of(X509* certificate) {
    unsigned char* bytes = nullptr;
    const int length = i2d_X509_NAME(X509_get_subject_name(certificate), &bytes);
    std::string subject(reinterpret_cast<const char*>(bytes),
                        static_cast<std::size_t>(std::max(length, 0)));
    OPENSSL_free(bytes);
    return subject;
}

/// What OpenSSL has to say of the last thing that failed. Leaves its queue empty.
std::string reason() {
    std::array<char, 256> text{};
    const auto code = ERR_get_error();
    ERR_error_string_n(code, text.data(), text.size());
    const char* const words = ERR_reason_error_string(code);
    ERR_clear_error();
    return words != nullptr ? words : text.data();
}

constexpr const char* bad_certificate = "the certificate cannot be used";
constexpr const char* bad_key = "the private key cannot be used";
constexpr const char* bad_authorities = "the authorities cannot be used";
constexpr const char* bad_lists = "the revocation lists cannot be used";

[[noreturn]] void fail(const std::string& what, const std::string& path) {
    throw tls_error(path + ": " + what + ": " + reason());
}

/// For key exchange. What a client may choose is what PostgreSQL offers its clients and one that is
/// cheaper: a hello that a stranger has recorded once costs 0.4 ms in these, 2 ms in P-384, and in
/// ffdhe8192, which OpenSSL would offer as well, 115 ms. A server is chosen by us, and may have
/// been given others.
void choose_groups(SSL_CTX* context, bool accepts) {
    constexpr std::array for_clients{"X25519:P-256", "P-256"};
    constexpr std::array for_servers{"X25519:P-256:P-384:P-521", "P-256:P-384:P-521"};
    for (const char* const groups : accepts ? for_clients : for_servers) {
        if (SSL_CTX_set1_groups_list(context, groups) == 1) {
            return;
        }
        ERR_clear_error(); // OpenSSL may be configured to have no X25519
    }
    throw tls_error("TLS is not available: no group for key exchange");
}

/// Whoever offers protocols at all must offer PostgreSQL's.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_length,
                    const unsigned char* offered, unsigned int offered_length, void*) {
    unsigned char* found = nullptr;
    const auto result = SSL_select_next_proto(
        &found, chosen_length, reinterpret_cast<const unsigned char*>(alpn_list.data()),
        static_cast<unsigned>(alpn_list.size()), offered, offered_length);
    *chosen = found;
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/// What the system has in a directory of one file for each is read when it is needed, and not in
/// this.
std::string identity_of(X509_STORE* store) {
    std::string all;
    const auto* const objects = X509_STORE_get0_objects(store);
    for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
        auto* const each = sk_X509_OBJECT_value(objects, i);
        const auto* const one = X509_OBJECT_get0_X509(each);
        const auto* const list = X509_OBJECT_get0_X509_CRL(each);
        std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
        unsigned int length = 0;
        if ((one != nullptr && X509_digest(one, EVP_sha256(), digest.data(), &length) == 1) ||
            (list != nullptr && X509_CRL_digest(list, EVP_sha256(), digest.data(), &length) == 1)) {
            all.append(reinterpret_cast<const char*>(digest.data()), length);
        }
    }
    return protocol::sha256(all);
}

/// A bundle of every authority there is has less than one.
constexpr std::size_t largest_pem_bytes = 8 * 1'048'576;

/// A PEM file's bytes, read once and with care: a pipe or a device would hold up whoever reads it.
/// They may be a private key, and are wiped.
class pem_file {
public:
    /// `otherwise`: what its being unreadable means.
    pem_file(const std::string& path, const std::string& otherwise)
        : pem_file(opened_file(path), path, otherwise) {}
    pem_file(const opened_file& file, const std::string& path, const std::string& otherwise) {
        auto read = file.read(largest_pem_bytes);
        if (!read) {
            throw tls_error(path + ": " + otherwise + ": " +
                            (file.error() != 0 ? std::strerror(file.error())
                                               : "it is no regular file, or is larger than 8 MiB"));
        }
        bytes_ = std::move(*read);
        source_.reset(BIO_new_mem_buf(bytes_.data(), static_cast<int>(bytes_.size())));
    }
    ~pem_file() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }
    pem_file(const pem_file&) = delete;
    pem_file& operator=(const pem_file&) = delete;

    [[nodiscard]] std::string hash() const { return protocol::sha256(bytes_); }
    /// Each reads on from where the last one has ended.
    [[nodiscard]] BIO* source() { return source_.get(); }

private:
    std::string bytes_;
    owned<BIO, BIO_free_all> source_;
};

/// A private key, which is nobody else's to read.
pem_file read_key(const std::string& path) {
    const opened_file file(path);
    switch (file.judge()) {
    case secret_file::good:
    case secret_file::unreadable:
        break; // pem_file tells the system's reason
    case secret_file::none:
        throw tls_error(path + ": the private key cannot be read");
    case secret_file::of_another_user:
        throw tls_error(path + ": the private key must belong to root (mode 0640 or less) or to "
                               "pgweir's user (0600 or less)");
    case secret_file::open_to_others:
        throw tls_error(path + ": others may read the private key; chmod it to 0600, or to 0640 if "
                               "it is root's");
    }
    return {file, path, bad_key};
}

/// What is encrypted stays so: nobody is there to give a passphrase.
int no_passphrase(char*, int, int, void*) { return 0; }

/// Was the last object of a file not read because there are no more? Otherwise OpenSSL can say why.
bool has_come_to_the_end() {
    const auto why = ERR_peek_last_error();
    if (ERR_GET_LIB(why) != ERR_LIB_PEM || ERR_GET_REASON(why) != PEM_R_NO_START_LINE) {
        return false;
    }
    ERR_clear_error();
    return true;
}

/// … and whatever follows it, its chain, as SSL_CTX_use_certificate_chain_file() does it.
bool use_certificates(SSL_CTX* context, BIO* from) {
    const owned<X509, X509_free> own(PEM_read_bio_X509_AUX(from, nullptr, no_passphrase, nullptr));
    if (own == nullptr || SSL_CTX_use_certificate(context, own.get()) != 1) {
        return false;
    }
    while (owned<X509, X509_free> next{PEM_read_bio_X509(from, nullptr, no_passphrase, nullptr)}) {
        if (SSL_CTX_add0_chain_cert(context, next.get()) != 1) {
            return false;
        }
        (void)next.release(); // the context's now
    }
    return has_come_to_the_end();
}

bool use_private_key(SSL_CTX* context, BIO* from) {
    const owned<EVP_PKEY, EVP_PKEY_free> key(
        PEM_read_bio_PrivateKey(from, nullptr, no_passphrase, nullptr));
    return key != nullptr && SSL_CTX_use_PrivateKey(context, key.get()) == 1;
}

/// Certificates and revocation lists, as X509_STORE_load_file() does it; with `named`, it offers
/// clients the certificates' names, each once.
bool trust(X509_STORE* store, BIO* from, SSL_CTX* named) {
    const owned<STACK_OF(X509_INFO), free_infos> all(
        PEM_X509_INFO_read_bio(from, nullptr, no_passphrase, nullptr));
    if (all == nullptr) {
        return false;
    }
    std::set<std::string> names;
    bool any = false;
    for (int i = 0; i < sk_X509_INFO_num(all.get()); ++i) {
        const auto* const each = sk_X509_INFO_value(all.get(), i);
        if (each->crl != nullptr) {
            any = true;
            if (X509_STORE_add_crl(store, each->crl) != 1) {
                return false;
            }
        }
        if (each->x509 == nullptr) {
            continue;
        }
        any = true;
        if (X509_STORE_add_cert(store, each->x509) != 1) {
            return false;
        }
        if (named != nullptr && names.insert(subject_of(each->x509)).second &&
            SSL_CTX_add_client_CA(named, each->x509) != 1) {
            return false;
        }
    }
    if (!any) {
        ERR_raise(ERR_LIB_X509, X509_R_NO_CERTIFICATE_OR_CRL_FOUND);
    }
    return any;
}

/// From now on nobody is believed whom one of these lists names, nor whose authority has none in
/// the file, as with PostgreSQL and libpq.
void distrust(X509_STORE* store, const std::string& path) {
    pem_file file(path, bad_lists);
    bool any = false;
    while (owned<X509_CRL, X509_CRL_free> list{
        PEM_read_bio_X509_CRL(file.source(), nullptr, no_passphrase, nullptr)}) {
        any = true;
        if (X509_STORE_add_crl(store, list.get()) != 1) {
            fail(bad_lists, path);
        }
    }
    if (!any || !has_come_to_the_end()) {
        fail(bad_lists, path);
    }
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

} // namespace

const tls_authorities::source& tls_authorities::from(const std::string& path,
                                                     const std::string& revoked) {
    const auto known = read_.find({path, revoked});
    if (known != read_.end()) {
        return known->second;
    }
    const std::shared_ptr<X509_STORE> store(X509_STORE_new(), X509_STORE_free);
    if (store == nullptr) {
        throw tls_error("TLS is not available: " + reason());
    }
    if (path.empty()) {
        X509_STORE_set_default_paths(store.get());
        ERR_clear_error(); // a system that has none knows nobody
    } else if (pem_file file(path, bad_authorities); !trust(store.get(), file.source(), nullptr)) {
        fail(bad_authorities, path);
    }
    if (!revoked.empty()) {
        distrust(store.get(), revoked);
    }
    auto identity = identity_of(store.get()) + (revoked.empty() ? "" : "with lists");
    return read_.emplace(std::pair(path, revoked), source{store, std::move(identity)})
        .first->second;
}

tls_context::tls_context(bool accepts)
    : context_(SSL_CTX_new(accepts ? TLS_server_method() : TLS_client_method()))
    , accepts_(accepts) {
    if (context_ == nullptr) {
        throw tls_error("TLS is not available: " + reason());
    }
    // An idle connection holds no buffers; one read takes whatever has come.
    SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context_, 1);
    // Nothing is resumed: who one is has been proven once, to one side.
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context_, 0);
    SSL_CTX_set_options(context_, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                      SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                      SSL_OP_SINGLE_ECDH_USE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    choose_groups(context_, accepts_);
}

tls_context::~tls_context() { SSL_CTX_free(context_); }

void tls_context::restrict(tls_version least) {
    SSL_CTX_set_min_proto_version(context_,
                                  least == tls_version::tls_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
}

/// What it is identified by.
std::string tls_context::use_key(const std::string& certificate, const std::string& key) {
    pem_file certificates(certificate, bad_certificate);
    if (!use_certificates(context_, certificates.source())) {
        fail(bad_certificate, certificate);
    }
    pem_file secret = read_key(key);
    if (!use_private_key(context_, secret.source())) {
        fail(bad_key, key);
    }
    if (SSL_CTX_check_private_key(context_) != 1) {
        fail("the private key is not that of the certificate", key);
    }
    return certificates.hash() + secret.hash();
}

std::shared_ptr<const tls_context> tls_context::make(const accepting_tls& from) {
    const std::shared_ptr<tls_context> made(new tls_context(true));
    auto* const context = made->context_;
    made->restrict(from.least);
    std::string identity{'a', static_cast<char>(from.clients), static_cast<char>(from.least)};
    identity += made->use_key(from.certificate, from.key);
    made->end_point_hash_ = end_point_hash_of(SSL_CTX_get0_certificate(context));
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
    if (from.clients != accepting_tls::client_certificate::none) {
        pem_file authorities(from.authorities, bad_authorities);
        if (!trust(SSL_CTX_get_cert_store(context), authorities.source(), context)) {
            fail(bad_authorities, from.authorities);
        }
        if (!from.revoked.empty()) {
            distrust(SSL_CTX_get_cert_store(context), from.revoked);
        }
        identity += identity_of(SSL_CTX_get_cert_store(context)) +
                    (from.revoked.empty() ? "" : "with lists");
        const bool required = from.clients == accepting_tls::client_certificate::required;
        SSL_CTX_set_verify(context,
                           SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE |
                               (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                           nullptr);
    }
    made->identity_ = protocol::sha256(identity);
    return made;
}

std::shared_ptr<const tls_context> tls_context::make(const connecting_tls& from,
                                                     tls_authorities& authorities) {
    const std::shared_ptr<tls_context> made(new tls_context(false));
    auto* const context = made->context_;
    made->restrict(from.least);
    made->verifies_name_ = from.what == connecting_tls::verify::authority_and_name;
    std::string identity{'c', static_cast<char>(from.what), static_cast<char>(from.least)};
    if (from.what != connecting_tls::verify::nothing) {
        const auto& trusted = authorities.from(from.authorities, from.revoked);
        SSL_CTX_set1_cert_store(context, trusted.store.get());
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
        identity += trusted.identity;
    }
    if (!from.certificate.empty()) {
        identity += made->use_key(from.certificate, from.key);
    }
    made->identity_ = protocol::sha256(identity);
    if (SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(alpn_list.data()),
                                static_cast<unsigned>(alpn_list.size())) != 0) {
        throw tls_error("TLS is not available: " + reason());
    }
    return made;
}

std::string end_point_hash_of(const x509_st* certificate) {
    int hash = NID_undef;
    if (certificate == nullptr || X509_get_signature_info(const_cast<X509*>(certificate), &hash,
                                                          nullptr, nullptr, nullptr) != 1) {
        ERR_clear_error();
        return {};
    }
    const auto* const method =
        hash == NID_md5 || hash == NID_sha1 ? EVP_sha256() : EVP_get_digestbyname(OBJ_nid2sn(hash));
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int length = 0;
    if (method == nullptr || X509_digest(certificate, method, digest.data(), &length) != 1) {
        ERR_clear_error();
        return {};
    }
    return {reinterpret_cast<const char*>(digest.data()), length};
}

} // namespace pgweir::daemon
