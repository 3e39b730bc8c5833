// The words that the scan of a text looks for wherever they stand.
//
// Tests: tests/protocol/statement_scan_test.cpp.
#pragma once

#include "protocol/session_state.hpp"
#include "protocol/statement_scan.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace pgweir::protocol::statement_words {

// Of a function that leaves something behind: whether it does when its third argument …
enum class leaves : std::uint8_t {
    always,
    unless_true, // … is just `true`
    if_given,    // … or one by the name of `temporary` is given, and is not just `false`
};

struct known_function {
    std::string_view name;
    effect_bits effect;
    leaves when = leaves::always;
};

inline constexpr auto slot =
    bit_of(pin_reason::loaded_library); // the server must be closed as well
inline constexpr auto anything = static_cast<effect_bits>(
    bit_of(pin_reason::large_statement) | bit_of(pin_reason::setting)); // runs SQL that it is given
inline constexpr std::array<known_function, 38> functions = {{
    {"pg_advisory_lock", bit_of(pin_reason::advisory_lock)},
    {"pg_advisory_lock_shared", bit_of(pin_reason::advisory_lock)},
    {"pg_try_advisory_lock", bit_of(pin_reason::advisory_lock)},
    {"pg_try_advisory_lock_shared", bit_of(pin_reason::advisory_lock)},
    {"pg_advisory_unlock", gives_up_lock},
    {"pg_advisory_unlock_shared", gives_up_lock},
    {"pg_advisory_unlock_all", gives_up_lock},
    {"currval", reads_sequences},
    {"lastval", reads_sequences},
    {"pg_notify", notifies},
    {"pg_listening_channels", speaks_of_channels},
    {"pg_prepared_statements", lists_statements}, // the view, and …
    {"pg_prepared_statement", lists_statements},  // … the function behind it
    {"setseed", bit_of(pin_reason::random_seed)},
    {"set_config", bit_of(pin_reason::setting), leaves::unless_true},
    {"pg_backup_start", bit_of(pin_reason::loaded_library)},
    {"pg_start_backup", bit_of(pin_reason::loaded_library)}, // until version 14
    {"pg_replication_origin_session_setup", bit_of(pin_reason::loaded_library)},
    {"pg_create_physical_replication_slot", slot, leaves::if_given},
    {"pg_create_logical_replication_slot", slot, leaves::if_given},
    {"pg_copy_physical_replication_slot", slot, leaves::if_given},
    {"pg_copy_logical_replication_slot", slot, leaves::if_given},
    {"query_to_xml", anything},
    {"query_to_xmlschema", anything},
    {"query_to_xml_and_xmlschema", anything},
    {"cursor_to_xml", anything},
    {"cursor_to_xmlschema", anything},
    {"table_to_xml", anything}, // or a view, of which only the name is given
    {"table_to_xmlschema", anything},
    {"table_to_xml_and_xmlschema", anything},
    {"schema_to_xml", anything},
    {"schema_to_xmlschema", anything},
    {"schema_to_xml_and_xmlschema", anything},
    {"database_to_xml", anything},
    {"database_to_xmlschema", anything},
    {"database_to_xml_and_xmlschema", anything},
    {"ts_stat", anything},
    {"ts_rewrite", anything},
}};

inline constexpr std::string_view temporary_schema = "pg_temp"; // and pg_temp_3, …
inline constexpr std::string_view settings_view =
    "pg_settings";                               // a rule makes its UPDATE set_config()
inline constexpr std::string_view seed = "seed"; // a setting that is setseed(), whatever its scope

// All other words that mean something wherever they stand.
inline constexpr std::array<std::string_view, 14> keywords = {
    "create",    "into", "or",    "replace", "local", "global", "temp",
    "temporary", "hold", "begin", "then",    "else",  "loop",   "update"};

// What begins with these.
inline constexpr std::array<std::pair<std::string_view, effect_bits>, 10> effects_of_leading_words =
    {{
        {"reset", bit_of(pin_reason::setting)},
        {"discard", bit_of(pin_reason::setting) | ends_something},
        {"listen", bit_of(pin_reason::listen)},
        {"load", bit_of(pin_reason::loaded_library)},
        {"do", hides_something},
        {"drop", ends_something},
        {"close", ends_something},
        {"deallocate", ends_something},
        {"unlisten", ends_something | speaks_of_channels},
        {"notify", notifies},
    }};

// Nearly every word in a text is of no interest, and for most of them their length and first letter
// show it. By length: one bit for each first letter.
inline constexpr auto interesting = [] {
    std::array<std::uint32_t, 32> masks{};
    const auto letter = [](char c) { return 1U << (static_cast<unsigned char>(c) & 0x1fU); };
    for (const auto word : keywords) {
        masks[word.size()] |= letter(word[0]);
    }
    for (const auto& function : functions) {
        masks[std::min(function.name.size(), masks.size() - 1)] |= letter(function.name[0]);
    }
    for (auto length = temporary_schema.size(); length < masks.size(); ++length) {
        masks[length] |= letter(temporary_schema[0]);
    }
    return masks;
}();

inline bool may_interest(std::string_view word) {
    const auto length = std::min(word.size(), interesting.size() - 1);
    const auto letter = static_cast<unsigned char>(word[0]) & 0x1fU;
    return (interesting[length] >> letter & 1U) != 0;
}

} // namespace pgweir::protocol::statement_words
