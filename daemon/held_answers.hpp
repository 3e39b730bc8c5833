// Answers that are there, and are given at a time to come: on a thread that sleeps until then,
// begun with the first. Owner: auth_query. Thread: any may put one in; they are told on that
// thread. Tests: tests/daemon/look_up_times_test.cpp.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace pgweir::daemon {

class held_answers {
public:
    using clock = std::chrono::steady_clock;
    using told = std::function<void()>;

    held_answers() = default;
    ~held_answers() { stop(); }
    held_answers(const held_answers&) = delete;
    held_answers& operator=(const held_answers&) = delete;

    void put(clock::time_point at, told tell);
    /// Nobody is told anything after this. Waits for none whose time has not come.
    void stop();

private:
    void tell_all();

    std::mutex mutex_; // of what follows
    std::condition_variable changed_;
    std::multimap<clock::time_point, told> waiting_;
    bool stopped_ = false;
    std::thread thread_;
};

} // namespace pgweir::daemon
