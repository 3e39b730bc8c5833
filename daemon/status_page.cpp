#include "daemon/status_page.hpp"

#include "daemon/process_usage.hpp"
#include "daemon/utf8.hpp"

#include <cmath>

namespace pgweir::daemon {

namespace {

using pool::stats;

constexpr std::string_view head = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>pgweir</title><style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; }
th, td { padding: .25em .8em; text-align: right; border-bottom: 1px solid #ddd; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
.bad { color: #b00020; font-weight: 600; }
</style></head><body>
)";

std::string_view health_name(pool::ledger::health health) {
    switch (health) {
    case pool::ledger::health::unknown:
        return "not tried";
    case pool::ledger::health::up:
        return "up";
    case pool::ledger::health::unreachable:
        return "unreachable";
    case pool::ledger::health::full:
        return "PostgreSQL is full";
    }
    return "?";
}

void cell(std::string& out, std::string_view text, bool bad = false) {
    out += bad ? "<td class=\"bad\">" : "<td>";
    out += escape_html(text);
    out += "</td>";
}

void cell(std::string& out, std::uint64_t number, bool bad = false) {
    cell(out, std::to_string(number), bad);
}

/// Of session state, that audits have found.
std::uint64_t leaks(const pool_snapshot& pool) {
    std::uint64_t sum = 0;
    for (const auto* worker : pool.per_worker) {
        for (const auto& kind : worker->leaks) {
            sum += kind.load();
        }
    }
    return sum;
}

void row(std::string& out, const pool_snapshot& pool) {
    using health = pool::ledger::health;
    const auto waiting = pool.sum_now(&stats::clients_waiting);
    const auto percent = static_cast<std::uint64_t>(std::lround(pool.utilisation() * 100));
    out += "<tr>";
    cell(out, pool.database);
    cell(out, pool.user);
    cell(out, health_name(pool.health),
         pool.health == health::unreachable || pool.health == health::full);
    cell(out, pool.taken);
    cell(out, pool.limits.minconn);
    cell(out, pool.limits.maxconn);
    cell(out, pool.sum_now(&stats::servers_in_use));
    cell(out, pool.sum_now(&stats::servers_idle));
    cell(out, std::to_string(percent) + " %", percent >= 90);
    cell(out, pool.sum_now(&stats::clients));
    cell(out, waiting, waiting > 0);
    cell(out, pool.sum(&stats::exhausted));
    cell(out, pool.sum(&stats::wait_timeouts));
    cell(out, leaks(pool), leaks(pool) > 0);
    cell(out, pool.sum(&stats::transactions));
    out += "</tr>\n";
}

} // namespace

std::string escape_html(std::string_view text) {
    std::string out;
    for (const char c : to_valid_utf8(text)) {
        switch (c) {
        case '&':
            out += "&amp;";
            break;
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '"':
            out += "&quot;";
            break;
        case '\'':
            out += "&#39;";
            break;
        default:
            out += c;
        }
    }
    return out;
}

std::string status_page(const std::vector<pool_snapshot>& pools, const process_snapshot& process) {
    constexpr const char* columns[] = {"database",  "user",    "PostgreSQL",  "servers",
                                       "minconn",   "maxconn", "in use",      "idle",
                                       "used",      "clients", "waiting",     "exhausted",
                                       "time-outs", "leaks",   "transactions"};
    const auto usage = read_process_usage();
    std::string out(head);
    out += "<h1>pgweir " + escape_html(build_version()) + "</h1>\n<p>";
    out += std::to_string(process.clients) + " of " + std::to_string(process.max_clients) +
           " clients, " + std::to_string(process.workers) + " workers, " +
           std::to_string(usage.resident_bytes / (1024 * 1024)) + " MiB, " +
           std::to_string(usage.open_fds) + " descriptors.";
    if (!process.last_reload_ok) {
        out += " <span class=\"bad\">The last reload was refused.</span>";
    }
    out += "</p>\n<table><tr>";
    for (const auto* column : columns) {
        out += "<th>";
        out += column;
        out += "</th>";
    }
    out += "</tr>\n";
    for (const auto& pool : pools) {
        row(out, pool);
    }
    out += "</table>\n";
    if (pools.empty()) {
        out += "<p>No pool yet: none of the databases has been used.</p>\n";
    }
    out += "<p><a href=\"/metrics\">metrics</a> <a href=\"/readyz\">readiness</a></p>\n"
           "</body></html>\n";
    return out;
}

} // namespace pgweir::daemon
