#include "protocol/startup.hpp"

#include "protocol/sql_lexer.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>

namespace pgweir::protocol {

namespace {

constexpr std::size_t min_startup_bytes = 8; // the length field and a code
constexpr std::size_t max_name_bytes = 63;   // NAMEDATALEN - 1

startup_refusal refuse(error code, std::string message) {
    return {code, {.message = std::move(message), .detail = {}, .hint = {}}, false};
}

/// What starts like this is no PostgreSQL client (HTTP, TLS, a port scanner): it could not read an
/// ErrorResponse, and PostgreSQL says nothing to it either.
startup_refusal silence(std::string message) {
    auto refusal = refuse(error::invalid_startup_packet, std::move(message));
    refusal.silent = true;
    return refusal;
}

/// As PostgreSQL's parse_bool(): any case, unambiguous beginnings of the words.
std::optional<bool> parse_bool(std::string_view value) {
    const auto text = lower_case(value);
    const auto begins = [&text](std::string_view word, std::size_t at_least) {
        return text.size() >= at_least && word.substr(0, text.size()) == text;
    };
    if (begins("true", 1) || begins("yes", 1) || text == "on" || text == "1") {
        return true;
    }
    if (begins("false", 1) || begins("no", 1) || begins("off", 2) || text == "0") {
        return false;
    }
    return std::nullopt;
}

std::string truncated_name(std::string_view name) {
    // PostgreSQL cuts here at a byte, not at a character: the encoding is not known yet.
    return std::string(name.substr(0, max_name_bytes));
}

/// The parameters of a StartupMessage while they are read.
class parameters {
public:
    /// False when the value makes no sense to PostgreSQL either (then `refusal` says so).
    bool add(std::string_view name, std::string_view value) {
        if (name == "user") {
            user_ = value;
        } else if (name == "database") {
            database_ = value;
        } else if (name == "replication") {
            return set_replication(value);
        } else if (name.starts_with("_pq_.")) {
            message.unknown_protocol_options.emplace_back(name);
        } else {
            set(name, value);
        }
        return true;
    }

    /// Checks what is missing, once all are there.
    startup_packet finish() {
        if (user_.empty()) {
            return startup_refusal{error::no_user_name, {}, false};
        }
        message.user = truncated_name(user_);
        message.database = truncated_name(database_.empty() ? user_ : database_);
        return std::move(message);
    }

    startup_message message;
    startup_refusal refusal{};

private:
    bool set_replication(std::string_view value) {
        if (value == "database") {
            message.replication = replication_kind::logical;
            return true;
        }
        const auto parsed = parse_bool(value);
        if (!parsed) {
            refusal =
                refuse(error::setting_refused,
                       "invalid value for parameter \"replication\": \"" + printable(value) + "\"");
            refusal.words.hint = "Valid values are: \"false\", 0, \"true\", 1, \"database\".";
            return false;
        }
        message.replication = *parsed ? replication_kind::physical : replication_kind::none;
        return true;
    }

    /// Names of settings have no case in PostgreSQL. Indexed, because ten thousand bytes hold
    /// thousands of names, and comparing each with each would let anybody buy CPU before login.
    void set(std::string_view name, std::string_view value) {
        const auto [known, added] = index_.try_emplace(lower_case(name), message.settings.size());
        if (added) {
            message.settings.emplace_back(name, value);
        } else {
            message.settings[known->second].second = value;
        }
    }

    std::string_view user_;
    std::string_view database_;
    std::map<std::string, std::size_t> index_;
};

startup_packet read_parameters(std::uint32_t version, bytes body) {
    parameters found;
    found.message.minor_version = static_cast<std::uint16_t>(version);
    body_reader reader(body);
    while (true) {
        const auto name = reader.c_string();
        if (!reader.ok() || name.empty()) {
            break;
        }
        const auto value = reader.c_string();
        if (!reader.ok()) {
            break;
        }
        if (!found.add(name, value)) {
            return found.refusal;
        }
    }
    // The empty name is the terminator, and must be the last byte.
    if (!reader.finished()) {
        return refuse(error::invalid_startup_packet,
                      "invalid startup packet layout: expected terminator as last byte");
    }
    return found.finish();
}

startup_packet read_cancel(bytes body) {
    const auto key_bytes = body.size() < 4 ? 0 : body.size() - 4;
    if (key_bytes < min_cancel_key_bytes || key_bytes > max_cancel_key_bytes) {
        return silence("invalid length of cancel request");
    }
    return cancel_request{{read_u32(body), std::string(as_text(body.subspan(4)))}};
}

/// A request for encryption is its code and nothing else.
template <typename Request>
startup_packet read_encryption_request(bytes body) {
    if (!body.empty()) {
        return refuse(error::invalid_startup_packet, "invalid length of startup packet");
    }
    return Request{};
}

startup_packet read_whole_packet(std::uint32_t code, bytes body) {
    switch (code) {
    case ssl_request_code:
        return read_encryption_request<ssl_request>(body);
    case gssenc_request_code:
        return read_encryption_request<gssenc_request>(body);
    case cancel_request_code:
        return read_cancel(body);
    default:
        break;
    }
    if (code >> 16 != protocol_3_0 >> 16) {
        return unsupported_protocol_refusal(code);
    }
    return read_parameters(code, body);
}

} // namespace

startup_refusal unsupported_protocol_refusal(std::uint32_t code) {
    return refuse(error::unsupported_protocol,
                  "unsupported frontend protocol " + std::to_string(code >> 16) + "." +
                      std::to_string(code & 0xffff) + ": server supports 3.0 to 3." +
                      std::to_string(newest_minor_version));
}

startup_packet read_startup_packet(bytes& in) {
    if (in.size() < 4) {
        return std::monostate{};
    }
    // 64 bits, and compared before anything is added to it.
    const std::uint64_t length = read_u32(in);
    if (length > 0x00ffffff) {
        return silence("not a PostgreSQL client");
    }
    if (length < min_startup_bytes || length > max_startup_bytes) {
        return refuse(error::invalid_startup_packet, "invalid length of startup packet");
    }
    if (in.size() < length) {
        return std::monostate{};
    }
    const auto packet = in.first(static_cast<std::size_t>(length));
    auto result = read_whole_packet(read_u32(packet.subspan(4)), packet.subspan(min_startup_bytes));
    if (!std::holds_alternative<startup_refusal>(result)) {
        in = in.subspan(packet.size());
    }
    return result;
}

void append_negotiate_protocol_version(std::string& out, std::uint16_t minor_version,
                                       const std::vector<std::string>& unknown_options) {
    message_writer writer(out);
    // The documentation says "newest minor version", PostgreSQL sends and libpq expects the whole
    // version number.
    writer.begin(backend::negotiate_protocol_version)
        .u32(protocol_3_0 | minor_version)
        .u32(static_cast<std::uint32_t>(unknown_options.size()));
    for (const auto& name : unknown_options) {
        writer.c_string(name);
    }
    writer.end();
}

} // namespace pgweir::protocol
