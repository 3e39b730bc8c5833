// The script language of the differential harness: a file of conversation steps, one per line, to
// be read by people. README.md in this folder is its reference.
//
// Values; any thread. Tested by main.cpp's --self-test: every script is printed and read again.
#pragma once

#include "tests/support/conversation.hpp"

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::differential {

using test::conversation;
using test::conversation_step;
using test::step_kind;

struct script {
    std::string name;   // the file's, without folder and ending
    std::string guards; // what would break, in one line
    // It cannot be played with fewer: so many clients are in a transaction at once.
    std::uint32_t servers = 1;
    std::vector<std::string> setup, teardown; // SQL, past any pooler
    conversation steps;
};

/// Line (from 1) and what is wrong with it.
struct script_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

[[nodiscard]] script read_script(std::string_view name, std::string_view text);
[[nodiscard]] script read_script_file(const std::string& path);

/// One line, which read_script() understands.
[[nodiscard]] std::string to_line(const conversation_step& step);
[[nodiscard]] std::string to_text(const script& s);

/// Printable and on one line: control bytes and bytes above 126 as \xNN, long runs of a character
/// as {c*N}.
[[nodiscard]] std::string escaped(std::string_view text);

} // namespace pgweir::differential
