// Looks at SQL text for statements that leave something behind in the session, or read what others
// may have left there. A lexer, not a parser: it knows strings, quoted identifiers, dollar quotes
// and comments, and looks at words. It errs to the side of pinning.
//
// Pure. Tests: tests/protocol/statement_scan_test.cpp.
// Source: PostgreSQL documentation, "Lexical Structure", and the pages of the statements named.
#pragma once

#include <cstdint>
#include <string_view>

namespace pgweir::protocol {

class name_effects;                    // name_effects.hpp
enum class pin_reason : std::uint16_t; // session_state.hpp

/// What a text has to do with the session's state: the `pin_reason`s that it gives, one bit each,
/// and those below.
using effect_bits = std::uint32_t;
[[nodiscard]] constexpr effect_bits bit_of(pin_reason reason) {
    return static_cast<effect_bits>(reason);
}
inline constexpr effect_bits pin_reasons = (1 << 11) - 1;
/// The text calls currval() or lastval(), which
/// read what the server remembers of nextval(). Nothing is left behind by that.
inline constexpr effect_bits reads_sequences = 1 << 16;
/// … it holds code that may do what its text does not show (DO).
inline constexpr effect_bits hides_something = 1 << 17;
/// … gives up an advisory lock.
inline constexpr effect_bits gives_up_lock = 1 << 18;
/// … ends what pins, of whatever other kind: DROP, CLOSE, DEALLOCATE, UNLISTEN, DISCARD.
inline constexpr effect_bits ends_something = 1 << 19;
/// … prepares (SQL's PREPARE) what will do any of this whenever it is executed.
inline constexpr effect_bits prepares_something = 1 << 20;
/// … makes or changes something that will do any of this when it is used (a function, a trigger, an
/// extension), so that names hide what they did not.
inline constexpr effect_bits changes_names = 1 << 21;
/// … may do anything through a name, since it is not known (any more) what names hide.
inline constexpr effect_bits may_hide = 1 << 22;
/// … speaks of the channels that the session listens to: UNLISTEN, pg_listening_channels().
inline constexpr effect_bits speaks_of_channels = 1 << 23;
/// … is NOTIFY, or calls pg_notify().
inline constexpr effect_bits notifies = 1 << 24;
/// … looks at what statements the session has prepared (pg_prepared_statements).
inline constexpr effect_bits lists_statements = 1 << 25;
/// … sets, for its transaction alone, what texts are read under: SET LOCAL, set_config(…, true).
inline constexpr effect_bits sets_for_transaction = 1 << 26;
/// These concern nobody but who listens to something.
inline constexpr effect_bits only_about_channels = speaks_of_channels | notifies;

/// The text of a Query or Parse (one or several statements): the `pin_reason`s, one bit each, that
/// it gives, and the bits above. `complete`: this is all of the text. Else it may do anything
/// (`large_statement`). `names`: what they hide; nothing: none does.
[[nodiscard]] effect_bits scan(std::string_view sql, bool complete,
                               const name_effects* names = nullptr);
/// The body of a function, or other text that is code or becomes some (EXECUTE).
[[nodiscard]] effect_bits scan_code(std::string_view code);

/// A text, and what scan() has said of it. Of a FunctionCall: no text, but the same of the
/// function.
struct scanned_statement {
    std::string_view sql;
    effect_bits effects = 0;
};

} // namespace pgweir::protocol
