// What a Type=notify service tells systemd, through sd_notify(3). Every call is a no-op when the
// process was not started by a service manager (no NOTIFY_SOCKET).
//
// Owner: main. Thread: ops. Tests: tests/systemd/notify_test.cpp (a NOTIFY_SOCKET of its own).
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace pgweir::systemd {

/// A service manager listens.
[[nodiscard]] bool is_supervised();

/// Each returns false when there is nobody to tell, or telling failed: never a reason to stop.
bool notify_ready(std::string_view status);
/// A reload begins; notify_ready() ends it.
bool notify_reloading();
bool notify_stopping(std::string_view status);
/// The one line that `systemctl status` shows. Line breaks become spaces: what follows one would be
/// taken for another assignment.
bool notify_status(std::string_view status);
/// Still alive: to be sent every watchdog_period().
bool notify_watchdog();

/// How often notify_watchdog() is due: half of what WatchdogSec= allows. Nothing when the unit has
/// no watchdog or it is meant for another process.
[[nodiscard]] std::optional<std::chrono::microseconds> watchdog_period();

} // namespace pgweir::systemd
