// Who may do what on the console. The list of what needs an administrator is written down here once
// more, so that a wrong privilege in the table fails, and a new command is denied until somebody
// has thought about it. (PgBouncer's CVE-2026-6667 was one command without the check.)
#include "tests/daemon/console/fake_source.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace pgweir::daemon;

namespace {

const std::set<std::string_view> for_stats_users = {
    "SHOW HELP",
    "SHOW VERSION",
    "SHOW POOLS",
    "SHOW CLIENTS",
    "SHOW SERVERS",
    "SHOW LEASES",
    "SHOW PINS",
    "SHOW STATS",
    "SHOW STATS_TOTALS",
    "SHOW STATS_AVERAGES",
    "SHOW TOTALS",
    "SHOW DATABASES",
    "SHOW USERS",
    "SHOW CONFIG",
    "SHOW LISTS",
    "SHOW STATE",
    "SHOW",
    "SHOW SOCKETS",
    "SHOW ACTIVE_SOCKETS",
    "SHOW PEERS",
    "SHOW PEER_POOLS",
    "SHOW MEM",
    "SHOW DNS_HOSTS",
    "SHOW DNS_ZONES",
};
const std::set<std::string_view> for_admins_only = {
    "RELOAD",
    "SHUTDOWN",
    "SHUTDOWN WAIT_FOR_SERVERS",
    "SHUTDOWN WAIT_FOR_CLIENTS",
    "SHOW FDS",
    "SET",
    "PAUSE",
    "RESUME",
    "SUSPEND",
    "DISABLE",
    "ENABLE",
    "RECONNECT",
    "KILL",
    "KILL_CLIENT",
    "WAIT_CLOSE",
};

/// The command with an argument where one may follow.
std::string spoken(const console_command& row) {
    return std::string(row.words) + (row.argument.empty() ? "" : " timezone");
}

template <typename Command>
concept compiles_without_privilege = requires(void (*run)(console_call)) {
    Command{.words = "KILL", .run = run, .help = ""};
};
template <typename Command>
concept compiles_with_privilege = requires(void (*run)(console_call)) {
    Command{.words = "KILL", .needs = console_privilege::admin, .run = run, .help = ""};
};
static_assert(compiles_with_privilege<console_command>);
static_assert(!compiles_without_privilege<console_command>);

} // namespace

TEST_CASE("every command of the table is in exactly one of the lists, and the other way round") {
    std::set<std::string_view> known;
    for (const auto& row : console_commands()) {
        CAPTURE(row.words);
        CHECK(for_stats_users.contains(row.words) != for_admins_only.contains(row.words));
        CHECK(row.needs == (for_stats_users.contains(row.words) ? console_privilege::stats
                                                                : console_privilege::admin));
        CHECK((row.run != nullptr));
        CHECK(known.insert(row.words).second);
    }
    CHECK(known.size() == for_stats_users.size() + for_admins_only.size());
}

TEST_CASE("role x command") {
    enum class role : std::uint8_t { admin, stats, both, nobody };
    const std::pair<std::string_view, role> users[] = {
        {"boss", role::admin},
        {"watcher", role::stats},
        {"two_hats", role::both},
        {"bot", role::nobody}, // a user like others
        {"", role::nobody},
        {"Boss", role::nobody}, // names are as they are written
        {"boss ", role::nobody},
        {"bos", role::nobody},
        {"boss'; RELOAD; --", role::nobody},
        {std::string_view("boss\0", 5), role::nobody},
    };
    for (const auto& asker : users) {
        const auto user = std::string(asker.first);
        const auto who = asker.second;
        for (const auto& row : console_commands()) {
            CAPTURE(user);
            CAPTURE(row.words);
            console_fixture f;
            f.source.config.admin_users.emplace_back("two_hats");
            f.source.config.stats_users.emplace_back("two_hats");
            const auto got = f.ask(user, spoken(row));
            const bool may = who == role::admin || who == role::both ||
                             (who == role::stats && for_stats_users.contains(row.words));
            CHECK((got.sqlstate() == "42501") == !may);
            if (!may) {
                CHECK(got.failed());
                CHECK(f.source.events == "answer;"); // nothing was done
            }
        }
    }
}

TEST_CASE("who is nobody here learns nothing, not even what a command is") {
    for (const std::string query :
         {"SHOW VERSION", "NONSENSE", "", ";", "--", "SELECT 1", "KILL x", "\""}) {
        CAPTURE(query);
        console_fixture f;
        const auto got = f.ask("bot", query);
        CHECK(got.sqlstate() == "42501");
        CHECK(got.message() == "permission denied for user \"bot\"");
    }
}

TEST_CASE("no spelling gets around the privilege") {
    for (const std::string query :
         {"reload", "ReLoAd;", "  RELOAD ; ; ", "/* SHOW POOLS */ RELOAD", "-- x\nRELOAD",
          "\"RELOAD\"", "\"reload\"", "'RELOAD'", "$$RELOAD$$", "/**/SHUTDOWN/**/;",
          "SHOW POOLS; RELOAD", "; RELOAD", "SHOW POOLS RELOAD", "shutdown wait_for_servers",
          "KILL", "KILL fitness_club", "KILL_CLIENT 1", "kill_client\t1", "pause\vfitness_club"}) {
        CAPTURE(query);
        console_fixture f;
        const auto got = f.ask("watcher", query);
        CHECK(got.failed());
        CHECK((got.sqlstate() == "42501" || got.sqlstate() == "42601"));
        CHECK(f.source.events == "answer;");
    }
}

TEST_CASE("a reload that takes a privilege away does so at once") {
    console_fixture f;
    CHECK(f.ask("boss", "RELOAD").tag == "RELOAD");
    f.source.config.admin_users.clear();
    CHECK(f.ask("boss", "RELOAD").sqlstate() == "42501");
    CHECK(f.ask("boss", "SHOW POOLS").sqlstate() == "42501");
    f.source.config.stats_users.emplace_back("boss");
    CHECK(f.ask("boss", "SHOW POOLS").tag == "SHOW");
    CHECK(f.ask("boss", "RELOAD").sqlstate() == "42501");
}

TEST_CASE("SHOW HELP lists what the asker may do") {
    console_fixture f;
    for (const auto& row : console_commands()) {
        CAPTURE(row.words);
        const auto line = "\n\t" + std::string(row.words) + " ";
        const auto in = [&](std::string_view user) {
            return f.ask(user, "SHOW HELP").field('D').find(line) != std::string::npos;
        };
        CHECK(in("boss") == !row.help.empty());
        CHECK(in("watcher") == (!row.help.empty() && row.needs == console_privilege::stats));
    }
    const auto help = f.ask("SHOW HELP");
    CHECK(help.kinds == "NCZ");
    CHECK(help.tag == "SHOW");
    CHECK(help.field('S') == "NOTICE");
    CHECK(help.field('V') == "NOTICE");
    CHECK(help.sqlstate() == "00000");
}
