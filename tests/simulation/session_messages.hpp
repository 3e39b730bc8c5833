// Messages as the fakes compare them, and the words of their statements.
#pragma once

#include "protocol/message.hpp"

#include <cstdint>
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
/// Whole messages only.
[[nodiscard]] std::vector<message> messages_of(std::string_view bytes);
/// What a message says, in short: the text of a row, a tag, a SQLSTATE, a status byte.
[[nodiscard]] std::string essence(const message& m);
/// What a client's message asks for, in short, for the trace: names and statement.
[[nodiscard]] std::string request_of(const message& m);
/// Whether a client was told the same: of errors and notices the SQLSTATE counts and whether they
/// are the end, of everything else every byte.
[[nodiscard]] bool same(const message& a, const message& b);
[[nodiscard]] bool is_fatal(const message& m);

/// The value of key=… in a statement; empty when it is not there.
[[nodiscard]] std::string_view word_of(std::string_view sql, std::string_view key);
[[nodiscard]] std::uint64_t number_of(std::string_view sql, std::string_view key);

[[nodiscard]] bool starts_with(std::string_view text, std::string_view with);

} // namespace pgweir::simulation
