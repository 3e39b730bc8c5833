// Socket activation hands over descriptors from 3 on, to the process that LISTEN_PID names: each
// test is a child process that gets them there and checks; its exit status is the number of the
// check that failed.
#include "systemd/listen_fds.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

using namespace pgweir::systemd;
using kind = inherited_socket::kind;

namespace {

template <typename Check>
int in_child(Check check) {
    const auto pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        ::_exit(check());
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/// 0, or the number of the first check that is false.
int first_failure(std::initializer_list<bool> checks) {
    int number = 1;
    for (const bool good : checks) {
        if (!good) {
            return number;
        }
        ++number;
    }
    return 0;
}

void place(int fd, int where) {
    if (fd != where) {
        ::dup2(fd, where);
    }
}

int listener(int family) {
    const int fd = ::socket(family, SOCK_STREAM, 0);
    ::listen(fd, 8); // not bound: the kernel picks a port
    return fd;
}

void announce(int count, const char* names) {
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", std::to_string(count).c_str(), 1);
    ::setenv("LISTEN_FDNAMES", names, 1);
}

} // namespace

TEST_CASE("listening sockets arrive with their names, once, and close on exec") {
    CHECK(in_child([] {
              const int high = ::fcntl(listener(AF_INET), F_DUPFD, 20);
              const int pair_high = ::fcntl(::socket(AF_INET, SOCK_DGRAM, 0), F_DUPFD, 20);
              place(high, 3);
              place(pair_high, 4);
              announce(2, "clients:other");
              const auto sockets = take_listen_fds();
              if (sockets.size() != 2) {
                  return 100;
              }
              return first_failure({
                  sockets[0].fd == 3,
                  sockets[0].name == "clients",
                  sockets[0].what == kind::tcp_listener,
                  sockets[1].fd == 4,
                  sockets[1].name == "other",
                  sockets[1].what == kind::unusable, // a datagram socket
                  (::fcntl(3, F_GETFD) & FD_CLOEXEC) != 0,
                  take_listen_fds().empty(),
                  std::getenv("LISTEN_FDS") == nullptr,
              });
          }) == 0);
}

TEST_CASE("a socket that does not listen, or is no socket, is unusable") {
    CHECK(in_child([] {
              const int plain = ::fcntl(::socket(AF_INET6, SOCK_STREAM, 0), F_DUPFD, 20);
              const int file = ::fcntl(::open("/dev/null", O_RDONLY), F_DUPFD, 20);
              place(plain, 3);
              place(file, 4);
              announce(2, "a:b");
              const auto sockets = take_listen_fds();
              if (sockets.size() != 2) {
                  return 100;
              }
              return first_failure({
                  sockets[0].what == kind::unusable,
                  sockets[1].what == kind::unusable,
              });
          }) == 0);
}

TEST_CASE("what is meant for another process is left alone") {
    CHECK(in_child([] {
              announce(1, "clients");
              ::setenv("LISTEN_PID", "1", 1);
              return first_failure({take_listen_fds().empty()});
          }) == 0);
    CHECK(in_child([] {
              ::unsetenv("LISTEN_PID");
              ::unsetenv("LISTEN_FDS");
              return first_failure({take_listen_fds().empty()});
          }) == 0);
}
