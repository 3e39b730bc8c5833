// A statement that was prepared earlier is going to be executed: only now does it have to do with
// the session's state.
//
// Owner: nobody, it is part of client_stream::forward(). Sans-io.
// Tests: tests/protocol/statement_router_test.cpp.
#pragma once

#include "protocol/statement_router.hpp"
#include "protocol/statement_scan.hpp"

namespace pgweir::protocol {

struct executed_statement {
    routing way;                 // as it is, or wait
    bool only_own_there = false; // of statements: the server has the client's alone now
};

/// `type`: of the message that executes it (Query), or is going to have it executed (Bind).
[[nodiscard]] executed_statement statement_is_executed(frontend type, scanned_statement what,
                                                       const statement_link& link,
                                                       reply_queue& owed, session_state& state,
                                                       relay_sink& to);

} // namespace pgweir::protocol
