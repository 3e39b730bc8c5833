#include "systemd/notify.hpp"

#include <systemd/sd-daemon.h>

#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>

namespace pgweir::systemd {

namespace {

bool tell(const std::string& assignments) { return ::sd_notify(0, assignments.c_str()) > 0; }

std::string status_line(std::string_view status) {
    std::string line = "\nSTATUS=";
    for (const char c : status) {
        const bool control = static_cast<unsigned char>(c) < 0x20;
        line += control ? ' ' : c;
    }
    return line;
}

} // namespace

bool is_supervised() { return std::getenv("NOTIFY_SOCKET") != nullptr; }

bool notify_ready(std::string_view status) { return tell("READY=1" + status_line(status)); }

bool notify_reloading() {
    // The time lets systemd tell this reload's READY=1 from an earlier one (sd_notify(3)).
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const auto microseconds = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
                              static_cast<std::uint64_t>(now.tv_nsec) / 1'000;
    return tell("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(microseconds) +
                status_line("reloading the configuration"));
}

bool notify_stopping(std::string_view status) { return tell("STOPPING=1" + status_line(status)); }

bool notify_status(std::string_view status) { return tell(status_line(status).substr(1)); }

bool notify_watchdog() { return tell("WATCHDOG=1"); }

std::optional<std::chrono::microseconds> watchdog_period() {
    std::uint64_t limit_us = 0;
    if (::sd_watchdog_enabled(0, &limit_us) <= 0 || limit_us < 2) {
        return std::nullopt;
    }
    return std::chrono::microseconds(limit_us / 2);
}

} // namespace pgweir::systemd
