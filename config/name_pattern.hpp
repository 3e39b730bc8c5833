// A regular expression for names of databases, users and the system's users: `/^app_[0-9]+$`.
//
// The patterns come from the operator, the names that are matched from strangers: RE2 takes time in
// proportion to the name, whatever the pattern. (The C library's regexec goes on for ever with
// `(^a|)+`, std::regex takes a frame of the stack for each character.) What PostgreSQL reads in
// another way (`\d`, `(?:`, `*?`) is refused rather than misunderstood. They are matched byte by
// byte: `.` is half an ö.
//
// Whether a name matches is PostgreSQL's answer. What the first ( ) has matched is so where only
// one rule is needed to tell: the match begins as early and is as long as can be, then what stands
// before the group is, then the group. RE2 has each character's count as high as can be, in their
// order, which for characters, alone or counted, comes to the same: of two ways to match, let the
// second fall behind the first and yet end later; there is a count with which it overtakes, and the
// first way with that count raised to where the second gets ends as late. With a | or a group that
// is repeated PostgreSQL's answer is hard to foretell; such are for matching alone
// (`why_no_reference`).
//
// Immutable, cheap to copy, any thread. Tests: tests/config/name_pattern_test.cpp; tests/fuzz/hba;
// against PostgreSQL: integration/name_pattern_test.py.
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

    /// Anywhere in the name: `^` and `$` bind it.
    [[nodiscard]] bool matches(std::string_view name) const;
    /// What the first ( ) has matched, where the name matches. Not to be asked otherwise than with
    /// an empty why_no_reference().
    [[nodiscard]] std::optional<std::string> first_group_in(std::string_view name) const;
    /// Why `\1` must not stand for the first ( ), to be read after "\1"; empty: it may.
    [[nodiscard]] const std::string& why_no_reference() const;
    [[nodiscard]] const std::string& text() const { return text_; }

    bool operator==(const name_pattern& other) const { return text_ == other.text_; }

private:
    struct compiled;
    name_pattern(std::string text, std::shared_ptr<const compiled> made)
        : text_(std::move(text))
        , compiled_(std::move(made)) {}

    std::string text_;
    std::shared_ptr<const compiled> compiled_;
};

} // namespace pgweir::config
