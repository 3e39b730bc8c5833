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

secret_file judge_secret_file(const struct stat& what, uid_t self) {
    if (what.st_uid != 0 && what.st_uid != self) {
        return secret_file::of_another_user;
    }
    const mode_t others = what.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    return (what.st_mode & others) == 0 ? secret_file::good : secret_file::open_to_others;
}

bool only_root_reads(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 && info.st_uid == 0 &&
           (info.st_mode & (S_IRGRP | S_IROTH)) == 0;
}

opened_file::opened_file(const std::string& path)
    : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {
    if (file_ < 0 || ::fstat(file_, &is_) != 0) {
        error_ = errno;
    }
}

opened_file::~opened_file() {
    if (file_ >= 0) {
        ::close(file_);
    }
}

secret_file opened_file::judge_kind() const {
    if (error_ != 0) {
        return error_ == ENOENT || error_ == ENOTDIR ? secret_file::none : secret_file::unreadable;
    }
    return S_ISREG(is_.st_mode) ? secret_file::good : secret_file::none;
}

secret_file opened_file::judge() const {
    const auto kind = judge_kind();
    return kind == secret_file::good ? judge_secret_file(is_, ::geteuid()) : kind;
}

secret_file opened_file::judge_credential() const {
    const auto kind = judge_kind();
    if (kind != secret_file::good) {
        return kind;
    }
    if (is_.st_uid != 0 && is_.st_uid != ::geteuid()) {
        return secret_file::of_another_user;
    }
    return (is_.st_mode & (S_IRWXO | S_IWGRP)) == 0 ? secret_file::good
                                                    : secret_file::open_to_others;
}

bool opened_file::is_open_to_others() const {
    return error_ == 0 && judge_secret_file(is_, is_.st_uid) == secret_file::open_to_others;
}

std::optional<std::string> opened_file::read(std::size_t largest_bytes) const {
    if (judge_kind() != secret_file::good ||
        static_cast<std::uintmax_t>(is_.st_size) > largest_bytes) {
        return std::nullopt;
    }
    std::string text;
    // At once as long as it has to be: growing would leave copies of secrets behind.
    text.resize(static_cast<std::size_t>(is_.st_size) + 1);
    std::size_t filled = 0;
    while (true) {
        const auto count = ::read(file_, text.data() + filled, text.size() - filled);
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

std::optional<std::string> read_whole_file(const std::string& path, std::size_t largest_bytes) {
    return opened_file(path).read(largest_bytes);
}

std::optional<std::string> read_secret_file(const std::string& path) {
    const opened_file file(path);
    return file.judge() == secret_file::good ? file.read() : std::nullopt;
}

std::optional<std::string> read_credential(const std::string& name) {
    const char* const directory = std::getenv("CREDENTIALS_DIRECTORY");
    if (directory == nullptr || *directory == '\0') {
        return std::nullopt;
    }
    const opened_file file(std::string(directory) + "/" + name);
    return file.judge_credential() == secret_file::good ? file.read() : std::nullopt;
}

} // namespace pgweir::daemon
