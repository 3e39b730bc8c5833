// Fuzz target: what reads a client's bytes. Arbitrary bytes, cut anywhere, go to a client_stream
// that holds a server and gives it back by turns. What it passes on must be whole messages, in the
// order in which they came, and nothing that a client may not send.
//
// Input: flags, the seed of the cuts, then what the client sends. Seeds: make_corpus.py.
#include "protocol/relay.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/support/text_sink.hpp"

using namespace pgweir::protocol;
using namespace pgweir::test;

namespace {

// Messages that the router passes on as they are, whatever it puts between them.
constexpr std::string_view untouched_types = "EHFdcf";

std::string only(std::string_view types, std::string_view of) {
    std::string kept;
    std::copy_if(types.begin(), types.end(), std::back_inserter(kept),
                 [&](char type) { return of.find(type) != of.npos; });
    return kept;
}

class reader {
public:
    reader(std::uint8_t flags, std::uint8_t seed)
        : cuts_(seed)
        , shares_statements_((flags & 1U) != 0)
        , gives_back_((flags & 2U) != 0)
        , answers_((flags & 4U) != 0)
        , per_server_((flags & 8U) != 0 ? 2 : 0)
        , table_("key", (flags & 16U) != 0 ? 300 : 100'000)
        , mine_(table_) {}

    void play(std::string_view stream) {
        while (!stream.empty() && !over_) {
            const auto count = std::min(cuts_.piece(stream.size()), buffer_bytes - buffer_.size());
            buffer_ += stream.substr(0, count);
            stream.remove_prefix(count);
            while (!over_ && (held_ ? forward() : discarding_ ? discard() : peek())) {
            }
            if (held_ && buffer_.size() == buffer_bytes) {
                return; // it waits for an answer that never comes
            }
        }
    }

private:
    static constexpr std::size_t buffer_bytes = 8'192;

    [[nodiscard]] bool full() const { return buffer_.size() == buffer_bytes; }

    bool peek() {
        const auto got = client_.peek(as_bytes(buffer_), full());
        PGWEIR_MUST(got.consumed <= buffer_.size());
        switch (got.wants) {
        case client_wants::more:
            PGWEIR_MUST(got.consumed == 0 && !full());
            return false;
        case client_wants::nothing:
            PGWEIR_MUST(got.consumed != 0);
            break;
        case client_wants::ready:
            PGWEIR_MUST(got.consumed == header_bytes && buffer_[0] == 'S');
            break;
        case client_wants::terminate:
            PGWEIR_MUST(buffer_[0] == 'X');
            over_ = true;
            break;
        case client_wants::violation:
            over_ = true;
            break;
        case client_wants::server:
            PGWEIR_MUST(got.consumed == 0);
            discarding_ = cuts_.below(4) == 0; // an error of ours is the answer
            held_ = !discarding_;
            there_.taken_over(mine_.unnamed_last() + 1);
            break;
        }
        buffer_.erase(0, got.consumed);
        return true;
    }

    bool discard() {
        const auto got = client_.discard_request(as_bytes(buffer_));
        PGWEIR_MUST(got.consumed <= buffer_.size());
        buffer_.erase(0, got.consumed);
        PGWEIR_MUST(!client_.inside_message());
        if (!got.complete) {
            PGWEIR_MUST(buffer_.size() < header_bytes);
            return false;
        }
        discarding_ = false;
        return true;
    }

    bool forward() {
        to_server_.room = cuts_.below(8) != 0;
        const statement_link link{.mine = mine_,
                                  .there = there_,
                                  .table = table_,
                                  .settings = settings_,
                                  .per_server = per_server_,
                                  .counted = counted_};
        const auto step = client_.forward(as_bytes(buffer_), full(), to_server_, owed_, state_,
                                          shares_statements_ ? &link : nullptr);
        PGWEIR_MUST(step.taken_bytes <= buffer_.size());
        came_.see(std::string_view(buffer_).substr(0, step.taken_bytes));
        went_.see(to_server_.text);
        if (!shares_statements_) {
            PGWEIR_MUST(to_server_.text == std::string_view(buffer_).substr(0, step.taken_bytes));
        }
        to_server_.text.clear();
        buffer_.erase(0, step.taken_bytes);
        PGWEIR_MUST(client_.inside_message() != went_.between_messages());
        PGWEIR_MUST(only(came_.types(), untouched_types) == only(went_.types(), untouched_types));
        came_.forget();
        went_.forget();
        settle();
        over_ =
            step.why == client_step::stop::terminate || step.why == client_step::stop::violation;
        if (answers_) {
            answer();
        }
        const bool awaits = step.why == client_step::stop::awaiting_answer;
        if (gives_back_ && !client_.inside_message() && cuts_.below(4) == 0) {
            held_ = false;
            start_server();
        } else if (awaits && !answers_) {
            over_ = true;
        }
        return step.taken_bytes != 0 || !held_ || step.why == client_step::stop::sink_full ||
               (awaits && !owed_.empty());
    }

    void settle() {
        there_.apply(owed_.outcomes(), &mine_);
        owed_.clear_outcomes();
    }

    // Every answer an error, then ReadyForQuery, as far as anything is owed.
    void answer() {
        while (!owed_.empty()) {
            const bool errs =
                owed_.received(backend::error_response, "42601").what != reply::kind::unexpected;
            settle();
            const auto ready = owed_.owed_ready(fate::forward) + owed_.owed_ready(fate::swallow);
            if (ready == 0) {
                return;
            }
            const bool done =
                owed_.received(backend::ready_for_query).what != reply::kind::unexpected;
            settle();
            if (!errs && !done) {
                return;
            }
        }
        PGWEIR_MUST(!there_.anything_in_flight());
    }

    // The old one is gone with all it owed: to those changes nobody will ever say a word.
    void start_server() {
        while (there_.anything_in_flight() && !owed_.empty()) {
            const auto before = owed_.size();
            answer();
            if (owed_.size() == before) {
                over_ = true;
                return;
            }
        }
        owed_ = reply_queue();
        over_ = over_ || there_.anything_in_flight();
    }

    cuts cuts_;
    bool shares_statements_, gives_back_, answers_;
    std::size_t per_server_;
    statement_table table_;
    client_statements mine_;
    server_statements there_;
    setting_map settings_;
    statement_link::counts counted_;
    client_stream client_;
    reply_queue owed_;
    session_state state_;
    text_sink to_server_;
    frame_walker came_{to_server_types}, went_{to_server_types};
    std::string buffer_;
    bool held_ = false;
    bool discarding_ = false;
    bool over_ = false;
};

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz_input in(data, size);
    const auto flags = in.byte();
    const auto seed = in.byte();
    reader(flags, seed).play(in.rest());
    return 0;
}
