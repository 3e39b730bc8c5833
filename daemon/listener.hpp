// Accepts clients and gives each to the least loaded worker. When descriptors run out it waits a
// moment and goes on; it never spins and never gives up. The last few are not for clients.
//
// Owner: the service. Thread: the ops thread's loop. Tests: integration/hostile_test.py,
// integration/unix_socket_test.py.
#pragma once

#include "daemon/logging.hpp"
#include "daemon/socket_lock.hpp"

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace pgweir::daemon {

class listener {
public:
    /// `take` owns the descriptor it is given.
    listener(boost::asio::io_context& io, logger& log, std::function<void(int fd)> take);

    /// On an address, or on a Unix socket in a directory (an absolute path), which anybody may
    /// connect to. Throws boost::system::system_error with the address in its text.
    void listen(const std::string& address, std::uint16_t port);
    /// A socket that listens already (socket activation).
    void adopt(int fd);
    void stop();
    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] const std::string& name() const { return name_; }

private:
    void accept();
    void pause(const std::string& cause);

    logger& log_;
    std::function<void(int)> take_;
    void open_unix(const std::string& path);
    void learn_name();

    boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol> acceptor_;
    std::string unix_path_; // of its own socket, which goes with it
    socket_lock unix_lock_;
    std::uint16_t port_ = 0;
    std::string name_;
    boost::asio::steady_timer pause_;
    int end_of_client_descriptors_;
    std::chrono::steady_clock::time_point silent_until_{};
};

} // namespace pgweir::daemon
