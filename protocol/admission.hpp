// On what terms a client may log in: what pg_hba.conf and the list of users come to for this one
// client. Decided by whoever knows both; carried out by client_login.
// Tests: tests/protocol/admission_test.cpp (what becomes of it), client_login_test.cpp.
// Source: PostgreSQL documentation, "The pg_hba.conf File"; hba.c and auth.c for the words.
#pragma once

#include "protocol/error_response.hpp"
#include "protocol/scram.hpp"
#include "protocol/secret.hpp"
#include "protocol/startup.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgweir::protocol {

enum class auth_method : std::uint8_t { trust, password, md5, scram_sha_256, reject, cert, peer };

/// What is stored for a user: a plaintext password, "md5" + 32 hex digits, or
/// "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey". Told apart by their form.
struct stored_credential {
    secret value;
};

/// Why somebody may not even try.
struct admission_refusal {
    error code = error::authorization_refused;
    error_words words;
    std::string log_reason; // for the log: never shown to the peer
};

struct admission {
    auth_method method = auth_method::scram_sha_256;
    /// Nothing: no such user. Such a client is led through the same steps as a known one and never
    /// gets in, by no method. A known user without a password has an empty one here.
    std::optional<stored_credential> credential;
    /// Method md5, which asks for SCRAM where a verifier is stored: so that nobody is recognised by
    /// what is asked, those who have no password to check are asked for what most others are.
    bool mock_scram = false;
    /// What a salt and a count look like that are shown to those who have no verifier: as most
    /// verifiers do, so that these tell nobody's from a stranger's.
    scram_shape mock_shape;
    /// clientcert=verify-ca, whatever the method.
    bool require_client_certificate = false;
    /// clientcert=verify-full (the method `cert` implies both).
    bool certificate_names_user = false;
    /// May the certificate's common name be the user who logs in? As the map says where there is
    /// one: then a name that is the user's own does not count by itself.
    bool certificate_is_user = false;
    /// The same of the operating system's user at the other end of the Unix socket (peer).
    bool peer_is_user = false;
    /// Said instead of anything else.
    std::optional<admission_refusal> refusal;
};

/// Who wants to log in, as PostgreSQL's refusals name it.
struct admission_subject {
    std::string_view host; // the address; "[local]" for a Unix socket
    std::string_view user;
    std::string_view database;
    replication_kind replication = replication_kind::none;
    bool tls = false;
};

/// No line of pg_hba.conf is about this client.
[[nodiscard]] admission_refusal no_entry_for(const admission_subject& subject);
/// A line that says `reject` is.
[[nodiscard]] admission_refusal rejected_by_entry(const admission_subject& subject);

} // namespace pgweir::protocol
