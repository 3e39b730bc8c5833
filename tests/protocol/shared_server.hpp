// A server, and clients that share it one after the other, as far as prepared statements go.
//
// A step is a line: who does what, and what reaches the server.
//     "a: P s X | B s | S"        client a sends Parse of text X under s, Bind of s, Sync
//     "= C#1 P#1 X B#1 S"         … and the server gets that; #1 is the first shared name, and so
//     on
//     "< 3 1 2 Z"                 the server answers (types of messages; E is an error, C- the
//                                 end of a DEALLOCATE, C* of DISCARD ALL; T1 is another row than
//                                 T2, t23 a parameter of that type)
//     "! a s"                     the results of a's s are found to have changed
//     "= own …", "< own …"        Close of all that pgweir keeps prepared there, and the answers
//     "at rest"                   nothing is owed, no batch is open: before the server is given
//     back
// A client that begins takes the server over from the one before, as at a transaction's end.
#pragma once

#include "protocol/lent_statements.hpp"
#include "protocol/own_statement.hpp"
#include "protocol/relay.hpp"
#include "protocol/stale_statement.hpp"

#include "tests/support/text_sink.hpp"

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace pgweir::test {

using namespace pgweir::protocol;

inline std::string message(char type, std::string_view body) {
    std::string out;
    message_writer(out).begin(type).raw(body).end();
    return out;
}

inline std::string z(std::string_view text) { return std::string(text) + '\0'; }

/// One message of a step: type, then a name, then a text, as far as there are any.
inline std::string client_message(std::istringstream& words) {
    std::string type, first, second;
    words >> type >> first >> second;
    const auto joined = [&](std::string text) {
        for (std::string more; words >> more;) {
            text += " " + more;
        }
        return text;
    };
    const auto name = first == "-" ? std::string() : first;
    switch (type[0]) {
    case 'P':
        return message('P', z(name) + z(joined(second)) + std::string(2, '\0'));
    case 'B':
        return message('B', z("") + z(name) + std::string(6, '\0'));
    case 'D':
    case 'C':
        return type == "Dp" ? message('D', "P" + z(name)) : message(type[0], "S" + z(name));
    case 'E':
        return message('E', z("") + std::string(4, '\0'));
    case 'Q':
        return message('Q', z(joined(first + (second.empty() ? "" : " " + second))));
    default:
        return message(type[0], "");
    }
}

class shared_server {
public:
    std::size_t per_server = 10;
    transaction_status status = transaction_status::idle;
    bool shares_sql_statements = true;

    void play(const std::vector<std::string>& steps) {
        for (const auto& step : steps) {
            CAPTURE(step);
            if (step == "at rest") {
                if (client(now_).statements->anything_lent()) {
                    take_back_lent(*client(now_).statements, owed, sent_.own());
                }
            } else if (step[0] == '=') {
                CHECK(shown() == step.substr(2));
            } else if (step[0] == '!') {
                const auto what = client(step[2]).statements->stands_for(step.substr(4));
                REQUIRE(what);
                what->changed = table.next_parse();
                client(step[2]).statements->find(step.substr(4))->results_changed(false);
            } else if (step[0] == '<') {
                answer(step.substr(2));
            } else {
                send(step[0], step.substr(3));
            }
        }
    }

    [[nodiscard]] client_statements& statements_of(char who) { return *client(who).statements; }
    [[nodiscard]] session_state& state_of(char who) { return client(who).state; }
    [[nodiscard]] bool waits() const { return last_.why == client_step::stop::awaiting_answer; }
    /// What has reached the server since the last time.
    std::string shown() {
        std::string out;
        auto rest = as_bytes(sent_.text);
        while (!rest.empty()) {
            const auto head = read_header(rest);
            REQUIRE(rest.size() >= head.frame_bytes());
            if (closes_own(rest.first(head.frame_bytes()))) {
                out += own_closed_++ == 0 ? (out.empty() ? "own" : " own") : "";
                rest = rest.subspan(head.frame_bytes());
                continue;
            }
            body_reader body(rest.subspan(header_bytes, head.body_bytes()));
            out += (out.empty() ? "" : " ") + std::string(1, head.type);
            if (head.type == 'P') {
                out += name(body.c_string());
                out += " " + std::string(body.c_string());
                for (auto count = body.u16(); count != 0; --count) {
                    out += " $" + std::to_string(body.u32());
                }
            } else if (head.type == 'B') {
                body.c_string();
                out += name(body.c_string());
            } else if (head.type == 'C' || head.type == 'D') {
                body.character();
                out += name(body.c_string());
            } else if (head.type == 'Q') {
                out += " " + std::string(body.c_string());
            }
            rest = rest.subspan(head.frame_bytes());
        }
        sent_.text.clear();
        return out;
    }

    server_statements there;
    kept_statements kept;
    reply_queue owed;
    statement_table table{"key", 1'000'000};

private:
    struct one_client {
        client_stream stream;
        std::unique_ptr<client_statements> statements;
        session_state state;
        std::string unsent;
    };
    one_client& client(char who) {
        auto& c = clients_[who];
        if (!c.statements) {
            c.statements = std::make_unique<client_statements>(table);
        }
        return c;
    }

    void send(char who, const std::string& what) {
        auto& c = client(who);
        if (who != now_) {
            REQUIRE(owed.empty());
            there.taken_over(c.statements->unnamed_last() + 1);
            c.statements->lease_begins();
            now_ = who;
        }
        std::size_t from = 0;
        while (from < what.size()) { // messages are set apart by " | "
            const auto to = std::min(what.find(" | ", from), what.size());
            std::istringstream words(what.substr(from, to - from));
            c.unsent += client_message(words);
            from = to + 3;
        }
        forward();
    }

    void forward() {
        auto& c = client(now_);
        const statement_link link{.mine = *c.statements,
                                  .there = there,
                                  .table = table,
                                  .settings = settings_,
                                  .per_server = per_server,
                                  .counted = counted_,
                                  .kept = &kept,
                                  .status = status,
                                  .shares_sql_statements = shares_sql_statements};
        last_ = c.stream.forward(as_bytes(c.unsent), false, sent_, owed, c.state, &link);
        c.unsent.erase(0, last_.taken_bytes);
        settle();
    }

    void settle() {
        there.apply(owed.outcomes(), client(now_).statements.get());
        owed.clear_outcomes();
    }

    void described(const std::string& type) {
        std::string body;
        message_writer to(body);
        if (type[0] == 't') {
            const bool any = type.size() != 1;
            to.u16(any ? 1 : 0);
            if (any) {
                to.u32(static_cast<std::uint32_t>(std::stoul(type.substr(1))));
            }
            there.told_parameters(as_bytes(body));
        } else if (type[0] == 'T') {
            to.u16(1).c_string(type).u32(0).u16(0).u32(23).u16(4).u32(0).u16(0);
            there.told_rows(as_bytes(body), false);
        } else if (type[0] == 'n') {
            there.told_rows({}, false);
        }
    }

    void answer(const std::string& types) {
        std::istringstream words(types);
        for (std::string type; words >> type;) {
            CAPTURE(type);
            if (owed.describes_for_us()) {
                described(type);
            }
            for (; type == "own" && own_closed_ > 1; --own_closed_) {
                (void)owed.received(backend::close_complete);
            }
            if (type == "own") {
                own_closed_ = 0;
                type = "3";
            }
            CHECK(owed.received(static_cast<backend>(type[0]), "42601").what !=
                  reply::kind::unexpected);
            settle();
            if (type == "C-") {
                const auto name = client(now_).statements->said_deallocated();
                REQUIRE(name);
                there.deallocated(*name);
            } else if (type == "C+") {
                client(now_).statements->said_prepared();
            } else if (type == "Z" && owed.empty()) {
                client(now_).statements->at_rest();
                if (status == transaction_status::idle) {
                    client(now_).state.at_rest();
                }
            } else if (type == "C*") {
                there.all_deallocated();
                client(now_).statements->all_deallocated();
            }
        }
        forward(); // what has waited
    }

    /// Names made from what a statement says are longer than pgweir's own.
    static bool closes_own(bytes frame) {
        const auto name = frame[0] == std::byte{'C'} ? as_text(frame).substr(header_bytes + 1) : "";
        return name.starts_with(server_name_prefix) && name.size() < 30;
    }

    std::string name(std::string_view real) {
        if (real == stale_name) {
            return " stale";
        }
        if (!real.starts_with(server_name_prefix)) {
            return real.empty() ? "" : " " + std::string(real);
        }
        const auto number = numbers_.try_emplace(std::string(real), numbers_.size() + 1);
        return "#" + std::to_string(number.first->second);
    }

    std::map<char, one_client> clients_;
    char now_ = 0;
    text_sink sent_;
    client_step last_;
    std::size_t own_closed_ = 0; // and not answered
    setting_map settings_;
    statement_link::counts counted_;
    std::map<std::string, std::size_t> numbers_;
};

} // namespace pgweir::test
