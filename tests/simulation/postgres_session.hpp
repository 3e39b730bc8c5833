// What one PostgreSQL session answers: messages in, messages out, without time or sockets. Used
// twice: by the fake server for each backend, and by each fake client as the direct connection it
// believes to have, so that every answer it gets through the engine can be compared with the one it
// should have got.
//
// Statements are a small language of their own that looks like SQL to a lexer; words of the form
// key=value say what a statement does:
//   SELECT row tag=c3 n=17 rows=4 size=100 ms=20    rows of that size, after that time
//   SELECT fail tag=c3 n=18                         an error
//   INSERT tag=c3 n=19                              a write: in the durable log once committed
//   BEGIN  COMMIT  ROLLBACK
//   SET x = 'v'  SET LOCAL x = 'v'  RESET ALL  DISCARD ALL
//   LISTEN ch tag=c3   CREATE TEMP TABLE t tag=c3   SELECT pg_advisory_lock(7) tag=c3
//   COPY t FROM STDIN tag=c3 n=20   COPY t TO STDOUT tag=c3 n=21 rows=4
//
// Source: PostgreSQL documentation, "Message Flow"; src/backend/tcop/postgres.c.
#pragma once

#include "tests/simulation/session_messages.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::simulation {

using settings = std::map<std::string, std::string>;

class postgres_session {
public:
    /// `at_start`: settings given at start-up.
    explicit postgres_session(const settings& at_start);

    /// What a message is answered with. Changes the session.
    [[nodiscard]] std::vector<message> execute(const message& m);
    /// … when what it asks for fails (cancelled, refused) before it has had any effect.
    [[nodiscard]] std::vector<message> fail(const message& m, std::string_view sqlstate,
                                            std::string_view text);
    /// How long a message takes, in milliseconds, and the statement that takes it.
    [[nodiscard]] std::uint64_t cost_ms(const message& m) const;
    [[nodiscard]] std::string_view statement_of(const message& m) const;

    [[nodiscard]] protocol::transaction_status status() const;
    [[nodiscard]] bool in_copy() const { return copying_; }
    /// … everything up to the next Sync.
    [[nodiscard]] bool skipping() const { return skipping_; }
    /// Everything a row shows of the session. Empty for a fresh one.
    [[nodiscard]] std::string digest() const;
    /// Settings told by ParameterStatus, as they are now.
    [[nodiscard]] settings reported() const;
    /// Channels listened to.
    [[nodiscard]] std::vector<std::string> listens() const;

    std::uint32_t process_id = 0;
    std::uint32_t max_connections = 100;
    /// Writes that have become durable, or have been rolled back; their owner takes them away.
    std::vector<std::string> committed, aborted;

private:
    enum class transaction : std::uint8_t { none, implicit, open, failed };
    struct result {
        std::vector<message> replies; // without RowDescription for the extended protocol
        bool failed = false;
    };
    // What a transaction's end may undo.
    struct undoable {
        settings values;
        std::set<std::string> artefacts;
    };

    void start();
    void commit();
    void abort();
    [[nodiscard]] std::vector<message> ready();
    [[nodiscard]] std::vector<message> query(std::string_view sql);
    [[nodiscard]] std::vector<message> extended(const message& m);
    [[nodiscard]] std::vector<message> bind(std::string_view body);
    [[nodiscard]] std::vector<message> execute_portal(std::string_view body);
    [[nodiscard]] std::vector<message> end_copy(char type);
    [[nodiscard]] std::vector<message> extended_error(std::string_view sqlstate,
                                                      std::string_view text);
    [[nodiscard]] result run(std::string_view sql, bool describe);
    [[nodiscard]] result control(std::string_view sql);
    [[nodiscard]] result change_setting(std::string_view sql);
    [[nodiscard]] result rows(std::string_view sql, bool describe);
    [[nodiscard]] result copy(std::string_view sql);
    [[nodiscard]] result apply_set_config(const std::vector<std::string>& arguments);
    [[nodiscard]] bool refuses_while_failed(std::string_view sql) const;

    struct portal {
        std::string sql;
        std::vector<std::string> arguments;
        std::uint64_t rows_sent = 0;
    };

    settings at_start_;
    undoable now_;
    undoable at_begin_;  // what an abort goes back to
    settings on_commit_; // what remains of the values (SET LOCAL does not)
    settings told_;      // reported last
    std::set<std::string> locks_;
    std::map<std::string, std::string, std::less<>> statements_;
    std::map<std::string, portal, std::less<>> portals_;
    std::vector<std::string> writes_; // of this transaction
    std::string copy_write_;
    transaction state_ = transaction::none;
    bool skipping_ = false;
    bool copying_ = false;
    bool copy_is_simple_ = false;
};

} // namespace pgweir::simulation
