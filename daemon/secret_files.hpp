// Files of the configuration, read with care: a file with secrets that others could read is
// refused, and so is what is no file (a pipe would block for ever).
//
// One rule for all secrets, PostgreSQL's of ssl_key_file: what belongs to this process' user is for
// nobody else; what belongs to root, which that user could not read otherwise, may be read by its
// group.
//
// Any thread. Tests: tests/daemon/secret_files_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <sys/stat.h>

namespace pgweir::daemon {

/// May a file be read as one with secrets?
enum class secret_file : std::uint8_t {
    good,
    none,       // it is not there, or is a directory, a pipe, a device
    unreadable, // it cannot be opened or asked about: opened_file::error()
    of_another_user,
    open_to_others,
};
/// By the rule above, where `self` is the user's id.
[[nodiscard]] secret_file judge_secret_file(const struct stat& what, uid_t self);
/// Whoever root becomes could not read it (but by an access control list).
[[nodiscard]] bool only_root_reads(const std::string& path);

/// Larger than any file that is parsed (config::largest_userlist_bytes): those bounds tell better.
constexpr std::size_t largest_file_bytes = 128 * 1'048'576;

/// A file that is opened once and asked about by its descriptor: what is read is what has been
/// judged, whatever its path names by then.
class opened_file {
public:
    explicit opened_file(const std::string& path);
    ~opened_file();
    opened_file(const opened_file&) = delete;
    opened_file& operator=(const opened_file&) = delete;

    /// May this process' user read it as one with secrets, and if not, why not?
    [[nodiscard]] secret_file judge() const;
    /// A credential of systemd's, which lets the service's user read it by an access control list,
    /// whose mask looks like rights of the group: those are not minded.
    [[nodiscard]] secret_file judge_credential() const;
    /// Of the configuration itself, in which secrets may stand: is there more to read it than there
    /// should? Not, where it is not there.
    [[nodiscard]] bool is_open_to_others() const;
    /// All of it, of whoever's file. Nothing: it could not be opened, is no regular file, larger
    /// than it may be, or broken. Memory is taken for no more than that, whatever size a file
    /// claims, and also where it grows meanwhile.
    [[nodiscard]] std::optional<std::string>
    read(std::size_t largest_bytes = largest_file_bytes) const;
    /// The system's, of opening it; 0: it is open.
    [[nodiscard]] int error() const { return error_; }

private:
    /// What is wrong with it, whoever may read it.
    [[nodiscard]] secret_file judge_kind() const;

    int file_;
    int error_ = 0;
    struct stat is_ {};
};

/// The three ways to read a file, for those who do not ask why it was not read: any that there is …
[[nodiscard]] std::optional<std::string>
read_whole_file(const std::string& path, std::size_t largest_bytes = largest_file_bytes);
/// … one that is good by the rule above …
[[nodiscard]] std::optional<std::string> read_secret_file(const std::string& path);
/// … and one that systemd has put into $CREDENTIALS_DIRECTORY.
[[nodiscard]] std::optional<std::string> read_credential(const std::string& name);

} // namespace pgweir::daemon
