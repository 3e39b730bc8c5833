// client_login: what is done with each event in each phase. See client_login.hpp; the SCRAM phases
// are in client_login_scram.cpp.
#include "protocol/client_login_state.hpp"

#include <cstddef>
#include <utility>

namespace pgweir::protocol {

namespace {

constexpr std::uint32_t authentication_ok = 0;
constexpr std::uint32_t authentication_cleartext_password = 3;
constexpr std::uint32_t authentication_md5_password = 5;
constexpr std::uint32_t authentication_sasl_final = 12;

/// Bound of what may be buffered for somebody who is not known yet; body bytes.
constexpr std::size_t max_password_bytes = 65'536;

constexpr std::size_t md5_salt_offset = 28; // of options::random, clear of the SCRAM nonce
constexpr std::size_t md5_salt_bytes = 4;

constexpr std::string_view man_in_the_middle =
    "This could be either a client-software bug or evidence of an attempted man-in-the-middle "
    "attack.";

} // namespace

// Ends -----------------------------------------------------------------------------------------

login_action client_login::state::refuse(error code, error_words words, std::string log_reason) {
    now = ended{};
    auto data = std::exchange(negotiation, {});
    append_error(data, code, words, true);
    return login_refuse{std::move(data), code, std::move(log_reason)};
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

login_action client_login::state::authentication_failed(std::string_view log_reason) {
    // The same words whatever went wrong: nobody learns which users exist.
    return refuse(
        error::authentication_failed,
        {.message = "password authentication failed for user \"" + printable(startup.user) + "\"",
         .detail = {},
         .hint = {}},
        std::string(log_reason));
}

login_action client_login::state::authenticated(secret password, std::string_view sasl_final) {
    now = ended{};
    auto data = std::exchange(negotiation, {});
    if (!sasl_final.empty()) {
        append_authentication(data, authentication_sasl_final, sasl_final);
    }
    append_authentication(data, authentication_ok);
    return login_authenticated{startup, std::move(password), std::move(data)};
}

// Start-up -------------------------------------------------------------------------------------

login_action client_login::state::write(std::string data) {
    return login_write{std::exchange(negotiation, {}) + data};
}

login_action client_login::state::on(awaiting_startup& phase, bytes& in) {
    auto packet = read_startup_packet(in);
    if (std::holds_alternative<std::monostate>(packet)) {
        return login_read{};
    }
    if (std::holds_alternative<ssl_request>(packet)) {
        return answer_encryption_request(phase.ssl_answered, in, ssl_request_code, "SSL request");
    }
    if (std::holds_alternative<gssenc_request>(packet)) {
        return answer_encryption_request(phase.gssenc_answered, in, gssenc_request_code,
                                         "GSSAPI encryption request");
    }
    if (auto* const cancel = std::get_if<cancel_request>(&packet)) {
        now = ended{};
        return login_cancel{std::move(*cancel)};
    }
    if (auto* const refusal = std::get_if<startup_refusal>(&packet)) {
        auto reason = refusal->words.message.empty() ? std::string(row_of(refusal->code).text)
                                                     : refusal->words.message;
        if (refusal->silent) {
            now = ended{};
            return login_refuse{{}, refusal->code, std::move(reason)};
        }
        return refuse(refusal->code, std::move(refusal->words), std::move(reason));
    }
    return begin(std::move(std::get<startup_message>(packet)));
}

login_action client_login::state::answer_encryption_request(bool& answered, bytes in,
                                                            std::uint32_t code,
                                                            std::string_view name) {
    if (answered) {
        // To PostgreSQL a second one is an odd protocol version; without a bound, a client could
        // keep us answering for ever.
        auto refusal = unsupported_protocol_refusal(code);
        auto reason = "a second " + std::string(name);
        return refuse(refusal.code, std::move(refusal.words), std::move(reason));
    }
    answered = true;
    if (!in.empty()) {
        // Whoever wants encryption waits for the answer. Bytes that came before it may have been
        // put there by somebody in between, to be taken for the client's own.
        return protocol_violation("received unencrypted data after " + std::string(name),
                                  man_in_the_middle);
    }
    return login_write{"N"};
}

login_action client_login::state::begin(startup_message message) {
    startup = std::move(message);
    const auto spoken = spoken_minor_version(startup.minor_version);
    if (startup.minor_version != spoken || !startup.unknown_protocol_options.empty()) {
        append_negotiate_protocol_version(negotiation, spoken, startup.unknown_protocol_options);
    }
    now = awaiting_user{};
    return login_find_user{startup.user, startup.database};
}

login_action client_login::found_user(std::optional<stored_credential> credential) {
    auto& s = *state_;
    if (!std::holds_alternative<awaiting_user>(s.now)) {
        return s.out_of_turn();
    }
    switch (s.opts.method) {
    case auth_method::trust:
        return credential ? s.authenticated({}) : s.authentication_failed("unknown user");
    case auth_method::password:
        return s.ask_for_password(std::move(credential));
    case auth_method::md5:
        // As in PostgreSQL, "md5" means "md5, or better where a verifier is stored".
        if (credential && form_of(credential->value.reveal()) == credential_form::scram) {
            return s.ask_for_scram(credential);
        }
        return s.ask_for_md5(credential);
    case auth_method::scram_sha_256:
        return s.ask_for_scram(credential);
    }
    return s.out_of_turn();
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

/// The text of a PasswordMessage at the front of `in`; or what is to be done instead.
std::optional<login_action> client_login::state::take_password(bytes& in,
                                                               std::string_view& password) {
    bytes body;
    if (auto other = take_message(in, max_password_bytes, "password response", body)) {
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
    if (auto other = take_password(in, given)) {
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
    if (auto other = take_password(in, given)) {
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
                       make_verifier(salted_password, left.check.salt, left.check.iterations));
    }
    return s.out_of_turn();
}

login_action client_login::timed_out() {
    if (std::holds_alternative<awaiting_startup>(state_->now)) {
        // It has not spoken PostgreSQL's protocol so far, so nothing is said (nor does PostgreSQL).
        state_->now = ended{};
        return login_refuse{{}, error::login_timeout, "no startup packet in time"};
    }
    return state_->refuse(error::login_timeout, {}, "login not finished in time");
}

std::string_view client_login::user() const { return state_->startup.user; }

} // namespace pgweir::protocol
