// Plays a conversation through a client_stream and a server_stream, with the bytes arriving in
// pieces of a chosen size. Tests only.
#pragma once

#include "protocol/relay.hpp"
#include "tests/protocol/conversation_script.hpp"
#include "tests/support/text_sink.hpp"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace pgweir::test {

/// How bytes arrive, counted over the whole conversation, and how large the read buffer is.
struct arrival {
    std::size_t split_at = 0;    // one cut, after this many bytes (0: none)
    std::size_t piece_bytes = 0; // all pieces of this size (0: as they come)
    std::size_t buffer_bytes = 8'192;
};

class relay_replay {
public:
    explicit relay_replay(arrival how)
        : how_(how) {}

    /// Every step, with all the checks. A script ends where something unexpected comes.
    void play(const std::vector<script_step>& steps) {
        for (const auto& step : steps) {
            CAPTURE(step.text);
            const auto& m = step.message;
            if (step.is == script_step::what::check) {
                deliver();
                check_queue(step.check, owed);
                continue;
            }
            const bool sent = step.is == script_step::what::sent;
            if (sent != sending_) {
                deliver();
                sending_ = sent;
            }
            if (sent && m.ours) {
                deliver();
                owed.sent(static_cast<protocol::frontend>(m.type), protocol::fate::swallow,
                          {.describes_statement = m.describes_statement});
                continue;
            }
            if (m.expected == protocol::reply::kind::unexpected) {
                deliver();
                const auto got = server.next(protocol::as_bytes(m.bytes), false, owed);
                CHECK(got.why == protocol::server_step::stop::desync);
                CHECK(got.taken_bytes == 0);
                return;
            }
            arriving_ += m.bytes;
            (sent ? expected_sent_ : m.ours ? expected_swallowed_ : expected_forwarded_) += m.bytes;
            if (!sent && std::string_view("ZSEC").find(m.type) != std::string_view::npos) {
                expected_stops_ += m.type;
            }
        }
        deliver();
        CHECK(sent_ == expected_sent_);
        CHECK(forwarded_ == expected_forwarded_);
        CHECK(swallowed_ == expected_swallowed_);
        CHECK(stops_ == expected_stops_);
        CHECK_FALSE(client.inside_message());
        CHECK_FALSE(server.inside_message());
    }

    protocol::client_stream client;
    protocol::server_stream server;
    protocol::reply_queue owed;
    protocol::session_state state;

private:
    void deliver() {
        std::size_t from = 0;
        while (from < arriving_.size()) {
            auto count = arriving_.size() - from;
            if (how_.piece_bytes != 0) {
                count = std::min(count, how_.piece_bytes);
            } else if (how_.split_at > delivered_) {
                count = std::min(count, how_.split_at - delivered_);
            }
            // Only as much as the buffer has room for, as a read would.
            count = std::min(count, how_.buffer_bytes - buffer_.size());
            REQUIRE(count != 0);
            buffer_.append(arriving_, from, count);
            from += count;
            delivered_ += count;
            sending_ ? use_client_bytes() : use_server_bytes();
        }
        arriving_.clear();
        CHECK(buffer_.empty());
        buffer_.clear();
    }

    void use_client_bytes() {
        const bool full = buffer_.size() == how_.buffer_bytes;
        const auto step =
            client.forward(protocol::as_bytes(buffer_), full, to_server_, owed, state, nullptr);
        REQUIRE(step.why == protocol::client_step::stop::exhausted);
        sent_ += std::exchange(to_server_.text, {});
        buffer_.erase(0, step.taken_bytes);
    }

    void use_server_bytes() {
        using stop = protocol::server_step::stop;
        for (;;) {
            const bool full = buffer_.size() == how_.buffer_bytes;
            const auto step = server.next(protocol::as_bytes(buffer_), full, owed);
            REQUIRE(step.why != stop::desync);
            check_stop(step);
            (step.where == protocol::fate::forward ? forwarded_ : swallowed_)
                .append(buffer_, 0, step.taken_bytes);
            buffer_.erase(0, step.taken_bytes);
            if (step.why == stop::exhausted) {
                return;
            }
        }
    }

    void check_stop(const protocol::server_step& step) {
        using stop = protocol::server_step::stop;
        switch (step.why) {
        case stop::ready:
            stops_ += 'Z';
            break;
        case stop::parameter:
            CHECK(step.name == "TimeZone");
            CHECK(step.value == "UTC");
            stops_ += 'S';
            break;
        case stop::error:
            CHECK(step.fatal == (std::string_view(step.sqlstate.data(), 5) == "57P01"));
            stops_ += 'E';
            break;
        case stop::command:
            CHECK(step.tag == "DROP TABLE");
            stops_ += 'C';
            break;
        case stop::result:
            CHECK(step.where == protocol::fate::swallow);
            break;
        case stop::fate_changed:
        case stop::notification:
            CHECK(step.taken_bytes != 0);
            break;
        case stop::exhausted:
        case stop::desync:
            break;
        }
    }

    arrival how_;
    bool sending_ = true;
    std::size_t delivered_ = 0;
    std::string arriving_; // on the way
    std::string buffer_;   // read, not yet used
    text_sink to_server_;
    std::string sent_, expected_sent_;
    std::string forwarded_, expected_forwarded_;
    std::string swallowed_, expected_swallowed_;
    std::string stops_, expected_stops_;
};

} // namespace pgweir::test
