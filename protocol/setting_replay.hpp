// The settings a client asked for at start-up, and the messages that make a server carry them.
//
// A server that carries one set and is to carry another is told to forget the first (RESET ROLE,
// RESET ALL: back to what it was logged in with, which is nothing of a client's) and given the
// second through set_config() with bind parameters, so that no value is ever spliced into SQL.
// Both go out in front of the client's own first message, in the same write; the answers are
// swallowed. Tests: tests/protocol/setting_replay_test.cpp.
#pragma once

#include "protocol/reply_queue.hpp"

#include <map>
#include <string>

namespace pgweir::protocol {

/// Name (lower case) -> value. Equal maps mean equal sessions.
using setting_map = std::map<std::string, std::string>;

/// Appends the messages, and to `owed` what they will be answered with. Nothing to do for equal
/// sets.
void append_setting_replay(std::string& out, reply_queue& owed, const setting_map& carried,
                           const setting_map& wanted);

} // namespace pgweir::protocol
