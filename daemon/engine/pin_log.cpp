#include "daemon/engine/pin_log.hpp"

namespace pgweir::daemon {

pin_log::entry& pin_log::begin(key of, pool::time_point now) {
    if (entries_.size() >= max_rows && !entries_.contains(of)) {
        of.application_name.clear();
        of.statement = "(others)";
    }
    auto& found = entries_[std::move(of)];
    ++found.times;
    ++found.now;
    found.since = now;
    return found;
}

std::vector<pin_row> pin_log::rows(pool::time_point now) const {
    std::vector<pin_row> rows;
    rows.reserve(entries_.size());
    for (const auto& [of, what] : entries_) {
        pin_row row;
        row.database = of.database;
        row.user = of.user;
        row.application_name = of.application_name;
        row.reason = protocol::to_string(of.reason);
        row.statement = of.statement;
        row.pinned_clients = what.now;
        row.times = what.times;
        row.pinned = what.pinned;
        row.since = now - what.since;
        rows.push_back(std::move(row));
    }
    return rows;
}

} // namespace pgweir::daemon
