// A regular expression for names of databases, users and the system's users: `/^app_[0-9]+$`.
//
// The patterns come from the operator, the names that are matched from strangers. POSIX's extended
// expressions (regcomp of the C library) without back references take time in proportion to the
// name, which is at most a few hundred bytes; std::regex takes a frame of the stack for each. What
// PostgreSQL reads in another way (`\d`, `(?:`, `*?`) is refused rather than misunderstood. They
// are matched byte by byte: `.` is half an ö.
//
// Immutable, cheap to copy, any thread. Tests: tests/config/name_pattern_test.cpp; tests/fuzz/hba.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace pgweir::config {

class name_pattern {
public:
    /// `text`: what follows the slash. Nothing, and why in `refused`, where it cannot be had.
    static std::optional<name_pattern> make(std::string text, std::string& refused);

    struct found {
        std::optional<std::string> first_group; // what matched the first ( ), where one is there
    };
    /// Anywhere in the name: `^` and `$` bind it.
    [[nodiscard]] std::optional<found> find_in(std::string_view name) const;
    [[nodiscard]] bool matches(std::string_view name) const { return find_in(name).has_value(); }
    [[nodiscard]] const std::string& text() const { return text_; }

    bool operator==(const name_pattern& other) const { return text_ == other.text_; }

private:
    struct compiled;
    name_pattern(std::string text, std::shared_ptr<const compiled> program)
        : text_(std::move(text))
        , program_(std::move(program)) {}

    std::string text_;
    std::shared_ptr<const compiled> program_;
};

} // namespace pgweir::config
