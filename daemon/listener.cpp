#include "daemon/listener.hpp"

#include <boost/asio.hpp>

#include <algorithm>
#include <chrono>
#include <fcntl.h>
#include <limits>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace pgweir::daemon {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr auto pause_without_descriptors = std::chrono::milliseconds(100);
constexpr auto silence = std::chrono::minutes(1);
constexpr int backlog = 4096; // a thousand clients may come at once; the kernel caps it

/// The first descriptor that is not for clients. With none left, nobody could be given a server,
/// and /healthz would not answer: the last few are for those.
int end_of_client_descriptors() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur > static_cast<rlim_t>(std::numeric_limits<int>::max())) {
        return std::numeric_limits<int>::max();
    }
    const auto all = static_cast<int>(limit.rlim_cur);
    return all - std::clamp(all / 8, 16, 256);
}

} // namespace

listener::listener(asio::io_context& io, logger& log, std::function<void(int)> take)
    : log_(log)
    , take_(std::move(take))
    , acceptor_(io)
    , pause_(io)
    , end_of_client_descriptors_(daemon::end_of_client_descriptors()) {}

void listener::listen(const std::string& address, std::uint16_t port) {
    const tcp::endpoint where(asio::ip::make_address(address), port);
    try {
        acceptor_.open(where.protocol());
        acceptor_.set_option(asio::socket_base::reuse_address(true));
        if (where.address().is_v6()) {
            acceptor_.set_option(asio::ip::v6_only(true));
        }
        acceptor_.bind(where);
        acceptor_.listen(backlog);
    } catch (const boost::system::system_error& e) {
        throw boost::system::system_error(e.code(),
                                          "listen on " + address + " port " + std::to_string(port));
    }
    accept();
}

void listener::adopt(int fd) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
    acceptor_.assign(address.ss_family == AF_INET6 ? tcp::v6() : tcp::v4(), fd);
    accept();
}

void listener::stop() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
}

std::uint16_t listener::port() const { return acceptor_.local_endpoint().port(); }

std::string listener::name() const {
    const auto where = acceptor_.local_endpoint();
    return where.address().to_string() + ":" + std::to_string(where.port());
}

void listener::accept() {
    acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
        if (error == asio::error::operation_aborted || !acceptor_.is_open()) {
            return;
        }
        if (error == boost::system::errc::connection_aborted) {
            accept(); // that client has changed its mind
            return;
        }
        int fd = -1;
        if (!error) {
            fd = socket.release(error);
        }
        if (error) {
            pause(error.message());
            return;
        }
        const int on = 1;
        (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        take_(fd);
        if (fd >= end_of_client_descriptors_) {
            pause("the last file descriptors are kept for servers");
        } else {
            accept();
        }
    });
}

/// The clients that come now wait in the kernel's backlog.
void listener::pause(const std::string& cause) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= silent_until_) { // clients that come and go at the limit must not flood the log
        silent_until_ = now + silence;
        log_.log(log_severity::error, "cannot accept clients", {{"cause", cause}});
    }
    pause_.expires_after(pause_without_descriptors);
    pause_.async_wait([this](boost::system::error_code stopped) {
        if (stopped || !acceptor_.is_open()) {
            return;
        }
        // The kernel gives the lowest free number.
        const int next = ::fcntl(acceptor_.native_handle(), F_DUPFD_CLOEXEC, 0);
        if (next >= 0) {
            ::close(next);
        }
        if (next < 0 || next >= end_of_client_descriptors_) {
            pause("the last file descriptors are kept for servers");
        } else {
            accept();
        }
    });
}

} // namespace pgweir::daemon
