// Fuzz target: the login to a server that means harm. Whatever it sends, what it is sent is whole
// messages, what is written of it to the log is printable, its CPU time is its own, and how the
// bytes were cut makes no difference.
//
// Input: flags, the seed of the cuts, then what the server sends, its handshake, where it takes us
// through TLS, being of no bytes. Seeds: make_corpus.py.
#include "protocol/server_login.hpp"

#include "protocol/scram.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace pgweir::protocol;
using namespace pgweir::test;

namespace {

constexpr std::uint32_t max_iterations = 64;
// Of the flags, those that are asked about more than once.
constexpr std::uint8_t asks_for_tls = 32, strict = 64, with_keys = 128;

class attempt {
public:
    explicit attempt(std::uint8_t flags)
        : flags_(flags)
        , login_(options_for(flags)) {
        (void)act(login_.start());
        PGWEIR_MUST(!told_.empty() || over_);
        if (!over_) {
            feed({}); // it has been sent
        }
    }

    void feed(std::string_view more) {
        if (over_) {
            return;
        }
        input_ += more;
        for (int steps = 0; act(resume()); ++steps) {
            PGWEIR_MUST(steps < 20);
        }
    }

    void expect_same(const attempt& other) const {
        PGWEIR_MUST(over_ == other.over_);
        PGWEIR_MUST(told_ == other.told_);
        PGWEIR_MUST(end_ == other.end_);
    }

private:
    static server_login::options options_for(std::uint8_t flags) {
        static const auto keys =
            make_scram_keys(derive_salted_password(secret("pencil"), "salt", 4), "salt", 4);
        server_login::options options;
        options.user = "ann";
        options.database = "club";
        const char* const passwords[] = {"pencil", "", "md5e8a48653851e28c69d0506508fb27fc5",
                                         "SCRAM-SHA-256$4:c2FsdA==$AAAA:AAAA"};
        options.password = secret(passwords[flags & 3U]);
        options.probe_sql = (flags & 4U) != 0 ? "SELECT 1" : "";
        if ((flags & 8U) != 0) {
            options.settings = {{"application_name", "fuzz"}};
        }
        if ((flags & 16U) != 0) {
            options.replication = replication_kind::logical;
        }
        if ((flags & asks_for_tls) != 0) {
            options.tls = (flags & strict) != 0 ? tls_mode::require : tls_mode::prefer;
        }
        if ((flags & strict) != 0) {
            options.binding = channel_binding::require;
        }
        if ((flags & with_keys) != 0) {
            options.keys = keys;
        }
        options.max_scram_iterations = max_iterations;
        options.min_scram_iterations = 1;
        return options;
    }

    server_login_action resume() {
        auto in = as_bytes(input_);
        const auto before = in.size();
        auto action = login_.resume(in);
        PGWEIR_MUST(in.size() <= before);
        input_.erase(0, before - in.size());
        return action;
    }

    // True when there is more to do now.
    bool act(server_login_action action) {
        while (true) {
            if (std::holds_alternative<login_read>(action)) {
                return false;
            }
            if (const auto* const write = std::get_if<login_write>(&action)) {
                PGWEIR_MUST(!write->data.empty());
                tell(write->data);
                return true;
            }
            if (const auto* const derive = std::get_if<login_derive>(&action)) {
                PGWEIR_MUST(derive->iterations != 0 && derive->iterations <= max_iterations);
                action = login_.derived_key(
                    derive_salted_password(derive->password, derive->salt, derive->iterations));
            } else if (std::holds_alternative<login_start_tls>(action)) {
                PGWEIR_MUST((flags_ & asks_for_tls) != 0 && !tls_);
                tls_ = true;
                tls_facts facts;
                facts.alpn = "postgresql";
                facts.end_point_hash = std::string(32, 'h');
                action = login_.secured(std::move(facts));
            } else {
                finish(std::move(action));
                return false;
            }
        }
    }

    void finish(server_login_action action) {
        over_ = true;
        if (const auto* const ready = std::get_if<server_ready>(&action)) {
            const auto& said = ready->welcome;
            if ((flags_ & strict) != 0) { // it has proven to know the password, at this end point
                PGWEIR_MUST(tls_ && told_.find("SCRAM-SHA-256-PLUS") != std::string::npos);
            }
            PGWEIR_MUST(said.key.key.size() <= max_cancel_key_bytes);
            PGWEIR_MUST(said.minor_version <= newest_minor_version);
            frame_walker notices("N");
            notices.see(said.notices);
            PGWEIR_MUST(notices.between_messages());
            end_ = "ready: " + std::to_string(said.key.process_id) + said.key.key + said.notices;
            for (const auto& [name, value] : said.parameters) {
                end_ += name + "=" + value + ";";
            }
            for (const auto& answer : said.probe_answers) {
                end_ += answer + ";";
            }
        } else {
            const auto& refused = std::get<server_refused>(action);
            PGWEIR_MUST(printable(refused.message, 10'000) == refused.message);
            end_ = "refused: " + refused.sqlstate + refused.message + refused.response;
        }
    }

    // All but the first, SSLRequest and the startup message, have a type.
    void tell(std::string_view data) {
        if (told_.empty() && (flags_ & asks_for_tls) != 0) {
            PGWEIR_MUST(data.size() == 8 &&
                        read_u32(as_bytes(data).subspan(4)) == ssl_request_code);
        } else if (!started_) {
            started_ = true;
            PGWEIR_MUST(data.size() > 8 && read_u32(as_bytes(data)) == data.size());
            PGWEIR_MUST(tls_ || (flags_ & asks_for_tls) == 0 || (flags_ & strict) == 0);
        } else {
            walker_.see(data);
            PGWEIR_MUST(walker_.between_messages());
        }
        told_ += data;
    }

    std::uint8_t flags_;
    server_login login_;
    frame_walker walker_{"pQX"};
    std::string input_, told_, end_;
    bool over_ = false, tls_ = false, started_ = false;
};

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz_input in(data, size);
    const auto flags = in.byte();
    cuts cut(in.byte());
    auto stream = in.rest();
    attempt whole(flags);
    attempt pieces(flags);
    if ((flags & asks_for_tls) != 0) {
        // Bytes in one segment with the answer to an SSLRequest are an attack: there, it does
        // matter how they come.
        whole.feed(stream.substr(0, 1));
        pieces.feed(stream.substr(0, 1));
        stream.remove_prefix(std::min<std::size_t>(stream.size(), 1));
    }
    // Text of PostgreSQL 7 has no length: of that, as much is read as has come.
    const bool ancient = stream.size() >= header_bytes && stream[0] == 'E' &&
                         read_header(as_bytes(stream)).length_field > 1'000'000;
    whole.feed(stream);
    while (!stream.empty()) {
        const auto count = cut.piece(stream.size());
        pieces.feed(stream.substr(0, count));
        stream.remove_prefix(count);
    }
    if (!ancient) {
        pieces.expect_same(whole);
    }
    return 0;
}
