// The HTTP server over loopback, with a blocking client written in plain sockets: it must be able
// to misbehave. Port 0; no sleeps, time-outs are waited for as ends of file.
#include "daemon/ops_http.hpp"

#include <doctest/doctest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <ctime>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace pgweir::daemon;
using namespace std::chrono_literals;

namespace {

/// The server on a thread of its own, as in the daemon.
class running_server {
public:
    explicit running_server(ops_http_limits limits = {})
        : work_(io_.get_executor()) {
        ops_http_handlers handlers;
        handlers.metrics = [this] {
            if (metrics_fail) {
                throw std::runtime_error("no figures");
            }
            return std::string(metrics_bytes, 'm');
        };
        handlers.healthy = [this] { return healthy.load(); };
        handlers.ready = [this] {
            return ready ? readiness{true, "ready"}
                         : readiness{false, "fitness_club: connection refused"};
        };
        handlers.status_page = [] { return std::string("<p>page</p>"); };
        server_.emplace(io_, std::move(handlers), limits);
        REQUIRE_FALSE(server_->listen("127.0.0.1", 0));
        port = server_->port();
        REQUIRE(port != 0);
        thread_ = std::thread([this] { io_.run(); });
    }
    ~running_server() {
        boost::asio::post(io_, [this] { server_.reset(); });
        work_.reset();
        thread_.join();
    }
    [[nodiscard]] std::size_t connections() {
        std::promise<std::size_t> answer;
        boost::asio::post(io_, [&] { answer.set_value(server_->connections()); });
        return answer.get_future().get();
    }

    std::atomic<bool> ready{true}, healthy{true};
    std::atomic<bool> metrics_fail{false};
    std::atomic<std::size_t> metrics_bytes{10};
    std::uint16_t port = 0;

private:
    boost::asio::io_context io_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    std::optional<ops_http> server_;
    std::thread thread_;
};

class client {
public:
    explicit client(const running_server& server, int receive_bytes = 0)
        : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        if (receive_bytes > 0) {
            ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
        }
        sockaddr_in where{};
        where.sin_family = AF_INET;
        where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        where.sin_port = htons(server.port);
        REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&where), sizeof(where)) == 0);
    }
    client(const client&) = delete;
    ~client() { ::close(fd_); }

    bool send(const std::string& text) const {
        return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(text.size());
    }
    /// One piece of what comes; empty at the end of the connection.
    std::string receive() const {
        pollfd ready{fd_, POLLIN, 0};
        REQUIRE(::poll(&ready, 1, 20'000) == 1); // the test's own emergency brake
        char piece[65536];
        const auto n = ::recv(fd_, piece, sizeof(piece), 0);
        return n > 0 ? std::string(piece, static_cast<std::size_t>(n)) : std::string();
    }
    std::string receive_to_end() const {
        std::string all;
        for (std::string piece; !(piece = receive()).empty();) {
            all += piece;
        }
        return all;
    }
    /// One answer with a Content-Length; `body` false for HEAD.
    std::string receive_answer(bool body = true) const {
        std::string all;
        for (;;) {
            const auto end = all.find("\r\n\r\n");
            if (end != std::string::npos) {
                const auto field = all.find("Content-Length: ");
                REQUIRE(field < end);
                const auto length = std::stoul(all.substr(field + 16));
                if (all.size() >= end + 4 + (body ? length : 0)) {
                    return all;
                }
            }
            const auto piece = receive();
            REQUIRE_FALSE(piece.empty());
            all += piece;
        }
    }

private:
    int fd_;
};

std::string ask(const running_server& server, const std::string& target,
                const std::string& method = "GET") {
    const client peer(server);
    peer.send(method + " " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return peer.receive_to_end();
}

bool starts(const std::string& text, const std::string& with) { return text.starts_with(with); }

} // namespace

TEST_CASE("the four pages") {
    running_server server;
    const auto metrics = ask(server, "/metrics");
    CHECK(starts(metrics, "HTTP/1.1 200 OK\r\n"));
    CHECK(metrics.find("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n") !=
          std::string::npos);
    CHECK(metrics.ends_with("\r\n\r\nmmmmmmmmmm"));
    CHECK(ask(server, "/metrics?name[]=x").ends_with("mmmmmmmmmm"));
    CHECK(ask(server, "/healthz").ends_with("\r\n\r\nok\n"));
    const auto page = ask(server, "/");
    CHECK(page.find("Content-Type: text/html") != std::string::npos);
    CHECK(page.find("Content-Security-Policy: default-src 'none'") != std::string::npos);
    CHECK(page.ends_with("<p>page</p>"));

    CHECK(starts(ask(server, "/readyz"), "HTTP/1.1 200 OK\r\n"));
    server.ready = false;
    const auto unready = ask(server, "/readyz");
    CHECK(starts(unready, "HTTP/1.1 503 Service Unavailable\r\n"));
    CHECK(unready.ends_with("fitness_club: connection refused\n"));
    CHECK(starts(ask(server, "/healthz"), "HTTP/1.1 200 OK\r\n")); // all along
    server.healthy = false;
    const auto hung = ask(server, "/healthz");
    CHECK(starts(hung, "HTTP/1.1 503 Service Unavailable\r\n"));
    CHECK(hung.ends_with("a worker has hung\n"));
}

TEST_CASE("what is not offered is refused") {
    running_server server;
    CHECK(starts(ask(server, "/nothing"), "HTTP/1.1 404 Not Found\r\n"));
    CHECK(starts(ask(server, "*"), "HTTP/1.1 404 "));
    for (const auto* method : {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH"}) {
        CAPTURE(method);
        const auto answer = ask(server, "/metrics", method);
        CHECK(starts(answer, "HTTP/1.1 405 Method Not Allowed\r\n"));
        CHECK(answer.find("Allow: GET, HEAD\r\n") != std::string::npos);
    }
    server.metrics_fail = true;
    CHECK(starts(ask(server, "/metrics"), "HTTP/1.1 500 Internal Server Error\r\n"));
    server.metrics_fail = false;
    CHECK(starts(ask(server, "/metrics"), "HTTP/1.1 200 OK\r\n"));
}

TEST_CASE("HEAD answers as GET does, without the body") {
    running_server server;
    const client peer(server);
    peer.send("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto head = peer.receive_answer(false);
    CHECK(head.find("Content-Length: 10\r\n") != std::string::npos);
    CHECK(head.ends_with("\r\n\r\n"));
    peer.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(peer.receive_answer().ends_with("ok\n"));
}

TEST_CASE("a connection serves many requests, pipelined ones too") {
    running_server server;
    const client peer(server);
    for (int i = 0; i < 5; ++i) {
        peer.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        CHECK(peer.receive_answer().ends_with("ok\n"));
    }
    std::string many;
    for (int i = 0; i < 20; ++i) {
        many += "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    }
    many += "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    peer.send(many);
    const auto answers = peer.receive_to_end();
    std::size_t found = 0;
    for (auto at = answers.find("200 OK"); at != std::string::npos;
         at = answers.find("200 OK", at + 1)) {
        ++found;
    }
    CHECK(found == 21);
    CHECK(starts(ask(server, "/healthz"), "HTTP/1.1 200 OK\r\n"));
}

TEST_CASE("an empty body is no body") {
    running_server server;
    const client peer(server);
    peer.send("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    CHECK(peer.receive_answer().ends_with("ok\n"));
    peer.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(peer.receive_answer().ends_with("ok\n"));
}

TEST_CASE("HTTP/1.0 clients are closed after the answer") {
    running_server server;
    const client peer(server);
    peer.send("GET /healthz HTTP/1.0\r\n\r\n");
    CHECK(peer.receive_to_end().ends_with("ok\n"));
}

TEST_CASE("bad input gets an error and an end, and nobody else notices") {
    running_server server;
    struct {
        std::string bytes, answer;
    } const rows[] = {
        {"\x16\x03\x01\x02\x01 not HTTP at all\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/9.9\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET /" + std::string(20'000, 'x') + " HTTP/1.1\r\n\r\n",
         "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
        {"GET / HTTP/1.1\r\nA: " + std::string(20'000, 'x') + "\r\n\r\n",
         "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
        {"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
         "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 413 Payload Too Large\r\n"},
        {"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
         "HTTP/1.1 413 Payload Too Large\r\n"},
        {"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + std::string(100'000, 'x'),
         "HTTP/1.1 405 Method Not Allowed\r\n"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.bytes.substr(0, 40));
        const client peer(server);
        peer.send(row.bytes);
        CHECK(starts(peer.receive_to_end(), row.answer));
        CHECK(starts(ask(server, "/healthz"), "HTTP/1.1 200 OK\r\n"));
    }
}

TEST_CASE("a request cut off at any byte ends that connection only") {
    running_server server;
    const std::string request = "GET /healthz HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
    for (std::size_t length = 0; length < request.size(); ++length) {
        const client peer(server);
        peer.send(request.substr(0, length));
    }
    for (std::size_t split = 1; split < request.size(); ++split) {
        const client peer(server);
        peer.send(request.substr(0, split));
        peer.send(request.substr(split));
        CHECK(peer.receive_answer().ends_with("ok\n"));
    }
    while (server.connections() > 0) {
        std::this_thread::yield();
    }
}

TEST_CASE("a peer that sends nothing, or a byte now and then, is let go") {
    ops_http_limits limits;
    limits.first_request = 50ms;
    limits.request = 50ms;
    running_server server(limits);
    const client silent(server);
    const client slow(server);
    const client between(server);
    between.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(between.receive_answer().ends_with("ok\n"));
    while (slow.send("G")) { // the deadline is for the whole request, not for one read
        std::this_thread::yield();
    }
    CHECK(silent.receive().empty());
    CHECK(between.receive().empty());
    CHECK(starts(ask(server, "/healthz"), "HTTP/1.1 200 OK\r\n"));
}

TEST_CASE("a peer that does not read its answer is let go") {
    ops_http_limits limits;
    limits.answer = 50ms;
    running_server server(limits);
    server.metrics_bytes = 32UL * 1024 * 1024;
    const client stuck(server, 4096);
    stuck.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    while (server.connections() == 0) {
        std::this_thread::yield();
    }
    while (server.connections() > 0) {
        std::this_thread::yield();
    }
    server.metrics_bytes = 1;
    CHECK(starts(ask(server, "/metrics"), "HTTP/1.1 200 OK\r\n"));
}

TEST_CASE("connections held open for nothing do not keep a scrape out") {
    ops_http_limits limits;
    limits.connections = 8;
    running_server server(limits);
    std::vector<std::unique_ptr<client>> idle;
    for (int i = 0; i < 50; ++i) {
        idle.push_back(std::make_unique<client>(server));
        idle.back()->send("GET /");
    }
    for (int i = 0; i < 20; ++i) {
        CHECK(starts(ask(server, "/metrics"), "HTTP/1.1 200 OK\r\n"));
    }
    CHECK(server.connections() <= 8);
    CHECK(idle.front()->receive().empty()); // made room
}

TEST_CASE("out of descriptors it waits, without spinning, and goes on when there are some") {
    running_server server;
    CHECK(starts(ask(server, "/healthz"), "HTTP/1.1 200 OK\r\n")); // all it opens lazily is open
    while (server.connections() > 0) {
        std::this_thread::yield();
    }
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int next = ::dup(0);
    REQUIRE(next >= 0);
    ::close(next);
    auto tight = before;
    tight.rlim_cur = static_cast<rlim_t>(next) + 1; // one left, which the client takes
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
    {
        const client peer(server);
        peer.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        // Long enough for a spinning loop to be seen in the process' CPU time.
        pollfd nothing{-1, 0, 0};
        const auto cpu = std::clock();
        ::poll(&nothing, 1, 120);
        CHECK(std::clock() - cpu < CLOCKS_PER_SEC * 6 / 100);
        CHECK(server.connections() == 0);
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
        CHECK(peer.receive_answer().ends_with("ok\n"));
    }
}

TEST_CASE("an address that cannot be had is an error, not an end") {
    boost::asio::io_context io;
    ops_http_handlers handlers;
    ops_http first(io, handlers);
    REQUIRE_FALSE(first.listen("127.0.0.1", 0));
    ops_http second(io, handlers);
    CHECK(second.listen("127.0.0.1", first.port()));
    CHECK(second.port() == 0);
    CHECK(second.listen("not an address", 0));
    CHECK_FALSE(second.listen("::1", 0));
}

TEST_CASE("a socket that listens already is taken over") {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&where), sizeof(where)) == 0);
    REQUIRE(::listen(fd, 8) == 0);
    boost::asio::io_context io;
    ops_http server(io, {});
    REQUIRE_FALSE(server.adopt(fd));
    CHECK(server.port() != 0);
    CHECK(server.adopt(-1));
}
