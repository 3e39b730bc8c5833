// What makes one text mean one thing: the settings that PostgreSQL reads it under. Two clients
// share a prepared statement only where these are the same.
//
// Pure. Tests: tests/protocol/reading_context_test.cpp, integration/prepared_test.py.
#pragma once

#include "protocol/setting_replay.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgweir::protocol {

struct reading_context {
    std::string key;
    /// Nobody else's statement is the same, not even where it says the same.
    bool of_one_client = false;
};

/// Does the meaning of any text depend on this setting? Not on what is only a limit or a label, nor
/// on those of applications and extensions, which have a dot in their names. In any case.
[[nodiscard]] bool matters_to_reading(std::string_view setting);

/// The part of `settings` that makes a difference to what a text means.
[[nodiscard]] reading_context context_of(const setting_map& settings);
/// Where what is set is not known: in a transaction that has set something for itself (SET LOCAL,
/// set_config(…, true)), or before PostgreSQL has been asked. It is this client's statement of this
/// name. `client`: tells clients of all workers apart.
[[nodiscard]] reading_context context_of(std::uint64_t client, std::string_view name);

} // namespace pgweir::protocol
