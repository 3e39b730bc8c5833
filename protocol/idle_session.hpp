// How long a session may idle outside of a transaction (idle_session_timeout), as PostgreSQL reads
// it from the settings of a session. In transaction mode it is the client that is measured by it,
// and not the server that happens to carry the setting.
//
// Pure. Tests: tests/protocol/idle_session_test.cpp.
// Source: PostgreSQL documentation, "Parameter Names and Values", "idle_session_timeout";
// parse_int() and convert_to_base_unit() in src/backend/utils/misc/guc.c.
#pragma once

#include "protocol/setting_replay.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace pgweir::protocol {

inline constexpr std::string_view idle_session_timeout = "idle_session_timeout";

/// A value of a setting that counts milliseconds. Nothing: PostgreSQL takes no such value.
[[nodiscard]] std::optional<std::chrono::milliseconds> read_milliseconds(const std::string& value);

/// 0: for ever. `own`: the server's, which counts where the session has set none.
[[nodiscard]] std::chrono::milliseconds idle_limit_of(const setting_map& session,
                                                      std::chrono::milliseconds own);

/// The same session without a limit, on a server that may have one of its own.
[[nodiscard]] setting_map without_idle_limit(setting_map session, std::chrono::milliseconds own);

} // namespace pgweir::protocol
