// See read_password.hpp.
#include "daemon/read_password.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <iostream>
#include <poll.h>
#include <string>
#include <termios.h>
#include <unistd.h>

namespace pgweir::daemon {
namespace {

constexpr std::size_t longest_password_bytes = 8192; // as in the configuration

volatile std::sig_atomic_t caught = 0; // a handler of signals can say it nowhere else

void remember(int signal) { caught = signal; }

/// No echo, and signals that end waiting instead of the process, for as long as it lives. They are
/// blocked but for the waiting itself, so that none comes unnoticed just before it.
class unseen {
public:
    unseen() {
        sigset_t blocked;
        ::sigemptyset(&blocked);
        for (const int signal : signals) {
            ::sigaddset(&blocked, signal);
        }
        ::sigprocmask(SIG_BLOCK, &blocked, &mask_);
        struct sigaction action {};
        action.sa_handler = remember;
        for (std::size_t i = 0; i < signals.size(); ++i) {
            ::sigaction(signals[i], &action, &before_[i]);
        }
        (void)::tcgetattr(STDIN_FILENO, &terminal_);
        auto silent = terminal_;
        silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        (void)::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    }
    ~unseen() {
        (void)::tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal_);
        for (std::size_t i = 0; i < signals.size(); ++i) {
            ::sigaction(signals[i], &before_[i], nullptr);
        }
        if (caught != 0) {
            (void)::raise(caught); // now it does what it would have done
        }
        ::sigprocmask(SIG_SETMASK, &mask_, nullptr);
    }
    unseen(const unseen&) = delete;
    unseen& operator=(const unseen&) = delete;

    [[nodiscard]] const sigset_t& mask_while_waiting() const { return mask_; }

private:
    static constexpr std::array<int, 5> signals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    std::array<struct sigaction, signals.size()> before_{};
    sigset_t mask_{};
    termios terminal_{};
};

/// Byte by byte, into memory that never grows, so that no copy stays behind. `mask`: of signals,
/// while it waits; null: as it is.
std::optional<protocol::secret> read_line(const sigset_t* mask) {
    std::string line;
    line.reserve(longest_password_bytes + 1);
    while (true) {
        pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
        char c = '\0';
        auto count = static_cast<ssize_t>(::ppoll(&input, 1, nullptr, mask));
        count = count > 0 ? ::read(STDIN_FILENO, &c, 1) : count;
        if (count < 0 && errno == EINTR && caught == 0) {
            continue;
        }
        if (count < 0 || (count == 0 && line.empty()) || line.size() > longest_password_bytes) {
            const protocol::secret wiped(std::move(line));
            return std::nullopt;
        }
        if (count == 0 || c == '\n') {
            return protocol::secret(std::move(line));
        }
        line += c;
    }
}

std::optional<protocol::secret> ask(const char* prompt, const unseen& terminal) {
    std::cerr << prompt << std::flush;
    auto line = read_line(&terminal.mask_while_waiting());
    std::cerr << '\n';
    return line;
}

bool has_control_character(std::string_view text) {
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            return true;
        }
    }
    return false;
}

/// `told`: why there is none has been said.
std::optional<protocol::secret> ask_twice(bool& told) {
    const unseen terminal;
    auto first = ask("Password: ", terminal);
    if (!first) {
        return std::nullopt;
    }
    const auto second = ask("Again: ", terminal);
    if (!second) {
        return std::nullopt;
    }
    if (!first->equals(second->reveal())) {
        std::cerr << "pgweir passwd: the two differ\n";
        told = true;
        return std::nullopt;
    }
    return first;
}

} // namespace

std::optional<protocol::secret> read_password() {
    bool told = false;
    auto result = ::isatty(STDIN_FILENO) == 1 ? ask_twice(told) : read_line(nullptr);
    if (told) {
        return std::nullopt;
    }
    if (!result || result->empty() || has_control_character(result->reveal())) {
        std::cerr << "pgweir passwd: a password is one line of up to " << longest_password_bytes
                  << " bytes, without control characters\n";
        return std::nullopt;
    }
    return result;
}

} // namespace pgweir::daemon
