// A worker's event loop: epoll, edge-triggered, every socket registered once for its whole life.
//
// Why not Asio's: its read operation tries recv() once more after every successful read, and
// waiting without a buffer costs an epoll_ctl() each time (counted with strace: 6 socket calls a
// transaction where 4 will do). Here a short read is taken as what it is, an empty socket, and the
// next edge is waited for. Everything that is not a client's or server's socket still runs on Asio,
// on the ops thread.
//
// Owner: a worker. Thread: the worker's, but for nothing. Tests: tests/daemon/event_loop_test.cpp.
#pragma once

#include "pool/ids.hpp"

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include <cstdint>
#include <functional>
#include <vector>

namespace pgweir::daemon {

/// Something with a descriptor. Counted without atomics; the loop holds a reference while an event
/// for it may still be in hand.
class event_source
    : public boost::intrusive_ref_counter<event_source, boost::thread_unsafe_counter> {
public:
    virtual ~event_source() = default;
    /// EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR; an edge, reported once.
    virtual void on_events(std::uint32_t events) = 0;
    /// run_soon() was asked for.
    virtual void on_turn() {}

private:
    friend class event_loop;
    bool has_turn_ = false;
};
using event_source_ptr = boost::intrusive_ptr<event_source>;

class event_loop {
public:
    event_loop();
    ~event_loop();
    event_loop(const event_loop&) = delete;
    event_loop& operator=(const event_loop&) = delete;

    /// From now on edges are reported, beginning with the present state. False: no memory or
    /// descriptors.
    [[nodiscard]] bool add(int fd, event_source& who);
    /// Before a descriptor goes elsewhere.
    void remove(int fd);
    /// Before a descriptor is closed: events already in hand must still find their source.
    void retire(event_source_ptr who);
    /// on_turn() is called soon, before the loop waits for events that have not come yet, never
    /// from inside this call.
    void run_soon(event_source& who);

    /// Calls `expired` when this time has come; it must set another.
    void set_deadline(pool::time_point when) { deadline_ = when; }
    [[nodiscard]] pool::time_point deadline() const { return deadline_; }

    /// When the events in hand were reported: their bytes were there then. What others that were
    /// reported with them have cost since belongs to the time they take. Read for each event, the
    /// clock would be looked at four times a transaction.
    [[nodiscard]] pool::time_point now() const { return now_; }

    /// More than a few events have come together. Then their sources read when they are told, do
    /// something with it on a turn of their own, and send on another, when it is no longer
    /// crowded: what each of these steps runs through, most of it the kernel's, is in the
    /// processor's cache for all but the first of them. Those who share the crowd wait some
    /// microseconds for each other.
    [[nodiscard]] bool crowded() const { return crowded_; }

    void run(const std::function<void(pool::time_point)>& expired);
    /// From inside: run() returns after the present events.
    void stop() { stopped_ = true; }

private:
    [[nodiscard]] int wait_ms() const;
    void take_turns();

    int epoll_;
    bool stopped_ = false;
    bool crowded_ = false;
    pool::time_point deadline_ = pool::time_point::max();
    pool::time_point now_ = std::chrono::steady_clock::now();
    std::vector<event_source_ptr> turns_, running_turns_, retired_;
};

} // namespace pgweir::daemon
