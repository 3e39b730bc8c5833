// Which applications and statements pin, for what reason, how often and for how long: what
// SHOW PINS lists, and what a team reads that wants to be rid of pins.
//
// Owner: an engine. Thread: the worker's. Life: the process; bounded (max_rows), beyond which all
// that is new goes into one row for each pool and reason. Touched when a pin begins and when the
// transaction of a pinned client ends, never otherwise.
// Tests: tests/daemon/pin_log_test.cpp.
#pragma once

#include "daemon/engine/snapshot.hpp"
#include "protocol/session_state.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace pgweir::daemon {

class pin_log {
public:
    static constexpr std::size_t max_rows = 1'000; // some 300 bytes each

    struct key {
        std::string database, user, application_name;
        protocol::pin_reason reason;
        std::string statement; // without its literals
        bool operator<(const key& other) const {
            return std::tie(database, user, application_name, reason, statement) <
                   std::tie(other.database, other.user, other.application_name, other.reason,
                            other.statement);
        }
    };
    struct entry {
        std::uint64_t times = 0;
        std::uint32_t now = 0; // clients that it pins
        pool::duration pinned{};
        pool::time_point since{}; // the latest of them
    };

    /// A pin begins. The entry stays where it is; its owner counts time and end in it.
    [[nodiscard]] entry& begin(key of, pool::time_point now);

    [[nodiscard]] std::vector<pin_row> rows(pool::time_point now) const;

private:
    std::map<key, entry> entries_;
};

} // namespace pgweir::daemon
