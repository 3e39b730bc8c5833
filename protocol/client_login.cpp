// client_login: what is done with each event in each phase. See client_login.hpp; the way to the
// startup message is in client_login_start.cpp, the SCRAM phases are in client_login_scram.cpp.
#include "protocol/client_login_state.hpp"

#include <cstddef>
#include <utility>

namespace pgweir::protocol {

namespace {

constexpr std::uint32_t authentication_ok = 0;
constexpr std::uint32_t authentication_cleartext_password = 3;
constexpr std::uint32_t authentication_md5_password = 5;
constexpr std::uint32_t authentication_sasl_final = 12;

/// Bounds of what may be buffered for somebody who is not known yet; body bytes. A password in the
/// clear may be as long as PostgreSQL's; the answer to MD5 has 36 bytes, whatever the password.
constexpr std::size_t max_password_bytes = 65'536;
constexpr std::size_t max_md5_bytes = 1'024;

constexpr std::size_t md5_salt_offset = 28; // of options::random, clear of the SCRAM nonce
constexpr std::size_t md5_salt_bytes = 4;

} // namespace

// Ends -----------------------------------------------------------------------------------------

login_action client_login::state::refuse(error code, error_words words, std::string log_reason) {
    now = ended{};
    auto data = std::exchange(negotiation, {});
    append_error(data, code, words, true);
    return login_refuse{std::move(data), code, std::move(log_reason)};
}

login_action client_login::state::refuse_unproven(error code, error_words words,
                                                  std::string log_reason) {
    auto refused = refuse(code, std::move(words), std::move(log_reason));
    std::get<login_refuse>(refused).unproven = true;
    return refused;
}

login_action client_login::state::protocol_violation(std::string message, std::string_view detail) {
    auto reason = message;
    if (!detail.empty()) {
        reason.append(": ").append(detail);
    }
    return refuse(error::protocol_violation,
                  {.message = std::move(message), .detail = std::string(detail), .hint = {}},
                  std::move(reason));
}

login_action client_login::state::silence(error code, std::string log_reason) {
    now = ended{};
    return login_refuse{{}, code, std::move(log_reason)};
}

namespace {

/// In PostgreSQL's words, which name the method that was asked for, and nothing of what went wrong.
std::string_view words_of_failure(auth_method method) {
    switch (method) {
    case auth_method::cert:
        return "certificate authentication failed for user ";
    case auth_method::peer:
        return "Peer authentication failed for user ";
    case auth_method::trust:
        return "\"trust\" authentication failed for user ";
    case auth_method::password:
    case auth_method::md5:
    case auth_method::scram_sha_256:
    case auth_method::reject:
        break;
    }
    return "password authentication failed for user ";
}

} // namespace

login_action client_login::state::authentication_failed(std::string_view log_reason) {
    // The same words whatever went wrong: nobody learns which users exist.
    const bool by_password =
        method != auth_method::cert && method != auth_method::peer && method != auth_method::trust;
    return refuse_unproven(
        by_password ? error::authentication_failed : error::authorization_refused,
        {.message = std::string(words_of_failure(method)) + "\"" + printable(startup.user) + "\"",
         .detail = {},
         .hint = {}},
        std::string(log_reason));
}

login_action client_login::state::authenticated(secret password, std::string_view sasl_final,
                                                std::optional<scram_keys> keys) {
    if (!wrong_certificate.empty()) {
        return authentication_failed(wrong_certificate);
    }
    now = ended{};
    auto data = std::exchange(negotiation, {});
    if (!sasl_final.empty()) {
        append_authentication(data, authentication_sasl_final, sasl_final);
    }
    append_authentication(data, authentication_ok);
    return login_authenticated{startup, std::move(password), std::move(keys), std::move(data)};
}

login_action client_login::state::write(std::string data) {
    return login_write{std::exchange(negotiation, {}) + data};
}

// Terms ----------------------------------------------------------------------------------------

namespace {

bool is_asked_for_scram(const std::optional<stored_credential>& credential, bool mock_scram) {
    switch (credential ? form_of(credential->value.reveal()) : credential_form::none) {
    case credential_form::scram:
        return true;
    case credential_form::plaintext:
    case credential_form::md5:
        return false;
    case credential_form::none:
    case credential_form::unusable:
        break;
    }
    return mock_scram;
}

} // namespace

login_action client_login::state::on_terms(admission terms) {
    if (!std::holds_alternative<awaiting_user>(now)) {
        return out_of_turn();
    }
    method = terms.method;
    const bool by_certificate = method == auth_method::cert;
    if ((by_certificate || terms.require_client_certificate || terms.certificate_names_user) &&
        !(tls && tls->client_verified)) {
        return refuse_unproven(
            error::authorization_refused,
            {.message = "connection requires a valid client certificate", .detail = {}, .hint = {}},
            "no valid client certificate");
    }
    if (terms.refusal) { // behind the certificate, as with PostgreSQL
        return refuse(terms.refusal->code, std::move(terms.refusal->words),
                      std::move(terms.refusal->log_reason));
    }
    if ((by_certificate || terms.certificate_names_user) && !terms.certificate_is_user) {
        wrong_certificate = "the client's certificate stands for somebody else";
    }
    const auto& credential = terms.credential;
    switch (method) {
    case auth_method::trust:
    case auth_method::cert:
        return let_in_known(credential.has_value(), "unknown user");
    case auth_method::peer:
        return let_in_known(credential && terms.peer_is_user,
                            credential ? "the peer's user is somebody else" : "unknown user");
    case auth_method::password:
        return ask_for_password(std::move(terms.credential));
    case auth_method::md5:
        // As in PostgreSQL, "md5" means "md5, or better where a verifier is stored".
        return is_asked_for_scram(credential, terms.mock_scram)
                   ? ask_for_scram(credential, terms.mock_shape)
                   : ask_for_md5(credential);
    case auth_method::scram_sha_256:
        return ask_for_scram(credential, terms.mock_shape);
    case auth_method::reject:
        return refuse(error::authorization_refused, {}, "rejected");
    }
    return out_of_turn();
}

/// By a method that needs no word of the client's.
login_action client_login::state::let_in_known(bool known, std::string_view log_reason) {
    return known ? authenticated({}) : authentication_failed(log_reason);
}

/// Takes one PasswordMessage (or SASL message: same type byte) off `in` and points `body` at it.
/// Anything else gives the action to do instead. Judged by its header: what is refused is never
/// waited for, let alone buffered.
std::optional<login_action> client_login::state::take_message(bytes& in, std::size_t max_body_bytes,
                                                              std::string_view expected,
                                                              bytes& body) {
    if (!in.empty() && static_cast<char>(in[0]) != static_cast<char>(frontend::password)) {
        return protocol_violation("expected " + std::string(expected) + ", got message type " +
                                  std::to_string(std::to_integer<int>(in[0])));
    }
    if (in.size() < header_bytes) {
        return login_read{};
    }
    const auto head = read_header(in);
    if (head.length_field < min_length_field || head.body_bytes() > max_body_bytes) {
        return protocol_violation("invalid message length");
    }
    if (in.size() < head.frame_bytes()) {
        return login_read{};
    }
    body = in.subspan(header_bytes, head.body_bytes());
    in = in.subspan(head.frame_bytes());
    return std::nullopt;
}

// password and md5 -----------------------------------------------------------------------------

login_action client_login::state::ask_for_password(std::optional<stored_credential> stored) {
    now = awaiting_password{std::move(stored)};
    std::string request;
    append_authentication(request, authentication_cleartext_password);
    return write(std::move(request));
}

login_action client_login::state::ask_for_md5(const std::optional<stored_credential>& stored) {
    const std::string_view salt(reinterpret_cast<const char*>(opts.random.data()) + md5_salt_offset,
                                md5_salt_bytes);
    awaiting_md5 next;
    const auto form = stored ? form_of(stored->value.reveal()) : credential_form::none;
    if (form == credential_form::plaintext || form == credential_form::md5) {
        next.expected = md5_response(stored->value.reveal(), startup.user, salt);
    } else {
        next.doomed = stored ? "no usable password is stored" : "unknown user";
    }
    now = std::move(next);
    std::string request;
    append_authentication(request, authentication_md5_password, salt);
    return write(std::move(request));
}

namespace {

/// The zero-terminated string that a PasswordMessage is. Nothing when it is something else.
std::optional<std::string_view> password_in(bytes body) {
    body_reader reader(body);
    const auto text = reader.c_string();
    return reader.finished() ? std::optional(text) : std::nullopt;
}

} // namespace

/// The text of a PasswordMessage of at most `limit` bytes at the front of `in`; or what is to be
/// done instead.
std::optional<login_action> client_login::state::take_password(bytes& in, std::size_t limit,
                                                               std::string_view& password) {
    bytes body;
    if (auto other = take_message(in, limit, "password response", body)) {
        return other;
    }
    const auto given = password_in(body);
    if (!given) {
        return protocol_violation("invalid password packet size");
    }
    if (given->empty()) {
        return authentication_failed("empty password");
    }
    password = *given;
    return std::nullopt;
}

login_action client_login::state::on(awaiting_password& phase, bytes& in) {
    std::string_view given;
    if (auto other = take_password(in, max_password_bytes, given)) {
        return std::move(*other);
    }
    return check_password(leave(phase).stored, given);
}

login_action client_login::state::check_password(std::optional<stored_credential> stored,
                                                 std::string_view given) {
    if (!stored) {
        return authentication_failed("unknown user");
    }
    const auto& value = stored->value;
    switch (form_of(value.reveal())) {
    case credential_form::plaintext:
        return value.equals(given) ? authenticated(secret(std::string(given)))
                                   : authentication_failed("wrong password");
    case credential_form::md5:
        return value.equals(md5_stored_form(given, startup.user))
                   ? authenticated(secret(std::string(given)))
                   : authentication_failed("wrong password");
    case credential_form::scram: {
        auto verifier = *parse_scram_verifier(value.reveal());
        if (verifier.iterations > max_scram_iterations) {
            return authentication_failed("the stored verifier has too many iterations");
        }
        login_derive derive{secret(std::string(given)), verifier.salt, verifier.iterations};
        now = deriving_password_key{derive.password, std::move(verifier)};
        return derive;
    }
    case credential_form::none:
    case credential_form::unusable:
        break;
    }
    return authentication_failed("no usable password is stored");
}

login_action client_login::state::on(awaiting_md5& phase, bytes& in) {
    std::string_view given;
    if (auto other = take_password(in, max_md5_bytes, given)) {
        return std::move(*other);
    }
    const auto left = leave(phase);
    if (!left.doomed.empty()) {
        return authentication_failed(left.doomed);
    }
    // An empty `expected` (no MD5 in this OpenSSL) equals nothing that gets here.
    return equal_in_constant_time(left.expected, given) ? authenticated({})
                                                        : authentication_failed("wrong password");
}

// From outside ---------------------------------------------------------------------------------

client_login::client_login(options opts)
    : state_(std::make_unique<state>(std::move(opts))) {}
client_login::~client_login() = default;
client_login::client_login(client_login&&) noexcept = default;
client_login& client_login::operator=(client_login&&) noexcept = default;

login_action client_login::resume(bytes& in) {
    return std::visit([&](auto& phase) { return state_->on(phase, in); }, state_->now);
}

login_action client_login::secured(tls_facts facts) { return state_->secured(std::move(facts)); }

login_action client_login::found_user(admission terms) {
    return state_->on_terms(std::move(terms));
}

login_action client_login::found_user(std::optional<stored_credential> credential) {
    admission terms;
    terms.method = state_->opts.method;
    terms.credential = std::move(credential);
    return state_->on_terms(std::move(terms));
}

login_action client_login::derived_key(secret salted_password) {
    auto& s = *state_;
    if (salted_password.reveal().size() != scram_key_bytes) {
        // Keys made from nothing would be known to everybody.
        return s.refuse(error::internal, {}, "key derivation failed");
    }
    if (auto* const phase = std::get_if<deriving_password_key>(&s.now)) {
        auto left = s.leave(*phase);
        const auto derived =
            make_verifier(salted_password, left.verifier.salt, left.verifier.iterations);
        return equal_in_constant_time(derived.stored_key, left.verifier.stored_key)
                   ? s.authenticated(std::move(left.password))
                   : s.authentication_failed("wrong password");
    }
    if (auto* const phase = std::get_if<deriving_scram_key>(&s.now)) {
        const auto left = s.leave(*phase);
        return s.judge(left.exchange,
                       make_verifier(salted_password, left.check.salt, left.check.iterations),
                       false);
    }
    return s.out_of_turn();
}

login_action client_login::timed_out() {
    if (std::holds_alternative<awaiting_startup>(state_->now)) {
        // It has not spoken PostgreSQL's protocol so far, so nothing is said (nor does PostgreSQL).
        return state_->silence(error::login_timeout, "no startup packet in time");
    }
    if (std::holds_alternative<awaiting_tls>(state_->now)) {
        return state_->silence(error::login_timeout, "no TLS handshake in time");
    }
    return state_->refuse(error::login_timeout, {}, "login not finished in time");
}

std::string_view client_login::user() const { return state_->startup.user; }

const tls_facts* client_login::facts() const { return state_->tls ? &*state_->tls : nullptr; }

} // namespace pgweir::protocol
