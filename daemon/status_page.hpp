// The page at `/`: a look at the pools for somebody who has a browser and no dashboard. Plain HTML,
// no script; every name in it is escaped, for clients choose names.
//
// Pure but for the process' own figures. Thread: ops. Tests: tests/daemon/ops/status_page_test.cpp.
#pragma once

#include "daemon/ops_snapshot.hpp"

#include <string>

namespace pgweir::daemon {

[[nodiscard]] std::string status_page(const std::vector<pool_snapshot>& pools,
                                      const process_snapshot& process);

/// `text` for use inside an HTML element or a quoted attribute.
[[nodiscard]] std::string escape_html(std::string_view text);

} // namespace pgweir::daemon
