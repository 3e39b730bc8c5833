// The names by which clients ask for the console instead of a database: pgweir's, and the one that
// tools for PgBouncer know.
#pragma once

#include <string_view>

namespace pgweir::config {

[[nodiscard]] constexpr bool is_console(std::string_view database) {
    return database == "pgbouncer" || database == "pgweir";
}

} // namespace pgweir::config
