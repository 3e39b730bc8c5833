// Messages as the fakes make and read them, and the little language of their statements.
#pragma once

#include "protocol/message.hpp"

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::simulation {

/// A message without its frame.
struct message {
    char type = 0;
    std::string body;
};
void append(std::string& out, const message& m);
/// What two equal answers have in common, whoever gave them: the text of a row, a tag, a SQLSTATE,
/// a status byte.
[[nodiscard]] std::string essence(const message& m);

/// The value of key=… in a statement; empty when it is not there.
[[nodiscard]] std::string_view word_of(std::string_view sql, std::string_view key);
[[nodiscard]] std::uint64_t number_of(std::string_view sql, std::string_view key);

[[nodiscard]] bool starts_with(std::string_view text, std::string_view with);
[[nodiscard]] bool gives_rows(std::string_view sql);
/// The statements of a Query.
[[nodiscard]] std::vector<std::string_view> split(std::string_view sql);
/// A zero-terminated string, or an integer, off the front of a body.
std::string_view take_text(std::string_view& body);
std::uint64_t take_number(std::string_view& body, std::size_t bytes);

[[nodiscard]] message plain(protocol::backend type);
[[nodiscard]] message error(std::string_view sqlstate, std::string_view text);
[[nodiscard]] message complete(std::string_view tag);
[[nodiscard]] message row(std::initializer_list<std::string_view> columns);
[[nodiscard]] message describe_rows();
[[nodiscard]] message copy_response(protocol::backend type);

} // namespace pgweir::simulation
