// A made-up network: connections with delays, segmentation, bounded buffers, ends of file and
// resets, all drawn from the seed. The engine's side of a connection implements
// daemon::connection; the fakes use their socket_end directly.
//
// It behaves as TCP on Linux does where that matters: bytes arrive in order, what has arrived can
// be read before a reset is noticed, closing with unread bytes resets, and so does sending to a
// closed end.
#pragma once

#include "daemon/engine/ports.hpp"
#include "tests/simulation/world.hpp"

#include <array>
#include <memory>
#include <string>
#include <string_view>

namespace pgweir::simulation {

/// What the network is like in this simulation.
struct weather {
    duration min_delay = microseconds(20);
    duration max_delay = microseconds(200);
    unsigned spike_percent = 0; // of all deliveries: delayed by up to max_spike
    duration max_spike = seconds(1);
    unsigned split_percent = 10;           // of all sends: arrive in several pieces
    std::size_t max_part_bytes = SIZE_MAX; // … of at most so many bytes
    unsigned short_percent = 5;            // of all sends and reads: do less than they could
    unsigned later_percent = 10;           // of all sends of the engine: wait for others
    std::size_t min_buffer_bytes = 4'096;
    std::size_t max_buffer_bytes = 65'536;
};

/// Told when something may be read or sent. Implemented by whoever uses a socket_end.
class socket_user {
public:
    virtual void on_arrival() = 0; // bytes, an end of file or a reset
    virtual void on_room() = 0;    // wait_room() has ended

protected:
    ~socket_user() = default;
};

struct link;

/// One end of a connection.
class socket_end {
public:
    void set_user(socket_user* who) { user_ = who; }
    /// How much was taken. Less than all: no room (or a short send); broken(): nothing.
    std::size_t send(std::string_view what);
    void wait_room();
    [[nodiscard]] bool broken() const { return reset_ || closed_; }
    [[nodiscard]] std::string_view readable() const {
        return std::string_view(inbox_).substr(0, arrived_);
    }
    /// Nothing more will come.
    [[nodiscard]] bool at_end() const { return arrived_ == 0 && (fin_ || reset_); }
    [[nodiscard]] bool was_reset() const { return reset_; }
    void take(std::size_t count);
    /// Ends the sending direction.
    void finish();
    void close();
    /// A reset from nowhere: both ends lose the connection.
    void cut();
    /// on_arrival() soon, whatever happens.
    void poke();
    [[nodiscard]] std::size_t short_count(std::size_t count);
    [[nodiscard]] bool sends_later();
    [[nodiscard]] bool closed() const { return closed_; }
    /// The other end has read everything that was sent to it.
    [[nodiscard]] bool all_read() const { return peer_->inbox_.empty(); }

private:
    friend class network;
    friend struct link;

    void deliver(std::size_t count);
    void reset_peer();
    void reset_arrives();
    [[nodiscard]] time_point next_arrival(); // at this end, after everything before it
    [[nodiscard]] duration delay();
    [[nodiscard]] world& shared() const;

    link* home_ = nullptr;
    socket_end* peer_ = nullptr;
    socket_user* user_ = nullptr;
    std::string inbox_;       // on its way here, or here and not read
    std::size_t arrived_ = 0; // of them: here
    std::size_t capacity_ = 0;
    time_point last_arrival_{};
    bool fin_ = false;
    bool reset_ = false;
    bool closed_ = false;
    bool finished_ = false;
    bool wants_room_ = false;
};

struct link : std::enable_shared_from_this<link> {
    link(world& shared_, const weather& conditions_)
        : shared(shared_)
        , conditions(conditions_) {}
    world& shared;
    const weather& conditions;
    std::array<socket_end, 2> ends;
};

class network {
public:
    explicit network(world& shared)
        : shared_(shared) {}

    weather conditions;

    using end_ptr = std::shared_ptr<socket_end>;
    /// Two ends of a new connection.
    std::array<end_ptr, 2> connect();

private:
    world& shared_;
};

/// The engine's side of a connection.
class engine_socket final : public daemon::connection, socket_user {
public:
    /// One that is there. Counts itself in `open_sockets` while it lives.
    engine_socket(world& shared, network::end_ptr end, std::size_t& open_sockets);
    ~engine_socket();

    void set_events(daemon::connection_events* who) override { events_ = who; }
    send_result send(std::span<const protocol::bytes> pieces) override;
    void read(std::span<std::byte> into) override;
    void wait_readable() override;
    void wait_writable() override;
    bool sends_later() override;
    void secure(const daemon::tls_start&) override {
        shared_.violation("TLS, which nobody here speaks");
    }
    void shutdown_send() override;
    std::unique_ptr<daemon::detached_connection> detach() override;
    [[nodiscard]] addresses names() const override {
        return {.peer = "10.0.0.1",
                .peer_port = 4'000,
                .local = "10.0.0.2",
                .local_port = 6'432,
                .peer_ip = config::read_address("10.0.0.1")};
    }

    /// connect() has ended.
    void connected(network::end_ptr end, boost::system::error_code error);
    /// Shared with the attempt to connect: nothing when this socket is gone.
    std::shared_ptr<engine_socket*> self;
    bool to_server = false; // a server connection, or a cancel request

private:
    void on_arrival() override;
    void on_room() override;

    enum class asked : std::uint8_t { nothing, bytes, readiness };
    world& shared_;
    network::end_ptr end_;
    std::size_t& open_sockets_;
    daemon::connection_events* events_ = nullptr;
    std::span<std::byte> into_;
    asked asked_ = asked::nothing;
    bool waits_writable_ = false;
    bool end_faked_ = false; // planted bugs only
};

/// The socket inside what engine_socket::detach() gave.
[[nodiscard]] network::end_ptr take_end(daemon::detached_connection& from);

} // namespace pgweir::simulation
