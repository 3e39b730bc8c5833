// Conversations between a client and a server, written down in a readable notation, for the tests
// of the reply queue and of the relay.
//
//     > P B E S        what is sent to the server: type bytes; DS and DP are the two Describes,
//                      Q'…' and P'…' carry a text, P=n B=n DS=n CS=n a name, !Q is one of ours
//     < 1 2 D C ZI     what comes from the server: ZI ZT ZE with a status, E an ERROR, E! a FATAL,
//                      E57014 one with that SQLSTATE, PS a ParameterStatus
//         !C           … and is swallowed
//         C+ C-        … and completes / does not complete the answer to a message
//         N~           … and belongs to no request
//         1?           … and is unexpected
//     [owed=2 ready=1 ours=0 copy skip batch doubt]
//                      what the queue must say now: the numbers that are given, and exactly the
//                      flags that are given
//
// Tests only.
#pragma once

#include "protocol/message.hpp"
#include "protocol/reply_queue.hpp"

#include <doctest/doctest.h>

#include <cctype>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::test {

struct script_message {
    char type = 0;
    bool ours = false;                // swallowed
    bool describes_statement = false; // DS
    std::string bytes;
    std::string sqlstate;
    std::optional<protocol::reply::kind> expected;
};

struct script_check {
    std::optional<std::size_t> owed, ready, ours;
    bool copy = false, skip = false, batch = false, doubt = false;
};

struct script_step {
    enum class what { sent, received, check };
    what is;
    script_message message; // sent, received
    script_check check;
    std::string text; // as written
};

namespace detail {

// "P'select 1'" -> P, select 1; "B=name" -> B, name.
struct word_parts {
    std::string head, name, text;
};

inline word_parts split_word(const std::string& word) {
    word_parts parts;
    const auto quote = word.find('\'');
    const auto equals = word.find('=');
    parts.head = word.substr(0, std::min(quote, equals));
    if (equals != std::string::npos && equals < quote) {
        parts.name =
            word.substr(equals + 1, quote == std::string::npos ? quote : quote - equals - 1);
    }
    if (quote != std::string::npos) {
        parts.text = word.substr(quote + 1, word.size() - quote - 2);
    }
    return parts;
}

inline script_message client_message(std::string word) {
    script_message m;
    m.ours = word[0] == '!';
    const auto parts = split_word(word.substr(m.ours ? 1 : 0));
    m.type = parts.head[0];
    protocol::message_writer w(m.bytes);
    w.begin(m.type);
    const auto text = word.find('\'') == std::string::npos ? std::string("select 1") : parts.text;
    switch (m.type) {
    case 'Q':
        w.c_string(text);
        break;
    case 'P':
        w.c_string(parts.name).c_string(text).u16(0);
        break;
    case 'B':
        w.c_string("").c_string(parts.name).u16(0).u16(0).u16(0);
        break;
    case 'D':
    case 'C':
        REQUIRE(parts.head.size() == 2);
        m.describes_statement = parts.head == "DS";
        w.u8(static_cast<unsigned char>(parts.head[1])).c_string(parts.name);
        break;
    case 'E':
        w.c_string("").u32(0);
        break;
    case 'F':
        w.u32(1'598).u16(0).u16(0).u16(0);
        break;
    case 'd':
        w.raw(text + "\n");
        break;
    case 'f':
        w.c_string("changed my mind");
        break;
    default:
        REQUIRE(std::string_view("SHcX").find(m.type) != std::string_view::npos);
    }
    w.end();
    return m;
}

inline std::string take_suffix(std::string& word, script_message& m) {
    using kind = protocol::reply::kind;
    switch (word.back()) {
    case '+':
        m.expected = kind::completes;
        break;
    case '-':
        m.expected = kind::partial;
        break;
    case '~':
        m.expected = kind::asynchronous;
        break;
    case '?':
        m.expected = kind::unexpected;
        break;
    default:
        return word;
    }
    word.pop_back();
    return word;
}

inline script_message server_message(std::string word) {
    script_message m;
    m.ours = word[0] == '!';
    word.erase(0, m.ours ? 1 : 0);
    word = take_suffix(word, m);
    m.type = word == "PS" ? 'S' : word[0];
    const auto rest = word.substr(1);
    protocol::message_writer w(m.bytes);
    w.begin(m.type);
    switch (m.type) {
    case 'Z':
        w.u8(static_cast<unsigned char>(rest.empty() ? 'I' : rest[0]));
        break;
    case 'E':
        m.sqlstate = rest.empty() ? "42601" : rest == "!" ? "57P01" : rest;
        w.u8('S').c_string(rest == "!" ? "FATAL" : "ERROR");
        w.u8('V').c_string(rest == "!" ? "FATAL" : "ERROR");
        w.u8('C').c_string(m.sqlstate).u8('M').c_string("no").u8(0);
        break;
    case 'N':
        w.u8('S').c_string("NOTICE").u8('C').c_string("00000").u8('M').c_string("well").u8(0);
        break;
    case 'S':
        w.c_string("TimeZone").c_string("UTC");
        break;
    case 'A':
        w.u32(42).c_string("channel").c_string("payload");
        break;
    case 'T':
        w.u16(1).c_string("a").u32(0).u16(0).u32(23).u16(4).u32(0xffffffff).u16(0);
        break;
    case 'D':
        w.u16(1).u32(1).raw("1");
        break;
    case 'C':
        w.c_string("DROP TABLE");
        break;
    case 't':
        w.u16(0);
        break;
    case 'V':
        w.u32(0xffffffff);
        break;
    case 'G':
    case 'H':
    case 'W':
        w.u8(0).u16(0);
        break;
    case 'd':
        w.raw("1\n");
        break;
    default:
        break;
    }
    w.end();
    return m;
}

inline script_check parse_check(const std::string& text) {
    script_check check;
    std::size_t at = 0;
    while (at < text.size()) {
        const auto end = std::min(text.find(' ', at), text.size());
        const auto word = text.substr(at, end - at);
        at = end + 1;
        const auto equals = word.find('=');
        const auto head = word.substr(0, equals);
        const auto number =
            equals == std::string::npos ? std::size_t{0} : std::stoul(word.substr(equals + 1));
        if (head == "owed") {
            check.owed = number;
        } else if (head == "ready") {
            check.ready = number;
        } else if (head == "ours") {
            check.ours = number;
        } else if (head == "copy") {
            check.copy = true;
        } else if (head == "skip") {
            check.skip = true;
        } else if (head == "batch") {
            check.batch = true;
        } else if (head == "doubt") {
            check.doubt = true;
        } else {
            REQUIRE_MESSAGE(word.empty(), "unknown check: " << word);
        }
    }
    return check;
}

} // namespace detail

/// The steps of a script.
inline std::vector<script_step> parse_script(std::string_view script) {
    std::vector<script_step> steps;
    auto direction = script_step::what::sent;
    std::size_t at = 0;
    while (at < script.size()) {
        if (std::isspace(static_cast<unsigned char>(script[at])) != 0) {
            ++at;
            continue;
        }
        if (script[at] == '[') {
            const auto end = script.find(']', at);
            const auto text = std::string(script.substr(at + 1, end - at - 1));
            steps.push_back({script_step::what::check, {}, detail::parse_check(text), text});
            at = end + 1;
            continue;
        }
        auto end = at;
        for (bool quoted = false;
             end < script.size() && (quoted || (script[end] != ' ' && script[end] != '\n'));
             ++end) {
            quoted = quoted != (script[end] == '\'');
        }
        const auto word = std::string(script.substr(at, end - at));
        at = end;
        if (word == ">" || word == "<") {
            direction = word == ">" ? script_step::what::sent : script_step::what::received;
        } else {
            steps.push_back({direction,
                             direction == script_step::what::sent ? detail::client_message(word)
                                                                  : detail::server_message(word),
                             {},
                             word});
        }
    }
    return steps;
}

/// Asserts what a check says of a queue.
inline void check_queue(const script_check& check, const protocol::reply_queue& owed) {
    if (check.owed) {
        CHECK(owed.size() == *check.owed);
        CHECK(owed.empty() == (*check.owed == 0));
    }
    if (check.ready) {
        CHECK(owed.owed_ready(protocol::fate::forward) == *check.ready);
    }
    if (check.ours) {
        CHECK(owed.owed_ready(protocol::fate::swallow) == *check.ours);
    }
    CHECK(owed.in_copy_in() == check.copy);
    CHECK(owed.skipping_until_sync() == check.skip);
    CHECK(owed.batch_open() == check.batch);
    CHECK(owed.in_doubt() == check.doubt);
}

/// One conversation and its name.
struct script {
    const char* name;
    const char* text;
};

} // namespace pgweir::test
