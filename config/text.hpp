// Text of configuration files and values: checking, reading and writing. Pure functions, any
// thread. Tests: tests/config/text_test.cpp.
#pragma once

#include "config/configuration.hpp"
#include "config/problem.hpp"

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pgweir::config {

[[nodiscard]] std::string concat(std::initializer_list<std::string_view> parts);
[[nodiscard]] std::string join(std::span<const std::string_view> parts, std::string_view between);

/// Where the byte at `offset` is.
[[nodiscard]] position position_of(std::string_view text, std::size_t offset);

/// The first thing in a whole file that no parser should see: a control character other than tab
/// and line ends (YAML libraries take some of them for the end of the file), or bytes that are not
/// UTF-8.
[[nodiscard]] std::optional<problem> check_text(std::string_view text);
[[nodiscard]] std::string_view without_byte_order_mark(std::string_view text);
[[nodiscard]] bool has_control_character(std::string_view text);

/// ", not 'x'" for error messages; empty where `x` is long or could be part of something secret
/// (an URL, a connection string).
[[nodiscard]] std::string not_this(std::string_view value);

/// A whole number, with a sign if need be. Too large for 64 bits: the largest (or least) there is.
[[nodiscard]] std::optional<std::int64_t> read_number(std::string_view text);
/// true/false, yes/no, on/off in any case.
[[nodiscard]] std::optional<bool> read_flag(std::string_view text);
/// Plain 0, or a whole number with ms, s, m, h or d. Too long for 64 bits: the longest there is.
[[nodiscard]] std::optional<duration> read_duration(std::string_view text);
/// In the largest unit that loses nothing: 90s, 10m, 0.
[[nodiscard]] std::string write_duration(duration value);

/// A number as an address: 127.0.0.1, ::1, 2001:db8::7. No names, no scope ids.
[[nodiscard]] bool is_address(std::string_view text);
[[nodiscard]] bool is_loopback(std::string_view address);
/// A host name, an address, or the absolute path of a directory with a Unix socket.
[[nodiscard]] bool is_host(std::string_view text);

/// What a stored secret is, told by its form.
enum class secret_form : std::uint8_t { plaintext, md5, scram, broken_scram };
[[nodiscard]] secret_form form_of(std::string_view secret);

} // namespace pgweir::config
