// What one PostgreSQL session answers: messages in, messages out, without time or sockets. Used
// twice: by the fake server for each backend, and by each fake client as the direct connection it
// believes to have, so that every answer it gets through the engine can be compared with the one it
// should have got.
//
// Which messages are answered with what is the model's business (tests/support/postgres_model.hpp).
// This adds what a session has beyond messages: settings, things that it leaves behind, and writes.
// Words of the form key=value say what a statement does:
//   SELECT row tag=c3 n=17 rows=4 size=100 ms=20    rows of that size, after that time
//   INSERT tag=c3 n=19                              a write: in the durable log once committed
//   SET x = 'v'  SET LOCAL x = 'v'  RESET ALL  DISCARD ALL
//   SELECT lastval() tag=c3 n=18                    the last INSERT of this session, or 55000
//   LISTEN ch tag=c3   CREATE TEMP TABLE t tag=c3   SELECT pg_advisory_lock(7) tag=c3
//   UNLISTEN ch tag=c3 DROP TABLE t tag=c3          SELECT pg_advisory_unlock(7) tag=c3
//   COPY t FROM STDIN tag=c3 n=20   COPY t TO STDOUT tag=c3 n=21 rows=4
// A write without n may happen several times (a prepared statement): those are counted.
#pragma once

#include "tests/simulation/session_messages.hpp"
#include "tests/support/postgres_model.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::simulation {

using settings = std::map<std::string, std::string>;

/// A message of the daemon's own about the session: settings are being replayed, or asked for, or
/// what has been left behind is.
[[nodiscard]] bool is_about_settings(const message& m);
/// Asks what the names in the database hide.
[[nodiscard]] bool asks_about_names(const message& m);

class postgres_session final : public test::postgres_model {
public:
    /// `at_start`: settings given at start-up.
    explicit postgres_session(const settings& at_start);

    /// All that a message is answered with, flushed or not. Changes the session.
    [[nodiscard]] std::vector<message> execute(const message& m);
    /// … when what it asks for fails (cancelled, refused) before it has had any effect.
    [[nodiscard]] std::vector<message> fail(const message& m, std::string_view sqlstate);
    /// What becomes of the writes of a message that is going to be refused.
    void give_up_writes(const message& m);
    /// How long a message takes, in milliseconds, and the statement that takes it.
    [[nodiscard]] std::uint64_t cost_ms(const message& m) const;
    [[nodiscard]] std::string_view statement_of(const message& m) const;

    /// Everything a row shows of the session. Empty for a fresh one.
    [[nodiscard]] std::string digest() const;
    /// Settings told by ParameterStatus, as they are now.
    [[nodiscard]] settings reported() const;
    /// Something stays behind that shows in no row, but where PostgreSQL is asked for all there is.
    void leave_unseen() { unseen_ = true; }
    /// idle_session_timeout. To end the session then is its owner's business.
    [[nodiscard]] std::chrono::milliseconds idle_limit() const;
    /// Channels listened to.
    [[nodiscard]] std::vector<std::string> listens() const;

    std::uint32_t max_connections = 100;
    std::string user; // who is logged in; nothing: nobody asks
    /// Writes that have become durable, or have been rolled back; their owner takes them away.
    std::vector<std::string> committed, aborted;

private:
    // What a transaction's end may undo.
    struct undoable {
        settings values;
        std::set<std::string> artefacts;
    };

    effect perform(const portal& what) override;
    [[nodiscard]] std::optional<std::size_t> row_count(std::string_view text) const override;
    [[nodiscard]] std::string row_text(const portal& what, std::size_t index) const override;
    [[nodiscard]] std::vector<std::string> columns(const portal& what,
                                                   std::size_t index) const override;
    call_result call(std::uint32_t function,
                     const std::vector<std::optional<std::string>>& arguments) override;
    [[nodiscard]] std::vector<std::string> copied_out(std::string_view text) const override;
    void copied_in(std::string_view text, bool done) override;
    void on_commit() override;
    void on_abort() override;
    void before_ready() override;

    [[nodiscard]] effect change_setting(std::string_view sql);
    void set(const std::string& name, const std::optional<std::string>& value, bool local);
    [[nodiscard]] effect set_all(const std::vector<std::optional<std::string>>& arguments);
    [[nodiscard]] settings set_by_session() const;
    /// Kinds and names of what the daemon's audit lists.
    [[nodiscard]] std::vector<std::vector<std::string>> audited() const;
    [[nodiscard]] effect reset(std::string_view sql);
    [[nodiscard]] effect leave_behind(const char* tag, std::string what);
    [[nodiscard]] effect give_up(const char* tag, const std::string& what);
    [[nodiscard]] bool has(std::string_view sql) const;

    settings at_start_;
    undoable now_;
    undoable at_begin_;  // what an abort goes back to
    settings on_commit_; // what remains of the values (SET LOCAL does not)
    settings told_;      // reported last
    std::set<std::string> locks_;
    std::string last_value_; // the write that called nextval() last; no transaction undoes that
    std::vector<std::string> writes_; // of this transaction
    bool unseen_ = false;
    bool touched_ = false; // something that the transaction's end commits or undoes
};

} // namespace pgweir::simulation
