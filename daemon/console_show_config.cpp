// SHOW CONFIG, DATABASES, USERS, LISTS: what is configured, with how much of it is in use.
#include "config/settings.hpp"
#include "daemon/console_result.hpp"
#include "daemon/console_show.hpp"

#include <algorithm>
#include <map>

namespace pgweir::daemon {

namespace {

using config::shown_setting;

/// What all pools of one database, or of one user, have together.
struct usage {
    std::uint64_t servers = 0; // open or being opened
    std::uint64_t clients = 0;
};
using usage_by_name = std::map<std::string, usage, std::less<>>;

usage_by_name add_up(const std::vector<pool_snapshot>& pools, std::string pool_snapshot::*name) {
    usage_by_name sums;
    for (const auto& pool : pools) {
        auto& sum = sums[pool.*name];
        sum.servers += pool.taken;
        sum.clients += pool.sum_now(&pool::stats::clients);
    }
    return sums;
}

int4 to_int4(std::uint64_t count) { return {static_cast<std::int64_t>(count)}; }

constexpr column<shown_setting> config_columns[] = {
    {"key", [](const shown_setting& s) { return s.key; }},
    {"value", [](const shown_setting& s) { return s.value; }},
    {"default", [](const shown_setting& s) { return s.fallback; }},
    {"changeable",
     [](const shown_setting& s) { return std::string_view(s.changeable ? "yes" : "no"); }},
};

struct shown_database {
    config::database what;
    usage used;
};

std::string_view name_of(config::pool_mode mode) {
    switch (mode) {
    case config::pool_mode::transaction:
        return "transaction";
    case config::pool_mode::session:
        return "session";
    case config::pool_mode::statement:
        return "statement";
    }
    return "?";
}

constexpr column<shown_database> database_columns[] = {
    {"name", [](const shown_database& d) { return d.what.name; }},
    {"host", [](const shown_database& d) { return d.what.connects_to(); }},
    {"port", [](const shown_database& d) { return int4{d.what.port}; }},
    {"database",
     [](const shown_database& d) { return d.what.dbname.empty() ? d.what.name : d.what.dbname; }},
    {"force_user",
     [](const shown_database& d) {
         return d.what.user.empty() ? optional_text() : optional_text(d.what.user);
     }},
    {"pool_size", [](const shown_database& d) { return int4{d.what.pool.maxconn}; }},
    {"min_pool_size", [](const shown_database& d) { return int4{d.what.pool.minconn}; }},
    {"reserve_pool_size", [](const shown_database&) { return int4{0}; }},
    {"server_lifetime",
     [](const shown_database& d) {
         return int4{d.what.pool.max_lifetime / std::chrono::seconds(1)};
     }},
    {"pool_mode", [](const shown_database& d) { return name_of(d.what.pool.mode); }},
    {"load_balance_hosts", [](const shown_database&) { return optional_text(); }},
    {"max_connections", [](const shown_database&) { return int4{0}; }}, // bounded per pool only
    {"current_connections", [](const shown_database& d) { return to_int4(d.used.servers); }},
    {"max_client_connections", [](const shown_database&) { return int4{0}; }},
    {"current_client_connections", [](const shown_database& d) { return to_int4(d.used.clients); }},
    {"paused", [](const shown_database&) { return int4{0}; }},
    {"disabled", [](const shown_database&) { return int4{0}; }},
};

struct shown_user {
    std::string name;
    usage used;
};

constexpr column<shown_user> user_columns[] = {
    {"name", [](const shown_user& u) { return u.name; }},
    {"pool_size", [](const shown_user&) { return std::string_view(); }},
    {"reserve_pool_size", [](const shown_user&) { return std::string_view(); }},
    {"pool_mode", [](const shown_user&) { return optional_text(); }},
    {"max_user_connections", [](const shown_user&) { return int4{0}; }},
    {"current_connections", [](const shown_user& u) { return to_int4(u.used.servers); }},
    {"max_user_client_connections", [](const shown_user&) { return int4{0}; }},
    {"current_client_connections", [](const shown_user& u) { return to_int4(u.used.clients); }},
};

struct counted {
    std::string_view name;
    std::uint64_t count;
};

constexpr column<counted> list_columns[] = {
    {"list", [](const counted& l) { return l.name; }},
    {"items", [](const counted& l) { return to_int4(l.count); }},
};

} // namespace

void show_config(console_call call) {
    call.reply(
        console_answer::table(config_columns, config::show_settings(*call.source.configuration())));
}

void show_databases(console_call call) {
    const auto config = call.source.configuration();
    const auto used = add_up(call.source.pools(), &pool_snapshot::database);
    std::map<std::string, shown_database> rows;
    for (const auto& each : config->databases) {
        rows[each.name].what = each;
    }
    for (const auto& [name, sum] : used) {
        // One that `*` stands for is shown under the name clients use; one that is no longer
        // configured is seen in SHOW POOLS for as long as somebody uses it.
        if (const auto found = config->find_database(name)) {
            rows[name] = {*found, sum};
        }
    }
    std::vector<shown_database> sorted;
    for (auto& [name, row] : rows) {
        sorted.push_back(std::move(row));
    }
    call.reply(console_answer::table(database_columns, sorted));
}

void show_users(console_call call) {
    auto used = add_up(call.source.pools(), &pool_snapshot::user);
    const auto config = call.source.configuration();
    for (const auto& each : config->users) {
        used.try_emplace(each.name);
    }
    std::vector<shown_user> rows;
    for (const auto& [name, sum] : used) {
        rows.push_back({name, sum});
    }
    call.reply(console_answer::table(user_columns, rows));
}

void show_lists(console_call call) {
    auto& source = call.source;
    source.collect_clients([call = std::move(call)](const std::vector<client_row>& clients) {
        const auto config = call.source.configuration();
        const auto pools = call.source.pools();
        const auto logging_in = static_cast<std::uint64_t>(
            std::ranges::count(clients, std::string_view("login"), &client_row::state));
        std::uint64_t servers = 0;
        for (const auto& pool : pools) {
            servers += pool.taken;
        }
        // PgBouncer's free_… are structures it keeps for the next connection, its peers and its
        // resolver: there are none here.
        const counted rows[] = {
            {"databases", config->databases.size()},
            {"users", config->users.size()},
            {"peers", 0},
            {"pools", pools.size()},
            {"peer_pools", 0},
            {"free_clients", 0},
            {"used_clients", clients.size() - logging_in},
            {"login_clients", logging_in},
            {"free_servers", 0},
            {"used_servers", servers},
            {"dns_names", 0},
            {"dns_zones", 0},
            {"dns_queries", 0},
            {"dns_pending", 0},
        };
        call.reply(console_answer::table(list_columns, rows));
    });
}

} // namespace pgweir::daemon
