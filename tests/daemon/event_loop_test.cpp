// The event loop's rules that the daemon's users cannot see: what time it is, and when turns come.
#include "daemon/event_loop.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using pgweir::daemon::event_loop;
using pgweir::pool::time_point;

/// An eventfd that has been rung.
class rung final : public pgweir::daemon::event_source {
public:
    explicit rung(std::function<void()> when)
        : when_(std::move(when))
        , fd_(::eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC)) {}
    ~rung() override { ::close(fd_); }
    void on_events(std::uint32_t) override { when_(); }
    [[nodiscard]] int fd() const { return fd_; }

private:
    std::function<void()> when_;
    int fd_;
};

/// Until the clock has moved on.
void outlast(time_point when) {
    while (std::chrono::steady_clock::now() <= when) {
        std::this_thread::yield();
    }
}

} // namespace

TEST_CASE("what was reported together happened at one time, and nothing happens before it") {
    event_loop loop;
    std::vector<time_point> times;
    const auto look = [&] {
        times.push_back(loop.now());
        outlast(loop.now()); // however long the first takes
    };
    const boost::intrusive_ptr<rung> one(new rung(look));
    const boost::intrusive_ptr<rung> other(new rung(look));
    const auto began = std::chrono::steady_clock::now();
    REQUIRE(loop.add(one->fd(), *one));
    REQUIRE(loop.add(other->fd(), *other));
    loop.set_deadline(began);
    time_point expired_at;
    loop.run([&](time_point at) {
        expired_at = at;
        loop.stop();
    });
    REQUIRE(times.size() == 2);
    CHECK(times[0] == times[1]);
    CHECK(times[0] >= began);
    CHECK(expired_at > times[1]);
    CHECK(loop.now() == expired_at);
}
