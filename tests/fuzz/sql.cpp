// Fuzz target: everything that reads SQL text, and the text of `options` in a startup message.
// Nothing reads past its end, and everything ends.
//
// Input: the text. Seeds: make_corpus.py.
#include "protocol/double_byte_text.hpp"
#include "protocol/session_state.hpp"
#include "protocol/sql_lexer.hpp"
#include "protocol/startup_options.hpp"
#include "protocol/statement_filter.hpp"
#include "protocol/statement_names.hpp"
#include "protocol/statement_redact.hpp"
#include "protocol/statement_scan.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace pgweir::protocol;
using namespace pgweir::test;

namespace {

void lex(std::string_view sql, bool backslash_escapes) {
    sql_lexer lexer(sql, backslash_escapes);
    const auto* at = sql.data();
    std::size_t tokens = 0;
    for (auto token = lexer.next(); token.is != sql_token::kind::end; token = lexer.next()) {
        PGWEIR_MUST(++tokens <= sql.size());
        PGWEIR_MUST(token.text.data() >= at);
        at = token.text.data() + token.text.size();
        PGWEIR_MUST(at <= sql.data() + sql.size());
    }
    PGWEIR_MUST(lexer.next().is == sql_token::kind::end);
}

// Where the encoding does not matter, the tokens of all readings stand where those of the text do.
void lex_in_other_encodings(std::string_view sql, bool backslash_escapes) {
    for (const auto& reading : double_byte_readings(sql)) {
        PGWEIR_MUST(reading.size() == sql.size());
        lex(reading, backslash_escapes);
        sql_lexer as_is(sql, backslash_escapes);
        sql_lexer other(reading, backslash_escapes);
        bool same = true;
        auto token = as_is.next();
        for (; token.is != sql_token::kind::end; token = as_is.next()) {
            const auto there = other.next();
            same = same && there.is == token.is && there.text.size() == token.text.size() &&
                   there.text.data() - reading.data() == token.text.data() - sql.data();
        }
        same = same && other.next().is == sql_token::kind::end;
        PGWEIR_MUST(same || as_is.encoding_matters());
    }
}

void scan_it(std::string_view sql) {
    const auto pins = scan(sql, true);
    constexpr auto large = static_cast<effect_bits>(pin_reason::large_statement);
    PGWEIR_MUST(scan(sql, false) == (pins | large));
    if (plainly_harmless(sql)) {
        // Behind a LISTEN the text gets the close look, which must find nothing else.
        const auto looked_at = scan("LISTEN x; " + std::string(sql), true);
        PGWEIR_MUST(looked_at == static_cast<effect_bits>(pin_reason::listen));
    }
}

void name_and_redact(std::string_view sql) {
    for (const auto& named : statement_names(sql)) {
        PGWEIR_MUST(named.name.size() <= sql.size() * 4); // U&"\0041": at most UTF-8 of it
    }
    for (const std::size_t most : {3U, 40U, 1'024U}) {
        PGWEIR_MUST(redact_statement(sql, most).size() <= most);
    }
}

void read_options(std::string_view text) {
    const auto parsed = parse_startup_options(text);
    for (const auto& [name, value] : parsed.settings) {
        PGWEIR_MUST(name.size() + value.size() <= text.size());
        (void)valid_setting_name(name);
    }
    PGWEIR_MUST(!parsed.refused || parsed.refused->size() <= text.size());
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto sql = fuzz_input(data, size).rest();
    lex(sql, false);
    lex(sql, true);
    lex_in_other_encodings(sql, false);
    lex_in_other_encodings(sql, true);
    scan_it(sql);
    name_and_redact(sql);
    read_options(sql);
    return 0;
}
