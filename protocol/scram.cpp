#include "protocol/scram.hpp"
#include "protocol/saslprep.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <charconv>
#include <limits>
#include <utility>

namespace pgweir::protocol {

namespace {

constexpr std::string_view verifier_prefix = "SCRAM-SHA-256$";
constexpr std::string_view md5_prefix = "md5";
constexpr std::size_t md5_hex_bytes = 32;
constexpr std::size_t max_salt_bytes = 1024; // PostgreSQL makes 16
constexpr std::string_view base64_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const unsigned char* octets(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* octets(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

/// Empty when the library refuses (MD5 in FIPS mode): no digest of ours is ever empty, so a
/// comparison with it fails.
std::string digest(const EVP_MD* kind, std::string_view data) {
    std::string out(static_cast<std::size_t>(EVP_MD_get_size(kind)), '\0');
    if (EVP_Digest(data.data(), data.size(), octets(out), nullptr, kind, nullptr) != 1) {
        return {};
    }
    return out;
}

std::string md5_hex(std::string_view data) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    for (const char c : digest(EVP_md5(), data)) {
        const auto octet = static_cast<unsigned char>(c);
        out += digits[octet >> 4U];
        out += digits[octet & 15U];
    }
    return out;
}

/// -1 for a character that is not of the alphabet.
int base64_value(char c) {
    const auto at = base64_alphabet.find(c);
    return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

/// The text up to `separator`, which is taken off `text` too. Nothing if there is none.
std::optional<std::string_view> take_until(std::string_view& text, char separator) {
    const auto at = text.find(separator);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const auto part = text.substr(0, at);
    text.remove_prefix(at + 1);
    return part;
}

} // namespace

std::optional<std::uint32_t> parse_scram_iterations(std::string_view text) {
    std::uint32_t value = 0;
    const auto* const end = text.data() + text.size();
    const auto [stopped, failure] = std::from_chars(text.data(), end, value);
    // OpenSSL takes an int.
    if (failure != std::errc{} || stopped != end || value == 0 ||
        value > static_cast<std::uint32_t>(std::numeric_limits<int>::max())) {
        return std::nullopt;
    }
    return value;
}

std::optional<scram_verifier> parse_scram_verifier(std::string_view text) {
    if (!text.starts_with(verifier_prefix)) {
        return std::nullopt;
    }
    text.remove_prefix(verifier_prefix.size());
    const auto iterations_text = take_until(text, ':');
    const auto salt_text = iterations_text ? take_until(text, '$') : std::nullopt;
    const auto stored_text = salt_text ? take_until(text, ':') : std::nullopt;
    if (!stored_text) {
        return std::nullopt;
    }
    const auto iterations = parse_scram_iterations(*iterations_text);
    auto salt = base64_decode(*salt_text);
    auto stored_key = base64_decode(*stored_text);
    auto server_key = base64_decode(text);
    if (!iterations || !salt || salt->empty() || salt->size() > max_salt_bytes || !stored_key ||
        stored_key->size() != scram_key_bytes || !server_key ||
        server_key->size() != scram_key_bytes) {
        return std::nullopt;
    }
    return scram_verifier{*iterations, std::move(*salt), std::move(*stored_key),
                          std::move(*server_key)};
}

std::optional<scram_shape> shape_of_verifier(std::string_view stored) {
    const auto verifier = parse_scram_verifier(stored);
    if (!verifier || verifier->iterations > max_scram_iterations) {
        return std::nullopt;
    }
    return scram_shape{verifier->iterations, static_cast<std::uint32_t>(verifier->salt.size())};
}

std::string format_scram_verifier(const scram_verifier& verifier) {
    return std::string(verifier_prefix) + std::to_string(verifier.iterations) + ":" +
           base64_encode(verifier.salt) + "$" + base64_encode(verifier.stored_key) + ":" +
           base64_encode(verifier.server_key);
}

bool begins_like_verifier(std::string_view stored) { return stored.starts_with(verifier_prefix); }

credential_form form_of(std::string_view stored) {
    if (stored.empty()) {
        return credential_form::none;
    }
    if (begins_like_verifier(stored)) {
        return parse_scram_verifier(stored) ? credential_form::scram : credential_form::unusable;
    }
    if (stored.size() == md5_prefix.size() + md5_hex_bytes && stored.starts_with(md5_prefix) &&
        stored.find_first_not_of("0123456789abcdef", md5_prefix.size()) == std::string_view::npos) {
        return credential_form::md5;
    }
    return credential_form::plaintext;
}

secret derive_salted_password(const secret& password, std::string_view salt,
                              std::uint32_t iterations) {
    std::string out(scram_key_bytes, '\0');
    const auto prepared = saslprep(password);
    const auto text = prepared.reveal();
    if (iterations == 0 ||
        iterations > static_cast<std::uint32_t>(std::numeric_limits<int>::max()) ||
        PKCS5_PBKDF2_HMAC(text.data(), static_cast<int>(text.size()), octets(salt),
                          static_cast<int>(salt.size()), static_cast<int>(iterations), EVP_sha256(),
                          static_cast<int>(out.size()), octets(out)) != 1) {
        return {};
    }
    return secret(std::move(out));
}

scram_verifier make_verifier(const secret& salted_password, std::string_view salt,
                             std::uint32_t iterations) {
    std::string client_key = hmac_sha256(salted_password.reveal(), "Client Key");
    scram_verifier verifier{iterations, std::string(salt), sha256(client_key),
                            hmac_sha256(salted_password.reveal(), "Server Key")};
    OPENSSL_cleanse(client_key.data(), client_key.size());
    return verifier;
}

scram_keys make_scram_keys(const secret& salted_password, std::string_view salt,
                           std::uint32_t iterations) {
    return {secret(hmac_sha256(salted_password.reveal(), "Client Key")),
            secret(hmac_sha256(salted_password.reveal(), "Server Key")), std::string(salt),
            iterations};
}

std::string md5_stored_form(std::string_view password, std::string_view user) {
    std::string text(password);
    text += user;
    auto hash = md5_hex(text);
    OPENSSL_cleanse(text.data(), text.size());
    return hash.empty() ? hash : std::string(md5_prefix) + hash;
}

std::string md5_response(std::string_view stored, std::string_view user, std::string_view salt4) {
    auto form = form_of(stored) == credential_form::md5 ? std::string(stored)
                                                        : md5_stored_form(stored, user);
    if (form.empty()) {
        return {};
    }
    form.erase(0, md5_prefix.size());
    form += salt4;
    const auto hash = md5_hex(form);
    OPENSSL_cleanse(form.data(), form.size());
    return hash.empty() ? hash : std::string(md5_prefix) + hash;
}

std::string hmac_sha256(std::string_view key, std::string_view data) {
    std::string out(scram_key_bytes, '\0');
    unsigned int written = 0;
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), octets(data), data.size(),
             octets(out), &written) == nullptr) {
        return {};
    }
    return out;
}

std::string sha256(std::string_view data) { return digest(EVP_sha256(), data); }

std::string exclusive_or(std::string_view a, std::string_view b) {
    std::string out(a.substr(0, b.size()));
    for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = static_cast<char>(static_cast<unsigned char>(out[i]) ^
                                   static_cast<unsigned char>(b[i]));
    }
    return out;
}

std::string base64_encode(std::string_view raw) {
    std::string out;
    out.reserve((raw.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < raw.size(); i += 3) {
        const auto group = raw.substr(i, 3);
        std::uint32_t bits = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            bits = bits << 8U | (k < group.size() ? static_cast<unsigned char>(group[k]) : 0U);
        }
        for (std::size_t k = 0; k < 4; ++k) {
            out += k <= group.size() ? base64_alphabet[bits >> (18 - 6 * k) & 63U] : '=';
        }
    }
    return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
    if (text.size() % 4 != 0) {
        return std::nullopt;
    }
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
    text.remove_suffix(padding);
    std::string out;
    out.reserve(text.size() * 3 / 4);
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const char c : text) {
        const int value = base64_value(c);
        if (value < 0) {
            return std::nullopt;
        }
        bits = bits << 6U | static_cast<std::uint32_t>(value);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out += static_cast<char>(bits >> held & 0xffU);
        }
    }
    // Bits that stand for nothing must be zero: one text per value.
    if ((bits & ((1U << held) - 1)) != 0) {
        return std::nullopt;
    }
    return out;
}

} // namespace pgweir::protocol
