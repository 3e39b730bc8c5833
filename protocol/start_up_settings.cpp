#include "protocol/start_up_settings.hpp"

#include "protocol/own_statement.hpp"
#include "protocol/prepared_statement.hpp"
#include "protocol/setting_changes.hpp"
#include "protocol/sql_lexer.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

namespace pgweir::protocol {

namespace {

constexpr std::string_view restoring_name = "pgw_restore";

bool is_word(const sql_token& token, std::string_view expected) {
    return token.is == sql_token::kind::word && same_word(token.text, expected);
}

bool ends_statement(const sql_token& token) {
    return token.is == sql_token::kind::end ||
           (token.is == sql_token::kind::symbol && token.text == ";");
}

// Then what it resets is reset behind it, unless it fails. (Behind SET LOCAL it would be ours that
// counts.)
bool only_sets_and_resets(std::string_view sql) {
    sql_lexer lexer(sql);
    auto token = lexer.next();
    while (token.is != sql_token::kind::end) {
        if (ends_statement(token)) {
            token = lexer.next();
            continue;
        }
        const bool sets = is_word(token, "set");
        if (!sets && !is_word(token, "reset")) {
            return false;
        }
        token = lexer.next();
        if (sets && is_word(token, "local")) {
            return false;
        }
        while (!ends_statement(token)) {
            token = lexer.next();
        }
    }
    return true;
}

std::string in_quotes(std::string_view text, char quote) {
    std::string out(1, quote);
    for (const char c : text) {
        out.append(c == quote ? 2 : 1, c);
    }
    return out += quote;
}

// Whatever standard_conforming_strings says.
std::string literal(std::string_view value) {
    if (value.find('\\') == std::string_view::npos) {
        return in_quotes(value, '\'');
    }
    std::string doubled;
    for (const char c : value) {
        doubled.append(c == '\\' ? 2 : 1, c);
    }
    return "E" + in_quotes(doubled, '\'');
}

// app."user": each part in quotes.
std::string quoted_name(std::string_view name) {
    std::string out;
    for (;;) {
        const auto dot = name.find('.');
        out += in_quotes(name.substr(0, dot), '"');
        if (dot == std::string_view::npos) {
            return out;
        }
        out += '.';
        name.remove_prefix(dot + 1);
    }
}

// Lists of names, of which SET takes each by itself (GUC_LIST_QUOTE).
bool is_list_of_names(std::string_view setting) {
    constexpr std::array<std::string_view, 4> lists = {
        "search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"};
    return std::find(lists.begin(), lists.end(), setting) != lists.end();
}

bool is_plain_identifier(std::string_view name) {
    const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    return !name.empty() && plain(name[0]) &&
           std::all_of(name.begin(), name.end(), [&](char c) { return plain(c) || digit(c); });
}

// One name off the front of such a list, as PostgreSQL writes it down itself; nothing: it would
// write it in another way.
std::optional<std::string> take_listed(std::string_view& list) {
    if (!list.starts_with('"')) {
        const auto name = list.substr(0, list.find(','));
        list.remove_prefix(name.size());
        return is_plain_identifier(name) ? std::optional(std::string(name)) : std::nullopt;
    }
    std::string name;
    std::size_t at = 1;
    for (; at < list.size() && (list[at] != '"' || list.substr(at + 1).starts_with('"')); ++at) {
        at += list[at] == '"' ? 1U : 0U;
        name += list[at];
    }
    const bool as_written = at < list.size() && !name.empty() && !is_plain_identifier(name);
    list.remove_prefix(std::min(list.size(), at + 1));
    return as_written ? std::optional(name) : std::nullopt;
}

// 'a', '$user', … ; nothing: SET would not make this value of it.
std::optional<std::string> list_literals(std::string_view list) {
    std::string out;
    for (;;) {
        const auto name = take_listed(list);
        if (!name) {
            return std::nullopt;
        }
        out += literal(*name);
        if (list.empty()) {
            return out;
        }
        if (!list.starts_with(", ")) {
            return std::nullopt;
        }
        list.remove_prefix(2);
        out += ", ";
    }
}

std::string setting_statement(std::string_view name, std::string_view value) {
    const auto what = is_list_of_names(name) ? list_literals(value) : literal(value);
    if (what) {
        return "SET " + quoted_name(name) + " TO " + *what;
    }
    return "SELECT pg_catalog.set_config(" + literal(name) + ", " + literal(value) + ", false)";
}

bool is_identity(std::string_view name) {
    return name == "role" || name == "session_authorization"; // RESET ALL leaves these
}

} // namespace

std::vector<std::string> restoring_statements(std::string_view sql, const setting_map& at_start) {
    if (!only_sets_and_resets(sql)) {
        return {};
    }
    const auto changes = read_setting_changes(sql);
    if (changes.unknown || changes.some_listed) {
        return {};
    }
    const auto is_reset = [&](std::string_view name) {
        const auto found = changes.names.find(name);
        return found != changes.names.end() ? found->second != setting_changes::how::set
                                            : changes.all_reset && !is_identity(name);
    };
    std::vector<std::string> statements;
    for (const auto& [name, value] : at_start) {
        if (!is_identity(name) && is_reset(name)) {
            statements.push_back(setting_statement(name, value));
        }
    }
    for (const auto* const name : {"session_authorization", "role"}) { // one ends the other
        if (const auto at = at_start.find(name); at != at_start.end() && is_reset(name)) {
            statements.push_back(setting_statement(name, at->second));
        }
    }
    return statements;
}

routing prepare_restoring(const scanned_statement& what, const statement_link& link,
                          const reply_queue& owed) {
    const bool sets = (what.effects & static_cast<unsigned>(pin_reason::setting)) != 0;
    if (link.at_start == nullptr || !sets || !owed.ours_may_go()) {
        return {};
    }
    link.mine.restores(nullptr); // should this be looked at for a second time
    auto statements = restoring_statements(what.sql, *link.at_start);
    if (statements.empty()) {
        return {};
    }
    if (owed.owed_ready(fate::forward) != 0 || link.cancel_under_way) {
        return {routing::how::wait}; // whether there is a transaction; and that would strike ours
    }
    if (link.status == transaction_status::in_transaction) {
        link.mine.restores(std::make_unique<client_statements::restoring>(
            client_statements::restoring{.statements = std::move(statements)}));
    }
    return {};
}

void prepare_restoring(std::string_view portal, std::string_view sql, const statement_link& link) {
    if (link.at_start == nullptr) {
        return;
    }
    auto statements = restoring_statements(sql, *link.at_start);
    if (!statements.empty()) {
        link.mine.restores(
            std::make_unique<client_statements::restoring>(client_statements::restoring{
                .portal = std::string(portal), .statements = std::move(statements)}));
    }
}

void restore_behind(frontend type, bytes frame, const statement_link& link, reply_queue& owed,
                    session_state& state, relay_sink& to) {
    const auto& what = *link.mine.to_restore();
    if (type == frontend::query && !what.portal) {
        std::string sql;
        for (const auto& statement : what.statements) {
            sql += statement + ";";
        }
        append_query(to.own(), sql);
        owed.sent(frontend::query, fate::swallow);
        state.start_up_restored(*link.at_start);
    } else if (type == frontend::execute && what.portal &&
               string_at(frame, header_bytes).text == *what.portal) {
        for (const auto& statement : what.statements) {
            if (owed.ours_may_go()) {
                append_own_statement(to.own(), owed, restoring_name, statement,
                                     {.errors_to_client = true});
                state.start_up_restored(*link.at_start);
            }
        }
    } else {
        return;
    }
    link.mine.restores(nullptr);
}

} // namespace pgweir::protocol
