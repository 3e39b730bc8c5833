#include "tests/simulation/session_messages.hpp"

#include "protocol/error_response.hpp"

#include <algorithm>
#include <charconv>

namespace pgweir::simulation {

using protocol::backend;

bool starts_with(std::string_view text, std::string_view with) {
    return text.substr(0, with.size()) == with;
}

void append(std::string& out, const message& m) {
    protocol::message_writer(out).begin(m.type).raw(m.body).end();
}

std::vector<message> messages_of(std::string_view bytes) {
    std::vector<message> all;
    while (bytes.size() >= protocol::header_bytes) {
        const auto head = protocol::read_header(protocol::as_bytes(bytes));
        all.push_back(
            {head.type, std::string(bytes.substr(protocol::header_bytes, head.body_bytes()))});
        bytes.remove_prefix(std::min(bytes.size(), head.frame_bytes()));
    }
    return all;
}

std::string essence(const message& m) {
    switch (static_cast<backend>(m.type)) {
    case backend::data_row: { // of one column
        constexpr std::size_t in_front = 6;
        return m.body.substr(std::min(in_front, m.body.size()));
    }
    case backend::command_complete:
    case backend::ready_for_query:
        return m.body;
    case backend::error_response:
    case backend::notice_response:
        return std::string(protocol::read_error_fields(protocol::as_bytes(m.body)).sqlstate);
    default:
        return {};
    }
}

std::string request_of(const message& m) {
    protocol::body_reader reader(protocol::as_bytes(m.body));
    const auto name = [&] { return '"' + std::string(reader.c_string()) + '"'; };
    switch (m.type) {
    case 'Q':
        return std::string(reader.c_string()).substr(0, 100);
    case 'P': {
        const auto what = name();
        return what + ' ' + std::string(reader.c_string()).substr(0, 100);
    }
    case 'B': {
        const auto portal = name();
        return portal + " of " + name();
    }
    case 'C':
    case 'D': {
        const bool of_statement = reader.character() == 'S';
        return (of_statement ? "statement " : "portal ") + name();
    }
    case 'E': {
        const auto portal = name();
        const auto limit = reader.u32();
        return limit == 0 ? portal : portal + ", at most " + std::to_string(limit) + " rows";
    }
    default:
        return {};
    }
}

bool is_fatal(const message& m) {
    return static_cast<backend>(m.type) == backend::error_response &&
           protocol::read_error_fields(protocol::as_bytes(m.body)).fatal();
}

bool same(const message& a, const message& b) {
    if (a.type != b.type) {
        return false;
    }
    const auto type = static_cast<backend>(a.type);
    return type == backend::error_response || type == backend::notice_response
               ? essence(a) == essence(b) && is_fatal(a) == is_fatal(b)
               : a.body == b.body;
}

std::string_view word_of(std::string_view sql, std::string_view key) {
    for (std::size_t at = 0; (at = sql.find(key, at)) != std::string_view::npos; ++at) {
        if (at != 0 && sql[at - 1] == ' ' && sql.substr(at + key.size(), 1) == "=") {
            const auto value = sql.substr(at + key.size() + 1);
            return value.substr(0, value.find_first_of(std::string_view(" ;'\0", 4)));
        }
    }
    return {};
}

std::uint64_t number_of(std::string_view sql, std::string_view key) {
    const auto text = word_of(sql, key);
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

} // namespace pgweir::simulation
