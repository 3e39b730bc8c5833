#include "daemon/listener.hpp"

#include <boost/asio.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdexcept>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
    try {
        if (address.starts_with('/')) {
            open_unix(address + "/.s.PGSQL." + std::to_string(port));
        } else {
            const tcp::endpoint where(asio::ip::make_address(address), port);
            acceptor_.open(where.protocol());
            acceptor_.set_option(asio::socket_base::reuse_address(true));
            if (where.address().is_v6()) {
                acceptor_.set_option(asio::ip::v6_only(true));
            }
            acceptor_.bind(where);
        }
        acceptor_.listen(backlog);
    } catch (const boost::system::system_error& e) {
        throw std::runtime_error("listen on " + address + " port " + std::to_string(port) + ": " +
                                 e.code().message());
    }
    learn_name();
    accept();
}

/// What is left of a process that has ended is taken away; one that is there is left alone, and so
/// is what is no socket.
void listener::open_unix(const std::string& path) {
    if (!unix_lock_.take(path)) {
        throw boost::system::system_error(asio::error::address_in_use);
    }
    const asio::local::stream_protocol::endpoint where(path);
    acceptor_.open(where.protocol());
    boost::system::error_code error;
    asio::local::stream_protocol::socket probe(acceptor_.get_executor());
    probe.connect(where, error);
    if (!error) {
        throw boost::system::system_error(asio::error::address_in_use);
    }
    struct stat info {};
    if (error == asio::error::connection_refused && ::lstat(path.c_str(), &info) == 0 &&
        S_ISSOCK(info.st_mode)) {
        ::unlink(path.c_str());
    }
    acceptor_.bind(where);
    unix_path_ = path;
    unix_lock_.sign();
    constexpr mode_t everybody = 0777; // who may log in is the access rules' to say
    (void)::chmod(path.c_str(), everybody);
}

void listener::learn_name() {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    (void)::getsockname(acceptor_.native_handle(), reinterpret_cast<sockaddr*>(&address), &length);
    if (address.ss_family == AF_UNIX) {
        name_ = std::string(local_peer) + ":" + unix_path_;
        return;
    }
    tcp::endpoint where;
    where.resize(length);
    std::memcpy(where.data(), &address, length);
    port_ = where.port();
    name_ = where.address().to_string() + ":" + std::to_string(port_);
}

void listener::adopt(int fd) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
    acceptor_.assign(asio::generic::stream_protocol(address.ss_family, 0), fd);
    learn_name();
    accept();
}

void listener::stop() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    if (!unix_path_.empty()) {
        ::unlink(std::exchange(unix_path_, {}).c_str());
    }
    unix_lock_.release(); // the next may come; not before, or its socket would be unlinked
}

void listener::accept() {
    acceptor_.async_accept([this](boost::system::error_code error,
                                  asio::generic::stream_protocol::socket socket) {
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
        (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); // not on a Unix socket
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
