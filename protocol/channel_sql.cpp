#include "protocol/channel_sql.hpp"

#include "protocol/own_statement.hpp"
#include "protocol/prepared_statement.hpp"
#include "protocol/sql_lexer.hpp"
#include "protocol/unicode_escapes.hpp"

#include <array>
#include <charconv>

namespace pgweir::protocol {

namespace {

constexpr std::string_view statement_name = "pgw_channels"; // no client's name begins like that

std::string quoted(std::string_view name) {
    std::string text = "\"";
    for (const char c : name) {
        text += c;
        if (c == '"') {
            text += c;
        }
    }
    return text + '"';
}

// As much of a name as PostgreSQL takes, in UTF-8: no character is cut in two.
std::string_view clipped(std::string_view name) {
    auto size = significant(name).size();
    while (size != name.size() && size != 0 &&
           (static_cast<unsigned char>(name[size]) & 0xc0U) == 0x80U) {
        --size;
    }
    return name.substr(0, size);
}

std::string identifier(const sql_token& token) {
    std::string name;
    if (token.is == sql_token::kind::word) {
        name = lower_case(token.text);
    } else {
        for (std::size_t i = 0; i < token.text.size(); ++i) {
            name += token.text[i];
            i += token.text.substr(i, 2) == "\"\"" ? 1 : 0;
        }
    }
    return std::string(clipped(name));
}

} // namespace

std::vector<unlisten> read_unlistens(std::string_view sql) {
    std::vector<unlisten> found;
    sql_lexer lexer(sql);
    bool at_start = true; // of a statement
    for (auto token = lexer.next(); token.is != sql_token::kind::end; token = lexer.next()) {
        const bool says_so =
            at_start && token.is == sql_token::kind::word && same_word(token.text, "unlisten");
        at_start = token.is == sql_token::kind::symbol && token.text == ";";
        if (!says_so) {
            continue;
        }
        token = lexer.next();
        const auto unescaped = token.unicode_escapes ? take_unescaped(token, lexer) : std::nullopt;
        if (unescaped) {
            token.text = *unescaped;
        }
        if (token.is == sql_token::kind::symbol && token.text == "*") {
            found.push_back({});
        } else if (token.is == sql_token::kind::word ||
                   token.is == sql_token::kind::quoted_identifier) {
            found.push_back({identifier(token)});
        }
    }
    return found;
}

std::string listen_sql(const channel_set& channels) {
    std::string sql;
    for (const auto& channel : channels) {
        sql += "LISTEN " + quoted(channel) + ';';
    }
    return sql;
}

std::string unlisten_sql(std::string_view channel) { return "UNLISTEN " + quoted(channel) + ';'; }

void append_listen(std::string& out, reply_queue& owed, const channel_set& channels,
                   const channel_set& unlisten_first) {
    for (const auto& channel : unlisten_first) {
        append_own_statement(out, owed, statement_name, "UNLISTEN " + quoted(channel));
    }
    for (const auto& channel : channels) {
        append_own_statement(out, owed, statement_name, "LISTEN " + quoted(channel));
    }
    append_own_sync(out, owed);
}

void append_unlisten_all(std::string& out, reply_queue& owed) {
    append_own_statement(out, owed, statement_name, "UNLISTEN *");
    append_own_sync(out, owed);
}

void append_fence(std::string& out, reply_queue& owed, std::string_view fence,
                  std::string_view payload, bool listens) {
    if (listens) {
        append_own_statement(out, owed, statement_name, "LISTEN " + quoted(fence));
    }
    append_own_statement(out, owed, statement_name,
                         "NOTIFY " + quoted(fence) + ", '" + std::string(payload) + '\'');
    append_own_sync(out, owed);
}

void append_channel_question(std::string& out, reply_queue& owed) {
    append_own_statement(out, owed, statement_name, "SELECT pg_catalog.pg_listening_channels()");
    append_own_sync(out, owed);
}

std::optional<std::string> channel_in(bytes row) {
    body_reader reader(row);
    const auto columns = reader.u16();
    const auto length = reader.u32();
    const auto value = reader.raw(length);
    if (columns != 1 || !reader.finished()) {
        return std::nullopt;
    }
    return std::string(as_text(value));
}

std::optional<notification> read_notification(bytes frame) {
    if (frame.size() < header_bytes || frame.size() != read_header(frame).frame_bytes() ||
        static_cast<backend>(frame[0]) != backend::notification_response) {
        return std::nullopt;
    }
    body_reader reader(frame.subspan(header_bytes));
    notification told;
    told.process_id = reader.u32();
    told.channel = reader.c_string();
    told.payload = reader.c_string();
    return reader.finished() ? std::optional(told) : std::nullopt;
}

std::string fence_payload(const fence_mark& mark) {
    return std::to_string(mark.worker) + ' ' + std::to_string(mark.client) + ' ' +
           std::to_string(mark.serial);
}

std::optional<fence_mark> read_fence(std::string_view payload) {
    std::array<std::uint64_t, 3> numbers{};
    const char* at = payload.data();
    const char* const end = at + payload.size();
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (i != 0 && (at == end || *at++ != ' ')) {
            return std::nullopt;
        }
        const auto [next, error] = std::from_chars(at, end, numbers[i]);
        if (error != std::errc()) {
            return std::nullopt;
        }
        at = next;
    }
    if (at != end || numbers[0] > UINT32_MAX) {
        return std::nullopt;
    }
    return fence_mark{static_cast<std::uint32_t>(numbers[0]), numbers[1], numbers[2]};
}

} // namespace pgweir::protocol
