#include "tests/simulation/postgres_session.hpp"

#include "protocol/error_response.hpp"

#include <algorithm>
#include <charconv>

namespace pgweir::simulation {

namespace {

using protocol::backend;
using protocol::frontend;

bool starts_with(std::string_view text, std::string_view with) {
    return text.substr(0, with.size()) == with;
}

message plain(backend type) { return {static_cast<char>(type), {}}; }

message error(std::string_view sqlstate, std::string_view text) {
    message m{'E', {}};
    for (const auto& [field, value] : {std::pair<char, std::string_view>{'S', "ERROR"},
                                       {'V', "ERROR"},
                                       {'C', sqlstate},
                                       {'M', text}}) {
        m.body += field;
        m.body += value;
        m.body += '\0';
    }
    m.body += '\0';
    return m;
}

message complete(std::string_view tag) {
    message m = plain(backend::command_complete);
    m.body += tag;
    m.body += '\0';
    return m;
}

void put_u16(std::string& out, std::size_t value) {
    out += static_cast<char>(value >> 8U);
    out += static_cast<char>(value);
}
void put_u32(std::string& out, std::size_t value) {
    put_u16(out, value >> 16U & 0xffffU);
    put_u16(out, value & 0xffffU);
}

message row(std::initializer_list<std::string_view> columns) {
    message m = plain(backend::data_row);
    put_u16(m.body, columns.size());
    for (const auto column : columns) {
        put_u32(m.body, column.size());
        m.body += column;
    }
    return m;
}

message describe_rows() {
    message m = plain(backend::row_description);
    put_u16(m.body, 2);
    for (const std::string_view name : {"answer", "backend"}) {
        m.body += name;
        m.body += '\0';
        m.body.append(18, '\0');
    }
    return m;
}

message copy_response(backend type) {
    message m = plain(type);
    m.body.assign(3, '\0');
    return m;
}

bool gives_rows(std::string_view sql) { return starts_with(sql, "SELECT"); }

std::vector<std::string_view> split(std::string_view sql) {
    std::vector<std::string_view> parts;
    while (!sql.empty()) {
        auto part = sql.substr(0, sql.find(';'));
        sql.remove_prefix(std::min(sql.size(), part.size() + 1));
        while (!part.empty() && part.front() == ' ') {
            part.remove_prefix(1);
        }
        if (!part.empty()) {
            parts.push_back(part);
        }
    }
    return parts;
}

// A zero-terminated string off the front.
std::string_view take_text(std::string_view& body) {
    const auto text = body.substr(0, body.find('\0'));
    body.remove_prefix(std::min(body.size(), text.size() + 1));
    return text;
}

std::uint64_t take_number(std::string_view& body, std::size_t bytes) {
    std::uint64_t value = 0;
    for (const char c : body.substr(0, bytes)) {
        value = value << 8U | static_cast<unsigned char>(c);
    }
    body.remove_prefix(std::min(body.size(), bytes));
    return value;
}

const settings server_defaults = {{"application_name", ""}, {"timezone", "UTC"}};

} // namespace

void append(std::string& out, const message& m) {
    out += m.type;
    put_u32(out, m.body.size() + 4);
    out += m.body;
}

std::string essence(const message& m) {
    std::string_view body = m.body;
    switch (static_cast<backend>(m.type)) {
    case backend::data_row: { // the first column; the second names the backend
        take_number(body, 2);
        const auto size = take_number(body, 4);
        return std::string(body.substr(0, size));
    }
    case backend::command_complete:
    case backend::ready_for_query:
        return m.body;
    case backend::error_response:
        return std::string(protocol::read_error_fields(protocol::as_bytes(body)).sqlstate);
    default:
        return {};
    }
}

std::string_view word_of(std::string_view sql, std::string_view key) {
    for (std::size_t at = 0; (at = sql.find(key, at)) != std::string_view::npos; ++at) {
        if (at != 0 && sql[at - 1] == ' ' && sql.substr(at + key.size(), 1) == "=") {
            const auto value = sql.substr(at + key.size() + 1);
            return value.substr(0, value.find_first_of(" ;"));
        }
    }
    return {};
}

std::uint64_t number_of(std::string_view sql, std::string_view key) {
    const auto text = word_of(sql, key);
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

postgres_session::postgres_session(const settings& at_start)
    : at_start_(server_defaults) {
    for (const auto& [name, value] : at_start) {
        at_start_[name] = value;
    }
    now_.values = at_start_;
    on_commit_ = at_start_;
    told_ = reported();
}

settings postgres_session::reported() const {
    settings all;
    for (const auto& [name, ignored] : server_defaults) {
        all[name] = now_.values.at(name);
    }
    return all;
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
    for (const auto& [name, sql] : statements_) {
        if (!name.empty()) {
            text += "statement " + name + ',';
        }
    }
    return text;
}

protocol::transaction_status postgres_session::status() const {
    switch (state_) {
    case transaction::none:
    case transaction::implicit:
        break;
    case transaction::open:
        return protocol::transaction_status::in_transaction;
    case transaction::failed:
        return protocol::transaction_status::failed;
    }
    return protocol::transaction_status::idle;
}

// Transactions -----------------------------------------------------------------------------------

void postgres_session::start() {
    if (state_ == transaction::none) {
        state_ = transaction::implicit;
        at_begin_ = now_;
        on_commit_ = now_.values;
    }
}

void postgres_session::commit() {
    committed.insert(committed.end(), writes_.begin(), writes_.end());
    writes_.clear();
    now_.values = on_commit_;
    state_ = transaction::none;
    portals_.clear();
}

void postgres_session::abort() {
    if (state_ == transaction::none) {
        return;
    }
    if (state_ != transaction::failed) {
        aborted.insert(aborted.end(), writes_.begin(), writes_.end());
        writes_.clear();
        now_ = at_begin_;
        on_commit_ = now_.values;
    }
    state_ = state_ == transaction::implicit ? transaction::none : transaction::failed;
    portals_.clear();
}

std::vector<message> postgres_session::ready() {
    if (state_ == transaction::implicit) {
        commit();
    }
    std::vector<message> replies;
    for (const auto& [name, value] : reported()) {
        if (told_[name] != value) {
            told_[name] = value;
            replies.push_back({'S', name + '\0' + value + '\0'});
        }
    }
    replies.push_back({'Z', std::string(1, static_cast<char>(status()))});
    return replies;
}

bool postgres_session::refuses_while_failed(std::string_view sql) const {
    return state_ == transaction::failed && !starts_with(sql, "ROLLBACK") &&
           !starts_with(sql, "COMMIT");
}

// Statements -------------------------------------------------------------------------------------

postgres_session::result postgres_session::control(std::string_view sql) {
    if (starts_with(sql, "BEGIN")) {
        state_ = transaction::open;
        return {{complete("BEGIN")}};
    }
    const bool lost = state_ == transaction::failed;
    if (starts_with(sql, "COMMIT") && !lost) {
        commit();
        return {{complete("COMMIT")}};
    }
    if (state_ != transaction::implicit) {
        state_ = lost ? state_ : transaction::open;
        abort();
        state_ = transaction::none;
    }
    return {{complete("ROLLBACK")}};
}

postgres_session::result postgres_session::change_setting(std::string_view sql) {
    const bool local = starts_with(sql, "SET LOCAL ");
    sql.remove_prefix(local ? 10 : 4);
    const auto name = std::string(sql.substr(0, sql.find(' ')));
    const auto quote = sql.find('\'');
    const auto value = std::string(sql.substr(quote + 1, sql.rfind('\'') - quote - 1));
    now_.values[name] = value;
    if (!local) {
        on_commit_[name] = value;
    }
    return {{complete("SET")}};
}

postgres_session::result postgres_session::rows(std::string_view sql, bool describe) {
    result r;
    if (describe) {
        r.replies.push_back(describe_rows());
    }
    if (starts_with(sql, "SELECT pg_catalog.current_setting('max_connections')")) {
        r.replies.push_back(row({std::to_string(max_connections)}));
        r.replies.push_back(complete("SELECT 1"));
        return r;
    }
    if (starts_with(sql, "SELECT pg_advisory_lock")) {
        locks_.insert("lock of " + std::string(word_of(sql, "tag")));
    }
    const auto count = number_of(sql, "rows");
    const auto size = number_of(sql, "size");
    const auto backend = std::to_string(process_id);
    for (std::uint64_t i = 0; i < count; ++i) {
        std::string text = "tag=";
        text += word_of(sql, "tag");
        text += " n=";
        text += word_of(sql, "n");
        text += " i=" + std::to_string(i) + " session=[" + digest() + "] ";
        text.append(size, static_cast<char>('a' + i % 26));
        r.replies.push_back(row({text, backend}));
    }
    r.replies.push_back(complete("SELECT " + std::to_string(count)));
    return r;
}

postgres_session::result postgres_session::copy(std::string_view sql) {
    const auto id = std::string(word_of(sql, "tag")) + '.' + std::string(word_of(sql, "n"));
    if (sql.find("FROM STDIN") != std::string_view::npos) {
        copying_ = true;
        copy_write_ = id;
        return {{copy_response(backend::copy_in_response)}};
    }
    result r{{copy_response(backend::copy_out_response)}};
    const auto count = number_of(sql, "rows");
    for (std::uint64_t i = 0; i < count; ++i) {
        r.replies.push_back({'d', "copy " + id + '\n'});
    }
    r.replies.push_back(plain(backend::copy_done));
    r.replies.push_back(complete("COPY " + std::to_string(count)));
    return r;
}

postgres_session::result postgres_session::run(std::string_view sql, bool describe) {
    if (refuses_while_failed(sql)) {
        return {{error("25P02", "current transaction is aborted")}, true};
    }
    start();
    if (starts_with(sql, "BEGIN") || starts_with(sql, "COMMIT") || starts_with(sql, "ROLLBACK")) {
        return control(sql);
    }
    if (starts_with(sql, "SELECT fail")) {
        return {{error("22012", "division by zero")}, true};
    }
    if (starts_with(sql, "SELECT")) {
        return rows(sql, describe);
    }
    if (starts_with(sql, "INSERT")) {
        writes_.push_back(std::string(word_of(sql, "tag")) + '.' + std::string(word_of(sql, "n")));
        return {{complete("INSERT 0 1")}};
    }
    if (starts_with(sql, "SET ")) {
        return change_setting(sql);
    }
    if (starts_with(sql, "COPY")) {
        return copy(sql);
    }
    const auto tag = std::string(word_of(sql, "tag"));
    if (starts_with(sql, "LISTEN")) {
        now_.artefacts.insert("listen " + tag);
        return {{complete("LISTEN")}};
    }
    if (starts_with(sql, "CREATE TEMP TABLE")) {
        now_.artefacts.insert("table of " + tag);
        return {{complete("CREATE TABLE")}};
    }
    if (starts_with(sql, "RESET ")) {
        if (starts_with(sql, "RESET ALL")) {
            now_.values = at_start_;
            on_commit_ = at_start_;
        }
        return {{complete("RESET")}};
    }
    if (starts_with(sql, "DISCARD SEQUENCES")) {
        return {{complete("DISCARD SEQUENCES")}};
    }
    if (starts_with(sql, "DISCARD ALL")) {
        if (state_ != transaction::implicit) {
            return {{error("25001", "DISCARD ALL cannot run inside a transaction block")}, true};
        }
        now_ = {at_start_, {}};
        on_commit_ = at_start_;
        locks_.clear();
        statements_.clear();
        return {{complete("DISCARD ALL")}};
    }
    return {{error("42601", "syntax error")}, true};
}

postgres_session::result
postgres_session::apply_set_config(const std::vector<std::string>& arguments) {
    for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
        if (arguments[i] == "bad_setting") {
            return {{error("42704", "unrecognized configuration parameter")}, true};
        }
        now_.values[arguments[i]] = arguments[i + 1];
        on_commit_[arguments[i]] = arguments[i + 1];
    }
    return {{row({"ok"}), complete("SELECT 1")}};
}

// Messages ---------------------------------------------------------------------------------------

std::vector<message> postgres_session::query(std::string_view sql) {
    sql = sql.substr(0, sql.find('\0'));
    const auto parts = split(sql);
    std::vector<message> replies;
    if (parts.empty()) {
        replies.push_back(plain(backend::empty_query_response));
    }
    statements_.erase("");
    for (const auto part : parts) {
        auto r = run(part, true);
        replies.insert(replies.end(), r.replies.begin(), r.replies.end());
        if (r.failed) {
            abort();
            break;
        }
        if (copying_) {
            copy_is_simple_ = true;
            return replies;
        }
    }
    auto end = ready();
    replies.insert(replies.end(), end.begin(), end.end());
    return replies;
}

std::vector<message> postgres_session::extended_error(std::string_view sqlstate,
                                                      std::string_view text) {
    abort();
    skipping_ = true;
    return {error(sqlstate, text)};
}

std::vector<message> postgres_session::bind(std::string_view body) {
    const auto name = std::string(take_text(body));
    const auto statement = statements_.find(take_text(body));
    if (statement == statements_.end()) {
        return extended_error("26000", "prepared statement does not exist");
    }
    if (refuses_while_failed(statement->second)) {
        return extended_error("25P02", "current transaction is aborted");
    }
    start();
    portal p{statement->second, {}, 0};
    for (auto formats = take_number(body, 2); formats != 0; --formats) {
        take_number(body, 2);
    }
    for (auto left = take_number(body, 2); left != 0; --left) {
        const auto size = take_number(body, 4);
        p.arguments.emplace_back(body.substr(0, size));
        body.remove_prefix(std::min<std::size_t>(body.size(), size));
    }
    portals_.insert_or_assign(name, std::move(p));
    return {plain(backend::bind_complete)};
}

std::vector<message> postgres_session::execute_portal(std::string_view body) {
    const auto found = portals_.find(take_text(body));
    const auto limit = take_number(body, 4);
    if (found == portals_.end()) {
        return extended_error("34000", "portal does not exist");
    }
    auto& p = found->second;
    if (starts_with(p.sql, "SELECT pg_catalog.set_config(")) {
        auto r = apply_set_config(p.arguments);
        if (r.failed) {
            abort();
            skipping_ = true;
        }
        return r.replies;
    }
    const auto done = p.rows_sent;
    const auto sql = p.sql; // run() may close the portal
    auto r = run(sql, false);
    if (r.failed) {
        abort();
        skipping_ = true;
        return r.replies;
    }
    if (copying_) {
        copy_is_simple_ = false;
        return r.replies;
    }
    if (gives_rows(sql) && limit != 0 && !r.replies.empty()) {
        // A part of the rows, from where the last Execute stopped.
        const auto all = r.replies.size() - 1;
        const auto first = std::min<std::size_t>(done, all);
        const auto last = std::min<std::size_t>(first + limit, all);
        std::vector<message> part(r.replies.begin() + static_cast<std::ptrdiff_t>(first),
                                  r.replies.begin() + static_cast<std::ptrdiff_t>(last));
        part.push_back(last - first == limit ? plain(backend::portal_suspended) : r.replies.back());
        p.rows_sent = last;
        return part;
    }
    return r.replies;
}

std::vector<message> postgres_session::extended(const message& m) {
    if (skipping_) {
        return {};
    }
    std::string_view body = m.body;
    switch (static_cast<frontend>(m.type)) {
    case frontend::parse: {
        const auto name = std::string(take_text(body));
        const auto sql = take_text(body);
        if (starts_with(sql, "syntax")) {
            return extended_error("42601", "syntax error");
        }
        if (refuses_while_failed(sql)) {
            return extended_error("25P02", "current transaction is aborted");
        }
        if (!name.empty() && statements_.contains(name)) {
            return extended_error("42P05", "prepared statement already exists");
        }
        start();
        statements_[name] = sql;
        return {plain(backend::parse_complete)};
    }
    case frontend::bind:
        return bind(body);
    case frontend::describe: {
        const bool of_statement = take_number(body, 1) == 'S';
        const auto name = take_text(body);
        const auto statement = statements_.find(name);
        const auto open = portals_.find(name);
        if (of_statement ? statement == statements_.end() : open == portals_.end()) {
            return extended_error(of_statement ? "26000" : "34000", "does not exist");
        }
        std::vector<message> replies;
        if (of_statement) {
            replies.push_back({'t', std::string(2, '\0')});
        }
        const bool with_rows = gives_rows(of_statement ? statement->second : open->second.sql);
        replies.push_back(with_rows ? describe_rows() : plain(backend::no_data));
        return replies;
    }
    case frontend::execute:
        return execute_portal(body);
    default: // Close
        if (take_number(body, 1) == 'S') {
            statements_.erase(std::string(take_text(body)));
        } else {
            portals_.erase(std::string(take_text(body)));
        }
        return {plain(backend::close_complete)};
    }
}

std::vector<message> postgres_session::end_copy(char type) {
    copying_ = false;
    std::vector<message> replies;
    if (type == static_cast<char>(frontend::copy_done)) {
        writes_.push_back(copy_write_);
        replies.push_back(complete("COPY 1"));
    } else {
        aborted.push_back(copy_write_);
        abort();
        replies.push_back(error("57014", "COPY from stdin failed"));
        skipping_ = !copy_is_simple_;
    }
    if (copy_is_simple_) {
        auto end = ready();
        replies.insert(replies.end(), end.begin(), end.end());
    }
    return replies;
}

std::vector<message> postgres_session::execute(const message& m) {
    switch (static_cast<frontend>(m.type)) {
    case frontend::copy_data:
    case frontend::flush:
        return {};
    case frontend::copy_done:
    case frontend::copy_fail:
        return copying_ ? end_copy(m.type) : std::vector<message>{};
    case frontend::sync:
        if (copying_) {
            return {};
        }
        skipping_ = false;
        return ready();
    case frontend::query:
        return skipping_ ? std::vector<message>{} : query(m.body);
    case frontend::function_call: {
        if (skipping_) {
            return {};
        }
        if (state_ == transaction::failed) {
            std::vector<message> replies{error("25P02", "current transaction is aborted")};
            auto end = ready();
            replies.insert(replies.end(), end.begin(), end.end());
            return replies;
        }
        start();
        std::vector<message> replies{{'V', std::string(4, '\xff')}};
        auto end = ready();
        replies.insert(replies.end(), end.begin(), end.end());
        return replies;
    }
    default:
        return extended(m);
    }
}

std::vector<message> postgres_session::fail(const message& m, std::string_view sqlstate,
                                            std::string_view text) {
    const auto type = static_cast<frontend>(m.type);
    const bool simple =
        copying_ ? copy_is_simple_ : type == frontend::query || type == frontend::function_call;
    if (copying_) {
        aborted.push_back(copy_write_);
        copying_ = false;
    }
    // What it would have written will never be.
    const auto sql = statement_of(m);
    for (const auto part : split(sql)) {
        const bool writes =
            starts_with(part, "INSERT") || part.find("FROM STDIN") != std::string_view::npos;
        if (writes) {
            aborted.push_back(std::string(word_of(part, "tag")) + '.' +
                              std::string(word_of(part, "n")));
        }
    }
    start();
    abort();
    std::vector<message> replies{error(sqlstate, text)};
    if (simple) {
        auto end = ready();
        replies.insert(replies.end(), end.begin(), end.end());
    } else if (type == frontend::sync) {
        skipping_ = false;
        auto end = ready();
        replies.insert(replies.end(), end.begin(), end.end());
    } else {
        skipping_ = true;
    }
    return replies;
}

std::string_view postgres_session::statement_of(const message& m) const {
    std::string_view body = m.body;
    if (m.type == static_cast<char>(frontend::query)) {
        return body.substr(0, body.find('\0'));
    }
    if (m.type == static_cast<char>(frontend::execute)) {
        const auto found = portals_.find(take_text(body));
        return found == portals_.end() ? std::string_view{} : std::string_view(found->second.sql);
    }
    return {};
}

std::uint64_t postgres_session::cost_ms(const message& m) const {
    if (skipping_ || copying_) {
        return 0;
    }
    std::uint64_t total = 0;
    for (const auto part : split(statement_of(m))) {
        total += number_of(part, "ms");
    }
    return total;
}

} // namespace pgweir::simulation
