// May this server be given to another client? The one predicate that decides it. Any doubt is a
// no, and says why. Tests: tests/protocol/may_go_back_test.cpp goes through every combination.
#pragma once

#include "protocol/message.hpp"

#include <cstdint>
#include <string_view>

namespace pgweir::protocol {

/// All that the decision depends on, gathered at one moment.
struct return_facts {
    transaction_status status = transaction_status::failed;
    bool ready_seen_since_last_message = false; // the last thing sent was answered by ReadyForQuery
    bool replies_owed = true;                   // the server owes an answer
    bool unsent_to_server = true;      // bytes for the server still lie in a buffer of ours
    bool inside_client_message = true; // a message is partly sent
    bool inside_server_message = true; // a message is partly received
    bool in_copy = true;               // COPY FROM STDIN runs
    bool in_doubt = true;              // reply_queue::in_doubt()
    bool cancel_in_flight = true;      // a cancel request for it has not been closed yet
    bool pinned = true;                // the session left something behind
};

enum class return_verdict : std::uint8_t {
    yes,
    not_ready,          // no ReadyForQuery since the last message
    in_transaction,     // status T
    failed_transaction, // status E
    replies_owed,
    unsent,
    inside_message,
    in_copy,
    in_doubt, // not before that is settled; else it is closed when its client is done
    cancel_in_flight,
    pinned,
};

[[nodiscard]] return_verdict may_go_back(const return_facts& facts);
[[nodiscard]] std::string_view to_string(return_verdict verdict);

} // namespace pgweir::protocol
