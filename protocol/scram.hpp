// SCRAM-SHA-256: the mathematics, the stored form, and nothing else.
// Source: RFC 5802, RFC 7677; PostgreSQL documentation, "SCRAM-SHA-256 Authentication".
// The exchange built on it is in scram_exchange.hpp.
// Tests: tests/protocol/scram_test.cpp (RFC 7677's own example among them).
#pragma once

#include "protocol/secret.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgweir::protocol {

inline constexpr std::uint32_t default_scram_iterations = 4096;

/// More than this many are not computed for anybody who asks for them: about a second.
inline constexpr std::uint32_t max_scram_iterations = 1'000'000;
inline constexpr std::size_t scram_key_bytes = 32;

/// What a stored secret is, told by its form as PostgreSQL does it.
enum class credential_form : std::uint8_t {
    none, // empty: nobody can log in with it
    plaintext,
    md5,      // "md5" + 32 lower-case hex digits
    scram,    // a verifier
    unusable, // begins like a verifier and is none: never taken for a plaintext password
};
[[nodiscard]] credential_form form_of(std::string_view stored);
/// scram or unusable, without reading all of it.
[[nodiscard]] bool begins_like_verifier(std::string_view stored);

/// "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>", decoded.
struct scram_verifier {
    std::uint32_t iterations = default_scram_iterations;
    std::string salt;       // raw bytes
    std::string stored_key; // 32 bytes
    std::string server_key; // 32 bytes
};
/// What a verifier shows of itself to whoever asks, before any proof.
struct scram_shape {
    std::uint32_t iterations = default_scram_iterations;
    std::uint32_t salt_bytes = 16; // as PostgreSQL makes them
    auto operator<=>(const scram_shape&) const = default;
};
/// What logs in to a server that has the same verifier, with no password known. A client's proof
/// tells its ClientKey to whoever knows the verifier: this is where these come from.
struct scram_keys {
    secret client_key; // 32 bytes, as the next
    secret server_key;
    std::string salt; // raw bytes
    std::uint32_t iterations = default_scram_iterations;
};

[[nodiscard]] std::optional<scram_verifier> parse_scram_verifier(std::string_view text);
/// Nothing: it is no verifier, or one with more iterations than anybody gets in with.
[[nodiscard]] std::optional<scram_shape> shape_of_verifier(std::string_view stored);
[[nodiscard]] std::string format_scram_verifier(const scram_verifier& verifier);
/// A count of at least 1 that fits an int, in decimal digits and nothing else.
[[nodiscard]] std::optional<std::uint32_t> parse_scram_iterations(std::string_view text);

/// PBKDF2-HMAC-SHA-256, 32 bytes. Takes milliseconds: never on a worker. Empty when it fails.
/// Of what saslprep() makes of the password, as in PostgreSQL.
[[nodiscard]] secret derive_salted_password(const secret& password, std::string_view salt,
                                            std::uint32_t iterations);
/// Both keys from SaltedPassword.
[[nodiscard]] scram_verifier make_verifier(const secret& salted_password, std::string_view salt,
                                           std::uint32_t iterations);

[[nodiscard]] scram_keys make_scram_keys(const secret& salted_password, std::string_view salt,
                                         std::uint32_t iterations);

/// "md5" + 32 hex digits: how PostgreSQL stores a password with password_encryption = md5.
[[nodiscard]] std::string md5_stored_form(std::string_view password, std::string_view user);
/// The response to AuthenticationMD5Password for a plaintext or an "md5…" stored password.
[[nodiscard]] std::string md5_response(std::string_view stored, std::string_view user,
                                       std::string_view salt4);

[[nodiscard]] std::string hmac_sha256(std::string_view key, std::string_view data);
[[nodiscard]] std::string sha256(std::string_view data);
/// Byte by byte, as long as the shorter one.
[[nodiscard]] std::string exclusive_or(std::string_view a, std::string_view b);
[[nodiscard]] std::string base64_encode(std::string_view raw);
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);

} // namespace pgweir::protocol
