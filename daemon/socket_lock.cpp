#include "daemon/socket_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace pgweir::daemon {

namespace {

/// Nobody else's to open: whoever can may lock it, and keep us from starting.
constexpr mode_t ours_only = 0600;

/// False: it has been taken away, by the one who had it, since it was opened.
bool is_at(int file, const std::string& path) {
    struct stat opened {};
    struct stat named {};
    return ::fstat(file, &opened) == 0 && ::lstat(path.c_str(), &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

} // namespace

bool socket_lock::take(const std::string& path) {
    release();
    path_ = path + ".lock";
    while (true) {
        file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW,
                       ours_only);
        struct stat info {};
        if (file_ < 0 || ::fstat(file_, &info) != 0 || !S_ISREG(info.st_mode)) {
            if (file_ >= 0) {
                ::close(std::exchange(file_, -1));
            }
            return true;
        }
        if (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
            ::close(std::exchange(file_, -1));
            return false;
        }
        if (is_at(file_, path_)) {
            ours_ = info.st_size == 0;
            return true;
        }
        ::close(std::exchange(file_, -1));
    }
}

void socket_lock::sign() {
    ours_ = true;
    if (file_ >= 0 && ::ftruncate(file_, 0) == 0) {
        const auto line = std::to_string(::getpid()) + "\n";
        (void)!::pwrite(file_, line.data(), line.size(), 0);
    }
}

void socket_lock::release() {
    if (file_ >= 0) {
        if (ours_) {
            ::unlink(path_.c_str()); // first: nobody is to lock it between the two and lose it
        }
        ::close(std::exchange(file_, -1));
    }
}

} // namespace pgweir::daemon
