#include "daemon/event_loop.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <sys/epoll.h>
#include <unistd.h>

namespace pgweir::daemon {

event_loop::event_loop()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0) {
        throw std::runtime_error(std::string("epoll: ") + std::strerror(errno));
    }
}

event_loop::~event_loop() { ::close(epoll_); }

bool event_loop::add(int fd, event_source& who) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &who;
    return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void event_loop::remove(int fd) { ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr); }

void event_loop::retire(event_source_ptr who) { retired_.push_back(std::move(who)); }

void event_loop::run_soon(event_source& who) {
    if (!who.has_turn_) {
        who.has_turn_ = true;
        turns_.emplace_back(&who);
    }
}

int event_loop::wait_ms() const {
    if (!turns_.empty()) {
        return 0;
    }
    if (deadline_ == pool::time_point::max()) {
        return -1;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - now_);
    constexpr std::int64_t longest = 60'000;
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, longest));
}

void event_loop::take_turns() {
    running_turns_.swap(turns_);
    for (const auto& who : running_turns_) {
        who->has_turn_ = false;
        who->on_turn();
    }
    running_turns_.clear();
}

void event_loop::run(const std::function<void(pool::time_point)>& expired) {
    constexpr int a_crowd = 3;          // fewer gain nothing from waiting for each other
    std::array<epoll_event, 64> events; // … and more would wait for long
    now_ = std::chrono::steady_clock::now();
    while (!stopped_) {
        const int count =
            ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait_ms());
        now_ = std::chrono::steady_clock::now();
        crowded_ = count >= a_crowd;
        for (int i = 0; i < count; ++i) {
            static_cast<event_source*>(events[static_cast<std::size_t>(i)].data.ptr)
                ->on_events(events[static_cast<std::size_t>(i)].events);
        }
        take_turns();
        crowded_ = false;
        take_turns();
        retired_.clear();
        now_ = std::chrono::steady_clock::now();
        if (now_ >= deadline_) {
            expired(now_);
        }
    }
}

} // namespace pgweir::daemon
