// The messages of a session and what answers them. See postgres_model.hpp; what statements do is in
// postgres_model_statements.cpp.
#include "tests/support/postgres_model.hpp"

#include <algorithm>

namespace pgweir::test {

using protocol::transaction_status;

namespace {

std::string trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(' ');
    return first == std::string_view::npos
               ? std::string()
               : std::string(text.substr(first, text.find_last_not_of(' ') + 1 - first));
}

} // namespace

std::vector<std::string> split_statements(std::string_view text) {
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

// Messages (SocketBackend, PostgresMain) ---------------------------------------------------------

std::string postgres_model::receive(std::string_view bytes) {
    input_ += bytes;
    std::size_t at = 0;
    while (!closed_ && input_.size() - at >= protocol::header_bytes) {
        const auto head = protocol::read_header(protocol::as_bytes(input_).subspan(at));
        if (input_.size() - at < head.frame_bytes()) {
            break;
        }
        const auto body = std::string(input_, at + protocol::header_bytes, head.body_bytes());
        at += head.frame_bytes();
        process(head.type, body);
    }
    input_.erase(0, at);
    return std::exchange(flushed_, {});
}

std::string postgres_model::receive(char type, std::string_view body) {
    if (!closed_) {
        process(type, body);
    }
    return std::exchange(flushed_, {});
}

std::string postgres_model::refuse(char type, std::string_view body, std::string_view sqlstate) {
    if (copy_) {
        fail_copy(sqlstate);
    } else {
        if (!skipping_ && (type == 'Q' || (type == 'P' && body.starts_with('\0')))) {
            statements_.erase("");
        }
        extended_ = std::string_view("PBDECH").find(type) != std::string_view::npos;
        skipping_ = skipping_ && type != 'S';
        fail(sqlstate);
    }
    return std::exchange(flushed_, {});
}

std::string postgres_model::cancel() {
    if (copy_) {
        fail_copy("57014");
    }
    return std::exchange(flushed_, {});
}

std::string postgres_model::shut_down() {
    fatal("57P01");
    return std::exchange(flushed_, {});
}

std::string postgres_model::notice() {
    warn();
    return std::exchange(flushed_, {});
}

std::string postgres_model::notify(std::string_view channel, std::string_view payload) {
    writer().begin('A').u32(4'242).c_string(channel).c_string(payload).end();
    flush();
    return std::exchange(flushed_, {});
}

std::string postgres_model::parameter(std::string_view name, std::string_view value) {
    protocol::append_parameter_status(output_, name, value);
    flush();
    return std::exchange(flushed_, {});
}

void postgres_model::process(char type, std::string_view body) {
    if (copy_) {
        return process_in_copy(type);
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
        return run(split_statements(reader.c_string()));
    case 'F':
        return function_call(reader);
    case 'P': {
        const auto name = std::string(reader.c_string());
        return parse(name, trimmed(reader.c_string()));
    }
    case 'B':
        return bind(reader);
    case 'D': {
        const char what = reader.character();
        return describe(what, reader.c_string());
    }
    case 'E': {
        const auto name = reader.c_string();
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
void postgres_model::process_in_copy(char type) {
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

// The extended protocol --------------------------------------------------------------------------

void postgres_model::parse(const std::string& name, const std::string& text) {
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

void postgres_model::bind(protocol::body_reader reader) {
    const auto name = std::string(reader.c_string());
    const auto found = statements_.find(reader.c_string());
    if (found == statements_.end()) {
        return fail("26000");
    }
    if (found->second.empty() ? status_ == transaction_status::failed
                              : refused_in_failed_transaction(found->second)) {
        return fail("25P02");
    }
    if (!name.empty() && portals_.contains(name)) {
        return fail("42P03");
    }
    portal made;
    made.statement = found->second;
    made.rows_left = row_count(found->second).value_or(0);
    for (auto formats = reader.u16(); formats != 0 && reader.ok(); --formats) {
        reader.u16();
    }
    for (auto left = reader.u16(); left != 0 && reader.ok(); --left) {
        constexpr std::uint32_t null = 0xffffffff;
        const auto size = reader.u32();
        made.arguments.emplace_back();
        if (size != null) {
            made.arguments.back() = protocol::as_text(reader.raw(size));
        }
    }
    portals_.insert_or_assign(name, std::move(made));
    bare('2');
}

void postgres_model::describe(char what, std::string_view name) {
    const auto statement = statements_.find(name);
    const auto open = portals_.find(name);
    if (what == 'S' ? statement == statements_.end() : open == portals_.end()) {
        return fail(what == 'S' ? "26000" : "34000");
    }
    const auto& text = what == 'S' ? statement->second : open->second.statement;
    const bool rows = row_count(text).has_value();
    const bool refuses = rows || !options_.describes_in_failed_transaction;
    if (refuses && refused_in_failed_transaction(text)) {
        return fail("25P02");
    }
    if (what == 'S') {
        writer().begin('t').u16(0).end();
    }
    rows ? row_description() : bare('n');
}

void postgres_model::execute(std::string_view name, std::uint32_t limit) {
    const auto found = portals_.find(name);
    if (found == portals_.end()) {
        return fail("34000");
    }
    auto& p = found->second;
    if (!row_count(p.statement)) {
        if (p.finished && !p.statement.empty()) {
            return fail("55000");
        }
        p.finished = true;
        return run_statement(portal(p), false, {});
    }
    if (refused_in_failed_transaction(p.statement)) {
        return fail("25P02");
    }
    if (const auto done = perform(p); !done.sqlstate.empty()) {
        return fail(done.sqlstate);
    }
    const auto count = limit == 0 ? p.rows_left : std::min<std::size_t>(limit, p.rows_left);
    for (std::size_t i = 0; i < count; ++i) {
        row(columns(p, p.rows_sent++));
    }
    p.rows_left -= count;
    // Also when that was the last row: the server has not looked behind it.
    limit != 0 && count == limit ? bare('s') : complete("SELECT " + std::to_string(count));
}

void postgres_model::sync() {
    if (status_ == transaction_status::idle && !commit()) {
        return; // the error has said ReadyForQuery
    }
    ready();
}

} // namespace pgweir::test
