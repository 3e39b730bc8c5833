// How many connections have not logged in yet, in all and from each address: there are bounds, so
// that nobody who has proven nothing keeps the others out. Behind a load balancer an address is not
// known before the PROXY protocol's header has come: until then such a connection counts in all
// alone, since all of the balancer's clients would share what one of them can fill.
//
// Owner: the service. Thread: any. Tests: tests/daemon/login_places_test.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>

namespace pgweir::daemon {

class login_places {
public:
    /// False: there is no room for one more from there. An empty address: not known yet.
    [[nodiscard]] bool enter(const std::string& address, std::size_t most_in_all,
                             std::size_t most_from_one) {
        const std::lock_guard lock(mutex_);
        if (in_all_ >= most_in_all || !count(address, most_from_one)) {
            return false;
        }
        ++in_all_;
        return true;
    }
    /// One that has entered with no address has one now. False: there is no room for it there, and
    /// it counts as before.
    [[nodiscard]] bool learn(const std::string& address, std::size_t most_from_one) {
        const std::lock_guard lock(mutex_);
        return count(address, most_from_one);
    }
    /// With the address that it counts for.
    void leave(const std::string& address) {
        const std::lock_guard lock(mutex_);
        if (!address.empty()) {
            const auto at = by_address_.find(address);
            if (at == by_address_.end()) {
                return;
            }
            if (--at->second == 0) {
                by_address_.erase(at);
            }
        }
        --in_all_;
    }
    [[nodiscard]] std::size_t in_all() const {
        const std::lock_guard lock(mutex_);
        return in_all_;
    }
    /// Somebody has been refused: is that to be told? Once a minute.
    [[nodiscard]] bool is_news(std::chrono::steady_clock::time_point now) {
        const std::lock_guard lock(mutex_);
        if (now < told_until_) {
            return false;
        }
        told_until_ = now + std::chrono::minutes(1);
        return true;
    }

private:
    bool count(const std::string& address, std::size_t most_from_one) {
        if (address.empty()) {
            return true;
        }
        auto& here = by_address_[address]; // none is kept at 0: most is at least 1
        if (here >= most_from_one) {
            return false;
        }
        ++here;
        return true;
    }

    mutable std::mutex mutex_;
    std::map<std::string, std::size_t> by_address_; // of those that are known
    std::size_t in_all_ = 0;
    std::chrono::steady_clock::time_point told_until_{};
};

} // namespace pgweir::daemon
