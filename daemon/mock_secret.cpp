#include "daemon/mock_secret.hpp"

#include "protocol/scram.hpp"

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

namespace pgweir::daemon {

namespace {

constexpr std::string_view label = "pgweir: salts of users that do not exist";

} // namespace

std::string mock_secret_of(const config::configuration& from, const tls_context* clients,
                           const std::string& chance) {
    if (!from.mock_secret.empty()) {
        return std::string(from.mock_secret.reveal());
    }
    const auto* const key = clients == nullptr ? nullptr : SSL_CTX_get0_privatekey(clients->get());
    unsigned char* der = nullptr;
    const auto size = key == nullptr ? 0 : i2d_PrivateKey(key, &der);
    if (size <= 0) {
        return chance;
    }
    auto made = protocol::hmac_sha256(
        label, {reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
    OPENSSL_clear_free(der, static_cast<std::size_t>(size));
    return made;
}

} // namespace pgweir::daemon
