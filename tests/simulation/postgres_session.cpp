// What a session is, and what its statements do to it. See postgres_session.hpp.
#include "tests/simulation/postgres_session.hpp"

#include "protocol/idle_session.hpp"

#include <algorithm>
#include <array>

namespace pgweir::simulation {

namespace {

const settings server_defaults = {{"application_name", ""}, {"timezone", "UTC"}};

constexpr std::uint32_t set_config_function = 2'078, current_setting_function = 3'294;
constexpr std::string_view set_config_sql = "SELECT pg_catalog.set_config(";
constexpr std::string_view question = "SELECT EXISTS (SELECT FROM pg_catalog.";
constexpr std::string_view list_of_settings =
    "SELECT pg_catalog.lower(name), pg_catalog.current_setting(name) FROM";
constexpr std::string_view audit_question = "(SELECT 'setting'::pg_catalog.text, ";
constexpr std::string_view names_question = "\nWITH RECURSIVE\nseparators (";
constexpr std::string_view lastval = "SELECT lastval()";
constexpr std::string_view probe = "VALUES (pg_catalog.current_setting('max_connections')), (";

/// The database's only function: what the catalogues tell of it (protocol/hidden_effects.hpp).
constexpr std::array<std::array<const char*, 3>, 3> hidden_function = {{
    {"c", "1255.16400", "begin perform pg_advisory_lock(7); end"},
    {"l", "1255.16400", "plpgsql"},
    {"n", "1255.16400", "hidden_lock"},
}};

/// The name of a write: who made it, and its number, or a star.
std::string write_of(std::string_view sql) {
    const auto number = word_of(sql, "n");
    return std::string(word_of(sql, "tag")) + '.' +
           (number.empty() ? std::string("*") : std::string(number));
}

} // namespace

postgres_session::postgres_session(const settings& at_start)
    : at_start_(server_defaults) {
    for (const auto& [name, value] : at_start) {
        at_start_[name] = value;
    }
    now_.values = at_start_;
    at_begin_ = now_;
    on_commit_ = at_start_;
    told_ = reported();
}

std::vector<message> postgres_session::execute(const message& m) {
    auto bytes = receive(m.type, m.body);
    return messages_of(bytes + send_unflushed());
}

std::vector<message> postgres_session::fail(const message& m, std::string_view sqlstate) {
    give_up_writes(m);
    auto bytes = refuse(m.type, m.body, sqlstate);
    return messages_of(bytes + send_unflushed());
}

void postgres_session::give_up_writes(const message& m) {
    for (const auto& part : test::split_statements(statement_of(m))) {
        const bool writes =
            starts_with(part, "INSERT") || part.find("FROM STDIN") != std::string::npos;
        if (writes) {
            aborted.push_back(write_of(part));
        }
    }
}

settings postgres_session::reported() const {
    settings all;
    for (const auto& [name, ignored] : server_defaults) {
        all[name] = now_.values.at(name);
    }
    return all;
}

std::chrono::milliseconds postgres_session::idle_limit() const {
    return protocol::idle_limit_of({now_.values.begin(), now_.values.end()},
                                   std::chrono::milliseconds(0));
}

std::vector<std::string> postgres_session::listens() const {
    std::vector<std::string> channels;
    for (const auto& what : now_.artefacts) {
        if (starts_with(what, "listen ")) {
            channels.push_back(what);
        }
    }
    return channels;
}

std::string postgres_session::digest() const {
    std::string text;
    for (const auto& [name, value] : now_.values) {
        const auto usual = server_defaults.find(name);
        if (usual == server_defaults.end() || usual->second != value) {
            text += name + '=' + value + ',';
        }
    }
    for (const auto* const list : {&now_.artefacts, &locks_}) {
        for (const auto& what : *list) {
            text += what + ',';
        }
    }
    // Prepared statements show when they are used; what servers call them is nobody's business.
    return text;
}

std::string_view postgres_session::statement_of(const message& m) const {
    const auto name = std::string_view(m.body).substr(0, m.body.find('\0'));
    if (m.type == 'Q') {
        return name;
    }
    if (m.type == 'E') {
        const auto found = portals_.find(name);
        return found == portals_.end() ? std::string_view{} : found->second.statement;
    }
    return {};
}

std::uint64_t postgres_session::cost_ms(const message& m) const {
    if (skipping() || in_copy_in()) {
        return 0;
    }
    std::uint64_t total = 0;
    for (const auto& part : test::split_statements(statement_of(m))) {
        total += number_of(part, "ms");
    }
    return total;
}

// Transactions -----------------------------------------------------------------------------------

void postgres_session::on_commit() {
    if (std::exchange(touched_, false)) {
        committed.insert(committed.end(), writes_.begin(), writes_.end());
        writes_.clear();
        now_.values = on_commit_;
        at_begin_ = now_;
    }
}

void postgres_session::on_abort() {
    if (std::exchange(touched_, false)) {
        aborted.insert(aborted.end(), writes_.begin(), writes_.end());
        writes_.clear();
        now_ = at_begin_;
        on_commit_ = now_.values;
    }
}

void postgres_session::before_ready() {
    for (const auto& [name, ignored] : server_defaults) {
        auto& told = told_[name];
        if (const auto& value = now_.values.at(name); told != value) {
            told = value;
            writer().begin('S').c_string(name).c_string(value).end();
        }
    }
}

// Statements -------------------------------------------------------------------------------------

std::optional<std::size_t> postgres_session::row_count(std::string_view text) const {
    if (starts_with(text, list_of_settings)) {
        return set_by_session().size();
    }
    if (starts_with(text, probe)) {
        return 2;
    }
    if (starts_with(text, question)) {
        return 1;
    }
    if (starts_with(text, audit_question)) {
        return audited().size();
    }
    if (starts_with(text, names_question)) {
        return hidden_function.size();
    }
    const auto rows = word_of(text, "rows");
    return starts_with(text, "SELECT") && !rows.empty() ? number_of(text, "rows")
                                                        : postgres_model::row_count(text);
}

std::string postgres_session::row_text(const portal& what, std::size_t index) const {
    const std::string_view sql = what.statement;
    if (starts_with(sql, probe)) {
        const auto own = at_start_.find("idle_session_timeout");
        return index == 0               ? std::to_string(max_connections)
               : own == at_start_.end() ? "0"
                                        : own->second;
    }
    std::string text = "tag=";
    text += word_of(sql, "tag");
    text += " n=";
    text += word_of(sql, "n");
    if (starts_with(sql, lastval)) {
        text += " value=" + last_value_;
    }
    text += " i=" + std::to_string(index) + " session=[" + digest() + "] ";
    text.append(number_of(sql, "size"), static_cast<char>('a' + index % 26));
    return text;
}

std::vector<std::string> postgres_session::copied_out(std::string_view text) const {
    const auto rows = word_of(text, "rows").empty() ? 2 : number_of(text, "rows");
    return std::vector<std::string>(rows, "copy " + write_of(text) + '\n');
}

void postgres_session::copied_in(std::string_view text, bool done) {
    (done ? writes_ : aborted).push_back(write_of(text));
    touched_ = true;
}

postgres_session::effect postgres_session::perform(const portal& what) {
    const std::string_view sql = what.statement;
    const auto tag = std::string(word_of(sql, "tag"));
    if (starts_with(sql, "SELECT pg_advisory_lock") || starts_with(sql, "SELECT hidden_lock")) {
        locks_.insert("lock of " + tag);
    } else if (starts_with(sql, "SELECT pg_advisory_unlock")) {
        locks_.erase("lock of " + tag);
    } else if (starts_with(sql, lastval) && last_value_.empty()) {
        return {{}, "55000"};
    } else if (starts_with(sql, "INSERT")) {
        writes_.push_back(write_of(sql));
        last_value_ = writes_.back();
        touched_ = true;
        return {"INSERT 0 1", {}};
    } else if (starts_with(sql, "SET ")) {
        return change_setting(sql);
    } else if (starts_with(sql, set_config_sql)) {
        return sql.ends_with("true)") ? effect() : set_all(what.arguments); // a trial
    } else if (starts_with(sql, "LISTEN")) {
        return leave_behind("LISTEN", "listen " + tag);
    } else if (starts_with(sql, "CREATE TEMP TABLE")) {
        return leave_behind("CREATE TABLE", "table of " + tag);
    } else if (starts_with(sql, "CREATE OR REPLACE FUNCTION")) {
        return {"CREATE FUNCTION", {}}; // it is there, as it was
    } else if (starts_with(sql, "UNLISTEN")) {
        return give_up("UNLISTEN", "listen " + tag);
    } else if (starts_with(sql, "DROP TABLE")) {
        return give_up("DROP TABLE", "table of " + tag);
    } else if (starts_with(sql, "RESET ") || starts_with(sql, "DISCARD ")) {
        return reset(sql);
    }
    return postgres_model::perform(what);
}

postgres_session::effect postgres_session::leave_behind(const char* tag, std::string what) {
    now_.artefacts.insert(std::move(what));
    touched_ = true;
    return {tag, {}};
}

postgres_session::effect postgres_session::give_up(const char* tag, const std::string& what) {
    now_.artefacts.erase(what);
    touched_ = true;
    return {tag, {}};
}

/// What the daemon asks about things left behind.
bool postgres_session::has(std::string_view sql) const {
    const auto asks = [sql](const char* of) { return sql.find(of) != std::string_view::npos; };
    const auto any = [this](const char* what) {
        return std::any_of(now_.artefacts.begin(), now_.artefacts.end(),
                           [what](const std::string& one) { return starts_with(one, what); });
    };
    return (asks("pg_locks") && !locks_.empty()) ||
           (asks("pg_listening_channels") && any("listen ")) ||
           (asks("pg_my_temp_schema") && any("table "));
}

// Settings: in SQL, and as the daemon replays them and asks for them.

postgres_session::effect postgres_session::change_setting(std::string_view sql) {
    const bool local = starts_with(sql, "SET LOCAL ");
    sql.remove_prefix(local ? 10 : 4);
    const auto name = std::string(sql.substr(0, sql.find(' ')));
    const auto quote = sql.find('\'');
    set(name, std::string(sql.substr(quote + 1, sql.rfind('\'') - quote - 1)), local);
    return {"SET", {}};
}

/// Nothing: back to what it was at the start.
void postgres_session::set(const std::string& name, const std::optional<std::string>& value,
                           bool local) {
    for (auto* const values : {&now_.values, local ? nullptr : &on_commit_}) {
        if (values == nullptr) {
            continue;
        }
        const auto start = at_start_.find(name);
        if (value) {
            (*values)[name] = *value;
        } else if (start != at_start_.end()) {
            (*values)[name] = start->second;
        } else {
            values->erase(name);
        }
    }
    touched_ = true;
}

postgres_session::call_result
postgres_session::call(std::uint32_t function,
                       const std::vector<std::optional<std::string>>& arguments) {
    const bool named = !arguments.empty() && arguments[0];
    if (function == current_setting_function && named) {
        if (arguments[0] == "session_authorization" && !user.empty()) {
            return {user, {}};
        }
        const auto found = now_.values.find(*arguments[0]);
        return {found == now_.values.end() ? std::nullopt : std::optional(found->second), {}};
    }
    if (function != set_config_function || !named || arguments.size() != 3) {
        return postgres_model::call(function, arguments);
    }
    if (arguments[0] == "bad_setting") {
        return {std::nullopt, "42704"};
    }
    if (arguments[2] != "t" && arguments[0] != "exit_on_error") { // here nothing else is refused
        set(*arguments[0], arguments[1], false);
    }
    return {arguments[1], {}};
}

/// Names and values, in turn.
postgres_session::effect
postgres_session::set_all(const std::vector<std::optional<std::string>>& arguments) {
    for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
        const auto done = call(set_config_function, {arguments[i], arguments[i + 1], "f"});
        if (!done.sqlstate.empty()) {
            return {{}, done.sqlstate};
        }
    }
    return {};
}

/// What pg_settings shows with the source "session".
settings postgres_session::set_by_session() const {
    settings all;
    for (const auto& [name, value] : now_.values) {
        const auto start = at_start_.find(name);
        const bool custom = name.find('.') != std::string::npos;
        if (!custom && (start == at_start_.end() || start->second != value)) {
            all.emplace(name, value);
        }
    }
    return all;
}

std::vector<std::vector<std::string>> postgres_session::audited() const {
    std::vector<std::vector<std::string>> rows;
    for (const auto& [name, value] : set_by_session()) {
        rows.push_back({"setting", name});
    }
    for (const auto& what : now_.artefacts) {
        rows.push_back({starts_with(what, "listen ") ? "listen" : "temporary_object", what});
    }
    for (const auto& what : locks_) {
        rows.push_back({"advisory_lock", what});
    }
    for (const auto& [name, sql] : statements_) {
        if (!name.empty() && !starts_with(name, "pgw_")) {
            rows.push_back({"named_statement", name});
        }
    }
    if (unseen_) {
        rows.push_back({"held_cursor", "unseen"});
    }
    return rows;
}

std::vector<std::string> postgres_session::columns(const portal& what, std::size_t index) const {
    if (starts_with(what.statement, question)) {
        return {has(what.statement) ? "t" : "f"};
    }
    if (starts_with(what.statement, audit_question)) {
        return audited()[index];
    }
    if (starts_with(what.statement, names_question)) {
        const auto& row = hidden_function[index];
        return {row.begin(), row.end()};
    }
    if (!starts_with(what.statement, list_of_settings)) {
        return postgres_model::columns(what, index);
    }
    const auto all = set_by_session();
    const auto& [name, value] = *std::next(all.begin(), static_cast<std::ptrdiff_t>(index));
    return {name, value};
}

bool is_about_settings(const message& m) {
    if (m.type == 'F') {
        const auto function = protocol::body_reader(protocol::as_bytes(m.body)).u32();
        return function == set_config_function || function == current_setting_function;
    }
    return m.body.find("pgw_settings") != std::string::npos ||
           m.body.find("pgw_trial") != std::string::npos ||
           m.body.find("pgw_audit") != std::string::npos ||
           m.body.find(question) != std::string::npos ||
           m.body.find("pgw_names") != std::string::npos;
}

bool asks_about_names(const message& m) {
    return m.type == 'P' && m.body.find(names_question) != std::string::npos;
}

postgres_session::effect postgres_session::reset(std::string_view sql) {
    touched_ = true;
    if (starts_with(sql, "RESET ALL")) {
        now_.values = at_start_;
        on_commit_ = at_start_;
    } else if (starts_with(sql, "DISCARD ALL")) {
        if (status() != protocol::transaction_status::idle) {
            return {{}, "25001"};
        }
        now_ = {at_start_, {}};
        on_commit_ = at_start_;
        locks_.clear();
        unseen_ = false;
        statements_.clear();
        last_value_.clear();
        return {"DISCARD ALL", {}};
    } else if (starts_with(sql, "DISCARD SEQUENCES")) {
        last_value_.clear();
    }
    return {starts_with(sql, "RESET") ? "RESET" : std::string(sql), {}};
}

} // namespace pgweir::simulation
