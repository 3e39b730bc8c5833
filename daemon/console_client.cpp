#include "daemon/console_client.hpp"

#include <array>
#include <cstdio>
#include <libpq-fe.h>
#include <memory>

namespace pgweir::daemon {

namespace {

/// Of an address that is listened on, one that leads there.
std::string reachable(const std::string& address) {
    if (address == "0.0.0.0") {
        return "127.0.0.1";
    }
    return address == "::" ? "::1" : address;
}

/// What libpq says ends with a line feed.
std::string trimmed(std::string message) {
    while (!message.empty() && message.back() == '\n') {
        message.pop_back();
    }
    return message;
}

} // namespace

std::string complete(console_access& access, const config::configuration* config) {
    if (config != nullptr) {
        const auto& first = config->listen.front();
        if (access.host.empty()) {
            access.host = reachable(first.address);
        }
        if (access.port.empty()) {
            access.port = std::to_string(first.port);
        }
        for (const auto* users : {&config->admin_users, &config->stats_users}) {
            if (access.user.empty() && !users->empty()) {
                access.user = users->front();
            }
        }
    }
    if (access.host.empty() || access.port.empty()) {
        return "give --host and --port, or the --config that the daemon runs with";
    }
    if (access.user.empty()) {
        return "give --user: the configuration names no user in console.admin_users";
    }
    return {};
}

std::string show(const console_access& access, const std::vector<std::string>& words) {
    const std::array<const char*, 7> keys{
        "host", "port", "user", "dbname", "application_name", "connect_timeout", nullptr};
    const std::array<const char*, 7> values{access.host.c_str(),
                                            access.port.c_str(),
                                            access.user.c_str(),
                                            "pgweir",
                                            "pgweir show",
                                            "15",
                                            nullptr};
    const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(
        PQconnectdbParams(keys.data(), values.data(), 0), &PQfinish);
    if (PQstatus(connection.get()) != CONNECTION_OK) {
        return trimmed(PQerrorMessage(connection.get()));
    }
    std::string command = "SHOW";
    for (const auto& word : words) {
        command += ' ' + word;
    }
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(
        PQexec(connection.get(), command.c_str()), &PQclear);
    if (PQresultStatus(result.get()) == PGRES_COMMAND_OK) {
        return {}; // SHOW HELP is a notice, which libpq has printed
    }
    if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) {
        return trimmed(PQresultErrorMessage(result.get()));
    }
    std::string separator = "|";
    PQprintOpt form{};
    form.header = form.align = 1;
    form.fieldSep = separator.data();
    PQprint(stdout, result.get(), &form);
    return {};
}

} // namespace pgweir::daemon
