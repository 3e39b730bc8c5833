// A statement of our own, put among a client's messages.
//
// In messages of the extended protocol, under a name of ours for statement and portal: it can go
// into an open batch without ending it, and leaves the client's unnamed statement and portal alone.
//
// Pure. Tests: tests/protocol/sequence_memory_test.cpp, channel_sql_test.cpp,
// conversation_test.cpp, reply_queue_test.cpp (append_doubt_settling).
#pragma once

#include "protocol/reply_queue.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgweir::protocol {

inline constexpr std::string_view apart_name = "pgw_apart"; // left where it has failed

/// What a server is known to have of the statements that it keeps prepared for us. It may have
/// others of them all the same: they are closed before they are prepared.
struct kept_statements {
    std::uint32_t settings = 0; // of append_settings_ahead()
    std::uint16_t pins = 0;     // of pin_question
};

/// Appends Parse, Bind, Execute and Close, and to `owed` what they will be answered with. `how`: of
/// the three that may fail. `name` begins with server_name_prefix.
void append_own_statement(std::string& out, reply_queue& owed, std::string_view name,
                          std::string_view sql, ask how = {});
/// Appends the begin of a transaction of ours, and its end, whether that has failed or not: batches
/// of their own. Nothing in it waits for a snapshot, whatever the session's defaults are.
void append_apart_begin(std::string& out, reply_queue& owed);
void append_apart_end(std::string& out, reply_queue& owed);
/// Appends the Sync that ends a batch of ours.
void append_own_sync(std::string& out, reply_queue& owed);
/// Appends what will tell where the answers to the client's messages end, and to `owed` that it is
/// awaited. Only where reply_queue::may_settle_doubt().
void append_doubt_settling(std::string& out, reply_queue& owed);

} // namespace pgweir::protocol
