// Fuzz target: what reads a server's bytes. Some messages are owed, then arbitrary bytes come. Cut
// anywhere they must mean the same as in one piece: the same bytes to the client, the same dropped,
// the same stops, and the same end.
//
// Input: the seed of the cuts, a count, so many messages that are owed (one byte each: which,
// whose, how), then what the server sends. Seeds: make_corpus.py.
#include "protocol/relay.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <array>

using namespace pgweir::protocol;
using namespace pgweir::test;

namespace {

constexpr std::array requests{frontend::query,     frontend::sync,         frontend::parse,
                              frontend::bind,      frontend::describe,     frontend::execute,
                              frontend::close,     frontend::copy_done,    frontend::copy_fail,
                              frontend::copy_data, frontend::function_call};

void ask(reply_queue& owed, std::uint8_t code) {
    const auto type = requests[(code & 15U) % requests.size()];
    const bool ours = (code & 16U) != 0;
    owed.sent(type, ours ? fate::swallow : fate::forward,
              {.describes_statement = (code & 32U) != 0,
               .errors_to_client = ours && (code & 64U) != 0,
               .noted = (code & 128U) != 0});
}

struct seen {
    std::string forwarded, swallowed, stops;
    std::size_t noted = 0;
    bool desync = false;
    bool operator==(const seen&) const = default;
};

class reader {
public:
    reader(std::string_view owed_first, std::size_t buffer_bytes)
        : buffer_bytes_(buffer_bytes) {
        for (const char code : owed_first) {
            ask(owed_, static_cast<std::uint8_t>(code));
        }
    }

    void arrive(std::string_view piece) {
        buffer_ += piece;
        while (!saw.desync) {
            const auto step =
                server_.next(as_bytes(buffer_), buffer_.size() >= buffer_bytes_, owed_);
            take(step);
            if (step.why == server_step::stop::exhausted) {
                return;
            }
        }
    }

    [[nodiscard]] std::size_t room() const { return buffer_bytes_ - buffer_.size(); }
    /// An error or a tag so long that it is judged by its beginning: how much of it is seen depends
    /// on the cuts.
    bool judged_by_beginning = false;
    seen saw;

private:
    void take(const server_step& step) {
        using stop = server_step::stop;
        PGWEIR_MUST(step.taken_bytes <= buffer_.size());
        const auto taken = std::string_view(buffer_).substr(0, step.taken_bytes);
        (step.where == fate::forward ? saw.forwarded : saw.swallowed) += taken;
        walker_.see(taken);
        PGWEIR_MUST(server_.inside_message() != walker_.between_messages());
        switch (step.why) {
        case stop::ready:
            saw.stops += static_cast<char>(step.status);
            break;
        case stop::parameter:
            PGWEIR_MUST(inside(taken, step.name) && inside(taken, step.value));
            saw.stops += "S" + std::string(step.name) + "=" + std::string(step.value);
            break;
        case stop::error:
            PGWEIR_MUST(inside(taken, step.error) && step.last_frame_bytes <= taken.size());
            saw.stops += "e" + std::string(step.sqlstate);
            saw.stops += step.fatal ? '!' : ' ';
            judged_by_beginning = judged_by_beginning || server_.inside_message();
            break;
        case stop::command:
            PGWEIR_MUST(inside(taken, step.tag));
            saw.stops += "c" + std::string(step.tag);
            judged_by_beginning = judged_by_beginning || server_.inside_message();
            break;
        case stop::result:
            PGWEIR_MUST(step.where == fate::swallow);
            PGWEIR_MUST(inside(taken, as_text(step.result)));
            break;
        case stop::notification:
            PGWEIR_MUST(step.where == fate::forward && !server_.inside_message());
            PGWEIR_MUST(step.last_frame_bytes <= taken.size());
            break;
        case stop::fate_changed:
            PGWEIR_MUST(step.taken_bytes != 0);
            break;
        case stop::exhausted:
            break;
        case stop::desync:
            saw.desync = true;
            break;
        }
        saw.noted += owed_.outcomes().size();
        owed_.clear_outcomes();
        buffer_.erase(0, step.taken_bytes);
    }

    static bool inside(std::string_view outer, std::string_view part) {
        return part.empty() || (part.data() >= outer.data() &&
                                part.data() + part.size() <= outer.data() + outer.size());
    }

    std::size_t buffer_bytes_;
    server_stream server_;
    reply_queue owed_;
    frame_walker walker_{to_client_types};
    std::string buffer_;
};

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz_input in(data, size);
    cuts cut(in.byte());
    const auto owed = in.take(in.byte());
    auto stream = in.rest();

    constexpr std::size_t large = 1 << 24;
    reader whole(owed, large);
    whole.arrive(stream);
    reader pieces(owed, large);
    reader small_buffer(owed, 8'192);
    while (!stream.empty()) {
        const auto count = cut.piece(stream.size());
        pieces.arrive(stream.substr(0, count));
        const auto fits = stream.substr(0, std::min(count, small_buffer.room()));
        small_buffer.arrive(fits);
        PGWEIR_MUST(small_buffer.saw.desync || small_buffer.room() != 0);
        stream.remove_prefix(count);
        if (fits.size() != count && !small_buffer.saw.desync) {
            break; // it would read the rest later
        }
    }
    if (stream.empty() && !whole.judged_by_beginning && !pieces.judged_by_beginning) {
        PGWEIR_MUST(whole.saw == pieces.saw);
    }
    return 0;
}
