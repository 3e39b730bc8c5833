// A small model of one PostgreSQL 15 session: client bytes in, server bytes out. It follows the
// server's rules about which messages are answered and when the answers are flushed
// (skip-until-Sync, COPY FROM STDIN eating Sync, Flush, PortalSuspended, implicit transactions,
// failed transactions), and deliberately shares no code with the reply queue that it tests.
//
// It understands a language of its own, statements separated by `;`, words in upper case:
//     SELECT anything          one row, which holds the statement's own text
//     ROWS n anything          n such rows
//     BEGIN  COMMIT  ROLLBACK
//     COPY x FROM STDIN        … FAIL AT 0: fails before it reads anything
//                              … FAIL AT n: fails at the n-th CopyData
//                              … FAIL AT END: fails at CopyDone
//     COPY x TO STDOUT         two CopyData
//     FAIL                     an ERROR in execution (22012)
//     FAIL PARSE               an ERROR in parsing (42601)
//     FAIL AT COMMIT           succeeds, but the transaction cannot commit (23503)
//     anything else            succeeds without rows; its first word is the command tag
// Behind FAIL, as anywhere, more words may stand. Whoever needs a session with more to it
// (settings, writes, locks) derives from the model and overrides what "The language" declares
// (tests/simulation/postgres_session.hpp); about messages there is but this one opinion.
// Processing takes no time: who wants a slow server delivers the bytes late.
//
// Tests only (unit tests, fuzz targets, the simulator). A value: a copy tells what would happen
// next. Its answers were compared with PostgreSQL 15's in thousands of random conversations,
// message by message and flush by flush.
#pragma once

#include "protocol/message.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgweir::test {

struct postgres_model_options {
    // A message of another kind in the middle of COPY FROM STDIN: from version 14 on the server
    // says so and closes; before, it read the message and went on.
    bool closes_on_message_in_copy = true;
    // In a failed transaction it says what a statement without rows is like. (Where a server is
    // shared it may lack the statement, and would have to prepare it.)
    bool describes_in_failed_transaction = true;
};

class postgres_model {
public:
    using options = postgres_model_options;

    explicit postgres_model(options with = {})
        : options_(with) {}
    postgres_model(const postgres_model&) = default;
    postgres_model& operator=(const postgres_model&) = default;
    postgres_model(postgres_model&&) = default;
    postgres_model& operator=(postgres_model&&) = default;
    virtual ~postgres_model() = default;

    /// Bytes from the client, cut anywhere. Returns what the server sends now.
    std::string receive(std::string_view bytes);
    /// A whole message.
    std::string receive(char type, std::string_view body);
    /// … which fails (it was cancelled, or refused) before it has had any effect, but for the one
    /// that comes first: a Query, and a Parse without a name, destroy the unnamed statement.
    std::string refuse(char type, std::string_view body, std::string_view sqlstate);

    /// Answers that wait for a Flush or a Sync.
    [[nodiscard]] const std::string& unflushed() const { return output_; }
    /// They are sent all the same: a server's buffer is full when it is full.
    std::string send_unflushed() { return std::exchange(output_, {}); }

    [[nodiscard]] bool closed() const { return closed_; }
    [[nodiscard]] bool in_copy_in() const { return copy_.has_value(); }
    [[nodiscard]] bool skipping() const { return skipping_; }
    /// A message of the extended protocol came after the last Sync, Query or FunctionCall.
    [[nodiscard]] bool in_batch() const { return in_batch_; }
    [[nodiscard]] protocol::transaction_status status() const { return status_; }
    /// A COPY FROM STDIN has failed at some time.
    [[nodiscard]] bool copy_has_failed() const { return copy_has_failed_; }

    // What may happen at any moment. Each returns what the server sends now.
    std::string cancel();
    std::string shut_down();
    std::string notice();
    std::string notify(std::string_view channel, std::string_view payload);
    std::string parameter(std::string_view name, std::string_view value);

protected:
    struct portal {
        std::string statement;
        std::vector<std::optional<std::string>> arguments; // nothing: null
        std::size_t rows_left = 0;
        std::size_t rows_sent = 0;
        bool finished = false;
    };

    // ---- The language.

    /// What executing a statement that is neither transaction control nor COPY comes to.
    struct effect {
        std::string tag;      // unused where there are rows
        std::string sqlstate; // it fails
    };
    /// Carries it out.
    virtual effect perform(const portal& what);
    /// Nothing: the statement has no rows.
    [[nodiscard]] virtual std::optional<std::size_t> row_count(std::string_view text) const;
    /// The row's only column.
    [[nodiscard]] virtual std::string row_text(const portal& what, std::size_t index) const;
    /// … unless there are several.
    [[nodiscard]] virtual std::vector<std::string> columns(const portal& what,
                                                           std::size_t index) const {
        return {row_text(what, index)};
    }
    struct call_result {
        std::optional<std::string> value; // nothing: null
        std::string sqlstate;             // it fails
    };
    /// FunctionCall, by the function's OID.
    virtual call_result call(std::uint32_t function,
                             const std::vector<std::optional<std::string>>& arguments);
    [[nodiscard]] virtual std::vector<std::string> copied_out(std::string_view text) const;
    /// A COPY FROM STDIN has come to its end, or has failed.
    virtual void copied_in(std::string_view /*text*/, bool /*done*/) {}
    /// What has been done since the last commit or abort stays, or has never been.
    virtual void on_commit() {}
    virtual void on_abort() {}
    /// ReadyForQuery is about to be sent: parameters that have changed are reported first.
    virtual void before_ready() {}

    protocol::message_writer writer() { return protocol::message_writer(output_); }

    protocol::transaction_status status_ = protocol::transaction_status::idle;
    std::map<std::string, std::string, std::less<>> statements_;
    std::map<std::string, portal, std::less<>> portals_;

private:
    struct copying {
        bool simple = false;
        std::string text;
        std::vector<std::string> rest; // of the Query's statements
        std::size_t fails_at = never;  // this many CopyData from now
        bool fails_at_end = false;
    };
    static constexpr std::size_t never = static_cast<std::size_t>(-1);

    // Messages.
    void process(char type, std::string_view body);
    void process_in_copy(char type);

    // The extended protocol.
    void parse(const std::string& name, const std::string& text);
    void bind(protocol::body_reader reader);
    void describe(char what, std::string_view name);
    void execute(std::string_view name, std::uint32_t limit);
    void sync();

    // Statements.
    void run(std::vector<std::string> statements);
    void run_rest(const std::vector<std::string>& rest);
    void run_statement(const portal& what, bool simple, const std::vector<std::string>& rest);
    [[nodiscard]] bool control(std::string_view text);
    void run_ordinary(const portal& what, bool simple, bool last);
    void function_call(protocol::body_reader& body);
    [[nodiscard]] bool commit();
    void begin_copy(const std::string& text, bool simple, const std::vector<std::string>& rest);
    void copy_out(std::string_view text, bool last);
    void finish_copy();
    void fail_copy(std::string_view sqlstate);

    // Answers.
    void fail(std::string_view sqlstate);
    void warn();
    void fatal(std::string_view sqlstate);
    void ready();
    void error_or_notice(char type, std::string_view severity, std::string_view sqlstate);
    void row_description();
    void row(const std::vector<std::string>& columns);
    void copy_response(char type) { writer().begin(type).u8(0).u16(0).end(); }
    void complete(std::string_view tag) { writer().begin('C').c_string(tag).end(); }
    void complete(std::string_view tag, bool last_of_query);
    void bare(char type) { writer().begin(type).end(); }
    void flush() { flushed_ += std::exchange(output_, {}); }
    [[nodiscard]] bool refused_in_failed_transaction(std::string_view text) const;

    options options_;
    std::string input_;   // less than a message
    std::string output_;  // not flushed yet
    std::string flushed_; // on its way out
    std::optional<copying> copy_;
    std::size_t failures_ = 0;
    bool extended_ = false; // the message being processed (doing_extended_query_message)
    bool skipping_ = false; // ignore_till_sync
    bool in_batch_ = false;
    bool deferred_failure_ = false;
    bool copy_has_failed_ = false;
    bool closed_ = false;
};

/// The statements of a Query, without blanks around them; empty ones left out.
[[nodiscard]] std::vector<std::string> split_statements(std::string_view text);

} // namespace pgweir::test
