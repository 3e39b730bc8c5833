// Files of the configuration, read with care: a file with secrets that others could read is
// refused, and so is what is no file (a pipe would block for ever).
//
// Any thread. Tests: tests/daemon/secret_files_test.cpp.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace pgweir::daemon {

/// Larger than any file that is parsed (config::largest_userlist_bytes): those bounds tell better.
constexpr std::size_t largest_file_bytes = 128 * 1'048'576;

/// Nothing: it is not there, cannot be read, is no regular file, or larger than it may be. Memory
/// is taken for no more than that, whatever size a file claims, and also where it grows meanwhile.
[[nodiscard]] std::optional<std::string> read_whole_file(const std::string& path);
[[nodiscard]] std::optional<std::string> read_whole_file(const std::string& path,
                                                         std::size_t largest_bytes);
/// … or it belongs to somebody else than root and this process' user, or its group or others may
/// read or write it.
[[nodiscard]] std::optional<std::string> read_secret_file(const std::string& path);
/// A credential that systemd has put into $CREDENTIALS_DIRECTORY. systemd lets the service's user
/// read it by an access control list, whose mask looks like rights of the group: those are not
/// minded.
[[nodiscard]] std::optional<std::string> read_credential(const std::string& name);

} // namespace pgweir::daemon
