// A client on a server that is everybody's: what a client_stream sends there, and what is answered.
//
// Tests only.
#pragma once

#include "protocol/relay.hpp"
#include "tests/support/text_sink.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace pgweir::test {

class shared_server_client {
public:
    protocol::client_step send(std::string_view bytes) {
        link.status = status;
        link.cancel_under_way = cancel_under_way;
        return stream.forward(protocol::as_bytes(bytes), false, sink, owed, session, &link);
    }

    /// The types of what has been sent since the last time; ours in front of the client's own.
    std::string sent() {
        std::string types;
        auto rest = protocol::as_bytes(sink.text);
        while (!rest.empty()) {
            const auto head = protocol::read_header(rest);
            types += head.type;
            rest = rest.subspan(head.frame_bytes());
        }
        sink.text.clear();
        return types;
    }

    void answer(std::string_view types) {
        for (const char type : types) {
            CHECK(owed.received(static_cast<protocol::backend>(type), "25P02").what !=
                  protocol::reply::kind::unexpected);
        }
        there.apply(owed.outcomes(), &mine);
        owed.clear_outcomes();
    }

    protocol::setting_map settings;
    protocol::statement_table table{"key", 1'000'000};
    protocol::client_statements mine{table};
    protocol::server_statements there;
    protocol::reply_queue owed;
    protocol::session_state session;
    protocol::client_stream stream;
    protocol::statement_link::counts counted;
    text_sink sink;
    protocol::transaction_status status = protocol::transaction_status::idle;
    bool cancel_under_way = false;
    protocol::statement_link link{.mine = mine,
                                  .there = there,
                                  .table = table,
                                  .settings = settings,
                                  .per_server = 10,
                                  .counted = counted};

    shared_server_client() = default;
    shared_server_client(const shared_server_client&) = delete; // the link is to what is in here
    shared_server_client& operator=(const shared_server_client&) = delete;
};

} // namespace pgweir::test
