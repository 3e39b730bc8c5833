// What is said to PostgreSQL about channels, and read of what it and clients say: LISTEN, UNLISTEN,
// NOTIFY, NotificationResponse.
//
// Pure. Tests: tests/protocol/channel_sql_test.cpp.
// Source: PostgreSQL documentation, "LISTEN", "UNLISTEN", "NOTIFY", NotificationResponse in
// "Message Formats".
#pragma once

#include "protocol/message.hpp"
#include "protocol/reply_queue.hpp"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

using channel_set = std::set<std::string, std::less<>>;

/// Channels of our own begin with this; PostgreSQL's clients are never told of them.
inline constexpr std::string_view own_channel_prefix = "pgweir_";

/// UNLISTEN of one channel; of all, where there is no name.
struct unlisten {
    std::optional<std::string> channel;
    bool operator==(const unlisten&) const = default;
};
/// Those in a text that is carried out, in their order.
[[nodiscard]] std::vector<unlisten> read_unlistens(std::string_view sql);

/// LISTEN to all of them, as one Query would say it.
[[nodiscard]] std::string listen_sql(const channel_set& channels);

/// UNLISTEN of one.
[[nodiscard]] std::string unlisten_sql(std::string_view channel);

// Batches of our own for a client's server, with their Sync.
void append_listen(std::string& out, reply_queue& owed, const channel_set& channels,
                   const channel_set& unlisten_first = {});
void append_unlisten_all(std::string& out, reply_queue& owed);
/// … that tell the channel `fence`, which is listened to first where `listens` says so.
void append_fence(std::string& out, reply_queue& owed, std::string_view fence,
                  std::string_view payload, bool listens);
/// … that asks for what is listened to: a row for each.
void append_channel_question(std::string& out, reply_queue& owed);
/// The channel in a row of the answer; nothing: it is none.
[[nodiscard]] std::optional<std::string> channel_in(bytes row);

struct notification {
    std::uint32_t process_id = 0;
    std::string_view channel, payload; // into the frame
};
/// Nothing: `frame` is no whole NotificationResponse.
[[nodiscard]] std::optional<notification> read_notification(bytes frame);

/// Whom a fence is for: which client of which worker, and which of its fences.
struct fence_mark {
    std::uint32_t worker = 0;
    std::uint64_t client = 0;
    std::uint64_t serial = 0;
    bool operator==(const fence_mark&) const = default;
};
[[nodiscard]] std::string fence_payload(const fence_mark& mark);
[[nodiscard]] std::optional<fence_mark> read_fence(std::string_view payload);

} // namespace pgweir::protocol
