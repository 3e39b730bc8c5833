// A transaction of our own around what is asked of a server while a client's settings are in
// effect.
//
// Should those make every transaction SERIALIZABLE, READ ONLY, DEFERRABLE, each of our questions
// would wait for a snapshot that is safe, for as long as others write: in BEGIN ISOLATION LEVEL
// READ COMMITTED it does not. PostgreSQL 14 and later report default_transaction_read_only, so that
// nobody else pays for it.
//
// BEGIN and COMMIT are batches of their own, so that a question that fails is ended as well. Their
// two ReadyForQuery, and the status of all in between, are nobody's business: whoever has asked
// hears of its last answer when that transaction is over.
//
// Owner: whoever asks, on the stack. Thread: its worker's. Tests: integration/settings_test.py.
#pragma once

#include "daemon/engine/server.hpp"

namespace pgweir::daemon {

class apart {
public:
    explicit apart(server& s);
    ~apart();
    apart(const apart&) = delete;
    apart& operator=(const apart&) = delete;

    /// A transaction of the server's defaults may have to wait.
    [[nodiscard]] static bool is_needed(const server& s);
    /// A ReadyForQuery has come, that of ours or of a client's. True: it says nothing but that
    /// BEGIN was carried out, or that the end is near.
    [[nodiscard]] static bool takes_ready(server& s, protocol::transaction_status status,
                                          bool ours);

private:
    server& server_;
    const bool needed_;
};

/// What PostgreSQL is asked meanwhile is in transactions that are not DEFERRABLE, and so is what it
/// does of its own accord behind them: a session that listens looks at what has been notified in a
/// transaction of its defaults, and answers nothing before. The session's default is set, and set
/// back, in batches of their own, whose ReadyForQuery count as those of BEGIN and COMMIT do above.
class undeferred {
public:
    explicit undeferred(server& s);
    ~undeferred();
    undeferred(const undeferred&) = delete;
    undeferred& operator=(const undeferred&) = delete;

private:
    server& server_;
    const bool needed_;
};

} // namespace pgweir::daemon
