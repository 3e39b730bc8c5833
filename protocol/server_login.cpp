#include "protocol/server_login.hpp"

#include "protocol/scram.hpp"
#include "protocol/scram_exchange.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

namespace pgweir::protocol {

namespace {

using why = server_refused::why;

constexpr std::string_view mechanism = "SCRAM-SHA-256";

/// Bounds on what a server may make us buffer; body bytes. Its errors may be long (a statement in
/// a CONTEXT), nothing else that is due here is.
constexpr std::size_t max_message_bytes = 65'536;
constexpr std::size_t max_error_bytes = 1'048'576;
/// On what is kept of it: parameters, or answers, all together.
constexpr std::size_t max_kept_bytes = 1'048'576;
constexpr std::size_t max_refusal_text_bytes = 500;

enum class authentication : std::uint32_t {
    ok = 0,
    kerberos_v5 = 2,
    cleartext_password = 3,
    crypt = 4,
    md5_password = 5,
    scm_credential = 6,
    gss = 7,
    gss_continue = 8,
    sspi = 9,
    sasl = 10,
    sasl_continue = 11,
    sasl_final = 12,
};

std::string name_of(authentication kind) {
    switch (kind) {
    case authentication::ok:
        return "none";
    case authentication::kerberos_v5:
        return "Kerberos V5";
    case authentication::cleartext_password:
        return "password";
    case authentication::crypt:
        return "crypt";
    case authentication::md5_password:
        return "md5";
    case authentication::scm_credential:
        return "SCM credential";
    case authentication::gss:
    case authentication::gss_continue:
        return "GSSAPI";
    case authentication::sspi:
        return "SSPI";
    case authentication::sasl:
    case authentication::sasl_continue:
    case authentication::sasl_final:
        return "SASL";
    }
    return "number " + std::to_string(static_cast<std::uint32_t>(kind));
}

why classify(std::string_view sqlstate) {
    if (sqlstate == "53300") {
        return why::too_many_connections;
    }
    if (sqlstate == "57P01" || sqlstate == "57P02" || sqlstate == "57P03") {
        return why::starting_up;
    }
    if (sqlstate.starts_with("28")) {
        return why::authentication;
    }
    return sqlstate == "3D000" ? why::no_such_database : why::other_error;
}

// The states -----------------------------------------------------------------------------------

struct not_started {};
struct awaiting_authentication { // the first request, or AuthenticationOk (trust)
    bool negotiated = false;     // NegotiateProtocolVersion has come
};
struct awaiting_ok {}; // our password is on its way
struct awaiting_sasl_continue {
    scram_client_exchange exchange;
};
struct deriving_key { // derived_key() is owed to us
    scram_client_exchange exchange;
};
struct awaiting_sasl_final {
    scram_client_exchange exchange;
};
struct awaiting_sasl_ok {}; // the server has proven itself
struct awaiting_ready {};   // its parameters and key come
struct awaiting_probe {
    bool failed = false;
};
struct ended {};

/// What a message led to: an action to return, or nothing: on with the next one.
using step = std::optional<server_login_action>;

} // namespace

struct server_login::state {
    using any_phase = std::variant<not_started, awaiting_authentication, awaiting_ok,
                                   awaiting_sasl_continue, deriving_key, awaiting_sasl_final,
                                   awaiting_sasl_ok, awaiting_ready, awaiting_probe, ended>;

    explicit state(options given)
        : opts(std::move(given)) {}

    options opts;
    any_phase now;
    server_welcome welcome;
    std::size_t kept_bytes = 0;
    bool heard = false; // any message at all

    template <typename Phase>
    Phase leave(Phase& current) {
        auto left = std::move(current);
        now = ended{};
        return left;
    }

    server_login_action refuse(why reason, std::string text);
    server_login_action unexpected(char type);
    server_login_action refused_by(bytes body, bool welcomed);
    std::optional<server_login_action> take_message(bytes& in, char& type, bytes& body);
    std::optional<server_login_action> read_ancient_error(bytes in);

    // Whatever the phase
    step on_message(char type, bytes body);
    step on_parameter(bytes body);
    step on_key(bytes body);
    step on_notice(bytes body);

    // Authentication
    step on_negotiation(awaiting_authentication& phase, bytes body);
    step on_authentication(bytes body);
    step on_request(authentication kind, body_reader rest);
    step send_password(std::string_view text);
    step start_scram(body_reader mechanisms);
    step on_sasl_continue(awaiting_sasl_continue& phase, bytes message);
    step on_sasl_final(awaiting_sasl_final& phase, bytes message);
    step scram_refused(const scram_failure& failure);

    // Ready
    step on_ready(bytes body);
    step on_row(bytes body);
    step keep(std::size_t count);
};

// Ends and frames ------------------------------------------------------------------------------

server_login_action server_login::state::refuse(why reason, std::string text) {
    now = ended{};
    return server_refused{reason, {}, std::move(text)};
}

server_login_action server_login::state::unexpected(char type) {
    return refuse(why::protocol, "unexpected message of type \"" +
                                     printable(std::string_view(&type, 1)) + "\" during login");
}

server_login_action server_login::state::refused_by(bytes body, bool welcomed) {
    now = ended{};
    const auto fields = read_error_fields(body);
    auto text = printable(fields.message, max_refusal_text_bytes);
    if (text.empty()) {
        text = "the server gave no reason";
    }
    std::string response;
    if (welcomed) {
        message_writer(response).begin(backend::error_response).raw(as_text(body)).end();
    }
    return server_refused{classify(fields.sqlstate), printable(fields.sqlstate, 5), std::move(text),
                          std::move(response)};
}

/// A postmaster that cannot start a process says so as PostgreSQL 7 did: an E, then plain text.
std::optional<server_login_action> server_login::state::read_ancient_error(bytes in) {
    if (heard || in.empty() || static_cast<char>(in[0]) != 'E') {
        return std::nullopt;
    }
    const auto text = as_text(in.subspan(1));
    auto line = printable(text.substr(0, text.find_first_of(std::string_view("\n\0", 2))),
                          max_refusal_text_bytes);
    return refuse(why::other_error, std::move(line));
}

/// Takes one message off `in`. Judged by its header: what is refused is not waited for.
std::optional<server_login_action> server_login::state::take_message(bytes& in, char& type,
                                                                     bytes& body) {
    if (in.size() < header_bytes) {
        return login_read{};
    }
    const auto head = read_header(in);
    const bool diagnostic = head.type == static_cast<char>(backend::error_response) ||
                            head.type == static_cast<char>(backend::notice_response);
    const auto limit = diagnostic ? max_error_bytes : max_message_bytes;
    if (head.length_field < min_length_field || head.body_bytes() > limit) {
        if (auto ancient = read_ancient_error(in)) {
            return ancient;
        }
        return refuse(why::protocol, "message of an impossible length during login");
    }
    if (in.size() < head.frame_bytes()) {
        return login_read{};
    }
    type = head.type;
    body = in.subspan(header_bytes, head.body_bytes());
    in = in.subspan(head.frame_bytes());
    heard = true;
    return std::nullopt;
}

// Messages -------------------------------------------------------------------------------------

step server_login::state::on_message(char type, bytes body) {
    const bool probing = std::holds_alternative<awaiting_probe>(now);
    const bool welcomed = probing || std::holds_alternative<awaiting_ready>(now);
    switch (static_cast<backend>(type)) {
    case backend::error_response:
        if (probing && !read_error_fields(body).fatal()) {
            std::get<awaiting_probe>(now).failed = true;
            return std::nullopt;
        }
        return refused_by(body, welcomed);
    case backend::notice_response:
        return welcomed ? on_notice(body) : std::nullopt;
    case backend::negotiate_protocol_version:
        if (auto* const phase = std::get_if<awaiting_authentication>(&now)) {
            return on_negotiation(*phase, body);
        }
        break;
    case backend::authentication:
        if (!welcomed) {
            return on_authentication(body);
        }
        break;
    case backend::parameter_status:
        if (welcomed) {
            return on_parameter(body);
        }
        break;
    case backend::backend_key_data:
        if (welcomed && !probing) {
            return on_key(body);
        }
        break;
    case backend::ready_for_query:
        if (welcomed) {
            return on_ready(body);
        }
        break;
    case backend::data_row:
        if (probing) {
            return on_row(body);
        }
        break;
    case backend::row_description:
    case backend::command_complete:
    case backend::empty_query_response:
    case backend::notification_response:
        if (probing) {
            return std::nullopt;
        }
        break;
    default:
        break;
    }
    return unexpected(type);
}

step server_login::state::keep(std::size_t count) {
    kept_bytes += count; // each at most max_message_bytes: no overflow before the refusal
    if (kept_bytes > max_kept_bytes) {
        return refuse(why::protocol, "the server says too much during login");
    }
    return std::nullopt;
}

step server_login::state::on_parameter(bytes body) {
    body_reader reader(body);
    const auto name = reader.c_string();
    const auto value = reader.c_string();
    if (!reader.finished()) {
        return refuse(why::protocol, "malformed ParameterStatus");
    }
    welcome.parameters[std::string(name)] = value;
    return keep(body.size());
}

step server_login::state::on_key(bytes body) {
    body_reader reader(body);
    welcome.key.process_id = reader.u32();
    const auto key = reader.rest();
    const bool good = welcome.minor_version == 0 ? key.size() == own_cancel_key_bytes(0)
                                                 : key.size() >= min_cancel_key_bytes &&
                                                       key.size() <= max_cancel_key_bytes;
    if (!reader.ok() || !good) {
        return refuse(why::protocol, "malformed BackendKeyData");
    }
    welcome.key.key = as_text(key);
    return std::nullopt;
}

step server_login::state::on_notice(bytes body) {
    message_writer(welcome.notices).begin(backend::notice_response).raw(as_text(body)).end();
    return keep(body.size());
}

step server_login::state::on_row(bytes body) {
    body_reader reader(body);
    const auto columns = reader.u16();
    if (!reader.ok() || columns == 0) {
        return refuse(why::protocol, "malformed DataRow");
    }
    const auto length = reader.u32();
    constexpr std::uint32_t null_value = 0xffffffff;
    const auto value = length == null_value ? bytes{} : reader.raw(length);
    if (!reader.ok()) {
        return refuse(why::protocol, "malformed DataRow");
    }
    welcome.probe_answers.emplace_back(as_text(value));
    return keep(body.size());
}

step server_login::state::on_ready(bytes body) {
    if (body.size() != 1 ||
        static_cast<char>(body[0]) != static_cast<char>(transaction_status::idle)) {
        return refuse(why::protocol, "the server is ready, but not idle, after login");
    }
    if (const auto* const probe = std::get_if<awaiting_probe>(&now)) {
        if (probe->failed) {
            welcome.probe_answers.clear();
        }
    } else if (!opts.probe_sql.empty()) {
        now = awaiting_probe{};
        std::string query;
        append_query(query, opts.probe_sql);
        return login_write{std::move(query)};
    }
    now = ended{};
    return server_ready{std::move(welcome)};
}

// Authentication -------------------------------------------------------------------------------

/// Before anything else, at most once, and only to speak an older version: we ask for no options,
/// and a server that is content with what we asked has nothing to say. (3.1 was never spoken by
/// any.)
step server_login::state::on_negotiation(awaiting_authentication& phase, bytes body) {
    body_reader reader(body);
    const auto version = reader.u32();
    const auto unknown_options = reader.u32();
    if (!reader.finished() || unknown_options != 0) {
        return refuse(why::protocol, "malformed NegotiateProtocolVersion");
    }
    if (phase.negotiated || version != protocol_3_0) {
        return refuse(why::protocol, "the server wants to speak protocol " +
                                         std::to_string(version >> 16) + "." +
                                         std::to_string(version & 0xffff));
    }
    phase.negotiated = true;
    welcome.minor_version = 0;
    return std::nullopt;
}

step server_login::state::on_authentication(bytes body) {
    body_reader reader(body);
    const auto kind = static_cast<authentication>(reader.u32());
    if (!reader.ok()) {
        return refuse(why::protocol, "malformed authentication request");
    }
    if (auto* const phase = std::get_if<awaiting_sasl_continue>(&now)) {
        // Above all: no AuthenticationOk before the server has proven that it knows the password.
        return kind == authentication::sasl_continue
                   ? on_sasl_continue(*phase, reader.rest())
                   : refuse(why::protocol, "the server left the SASL exchange");
    }
    if (auto* const phase = std::get_if<awaiting_sasl_final>(&now)) {
        return kind == authentication::sasl_final
                   ? on_sasl_final(*phase, reader.rest())
                   : refuse(why::protocol, "the server left the SASL exchange");
    }
    if (kind == authentication::ok && reader.finished()) {
        now = awaiting_ready{};
        return std::nullopt;
    }
    if (std::holds_alternative<awaiting_authentication>(now)) {
        return on_request(kind, reader);
    }
    return refuse(why::protocol, "the server asks for authentication twice");
}

step server_login::state::on_request(authentication kind, body_reader rest) {
    const auto form = form_of(opts.password.reveal());
    switch (kind) {
    case authentication::cleartext_password:
        if (form == credential_form::plaintext) {
            return send_password(opts.password.reveal());
        }
        break;
    case authentication::md5_password: {
        const auto salt = rest.raw(4);
        if (!rest.finished()) {
            return refuse(why::protocol, "malformed authentication request");
        }
        if (form == credential_form::plaintext || form == credential_form::md5) {
            const auto response = md5_response(opts.password.reveal(), opts.user, as_text(salt));
            if (response.empty()) {
                return refuse(why::authentication, "MD5 is not available here");
            }
            return send_password(response);
        }
        break;
    }
    case authentication::sasl:
        if (form == credential_form::plaintext) {
            return start_scram(rest);
        }
        break;
    case authentication::sasl_continue:
    case authentication::sasl_final:
        return refuse(why::protocol, "the server goes on with a SASL exchange nobody started");
    default:
        return refuse(why::authentication, "the server asks for authentication method " +
                                               name_of(kind) + ", which is not supported");
    }
    return refuse(why::authentication,
                  form == credential_form::none
                      ? "the server asks for a password, and none is configured"
                      : "the server asks for authentication method " + name_of(kind) +
                            ", for which the plaintext password is needed");
}

step server_login::state::send_password(std::string_view text) {
    std::string message;
    message_writer(message).begin(frontend::password).c_string(text).end();
    now = awaiting_ok{};
    return login_write{std::move(message)};
}

step server_login::state::start_scram(body_reader mechanisms) {
    bool offered = false;
    for (auto name = mechanisms.c_string(); mechanisms.ok() && !name.empty();
         name = mechanisms.c_string()) {
        offered = offered || name == mechanism;
    }
    if (!mechanisms.finished()) {
        return refuse(why::protocol, "malformed list of SASL mechanisms");
    }
    if (!offered) {
        return refuse(why::authentication, "the server does not offer SCRAM-SHA-256");
    }
    const std::string_view random(reinterpret_cast<const char*>(opts.nonce.data()),
                                  opts.nonce.size());
    scram_client_exchange exchange(base64_encode(random));
    const auto first = exchange.client_first();
    std::string message;
    message_writer(message)
        .begin(frontend::password)
        .c_string(mechanism)
        .u32(static_cast<std::uint32_t>(first.size()))
        .raw(first)
        .end();
    now = awaiting_sasl_continue{std::move(exchange)};
    return login_write{std::move(message)};
}

step server_login::state::on_sasl_continue(awaiting_sasl_continue& phase, bytes message) {
    auto left = leave(phase);
    if (const auto failure = left.exchange.read_server_first(as_text(message))) {
        return scram_refused(*failure);
    }
    if (left.exchange.iterations() > opts.max_scram_iterations) {
        return refuse(why::authentication,
                      "the server asks for " + std::to_string(left.exchange.iterations()) +
                          " SCRAM iterations, at most " +
                          std::to_string(opts.max_scram_iterations) + " are done");
    }
    login_derive derive{opts.password, left.exchange.salt(), left.exchange.iterations()};
    now = deriving_key{std::move(left.exchange)};
    return derive;
}

step server_login::state::on_sasl_final(awaiting_sasl_final& phase, bytes message) {
    const auto left = leave(phase);
    if (const auto failure = left.exchange.read_server_final(as_text(message))) {
        return scram_refused(*failure);
    }
    now = awaiting_sasl_ok{};
    return std::nullopt;
}

step server_login::state::scram_refused(const scram_failure& failure) {
    const bool about_password = failure.reason == scram_failure::why::refused_by_peer ||
                                failure.reason == scram_failure::why::unproven;
    return refuse(about_password ? why::authentication : why::protocol, std::string(failure.text));
}

// From outside ---------------------------------------------------------------------------------

server_login::server_login(options opts)
    : state_(std::make_unique<state>(std::move(opts))) {}
server_login::~server_login() = default;
server_login::server_login(server_login&&) noexcept = default;
server_login& server_login::operator=(server_login&&) noexcept = default;

server_login_action server_login::start() {
    auto& s = *state_;
    if (!std::holds_alternative<not_started>(s.now)) {
        return s.refuse(why::protocol, "login driven out of turn");
    }
    std::string packet;
    message_writer writer(packet);
    writer.begin_untyped().u32(protocol_3_0 | newest_minor_version);
    writer.c_string("user").c_string(s.opts.user);
    writer.c_string("database").c_string(s.opts.database);
    switch (s.opts.replication) {
    case replication_kind::none:
        break;
    case replication_kind::physical:
        writer.c_string("replication").c_string("true");
        break;
    case replication_kind::logical:
        writer.c_string("replication").c_string("database");
        break;
    }
    for (const auto& [name, value] : s.opts.settings) {
        if (!name.empty()) { // an empty name would be the terminator
            writer.c_string(name).c_string(value);
        }
    }
    writer.u8(0).end();
    s.now = awaiting_authentication{};
    return login_write{std::move(packet)};
}

server_login_action server_login::resume(bytes& in) {
    auto& s = *state_;
    if (std::holds_alternative<ended>(s.now) || std::holds_alternative<not_started>(s.now)) {
        return s.refuse(why::protocol, "login driven out of turn");
    }
    while (!std::holds_alternative<deriving_key>(s.now)) {
        char type = 0;
        bytes body;
        if (auto other = s.take_message(in, type, body)) {
            return std::move(*other);
        }
        if (auto action = s.on_message(type, body)) {
            return std::move(*action);
        }
    }
    return login_read{};
}

server_login_action server_login::derived_key(secret salted_password) {
    auto& s = *state_;
    auto* const phase = std::get_if<deriving_key>(&s.now);
    if (phase == nullptr) {
        return s.refuse(why::protocol, "login driven out of turn");
    }
    auto left = s.leave(*phase);
    if (salted_password.reveal().size() != scram_key_bytes) {
        return s.refuse(why::authentication, "key derivation failed");
    }
    std::string message;
    message_writer(message)
        .begin(frontend::password)
        .raw(left.exchange.client_final(salted_password))
        .end();
    s.now = awaiting_sasl_final{std::move(left.exchange)};
    return login_write{std::move(message)};
}

} // namespace pgweir::protocol
