// The notify protocol as the service manager sees it: a datagram socket of the test's own.
#include "systemd/notify.hpp"

#include <doctest/doctest.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <string>

using namespace pgweir::systemd;

namespace {

enum class address { path, abstract };

class manager {
public:
    explicit manager(address kind)
        : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        REQUIRE(fd_ >= 0);
        sockaddr_un where{};
        where.sun_family = AF_UNIX;
        const auto unique = "pgweir-notify-" + std::to_string(::getpid());
        if (kind == address::path) {
            path_ = (std::filesystem::temp_directory_path() / unique).string();
            std::filesystem::remove(path_);
            std::strncpy(where.sun_path, path_.c_str(), sizeof(where.sun_path) - 1);
            ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
        } else {
            std::strncpy(where.sun_path + 1, unique.c_str(), sizeof(where.sun_path) - 2);
            ::setenv("NOTIFY_SOCKET", ("@" + unique).c_str(), 1);
        }
        const auto length = kind == address::path
                                ? sizeof(where)
                                : offsetof(sockaddr_un, sun_path) + 1 + unique.size();
        REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&where), static_cast<socklen_t>(length)) ==
                0);
    }
    manager(const manager&) = delete;
    ~manager() {
        ::unsetenv("NOTIFY_SOCKET");
        ::close(fd_);
        if (!path_.empty()) {
            std::filesystem::remove(path_);
        }
    }
    std::string receive() const {
        char text[4096];
        const auto n = ::recv(fd_, text, sizeof(text), MSG_DONTWAIT);
        return n < 0 ? std::string("nothing") : std::string(text, static_cast<std::size_t>(n));
    }

private:
    int fd_;
    std::string path_;
};

std::uint64_t monotonic_us() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec) / 1'000;
}

} // namespace

TEST_CASE("what the service manager is told") {
    auto kind = address::path;
    SUBCASE("at a path") { kind = address::path; }
    SUBCASE("in the abstract namespace") { kind = address::abstract; }
    const manager listening(kind);
    CHECK(is_supervised());
    CHECK(notify_ready("2 workers"));
    CHECK(listening.receive() == "READY=1\nSTATUS=2 workers");
    CHECK(notify_status("50 of 50 servers in use"));
    CHECK(listening.receive() == "STATUS=50 of 50 servers in use");
    CHECK(notify_stopping("3 clients left"));
    CHECK(listening.receive() == "STOPPING=1\nSTATUS=3 clients left");
    CHECK(notify_watchdog());
    CHECK(listening.receive() == "WATCHDOG=1");
    CHECK(listening.receive() == "nothing");
}

TEST_CASE("a reload tells when it began") {
    const manager listening(address::abstract);
    const auto before = monotonic_us();
    CHECK(notify_reloading());
    const auto after = monotonic_us();
    const auto told = listening.receive();
    const std::string begin = "RELOADING=1\nMONOTONIC_USEC=";
    REQUIRE(told.starts_with(begin));
    const auto when = std::stoull(told.substr(begin.size()));
    CHECK(when >= before);
    CHECK(when <= after);
}

TEST_CASE("a status cannot smuggle another assignment") {
    const manager listening(address::abstract);
    CHECK(notify_status("a\nMAINPID=1\r\tb"));
    CHECK(listening.receive() == "STATUS=a MAINPID=1  b");
}

TEST_CASE("without a service manager nothing happens") {
    ::unsetenv("NOTIFY_SOCKET");
    CHECK_FALSE(is_supervised());
    CHECK_FALSE(notify_ready("x"));
    CHECK_FALSE(notify_watchdog());
    ::setenv("NOTIFY_SOCKET", "@pgweir-nobody-listens-here", 1);
    CHECK_FALSE(notify_ready("x"));
    ::unsetenv("NOTIFY_SOCKET");
}

TEST_CASE("the watchdog is fed at half its limit, and only when it is ours") {
    ::unsetenv("WATCHDOG_USEC");
    ::unsetenv("WATCHDOG_PID");
    CHECK_FALSE(watchdog_period());
    ::setenv("WATCHDOG_USEC", "30000000", 1);
    ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
    CHECK(watchdog_period() == std::chrono::seconds(15));
    ::setenv("WATCHDOG_PID", "1", 1);
    CHECK_FALSE(watchdog_period());
    ::unsetenv("WATCHDOG_PID");
    ::setenv("WATCHDOG_USEC", "junk", 1);
    CHECK_FALSE(watchdog_period());
    ::unsetenv("WATCHDOG_USEC");
}
