// Random conversations: a client that sends anything in any order, a model of PostgreSQL that
// answers late and in pieces, and the relay with its reply queue between them. Whatever happens,
// the queue must be empty exactly when the server has nothing more to say, must never find anything
// unexpected, and no byte may get lost, doubled or to the wrong side.
//
// One seed, one conversation: a failure names its seed.
#include "protocol/own_statement.hpp"
#include "protocol/relay.hpp"
#include "tests/support/postgres_model.hpp"
#include "tests/support/text_sink.hpp"

#include "tests/support/text_sink.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <random>
#include <string>

using namespace pgweir::protocol;
using pgweir::test::postgres_model;

namespace {

class dice {
public:
    explicit dice(std::uint64_t seed)
        : engine_(seed) {}
    /// 0 … below - 1
    std::size_t roll(std::size_t below) { return engine_() % below; }
    bool chance(std::size_t one_in) { return roll(one_in) == 0; }
    template <class Values>
    auto& one_of(Values& values) {
        return values[roll(std::size(values))];
    }

private:
    std::mt19937_64 engine_;
};

constexpr const char* statements[] = {
    "SELECT a",
    "SELECT b",
    "ROWS 3 c",
    "UPDATE d",
    "",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "FAIL",
    "FAIL PARSE",
    "FAIL AT COMMIT",
    "COPY t TO STDOUT",
    "COPY t FROM STDIN",
    "COPY t FROM STDIN",
    "COPY t FROM STDIN FAIL AT 0",
    "COPY t FROM STDIN FAIL AT 1",
    "COPY t FROM STDIN FAIL AT 2",
    "COPY t FROM STDIN FAIL AT END",
};

// What the client of one conversation is like.
struct manners {
    bool batches; // mostly well-formed batches, else anything
    bool copies;  // COPY FROM STDIN too
    bool careful; // sends Sync and requests in a COPY only behind its end: leaves no doubt
    bool ours;    // messages of the pooler's own are put between the client's
};

class conversation {
public:
    explicit conversation(std::uint64_t seed)
        : dice_(seed)
        , manners_{dice_.chance(2), !dice_.chance(3), dice_.chance(2), dice_.chance(2)}
        , server_(postgres_model::options{.closes_on_message_in_copy = !dice_.chance(4)}) {}

    struct outcome {
        bool doubt = false;
        bool closed = false;
        bool settled = false; // the doubt, and the server lives
        std::size_t checks = 0;
        std::size_t copies_failed = 0;
    };

    outcome run() {
        for (auto steps = 10 + dice_.roll(60); steps != 0 && !server_.closed(); --steps) {
            switch (dice_.roll(8)) {
            case 0:
            case 1:
            case 2:
                say_something();
                break;
            case 3:
                relay_from_client(1 + dice_.roll(40));
                break;
            case 4:
                server_reads(1 + dice_.roll(60));
                break;
            case 5:
                relay_from_server(1 + dice_.roll(80));
                break;
            case 6:
                dice_.chance(4) ? something_asynchronous() : settle();
                break;
            default:
                owed_.in_doubt() ? settle_doubt() : put_ours();
                break;
            }
            check();
        }
        settle();
        if (owed_.in_doubt() && !server_.closed() && !owed_.is_settling_doubt()) {
            settle_doubt();
            settle();
        }
        check();
        if (!outcome_.doubt && !server_.closed()) {
            CHECK(received_ == sent_by_server_);
            CHECK(forwarded_ == said_);
            CHECK(sensible_fates_);
        }
        if (manners_.careful && manners_.copies) {
            CHECK_FALSE(outcome_.doubt);
        }
        outcome_.settled = outcome_.doubt && !owed_.in_doubt();
        outcome_.closed = server_.closed();
        outcome_.copies_failed = server_.copy_has_failed() ? 1 : 0;
        return outcome_;
    }

private:
    // ---- The client.

    void say(frontend type, const std::function<void(message_writer&)>& body = {}) {
        message_writer w(saying_);
        w.begin(type);
        if (body) {
            body(w);
        }
        w.end();
    }

    std::string statement() {
        for (;;) {
            const std::string text = dice_.one_of(statements);
            if (manners_.copies || text.find("FROM STDIN") == std::string::npos) {
                return text;
            }
        }
    }

    std::string name() { return dice_.chance(3) ? "s" : ""; }

    void query() {
        auto text = statement();
        while (dice_.chance(3)) {
            text += ";" + statement();
        }
        say(frontend::query, [&](auto& w) { w.c_string(text); });
        for (auto at = text.find("FROM STDIN"); at != text.npos;
             at = text.find("FROM STDIN", at + 1)) {
            copy_data(); // each COPY needs an end of its own
        }
    }

    // What follows a COPY; of a careless client anything may stand in between.
    void copy_data() {
        if (!manners_.careful && dice_.chance(3)) {
            say_anything();
        }
        for (auto i = dice_.roll(4); i != 0; --i) {
            say(frontend::copy_data, [](auto& w) { w.raw("1\n"); });
            if (!manners_.careful && dice_.chance(6)) {
                say(dice_.chance(2) ? frontend::sync : frontend::flush);
            }
        }
        if (manners_.careful || !dice_.chance(5)) {
            dice_.chance(4) ? say(frontend::copy_fail, [](auto& w) { w.c_string("no"); })
                            : say(frontend::copy_done);
        }
    }

    void parse(const std::string& name, const std::string& text) {
        say(frontend::parse, [&](auto& w) { w.c_string(name).c_string(text).u16(0); });
    }
    void bind(const std::string& statement) {
        say(frontend::bind,
            [&](auto& w) { w.c_string("").c_string(statement).u16(0).u16(0).u16(0); });
    }
    void describe_or_close(frontend type, char what, const std::string& name) {
        say(type, [&](auto& w) { w.u8(static_cast<std::uint8_t>(what)).c_string(name); });
    }
    void execute() {
        const auto limit = dice_.chance(3) ? 1 + dice_.roll(3) : 0;
        say(frontend::execute,
            [&](auto& w) { w.c_string("").u32(static_cast<std::uint32_t>(limit)); });
    }

    void batch() {
        for (auto i = 1 + dice_.roll(3); i != 0; --i) {
            const auto text = statement();
            parse("", text);
            bind("");
            if (dice_.chance(2)) {
                describe_or_close(frontend::describe, 'P', "");
            }
            execute();
            if (text.find("FROM STDIN") != std::string::npos) {
                if (!manners_.careful && dice_.chance(2)) {
                    say(frontend::sync); // as libpq does
                }
                copy_data();
            }
            if (dice_.chance(5)) {
                say(frontend::flush);
            }
        }
        say(frontend::sync);
    }

    void say_anything() {
        switch (dice_.roll(12)) {
        case 0:
            return say(frontend::query, [&](auto& w) { w.c_string("SELECT q"); });
        case 1:
            return parse(name(), statement());
        case 2:
            return bind(name());
        case 3:
            return describe_or_close(frontend::describe, dice_.chance(2) ? 'S' : 'P', name());
        case 4:
            return execute();
        case 5:
            return describe_or_close(frontend::close, dice_.chance(2) ? 'S' : 'P', name());
        case 6:
            return say(frontend::function_call,
                       [&](auto& w) { w.u32(dice_.chance(3) ? 0 : 1'598).u16(0).u16(0).u16(0); });
        case 7:
            return say(frontend::flush);
        case 8:
            return say(frontend::copy_done);
        case 9:
            return say(frontend::copy_data, [](auto& w) { w.raw("stray"); });
        default:
            return say(frontend::sync);
        }
    }

    void say_something() {
        const auto before = saying_.size();
        if (manners_.careful && manners_.copies) {
            dice_.chance(2) ? query() : batch();
        } else if (manners_.batches && !dice_.chance(5)) {
            dice_.chance(2) ? query() : batch();
        } else if (dice_.chance(4)) {
            query();
        } else {
            say_anything();
        }
        said_ += saying_.substr(before);
    }

    // ---- The pooler.

    // The client's next `count` bytes arrive.
    void relay_from_client(std::size_t count) {
        if (owed_.is_settling_doubt()) {
            return;
        }
        count = std::min(count, saying_.size());
        client_buffer_.append(saying_, 0, count);
        saying_.erase(0, count);
        const auto step =
            client_.forward(as_bytes(client_buffer_), false, sink_, owed_, state_, nullptr);
        REQUIRE(step.why == client_step::stop::exhausted);
        to_server_ += sink_.text;
        forwarded_ += sink_.text;
        sink_.text.clear();
        client_buffer_.erase(0, step.taken_bytes);
    }

    // The server's next `count` bytes arrive.
    void relay_from_server(std::size_t count) {
        count = std::min(count, from_server_.size());
        server_buffer_.append(from_server_, 0, count);
        from_server_.erase(0, count);
        for (;;) {
            const auto step = replies_.next(as_bytes(server_buffer_), false, owed_);
            REQUIRE(step.why != server_step::stop::desync);
            const auto taken = server_buffer_.substr(0, step.taken_bytes);
            server_buffer_.erase(0, step.taken_bytes);
            received_ += taken;
            if (step.where == fate::forward) {
                sensible_fates_ = sensible_fates_ && taken.find("SELECT ours") == taken.npos;
            } else {
                sensible_fates_ = sensible_fates_ && taken.find("SELECT a") == taken.npos &&
                                  taken.find("ROWS") == taken.npos;
            }
            if (step.why == server_step::stop::exhausted) {
                break;
            }
        }
        outcome_.doubt = outcome_.doubt || owed_.in_doubt();
    }

    void settle_doubt() {
        if (!owed_.may_settle_doubt() || client_.inside_message()) {
            return;
        }
        append_doubt_settling(to_server_, owed_);
    }

    // A request of our own, where one may stand: nothing owed, no batch open.
    void put_ours() {
        if (!manners_.ours || !owed_.empty() || owed_.batch_open() || client_.inside_message()) {
            return;
        }
        message_writer w(to_server_);
        if (dice_.chance(2)) {
            w.begin(frontend::query).c_string("SELECT ours").end();
            owed_.sent(frontend::query, fate::swallow);
        } else {
            // A portal of its own too: an unnamed one would stay for the client to execute.
            const bool fails = dice_.chance(4);
            w.begin(frontend::close).u8('S').c_string("ours").end();
            w.begin(frontend::close).u8('P').c_string("ours").end();
            w.begin(frontend::parse).c_string("ours").c_string(fails ? "FAIL" : "SELECT ours");
            w.u16(0).end();
            w.begin(frontend::bind).c_string("ours").c_string("ours").u16(0).u16(0).u16(0).end();
            w.begin(frontend::execute).c_string("ours").u32(0).end();
            w.begin(frontend::sync).end();
            for (const auto type : {frontend::close, frontend::close, frontend::parse,
                                    frontend::bind, frontend::execute, frontend::sync}) {
                owed_.sent(type, fate::swallow);
            }
        }
    }

    // ---- The server.

    void server_reads(std::size_t count) {
        count = std::min(count, to_server_.size());
        const auto bytes = to_server_.substr(0, count);
        to_server_.erase(0, count);
        server_says(server_.receive(bytes));
    }

    void server_says(const std::string& bytes) {
        from_server_ += bytes;
        sent_by_server_ += bytes;
    }

    void something_asynchronous() {
        switch (dice_.roll(4)) {
        case 0:
            return server_says(server_.notice());
        case 1:
            return server_says(server_.notify("channel", "payload"));
        case 2:
            return server_says(server_.parameter("TimeZone", "UTC"));
        default:
            if (!owed_.is_settling_doubt()) {
                server_says(server_.cancel());
            }
            return;
        }
    }

    // Everything that is under way arrives.
    void settle() {
        while (!saying_.empty() || !to_server_.empty() || !from_server_.empty()) {
            relay_from_client(saying_.size());
            server_reads(to_server_.size());
            relay_from_server(from_server_.size());
            if (server_.closed()) {
                return;
            }
        }
    }

    // ---- What must hold.

    struct replies {
        std::size_t all = 0, ready = 0, surprises = 0; // surprises: errors and COPYs
    };

    static replies count(std::string_view bytes_left) {
        replies found;
        while (bytes_left.size() >= header_bytes) {
            const char type = bytes_left[0];
            found.all += std::string_view("NAS").find(type) == std::string_view::npos ? 1U : 0U;
            found.ready += type == 'Z' ? 1U : 0U;
            found.surprises += type == 'E' || type == 'G' ? 1U : 0U;
            bytes_left.remove_prefix(
                std::min(bytes_left.size(), read_header(as_bytes(bytes_left)).frame_bytes()));
        }
        return found;
    }

    // Compares the queue with what the server is really going to say: everything on its way, and
    // what a copy of it answers to everything that is on its way to it.
    void check() {
        if (owed_.in_doubt() || client_.inside_message() || replies_.inside_message()) {
            return;
        }
        auto future = server_;
        auto all = server_buffer_ + from_server_;
        all += future.receive(to_server_);
        all += future.unflushed();
        if (future.closed()) {
            return;
        }
        ++outcome_.checks;
        const auto coming = count(all);
        const bool owes = coming.all != 0 || future.in_copy_in();
        CHECK(owed_.empty() == !owes);
        if (coming.surprises == 0 && !future.in_copy_in()) {
            CHECK(owed_.owed_ready(fate::forward) + owed_.owed_ready(fate::swallow) ==
                  coming.ready);
        }
        if (all.empty() && to_server_.empty()) {
            CHECK(owed_.in_copy_in() == server_.in_copy_in());
            CHECK(owed_.skipping_until_sync() == server_.skipping());
            if (!server_.in_copy_in()) {
                CHECK(owed_.batch_open() == server_.in_batch());
            }
        }
    }

    dice dice_;
    manners manners_;
    postgres_model server_;
    client_stream client_;
    server_stream replies_;
    reply_queue owed_;
    session_state state_;
    outcome outcome_;
    std::string saying_;        // the client's bytes, not yet arrived
    std::string client_buffer_; // arrived, not yet forwarded
    pgweir::test::text_sink sink_;
    std::string to_server_;     // forwarded, on their way
    std::string from_server_;   // the server's bytes, on their way
    std::string server_buffer_; // arrived, not yet relayed
    // All there ever was.
    std::string said_, forwarded_, sent_by_server_, received_;
    bool sensible_fates_ = true;
};

} // namespace

TEST_CASE("relay: random conversations with a model of PostgreSQL") {
    // PGWEIR_CONVERSATIONS=n plays n of them, PGWEIR_CONVERSATION=seed plays one.
    const auto* const one = std::getenv("PGWEIR_CONVERSATION");
    const auto* const many = std::getenv("PGWEIR_CONVERSATIONS");
    const auto first = one != nullptr ? std::stoull(one) : 1;
    const auto count = one != nullptr ? 1 : many != nullptr ? std::stoull(many) : 60'000;
    std::size_t checks = 0;
    std::size_t doubtful = 0;
    std::size_t settled = 0;
    std::size_t closed = 0;
    std::size_t copies_failed = 0;
    for (auto seed = first; seed < first + count; ++seed) {
        CAPTURE(seed);
        const auto got = conversation(seed).run();
        checks += got.checks;
        doubtful += got.doubt ? 1 : 0;
        settled += got.settled ? 1 : 0;
        closed += got.closed ? 1 : 0;
        copies_failed += got.copies_failed;
    }
    MESSAGE(count << " conversations, " << checks << " comparisons; COPY failed in "
                  << copies_failed << ", doubt in " << doubtful << ", settled in " << settled
                  << ", server closed in " << closed);
    if (count > 1'000) {
        // The dice must not have become too kind, nor doubt an easy way out.
        CHECK(checks > count * 10);
        CHECK(copies_failed > count / 10);
        CHECK(doubtful > 0);
        CHECK(doubtful < count / 4);
        CHECK(settled > doubtful / 40);
    }
}
