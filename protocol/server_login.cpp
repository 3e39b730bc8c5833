// server_login: frames, the welcome, and what is called from outside. See server_login.hpp; what is
// done with authentication requests is in server_login_authentication.cpp.
#include "protocol/server_login_state.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace pgweir::protocol {

using why = server_refused::why;

namespace {

/// Bounds on what a server may make us buffer; body bytes. Its errors may be long (a statement in
/// a CONTEXT), nothing else that is due here is.
constexpr std::size_t max_message_bytes = 65'536;
constexpr std::size_t max_error_bytes = 1'048'576;
/// On what is kept of it: parameters, or answers, all together.
constexpr std::size_t max_kept_bytes = 1'048'576;
constexpr std::size_t max_refusal_text_bytes = 500;

/// Which limit: the message may be in any language, the place in PostgreSQL's source is not.
why which_limit(std::string_view routine) {
    if (routine == "InitializeSessionUserId") {
        return why::too_many_of_role;
    }
    return routine == "CheckMyDatabase" ? why::too_many_to_database : why::too_many_connections;
}

why classify(const error_fields& fields) {
    const auto sqlstate = fields.sqlstate;
    if (sqlstate == sqlstate::too_many_connections) {
        return which_limit(fields.routine);
    }
    if (sqlstate == sqlstate::admin_shutdown || sqlstate == sqlstate::crash_shutdown ||
        sqlstate == sqlstate::cannot_connect_now) {
        return why::starting_up;
    }
    if (sqlstate.starts_with("28")) {
        return why::authentication;
    }
    return sqlstate == sqlstate::invalid_catalog_name ? why::no_such_database : why::other_error;
}

} // namespace

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
    const auto fields = read_error_fields(body);
    const auto again = another_way(fields.sqlstate);
    now = ended{};
    auto text = printable(fields.message, max_refusal_text_bytes);
    if (text.empty()) {
        text = "the server gave no reason";
    }
    std::string response;
    if (welcomed) {
        message_writer(response).begin(backend::error_response).raw(as_text(body)).end();
    }
    return server_refused{classify(fields), printable(fields.sqlstate, 5), std::move(text),
                          std::move(response), again};
}

/// libpq's rule for `allow` and `prefer`: a server whose pg_hba.conf refuses us as we came may take
/// us the other way. It says so first thing (28000); a refusal of our password is final.
server_refused::retry server_login::state::another_way(std::string_view sqlstate) const {
    if (!std::holds_alternative<awaiting_authentication>(now) ||
        sqlstate != sqlstate::invalid_authorization_specification) {
        return server_refused::retry::none;
    }
    if (opts.tls == tls_mode::allow && !tls) {
        return server_refused::retry::with_tls;
    }
    return opts.tls == tls_mode::prefer && tls && opts.binding != channel_binding::require
               ? server_refused::retry::without_tls
               : server_refused::retry::none;
}

/// A postmaster that cannot start a process says so as PostgreSQL 7 did: an E, then plain text.
std::optional<server_login_action> server_login::state::read_ancient_error(bytes in) {
    if (heard || in.empty() || static_cast<char>(in[0]) != 'E') {
        return std::nullopt;
    }
    const auto text = as_text(in.subspan(1));
    const auto end = text.find_first_of(std::string_view("\n\0", 2));
    if (end < sizeof(std::uint32_t)) {
        return std::nullopt; // no text, but a length
    }
    auto line = printable(text.substr(0, end), max_refusal_text_bytes);
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

/// Of a message's body so many bytes.
step server_login::state::keep(std::size_t count) {
    constexpr std::size_t beside_bytes =
        64; // its header, a place in a list: an empty one costs too
    kept_bytes +=
        beside_bytes + count; // each at most max_message_bytes: no overflow before the refusal
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
    if (!note_parameter(welcome.parameters, name, value)) {
        return refuse(why::protocol, "the server reports too many parameters");
    }
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
    auto refused = keep(body.size());
    if (!refused) {
        message_writer(welcome.notices).begin(backend::notice_response).raw(as_text(body)).end();
    }
    return refused;
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

// From outside ---------------------------------------------------------------------------------

server_login::server_login(options opts)
    : state_(std::make_unique<state>(std::move(opts))) {}
server_login::~server_login() = default;
server_login::server_login(server_login&&) noexcept = default;
server_login& server_login::operator=(server_login&&) noexcept = default;

/// What was settled about encryption leads to the startup message; all else is passed on.
server_login_action server_login::state::next(encryption_action action) {
    return std::visit(
        [this](auto& what) -> server_login_action {
            using kind = std::decay_t<decltype(what)>;
            if constexpr (std::is_same_v<kind, encryption_settled>) {
                tls = std::move(what.tls);
                return send_startup();
            } else {
                if constexpr (std::is_same_v<kind, server_refused>) {
                    now = ended{};
                }
                return std::move(what);
            }
        },
        action);
}

server_login_action server_login::state::send_startup() {
    std::string packet;
    message_writer writer(packet);
    writer.begin_untyped().u32(protocol_3_0 | newest_minor_version);
    writer.c_string("user").c_string(opts.user);
    writer.c_string("database").c_string(opts.database);
    switch (opts.replication) {
    case replication_kind::none:
        break;
    case replication_kind::physical:
        writer.c_string("replication").c_string("true");
        break;
    case replication_kind::logical:
        writer.c_string("replication").c_string("database");
        break;
    }
    for (const auto& [name, value] : opts.settings) {
        if (!name.empty()) { // an empty name would be the terminator
            writer.c_string(name).c_string(value);
        }
    }
    writer.u8(0).end();
    now = awaiting_authentication{};
    return login_write{std::move(packet)};
}

server_login_action server_login::start() {
    auto& s = *state_;
    if (!std::holds_alternative<not_started>(s.now)) {
        return s.refuse(why::protocol, "login driven out of turn");
    }
    s.now = securing{server_encryption(s.opts.tls, s.opts.direct_tls)};
    return s.next(std::get<securing>(s.now).encryption.start());
}

server_login_action server_login::secured(tls_facts facts) {
    auto& s = *state_;
    auto* const phase = std::get_if<securing>(&s.now);
    if (phase == nullptr) {
        return s.refuse(why::protocol, "login driven out of turn");
    }
    return s.next(phase->encryption.secured(std::move(facts)));
}

server_login_action server_login::handshake_failed(const tls_failure& failure) {
    auto& s = *state_;
    auto* const phase = std::get_if<securing>(&s.now);
    if (phase == nullptr) {
        return s.refuse(why::protocol, "login driven out of turn");
    }
    return s.next(phase->encryption.handshake_failed(failure));
}

server_login_action server_login::resume(bytes& in) {
    auto& s = *state_;
    if (std::holds_alternative<ended>(s.now) || std::holds_alternative<not_started>(s.now)) {
        return s.refuse(why::protocol, "login driven out of turn");
    }
    if (auto* const phase = std::get_if<securing>(&s.now)) {
        return s.next(phase->encryption.resume(in));
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
