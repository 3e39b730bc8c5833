// The operator's HTTP: /metrics, /healthz, /readyz and a status page at `/`. GET and HEAD only.
//
// It trusts nobody: header size, time per request, time per answer and the number of connections
// are bounded. When all connections are taken, the one that has been without a request for longest
// makes room, so that connections held open for nothing cannot keep a scrape out.
//
// Owner: main. Thread: the one that runs the io_context given (ops); so are the handlers called.
// Life: until stop() or its destructor, both on that thread or while it is not running.
// Tests: tests/daemon/ops/ops_http_test.cpp.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace pgweir::daemon {

struct ops_http_limits {
    std::size_t connections = 64;
    std::size_t header_bytes = 8 * 1024;
    /// From the first byte awaited to the last of the header: also how long a connection is kept
    /// between two requests. Scrapes come every 15 to 60 s.
    std::chrono::nanoseconds request = std::chrono::seconds(75);
    /// The same before the first request of a connection.
    std::chrono::nanoseconds first_request = std::chrono::seconds(10);
    std::chrono::nanoseconds answer = std::chrono::seconds(30);
};

struct readiness {
    bool ready = false;
    std::string why; // one line, for a person
};

struct ops_http_handlers {
    std::function<std::string()> metrics;
    std::function<bool()> healthy; // no: only a new process helps
    std::function<readiness()> ready;
    std::function<std::string()> status_page;
};

class ops_http {
public:
    ops_http(boost::asio::io_context& io, ops_http_handlers handlers, ops_http_limits limits = {});
    ops_http(const ops_http&) = delete;
    ops_http& operator=(const ops_http&) = delete;
    ~ops_http();

    /// Listens on an IPv4 or IPv6 literal; port 0 is any free one.
    [[nodiscard]] boost::system::error_code listen(const std::string& address, std::uint16_t port);
    /// Takes over a socket that listens already (socket activation), and owns it.
    [[nodiscard]] boost::system::error_code adopt(int listening_socket);
    /// Where it listens; 0 before.
    [[nodiscard]] std::uint16_t port() const;
    /// Stops listening and closes every connection.
    void stop();
    [[nodiscard]] std::size_t connections() const;

private:
    struct state;
    std::shared_ptr<state> state_; // shared with the coroutines, which end a little later
};

} // namespace pgweir::daemon
