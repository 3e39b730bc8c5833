// Statements whose results have changed since they were prepared: somebody has altered a table.
//
// PostgreSQL refuses to use such a plan (0A000 "cached plan must not change result type") for as
// long as it is there. A client that has been told what the results look like, once, and reads rows
// by that, needs to hear it: given rows of another shape it would take one value for another. It
// gets the same error from any server, until it has parsed the statement anew. Everybody else is
// served: a client that has every portal described, or has never had anything described, cannot be
// misled, and whoever has parsed the statement since knows better.
//
// That results have changed is known when PostgreSQL has refused a plan, or has described the
// statement on a server that lacked it in another way than to the client (providing.hpp). Then the
// client's Parse is out of date, unless the server's is older: what a client has parsed after a
// table was altered must not be answered by what another one had parsed before.
//
// The types of parameters are part of what a client was told: it sends values by them. A server
// that lacks the statement is given it with those, whatever they would be taken for by now, as the
// plan that PostgreSQL would have kept has them.
//
// Pure. Tests: tests/protocol/stale_statement_test.cpp, integration/prepared_test.py.
// Source: RevalidateCachedQuery() in src/backend/utils/cache/plancache.c; PostgreSQL documentation,
// "Extended Query".
#pragma once

#include "protocol/client_statements.hpp"
#include "protocol/message.hpp"

#include <string>
#include <string_view>

namespace pgweir::protocol {

/// No server knows a statement by this name: whoever uses it is refused, in batches, transactions
/// and pipelines as anybody who uses a stale one.
inline constexpr std::string_view stale_name = "pgw_stale";

/// Of the bodies of a ParameterDescription and a RowDescription (of a statement: formats are not
/// looked at), which is empty where there is NoData. Of rows what PostgreSQL compares to tell
/// whether results have changed: names and types.
[[nodiscard]] statement_shape shape_of(bytes parameter_description, bytes row_description);

/// The client goes by what it was told before the results were found to have changed.
[[nodiscard]] inline bool is_stale(const client_statements::named& known) {
    return known.relied_on && known.stale;
}

/// The body of PostgreSQL's ErrorResponse, or its front: results have changed.
[[nodiscard]] bool says_results_changed(bytes error);
/// … or: there is no statement with stale_name.
[[nodiscard]] bool says_nothing_is_stale_name(bytes error);

/// The ErrorResponse that a client is sent instead, as PostgreSQL words it: drivers know it by
/// SQLSTATE and routine.
void append_results_changed(std::string& out);

/// The statement that the Bind or Describe at the front of `batch` is about. Nothing: it is another
/// message, or the client has no such name.
[[nodiscard]] client_statements::named* statement_used(bytes batch, client_statements& mine);
/// There is a Describe among these messages: the client will be told what rows look like.
[[nodiscard]] bool describes_something(bytes batch);

} // namespace pgweir::protocol
