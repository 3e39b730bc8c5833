// Statements that a server knows by the client's own names for a moment: while SQL runs that names
// them (statement_router.hpp), or that lists them.
//
// pg_prepared_statements shows what the server has. Of that, much is not the client's: statements
// that others use as well, under the names that servers know them by, and what pgweir keeps
// prepared for itself. A text that looks at the view is to see none of those, and the client's by
// the names that the client has given them. So in front of it they are closed, and what the client
// has is lent to the server. Whoever needs what was closed has it prepared again.
//
// What SQL's PREPARE has made in a Query of its own is the client's and not the server's as well:
// its text is kept, the server has it until it is at rest, and PREPARE is carried out again
// wherever its name is used. (Not so where the client has pinned itself to its server by another of
// these.)
//
// Owner: nobody, it is part of client_stream::forward(). Sans-io.
// Tests: tests/protocol/statement_router_test.cpp, integration/sql_prepare_test.py.
#pragma once

#include "protocol/message.hpp"
#include "protocol/statement_router.hpp"
#include "protocol/statement_scan.hpp"

#include <string>
#include <string_view>

namespace pgweir::protocol {

/// Another client's statement may be known to servers by a name like that. So this one is not.
[[nodiscard]] inline std::string harmless_name(std::string_view name) {
    return (name.starts_with(server_name_prefix) ? "?" : "") + std::string(name);
}

/// Appends what makes a statement that says `definition` known by `name`.
void lend_statement(client_statements& mine, reply_queue& owed, std::string& out,
                    std::string_view name, std::string_view definition, ask how);
/// … the client's own, by the name that it has given to it.
void lend_statement(client_statements& mine, reply_queue& owed, std::string& out,
                    std::string_view name, const prepared_statement& what, ask how);

/// Messages that take back what the server was lent: behind the Sync of the batch that it was lent
/// for, or when the server is at rest. (Behind a Query they might be read by a COPY, or their Sync
/// might end a skipping that is not ours to end.) Until then the server is not to be given back.
void take_back_lent(client_statements& mine, reply_queue& owed, std::string& out);

/// A text that lists the session's statements (`lists_statements`) is about to be sent in a message
/// of this type (Bind: is about to be executed): the server is made to have those of the client's.
[[nodiscard]] routing have_only_own_statements(frontend type, const statement_link& link,
                                               reply_queue& owed, relay_sink& to);

/// The complete Query in `frame` has nothing to do with the session but for SQL's PREPARE, says
/// `statement.effects`. Where that can be the client's alone, nothing of it is left there.
[[nodiscard]] routing route_prepare(bytes frame, scanned_statement& statement,
                                    const statement_link& link, reply_queue& owed,
                                    session_state& state, relay_sink& to);

} // namespace pgweir::protocol
