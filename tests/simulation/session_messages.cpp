#include "tests/simulation/session_messages.hpp"

#include "protocol/error_response.hpp"

#include <algorithm>
#include <charconv>

namespace pgweir::simulation {

using protocol::backend;

bool starts_with(std::string_view text, std::string_view with) {
    return text.substr(0, with.size()) == with;
}

message plain(backend type) { return {static_cast<char>(type), {}}; }

message error(std::string_view sqlstate, std::string_view text) {
    message m{'E', {}};
    for (const auto& [field, value] : {std::pair<char, std::string_view>{'S', "ERROR"},
                                       {'V', "ERROR"},
                                       {'C', sqlstate},
                                       {'M', text}}) {
        m.body += field;
        m.body += value;
        m.body += '\0';
    }
    m.body += '\0';
    return m;
}

message complete(std::string_view tag) {
    message m = plain(backend::command_complete);
    m.body += tag;
    m.body += '\0';
    return m;
}

void put_u16(std::string& out, std::size_t value) {
    out += static_cast<char>(value >> 8U);
    out += static_cast<char>(value);
}
void put_u32(std::string& out, std::size_t value) {
    put_u16(out, value >> 16U & 0xffffU);
    put_u16(out, value & 0xffffU);
}

message row(std::initializer_list<std::string_view> columns) {
    message m = plain(backend::data_row);
    put_u16(m.body, columns.size());
    for (const auto column : columns) {
        put_u32(m.body, column.size());
        m.body += column;
    }
    return m;
}

message describe_rows() {
    message m = plain(backend::row_description);
    put_u16(m.body, 2);
    for (const std::string_view name : {"answer", "backend"}) {
        m.body += name;
        m.body += '\0';
        m.body.append(18, '\0');
    }
    return m;
}

message copy_response(backend type) {
    message m = plain(type);
    m.body.assign(3, '\0');
    return m;
}

bool gives_rows(std::string_view sql) { return starts_with(sql, "SELECT"); }

std::vector<std::string_view> split(std::string_view sql) {
    std::vector<std::string_view> parts;
    while (!sql.empty()) {
        auto part = sql.substr(0, sql.find(';'));
        sql.remove_prefix(std::min(sql.size(), part.size() + 1));
        while (!part.empty() && part.front() == ' ') {
            part.remove_prefix(1);
        }
        if (!part.empty()) {
            parts.push_back(part);
        }
    }
    return parts;
}

// A zero-terminated string off the front.
std::string_view take_text(std::string_view& body) {
    const auto text = body.substr(0, body.find('\0'));
    body.remove_prefix(std::min(body.size(), text.size() + 1));
    return text;
}

std::uint64_t take_number(std::string_view& body, std::size_t bytes) {
    std::uint64_t value = 0;
    for (const char c : body.substr(0, bytes)) {
        value = value << 8U | static_cast<unsigned char>(c);
    }
    body.remove_prefix(std::min(body.size(), bytes));
    return value;
}

void append(std::string& out, const message& m) {
    out += m.type;
    put_u32(out, m.body.size() + 4);
    out += m.body;
}

std::string essence(const message& m) {
    std::string_view body = m.body;
    switch (static_cast<backend>(m.type)) {
    case backend::data_row: { // the first column; the second names the backend
        take_number(body, 2);
        const auto size = take_number(body, 4);
        return std::string(body.substr(0, size));
    }
    case backend::command_complete:
    case backend::ready_for_query:
        return m.body;
    case backend::error_response:
        return std::string(protocol::read_error_fields(protocol::as_bytes(body)).sqlstate);
    default:
        return {};
    }
}

std::string_view word_of(std::string_view sql, std::string_view key) {
    for (std::size_t at = 0; (at = sql.find(key, at)) != std::string_view::npos; ++at) {
        if (at != 0 && sql[at - 1] == ' ' && sql.substr(at + key.size(), 1) == "=") {
            const auto value = sql.substr(at + key.size() + 1);
            return value.substr(0, value.find_first_of(" ;"));
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
