// See secret_files.hpp.
#include "daemon/secret_files.hpp"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pgweir::daemon {
namespace {

/// Larger than any file that is parsed (config::largest_userlist_bytes): those bounds tell better.
constexpr std::size_t largest_file_bytes = 128 * 1'048'576;

/// What is looked at and what is read is the same file: it is asked for by its descriptor.
std::optional<std::string> read_file(const std::string& path, mode_t forbidden, bool own) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0) {
        return std::nullopt;
    }
    struct closing {
        int file;
        ~closing() { ::close(file); }
    } const at_end{file};
    struct stat info {};
    if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode) || (info.st_mode & forbidden) != 0 ||
        (own && info.st_uid != 0 && info.st_uid != ::geteuid())) {
        return std::nullopt;
    }
    std::string text;
    // At once as long as it has to be: growing would leave copies of secrets behind.
    text.resize(static_cast<std::size_t>(info.st_size) + 1);
    std::size_t filled = 0;
    while (true) {
        const auto count = ::read(file, text.data() + filled, text.size() - filled);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0 || filled > largest_file_bytes) {
            return std::nullopt;
        }
        if (count == 0) {
            text.resize(filled);
            return text;
        }
        filled += static_cast<std::size_t>(count);
        if (filled == text.size()) { // it has grown, or is one of those that tell no size
            text.resize(text.size() * 2);
        }
    }
}

} // namespace

std::optional<std::string> read_whole_file(const std::string& path) {
    return read_file(path, 0, false);
}

std::optional<std::string> read_secret_file(const std::string& path) {
    return read_file(path, S_IRWXG | S_IRWXO, true);
}

std::optional<std::string> read_credential(const std::string& name) {
    const char* const directory = std::getenv("CREDENTIALS_DIRECTORY");
    if (directory == nullptr || *directory == '\0') {
        return std::nullopt;
    }
    return read_file(std::string(directory) + "/" + name, S_IRWXO | S_IWGRP, true);
}

} // namespace pgweir::daemon
