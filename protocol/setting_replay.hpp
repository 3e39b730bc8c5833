// The settings of a client's session, and the messages that make a server carry them.
//
// A server that carries one set and is to carry another is told what differs: what it has too much
// is set back to what it was logged in with (which is nothing of a client's), the rest is set. No
// value is ever spliced into SQL, and what the client has prepared stays as it is. There are two
// ways; the answers to either are swallowed.
//
// *Ahead* (append_settings_ahead): in front of the client's first message, in the same batch, with
// no Sync between. What guards the client is PostgreSQL's own rule: behind an error nothing is
// carried out before the next Sync, and until this is known to have gone well no more than that is
// sent. It is a transaction of its own (BEGIN, COMMIT), so that the client's next one can neither
// undo it nor notice it, and one statement for all settings, which the server keeps prepared.
// PostgreSQL sends its answers together with the client's: a flush costs it more than all else.
// Before that statement search_path is emptied, where it is going to be set: a plan is made anew
// whenever it is used under another one, which costs twice as much as carrying it out.
//
// *By calls* (append_setting_replay): of set_config() by number, each with a ReadyForQuery of its
// own: in front of nothing, and where a Sync of ours may have to stand between the two.
//
// Pure. Tests: tests/protocol/setting_replay_test.cpp.
// Source: PostgreSQL documentation, FunctionCall in "Message Formats"; "Configuration Settings
// Functions"; exit_on_error in "Error Handling"; RevalidateCachedQuery() in
// src/backend/utils/cache/plancache.c.
#pragma once

#include "protocol/message.hpp"
#include "protocol/reply_queue.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace pgweir::protocol {

/// Name (lower case) -> value. Equal maps mean equal sessions.
using setting_map = std::map<std::string, std::string, std::less<>>;

/// Who a session is where nobody has set anything. An administrator may have given whoever logs in
/// a role to begin with (ALTER ROLE … SET role): then SET ROLE NONE is not what RESET ROLE is.
struct login_identity {
    std::string_view user;
    std::string_view role = "none";
};

enum class refused_setting : std::uint8_t {
    is_told,     // an ERROR; what follows is carried out (lenient_replay.hpp)
    ends_server, // a FATAL: what follows is the client's and must not run under other settings
};

/// Anybody may set it to anything, whoever one is: of those that are set often. False: it may
/// depend.
[[nodiscard]] bool is_everybodys(std::string_view name);

/// Transactions of a session with these may have to wait for a snapshot that is safe.
[[nodiscard]] bool may_wait_for_snapshot(const setting_map& session);

/// What a server carries has a statement_timeout that is not the client's own: it would end
/// messages of ours that make the server the client's.
[[nodiscard]] bool has_others_timeout(const setting_map& carried, const setting_map& wanted);

/// What the server carries when that has been lifted.
inline constexpr std::string_view lift_timeout_sql = "SET statement_timeout TO 0";
[[nodiscard]] setting_map with_timeout_lifted(const setting_map& carried);

/// Appends the calls, and to `owed` what they will be answered with. Nothing to do for equal
/// sets. They are a transaction where others would have to wait.
void append_setting_replay(std::string& out, reply_queue& owed, const setting_map& carried,
                           const setting_map& wanted, refused_setting refused);

/// Visits, in the order of those calls, the name of each, and whether it is set (else taken off).
void for_each_setting_to_replay(const setting_map& carried, const setting_map& wanted,
                                const std::function<void(std::string_view, bool)>& visit);

/// Appends the messages that go ahead of the client's, and to `owed` that their answers are ours.
/// `prepared`: the statements that the server is believed to have for this; afterwards it will have
/// what was needed. False (and nothing is appended): it must be done by calls. So it is where there
/// is much to set; where client_encoding changes, since PostgreSQL converts all values of a message
/// before it sets any; and where exit_on_error does, which would end the server for an error.
[[nodiscard]] bool append_settings_ahead(std::string& out, reply_queue& owed,
                                         const setting_map& carried, const setting_map& wanted,
                                         std::uint32_t& prepared);

/// The names of all statements that servers keep prepared for that.
void for_each_setting_statement(const std::function<void(std::string_view)>& visit);

/// Appends a question for the value of a setting, and to `owed` that its answer is ours.
void append_setting_question(std::string& out, reply_queue& owed, std::string_view name);

/// … for what PostgreSQL makes of a value, which it says as append_setting_question() would have it
/// told. Nothing is set beyond that. An error where it may not be set now.
void append_setting_reading(std::string& out, reply_queue& owed, std::string_view name,
                            std::string_view value);

/// … for what RESET would make of it. Nothing is set beyond that. An error where it may not be set.
void append_reset_reading(std::string& out, reply_queue& owed, std::string_view name);

/// The value in the body of FunctionCallResponse; nothing: null, or it is none.
[[nodiscard]] std::optional<std::string_view> function_result(bytes body);

} // namespace pgweir::protocol
