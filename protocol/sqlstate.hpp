// SQLSTATEs, by the names that PostgreSQL has for these conditions: what a server says and somebody
// looks for, and what we say ourselves.
// Source: PostgreSQL documentation, "PostgreSQL Error Codes".
#pragma once

#include <string_view>

namespace pgweir::protocol::sqlstate {

inline constexpr std::string_view successful_completion = "00000";
inline constexpr std::string_view sqlclient_unable_to_establish_sqlconnection = "08001";
inline constexpr std::string_view sqlserver_rejected_establishment_of_sqlconnection = "08004";
inline constexpr std::string_view connection_failure = "08006";
inline constexpr std::string_view protocol_violation = "08P01";
inline constexpr std::string_view feature_not_supported = "0A000";
inline constexpr std::string_view character_not_in_repertoire = "22021";
inline constexpr std::string_view invalid_parameter_value = "22023";
inline constexpr std::string_view untranslatable_character = "22P05";
inline constexpr std::string_view invalid_sql_statement_name = "26000";
inline constexpr std::string_view invalid_authorization_specification = "28000";
inline constexpr std::string_view invalid_password = "28P01";
inline constexpr std::string_view invalid_catalog_name = "3D000";
inline constexpr std::string_view insufficient_privilege = "42501";
inline constexpr std::string_view syntax_error = "42601";
inline constexpr std::string_view invalid_name = "42602";
inline constexpr std::string_view undefined_object = "42704";
inline constexpr std::string_view too_many_connections = "53300";
inline constexpr std::string_view configuration_limit_exceeded = "53400";
inline constexpr std::string_view object_not_in_prerequisite_state = "55000";
inline constexpr std::string_view cant_change_runtime_param = "55P02";
inline constexpr std::string_view query_canceled = "57014"; // a cancel request, a timeout
inline constexpr std::string_view admin_shutdown = "57P01";
inline constexpr std::string_view crash_shutdown = "57P02";
inline constexpr std::string_view cannot_connect_now = "57P03";
inline constexpr std::string_view idle_session_timeout = "57P05";
inline constexpr std::string_view undefined_file = "58P01";
inline constexpr std::string_view config_file_error = "F0000";
inline constexpr std::string_view internal_error = "XX000";

} // namespace pgweir::protocol::sqlstate
