// Fuzz target: two clients that share one server, message by message: client_stream,
// statement_router, server_statements, reply_queue and server_stream together, driven as the engine
// drives them.
//
// The server is either the model of PostgreSQL (tests/support/postgres_model.hpp); then each client
// must hear, byte for byte, what it would hear from a PostgreSQL of its own. Or it answers whatever
// the input says, and may also send noise: then it may be found out and sent away, but nothing
// else.
//
// Input: flags, the number of statements a server may have, then steps of two bytes. Seeds:
// make_corpus.py.
#include "protocol/relay.hpp"
#include "protocol/lent_statements.hpp"
#include "protocol/stale_statement.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/relay_steps.hpp"
#include "tests/support/postgres_model.hpp"
#include "tests/support/text_sink.hpp"

#include <array>
#include <memory>
#include <optional>

using namespace pgweir::protocol;
using namespace pgweir::test;

namespace {

struct one_client {
    explicit one_client(statement_table& table)
        : statements(table) {}

    client_stream stream;
    client_statements statements;
    session_state session;
    std::string held_back; // sent, and not come yet
    std::string unread;    // come, and not used
    // What it has heard, and what it would have heard.
    std::string heard;
    frame_walker hears{to_client_types};
    postgres_model alone{{.describes_in_failed_transaction = false}};
    std::string would_hear;
    std::size_t asked_for_ready = 0; // Query, FunctionCall and Sync that a server was given
};

struct one_server {
    server_stream stream;
    reply_queue owed;
    server_statements statements;
    postgres_model model{{.describes_in_failed_transaction = false}};
    std::string answers; // on their way
    std::string unread;
    std::optional<std::size_t> user; // the client that holds it
    transaction_status status = transaction_status::idle;
    bool ready_current = true;
    frame_walker gets{to_server_types};
};

class relay {
public:
    relay(std::uint8_t flags, std::uint8_t limits)
        : honest_((flags & 1U) != 0)
        , table_("key", (flags & 4U) != 0 ? 2'000 : 1'000'000)
        , per_server_(limits % 12) {
        for (auto& client : clients_) {
            client = std::make_unique<one_client>(table_);
        }
        server_ = std::make_unique<one_server>();
    }

    ~relay() {
        server_.reset();
        for (auto& client : clients_) {
            client.reset();
        }
        PGWEIR_MUST(table_.held_bytes() == 0);
        PGWEIR_MUST(table_.size() == 0);
    }
    relay(const relay&) = delete;
    relay& operator=(const relay&) = delete;

    void play(fuzz_input in) {
        while (!in.empty()) {
            const auto what = static_cast<step>(in.byte() % step_count);
            const step_argument argument(in.byte());
            switch (what) {
            case step::raw:
                if (const auto noise = in.take(argument.text); !honest_) {
                    clients_[argument.client]->held_back += noise;
                }
                break;
            case step::answer:
                answer(argument);
                break;
            case step::answer_raw:
                if (honest_) {
                    arrive_at_server_end(argument.text == 15 ? server_->answers.size()
                                                             : argument.text);
                } else {
                    server_->answers += in.take(argument.text);
                    arrive_at_server_end(server_->answers.size());
                }
                break;
            case step::special:
                special(argument);
                break;
            case step::hold:
                hold_ = argument.text;
                break;
            default:
                clients_[argument.client]->held_back += client_message(what, argument, honest_);
                break;
            }
            arrive(argument.client);
            invariants();
        }
        finish();
    }

private:
    // What is left of a conversation with an honest server must come to an end.
    void finish() {
        hold_ = 0;
        for (int i = 0; i < 4; ++i) {
            arrive(0);
            arrive(1);
            if (honest_) {
                arrive_at_server_end(server_->answers.size());
            }
            invariants();
        }
    }

    // Bytes of a client's, all but the last hold_.
    void arrive(std::size_t who) {
        auto& c = *clients_[who];
        const auto count = c.held_back.size() - std::min<std::size_t>(hold_, c.held_back.size());
        c.unread.append(c.held_back, 0, count);
        c.held_back.erase(0, count);
        hold_ = 0;
        pump(who);
    }

    void pump(std::size_t who) {
        while (server_->user == who ? forward(who) : look(who)) {
        }
    }

    // No server is held. True when there may be more to do.
    bool look(std::size_t who) {
        auto& c = *clients_[who];
        const auto got = c.stream.peek(as_bytes(c.unread), false);
        PGWEIR_MUST(got.consumed <= c.unread.size());
        ask_alone(c, got.consumed);
        c.unread.erase(0, got.consumed);
        switch (got.wants) {
        case client_wants::more:
            return false;
        case client_wants::nothing:
            return true;
        case client_wants::ready: {
            std::string ready;
            append_ready_for_query(ready, transaction_status::idle);
            ++c.asked_for_ready;
            hear(c, ready);
            return true;
        }
        case client_wants::terminate:
        case client_wants::violation:
            leave(who);
            return false;
        case client_wants::server:
            break;
        }
        if (unfit()) {
            lose_server();
        }
        auto& s = *server_;
        if (s.user || !s.owed.empty() || !s.answers.empty() || !s.unread.empty() ||
            s.stream.inside_message()) {
            return false; // it waits its turn
        }
        s.user = who;
        s.statements.taken_over(c.statements.unnamed_last() + 1);
        c.statements.lease_begins();
        return true;
    }

    bool forward(std::size_t who) {
        auto& c = *clients_[who];
        auto& s = *server_;
        text_sink sink;
        counted_ = {};
        const statement_link link{.mine = c.statements,
                                  .there = s.statements,
                                  .table = table_,
                                  .settings = settings_,
                                  .per_server = per_server_,
                                  .counted = counted_,
                                  .epoch = epoch_};
        const auto step =
            c.stream.forward(as_bytes(c.unread), false, sink, s.owed, c.session, &link);
        settle();
        PGWEIR_MUST(step.taken_bytes <= c.unread.size());
        s.gets.see(sink.text);
        PGWEIR_MUST(c.stream.inside_message() != s.gets.between_messages());
        c.asked_for_ready += s.gets.count("QFS");
        s.gets.forget();
        if ((step.taken_bytes != 0 || counted_.checking) &&
            (!s.owed.empty() || s.owed.batch_open())) {
            s.ready_current = false;
        }
        ask_alone(c, step.taken_bytes);
        c.unread.erase(0, step.taken_bytes);
        if (honest_) {
            s.answers += s.model.receive(sink.text);
        }
        switch (step.why) {
        case client_step::stop::exhausted:
        case client_step::stop::sink_full:
            break;
        case client_step::stop::queue_full:
        case client_step::stop::awaiting_answer:
            PGWEIR_MUST(!s.owed.empty()); // or it would wait for ever
            return false;
        case client_step::stop::channels_first: // nobody listens here
        case client_step::stop::others_sequences:
        case client_step::stop::terminate:
        case client_step::stop::violation:
            leave(who);
            return false;
        }
        if (s.ready_current && give_back()) {
            return true;
        }
        return step.taken_bytes != 0;
    }

    // What the server's changes and the client's beliefs have become.
    void settle() {
        auto& s = *server_;
        auto* const c = s.user ? clients_[*s.user].get() : nullptr;
        if (s.owed.outcomes().empty()) {
            return;
        }
        s.statements.apply(s.owed.outcomes(), c != nullptr ? &c->statements : nullptr);
        s.owed.clear_outcomes();
        if (c == nullptr || c->statements.unnamed_in_flight()) {
            return;
        }
        if (c->statements.unnamed_known()) {
            c->session.unpin(pin_reason::unnamed_statement);
        } else {
            c->session.pin(pin_reason::unnamed_statement);
        }
    }

    // ---- The server's side.

    void answer(step_argument argument) {
        auto& s = *server_;
        if (honest_) {
            arrive_at_server_end(argument.text + 1U);
        } else {
            s.answers += server_message(argument);
            arrive_at_server_end(s.answers.size());
        }
    }

    void described(const server_step& step) {
        auto& s = *server_;
        const auto frame = as_bytes(s.unread).first(step.taken_bytes).last(step.last_frame_bytes);
        if (static_cast<backend>(frame[0]) == backend::parameter_description) {
            s.statements.told_parameters(step.result);
        } else {
            s.statements.told_rows(step.result,
                                   step.result.empty() && frame.size() != header_bytes);
        }
    }

    void arrive_at_server_end(std::size_t count) {
        auto& s = *server_;
        s.unread.append(s.answers, 0, count);
        s.answers.erase(0, count);
        auto* const before = server_.get();
        while (server_.get() == before) {
            const auto step = s.stream.next(as_bytes(s.unread), false, s.owed);
            if (step.describes) {
                described(step);
            }
            settle();
            if (!take(step) || step.why == server_step::stop::exhausted) {
                break;
            }
        }
        if (server_.get() == before && s.ready_current) {
            give_back();
        }
        pump(0);
        pump(1);
    }

    // False when the server is gone.
    bool take(const server_step& step) {
        auto& s = *server_;
        auto* const c = s.user ? clients_[*s.user].get() : nullptr;
        const auto taken = s.unread.substr(0, step.taken_bytes);
        const bool theirs = step.where == fate::forward && c != nullptr;
        if (theirs) {
            hear(*c, taken);
        }
        if (step.why == server_step::stop::command) {
            command_done(step.tag);
        } else if (step.why == server_step::stop::ready) {
            s.status = step.status;
            if (s.owed.empty() && !s.owed.batch_open()) {
                s.ready_current = true;
                if (c != nullptr && c->statements.was_busy()) {
                    c->statements.at_rest();
                }
            }
        }
        const bool lost = step.why == server_step::stop::desync ||
                          (step.why == server_step::stop::error && step.fatal);
        PGWEIR_MUST(!honest_ || step.why != server_step::stop::desync);
        s.unread.erase(0, step.taken_bytes);
        if (lost) {
            lose_server();
        }
        return !lost;
    }

    void command_done(std::string_view tag) {
        auto& s = *server_;
        auto* const c = s.user ? clients_[*s.user].get() : nullptr;
        if (tag.starts_with("CREATE ") || tag.starts_with("ALTER ") || tag.starts_with("DROP ")) {
            ++epoch_;
        } else if (tag == "DEALLOCATE ALL" || tag == "DISCARD ALL") {
            s.statements.all_deallocated();
            if (c != nullptr) {
                c->statements.all_deallocated();
            }
        } else if (tag == "DEALLOCATE" && c != nullptr) {
            if (const auto name = c->statements.said_deallocated()) {
                s.statements.deallocated(*name);
            }
        }
    }

    // True when it may go to somebody else now.
    bool give_back() {
        auto& s = *server_;
        if (!s.user) {
            return false;
        }
        auto& c = *clients_[*s.user];
        if (c.statements.anything_lent()) {
            text_sink sink;
            take_back_lent(c.statements, s.owed, sink.own());
            s.gets.see(sink.text);
            s.gets.forget();
            s.ready_current = false;
            if (honest_) {
                s.answers += s.model.receive(sink.text);
            }
            return false;
        }
        if (s.status != transaction_status::idle || !s.owed.empty() || s.owed.batch_open() ||
            s.owed.in_doubt() || s.owed.in_copy_in() || c.stream.inside_message() ||
            s.stream.inside_message() || c.session.pinned()) {
            return false;
        }
        PGWEIR_MUST(!honest_ || (!s.model.in_batch() && !s.model.in_copy_in()));
        s.user.reset();
        return true;
    }

    // What its last client has left behind stays here (the engine would clean it).
    [[nodiscard]] bool unfit() const {
        const auto& s = *server_;
        return !s.user && (s.owed.in_copy_in() || s.owed.in_doubt() || s.owed.batch_open() ||
                           (s.owed.empty() && s.status != transaction_status::idle));
    }

    // With it goes its client; the other one gets a new one.
    void lose_server() {
        const auto user = server_->user;
        server_ = std::make_unique<one_server>();
        if (user) {
            clients_[*user] = std::make_unique<one_client>(table_);
        }
    }

    // ---- The clients' side.

    void leave(std::size_t who) {
        auto& s = *server_;
        auto& c = *clients_[who];
        if (s.user == who) {
            const bool harmless = !s.owed.batch_open() && !s.owed.in_doubt() &&
                                  !s.owed.in_copy_in() && !c.stream.inside_message() &&
                                  !c.session.dirty() && !c.statements.anything_lent() &&
                                  s.status == transaction_status::idle;
            if (!harmless) {
                lose_server();
                return;
            }
            s.user.reset(); // what it owes is waited for
        }
        clients_[who] = std::make_unique<one_client>(table_);
    }

    void special(step_argument argument) {
        switch (argument.name % 4) {
        case 0:
            leave(argument.client);
            break;
        case 1:
            ++epoch_; // a table has changed
            break;
        case 2:
            per_server_ = argument.text;
            break;
        case 3:
            table_.set_max_bytes(argument.text == 15 ? 1'000'000 : argument.text * 100U);
            break;
        }
    }

    void ask_alone(one_client& c, std::size_t count) {
        if (honest_) {
            c.would_hear += c.alone.receive(std::string_view(c.unread).substr(0, count));
        }
    }

    void hear(one_client& c, std::string_view text) {
        c.hears.see(text);
        c.heard += text;
    }

    // ---- What must always hold.

    // As far as it goes, what it would have heard from a PostgreSQL of its own.
    static void expect_heard(const one_client& c) {
        const auto all = c.would_hear + c.alone.unflushed();
        const bool same = all.substr(0, c.heard.size()) == c.heard;
        if (!same) {
            frame_walker expected(to_client_types);
            expected.see(all);
            std::fprintf(stderr, "heard %s\nnot   %s\n", c.hears.types().c_str(),
                         expected.types().c_str());
        }
        PGWEIR_MUST(same);
    }

    void invariants() {
        const auto& s = *server_;
        if (s.owed.empty() && !s.owed.in_doubt()) {
            PGWEIR_MUST(!s.statements.anything_in_flight());
        }
        for (std::size_t who = 0; who < clients_.size(); ++who) {
            auto& c = *clients_[who];
            if (s.user == who && s.owed.in_doubt()) {
                continue;
            }
            PGWEIR_MUST(c.hears.count("Z") <= c.asked_for_ready);
            if (honest_) {
                expect_heard(c);
            }
        }
    }

    bool honest_;
    statement_table table_;
    std::size_t per_server_;
    setting_map settings_;
    statement_link::counts counted_;
    std::uint64_t epoch_ = 0;
    std::array<std::unique_ptr<one_client>, 2> clients_;
    std::unique_ptr<one_server> server_;
    std::size_t hold_ = 0;
};

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz_input in(data, std::min<std::size_t>(size, 4'096));
    const auto flags = in.byte();
    const auto limits = in.byte();
    relay(flags, limits).play(in);
    return 0;
}
