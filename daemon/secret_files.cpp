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

/// What is looked at and what is read is the same file: it is asked for by its descriptor.
template <typename Accept>
std::optional<std::string> read_file(const std::string& path, std::size_t largest_bytes,
                                     Accept accept) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0) {
        return std::nullopt;
    }
    struct closing {
        int file;
        ~closing() { ::close(file); }
    } const at_end{file};
    struct stat info {};
    if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode) || !accept(info) ||
        static_cast<std::uintmax_t>(info.st_size) > largest_bytes) {
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
        if (filled > largest_bytes) {
            return std::nullopt;
        }
        if (filled == text.size()) { // it has grown, or is one of those that tell no size
            text.resize(std::min(text.size() * 2, largest_bytes + 1));
        }
    }
}

} // namespace

secret_file judge_secret_file(const struct stat& what, uid_t self) {
    if (what.st_uid != 0 && what.st_uid != self) {
        return secret_file::of_another_user;
    }
    const mode_t others = what.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    return (what.st_mode & others) == 0 ? secret_file::good : secret_file::open_to_others;
}

bool is_open_to_others(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 &&
           judge_secret_file(info, info.st_uid) == secret_file::open_to_others;
}

bool only_root_reads(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 && info.st_uid == 0 &&
           (info.st_mode & (S_IRGRP | S_IROTH)) == 0;
}

std::optional<std::string> read_whole_file(const std::string& path, std::size_t largest_bytes) {
    return read_file(path, largest_bytes, [](const struct stat&) { return true; });
}

std::optional<std::string> read_secret_file(const std::string& path) {
    return read_file(path, largest_file_bytes, [](const struct stat& info) {
        return judge_secret_file(info, ::geteuid()) == secret_file::good;
    });
}

std::optional<std::string> read_credential(const std::string& name) {
    const char* const directory = std::getenv("CREDENTIALS_DIRECTORY");
    if (directory == nullptr || *directory == '\0') {
        return std::nullopt;
    }
    return read_file(std::string(directory) + "/" + name, largest_file_bytes,
                     [](const struct stat& info) {
                         return (info.st_uid == 0 || info.st_uid == ::geteuid()) &&
                                (info.st_mode & (S_IRWXO | S_IWGRP)) == 0;
                     });
}

} // namespace pgweir::daemon
