#include "protocol/session_audit.hpp"

#include "protocol/own_statement.hpp"
#include "protocol/prepared_statement.hpp"
#include "protocol/session_sql.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::protocol {

namespace {

constexpr std::string_view role = "role", session_authorization = "session_authorization";

// They are each transaction's own.
constexpr std::array<std::string_view, 3> of_transactions = {
    "transaction_isolation", "transaction_read_only", "transaction_deferrable"};

// Whose value is what it says, and of which to ask what is meant might change who one is.
bool is_literal(std::string_view name) {
    return name == role || name == session_authorization ||
           name.find('.') != std::string_view::npos;
}

// PostgreSQL shows what is beyond ASCII in the encoding that the client had at the time.
bool is_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

struct branch {
    pin_reason kind;
    std::string_view name; // what a leak is called
    std::string_view from;
    std::string_view more = {};
};

// A setting that is what RESET would make of it is no leak. Where an administrator has given roles
// a role to begin with, it cannot be told from here who took it.
constexpr std::array<branch, 8> branches = {{
    {pin_reason::setting, "pg_catalog.lower(name)", session_sql::settings,
     " AND setting OPERATOR(pg_catalog.<>) reset_val"},
    {pin_reason::setting, "'role'",
     "WHERE pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none'",
     " AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting"
     " WHERE pg_catalog.array_to_string(setconfig, ' ') OPERATOR(pg_catalog.~) '(^| )role=')"},
    {pin_reason::listen, "pg_listening_channels", session_sql::channels},
    {pin_reason::advisory_lock, "mode", session_sql::advisory_locks},
    {pin_reason::temporary_object, "pg_catalog.pg_describe_object(classid, objid, objsubid)",
     session_sql::temporary_objects},
    {pin_reason::held_cursor, "name", session_sql::held_cursors},
    {pin_reason::sql_statement, "name", session_sql::sql_statements},
    {pin_reason::named_statement, "name", session_sql::named_statements,
     " AND pg_catalog.left(name, 4) OPERATOR(pg_catalog.<>) 'pgw_'"},
}};
static_assert(server_name_prefix == "pgw_");

/// Rows of kind and name. One row each of a kind would do, but names help whoever reads the log.
std::string question(std::uint16_t ignored) {
    std::string sql;
    for (const auto& [kind, name, from, more] : branches) {
        if ((ignored & static_cast<std::uint16_t>(kind)) != 0) {
            continue;
        }
        sql += sql.empty() ? "" : " UNION ALL ";
        sql += "(SELECT '";
        sql += to_string(kind);
        sql += "'::pg_catalog.text, ";
        sql += name;
        sql += "::pg_catalog.text ";
        sql += from;
        sql += more;
        sql += " LIMIT 5)";
    }
    return sql;
}

} // namespace

session_audit::session_audit(const setting_map& carried, const login_identity& own,
                             std::uint16_t ignored)
    : ignored_(ignored)
    , readable_(!carried.contains("exit_on_error")) {
    for (const auto& [name, value] : carried) {
        if (std::find(of_transactions.begin(), of_transactions.end(), name) ==
            of_transactions.end()) {
            settings_.push_back({name, value});
        }
    }
    if (!carried.contains(session_authorization)) {
        settings_.push_back({std::string(session_authorization), std::string(own.user)});
    }
    if (!carried.contains(role) && own.role != "none") {
        settings_.push_back({std::string(role), std::string(own.role)});
    }
}

void session_audit::append(std::string& out, reply_queue& owed) {
    answered_ = 0;
    if (asks_more()) {
        reading_ = true;
        for (const auto& each : differing_) {
            append_setting_reading(out, owed, each.name, each.believed);
        }
        return;
    }
    for (const auto& each : settings_) {
        append_setting_question(out, owed, each.name);
    }
    append_own_statement(out, owed, "pgw_audit", question(ignored_));
    append_own_sync(out, owed);
}

void session_audit::take(backend type, bytes body) {
    if (body.empty()) {
        return fail();
    }
    if (type != backend::function_call_response) {
        return take_row(body);
    }
    auto& asked = reading_ ? differing_ : settings_;
    if (answered_ == asked.size()) {
        return fail();
    }
    const auto value = function_result(body);
    const auto text = value ? std::optional(std::string(*value)) : std::nullopt;
    if (reading_) {
        asked[answered_].believed = text.value_or("");
    } else {
        asked[answered_].is = text;
    }
}

void session_audit::take_row(bytes body) {
    body_reader row(body);
    row.u16();
    std::array<std::string_view, 2> columns;
    for (auto& column : columns) {
        constexpr std::uint32_t null = 0xffffffff; // an object that was being dropped
        const auto length = row.u32();
        column = length == null ? std::string_view() : as_text(row.raw(length));
    }
    const auto* const kind = std::find_if(
        kinds.begin(), kinds.end(), [&](pin_reason each) { return to_string(each) == columns[0]; });
    if (!row.finished() || kind == kinds.end()) {
        return fail();
    }
    const bool compared = *kind == pin_reason::setting &&
                          std::any_of(settings_.begin(), settings_.end(),
                                      [&](const auto& each) { return each.name == columns[1]; });
    if (!compared) {
        add(*kind, columns[1]);
    }
}

void session_audit::fail() {
    if (!reading_) {
        failed_ = true;
    } else if (answered_ < differing_.size()) {
        // It is not for whom the session belongs to now to set it: nothing follows.
        auto& asked = differing_[answered_];
        asked.believed = asked.is.value_or("");
    }
}

bool session_audit::ready_came() {
    ++answered_;
    const auto expected = reading_ ? differing_.size() : settings_.size() + 1;
    if (answered_ < expected) {
        return false;
    }
    compare();
    return true;
}

/// All has been told that was asked for.
void session_audit::compare() {
    if (std::exchange(reading_, false)) {
        for (const auto& each : std::exchange(differing_, {})) {
            if (each.is.value_or("") != each.believed) {
                add(pin_reason::setting, each.name);
            }
        }
        return;
    }
    for (const auto& each : settings_) {
        const auto is = each.is.value_or("");
        if (is == each.believed || !is_ascii(is) || !is_ascii(each.believed)) {
            continue;
        }
        if (is_literal(each.name)) {
            add(pin_reason::setting, each.name);
        } else if (readable_) {
            differing_.push_back(each);
        }
    }
}

void session_audit::add(pin_reason kind, std::string_view name) {
    if (leaks_.size() < most_leaks) {
        leaks_.push_back({kind, std::string(name)});
    }
}

std::optional<std::vector<session_audit::leak>> session_audit::result() const {
    return failed_ ? std::nullopt : std::optional(leaks_);
}

} // namespace pgweir::protocol
