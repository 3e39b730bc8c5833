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
// Processing takes no time: who wants a slow server delivers the bytes late.
//
// Tests only (unit tests and the simulator). A value: a copy tells what would happen next. Its
// answers were compared with PostgreSQL 15's in thousands of random conversations, message by
// message and flush by flush.
#pragma once

#include "protocol/message.hpp"

#include <algorithm>
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

    /// Bytes from the client, cut anywhere. Returns what the server sends now.
    std::string receive(std::string_view bytes) {
        input_ += bytes;
        std::size_t at = 0;
        while (!closed_ && input_.size() - at >= protocol::header_bytes) {
            const auto head = protocol::read_header(protocol::as_bytes(input_).subspan(at));
            if (input_.size() - at < head.frame_bytes()) {
                break;
            }
            const auto body = std::string(input_, at + protocol::header_bytes, head.body_bytes());
            at += head.frame_bytes();
            message(head.type, body);
        }
        input_.erase(0, at);
        return std::exchange(flushed_, {});
    }

    /// Answers that wait for a Flush or a Sync.
    [[nodiscard]] const std::string& unflushed() const { return output_; }

    [[nodiscard]] bool closed() const { return closed_; }
    [[nodiscard]] bool in_copy_in() const { return copy_.has_value(); }
    [[nodiscard]] bool skipping() const { return skipping_; }
    /// A message of the extended protocol came after the last Sync, Query or FunctionCall.
    [[nodiscard]] bool in_batch() const { return in_batch_; }
    [[nodiscard]] protocol::transaction_status status() const { return status_; }
    /// A COPY FROM STDIN has failed at some time.
    [[nodiscard]] bool copy_has_failed() const { return copy_has_failed_; }

    // What may happen at any moment. Each returns what the server sends now.
    std::string cancel() {
        if (copy_) {
            fail_copy("57014");
        }
        return std::exchange(flushed_, {});
    }
    std::string shut_down() {
        fatal("57P01");
        return std::exchange(flushed_, {});
    }
    std::string notice() {
        warn();
        return std::exchange(flushed_, {});
    }
    std::string notify(std::string_view channel, std::string_view payload) {
        writer().begin('A').u32(4'242).c_string(channel).c_string(payload).end();
        flush();
        return std::exchange(flushed_, {});
    }
    std::string parameter(std::string_view name, std::string_view value) {
        protocol::append_parameter_status(output_, name, value);
        flush();
        return std::exchange(flushed_, {});
    }

private:
    struct portal {
        std::string statement;
        std::size_t rows_left = 0;
        bool finished = false;
    };
    struct copying {
        bool simple = false;
        std::vector<std::string> rest; // of the Query's statements
        std::size_t fails_at = never;  // this many CopyData from now
        bool fails_at_end = false;
    };
    static constexpr std::size_t never = static_cast<std::size_t>(-1);

    // ---- Messages (SocketBackend, PostgresMain).

    void message(char type, std::string_view body) {
        if (copy_) {
            return message_in_copy(type);
        }
        const bool extended = std::string_view("PBDECH").find(type) != std::string_view::npos;
        if (type == 'S') {
            skipping_ = false;
        }
        if (type == 'X') {
            closed_ = true;
            return;
        }
        if (skipping_) {
            return;
        }
        extended_ = extended;
        in_batch_ = extended ? in_batch_ || type != 'H'
                             : in_batch_ && type != 'S' && type != 'Q' && type != 'F';
        protocol::body_reader reader(protocol::as_bytes(body));
        switch (type) {
        case 'Q':
            statements_.erase("");
            return run(split(reader.c_string()));
        case 'F':
            return function_call(reader.u32());
        case 'P': {
            const auto name = std::string(reader.c_string());
            return parse(name, trimmed(reader.c_string()));
        }
        case 'B': {
            const auto name = std::string(reader.c_string());
            return bind(name, std::string(reader.c_string()));
        }
        case 'D': {
            const char what = reader.character();
            return describe(what, std::string(reader.c_string()));
        }
        case 'E': {
            const auto name = std::string(reader.c_string());
            return execute(name, reader.u32());
        }
        case 'C': {
            const char what = reader.character();
            const auto name = std::string(reader.c_string());
            what == 'S' ? statements_.erase(name) : portals_.erase(name);
            return bare('3');
        }
        case 'H':
            return flush();
        case 'S':
            return sync();
        case 'd':
        case 'c':
        case 'f':
            return; // a COPY that has failed
        default:
            return fatal("08P01");
        }
    }

    // CopyGetData.
    void message_in_copy(char type) {
        switch (type) {
        case 'd':
            if (copy_->fails_at != never && --copy_->fails_at == 0) {
                fail_copy("22P02");
            }
            return;
        case 'c':
            return copy_->fails_at_end ? fail_copy("23505") : finish_copy();
        case 'f':
            return fail_copy("57014");
        case 'S':
        case 'H':
            return; // read over, for the convenience of libraries that did not expect a COPY
        default:
            if (options_.closes_on_message_in_copy) {
                error_or_notice('E', "ERROR", "08P01");
                return fatal("08P01");
            }
            return fail_copy("08P01");
        }
    }

    // ---- The extended protocol.

    void parse(const std::string& name, const std::string& text) {
        if (name.empty()) {
            statements_.erase("");
        }
        if (text.starts_with("FAIL PARSE") || text.find(';') != std::string::npos) {
            return fail("42601");
        }
        if (refused_in_failed_transaction(text)) {
            return fail("25P02");
        }
        if (!name.empty() && statements_.contains(name)) {
            return fail("42P05"); // looked at last, when it is stored
        }
        statements_[name] = text;
        bare('1');
    }

    void bind(const std::string& name, const std::string& statement) {
        const auto found = statements_.find(statement);
        if (found == statements_.end()) {
            return fail("26000");
        }
        if (found->second.empty() ? status_ == protocol::transaction_status::failed
                                  : refused_in_failed_transaction(found->second)) {
            return fail("25P02");
        }
        if (!name.empty() && portals_.contains(name)) {
            return fail("42P03");
        }
        portals_[name] = {found->second, row_count(found->second)};
        bare('2');
    }

    void describe(char what, const std::string& name) {
        const auto statement = statements_.find(name);
        const auto open = portals_.find(name);
        if (what == 'S' ? statement == statements_.end() : open == portals_.end()) {
            return fail(what == 'S' ? "26000" : "34000");
        }
        const auto& text = what == 'S' ? statement->second : open->second.statement;
        const bool refuses = row_count(text) != 0 || !options_.describes_in_failed_transaction;
        if (refuses && refused_in_failed_transaction(text)) {
            return fail("25P02");
        }
        if (what == 'S') {
            writer().begin('t').u16(0).end();
        }
        row_count(text) != 0 ? row_description() : bare('n');
    }

    void execute(const std::string& name, std::uint32_t limit) {
        const auto found = portals_.find(name);
        if (found == portals_.end()) {
            return fail("34000");
        }
        auto& p = found->second;
        const bool selects = row_count(p.statement) != 0;
        if (!selects && p.finished && !p.statement.empty()) {
            return fail("55000");
        }
        if (!selects) {
            p.finished = true;
            return run_statement(std::string(p.statement), false, {});
        }
        if (refused_in_failed_transaction(p.statement)) {
            return fail("25P02");
        }
        const auto count = limit == 0 ? p.rows_left : std::min<std::size_t>(limit, p.rows_left);
        for (std::size_t i = 0; i < count; ++i) {
            row(p.statement);
        }
        p.rows_left -= count;
        // Also when that was the last row: the server has not looked behind it.
        limit != 0 && count == limit ? bare('s') : complete("SELECT " + std::to_string(count));
    }

    void sync() {
        if (status_ == protocol::transaction_status::idle && !commit()) {
            return; // the error has said ReadyForQuery
        }
        ready();
    }

    // ---- Statements.

    void run(std::vector<std::string> statements) {
        if (std::any_of(statements.begin(), statements.end(),
                        [](const auto& s) { return s.starts_with("FAIL PARSE"); })) {
            return fail("42601");
        }
        if (statements.empty()) {
            if (status_ == protocol::transaction_status::idle && !commit()) {
                return;
            }
            bare('I');
        }
        while (!statements.empty()) {
            const auto next = statements.front();
            statements.erase(statements.begin());
            const auto failures = failures_;
            run_statement(next, true, statements);
            if (failures != failures_ || copy_) {
                return; // finish_copy() goes on with the rest
            }
            portals_.erase("");
        }
        sync(); // the implicit transaction ends, ReadyForQuery
    }

    void run_statement(const std::string& text, bool simple, const std::vector<std::string>& rest) {
        if (refused_in_failed_transaction(text)) {
            return fail("25P02");
        }
        if (simple) {
            portals_[""] = {text, row_count(text), true}; // stays if the statement fails
        }
        if (text.empty()) {
            return bare('I');
        }
        if (text == "FAIL") {
            return fail("22012");
        }
        const bool outside = status_ == protocol::transaction_status::idle;
        if (text.starts_with("BEGIN")) {
            outside ? void() : warn();
            status_ = outside ? protocol::transaction_status::in_transaction : status_;
        } else if (text.starts_with("COMMIT") && status_ != protocol::transaction_status::failed) {
            outside ? warn() : void();
            status_ = protocol::transaction_status::idle;
            if (!commit()) {
                return;
            }
        } else if (text.starts_with("COMMIT") || text.starts_with("ROLLBACK")) {
            outside ? warn() : void();
            status_ = protocol::transaction_status::idle;
            deferred_failure_ = false;
            portals_.clear();
            return complete("ROLLBACK");
        } else if (text == "FAIL AT COMMIT") {
            deferred_failure_ = true;
        } else if (text.starts_with("COPY") && text.find("FROM STDIN") != std::string::npos) {
            return begin_copy(text, simple, rest);
        } else if (text.starts_with("COPY")) {
            copy_response('H');
            writer().begin('d').raw("1\n").end();
            writer().begin('d').raw("2\n").end();
            bare('c');
        } else if (const auto rows = row_count(text); rows != 0) {
            if (simple) {
                row_description();
            }
            for (std::size_t i = 0; i < rows; ++i) {
                row(text);
            }
            return complete("SELECT " + std::to_string(rows), simple && rest.empty());
        }
        complete(text.substr(0, text.find(' ')), simple && rest.empty());
    }

    void function_call(std::uint32_t function) {
        if (status_ == protocol::transaction_status::failed) {
            return fail("25P02");
        }
        if (function == 0) {
            return fail("42883");
        }
        writer().begin('V').u32(0xffffffff).end();
        sync();
    }

    // The end of a transaction. False: it failed, and all about that has been said.
    bool commit() {
        if (deferred_failure_) {
            fail("23503");
            return false;
        }
        portals_.clear();
        return true;
    }

    // ---- COPY FROM STDIN.

    void begin_copy(const std::string& text, bool simple, const std::vector<std::string>& rest) {
        copy_ = copying{simple, rest};
        copy_response('G');
        flush();
        const auto fails = text.find("FAIL AT ");
        if (fails == std::string::npos) {
            return;
        }
        const auto where = text.substr(fails + 8);
        if (where == "END") {
            copy_->fails_at_end = true;
        } else if (where == "0") {
            fail_copy("42809");
        } else {
            copy_->fails_at = std::stoul(where);
        }
    }

    void finish_copy() {
        const auto done = std::exchange(copy_, std::nullopt);
        const auto failures = failures_;
        complete("COPY 1", done->simple && done->rest.empty());
        if (done->simple && failures == failures_) {
            portals_.erase("");
            run_rest(done->rest);
        }
    }

    // `run`, except that an exhausted list is not an empty query.
    void run_rest(const std::vector<std::string>& rest) { rest.empty() ? sync() : run(rest); }

    void fail_copy(std::string_view sqlstate) {
        copy_has_failed_ = true;
        extended_ = !copy_->simple;
        copy_.reset();
        fail(sqlstate);
    }

    // ---- Answers.

    // An ERROR, and what comes of it.
    void fail(std::string_view sqlstate) {
        ++failures_;
        error_or_notice('E', "ERROR", sqlstate);
        flush(); // as send_message_to_frontend() does
        deferred_failure_ = false;
        if (status_ == protocol::transaction_status::in_transaction) {
            status_ = protocol::transaction_status::failed;
        } else if (status_ == protocol::transaction_status::idle) {
            portals_.clear();
        }
        if (extended_) {
            skipping_ = true;
        } else {
            ready();
        }
    }

    // A WARNING is flushed at once, with all that waits before it.
    void warn() {
        error_or_notice('N', "WARNING", "01000");
        flush();
    }

    void fatal(std::string_view sqlstate) {
        error_or_notice('E', "FATAL", sqlstate);
        flush();
        closed_ = true;
    }

    void ready() {
        protocol::append_ready_for_query(output_, status_);
        flush();
    }

    void error_or_notice(char type, std::string_view severity, std::string_view sqlstate) {
        writer()
            .begin(type)
            .u8('S')
            .c_string(severity)
            .u8('V')
            .c_string(severity)
            .u8('C')
            .c_string(sqlstate)
            .u8('M')
            .c_string("the model says so")
            .u8(0)
            .end();
    }

    void row_description() {
        writer()
            .begin('T')
            .u16(1)
            .c_string("text")
            .u32(0)
            .u16(0)
            .u32(25)
            .u16(0xffff)
            .u32(0xffffffff)
            .u16(0)
            .end();
    }

    void row(std::string_view text) {
        writer().begin('D').u16(1).u32(static_cast<std::uint32_t>(text.size())).raw(text).end();
    }

    void copy_response(char type) { writer().begin(type).u8(0).u16(0).end(); }
    void complete(std::string_view tag) { writer().begin('C').c_string(tag).end(); }
    /// Of the last statement of a Query the server commits first and says so only then.
    void complete(std::string_view tag, bool last_of_query) {
        if (!last_of_query || status_ != protocol::transaction_status::idle || commit()) {
            complete(tag);
        }
    }
    void bare(char type) { writer().begin(type).end(); }
    void flush() { flushed_ += std::exchange(output_, {}); }
    protocol::message_writer writer() { return protocol::message_writer(output_); }

    // ---- The language.

    [[nodiscard]] bool refused_in_failed_transaction(std::string_view text) const {
        return status_ == protocol::transaction_status::failed && !text.empty() &&
               !text.starts_with("COMMIT") && !text.starts_with("ROLLBACK");
    }

    static std::size_t row_count(std::string_view text) {
        if (text.starts_with("ROWS ")) {
            return std::stoul(std::string(text.substr(5)));
        }
        return text.starts_with("SELECT") ? 1 : 0;
    }

    static std::string trimmed(std::string_view text) {
        const auto first = text.find_first_not_of(' ');
        return first == std::string_view::npos
                   ? std::string()
                   : std::string(text.substr(first, text.find_last_not_of(' ') + 1 - first));
    }

    static std::vector<std::string> split(std::string_view text) {
        std::vector<std::string> statements;
        while (!text.empty()) {
            const auto end = std::min(text.find(';'), text.size());
            if (auto statement = trimmed(text.substr(0, end)); !statement.empty()) {
                statements.push_back(std::move(statement));
            }
            text.remove_prefix(std::min(end + 1, text.size()));
        }
        return statements;
    }

    options options_;
    std::string input_;   // less than a message
    std::string output_;  // not flushed yet
    std::string flushed_; // on its way out
    protocol::transaction_status status_ = protocol::transaction_status::idle;
    std::optional<copying> copy_;
    std::map<std::string, std::string> statements_;
    std::map<std::string, portal> portals_;
    std::size_t failures_ = 0;
    bool extended_ = false; // the message being processed (doing_extended_query_message)
    bool skipping_ = false; // ignore_till_sync
    bool in_batch_ = false;
    bool deferred_failure_ = false;
    bool copy_has_failed_ = false;
    bool closed_ = false;
};

} // namespace pgweir::test
