// See wire_client.hpp.
#include "integration/differential/wire_client.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace pgweir::differential {

namespace {

std::uint32_t u32_at(std::string_view bytes, std::size_t at) {
    std::uint32_t value = 0;
    for (const char c : bytes.substr(at, 4)) {
        value = value << 8U | static_cast<unsigned char>(c);
    }
    return value;
}

int milliseconds_to(wire_client::deadline until) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1'000'000));
}

int connected_socket(const address& to) {
    const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(static_cast<std::uint16_t>(std::stoi(to.port)));
    if (s < 0 || ::inet_pton(AF_INET, to.host.c_str(), &name.sin_addr) != 1 ||
        ::connect(s, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) {
        const std::string why = std::strerror(errno);
        if (s >= 0) {
            ::close(s);
        }
        throw std::runtime_error("cannot connect to " + to.host + ":" + to.port + ": " + why);
    }
    const int on = 1;
    ::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return s;
}

} // namespace

wire_client::~wire_client() { close(); }

void wire_client::connect(const address& to, std::string_view startup_packet) {
    to_ = to;
    socket_ = connected_socket(to);
    // A start-up packet always fits into a fresh socket.
    static_cast<void>(::send(socket_, startup_packet.data(), startup_packet.size(), MSG_NOSIGNAL));
}

bool wire_client::wait_readable(deadline until) const {
    pollfd p{socket_, POLLIN, 0};
    return ::poll(&p, 1, milliseconds_to(until)) > 0;
}

void wire_client::read_some() {
    std::array<char, 65'536> buffer;
    const auto got = ::recv(socket_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) {
        input_.append(buffer.data(), static_cast<std::size_t>(got));
        take_messages();
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        // Whether it ended with FIN or RST depends on what was still unread over there: not told.
        ended_ = true;
    }
}

void wire_client::take_messages() {
    std::size_t at = 0;
    while (input_.size() - at >= 5) {
        const std::size_t whole = std::size_t{u32_at(input_, at + 1)} + 1;
        if (whole < 5) {
            throw std::runtime_error("a message shorter than its header");
        }
        if (input_.size() - at < whole) {
            break;
        }
        received_.push_back({input_[at], input_.substr(at + 5, whole - 5)});
        if (received_.back().type == 'K') {
            key_ = received_.back().body;
        }
        at += whole;
    }
    input_.erase(0, at);
}

void wire_client::look() {
    while (!ended_ && socket_ >= 0 && wait_readable(std::chrono::steady_clock::now())) {
        read_some();
    }
}

wire_client::outcome wire_client::send(std::string_view bytes, deadline until) {
    while (!bytes.empty()) {
        if (ended_ || socket_ < 0) {
            return outcome::closed;
        }
        pollfd p{socket_, POLLIN | POLLOUT, 0};
        if (::poll(&p, 1, milliseconds_to(until)) <= 0) {
            return outcome::timed_out;
        }
        if ((p.revents & POLLOUT) != 0) {
            const auto sent =
                ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent > 0) {
                bytes.remove_prefix(static_cast<std::size_t>(sent));
            } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
                // What was said before the end is still to be read.
                look();
                ended_ = true;
            }
        }
        if ((p.revents & ~POLLOUT) != 0) {
            read_some();
        }
    }
    return outcome::done;
}

wire_client::outcome wire_client::wait_for(std::string_view types, std::size_t count,
                                           deadline until) {
    while (count != 0) {
        for (; waited_to_ != received_.size() && count != 0; ++waited_to_) {
            count -= types.find(received_[waited_to_].type) != types.npos ? 1 : 0;
        }
        if (count == 0) {
            break;
        }
        if (ended_ || socket_ < 0) {
            return outcome::closed;
        }
        if (!wait_readable(until)) {
            return outcome::timed_out;
        }
        read_some();
    }
    return outcome::done;
}

wire_client::outcome wire_client::wait_for_login(deadline until) {
    for (;;) {
        for (; waited_to_ != received_.size(); ++waited_to_) {
            const auto& m = received_[waited_to_];
            if (m.type == 'Z' || m.type == 'E') {
                ++waited_to_;
                return outcome::done;
            }
            if (m.type == 'R' && u32_at(m.body, 0) != 0) {
                throw std::runtime_error("the harness logs in with `trust` only");
            }
        }
        if (ended_) {
            return outcome::closed;
        }
        if (!wait_readable(until)) {
            return outcome::timed_out;
        }
        read_some();
    }
}

wire_client::outcome wire_client::wait_for_close(deadline until) {
    while (!ended_ && socket_ >= 0) {
        if (!wait_readable(until)) {
            return outcome::timed_out;
        }
        read_some();
    }
    return outcome::done;
}

void wire_client::close() {
    if (socket_ >= 0) {
        ::close(socket_);
        socket_ = -1;
    }
}

void wire_client::reset() {
    if (socket_ >= 0) {
        const linger at_once{1, 0};
        ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close();
    }
}

void wire_client::half_close() {
    if (socket_ >= 0) {
        ::shutdown(socket_, SHUT_WR);
    }
}

wire_client::outcome wire_client::cancel(deadline until) const {
    if (key_.empty()) {
        return outcome::closed;
    }
    const auto length = static_cast<char>(8 + key_.size());
    const std::string packet = std::string("\0\0\0", 3) + length + "\x04\xd2\x16\x2e" + key_;
    wire_client messenger;
    messenger.connect(to_, packet);
    return messenger.wait_for_close(until);
}

} // namespace pgweir::differential
