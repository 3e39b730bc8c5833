// recv() and send() on a socket that must not wait, nor raise signals. In a process with several
// threads the C library makes each a cancellation point, at the price of two atomic exchanges, for
// pthread_cancel(), which nobody here calls. Results and errno as theirs; an interrupted call is
// made again.
#pragma once

#include "protocol/message.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace pgweir::daemon {

[[nodiscard]] inline ssize_t receive(int fd, std::span<std::byte> into) {
    ssize_t got = -1;
    do {
        got = ::syscall(SYS_recvfrom, fd, into.data(), into.size(), MSG_DONTWAIT, nullptr, nullptr);
    } while (got < 0 && errno == EINTR);
    return got;
}

/// All pieces in one call.
[[nodiscard]] inline ssize_t send_pieces(int fd, std::span<const protocol::bytes> pieces) {
    constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    ssize_t sent = -1;
    if (pieces.size() == 1) {
        do {
            sent = ::syscall(SYS_sendto, fd, pieces[0].data(), pieces[0].size(), flags, nullptr, 0);
        } while (sent < 0 && errno == EINTR);
        return sent;
    }
    std::array<iovec, 64> vectors; // as many as an outbox has parts
    const auto count = std::min(pieces.size(), vectors.size());
    for (std::size_t i = 0; i < count; ++i) {
        vectors[i] = {const_cast<std::byte*>(pieces[i].data()), pieces[i].size()};
    }
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    do {
        sent = ::sendmsg(fd, &message, flags);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

/// Of the call that has just failed: it would have had to wait.
[[nodiscard]] inline bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }

} // namespace pgweir::daemon
