// SHOW STATS, STATS_TOTALS, STATS_AVERAGES, TOTALS: what was counted, in all and per second.
#include "daemon/console_result.hpp"
#include "daemon/console_show.hpp"

namespace pgweir::daemon {

namespace {

std::string database(const stats_row& row) { return row.database; }
template <measure which>
numeric total(const stats_row& row) {
    return {row.total[which]};
}
template <measure which>
numeric average(const stats_row& row) {
    return {row.average[which]};
}

using enum measure;

constexpr column<stats_row> stats_columns[] = {
    {"database", database},
    {"total_server_assignment_count", total<assignments>},
    {"total_xact_count", total<transactions>},
    {"total_query_count", total<queries>},
    {"total_received", total<received>},
    {"total_sent", total<sent>},
    {"total_xact_time", total<transaction_time>},
    {"total_query_time", total<query_time>},
    {"total_wait_time", total<wait_time>},
    {"total_client_parse_count", total<client_parses>},
    {"total_server_parse_count", total<server_parses>},
    {"total_bind_count", total<binds>},
    {"avg_server_assignment_count", average<assignments>},
    {"avg_xact_count", average<transactions>},
    {"avg_query_count", average<queries>},
    {"avg_recv", average<received>},
    {"avg_sent", average<sent>},
    {"avg_xact_time", average<transaction_time>},
    {"avg_query_time", average<query_time>},
    {"avg_wait_time", average<wait_time>},
    {"avg_client_parse_count", average<client_parses>},
    {"avg_server_parse_count", average<server_parses>},
    {"avg_bind_count", average<binds>},
};

constexpr column<stats_row> total_columns[] = {
    {"database", database},
    {"server_assignment_count", total<assignments>},
    {"xact_count", total<transactions>},
    {"query_count", total<queries>},
    {"bytes_received", total<received>},
    {"bytes_sent", total<sent>},
    {"xact_time", total<transaction_time>},
    {"query_time", total<query_time>},
    {"wait_time", total<wait_time>},
    {"client_parse_count", total<client_parses>},
    {"server_parse_count", total<server_parses>},
    {"bind_count", total<binds>},
};

// Named as PgBouncer names them, three with a prefix and the others without.
constexpr column<stats_row> average_columns[] = {
    {"database", database},
    {"server_assignment_count", average<assignments>},
    {"xact_count", average<transactions>},
    {"query_count", average<queries>},
    {"bytes_received", average<received>},
    {"bytes_sent", average<sent>},
    {"xact_time", average<transaction_time>},
    {"query_time", average<query_time>},
    {"wait_time", average<wait_time>},
    {"avg_client_parse_count", average<client_parses>},
    {"avg_server_parse_count", average<server_parses>},
    {"avg_bind_count", average<binds>},
};

/// The rows of SHOW TOTALS, in its order: of these first the totals, then the averages.
constexpr struct {
    std::string_view name;
    measure which;
} totals_rows[] = {
    {"server_assignment_count", assignments},
    {"xact_count", transactions},
    {"query_count", queries},
    {"client_bytes", received},
    {"server_bytes", sent},
    {"xact_time", transaction_time},
    {"query_time", query_time},
    {"wait_time", wait_time},
    {"ps_client_parse_count", client_parses},
    {"ps_server_parse_count", server_parses},
    {"ps_bind_count", binds},
};
static_assert(std::size(totals_rows) == measures);

struct named_number {
    std::string name;
    std::uint64_t value;
};

constexpr column<named_number> totals_columns[] = {
    {"name", [](const named_number& row) { return row.name; }},
    {"value", [](const named_number& row) { return numeric{row.value}; }},
};

std::vector<stats_row> rows_of(const console_call& call) {
    return call.history.rows(call.source.now(), totals_of(call.source.pools()));
}

} // namespace

void show_stats(console_call call) {
    call.reply(console_answer::table(stats_columns, rows_of(call)));
}

void show_stats_totals(console_call call) {
    call.reply(console_answer::table(total_columns, rows_of(call)));
}

void show_stats_averages(console_call call) {
    call.reply(console_answer::table(average_columns, rows_of(call)));
}

void show_totals(console_call call) {
    const auto sum = call.history.sum(call.source.now(), totals_of(call.source.pools()));
    std::vector<named_number> rows;
    for (const auto& row : totals_rows) {
        rows.push_back({"total_" + std::string(row.name), sum.total[row.which]});
    }
    for (const auto& row : totals_rows) {
        rows.push_back({"avg_" + std::string(row.name), sum.average[row.which]});
    }
    call.reply(console_answer::table(totals_columns, rows));
}

} // namespace pgweir::daemon
