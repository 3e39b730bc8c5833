#include "protocol/pin_question.hpp"

#include "protocol/session_sql.hpp"

#include <array>

namespace pgweir::protocol {

namespace {

struct kind {
    pin_reason reason;
    std::string_view name; // no client's name begins like that
    std::string_view from;
};

constexpr std::array<kind, 5> kinds = {{
    {pin_reason::listen, "pgw_listens", session_sql::channels},
    {pin_reason::advisory_lock, "pgw_locks", session_sql::advisory_locks},
    {pin_reason::temporary_object, "pgw_temporary", session_sql::temporary_objects},
    {pin_reason::held_cursor, "pgw_cursors", session_sql::held_cursors},
    {pin_reason::sql_statement, "pgw_statements", session_sql::sql_statements},
}};

std::string sql_of(std::string_view from) {
    std::string sql = "SELECT EXISTS (SELECT ";
    sql += from;
    sql += ')';
    return sql;
}

constexpr bool is_in(std::uint16_t reasons, pin_reason reason) {
    return (reasons & static_cast<std::uint16_t>(reason)) != 0;
}

} // namespace

void for_each_pin_statement(const std::function<void(std::string_view)>& visit) {
    for (const auto& one : kinds) {
        visit(one.name);
    }
}

void pin_question::append(std::string& out, reply_queue& owed, std::uint16_t& prepared) {
    message_writer to(out);
    const auto ask = [&owed](frontend type) { owed.sent(type, fate::swallow); };
    for (const auto& [reason, name, from] : kinds) {
        if (!is_in(about_, reason)) {
            continue;
        }
        if (is_in(prepared, reason)) {
            relied_on_prepared_ = true;
        } else {
            to.begin(frontend::close).u8('S').c_string(name).end(); // should it have it after all
            to.begin(frontend::parse).c_string(name).c_string(sql_of(from)).u16(0).end();
            ask(frontend::close);
            ask(frontend::parse);
        }
        to.begin(frontend::bind).c_string("").c_string(name).u16(0).u16(0).u16(0).end();
        to.begin(frontend::execute).c_string("").u32(0).end();
        ask(frontend::bind);
        ask(frontend::execute);
    }
    to.begin(frontend::sync).end();
    ask(frontend::sync);
    prepared = static_cast<std::uint16_t>(prepared | about_);
}

void pin_question::take(bytes body) {
    body_reader row(body);
    const bool one_column = row.u16() == 1 && row.u32() == 1;
    const char value = row.character();
    if (!one_column || !row.finished() || (value != 't' && value != 'f')) {
        return fail();
    }
    for (const auto& [reason, name, from] : kinds) {
        if (is_in(about_, reason) && !is_in(answered_, reason)) {
            const auto bit = static_cast<std::uint16_t>(reason);
            answered_ = static_cast<std::uint16_t>(answered_ | bit);
            there_ = static_cast<std::uint16_t>(there_ | (value == 't' ? bit : 0U));
            return;
        }
    }
    fail();
}

std::optional<std::uint16_t> pin_question::there() const {
    return failed_ || answered_ != about_ ? std::nullopt : std::optional(there_);
}

} // namespace pgweir::protocol
