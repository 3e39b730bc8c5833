#include "protocol/scram_exchange.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::protocol {

namespace {

using why = scram_failure::why;

scram_failure malformed(std::string_view text) { return {why::malformed, text}; }

constexpr std::string_view bound_flag = "p=tls-server-end-point";

/// Takes "x=value" off the front of a comma-separated list. Nothing when another attribute, or
/// none, is next. The end of the list is marked by `more` = false.
struct attribute_list {
    std::string_view rest;
    bool more = true;

    std::optional<std::string_view> take(char name) {
        if (!more || rest.size() < 2 || rest[0] != name || rest[1] != '=') {
            return std::nullopt;
        }
        return item().substr(2);
    }
    /// Whatever is next, with its name; an attribute has a letter for a name.
    std::optional<std::string_view> take_any() {
        const bool letter =
            more && rest.size() >= 2 && rest[1] == '=' &&
            ((rest[0] >= 'a' && rest[0] <= 'z') || (rest[0] >= 'A' && rest[0] <= 'Z'));
        return letter ? std::optional(item()) : std::nullopt;
    }

private:
    std::string_view item() {
        const auto comma = rest.find(',');
        const auto found = rest.substr(0, comma);
        more = comma != std::string_view::npos;
        rest.remove_prefix(more ? comma + 1 : rest.size());
        return found;
    }
};

/// "printable" of RFC 5802: what a nonce is made of.
bool is_nonce(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(),
                                        [](char c) { return c > ' ' && c < 127 && c != ','; });
}

} // namespace

// Server ---------------------------------------------------------------------------------------

/// Takes the flag and its comma off `message`. A client that says `y` has not been told what we
/// told it: somebody in between has struck out -PLUS.
std::optional<scram_failure> scram_server_exchange::read_binding_flag(std::string_view& message) {
    const auto comma = message.find(',');
    const auto flag = message.substr(0, comma);
    switch (message[0]) {
    case 'n':
    case 'y':
        if (bound_) {
            return malformed("The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does "
                             "not include channel binding data.");
        }
        if (message[0] == 'y' && offers_binding()) {
            return scram_failure{why::downgrade,
                                 "The client supports SCRAM channel binding but thinks the server "
                                 "does not.  However, this server does support channel binding."};
        }
        break;
    case 'p':
        if (!bound_) {
            return malformed("The client selected SCRAM-SHA-256 without channel binding, but the "
                             "SCRAM message includes channel binding data.");
        }
        if (flag != bound_flag) {
            return scram_failure{why::binding_type, "not tls-server-end-point"};
        }
        break;
    default:
        return malformed("Unexpected channel-binding flag.");
    }
    if (comma == std::string_view::npos || (!bound_ && comma != 1)) {
        return malformed("Comma expected.");
    }
    message.remove_prefix(comma + 1);
    return std::nullopt;
}

std::optional<scram_failure> scram_server_exchange::read_client_first(std::string_view message) {
    if (message.empty()) {
        return malformed("The message is empty.");
    }
    if (message.find('\0') != std::string_view::npos) {
        return malformed("Message length does not match input length.");
    }
    auto rest = message;
    if (auto failure = read_binding_flag(rest)) {
        return failure;
    }
    if (rest.starts_with('a')) {
        return scram_failure{why::unsupported,
                             "client uses authorization identity, but it is not supported"};
    }
    if (!rest.starts_with(',')) {
        return malformed("Unexpected attribute in client-first-message.");
    }
    rest.remove_prefix(1);
    const auto gs2_header = message.substr(0, message.size() - rest.size());
    channel_binding_ = base64_encode(std::string(gs2_header) + (bound_ ? end_point_hash_ : ""));
    client_first_bare_ = rest;
    attribute_list list{client_first_bare_};
    if (list.rest.starts_with('m')) {
        return scram_failure{why::unsupported, "client requires an unsupported SCRAM extension"};
    }
    // The name is ignored, as PostgreSQL does: who logs in was settled by the startup message.
    if (!list.take('n')) {
        return malformed("Attribute \"n\" expected.");
    }
    const auto client_nonce = list.take('r');
    if (!client_nonce) {
        return malformed("Attribute \"r\" expected.");
    }
    if (!is_nonce(*client_nonce)) {
        return malformed("Non-printable characters in SCRAM nonce.");
    }
    while (list.more) {
        if (!list.take_any()) {
            return malformed("Attribute expected.");
        }
    }
    nonce_.insert(0, *client_nonce);
    return std::nullopt;
}

std::string scram_server_exchange::server_first(std::string_view salt, std::uint32_t iterations) {
    server_first_ =
        "r=" + nonce_ + ",s=" + base64_encode(salt) + ",i=" + std::to_string(iterations);
    return server_first_;
}

std::optional<scram_failure> scram_server_exchange::read_client_final(std::string_view message) {
    if (message.find('\0') != std::string_view::npos) {
        return malformed("Message length does not match input length.");
    }
    attribute_list list{message};
    const auto binding = list.take('c');
    if (!binding) {
        return malformed("Attribute \"c\" expected.");
    }
    if (!equal_in_constant_time(*binding, channel_binding_)) {
        if (bound_) {
            return scram_failure{why::wrong_binding, "another end point"};
        }
        return malformed("unexpected SCRAM channel-binding attribute in client-final-message");
    }
    const auto nonce = list.take('r');
    if (!nonce) {
        return malformed("Attribute \"r\" expected.");
    }
    if (!equal_in_constant_time(*nonce, nonce_)) {
        return scram_failure{why::nonce, "Nonce does not match."};
    }
    // Extensions may stand before the proof, which is the last attribute.
    std::optional<std::string_view> proof;
    std::string_view before_proof;
    while (!proof) {
        before_proof = message.substr(0, message.size() - list.rest.size());
        proof = list.take('p');
        if (!proof && !list.take_any()) {
            return malformed("Attribute \"p\" expected.");
        }
    }
    if (list.more) {
        return malformed("Garbage found at the end of client-final-message.");
    }
    auto decoded = base64_decode(*proof);
    if (!decoded || decoded->size() != scram_key_bytes) {
        return malformed("Malformed proof in client-final-message.");
    }
    before_proof.remove_suffix(1); // the comma
    client_final_without_proof_ = before_proof;
    proof_ = std::move(*decoded);
    return std::nullopt;
}

secret scram_server_exchange::client_key(const scram_verifier& verifier) const {
    // With the proof, which everybody could read, the signature tells the key.
    const secret signature(hmac_sha256(verifier.stored_key, auth_message()));
    secret key(exclusive_or(proof_, signature.reveal()));
    const bool fits = key.reveal().size() == scram_key_bytes &&
                      equal_in_constant_time(sha256(key.reveal()), verifier.stored_key);
    return fits ? key : secret();
}

std::string scram_server_exchange::server_final(const scram_verifier& verifier) const {
    return "v=" + base64_encode(hmac_sha256(verifier.server_key, auth_message()));
}

std::string scram_server_exchange::auth_message() const {
    return client_first_bare_ + "," + server_first_ + "," + client_final_without_proof_;
}

// Client ---------------------------------------------------------------------------------------

scram_client_exchange::scram_client_exchange(std::string nonce, scram_binding binding)
    : nonce_(std::move(nonce))
    , client_first_bare_("n=,r=" + nonce_) {
    if (binding.is == scram_binding::flag::bound) {
        gs2_header_ = std::string(bound_flag) + ",,";
        end_point_hash_ = std::move(binding.end_point_hash);
    } else {
        gs2_header_ = std::string(1, static_cast<char>(binding.is)) + ",,";
    }
}

std::string scram_client_exchange::client_first() const { return gs2_header_ + client_first_bare_; }

std::optional<scram_failure> scram_client_exchange::read_server_first(std::string_view message) {
    attribute_list list{message};
    if (message.starts_with("m=")) {
        return scram_failure{why::unsupported, "the server requires a SCRAM extension"};
    }
    const auto nonce = list.take('r');
    if (!nonce || !is_nonce(*nonce)) {
        return malformed("malformed SCRAM message from the server (no nonce)");
    }
    // Longer than ours: a server that adds nothing could replay an old exchange.
    if (!nonce->starts_with(nonce_) || nonce->size() == nonce_.size()) {
        return scram_failure{why::nonce, "the server's SCRAM nonce does not extend ours"};
    }
    const auto salt_text = list.take('s');
    auto salt = salt_text ? base64_decode(*salt_text) : std::nullopt;
    if (!salt || salt->empty()) {
        return malformed("malformed SCRAM message from the server (no salt)");
    }
    const auto count_text = list.take('i');
    const auto count = count_text ? parse_scram_iterations(*count_text) : std::nullopt;
    if (!count) {
        return malformed("malformed SCRAM message from the server (iteration count)");
    }
    while (list.more) {
        if (!list.take_any()) {
            return malformed("malformed SCRAM message from the server (garbage at its end)");
        }
    }
    nonce_ = *nonce;
    salt_ = std::move(*salt);
    iterations_ = *count;
    server_first_ = message;
    return std::nullopt;
}

std::string scram_client_exchange::client_final(const secret& salted_password) {
    return client_final(make_scram_keys(salted_password, salt_, iterations_));
}

std::string scram_client_exchange::client_final(const scram_keys& keys) {
    const auto without_proof = "c=" + base64_encode(gs2_header_ + end_point_hash_) + ",r=" + nonce_;
    const auto auth_message = client_first_bare_ + "," + server_first_ + "," + without_proof;
    const auto client_key = keys.client_key.reveal();
    const secret signature(hmac_sha256(sha256(client_key), auth_message));
    const auto proof = exclusive_or(client_key, signature.reveal());
    server_signature_ = hmac_sha256(keys.server_key.reveal(), auth_message);
    return without_proof + ",p=" + base64_encode(proof);
}

std::optional<scram_failure>
scram_client_exchange::read_server_final(std::string_view message) const {
    if (message.starts_with("e=")) {
        return scram_failure{why::refused_by_peer, "the server refused our SCRAM proof"};
    }
    attribute_list list{message};
    const auto text = list.take('v');
    const auto given = text ? base64_decode(*text) : std::nullopt;
    if (!given) {
        return malformed("malformed SCRAM message from the server (no signature)");
    }
    if (server_signature_.empty() || !equal_in_constant_time(*given, server_signature_)) {
        return scram_failure{why::unproven,
                             "the server does not know the password: its SCRAM signature is wrong"};
    }
    return std::nullopt;
}

} // namespace pgweir::protocol
