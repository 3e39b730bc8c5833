// Where PostgreSQL shows what a session has: what pin_question, setting_question and session_audit
// ask of it is written here, once.
//
// Qualified throughout: search_path is the client's. Any thread. Tests: those of the three.
// Source: PostgreSQL documentation, "pg_settings", "pg_depend", "pg_cursors",
// "pg_prepared_statements", "pg_locks", "Session Information Functions".
#pragma once

#include <string_view>

namespace pgweir::protocol::session_sql {

// Each is what stands behind SELECT and the columns that are wanted.

/// Settings of this session's own: name, setting, reset_val. Those that are a transaction's are
/// left out; and PostgreSQL leaves out who one is, and what applications have made up.
inline constexpr std::string_view settings =
    "FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'"
    " AND name OPERATOR(pg_catalog.<>) ALL"
    " ('{transaction_isolation,transaction_read_only,transaction_deferrable}'::pg_catalog.text[])";

/// pg_listening_channels: its name.
inline constexpr std::string_view channels = "FROM pg_catalog.pg_listening_channels()";

/// mode.
inline constexpr std::string_view advisory_locks =
    "FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory'"
    " AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()";

/// classid, objid, objsubid. 2615 is pg_namespace; all that there is in the temporary schema
/// depends on it, which is how DISCARD TEMP finds it.
inline constexpr std::string_view temporary_objects =
    "FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) 2615::pg_catalog.oid"
    " AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()";

/// name.
inline constexpr std::string_view held_cursors = "FROM pg_catalog.pg_cursors WHERE is_holdable";

/// name.
inline constexpr std::string_view sql_statements =
    "FROM pg_catalog.pg_prepared_statements WHERE from_sql";

/// name, of those made by the protocol, ours among them.
inline constexpr std::string_view named_statements =
    "FROM pg_catalog.pg_prepared_statements WHERE NOT from_sql";

} // namespace pgweir::protocol::session_sql
