// See secret_files.hpp.
#include "daemon/secret_files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pgweir::daemon {
namespace {

struct demands {
    mode_t forbidden = 0;
    bool own = false;
    std::size_t largest_bytes = largest_file_bytes;
};

/// What is looked at and what is read is the same file: it is asked for by its descriptor.
std::optional<std::string> read_file(const std::string& path, const demands& of) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0) {
        return std::nullopt;
    }
    struct closing {
        int file;
        ~closing() { ::close(file); }
    } const at_end{file};
    struct stat info {};
    if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode) || (info.st_mode & of.forbidden) != 0 ||
        (of.own && info.st_uid != 0 && info.st_uid != ::geteuid()) ||
        static_cast<std::uintmax_t>(info.st_size) > of.largest_bytes) {
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
        if (count < 0) {
            return std::nullopt;
        }
        if (count == 0) {
            text.resize(filled);
            return text;
        }
        filled += static_cast<std::size_t>(count);
        if (filled > of.largest_bytes) {
            return std::nullopt;
        }
        if (filled == text.size()) { // it has grown, or is one of those that tell no size
            text.resize(std::min(text.size() * 2, of.largest_bytes + 1));
        }
    }
}

} // namespace

std::optional<std::string> read_whole_file(const std::string& path) { return read_file(path, {}); }

std::optional<std::string> read_whole_file(const std::string& path, std::size_t largest_bytes) {
    return read_file(path, {.largest_bytes = largest_bytes});
}

std::optional<std::string> read_secret_file(const std::string& path) {
    return read_file(path, {.forbidden = S_IRWXG | S_IRWXO, .own = true});
}

std::optional<std::string> read_credential(const std::string& name) {
    const char* const directory = std::getenv("CREDENTIALS_DIRECTORY");
    if (directory == nullptr || *directory == '\0') {
        return std::nullopt;
    }
    return read_file(std::string(directory) + "/" + name,
                     {.forbidden = S_IRWXO | S_IWGRP, .own = true});
}

} // namespace pgweir::daemon
