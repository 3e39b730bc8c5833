// What a client was told, as text: one line per backend message, every field of it. Whatever may
// differ between a direct connection and one through a pooler is masked here and nowhere else; the
// list is in allowed_differences.md, and each mask carries the number of its row there.
//
// Owner: whoever plays a script. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::differential {

struct backend_message {
    char type = 0;
    std::string body;
};

/// "ReadyForQuery" for 'Z'; "message 'q'" for what PostgreSQL does not send.
[[nodiscard]] std::string name_of(char type);
/// The other way; 0 when there is no such message.
[[nodiscard]] char type_of(std::string_view name);

/// Objects that a run creates have other OIDs in the next run: they are called by the order in
/// which the transcripts of one run mention them.
class object_names {
public:
    [[nodiscard]] std::string name(std::uint32_t oid);

private:
    std::map<std::uint32_t, std::size_t> numbers_;
};

[[nodiscard]] std::string to_line(const backend_message& message, object_names& names);

} // namespace pgweir::differential
