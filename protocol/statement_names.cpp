#include "protocol/statement_names.hpp"

#include "protocol/double_byte_text.hpp"
#include "protocol/prepared_statement.hpp"
#include "protocol/sql_lexer.hpp"

#include <algorithm>
#include <array>

namespace pgweir::protocol {

namespace {

// Nearly every text is seen here not to be of interest.
bool may_name_one(std::string_view sql) {
    constexpr std::array<std::string_view, 4> words = {"prepare", "execute", "deallocate",
                                                       "discard"};
    return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
        return std::search(sql.begin(), sql.end(), word.begin(), word.end(),
                           [](char a, char b) { return lower_case(a) == b; }) != sql.end();
    });
}

std::string identifier(const sql_token& token) {
    std::string name;
    if (token.is == sql_token::kind::quoted_identifier) {
        for (std::size_t i = 0; i < token.text.size(); ++i) {
            name += token.text[i];
            i += token.text.substr(i, 2) == "\"\"" ? 1 : 0;
        }
    } else {
        name = lower_case(token.text);
    }
    return std::string(significant(name));
}

// `reading`: how `sql` is read. True: there may be others.
bool read_names(std::string_view reading, std::string_view sql,
                std::vector<sql_statement_name>& names) {
    sql_lexer lexer(reading);
    for (auto token = lexer.next(); token.is != sql_token::kind::end; token = lexer.next()) {
        if (token.is != sql_token::kind::word) {
            continue;
        }
        const bool discards = same_word(token.text, "discard");
        const bool deallocates = discards || same_word(token.text, "deallocate");
        const bool prepares = !deallocates && same_word(token.text, "prepare");
        if (!deallocates && !prepares && !same_word(token.text, "execute")) {
            continue;
        }
        using use = sql_statement_name::use;
        const auto is = deallocates ? use::deallocate : prepares ? use::prepare : use::execute;
        auto name = lexer.next();
        if (deallocates && name.is == sql_token::kind::word && same_word(name.text, "prepare")) {
            name = lexer.next();
        }
        const bool all = name.is == sql_token::kind::word && same_word(name.text, "all");
        if (all && deallocates) {
            names.push_back({{}, is});
        } else if (!discards && (name.is == sql_token::kind::word ||
                                 name.is == sql_token::kind::quoted_identifier)) {
            const auto at = static_cast<std::size_t>(name.text.data() - reading.data());
            name.text = sql.substr(at, name.text.size());
            names.push_back({identifier(name), is});
        }
    }
    return lexer.encoding_matters();
}

} // namespace

bool may_name_statements(std::string_view statement) {
    // EXPLAIN EXECUTE …; CREATE TABLE … AS EXECUTE …
    constexpr std::array<std::string_view, 6> openings = {"prepare", "execute", "deallocate",
                                                          "discard", "explain", "create"};
    const auto first = statement.find_first_not_of(" \t\n\r\f\v");
    if (first == std::string_view::npos) {
        return false;
    }
    const auto text = statement.substr(first);
    const char letter = lower_case(text[0]);
    const bool word = letter >= 'a' && letter <= 'z';
    return !word || std::any_of(openings.begin(), openings.end(), [&](std::string_view opening) {
        return letter == opening[0] && same_word(text.substr(0, opening.size()), opening);
    });
}

std::vector<sql_statement_name> statement_names(std::string_view sql) {
    std::vector<sql_statement_name> names;
    if (may_name_one(sql) && read_names(sql, sql, names)) {
        for (const auto& reading : double_byte_readings(sql)) {
            read_names(reading, sql, names);
        }
    }
    return names;
}

std::optional<std::string> name_prepared(std::string_view sql) {
    sql_lexer lexer(sql);
    auto token = lexer.next();
    if (token.is != sql_token::kind::word || !same_word(token.text, "prepare")) {
        return std::nullopt;
    }
    token = lexer.next();
    if ((token.is != sql_token::kind::word && token.is != sql_token::kind::quoted_identifier) ||
        token.unicode_escapes) {
        return std::nullopt;
    }
    auto name = identifier(token);
    bool ended = false;
    for (token = lexer.next(); token.is != sql_token::kind::end; token = lexer.next()) {
        const bool ends = token.is == sql_token::kind::symbol && token.text == ";";
        if (ended && !ends) {
            return std::nullopt; // another statement
        }
        ended = ended || ends;
    }
    if (lexer.encoding_matters() && !double_byte_readings(sql).empty()) {
        return std::nullopt; // there may be
    }
    return name;
}

} // namespace pgweir::protocol
