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

enum class secret_file : std::uint8_t { good, of_another_user, open_to_others };
/// By the rule above, where `self` is the user's id.
[[nodiscard]] secret_file judge_secret_file(const struct stat& what, uid_t self);
/// The configuration itself, in which secrets may stand: is there more to read it than there
/// should? Not, where it is not there.
[[nodiscard]] bool is_open_to_others(const std::string& path);
/// Whoever root becomes could not read it (but by an access control list).
[[nodiscard]] bool only_root_reads(const std::string& path);

/// Larger than any file that is parsed (config::largest_userlist_bytes): those bounds tell better.
constexpr std::size_t largest_file_bytes = 128 * 1'048'576;

/// Nothing: it is not there, cannot be read, is no regular file, or larger than it may be. Memory
/// is taken for no more than that, whatever size a file claims, and also where it grows meanwhile.
[[nodiscard]] std::optional<std::string>
read_whole_file(const std::string& path, std::size_t largest_bytes = largest_file_bytes);
/// … or it is not good by the rule above.
[[nodiscard]] std::optional<std::string> read_secret_file(const std::string& path);
/// A credential that systemd has put into $CREDENTIALS_DIRECTORY. systemd lets the service's user
/// read it by an access control list, whose mask looks like rights of the group: those are not
/// minded.
[[nodiscard]] std::optional<std::string> read_credential(const std::string& name);

} // namespace pgweir::daemon
