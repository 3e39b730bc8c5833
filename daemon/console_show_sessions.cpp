// SHOW CLIENTS, SERVERS, LEASES, POOLS: rows that the workers make, put together. What PgBouncer's
// columns have no place for here is a constant in its column.
#include "daemon/console_result.hpp"
#include "daemon/console_show.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <tuple>

namespace pgweir::daemon {

namespace {

using namespace std::chrono_literals;
using wall_time = std::chrono::system_clock::time_point;

/// An id as PgBouncer's int4 columns can take it: the worker, and the low half of its count. Of two
/// connections that live at the same time on one worker, one would have to be 16 million
/// connections older for both to get the same.
int4 short_id(std::uint64_t id) {
    const auto worker = (id >> 56) & 0x7f;
    return {static_cast<std::int64_t>(worker << 24 | (id & 0xff'ffff))};
}

/// The whole id, as the log has it, where PgBouncer prints an address: what `link` points at.
std::string pointer(std::uint64_t id) {
    if (id == 0) {
        return {};
    }
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (; id != 0; id >>= 4) {
        text.insert(text.begin(), digits[id & 15]);
    }
    return "0x" + text;
}

std::string two_digits(std::int64_t number) {
    return (number < 10 ? "0" : "") + std::to_string(number);
}

/// "2026-11-23 03:23:48 UTC"
std::string timestamp(wall_time when) {
    const auto day = std::chrono::floor<std::chrono::days>(when);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss time(std::chrono::floor<std::chrono::seconds>(when - day));
    return std::to_string(int{date.year()}) + '-' + two_digits(unsigned{date.month()}) + '-' +
           two_digits(unsigned{date.day()}) + ' ' + two_digits(time.hours().count()) + ':' +
           two_digits(time.minutes().count()) + ':' + two_digits(time.seconds().count()) + " UTC";
}

std::string time_ago(wall_time now, pool::duration ago) {
    return timestamp(now - std::chrono::duration_cast<wall_time::duration>(ago));
}

int4 whole_seconds(pool::duration value) { return {std::max(value, 0ns) / 1s}; }
int4 rest_in_microseconds(pool::duration value) { return {std::max(value, 0ns) % 1s / 1us}; }
numeric seconds_with_ms(pool::duration value) {
    return {static_cast<std::uint64_t>(std::max(value, 0ns) / 1ms), 3};
}

std::string_view name_of(pool::pool_mode mode) {
    switch (mode) {
    case pool::pool_mode::transaction:
        return "transaction";
    case pool::pool_mode::session:
        return "session";
    case pool::pool_mode::statement:
        return "statement";
    }
    return "?";
}

/// A row of SHOW CLIENTS or SERVERS, and what time it was.
template <typename Row>
struct seen {
    Row row;
    wall_time now;
};

template <typename Row>
std::vector<seen<Row>> see(std::vector<Row> rows, wall_time now) {
    std::ranges::sort(rows, {}, [](const Row& row) {
        return std::tuple<std::string_view, std::string_view, std::uint64_t>(row.database, row.user,
                                                                             row.id);
    });
    std::vector<seen<Row>> result;
    result.reserve(rows.size());
    for (auto& row : rows) {
        result.push_back({std::move(row), now});
    }
    return result;
}

using seen_client = seen<client_row>;
using seen_server = seen<server_row>;

/// In PgBouncer's words: somebody on the console is active like others.
std::string client_state_text(const seen_client& c) {
    return c.row.state == "console" ? "active" : c.row.state;
}
bool is_leaving(const seen_client& c) { return c.row.state == "closing" || c.row.state == "gone"; }

std::string server_state_text(const seen_server& s) {
    return s.row.state == "resetting" ? "tested" : s.row.state;
}

std::string_view replication_text(protocol::replication_kind kind) {
    switch (kind) {
    case protocol::replication_kind::none:
        break;
    case protocol::replication_kind::physical:
        return "physical";
    case protocol::replication_kind::logical:
        return "logical";
    }
    return "none";
}

constexpr column<seen_client> client_columns[] = {
    {"type", [](const seen_client&) { return std::string_view("C"); }},
    {"user", [](const seen_client& c) { return c.row.user; }},
    {"database", [](const seen_client& c) { return c.row.database; }},
    {"replication", [](const seen_client& c) { return replication_text(c.row.replication); }},
    {"state", client_state_text},
    {"addr", [](const seen_client& c) { return c.row.address; }},
    {"port", [](const seen_client& c) { return int4{c.row.port}; }},
    {"local_addr", [](const seen_client& c) { return c.row.local_address; }},
    {"local_port", [](const seen_client& c) { return int4{c.row.local_port}; }},
    {"connect_time", [](const seen_client& c) { return time_ago(c.now, c.row.connected_for); }},
    {"request_time", [](const seen_client& c) { return time_ago(c.now, c.row.requested_ago); }},
    {"wait", [](const seen_client& c) { return whole_seconds(c.row.waited); }},
    {"wait_us", [](const seen_client& c) { return rest_in_microseconds(c.row.waited); }},
    {"close_needed", [](const seen_client& c) { return int4{is_leaving(c)}; }},
    {"ptr", [](const seen_client& c) { return pointer(c.row.id); }},
    {"link", [](const seen_client& c) { return pointer(c.row.server_id); }},
    // The client's own process, known of nobody who comes over TCP.
    {"remote_pid", [](const seen_client&) { return int4{0}; }},
    {"tls", [](const seen_client&) { return std::string_view(); }},
    {"application_name", [](const seen_client& c) { return c.row.application_name; }},
    {"prepared_statements", [](const seen_client&) { return int4{0}; }},
    {"id", [](const seen_client& c) { return short_id(c.row.id); }},
};

constexpr column<seen_server> server_columns[] = {
    {"type", [](const seen_server&) { return std::string_view("S"); }},
    {"user", [](const seen_server& s) { return s.row.user; }},
    {"database", [](const seen_server& s) { return s.row.database; }},
    {"replication", [](const seen_server& s) { return replication_text(s.row.replication); }},
    {"state", server_state_text},
    {"addr", [](const seen_server& s) { return s.row.address; }},
    {"port", [](const seen_server& s) { return int4{s.row.port}; }},
    {"local_addr", [](const seen_server& s) { return s.row.local_address; }},
    {"local_port", [](const seen_server& s) { return int4{s.row.local_port}; }},
    {"connect_time", [](const seen_server& s) { return time_ago(s.now, s.row.connected_for); }},
    {"request_time", [](const seen_server& s) { return time_ago(s.now, s.row.requested_ago); }},
    {"wait", [](const seen_server&) { return int4{0}; }}, // only clients wait
    {"wait_us", [](const seen_server&) { return int4{0}; }},
    {"close_needed", [](const seen_server& s) { return int4{s.row.close_needed}; }},
    {"ptr", [](const seen_server& s) { return pointer(s.row.id); }},
    {"link", [](const seen_server& s) { return pointer(s.row.client_id); }},
    {"remote_pid", [](const seen_server& s) { return int4{s.row.process_id}; }},
    {"tls", [](const seen_server&) { return std::string_view(); }},
    {"application_name", [](const seen_server& s) { return s.row.application_name; }},
    {"prepared_statements", [](const seen_server&) { return int4{0}; }},
    {"id", [](const seen_server& s) { return short_id(s.row.id); }},
};

constexpr column<lease_row> lease_columns[] = {
    {"database", [](const lease_row& l) { return l.database; }},
    {"user", [](const lease_row& l) { return l.user; }},
    {"server_id", [](const lease_row& l) { return short_id(l.server_id); }},
    {"server_pid", [](const lease_row& l) { return int4{l.server_process_id}; }},
    {"client_id", [](const lease_row& l) { return short_id(l.client_id); }},
    {"application_name", [](const lease_row& l) { return l.application_name; }},
    {"client_addr", [](const lease_row& l) { return l.client_address; }},
    {"client_port", [](const lease_row& l) { return int4{l.client_port}; }},
    {"held", [](const lease_row& l) { return seconds_with_ms(l.held); }},
    {"state", [](const lease_row& l) { return l.state; }},
    {"state_for", [](const lease_row& l) { return seconds_with_ms(l.in_state); }},
    {"query", [](const lease_row& l) { return l.statement; }},
};

using seen_pin = seen<pin_row>;

constexpr column<seen_pin> pin_columns[] = {
    {"database", [](const seen_pin& p) { return p.row.database; }},
    {"user", [](const seen_pin& p) { return p.row.user; }},
    {"application_name", [](const seen_pin& p) { return p.row.application_name; }},
    {"reason", [](const seen_pin& p) { return p.row.reason; }},
    {"pinned", [](const seen_pin& p) { return int4{p.row.pinned_clients}; }},
    {"times", [](const seen_pin& p) { return numeric{p.row.times}; }},
    {"seconds", [](const seen_pin& p) { return seconds_with_ms(p.row.pinned); }},
    {"since", [](const seen_pin& p) { return time_ago(p.now, p.row.since); }},
    {"query", [](const seen_pin& p) { return p.row.statement; }},
};

/// Every one once: each worker counts its own.
std::vector<pin_row> add_up(const std::vector<pin_row>& parts) {
    std::map<std::tuple<std::string, std::string, std::string, std::string, std::string>, pin_row>
        sums;
    for (const auto& part : parts) {
        const auto [at, made] = sums.try_emplace(
            {part.database, part.user, part.application_name, part.reason, part.statement}, part);
        if (!made) {
            auto& sum = at->second;
            sum.pinned_clients += part.pinned_clients;
            sum.times += part.times;
            sum.pinned += part.pinned;
            sum.since = std::min(sum.since, part.since);
        }
    }
    std::vector<pin_row> rows;
    for (auto& [name, sum] : sums) {
        rows.push_back(std::move(sum));
    }
    return rows;
}

constexpr column<pool_row> pool_columns[] = {
    {"database", [](const pool_row& p) { return p.database; }},
    {"user", [](const pool_row& p) { return p.user; }},
    {"cl_active", [](const pool_row& p) { return int4{p.clients_active}; }},
    {"cl_waiting", [](const pool_row& p) { return int4{p.clients_waiting}; }},
    {"cl_active_cancel_req", [](const pool_row& p) { return int4{p.clients_cancelling}; }},
    // Cancels go out at once, on connections of their own: none waits.
    {"cl_waiting_cancel_req", [](const pool_row&) { return int4{0}; }},
    {"sv_active", [](const pool_row& p) { return int4{p.servers_active}; }},
    {"sv_active_cancel", [](const pool_row& p) { return int4{p.servers_cancelling}; }},
    {"sv_being_canceled", [](const pool_row& p) { return int4{p.servers_being_canceled}; }},
    {"sv_idle", [](const pool_row& p) { return int4{p.servers_idle}; }},
    // Idle for so long that PgBouncer would test it first; here an idle server is always listened
    // to, and a broken one is gone before it is needed.
    {"sv_used", [](const pool_row&) { return int4{0}; }},
    {"sv_tested", [](const pool_row& p) { return int4{p.servers_tested}; }},
    {"sv_login", [](const pool_row& p) { return int4{p.servers_login}; }},
    {"maxwait", [](const pool_row& p) { return whole_seconds(p.longest_wait); }},
    {"maxwait_us", [](const pool_row& p) { return rest_in_microseconds(p.longest_wait); }},
    {"pool_mode", [](const pool_row& p) { return name_of(p.mode); }},
    {"load_balance_hosts", [](const pool_row&) { return optional_text(); }},
};

/// Every pool once, by name; also one that no worker has anything of.
std::vector<pool_row> add_up(const std::vector<pool_snapshot>& pools,
                             const std::vector<pool_row>& parts) {
    std::map<std::pair<std::string, std::string>, pool_row> sums;
    const auto sum_for = [&](const std::string& database, const std::string& user,
                             pool::pool_mode mode) -> pool_row& {
        auto [at, made] = sums.try_emplace({database, user});
        if (made) {
            at->second.database = database;
            at->second.user = user;
            at->second.mode = mode;
        }
        return at->second;
    };
    for (const auto& pool : pools) {
        sum_for(pool.database, pool.user, pool.limits.mode);
    }
    constexpr std::uint32_t pool_row::*counts[] = {
        &pool_row::clients_active, &pool_row::clients_waiting,        &pool_row::clients_cancelling,
        &pool_row::servers_active, &pool_row::servers_being_canceled, &pool_row::servers_idle,
        &pool_row::servers_tested, &pool_row::servers_login,          &pool_row::servers_cancelling,
    };
    for (const auto& part : parts) {
        auto& sum = sum_for(part.database, part.user, part.mode);
        for (const auto count : counts) {
            sum.*count += part.*count;
        }
        sum.longest_wait = std::max(sum.longest_wait, part.longest_wait);
    }
    std::vector<pool_row> rows;
    for (auto& [name, sum] : sums) {
        rows.push_back(std::move(sum));
    }
    return rows;
}

} // namespace

void show_clients(console_call call) {
    auto& source = call.source;
    source.collect_clients([call = std::move(call)](std::vector<client_row> rows) {
        call.reply(
            console_answer::table(client_columns, see(std::move(rows), call.source.wall_clock())));
    });
}

void show_servers(console_call call) {
    auto& source = call.source;
    source.collect_servers([call = std::move(call)](std::vector<server_row> rows) {
        call.reply(
            console_answer::table(server_columns, see(std::move(rows), call.source.wall_clock())));
    });
}

void show_leases(console_call call) {
    auto& source = call.source;
    source.collect_leases([call = std::move(call)](std::vector<lease_row> rows) {
        // Who is to blame stands on top.
        std::ranges::stable_sort(rows, std::greater(), &lease_row::held);
        call.reply(console_answer::table(lease_columns, rows));
    });
}

void show_pins(console_call call) {
    auto& source = call.source;
    source.collect_pins([call = std::move(call)](const std::vector<pin_row>& parts) {
        auto rows = add_up(parts);
        // What costs most now stands on top.
        std::ranges::stable_sort(rows, std::greater(), [](const pin_row& row) {
            return std::pair(row.pinned_clients, row.pinned);
        });
        std::vector<seen_pin> shown;
        for (auto& row : rows) {
            shown.push_back({std::move(row), call.source.wall_clock()});
        }
        call.reply(console_answer::table(pin_columns, shown));
    });
}

void show_pools(console_call call) {
    auto& source = call.source;
    source.collect_pools([call = std::move(call)](const std::vector<pool_row>& rows) {
        call.reply(console_answer::table(pool_columns, add_up(call.source.pools(), rows)));
    });
}

} // namespace pgweir::daemon
