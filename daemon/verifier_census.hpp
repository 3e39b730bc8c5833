// What most users' SCRAM verifiers look like: their number of iterations and the length of their
// salt, which anybody sees who asks. Users that do not exist are shown the same.
//
// Those of the configuration are counted, and those that have been looked up, each user once.
// Nobody but a user who exists adds to it, so strangers can neither fill nor sway it.
//
// Owner: the service. Thread: any; commonest() takes no lock.
// Tests: tests/daemon/verifier_census_test.cpp, integration/enumeration_test.py.
#pragma once

#include "config/configuration.hpp"
#include "protocol/scram.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pgweir::daemon {

class verifier_census {
public:
    /// These are the configuration's from now on.
    void use(const std::vector<config::user>& users);
    /// PostgreSQL keeps this of `user`, who has been looked up.
    void see(const std::string& user, std::string_view stored);
    [[nodiscard]] protocol::scram_shape commonest() const;

private:
    using shapes = std::map<protocol::scram_shape, std::size_t>;

    void choose();

    std::mutex mutex_; // of what follows, but for the last
    shapes configured_, looked_up_;
    std::unordered_map<std::string, protocol::scram_shape> seen_;
    std::atomic<protocol::scram_shape> commonest_{protocol::scram_shape{}};
    static_assert(decltype(commonest_)::is_always_lock_free);
};

} // namespace pgweir::daemon
