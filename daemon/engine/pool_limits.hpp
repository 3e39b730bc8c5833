// The configuration of a pool as pool/ wants it: bounds, times, and what becomes of each kind of
// state.
#pragma once

#include "config/configuration.hpp"
#include "pool/limits.hpp"

#include <string_view>

namespace pgweir::daemon {

/// The numbers that a pool of this database and user runs by.
[[nodiscard]] pool::limits pool_limits(const config::configuration& config,
                                       std::string_view database, std::string_view user);
/// … and the one for replication connections beside it.
[[nodiscard]] pool::limits replication_limits(const config::configuration& config,
                                              std::string_view database, std::string_view user);
/// … and the one for the listening connection: one server, for ever.
[[nodiscard]] pool::limits listening_limits(const config::configuration& config,
                                            std::string_view database, std::string_view user);

} // namespace pgweir::daemon
