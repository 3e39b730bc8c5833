#include "daemon/engine/names_reading.hpp"

#include <utility>

namespace pgweir::daemon {

names_outcome learn_names_from(names_reading what, time_point now) {
    names_outcome outcome;
    auto& names = *what.entry->names;
    outcome.serial = what.put.serial;
    if (what.due || !names.answers(what.put)) {
        auto found = protocol::read_hidden_effects(std::move(what.answer));
        outcome.failure = std::move(found.failure);
        outcome.again =
            found.names != nullptr && names.learned(found.names, what.put, now, what.interval);
    }
    outcome.entry = std::move(what.entry);
    return outcome;
}

} // namespace pgweir::daemon
