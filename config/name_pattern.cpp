// See name_pattern.hpp.
#include "config/name_pattern.hpp"
#include "config/text.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <re2/re2.h>
#include <span>
#include <vector>

namespace pgweir::config {
namespace {

constexpr std::size_t longest_name_bytes = 1024; // of what is matched
constexpr std::size_t longest_pattern_bytes = 1000;
constexpr std::size_t deepest_group = 20;
constexpr std::int64_t highest_count = 255; // PostgreSQL's DUPMAX
/// Of a compiled pattern with all that it remembers of earlier names, which strangers choose.
constexpr std::int64_t most_bytes = std::int64_t{1} << 20;

constexpr std::array<std::string_view, 12> classes{"alnum", "alpha", "blank", "cntrl",
                                                   "digit", "graph", "lower", "print",
                                                   "punct", "space", "upper", "xdigit"};

/// Goes through a pattern and says what keeps it from meaning the same here as in PostgreSQL.
class inspector {
public:
    explicit inspector(std::string_view pattern)
        : rest_(pattern) {}

    /// Empty: nothing.
    std::string run() {
        while (refused_.empty() && !rest_.empty()) {
            const char c = rest_[0];
            rest_.remove_prefix(1);
            step(c);
        }
        if (refused_.empty() && open_.size() != 1) {
            refused_ = "a ( has no )";
        }
        return refused_;
    }

    /// See name_pattern::why_no_reference.
    std::string why_no_reference() const {
        return groups_ == 0 ? "needs a pattern with ( )" : no_reference_;
    }

private:
    enum class before : std::uint8_t { nothing, atom, group, count };
    struct open_group {
        int number = 0;
        int pieces = 0; // characters, counts, ^ and $: more than one, and its parts may vary
    };

    void step(char c) {
        switch (c) {
        case '\\':
            return escaped();
        case '[':
            return brackets();
        case '(':
            return opened();
        case ')':
            return closed();
        case '^':
        case '$':
            ++open_.back().pieces;
            last_ = before::nothing;
            return;
        case '|':
            no_reference("where the pattern has a |: give each alternative a line");
            last_ = before::nothing;
            return;
        case '*':
        case '+':
        case '?':
            return counted();
        case '{':
            counted();
            return braces();
        default:
            atom();
        }
    }

    void atom() {
        ++open_.back().pieces;
        last_ = before::atom;
    }

    void opened() {
        ++groups_;
        if (open_.size() > deepest_group) {
            refused_ = "too many ( inside each other";
        }
        if (open_.back().number == 1) {
            no_reference("where another ( ) stands inside the first");
        }
        open_.push_back({.number = groups_, .pieces = 0});
        last_ = before::nothing;
    }
    void closed() {
        if (open_.size() == 1) {
            refused_ = "a ) has no (";
            return;
        }
        last_group_ = open_.back();
        open_.pop_back();
        open_.back().pieces += std::max(last_group_.pieces, 1);
        last_ = before::group;
    }

    void counted() {
        if (last_ == before::nothing) {
            refused_ = "*, +, ? or { follows nothing that could be counted";
        } else if (last_ == before::count) {
            refused_ = "*, +, ? or { follows another one";
        } else if (last_ == before::group && last_group_.number == 1) {
            no_reference("where *, +, ? or { follows the first ( )");
        } else if (last_ == before::group && last_group_.pieces > 1) {
            no_reference("where *, +, ? or { follows a ( ) of more than one character");
        }
        ++open_.back().pieces;
        last_ = before::count;
    }

    void braces() {
        const auto end = rest_.find('}');
        const auto inside = rest_.substr(0, end);
        const auto comma = inside.find(',');
        const auto least = read_number(inside.substr(0, comma));
        const auto most = comma == std::string_view::npos || comma + 1 == inside.size()
                              ? least
                              : read_number(inside.substr(comma + 1));
        const bool digits = inside.find_first_not_of("0123456789,") == std::string_view::npos;
        if (end == std::string_view::npos || !digits || !least || !most || *least > *most) {
            refused_ = "a { needs }, and one count or two with a comma in between";
            return;
        }
        if (*most > highest_count) {
            refused_ = concat({"a count is at most ", std::to_string(highest_count)});
        }
        rest_.remove_prefix(end + 1);
    }

    void escaped() {
        constexpr std::string_view special = R"(.[]()*+?{}|^$\/-)";
        if (rest_.empty() || special.find(rest_[0]) == std::string_view::npos) {
            refused_ = "a \\ may stand before . [ ] ( ) * + ? { } | ^ $ \\ / - only: write [0-9] "
                       "for \\d";
            return;
        }
        rest_.remove_prefix(1);
        atom();
    }

    void brackets() {
        std::size_t at = rest_.starts_with('^') ? 1 : 0;
        const auto first = at;
        at += at < rest_.size() && rest_[at] == ']' ? 1 : 0; // there it is an ordinary character
        for (; at < rest_.size() && rest_[at] != ']'; ++at) {
            if (rest_[at] == '\\' || static_cast<unsigned char>(rest_[at]) >= 0x80) {
                refused_ = "between [ ] there may be no \\ and no letter beyond ASCII";
                return;
            }
            const char next = rest_[at] == '[' && at + 1 < rest_.size() ? rest_[at + 1] : '\0';
            if (next == '.' || next == '=') {
                refused_ = "between [ ] there may be no [. and no [=";
                return;
            }
            if (next != ':') {
                continue;
            }
            const auto end = rest_.find(":]", at + 2);
            const auto name = rest_.substr(at + 2, end - (at + 2));
            const bool ends_range = at > first + 1 && rest_[at - 1] == '-';
            if (ends_range || std::find(classes.begin(), classes.end(), name) == classes.end()) {
                refused_ = "between [ ] a [: needs a class like [:alpha:], at no end of a range";
                return;
            }
            at = end + 1;
        }
        if (at >= rest_.size()) {
            refused_ = "a [ has no ]";
            return;
        }
        rest_.remove_prefix(at + 1);
        atom();
    }

    void no_reference(std::string_view where) {
        if (no_reference_.empty()) {
            no_reference_ = concat({"may be something else in PostgreSQL ", where});
        }
    }

    std::string_view rest_;
    std::string refused_;
    std::string no_reference_;
    before last_ = before::nothing;
    int groups_ = 0;
    std::vector<open_group> open_{open_group{}}; // the pattern itself, then each ( that is open
    open_group last_group_;
};

RE2::Options options() {
    RE2::Options result;
    result.set_encoding(RE2::Options::EncodingLatin1);
    result.set_posix_syntax(true);
    result.set_one_line(true);      // ^ and $ are the name's ends
    result.set_dot_nl(true);        // and a line's end is a character like any other
    result.set_longest_match(true); // whose ends decide what a group may be
    result.set_max_mem(most_bytes);
    result.set_log_errors(false);
    return result;
}

bool found(const RE2& program, std::string_view name, std::span<re2::StringPiece> parts) {
    return name.size() <= longest_name_bytes && name.find('\0') == std::string_view::npos &&
           program.Match(re2::StringPiece(name.data(), name.size()), 0, name.size(),
                         RE2::UNANCHORED, parts.data(), static_cast<int>(parts.size()));
}

} // namespace

struct name_pattern::compiled {
    RE2 program;
    std::string why_no_reference;

    compiled(const std::string& text, std::string why_not)
        : program(text, options())
        , why_no_reference(std::move(why_not)) {}
};

std::optional<name_pattern> name_pattern::make(std::string text, std::string& refused) {
    inspector inspected(text);
    refused = text.empty()                          ? "nothing follows the /"
              : text.size() > longest_pattern_bytes ? "it is too long"
                                                    : inspected.run();
    if (!refused.empty()) {
        return std::nullopt;
    }
    auto made = std::make_shared<const compiled>(text, inspected.why_no_reference());
    if (!made->program.ok()) {
        refused = made->program.error();
        return std::nullopt;
    }
    return name_pattern(std::move(text), std::move(made));
}

bool name_pattern::matches(std::string_view name) const {
    return found(compiled_->program, name, {});
}

std::optional<std::string> name_pattern::first_group_in(std::string_view name) const {
    std::array<re2::StringPiece, 2> parts; // the whole, and the group
    if (!found(compiled_->program, name, parts)) {
        return std::nullopt;
    }
    return std::string(parts[1].data(), parts[1].size());
}

const std::string& name_pattern::why_no_reference() const { return compiled_->why_no_reference; }

} // namespace pgweir::config
