// What a client sends: with a server held (forward), with none (peek), and when its request is
// answered by an error of ours (discard_request). The conversations are in relay_test.cpp.
#include "protocol/relay.hpp"

#include "tests/support/text_sink.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace pgweir::protocol;

namespace {

std::string message(char type, std::string_view body = {}) {
    std::string out;
    message_writer(out).begin(type).raw(body).end();
    return out;
}
std::string query(std::string_view sql) { return message('Q', std::string(sql) + '\0'); }
std::string parse(std::string_view name, std::string_view sql = "SELECT 1") {
    return message('P', std::string(name) + '\0' + std::string(sql) + std::string(3, '\0'));
}
std::string bind(std::string_view statement = {}) {
    return message('B', '\0' + std::string(statement) + std::string(7, '\0'));
}
std::string describe_statement() { return message('D', std::string("S\0", 2)); }
std::string execute() { return message('E', std::string(5, '\0')); }
std::string close_statement(std::string_view name) {
    return message('C', 'S' + std::string(name) + '\0');
}
const std::string sync_message = message('S');
const std::string terminate = message('X');

/// A header that claims this length field.
std::string header_with(char type, std::uint32_t length_field) {
    std::string out(1, type);
    message_writer(out).u32(length_field);
    return out;
}

struct held {
    client_stream client;
    reply_queue owed;
    session_state state;
    pgweir::test::text_sink sent;
    client_step forward(std::string_view in, bool full = false) {
        return client.forward(as_bytes(in), full, sent, owed, state, nullptr);
    }
};

std::string pins_of(const session_state& state) {
    std::string names;
    for (unsigned bit = 1; bit <= static_cast<unsigned>(pin_reason::large_statement); bit <<= 1U) {
        if (state.has(static_cast<pin_reason>(bit))) {
            names +=
                (names.empty() ? "" : " ") + std::string(to_string(static_cast<pin_reason>(bit)));
        }
    }
    return names;
}

} // namespace

TEST_CASE("client_stream: what no client may send") {
    struct row {
        const char* what;
        std::string bytes;
        bool allowed;
    };
    const row rows[] = {
        {"a password after login", message('p', "secret"), false},
        {"an unknown type", message('z'), false},
        {"a type beyond ASCII", message('\xff'), false},
        {"the first type beyond ASCII", message('\x80'), false},
        {"a type of zero", message('\0'), false},
        {"a server's message", message('Z', "I"), false},
        {"a length that does not count itself", header_with('Q', 3), false},
        {"a length of zero", header_with('Q', 0), false},
        {"the longest length", header_with('Q', max_length_field), true},
        {"one more", header_with('Q', max_length_field + 1), false},
        {"a length with the top bit set", header_with('d', 0x80000000U), false},
        {"the largest length there is", header_with('P', 0xffffffffU), false},
        {"a Sync with a body", message('S', "x"), true},
        {"a Flush with a body", message('H', "x"), true},
        {"a small message at its limit", header_with('E', 10'000), true},
        {"Execute beyond it", header_with('E', 10'001), false},
        {"Describe beyond it", header_with('D', 10'001), false},
        {"Close beyond it", header_with('C', 10'001), false},
        {"CopyFail beyond it", header_with('f', 10'001), false},
        {"CopyDone beyond it", header_with('c', 10'001), false},
        {"Terminate beyond it", header_with('X', 10'001), false},
        {"Bind has no such limit", header_with('B', 10'001), true},
        {"CopyData has no such limit", header_with('d', 10'001), true},
    };
    for (const auto& [what, bytes, allowed] : rows) {
        const std::string shown(what);
        CAPTURE(shown);
        held h;
        const auto before = query("SELECT 1");
        const auto got = h.forward(before + bytes);
        CHECK((got.why == client_step::stop::violation) == !allowed);
        if (!allowed) {
            CHECK(got.taken_bytes == before.size()); // nothing of the offending message
            CHECK(h.owed.size() == 1);
        }
        const auto seen = client_stream().peek(as_bytes(bytes), false);
        CHECK((seen.wants == client_wants::violation) == !allowed);
    }
}

TEST_CASE("client_stream: a malformed body is PostgreSQL's to refuse") {
    for (const char type : {'Q', 'P', 'B', 'D', 'E', 'C', 'F'}) {
        for (const auto* const body : {"", "x", "xy", "xyz"}) {
            CAPTURE(type);
            held h;
            const auto bytes = message(type, body);
            const auto got = h.forward(bytes);
            CHECK(got.why == client_step::stop::exhausted);
            CHECK(got.taken_bytes == bytes.size());
            CHECK(h.owed.size() == 1);
        }
    }
}

TEST_CASE("client_stream: Terminate is not forwarded") {
    held h;
    const auto before = query("SELECT 1");
    const auto got = h.forward(before + terminate + query("never"));
    CHECK(got.why == client_step::stop::terminate);
    CHECK(got.taken_bytes == before.size());
    CHECK(got.queries == 1);
}

TEST_CASE("client_stream: Terminate at every byte") {
    // PgDog #848, Yugabyte #33913: whatever is in front of it, and however it is cut.
    const auto before = parse("") + bind() + execute() + message('d', "data") + sync_message;
    const auto all = before + terminate;
    for (std::size_t cut = 0; cut <= all.size(); ++cut) {
        CAPTURE(cut);
        held h;
        auto buffer = all.substr(0, cut);
        auto got = h.forward(buffer);
        buffer = buffer.substr(got.taken_bytes) + all.substr(cut);
        const auto first = got.taken_bytes;
        got = h.forward(buffer);
        CHECK(got.why == client_step::stop::terminate);
        CHECK(first + got.taken_bytes == before.size());
    }
}

TEST_CASE("client_stream: queries are counted") {
    held h;
    const auto got = h.forward(query("SELECT 1") + parse("") + bind() + execute() + execute() +
                               sync_message + message('F', std::string(10, '\0')));
    CHECK(got.queries == 4);
}

TEST_CASE("client_stream: a full queue stops the client, and it goes on later") {
    held h;
    std::string many;
    while (many.size() / sync_message.size() < reply_queue::high_water + 10) {
        many += sync_message;
    }
    auto got = h.forward(many);
    CHECK(got.why == client_step::stop::queue_full);
    CHECK(got.taken_bytes == reply_queue::high_water * sync_message.size());
    CHECK(h.owed.received(backend::ready_for_query).what == reply::kind::ready);
    got = h.forward(std::string_view(many).substr(got.taken_bytes));
    CHECK(got.why == client_step::stop::queue_full);
    CHECK(got.taken_bytes == sync_message.size());
}

TEST_CASE("client_stream: what is looked at waits until it is whole, what streams does not") {
    struct row {
        const char* what;
        std::string bytes;
        bool streams;
    };
    const row rows[] = {
        {"Query", query("SELECT 1"), false},
        {"Parse", parse("a"), false},
        {"Bind", bind("a"), false},
        {"Describe", describe_statement(), false},
        {"Close", close_statement("a"), false},
        {"Execute", execute(), false},
        {"FunctionCall", message('F', std::string(10, '\0')), false},
        {"CopyData", message('d', "some data"), true},
        {"CopyDone, though it has no body", message('c', "body"), true},
        {"CopyFail", message('f', "a reason"), true},
    };
    for (const auto& [what, bytes, streams] : rows) {
        for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
            const std::string shown(what);
            CAPTURE(shown);
            CAPTURE(cut);
            held h;
            const auto first = h.forward(std::string_view(bytes).substr(0, cut));
            const bool some = streams && cut >= header_bytes;
            CHECK(first.taken_bytes == (some ? cut : 0));
            CHECK(h.client.inside_message() == some);
            CHECK(h.forward(std::string_view(bytes).substr(first.taken_bytes)).taken_bytes ==
                  bytes.size() - first.taken_bytes);
            CHECK_FALSE(h.client.inside_message());
            // With the buffer full, half of it has to do.
            held full;
            const auto part = std::string_view(bytes).substr(0, cut);
            CHECK(full.forward(part, true).taken_bytes == (cut < header_bytes ? 0 : cut));
            CHECK(full.client.inside_message() == (cut >= header_bytes));
        }
    }
}

TEST_CASE("client_stream: a statement larger than is seen whole pins, and streams") {
    const auto large = query("INSERT INTO t VALUES ('" + std::string(500'000, 'x') + "')");
    SUBCASE("in a buffer that holds it, it is seen") {
        held h;
        CHECK(h.forward(large).taken_bytes == large.size());
        CHECK(pins_of(h.state).empty());
    }
    SUBCASE("in pieces it is not") {
        held h;
        CHECK(h.forward(large.substr(0, statement_seen_bytes - 1)).taken_bytes == 0);
        CHECK(h.owed.empty());
        CHECK(h.forward(large.substr(0, statement_seen_bytes), true).taken_bytes ==
              statement_seen_bytes);
        CHECK(pins_of(h.state) == "large_statement");
        CHECK(h.owed.size() == 1);
        CHECK(h.client.inside_message());
        CHECK(h.forward(large.substr(statement_seen_bytes) + sync_message).taken_bytes ==
              large.size() - statement_seen_bytes + sync_message.size());
        CHECK(h.owed.size() == 2);
    }
    SUBCASE("nothing is gained by waiting when as much is there as is ever seen") {
        held h;
        CHECK(h.forward(large.substr(0, statement_seen_bytes)).taken_bytes == statement_seen_bytes);
        CHECK(pins_of(h.state) == "large_statement");
    }
    SUBCASE("nor of a Parse is the rest seen") {
        held h;
        CHECK(h.forward(parse("", std::string(500'000, ' ')).substr(0, statement_seen_bytes))
                  .taken_bytes == statement_seen_bytes);
        CHECK(pins_of(h.state) == "large_statement");
        held named;
        CHECK(named.forward(parse(std::string(500'000, 'n')).substr(0, statement_seen_bytes))
                  .taken_bytes == statement_seen_bytes);
        CHECK(pins_of(named.state) == "large_statement");
    }
    SUBCASE("a message that ends in a full buffer's next filling is waited for") {
        held h;
        const auto small = query("SELECT 1");
        const auto in = small + query("SELECT 22222").substr(0, 10);
        CHECK(h.forward(in, true).taken_bytes == small.size());
        CHECK(pins_of(h.state).empty());
    }
    SUBCASE("a Parse whose text is there, but not all of its parameter types") {
        held h;
        const auto types =
            message('P', std::string("\0SELECT 1\0", 10) + std::string(40'000, '\0'));
        CHECK(h.forward(types.substr(0, 8'192), true).taken_bytes == 8'192);
        CHECK(pins_of(h.state).empty());
    }
}

TEST_CASE("client_stream: what pins") {
    struct row {
        const char* what;
        std::vector<std::string> messages;
        const char* pins;
    };
    const row rows[] = {
        {"a plain query", {query("SELECT 1")}, ""},
        {"a setting", {query("SET a = 1")}, "setting"},
        {"a setting, parsed", {parse("", "SET a = 1"), bind(), execute(), sync_message}, "setting"},
        {"set_config by number",
         {message('F', std::string("\0\0\x08\x1e\0\0\0\0\0\0", 10))},
         "setting"},
        {"pg_advisory_lock by number",
         {message('F', std::string("\0\0\x0b\x40\0\0\0\0\0\0", 10))},
         "advisory_lock"},
        {"currval by number", {message('F', std::string("\0\0\x06\x27\0\0\0\0\0\0", 10))}, ""},
        {"currval", {query("SELECT currval('s')")}, ""},
        {"setseed by number",
         {message('F', std::string("\0\0\x06\x3f\0\0\0\0\0\0", 10))},
         "random_seed"},
        {"query_to_xml by number",
         {message('F', std::string("\0\0\x0b\x6c\0\0\0\0\0\0", 10))},
         "setting large_statement"},
        {"lo_open by number", {message('F', std::string("\0\0\x03\xb8\0\0\0\0\0\0", 10))}, ""},
    };
    for (const auto& [what, messages, pins] : rows) {
        const std::string shown(what);
        CAPTURE(shown);
        std::string all;
        for (const auto& m : messages) {
            all += m;
        }
        for (std::size_t cut = 0; cut < all.size(); ++cut) {
            CAPTURE(cut);
            held h;
            const auto first = h.forward(std::string_view(all).substr(0, cut)).taken_bytes;
            CHECK(first + h.forward(std::string_view(all).substr(first)).taken_bytes == all.size());
            CHECK(pins_of(h.state) == pins);
        }
    }
}

TEST_CASE("client_stream: without a server") {
    struct row {
        const char* what;
        std::string bytes;
        client_wants wants;
        std::size_t consumed;
    };
    const auto data = message('d', "data");
    const row rows[] = {
        {"nothing", "", client_wants::more, 0},
        {"part of a header", "Q\0\0", client_wants::more, 0},
        {"a query", query("SELECT 1"), client_wants::server, 0},
        {"part of a query", query("SELECT 1").substr(0, 9), client_wants::more, 0},
        {"a batch", parse("") + sync_message, client_wants::server, 0},
        {"a Sync", sync_message + query("SELECT 1"), client_wants::ready, 5},
        {"Terminate", terminate, client_wants::terminate, 5},
        {"CopyData", data, client_wants::nothing, data.size()},
        {"CopyDone", message('c'), client_wants::nothing, 5},
        {"CopyFail", message('f', "no"), client_wants::nothing, 7},
        {"Flush", message('H'), client_wants::nothing, 5},
        {"several of them before a query", data + message('c') + query("SELECT 1"),
         client_wants::nothing, data.size() + 5},
        {"and before a violation", data + message('z'), client_wants::nothing, data.size()},
    };
    for (const auto& [what, bytes, wants, consumed] : rows) {
        const std::string shown(what);
        CAPTURE(shown);
        client_stream client;
        const auto got = client.peek(as_bytes(bytes), false);
        CHECK(static_cast<int>(got.wants) == static_cast<int>(wants));
        CHECK(got.consumed == consumed);
    }
    SUBCASE("a query that fills the buffer needs a server") {
        client_stream client;
        const auto part = query(std::string(10'000, ' ')).substr(0, 8'192);
        CHECK(client.peek(as_bytes(part), true).wants == client_wants::server);
    }
    SUBCASE("what peek gives to a server, forward takes") {
        const auto all = query("SELECT 1, 2") + parse("") + sync_message;
        for (std::size_t cut = 0; cut <= all.size(); ++cut) {
            for (const bool full : {false, true}) {
                CAPTURE(cut);
                held h;
                const auto part = std::string_view(all).substr(0, cut);
                if (h.client.peek(as_bytes(part), full).wants == client_wants::server) {
                    CHECK(h.forward(part, full).taken_bytes != 0);
                } else {
                    CHECK(h.forward(part, full).taken_bytes == 0);
                }
            }
        }
    }
}

TEST_CASE("client_stream: the rest of what was dropped or abandoned is dropped") {
    const auto copy = message('d', std::string(1'000, 'x'));
    const auto all = copy + query("SELECT 1");
    SUBCASE("a large CopyData without a server") {
        client_stream client;
        CHECK(client.peek(as_bytes(all).first(10), false).consumed == 10);
        CHECK_FALSE(client.inside_message());
        CHECK(client.peek(as_bytes(all).subspan(10, 500), false).consumed == 500);
        const auto last = client.peek(as_bytes(all).subspan(510), false);
        CHECK(last.wants == client_wants::nothing);
        CHECK(last.consumed == copy.size() - 510);
        CHECK(client.peek(as_bytes(all).subspan(copy.size()), false).wants == client_wants::server);
    }
    SUBCASE("a CopyData that was partly forwarded when its server died") {
        held h;
        CHECK(h.forward(all.substr(0, 100)).taken_bytes == 100);
        CHECK(h.client.inside_message());
        h.client.abandon_message();
        CHECK_FALSE(h.client.inside_message());
        CHECK(h.forward(all.substr(100)).taken_bytes == 0); // it is peek() that drops it
        CHECK(h.client.peek(as_bytes(all).subspan(100), false).consumed == copy.size() - 100);
        CHECK(h.client.peek(as_bytes(all).subspan(copy.size()), false).wants ==
              client_wants::server);
    }
    SUBCASE("the same when nobody said abandon_message()") {
        held h;
        CHECK(h.forward(all.substr(0, 100)).taken_bytes == 100);
        CHECK(h.client.peek(as_bytes(all).subspan(100), false).consumed == copy.size() - 100);
    }
    SUBCASE("a batch whose server died leaves no statement to keep") {
        held h;
        CHECK(h.forward(parse("")).taken_bytes != 0);
        h.client.abandon_message();
        CHECK(h.forward(sync_message).taken_bytes != 0);
        CHECK(pins_of(h.state).empty());
    }
    SUBCASE("nor does one whose Sync found no server") {
        held h;
        CHECK(h.forward(parse("")).taken_bytes != 0);
        CHECK(h.client.peek(as_bytes(sync_message), false).wants == client_wants::ready);
        CHECK(h.forward(sync_message).taken_bytes != 0);
        CHECK(pins_of(h.state).empty());
    }
    SUBCASE("a message that was whole is not abandoned") {
        held h;
        CHECK(h.forward(copy).taken_bytes == copy.size());
        h.client.abandon_message();
        CHECK(h.forward(query("SELECT 1")).taken_bytes != 0);
    }
}

TEST_CASE("client_stream: taking back a request that gets an error of ours") {
    struct row {
        const char* what;
        std::string request;
        std::string rest;
    };
    const auto next = query("SELECT 'next'");
    const row rows[] = {
        {"a query", query("SELECT 1"), next},
        {"a function call", message('F', std::string(10, '\0')), next},
        {"a batch", parse("") + bind() + execute() + sync_message, next},
        {"a batch with a Flush", parse("") + message('H') + bind() + execute() + sync_message,
         next},
        {"a batch with a query in it, which is skipped",
         parse("") + query("SELECT 1") + sync_message, next},
        {"only the first of two batches", parse("") + sync_message, bind() + sync_message},
        {"stray CopyData before it", message('d', "x") + query("SELECT 1"), next},
        {"a COPY in a batch",
         parse("") + bind() + execute() + message('d', "x") + message('c') + sync_message, next},
        {"up to Terminate", parse("") + bind(), terminate},
        {"up to what is no message", parse("") + bind(), message('z')},
        {"a large query", query(std::string(20'000, ' ')), next},
    };
    for (const auto& [what, request, rest] : rows) {
        const std::string shown(what);
        CAPTURE(shown);
        const auto all = request + rest;
        for (std::size_t piece = 1; piece <= all.size();
             piece = piece < 40 ? piece + 1 : piece * 3) {
            CAPTURE(piece);
            client_stream client;
            std::string buffer;
            std::size_t arrived = 0;
            std::size_t consumed = 0;
            client_stream::discarded got;
            while (!got.complete && arrived < all.size()) {
                const auto count = std::min(piece, all.size() - arrived);
                buffer.append(all, arrived, count);
                arrived += count;
                got = client.discard_request(as_bytes(buffer));
                consumed += got.consumed;
                buffer.erase(0, got.consumed);
            }
            CHECK(got.complete);
            CHECK(got.ready == (rest != terminate && rest != message('z')));
            CHECK(consumed == request.size());
            if (rest == next) {
                held h;
                h.client = client;
                CHECK(h.client.peek(as_bytes(rest), false).wants == client_wants::server);
                CHECK(h.forward(rest).taken_bytes == rest.size());
            }
        }
    }
}

TEST_CASE("client_stream: taking back one request after another") {
    client_stream client;
    const std::string requests[] = {parse("") + bind() + sync_message,
                                    query("SELECT 1"),
                                    parse("") + query("SELECT 1") + sync_message,
                                    query("SELECT 1"),
                                    query("SELECT 1"),
                                    sync_message,
                                    parse("") + sync_message,
                                    message('F', "function"),
                                    sync_message};
    for (const auto& request : requests) {
        const auto all = request + query("SELECT 'next'") + sync_message;
        const auto got = client.discard_request(as_bytes(all));
        CHECK(got.complete);
        CHECK(got.ready);
        CHECK(got.consumed == request.size());
    }
    // A header is enough to begin with.
    const auto large = query(std::string(5'000, ' '));
    const auto first = client.discard_request(as_bytes(large).first(header_bytes));
    CHECK(first.consumed == header_bytes);
    CHECK_FALSE(first.complete);
    CHECK_FALSE(client.inside_message());
    CHECK(client.discard_request(as_bytes(large).subspan(header_bytes)).complete);
    // A batch that ended at a Terminate does not go on.
    const auto leaving = parse("") + terminate;
    const auto left = client.discard_request(as_bytes(leaving));
    CHECK(left.complete);
    CHECK_FALSE(left.ready); // PostgreSQL would say nothing more
    const auto two = query("SELECT 1") + query("SELECT 2");
    CHECK(client.discard_request(as_bytes(two)).consumed == query("SELECT 1").size());
}

TEST_CASE("client_stream: where nothing is tracked, nothing pins") {
    for (const auto& in :
         {query("SET work_mem = '1MB'; LISTEN c"), parse("", "LOAD 'auto_explain'"),
          message('F', std::string("\0\0\010\036\0\0\0\0\0\0", 10))}) {
        held h;
        h.forward(in);
        CHECK_FALSE(pins_of(h.state).empty());
        held untracked;
        untracked.state.leave_untracked();
        CHECK(untracked.forward(in).taken_bytes == in.size());
        CHECK(pins_of(untracked.state).empty());
        untracked.state.clear();
        CHECK_FALSE(untracked.state.tracked());
    }
}

TEST_CASE("client_stream: behind settings that are not known to be in effect, one batch") {
    const auto batch = parse("") + bind() + execute() + sync_message;
    const auto call = message('F', std::string(10, '\0'));
    for (const auto& first : {batch, query("SELECT 1"), call, parse("") + query("SELECT 1")}) {
        const auto in = first + query("SELECT 2") + sync_message;
        for (std::size_t cut = 1; cut <= in.size(); ++cut) {
            CAPTURE(first);
            CAPTURE(cut);
            statement_table table{"key", 1'000'000};
            client_statements mine(table);
            server_statements there;
            const setting_map settings;
            statement_link::counts counted;
            statement_link link{.mine = mine,
                                .there = there,
                                .table = table,
                                .settings = settings,
                                .per_server = 10,
                                .counted = counted};
            link.settings_ahead = true;
            held a;
            a.owed.sent_ahead(frontend::bind);
            std::size_t taken = 0;
            const auto forward = [&](std::size_t up_to) {
                const auto step = a.client.forward(as_bytes(in).subspan(taken, up_to - taken),
                                                   false, a.sent, a.owed, a.state, &link);
                taken += step.taken_bytes;
                return step.why;
            };
            forward(cut);
            CHECK(taken <= first.size());
            CHECK(forward(in.size()) == client_step::stop::awaiting_answer);
            CHECK(taken == first.size());
            CHECK(a.owed.owed_ready(fate::forward) == 1);
            link.settings_ahead = false;
            CHECK(forward(in.size()) == client_step::stop::exhausted);
            CHECK(taken == in.size());
        }
    }
}

TEST_CASE("client_stream: taking back what is left of a request that has been sent in part") {
    const auto batch = parse("") + bind() + execute() + sync_message;
    for (std::size_t sent = 1; sent < batch.size(); ++sent) { // nothing is taken of a part of it
        CAPTURE(sent);
        held a;
        const auto taken = a.forward(std::string_view(batch).substr(0, sent)).taken_bytes;
        a.client.discard_rest(true);
        const auto rest = batch.substr(taken) + query("SELECT 2");
        const auto got = a.client.discard_request(as_bytes(rest));
        CHECK(got.complete);
        CHECK(got.ready);
        CHECK(got.consumed == batch.size() - taken);
    }
    // Of a long message that ends its batch, the rest has not been sent.
    const auto large = query(std::string(300'000, 'x'));
    held a;
    const auto taken = a.forward(std::string_view(large).substr(0, 270'000)).taken_bytes;
    CHECK(a.client.inside_message());
    a.client.discard_rest(false);
    const auto got = a.client.discard_request(as_bytes(large.substr(taken) + query("SELECT 2")));
    CHECK(got.complete);
    CHECK(got.ready);
    CHECK(got.consumed == large.size() - taken);
}
