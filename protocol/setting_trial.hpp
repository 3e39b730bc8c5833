// Settings that a server carries and that may not be set on another one: a superuser's, set by a
// function with SECURITY DEFINER or under SET ROLE. Whoever logs in could neither set them for the
// client again nor take them off for the next one. Who may set what depends on attributes, grants
// and extensions, so that PostgreSQL is not asked but lets it be tried: whatever the server carries
// is set to what it is, by whoever has logged in, in a transaction that leaves nothing behind.
//
// Pure. Tests: tests/protocol/setting_trial_test.cpp.
// Source: PostgreSQL documentation, "pg_settings" (context), "GRANT" (SET ON PARAMETER).
#pragma once

#include "protocol/reply_queue.hpp"
#include "protocol/setting_replay.hpp"

#include <set>
#include <string>
#include <string_view>

namespace pgweir::protocol {

inline constexpr std::string_view trial_name = "pgw_trial"; // left where it has failed

/// By name, those that whoever logs in has been seen to be permitted.
using permitted_settings = std::set<std::string, std::less<>>;

/// It is not known to be anybody's, nor that whoever logs in is permitted.
[[nodiscard]] bool needs_trial(std::string_view name, const permitted_settings& permitted);
/// Those of `carried`.
[[nodiscard]] setting_map settings_to_try(const setting_map& carried,
                                          const permitted_settings& permitted);

/// A trial can be put: not so many as PostgreSQL takes no columns for, and an error of it does not
/// end the server.
[[nodiscard]] bool may_try_settings(const setting_map& carried, const setting_map& to_try);

/// Appends the trial, and to `owed` what it will be answered with: one ReadyForQuery, behind an
/// error where something may not be set.
void append_setting_trial(std::string& out, reply_queue& owed, const setting_map& carried,
                          const setting_map& to_try);

} // namespace pgweir::protocol
