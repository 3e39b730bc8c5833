// SCRAM-SHA-256: the mathematics, the stored form, and nothing else.
// Source: RFC 5802, RFC 7677; PostgreSQL documentation, "SCRAM-SHA-256 Authentication".
// Tests: tests/protocol/scram_test.cpp (RFC 7677's own example among them).
#pragma once

#include "protocol/secret.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgweir::protocol {

inline constexpr std::uint32_t default_scram_iterations = 4096;

/// "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>", decoded.
struct scram_verifier {
    std::uint32_t iterations = default_scram_iterations;
    std::string salt;       // raw bytes
    std::string stored_key; // 32 bytes
    std::string server_key; // 32 bytes
};
[[nodiscard]] std::optional<scram_verifier> parse_scram_verifier(std::string_view text);
[[nodiscard]] std::string format_scram_verifier(const scram_verifier& verifier);

/// PBKDF2-HMAC-SHA-256, 32 bytes. Takes milliseconds: never on a worker.
[[nodiscard]] secret derive_salted_password(const secret& password, std::string_view salt,
                                            std::uint32_t iterations);
/// Both keys from SaltedPassword.
[[nodiscard]] scram_verifier make_verifier(const secret& salted_password, std::string_view salt,
                                           std::uint32_t iterations);

/// The response to AuthenticationMD5Password for a plaintext or an "md5…" stored password.
[[nodiscard]] std::string md5_response(std::string_view stored, std::string_view user,
                                       std::string_view salt4);

[[nodiscard]] std::string hmac_sha256(std::string_view key, std::string_view data);
[[nodiscard]] std::string sha256(std::string_view data);
[[nodiscard]] std::string base64_encode(std::string_view raw);
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);

} // namespace pgweir::protocol
