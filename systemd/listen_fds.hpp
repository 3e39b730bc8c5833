// Sockets that systemd has opened for us (socket activation, sd_listen_fds(3)): clients that
// connect while the daemon is not running wait in the kernel's queue instead of being refused.
//
// Owner: main, once, at start-up. Thread: main's, before any other exists (it changes the
// environment). Tests: tests/systemd/listen_fds_test.cpp.
#pragma once

#include <string>
#include <vector>

namespace pgweir::systemd {

struct inherited_socket {
    enum class kind {
        tcp_listener,  // IPv4 or IPv6, listening
        unix_listener, // a Unix socket, listening
        unusable,      // anything else: to be reported and closed
    };
    int fd = -1;      // close-on-exec; whoever takes the value owns it
    std::string name; // FileDescriptorName= of the socket unit
    kind what = kind::unusable;
};

/// All of them, once: a second call, and our children, see none.
[[nodiscard]] std::vector<inherited_socket> take_listen_fds();

} // namespace pgweir::systemd
