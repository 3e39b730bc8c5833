// The table of the console's commands, and the commands too small for a file of their own. To add
// one: a row here, what it does, its test, its privilege in
// tests/daemon/console/privilege_test.cpp.
#include "daemon/console_result.hpp"
#include "daemon/console_show.hpp"

#include <algorithm>

namespace pgweir::daemon {

namespace {

using protocol::error;

void show_help(console_call call) {
    std::string text = "\n";
    for (const auto& row : console_commands()) {
        if (row.help.empty() || call.caller < row.needs) {
            continue;
        }
        std::string line = "\t" + std::string(row.words);
        line += row.argument.empty() ? "" : " " + std::string(row.argument);
        line.resize(std::max<std::size_t>(line.size() + 1, 24), ' ');
        text += line + std::string(row.help) + "\n";
    }
    call.reply(console_answer::notice("console usage", text, call.command.tag()));
}

void show_version(console_call call) {
    call.reply(console_answer::value("version", "pgweir " + std::string(build_version())));
}

struct state_row {
    std::string_view key, value;
};
constexpr column<state_row> state_columns[] = {
    {"key", [](const state_row& row) { return row.key; }},
    {"value", [](const state_row& row) { return row.value; }},
};

void show_state(console_call call) {
    constexpr state_row rows[] = {{"active", "yes"}, {"paused", "no"}, {"suspended", "no"}};
    call.reply(console_answer::table(state_columns, rows));
}

/// What drivers ask of any connection. The first ones are also told at login.
constexpr struct {
    std::string_view name, value;
} parameters[] = {
    {"client_encoding", "UTF8"},
    {"server_encoding", "UTF8"},
    {"DateStyle", "ISO, MDY"},
    {"TimeZone", "GMT"},
    {"standard_conforming_strings", "on"},
    {"integer_datetimes", "on"},
    {"is_superuser", "off"},
    {"transaction_read_only", "off"},
    {"default_transaction_read_only", "off"},
    {"in_hot_standby", "off"},
    {"transaction_isolation", "read committed"},
    {"default_transaction_isolation", "read committed"},
};

bool same_name(std::string_view left, std::string_view right) {
    const auto lower = [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    };
    return std::ranges::equal(left, right, {}, lower, lower);
}

void show_parameter(console_call call) {
    std::string asked;
    for (const auto& word : call.arguments) {
        asked += " " + word;
    }
    if (call.arguments.size() == 1) {
        const auto& name = call.arguments.front();
        const auto* const found = std::ranges::find_if(
            parameters, [&](const auto& row) { return same_name(row.name, name); });
        if (found != std::end(parameters)) {
            call.reply(console_answer::value(found->name, found->value));
            return;
        }
        if (same_name(name, "server_version")) {
            call.reply(
                console_answer::value("server_version", std::string(build_version()) + "/pgweir"));
            return;
        }
    }
    call.reply(console_answer::failed(error::console_syntax,
                                      {.message = "unknown command: SHOW" + quotable(asked),
                                       .detail = {},
                                       .hint = "SHOW HELP lists the commands."}));
}

void reload(console_call call) {
    auto& source = call.source;
    source.reload([call = std::move(call)](std::optional<std::string> problem) {
        call.reply(problem ? console_answer::failed(error::console_reload_failed,
                                                    {.message = "the configuration was not "
                                                                "reloaded; nothing has changed",
                                                     .detail = std::move(*problem),
                                                     .hint = {}})
                           : console_answer::done(call.command.tag()));
    });
}

void shut_down(console_call call) {
    call.reply(console_answer::done(call.command.tag())); // first: afterwards nobody listens
    call.source.shutdown();
}

void not_yet(console_call call) {
    call.reply(console_answer::failed(
        error::console_unsupported,
        {.message = std::string(call.command.words) + " is not supported yet",
         .detail = {},
         .hint = {}}));
}

constexpr auto stats = console_privilege::stats;
constexpr auto admin = console_privilege::admin;

// clang-format off
constexpr console_command commands[] = {
    {"SHOW HELP", stats, show_help, "this text"},
    {"SHOW VERSION", stats, show_version, "version of pgweir"},
    {"SHOW POOLS", stats, show_pools, "clients and servers of each pool"},
    {"SHOW CLIENTS", stats, show_clients, "client connections"},
    {"SHOW SERVERS", stats, show_servers, "server connections"},
    {"SHOW LEASES", stats, show_leases, "who holds a server, for how long, doing what"},
    {"SHOW PINS", stats, show_pins, "what keeps clients on their servers between transactions"},
    {"SHOW STATS", stats, show_stats, "totals and averages per database"},
    {"SHOW STATS_TOTALS", stats, show_stats_totals, "totals per database"},
    {"SHOW STATS_AVERAGES", stats, show_stats_averages, "averages per database, of the last minute"},
    {"SHOW TOTALS", stats, show_totals, "totals and averages of all databases together"},
    {"SHOW DATABASES", stats, show_databases, "databases, where they are, their limits"},
    {"SHOW USERS", stats, show_users, "users and their connections"},
    {"SHOW CONFIG", stats, show_config, "settings, their defaults, whether RELOAD changes them"},
    {"SHOW LISTS", stats, show_lists, "how many there are of each kind of thing"},
    {"SHOW STATE", stats, show_state, "active, paused or suspended"},
    {"SHOW", stats, show_parameter, "what the console session runs with, as drivers ask", "<parameter>"},

    {"RELOAD", admin, reload, "read the configuration file again"},
    {"SHUTDOWN", admin, shut_down, "finish open transactions, then end"},

    // PgBouncer's, to come. Nothing lists them, but scripts that use them learn what is wrong.
    {"SHOW FDS", admin, not_yet, ""},
    {"SHOW SOCKETS", stats, not_yet, ""},
    {"SHOW ACTIVE_SOCKETS", stats, not_yet, ""},
    {"SHOW PEERS", stats, not_yet, ""},
    {"SHOW PEER_POOLS", stats, not_yet, ""},
    {"SHOW MEM", stats, not_yet, ""},
    {"SHOW DNS_HOSTS", stats, not_yet, ""},
    {"SHOW DNS_ZONES", stats, not_yet, ""},
    {"SET", admin, not_yet, "", "<setting> = <value>"},
    {"PAUSE", admin, not_yet, "", "[<database>]"},
    {"RESUME", admin, not_yet, "", "[<database>]"},
    {"SUSPEND", admin, not_yet, ""},
    {"DISABLE", admin, not_yet, "", "<database>"},
    {"ENABLE", admin, not_yet, "", "<database>"},
    {"RECONNECT", admin, not_yet, "", "[<database>]"},
    {"KILL", admin, not_yet, "", "[<database>]"},
    {"KILL_CLIENT", admin, not_yet, "", "<id>"},
    {"WAIT_CLOSE", admin, not_yet, "", "[<database>]"},
    {"SHUTDOWN WAIT_FOR_SERVERS", admin, not_yet, ""},
    {"SHUTDOWN WAIT_FOR_CLIENTS", admin, not_yet, ""},
};
// clang-format on

} // namespace

std::span<const console_command> console_commands() { return commands; }

} // namespace pgweir::daemon
