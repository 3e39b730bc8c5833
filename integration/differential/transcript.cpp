// See transcript.hpp.
#include "integration/differential/transcript.hpp"

#include "integration/differential/script.hpp"

#include <array>
#include <utility>

namespace pgweir::differential {

namespace {

constexpr std::array<std::pair<char, std::string_view>, 24> names = {{
    {'R', "Authentication"},
    {'K', "BackendKeyData"},
    {'2', "BindComplete"},
    {'3', "CloseComplete"},
    {'C', "CommandComplete"},
    {'W', "CopyBothResponse"},
    {'d', "CopyData"},
    {'c', "CopyDone"},
    {'G', "CopyInResponse"},
    {'H', "CopyOutResponse"},
    {'D', "DataRow"},
    {'I', "EmptyQueryResponse"},
    {'E', "ErrorResponse"},
    {'V', "FunctionCallResponse"},
    {'v', "NegotiateProtocolVersion"},
    {'n', "NoData"},
    {'N', "NoticeResponse"},
    {'A', "NotificationResponse"},
    {'t', "ParameterDescription"},
    {'S', "ParameterStatus"},
    {'1', "ParseComplete"},
    {'s', "PortalSuspended"},
    {'Z', "ReadyForQuery"},
    {'T', "RowDescription"},
}};

// Takes fields off the front of a body. What is not there turns `broken` on, and the line says so.
class fields {
public:
    explicit fields(std::string_view body)
        : rest_(body) {}

    std::uint32_t integer(std::size_t bytes) {
        std::uint32_t value = 0;
        for (const char c : take(bytes)) {
            value = value << 8U | static_cast<unsigned char>(c);
        }
        return value;
    }
    std::string_view c_string() {
        const auto end = rest_.find('\0');
        if (end == std::string_view::npos) {
            broken_ = true;
            return take(rest_.size());
        }
        const auto text = rest_.substr(0, end);
        rest_.remove_prefix(end + 1);
        return text;
    }
    std::string_view take(std::size_t bytes) {
        broken_ = broken_ || bytes > rest_.size();
        const auto taken = rest_.substr(0, bytes);
        rest_.remove_prefix(taken.size());
        return taken;
    }
    [[nodiscard]] std::string_view rest() const { return rest_; }
    [[nodiscard]] bool broken() const { return broken_; }

private:
    std::string_view rest_;
    bool broken_ = false;
};

// Long values by their length and a hash: a transcript is read by people.
std::string value_text(std::string_view value) {
    constexpr std::size_t shown_whole = 200, shown = 40;
    if (value.size() <= shown_whole) {
        return "'" + escaped(value) + "'";
    }
    std::uint64_t hash = 0xcbf29ce484222325U; // FNV-1a
    for (const char c : value) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    }
    return "'" + escaped(value.substr(0, shown)) + "'… (" + std::to_string(value.size()) +
           " bytes, " + std::to_string(hash) + ")";
}

std::string data_value(fields& in) {
    const auto length = in.integer(4);
    return length == 0xffffffff ? "null" : value_text(in.take(length));
}

std::string data_row(fields& in) {
    std::string out;
    for (auto count = in.integer(2); count != 0 && !in.broken(); --count) {
        out += " " + data_value(in);
    }
    return out;
}

std::string error_text(fields& in) {
    std::string out;
    while (!in.broken() && !in.rest().empty()) {
        const char field = in.take(1).front();
        if (field == '\0') {
            break;
        }
        out += std::string(" ") + field + "=" + value_text(in.c_string());
    }
    return out;
}

std::string column_list(fields& in, object_names& oids) {
    std::string out;
    for (auto count = in.integer(2); count != 0 && !in.broken(); --count) {
        out += " [" + std::string(in.c_string());
        const auto table = in.integer(4);
        const auto attribute = in.integer(2);
        if (table != 0 || attribute != 0) {
            out += " table " + oids.name(table) + "." + std::to_string(attribute);
        }
        out += " type " + oids.name(in.integer(4));
        out += " size " + std::to_string(static_cast<std::int16_t>(in.integer(2)));
        out += " modifier " + std::to_string(static_cast<std::int32_t>(in.integer(4)));
        out += " format " + std::to_string(in.integer(2)) + "]";
    }
    return out;
}

std::string type_list(fields& in, object_names& oids) {
    std::string out;
    for (auto count = in.integer(2); count != 0 && !in.broken(); --count) {
        out += " " + oids.name(in.integer(4));
    }
    return out;
}

std::string copy_response(fields& in) {
    auto out = " format " + std::to_string(in.integer(1)) + " columns";
    for (auto count = in.integer(2); count != 0 && !in.broken(); --count) {
        out += " " + std::to_string(in.integer(2));
    }
    return out;
}

std::string notification(fields& in) {
    static_cast<void>(in.integer(4)); // allowed difference 1
    const auto channel = value_text(in.c_string());
    return " from (process id) on " + channel + " " + value_text(in.c_string());
}

std::string key_data(fields& in) {
    static_cast<void>(in.integer(4)); // allowed difference 1
    const auto key = in.take(in.rest().size());
    // Allowed difference 2: the key's value, not its length.
    return " (process id) (key of " + std::to_string(key.size()) + " bytes)";
}

std::string parameter_status(fields& in) {
    const auto name = std::string(in.c_string());
    return " " + name + "=" + value_text(in.c_string());
}

std::string body_text(char type, fields& in, object_names& oids) {
    switch (type) {
    case 'A':
        return notification(in);
    case 'C':
        return " " + value_text(in.c_string());
    case 'D':
        return data_row(in);
    case 'E':
    case 'N':
        return error_text(in);
    case 'G':
    case 'H':
    case 'W':
        return copy_response(in);
    case 'K':
        return key_data(in);
    case 'R':
        return " " + std::to_string(in.integer(4));
    case 'S':
        return parameter_status(in);
    case 'T':
        return column_list(in, oids);
    case 'V':
        return " " + data_value(in);
    case 'Z':
        return " " + std::string(in.take(1));
    case 'd':
        return " " + value_text(in.take(in.rest().size()));
    case 't':
        return type_list(in, oids);
    default:
        return {};
    }
}

} // namespace

std::string name_of(char type) {
    for (const auto& [letter, name] : names) {
        if (letter == type) {
            return std::string(name);
        }
    }
    return "message '" + escaped({&type, 1}) + "'";
}

char type_of(std::string_view name) {
    for (const auto& [letter, each] : names) {
        if (each == name) {
            return letter;
        }
    }
    return 0;
}

std::string object_names::name(std::uint32_t oid) {
    constexpr std::uint32_t first_normal_oid = 16'384; // access/transam.h
    if (oid < first_normal_oid) {
        return std::to_string(oid);
    }
    // Allowed difference 3.
    const auto [at, added] = numbers_.try_emplace(oid, numbers_.size() + 1);
    return "#" + std::to_string(at->second);
}

std::string to_line(const backend_message& message, object_names& names_of_objects) {
    fields in(message.body);
    auto line = name_of(message.type) + body_text(message.type, in, names_of_objects);
    if (in.broken()) {
        line += " (cut short)";
    } else if (!in.rest().empty()) {
        line += " and then " + value_text(in.rest());
    }
    return line;
}

} // namespace pgweir::differential
