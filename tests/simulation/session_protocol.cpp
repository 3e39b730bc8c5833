// Which messages a session answers with what. See postgres_session.hpp.
#include "tests/simulation/postgres_session.hpp"

#include <algorithm>

namespace pgweir::simulation {

using protocol::backend;
using protocol::frontend;

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
