#include "systemd/listen_fds.hpp"

#include <systemd/sd-daemon.h>

#include <sys/socket.h>

#include <cstdlib>

namespace pgweir::systemd {

namespace {

inherited_socket::kind kind_of(int fd) {
    constexpr int listening = 1;
    if (::sd_is_socket(fd, AF_INET, SOCK_STREAM, listening) > 0 ||
        ::sd_is_socket(fd, AF_INET6, SOCK_STREAM, listening) > 0) {
        return inherited_socket::kind::tcp_listener;
    }
    if (::sd_is_socket(fd, AF_UNIX, SOCK_STREAM, listening) > 0) {
        return inherited_socket::kind::unix_listener;
    }
    return inherited_socket::kind::unusable;
}

} // namespace

std::vector<inherited_socket> take_listen_fds() {
    constexpr int unset_environment = 1;
    char** names = nullptr;
    const int count = ::sd_listen_fds_with_names(unset_environment, &names);
    std::vector<inherited_socket> sockets;
    for (int i = 0; i < count; ++i) {
        const int fd = SD_LISTEN_FDS_START + i;
        sockets.push_back({fd, names != nullptr ? names[i] : "", kind_of(fd)});
    }
    if (names != nullptr) {
        for (int i = 0; names[i] != nullptr; ++i) {
            std::free(names[i]);
        }
        std::free(names);
    }
    return sockets;
}

} // namespace pgweir::systemd
