// What the SHOW commands do. Each answers one call; their rows are in console_commands.cpp.
//
// Thread: ops. Tests: tests/daemon/console/show_test.cpp, and the columns in
// tests/golden/console_columns.txt.
#pragma once

#include "daemon/console.hpp"

namespace pgweir::daemon {

// console_show_sessions.cpp: what workers know
void show_clients(console_call call);
void show_servers(console_call call);
void show_leases(console_call call);
void show_pools(console_call call);
void show_pins(console_call call);

// console_show_config.cpp: what is configured
void show_config(console_call call);
void show_databases(console_call call);
void show_users(console_call call);
void show_lists(console_call call);

// console_show_stats.cpp: what is counted
void show_stats(console_call call);
void show_stats_totals(console_call call);
void show_stats_averages(console_call call);
void show_totals(console_call call);

} // namespace pgweir::daemon
