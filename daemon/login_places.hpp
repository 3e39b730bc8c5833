// How many connections have not logged in yet, in all and from each address: there are bounds, so
// that nobody who has proven nothing keeps the others out.
//
// Owner: the service. Thread: any. Tests: tests/daemon/login_places_test.cpp.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <string>

namespace pgweir::daemon {

class login_places {
public:
    /// False: there is no room for one more from there.
    [[nodiscard]] bool enter(const std::string& address, std::size_t most_in_all,
                             std::size_t most_from_one) {
        const std::lock_guard lock(mutex_);
        auto& here = by_address_[address];
        if (in_all_ >= most_in_all || here >= most_from_one) {
            if (here == 0) {
                by_address_.erase(address);
            }
            return false;
        }
        ++here;
        ++in_all_;
        return true;
    }
    void leave(const std::string& address) {
        const std::lock_guard lock(mutex_);
        const auto at = by_address_.find(address);
        if (at == by_address_.end()) {
            return;
        }
        --in_all_;
        if (--at->second == 0) {
            by_address_.erase(at);
        }
    }
    [[nodiscard]] std::size_t in_all() const {
        const std::lock_guard lock(mutex_);
        return in_all_;
    }

private:
    mutable std::mutex mutex_;
    std::map<std::string, std::size_t> by_address_;
    std::size_t in_all_ = 0;
};

} // namespace pgweir::daemon
