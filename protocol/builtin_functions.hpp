// PostgreSQL's own functions that have to do with the session's state, by their numbers, which
// never change (src/include/catalog/pg_proc.dat): as FunctionCall and parsed expressions name them.
//
// Pure. Tests: tests/protocol/relay_state_test.cpp, tests/protocol/hidden_effects_test.cpp.
#pragma once

#include "protocol/session_state.hpp"

#include <cstdint>

namespace pgweir::protocol {

inline constexpr std::uint32_t set_config_function = 2'078;

/// As scan() says of a text that calls it.
[[nodiscard]] constexpr effect_bits effects_of_builtin(std::uint32_t function) {
    const auto pins = [](pin_reason reason) { return static_cast<effect_bits>(reason); };
    switch (function) {
    case set_config_function:
        return pins(pin_reason::setting);
    case 2'880: // pg_advisory_lock(bigint)
    case 2'881: // pg_advisory_lock_shared(bigint)
    case 2'882: // pg_try_advisory_lock(bigint)
    case 2'883: // pg_try_advisory_lock_shared(bigint)
    case 2'886: // …(integer, integer), in the same order
    case 2'887:
    case 2'888:
    case 2'889:
        return pins(pin_reason::advisory_lock);
    case 2'884: // pg_advisory_unlock(bigint)
    case 2'885: // pg_advisory_unlock_shared(bigint)
    case 2'890: // …(integer, integer), in the same order
    case 2'891:
    case 2'892: // pg_advisory_unlock_all()
        return gives_up_lock;
    case 1'599: // setseed
        return pins(pin_reason::random_seed);
    case 2'172: // pg_backup_start, pg_start_backup
    case 3'779: // pg_create_physical_replication_slot, which may be temporary
    case 3'786: // pg_create_logical_replication_slot
    case 4'220: // pg_copy_physical_replication_slot
    case 4'222: // pg_copy_logical_replication_slot
    case 4'223:
    case 6'006: // pg_replication_origin_session_setup
        return pins(pin_reason::loaded_library);
    case 1'575: // currval
    case 2'559: // lastval
        return reads_sequences;
    case 2'923: // table_to_xml
    case 2'924: // query_to_xml
    case 2'925: // cursor_to_xml
    case 2'926: // …_to_xmlschema, in the same order
    case 2'927:
    case 2'928:
    case 2'929: // table_to_xml_and_xmlschema
    case 2'930: // query_to_xml_and_xmlschema
    case 2'933: // schema_to_xml, …_to_xmlschema, …_to_xml_and_xmlschema
    case 2'934:
    case 2'935:
    case 2'936: // database_to_xml, in the same order
    case 2'937:
    case 2'938:
    case 3'685: // ts_rewrite(tsquery, text)
    case 3'689: // ts_stat
    case 3'690:
        return static_cast<effect_bits>(pins(pin_reason::large_statement) |
                                        pins(pin_reason::setting)); // run what they are given
    default:
        return 0;
    }
}

} // namespace pgweir::protocol
