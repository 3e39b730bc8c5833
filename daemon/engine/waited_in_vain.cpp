#include "daemon/engine/waited_in_vain.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgweir::daemon {

namespace {

std::string describe(const lease_row& lease) {
    return (lease.application_name.empty() ? std::string("(no application_name)")
                                           : "\"" + lease.application_name + "\"") +
           " from " + lease.client_address + ":" + std::to_string(lease.client_port) + " for " +
           in_seconds(lease.held) + ", " + lease.state;
}

std::string describe(const pool_bound& bound) {
    return std::string(bound.setting) + " (" + std::to_string(bound.servers) + ")";
}

} // namespace

std::string in_seconds(pool::duration value) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(value).count();
    return std::to_string(ms / 1000) + "." + std::to_string(ms % 1000 / 100) + " s";
}

std::string holders_detail(holders who) {
    constexpr std::size_t named = 5;
    auto& leases = who.leases;
    std::sort(leases.begin(), leases.end(),
              [](const auto& a, const auto& b) { return a.held > b.held; });
    std::string text;
    for (std::size_t i = 0; i < std::min(named, leases.size()); ++i) {
        text += (i == 0 ? "Held by " : "; ") + describe(leases[i]);
    }
    if (leases.size() > named) {
        text += "; and " + std::to_string(leases.size() - named) + " more";
    }
    text += leases.empty() ? "" : ".";
    const std::array nobodys{
        std::pair{who.awaiting_cancel, "Waiting for PostgreSQL to take a cancel request: "},
        std::pair{who.resetting, "Being made ready for the next client: "},
        std::pair{who.connecting, "Being connected: "},
        std::pair{who.closing, "Being closed: "},
    };
    for (const auto& [count, what] : nobodys) {
        if (count != 0) {
            text += (text.empty() ? "" : " ") + (what + std::to_string(count)) + ".";
        }
    }
    return text.empty() ? "Held by nobody for long: they change hands quickly." : text;
}

std::string holders_hint(const holders& who, const pool_bound& bound) {
    auto text =
        "Raise " + describe(bound) + " or wait_timeout (" + in_seconds(bound.wait_timeout) + ")";
    if (!who.leases.empty()) {
        text += ", or find out why the holders keep their transactions open";
    }
    if (who.awaiting_cancel != 0) {
        text += ", or find out why PostgreSQL takes no cancel requests";
    }
    return text + ".";
}

std::string refusal_hint(protocol::server_refused::why reason, const pool_login& login,
                         const pool_bound& bound, std::uint32_t idle_of_others) {
    using why = protocol::server_refused::why;
    const auto none_left = [&](const std::string& who, const std::string& limit) {
        return who + " has no connection left for pgweir: lower " + describe(bound) + " or raise " +
               limit + "." +
               (idle_of_others == 0 ? ""
                                    : " Other pools of pgweir keep " +
                                          std::to_string(idle_of_others) + " idle: lower minconn.");
    };
    if (reason == why::too_many_connections) {
        return none_left("PostgreSQL", "PostgreSQL's max_connections");
    }
    if (reason == why::too_many_of_role) {
        return none_left("Role \"" + std::string(login.role) + "\"",
                         "its CONNECTION LIMIT (ALTER ROLE)");
    }
    if (reason == why::too_many_to_database) {
        return none_left("Database \"" + std::string(login.database) + "\"",
                         "its CONNECTION LIMIT (ALTER DATABASE)");
    }
    return {};
}

} // namespace pgweir::daemon
