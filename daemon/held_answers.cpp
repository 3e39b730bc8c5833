#include "daemon/held_answers.hpp"

#include <sys/prctl.h>
#include <system_error>
#include <utility>

namespace pgweir::daemon {

void held_answers::put(clock::time_point at, told tell) {
    {
        const std::lock_guard lock(mutex_);
        if (stopped_) {
            return;
        }
        try {
            if (!thread_.joinable()) {
                thread_ = std::thread([this] { tell_all(); });
            }
            const auto entry = waiting_.emplace(at, std::move(tell));
            if (entry == waiting_.begin()) {
                changed_.notify_one();
            }
            return;
        } catch (const std::system_error&) { // no thread to be had: at once, then
        }
    }
    tell();
}

void held_answers::tell_all() {
    // What is held back for half a millisecond is not to be late by a tenth of it.
    ::prctl(PR_SET_TIMERSLACK, 1UL);
    std::unique_lock lock(mutex_);
    while (!stopped_) {
        const auto next = waiting_.begin();
        if (next == waiting_.end()) {
            changed_.wait(lock);
        } else if (const auto at = next->first; at > clock::now()) {
            changed_.wait_until(lock, at);
        } else {
            const auto tell = std::move(next->second);
            waiting_.erase(next);
            lock.unlock();
            tell();
            lock.lock();
        }
    }
}

void held_answers::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        changed_.notify_one();
    }
    if (thread_.joinable()) {
        thread_.join();
    }
}

} // namespace pgweir::daemon
