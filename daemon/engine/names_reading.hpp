// The answer of a server that was asked what the names of its database hide (names.cpp), and what
// becomes of it. Reading it takes up to half a second (protocol/hidden_effects.hpp), so no worker
// does: the engine hands it over as one job (engine_ports::read_names), and is told when it is
// done. What was read is in database_names by then, for everybody.
//
// The job holds on to the pool entry and refers to nothing of the worker's: a server or client that
// goes meanwhile leaves it undisturbed. Its answer may be old: database_names sees by the
// question's serial and changes what it is still good for.
//
// Owner: whoever runs it: the control plane, the simulator. Thread: any.
// Tests: tests/daemon/names_reading_test.cpp, tests/simulation.
#pragma once

#include "daemon/engine/pool_entry.hpp"
#include "protocol/hidden_effects.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace pgweir::daemon {

/// From when it is put to a server until its answer has been read.
struct names_question {
    enum class step : std::uint8_t {
        asked,      // PostgreSQL has not answered in full
        being_read, // it has; whoever has the server waits for the control plane
    };
    step at = step::asked;
    database_names::question put;
    bool due = false; // by the clock: somebody may have changed what we do not know of
    protocol::hidden_effects_answer answer; // so far
};

struct names_reading {
    std::shared_ptr<pool_entry> entry;
    database_names::question put;
    bool due = false;
    duration interval{}; // config: functions_interval
    protocol::hidden_effects_answer answer;
};

struct names_outcome {
    std::shared_ptr<pool_entry> entry;
    std::uint64_t serial = 0; // of the question
    std::string failure;      // why it cannot be read; empty: it has been, by this or another
    bool again = false;       // … which was not possible before
};

/// The job. Where another answer has told meanwhile what this one was asked for, there is nothing
/// to do.
[[nodiscard]] names_outcome learn_names_from(names_reading what, time_point now);

} // namespace pgweir::daemon
