// What a session is, its transactions and its statements. See postgres_session.hpp; the messages
// are in session_protocol.cpp.
#include "tests/simulation/postgres_session.hpp"

namespace pgweir::simulation {

namespace {

using protocol::backend;

const settings server_defaults = {{"application_name", ""}, {"timezone", "UTC"}};

} // namespace

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
    // Prepared statements show when they are used; what servers call them is nobody's business.
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

} // namespace pgweir::simulation
