// SaltedPassword, derived once: a world has a few passwords and salts, and thousands of logins,
// each of which would cost a millisecond of real time. Owner: everybody; values that never change.
#pragma once

#include "protocol/scram.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

namespace pgweir::simulation {

inline const protocol::secret& salted_password(const protocol::secret& password,
                                               const std::string& salt, std::uint32_t iterations) {
    thread_local std::map<std::tuple<std::string, std::string, std::uint32_t>, protocol::secret>
        known;
    const auto [found, added] =
        known.try_emplace({std::string(password.reveal()), salt, iterations});
    if (added) {
        found->second = protocol::derive_salted_password(password, salt, iterations);
    }
    return found->second;
}

} // namespace pgweir::simulation
