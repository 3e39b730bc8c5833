// The settings of a client's session, and the messages that make a server carry them.
//
// A server that carries one set and is to carry another is told what differs: what it has too much
// is set back to what it was logged in with (which is nothing of a client's), the rest is set. Each
// is a call of set_config() by number, so that no value is ever spliced into SQL, nothing need be
// parsed, and what the client has prepared stays as it is. They go out in front of the client's own
// first message, in the same write; the answers are swallowed.
//
// Pure. Tests: tests/protocol/setting_replay_test.cpp.
// Source: PostgreSQL documentation, FunctionCall in "Message Formats"; "Configuration Settings
// Functions"; exit_on_error in "Error Handling".
#pragma once

#include "protocol/message.hpp"
#include "protocol/reply_queue.hpp"

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace pgweir::protocol {

/// Name (lower case) -> value. Equal maps mean equal sessions.
using setting_map = std::map<std::string, std::string, std::less<>>;

enum class refused_setting : std::uint8_t {
    is_told,     // an ERROR; what follows is carried out
    ends_server, // a FATAL: what follows is the client's and must not run under other settings
};

/// Appends the messages, and to `owed` what they will be answered with. Nothing to do for equal
/// sets.
void append_setting_replay(std::string& out, reply_queue& owed, const setting_map& carried,
                           const setting_map& wanted, refused_setting refused);

/// Appends a question for the value of a setting, and to `owed` that its answer is ours.
void append_setting_question(std::string& out, reply_queue& owed, std::string_view name);

/// The value in the body of FunctionCallResponse; nothing: null, or it is none.
[[nodiscard]] std::optional<std::string_view> function_result(bytes body);

} // namespace pgweir::protocol
