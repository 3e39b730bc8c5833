// What statements do, and how it is said. See postgres_model.hpp.
#include "tests/support/postgres_model.hpp"

#include <algorithm>

namespace pgweir::test {

using protocol::as_text;
using protocol::body_reader;
using protocol::transaction_status;

namespace {

bool fails_at_commit(std::string_view text) { return text.starts_with("FAIL AT COMMIT"); }

bool fails(std::string_view text) {
    return text == "FAIL" || (text.starts_with("FAIL ") && !fails_at_commit(text));
}

bool fails_in_parsing(std::string_view text) { return text.starts_with("FAIL PARSE"); }

} // namespace

// Statements -------------------------------------------------------------------------------------

void postgres_model::run(std::vector<std::string> statements) {
    if (std::any_of(statements.begin(), statements.end(), fails_in_parsing)) {
        return fail("42601");
    }
    if (statements.empty()) {
        if (status_ == transaction_status::idle && !commit()) {
            return;
        }
        bare('I');
    }
    while (!statements.empty()) {
        portal next;
        next.statement = std::move(statements.front());
        next.rows_left = row_count(next.statement).value_or(0);
        next.finished = true;
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

// `run`, except that an exhausted list is not an empty query.
void postgres_model::run_rest(const std::vector<std::string>& rest) {
    rest.empty() ? sync() : run(rest);
}

void postgres_model::run_statement(const portal& what, bool simple,
                                   const std::vector<std::string>& rest) {
    const auto& text = what.statement;
    if (refused_in_failed_transaction(text)) {
        return fail("25P02");
    }
    if (simple) {
        portals_.insert_or_assign("", what); // stays if the statement fails
    }
    if (text.empty()) {
        return bare('I');
    }
    const bool last = simple && rest.empty();
    const bool controls =
        text.starts_with("BEGIN") || text.starts_with("COMMIT") || text.starts_with("ROLLBACK");
    if (controls) {
        if (control(text)) {
            complete(text.substr(0, text.find(' ')), last);
        }
    } else if (text.starts_with("COPY") && text.find("FROM STDIN") != std::string::npos) {
        begin_copy(text, simple, rest);
    } else if (text.starts_with("COPY")) {
        copy_out(text, last);
    } else {
        run_ordinary(what, simple, last);
    }
}

// True: the statement has done what it says and may be called complete.
bool postgres_model::control(std::string_view text) {
    const bool outside = status_ == transaction_status::idle;
    if (text.starts_with("BEGIN")) {
        outside ? void() : warn();
        status_ = outside ? transaction_status::in_transaction : status_;
        return true;
    }
    outside ? warn() : void();
    const bool lost =
        std::exchange(status_, transaction_status::idle) == transaction_status::failed;
    if (text.starts_with("COMMIT") && !lost) {
        return commit();
    }
    deferred_failure_ = false;
    portals_.clear();
    on_abort();
    complete("ROLLBACK");
    return false;
}

void postgres_model::run_ordinary(const portal& what, bool simple, bool last) {
    const auto& text = what.statement;
    const auto done = perform(what);
    if (!done.sqlstate.empty()) {
        return fail(done.sqlstate);
    }
    const auto rows = row_count(text);
    if (!rows) {
        return complete(done.tag, last);
    }
    if (simple) {
        row_description();
    }
    for (std::size_t i = 0; i < *rows; ++i) {
        row(columns(what, i));
    }
    complete("SELECT " + std::to_string(*rows), last);
}

void postgres_model::function_call(body_reader& body) {
    if (status_ == transaction_status::failed) {
        return fail("25P02");
    }
    constexpr std::uint32_t null = 0xffffffff;
    const auto function = body.u32();
    for (auto formats = body.u16(); formats != 0; --formats) {
        body.u16();
    }
    std::vector<std::optional<std::string>> arguments(body.u16());
    for (auto& argument : arguments) {
        if (const auto size = body.u32(); size != null) {
            argument = as_text(body.raw(size));
        }
    }
    const auto result = call(function, arguments);
    if (!result.sqlstate.empty()) {
        return fail(result.sqlstate);
    }
    const auto size = result.value ? static_cast<std::uint32_t>(result.value->size()) : null;
    writer().begin('V').u32(size).raw(result.value.value_or("")).end();
    sync();
}

postgres_model::call_result postgres_model::call(std::uint32_t function,
                                                 const std::vector<std::optional<std::string>>&) {
    return {std::nullopt, function == 0 ? "42883" : ""};
}

// The end of a transaction. False: it failed, and all about that has been said.
bool postgres_model::commit() {
    if (deferred_failure_) {
        fail("23503");
        return false;
    }
    portals_.clear();
    on_commit();
    return true;
}

// COPY -------------------------------------------------------------------------------------------

void postgres_model::copy_out(std::string_view text, bool last) {
    copy_response('H');
    for (const auto& line : copied_out(text)) {
        writer().begin('d').raw(line).end();
    }
    bare('c');
    complete("COPY", last);
}

void postgres_model::begin_copy(const std::string& text, bool simple,
                                const std::vector<std::string>& rest) {
    copy_ = copying{simple, text, rest};
    copy_response('G');
    flush();
    const auto fails = text.find("FAIL AT ");
    if (fails == std::string::npos) {
        return;
    }
    auto where = text.substr(fails + 8);
    where.resize(std::min(where.find(' '), where.size()));
    if (where == "END") {
        copy_->fails_at_end = true;
    } else if (where == "0") {
        fail_copy("42809");
    } else {
        copy_->fails_at = std::stoul(where);
    }
}

void postgres_model::finish_copy() {
    const auto done = std::exchange(copy_, std::nullopt);
    const auto failures = failures_;
    copied_in(done->text, true);
    complete("COPY 1", done->simple && done->rest.empty());
    if (done->simple && failures == failures_) {
        portals_.erase("");
        run_rest(done->rest);
    }
}

void postgres_model::fail_copy(std::string_view sqlstate) {
    copy_has_failed_ = true;
    const auto failed = std::exchange(copy_, std::nullopt);
    extended_ = !failed->simple;
    copied_in(failed->text, false);
    fail(sqlstate);
}

// Answers ----------------------------------------------------------------------------------------

// An ERROR, and what comes of it.
void postgres_model::fail(std::string_view sqlstate) {
    ++failures_;
    error_or_notice('E', "ERROR", sqlstate);
    flush(); // as send_message_to_frontend() does
    deferred_failure_ = false;
    if (status_ == transaction_status::in_transaction) {
        status_ = transaction_status::failed;
        on_abort();
    } else if (status_ == transaction_status::idle) {
        portals_.clear();
        on_abort();
    }
    if (extended_) {
        skipping_ = true;
    } else {
        ready();
    }
}

// A WARNING is flushed at once, with all that waits before it.
void postgres_model::warn() {
    error_or_notice('N', "WARNING", "01000");
    flush();
}

void postgres_model::fatal(std::string_view sqlstate) {
    error_or_notice('E', "FATAL", sqlstate);
    flush();
    closed_ = true;
}

void postgres_model::ready() {
    before_ready();
    protocol::append_ready_for_query(output_, status_);
    flush();
}

void postgres_model::error_or_notice(char type, std::string_view severity,
                                     std::string_view sqlstate) {
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

void postgres_model::row_description() {
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

void postgres_model::row(const std::vector<std::string>& columns) {
    auto to = writer();
    to.begin('D').u16(static_cast<std::uint16_t>(columns.size()));
    for (const auto& text : columns) {
        to.u32(static_cast<std::uint32_t>(text.size())).raw(text);
    }
    to.end();
}

/// Of the last statement of a Query the server commits first and says so only then.
void postgres_model::complete(std::string_view tag, bool last_of_query) {
    if (!last_of_query || status_ != transaction_status::idle || commit()) {
        complete(tag);
    }
}

// The language -----------------------------------------------------------------------------------

bool postgres_model::refused_in_failed_transaction(std::string_view text) const {
    return status_ == transaction_status::failed && !text.empty() && !text.starts_with("COMMIT") &&
           !text.starts_with("ROLLBACK");
}

postgres_model::effect postgres_model::perform(const portal& what) {
    const auto& text = what.statement;
    if (fails(text)) {
        return {{}, "22012"};
    }
    deferred_failure_ = deferred_failure_ || fails_at_commit(text);
    return {text.substr(0, text.find(' ')), {}};
}

std::optional<std::size_t> postgres_model::row_count(std::string_view text) const {
    if (text.starts_with("ROWS ")) {
        return std::stoul(std::string(text.substr(5)));
    }
    return text.starts_with("SELECT") ? std::optional<std::size_t>(1) : std::nullopt;
}

std::string postgres_model::row_text(const portal& what, std::size_t) const {
    return what.statement;
}

std::vector<std::string> postgres_model::copied_out(std::string_view) const {
    return {"1\n", "2\n"};
}

} // namespace pgweir::test
