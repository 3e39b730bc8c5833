#include "tests/daemon/certificates.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <sys/stat.h>

namespace pgweir::test {

namespace {

template <typename T>
T* good(T* made) {
    if (made == nullptr) {
        throw std::runtime_error("OpenSSL makes no certificate");
    }
    return made;
}

template <typename Write>
void write_file(const std::string& path, const Write& write) {
    auto* const file = good(std::fopen(path.c_str(), "w"));
    ::chmod(path.c_str(), 0600);
    write(file);
    std::fclose(file);
}

} // namespace

struct certificates::pair {
    EVP_PKEY* key;
    X509* certificate;

    pair(const std::string& common_name, const std::string& algorithm, const pair* signed_by)
        : key(good(algorithm == "EC" ? EVP_EC_gen("P-256")
                                     : EVP_PKEY_Q_keygen(nullptr, nullptr, algorithm.c_str())))
        , certificate(good(X509_new())) {
        static long serial = 0;
        X509_set_version(certificate, X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3'600);
        X509_gmtime_adj(X509_getm_notAfter(certificate), 3'600);
        X509_set_pubkey(certificate, key);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(common_name.data()),
                                   static_cast<int>(common_name.size()), -1, 0);
        const auto& by = signed_by != nullptr ? *signed_by : *this;
        X509_set_issuer_name(certificate, X509_get_subject_name(by.certificate));
        add(NID_basic_constraints, signed_by != nullptr ? "CA:FALSE" : "critical,CA:TRUE");
        if (signed_by != nullptr) {
            add(NID_subject_alt_name, "DNS:" + common_name);
        }
        const bool hashes = EVP_PKEY_get_id(by.key) != EVP_PKEY_ED25519;
        if (X509_sign(certificate, by.key, hashes ? EVP_sha256() : nullptr) == 0) {
            throw std::runtime_error("OpenSSL signs no certificate");
        }
    }
    ~pair() {
        X509_free(certificate);
        EVP_PKEY_free(key);
    }
    void add(int what, const std::string& value) const {
        auto* const extension = good(X509V3_EXT_conf_nid(nullptr, nullptr, what, value.c_str()));
        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
    }
    void write(const certificates& to, const std::string& name) const {
        write_file(to.path(name + ".pem"), [&](FILE* f) { PEM_write_X509(f, certificate); });
        write_file(to.path(name + ".key"), [&](FILE* f) {
            PEM_write_PrivateKey(f, key, nullptr, nullptr, 0, nullptr, nullptr);
        });
    }
};

certificates::certificates()
    : root_(new pair("the authority", "EC", nullptr)) {
    auto pattern = (std::filesystem::temp_directory_path() / "certificates-XXXXXX").string();
    directory_ = good(::mkdtemp(pattern.data()));
    root_->write(*this, "authority");
}

certificates::~certificates() {
    delete root_;
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
}

void certificates::make(const std::string& name, const std::string& common_name,
                        const std::string& algorithm) {
    // What an authority signs with Ed25519 names no hash; so that one is signed by itself.
    const pair made(common_name, algorithm, algorithm == "EC" ? root_ : nullptr);
    made.write(*this, name);
}

} // namespace pgweir::test
