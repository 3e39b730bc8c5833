// RESET goes back to what was in a server's start-up packet, and of a client's start-up settings
// nothing is in there where the server is everybody's. So a statement that sets them again goes
// right behind the client's RESET, into the same transaction: what ROLLBACK, ROLLBACK TO or an
// error make of the one they make of the other.
//
// This is done where the text shows what is reset: by a text of nothing but SET and RESET, in a
// transaction block or in a batch of the extended protocol. What any other text has reset is found
// when its transaction has ended (setting_question.hpp).
//
// By SET, with the value spelled as a literal: set_config() would make the transaction take its
// snapshot, and SET TRANSACTION ISOLATION LEVEL impossible behind it.
//
// Sans-io. Tests: tests/protocol/start_up_settings_test.cpp.
// Source: PostgreSQL documentation, "RESET", "SET", "SET TRANSACTION", "String Constants";
// flatten_set_variable_args() in src/backend/utils/misc/guc.c; PlannedStmtRequiresSnapshot() in
// src/backend/tcop/pquery.c.
#pragma once

#include "protocol/message.hpp"
#include "protocol/reply_queue.hpp"
#include "protocol/setting_replay.hpp"
#include "protocol/statement_router.hpp"
#include "protocol/statement_scan.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

/// What is to stand behind this text; nothing where it resets none of these, or may do more.
[[nodiscard]] std::vector<std::string> restoring_statements(std::string_view sql,
                                                            const setting_map& at_start);

/// A Query with this text is about to be sent: it waits until it is known whether that is in a
/// transaction block, and then client_statements::restores() knows what is to stand behind it.
[[nodiscard]] routing prepare_restoring(const scanned_statement& what, const statement_link& link,
                                        const reply_queue& owed);
/// This text is going to be executed by the portal.
void prepare_restoring(std::string_view portal, std::string_view sql, const statement_link& link);

/// The message in `frame` is being sent, and something is to stand behind a Query or an Execute: it
/// is appended to `to` if this is the one, and to `owed` that its answers are ours.
void restore_behind(frontend type, bytes frame, const statement_link& link, reply_queue& owed,
                    session_state& state, relay_sink& to);

} // namespace pgweir::protocol
