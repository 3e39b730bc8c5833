#include "protocol/hidden_effects.hpp"

#include "protocol/builtin_functions.hpp"
#include "protocol/hidden_effects_question.hpp"
#include "protocol/session_state.hpp"
#include "protocol/sql_lexer.hpp"
#include "protocol/statement_scan.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace pgweir::protocol {

namespace {

// Of what a database's code comes to; more is taken for what cannot be found out.
constexpr std::size_t most_bytes = 16 * 1'024 * 1'024;
constexpr std::size_t block_bytes = 64 * 1'024;
constexpr std::size_t length_bytes = 4;
constexpr unsigned max_depth = 4; // of code in strings

// Numbers of catalogues (src/include/catalog/pg_class.h and others), which never change.
constexpr std::string_view function_class = "1255.", type_class = "1247.", operator_class = "2617.",
                           cast_class = "2605.", event_trigger_class = "3466.";
constexpr std::array<std::string_view, 3> used_on_write = {"2604.", "2606.", "2620."};

// What fires event triggers.
constexpr std::array<std::string_view, 9> commands_with_events = {
    "create", "alter", "drop", "grant", "revoke", "comment", "refresh", "reindex", "import"};

// Functions in C that are known to keep state, or may: nobody has read those that an application
// has made for itself. The question picks them.
statement_effects effects_of_c(std::string_view name, std::string_view language) {
    statement_effects what;
    if (name == "set_limit") { // of pg_trgm, which it loads
        what.bits = bit_of(pin_reason::setting);
        what.bits |= bit_of(pin_reason::loaded_library);
        what.settings.note("pg_trgm.similarity_threshold", setting_changes::how::set);
    } else if (name == "dblink_connect" || name == "dblink_connect_u" || language == "c") {
        what.bits = bit_of(pin_reason::loaded_library);
    }
    return what;
}

bool has_word(std::string_view text, std::string_view wanted) {
    const auto part = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_';
    };
    for (auto at = text.find(wanted); at != std::string_view::npos;
         at = text.find(wanted, at + 1)) {
        const auto end = at + wanted.size();
        if ((at == 0 || !part(text[at - 1])) && (end == text.size() || !part(text[end]))) {
            return true;
        }
    }
    return false;
}

// Languages of which nothing is known but that SQL stands in their strings: each piece between
// quotes may be a statement, and what ends with a blank may go on with anything ("set role " + x).
// Their "execute" is not that of PL/pgSQL.
std::string pieces_of(std::string_view code) {
    constexpr std::string_view execute = "execute";
    std::string text = "; x ";
    char quote = '\0'; // that the current string began with
    for (std::size_t at = 0; at < code.size(); ++at) {
        const char c = code[at];
        const bool separates = c == '\'' || c == '"' || c == '`' || c == '{';
        if (separates && quote != '\0' && text.ends_with(' ')) {
            text += '%';
        }
        text += separates ? ';' : c;
        if (separates && c != '{') {
            quote = quote == '\0' ? c : quote == c ? '\0' : quote;
        }
        if (text.size() >= execute.size() &&
            same_word(std::string_view(text).substr(text.size() - execute.size()), execute)) {
            text += '_';
        }
    }
    return text;
}

// … and what they run that is no literal may be anything.
bool runs_anything(std::string_view code) {
    constexpr std::array<std::string_view, 5> runs = {"execute", "spi_exec_query", "spi_query",
                                                      "spi_exec", "cursor"};
    const auto literal = [&](std::size_t at) {
        while (at < code.size() && (code[at] == ' ' || code[at] == '(' || code[at] == '\n')) {
            ++at;
        }
        const auto rest = code.substr(at, 3);
        return rest.find_first_of("'\"`{") != std::string_view::npos;
    };
    return std::any_of(runs.begin(), runs.end(), [&](std::string_view word) {
        for (auto at = code.find(word); at != std::string_view::npos;
             at = code.find(word, at + 1)) {
            const char next = at + word.size() < code.size() ? code[at + word.size()] : ' ';
            if (next != '_' && !literal(at + word.size())) {
                return true;
            }
        }
        return false;
    });
}

// A call as it stands in a parsed expression: the function's number, and, where it is a constant,
// the bytes of its first argument. They are a text's: four bytes of its length come first.
statement_effects effects_of_parsed_call(std::string_view call) {
    const auto number = [&call](auto& into) {
        const auto end = std::min(call.find(' '), call.size());
        const auto [at, error] = std::from_chars(call.data(), call.data() + end, into);
        const bool whole = error == std::errc() && at == call.data() + end;
        call.remove_prefix(std::min(end + 1, call.size()));
        return whole;
    };
    std::uint32_t function = 0;
    statement_effects what;
    if (!number(function)) {
        return what;
    }
    what.bits = effects_of_builtin(function);
    if (function != set_config_function) {
        what.settings.unknown = (what.bits & bit_of(pin_reason::setting)) != 0;
        return what;
    }
    std::string name;
    for (std::size_t i = 0; !call.empty(); ++i) {
        int byte = 0;
        const bool plain = number(byte) && (i < 4 || byte > ' ');
        if (!plain) {
            name.clear();
            break;
        }
        name += i < 4 ? std::string() : std::string(1, static_cast<char>(byte));
    }
    if (name.empty()) {
        what.settings.unknown = true;
    } else {
        what.settings.note(lower_case(name), setting_changes::how::set);
    }
    return what;
}

bool is_sql(std::string_view language) { return language == "sql" || language == "plpgsql"; }

struct mentions {
    std::set<std::string, std::less<>> names;
    bool writes = false;
};

void read_names(std::string_view code, unsigned depth, mentions& into) {
    constexpr std::array<std::string_view, 6> writing = {"insert", "update", "delete",
                                                         "merge",  "copy",   "truncate"};
    sql_lexer lexer(code);
    for (auto token = lexer.next(); token.is != sql_token::kind::end; token = lexer.next()) {
        if (token.is == sql_token::kind::word || token.is == sql_token::kind::quoted_identifier) {
            auto name = lower_case(token.text);
            into.writes =
                into.writes || std::find(writing.begin(), writing.end(), name) != writing.end();
            into.names.insert(std::move(name));
        } else if (token.is == sql_token::kind::string && depth < max_depth) {
            read_names(token.text, depth + 1, into);
        }
    }
}

bool add(statement_effects& to, const statement_effects& more) {
    const auto before = to;
    to.add(more);
    return !(to == before);
}

} // namespace

void append_hidden_effects_question(std::string& out, reply_queue& owed,
                                    std::chrono::milliseconds patience) {
    constexpr std::string_view name = "pgw_names"; // no client's name begins like that
    message_writer to(out);
    // One transaction, so that what the first sets holds for the second and is gone then.
    const auto settings = hidden_effects_settings(patience);
    for (const auto sql : {std::string_view(settings), hidden_effects_question()}) {
        to.begin(frontend::parse).c_string(name).c_string(sql).u16(0).end();
        to.begin(frontend::bind).c_string("").c_string(name).u16(0).u16(0).u16(0).end();
        to.begin(frontend::execute).c_string("").u32(0).end();
        to.begin(frontend::close).u8('S').c_string(name).end();
        for (const auto type :
             {frontend::parse, frontend::bind, frontend::execute, frontend::close}) {
            owed.sent(type, fate::swallow);
        }
    }
    to.begin(frontend::sync).end();
    owed.sent(frontend::sync, fate::swallow);
}

void hidden_effects_answer::fail(std::string_view why) {
    if (failure_.empty()) {
        failure_ = why;
    }
    blocks_ = {};
}

void hidden_effects_answer::take_row(bytes body) {
    bytes_ += body.size();
    if (body.empty() || bytes_ > most_bytes) {
        return fail("there is too much of it");
    }
    if (!failure_.empty()) {
        return;
    }
    if (blocks_.empty() || blocks_.back().size() + length_bytes + body.size() > block_bytes) {
        blocks_.emplace_back();
    }
    message_writer(blocks_.back()).u32(static_cast<std::uint32_t>(body.size())).raw(as_text(body));
}

/// Reads an answer.
class hidden_effects_reader {
public:
    explicit hidden_effects_reader(hidden_effects_answer answer);
    [[nodiscard]] hidden_effects_found result();

private:
    // Something in the catalogues: a function, a trigger, a table, …
    struct node {
        std::string name;     // that texts know it by; empty: none
        std::string language; // a function's
        std::string code;
        bool has_name = false;
        bool writes = false;                 // what PostgreSQL has parsed of it does
        std::vector<std::string> reached_by; // others, and …
        hidden_effects effects;
    };

    void take_row(bytes body);
    static void read_code(node& what);
    void reach_by_names();
    void carry_on();

    std::map<std::string, node, std::less<>> nodes_; // by "class.number"
    std::string failure_;                            // empty: none
};

hidden_effects_reader::hidden_effects_reader(hidden_effects_answer answer)
    : failure_(std::move(answer.failure_)) {
    // Each block goes as soon as it has been read: nothing is there twice.
    for (auto& blocks = answer.blocks_; !blocks.empty(); blocks.pop_front()) {
        body_reader rows(as_bytes(blocks.front()));
        while (!rows.finished() && failure_.empty()) {
            take_row(rows.raw(rows.u32()));
        }
    }
}

void hidden_effects_reader::take_row(bytes body) {
    body_reader row(body);
    if (row.u16() != 3) {
        return; // of the settings
    }
    std::array<std::string_view, 3> columns;
    for (auto& column : columns) {
        column = as_text(row.raw(row.u32()));
    }
    const auto [what, id, value] = columns;
    if (!row.finished() || what.empty()) {
        failure_ = "an answer makes no sense";
        return;
    }
    auto& about = nodes_[std::string(id)];
    switch (what[0]) {
    case 'n':
        about.name = value;
        about.has_name = true;
        break;
    case 'l':
        about.language = value;
        break;
    case 'c':
        about.code += value;
        break;
    case 't':
        about.effects.always.add(effects_of_parsed_call(value));
        break;
    case 'w':
        about.writes = true;
        break;
    case 'e':
        nodes_[std::string(value)].reached_by.emplace_back(id);
        break;
    default:
        failure_ = "an answer makes no sense";
    }
}

void hidden_effects_reader::read_code(node& what) {
    auto& always = what.effects.always;
    if (what.language == "c" || what.language == "internal") {
        always.add(effects_of_c(what.name, what.language));
    }
    if (what.code.empty()) {
        return;
    }
    const bool foreign = !is_sql(what.language);
    if (foreign && (has_word(what.code, "_SHARED") || has_word(what.code, "GD") ||
                    has_word(what.code, "SD"))) {
        always.bits |= bit_of(pin_reason::loaded_library);
    }
    const auto code = foreign ? pieces_of(what.code) : what.code;
    auto bits = scan_code(code) & ~ends_something;
    if (foreign && runs_anything(what.code)) {
        bits |= bit_of(pin_reason::large_statement);
        bits |= bit_of(pin_reason::setting);
    }
    always.bits |= bits;
    if ((bits & bit_of(pin_reason::setting)) != 0) {
        always.settings.add(read_setting_changes_in_code(code));
        always.settings.unknown =
            always.settings.unknown || (bits & bit_of(pin_reason::large_statement)) != 0;
    }
}

// Code reaches whatever it mentions.
void hidden_effects_reader::reach_by_names() {
    std::multimap<std::string, node*> by_name;
    for (auto& [id, what] : nodes_) {
        if (!what.name.empty()) {
            by_name.emplace(lower_case(what.name), &what);
        }
    }
    for (const auto& [id, what] : nodes_) {
        if (what.code.empty() || what.language.empty()) {
            continue;
        }
        mentions found;
        read_names(is_sql(what.language) ? what.code : pieces_of(what.code), 1, found);
        for (const auto& name : found.names) {
            const auto [first, last] = by_name.equal_range(name);
            for (auto at = first; at != last; ++at) {
                at->second->reached_by.push_back((found.writes ? "w" : "r") + id);
            }
        }
    }
}

// What each does, those that reach it do.
void hidden_effects_reader::carry_on() {
    const auto starts = [](std::string_view id, std::string_view front) {
        return id.starts_with(front);
    };
    std::vector<std::string> changed;
    for (const auto& [id, what] : nodes_) {
        if (!what.effects.empty()) {
            changed.push_back(id);
        }
    }
    while (!changed.empty()) {
        const auto from_id = std::move(changed.back());
        changed.pop_back();
        const auto& reached_by = nodes_.find(from_id)->second.reached_by;
        const auto from = nodes_.find(from_id)->second.effects; // one may reach itself
        const bool on_write =
            std::any_of(used_on_write.begin(), used_on_write.end(),
                        [&](std::string_view front) { return starts(from_id, front); });
        for (std::string_view to_id : reached_by) {
            const char how = to_id[0];
            const bool by_name = how == 'w' || how == 'r';
            to_id.remove_prefix(by_name ? 1 : 0);
            auto& to = nodes_.find(to_id)->second.effects;
            bool news = false;
            if (on_write && !starts(to_id, type_class)) {
                news = add(to.on_write, from.always);
            } else {
                news = add(to.always, from.always);
            }
            if (!by_name) {
                news = add(to.on_write, from.on_write) || news;
            }
            if (how == 'w' || (!by_name && nodes_.find(to_id)->second.writes)) {
                news = add(to.always, from.on_write) || news;
            }
            if (news) {
                changed.emplace_back(to_id);
            }
        }
    }
}

hidden_effects_found hidden_effects_reader::result() {
    if (!failure_.empty()) {
        return {nullptr, failure_};
    }
    reach_by_names();
    for (auto& [id, what] : nodes_) {
        read_code(what);
    }
    carry_on();
    auto names = std::make_shared<name_effects>();
    for (const auto& [id, what] : nodes_) {
        const std::string_view key = id;
        if (key.starts_with(operator_class) || key.starts_with(cast_class)) {
            names->add_to_all(what.effects.always);
        } else if (key.starts_with(event_trigger_class)) {
            for (const auto command : commands_with_events) {
                names->add(command, what.effects);
            }
        } else if (what.has_name) {
            names->add(what.name, what.effects);
        }
        std::uint32_t number = 0;
        if (key.starts_with(function_class)) {
            std::from_chars(key.data() + function_class.size(), key.data() + key.size(), number);
            names->add(number, what.effects.always);
        }
    }
    return {std::move(names), {}};
}

hidden_effects_found read_hidden_effects(hidden_effects_answer answer) {
    return hidden_effects_reader(std::move(answer)).result();
}

} // namespace pgweir::protocol
