#include "daemon/verifier_census.hpp"

namespace pgweir::daemon {

namespace {

constexpr std::size_t most_seen = 100'000; // more would tell nothing new

} // namespace

void verifier_census::use(const std::vector<config::user>& users) {
    shapes found;
    for (const auto& each : users) {
        if (const auto shape = protocol::shape_of_verifier(each.password.reveal())) {
            ++found[*shape];
        }
    }
    const std::lock_guard lock(mutex_);
    configured_ = std::move(found);
    choose();
}

void verifier_census::see(const std::string& user, std::string_view stored) {
    const auto shape = protocol::shape_of_verifier(stored);
    const std::lock_guard lock(mutex_);
    const auto known = seen_.find(user);
    if (known != seen_.end() ? shape == known->second : !shape || seen_.size() >= most_seen) {
        return;
    }
    if (known != seen_.end()) {
        const auto at = looked_up_.find(known->second);
        if (--at->second == 0) {
            looked_up_.erase(at);
        }
        seen_.erase(known);
    }
    if (shape) {
        seen_.emplace(user, *shape);
        ++looked_up_[*shape];
    }
    choose();
}

protocol::scram_shape verifier_census::commonest() const {
    return commonest_.load(std::memory_order_relaxed);
}

/// With the mutex held. Of two that are as common, the one that takes more iterations: it is the
/// newer one.
void verifier_census::choose() {
    auto all = configured_;
    for (const auto& [shape, users] : looked_up_) {
        all[shape] += users;
    }
    protocol::scram_shape best;
    std::size_t most = 0;
    for (const auto& [shape, users] : all) {
        if (users >= most) {
            most = users;
            best = shape;
        }
    }
    commonest_.store(best, std::memory_order_relaxed);
}

} // namespace pgweir::daemon
