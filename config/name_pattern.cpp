// See name_pattern.hpp.
#include "config/name_pattern.hpp"
#include "config/text.hpp"

#include <array>
#include <cstdint>
#include <regex.h>

namespace pgweir::config {
namespace {

/// The compiled form grows with the product of all counts, and the C library has no bound.
constexpr std::int64_t most_repeats = 1000;
constexpr std::size_t longest_name_bytes = 1024; // of what is matched
constexpr int deepest_group = 20;

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
        if (refused_.empty() && depth_ != 0) {
            refused_ = "a ( has no )";
        }
        return refused_;
    }

private:
    enum class before : std::uint8_t { nothing, atom, count };

    void step(char c) {
        switch (c) {
        case '\\':
            return escaped();
        case '[':
            return brackets();
        case '(':
            if (++depth_ > deepest_group) {
                refused_ = "too many ( inside each other";
            }
            last_ = before::nothing;
            return;
        case ')':
            if (--depth_ < 0) {
                refused_ = "a ) has no (";
            }
            last_ = before::atom;
            return;
        case '^':
        case '|':
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
            last_ = before::atom;
        }
    }

    void counted() {
        if (last_ == before::nothing) {
            refused_ = "*, +, ? or { follows nothing that could be counted";
        } else if (last_ == before::count) {
            refused_ = "*, +, ? or { follows another one";
        }
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
        repeats_ *= std::min(std::max<std::int64_t>(*most, 1), most_repeats + 1);
        if (repeats_ > most_repeats) {
            refused_ =
                concat({"all counts in { } together are above ", std::to_string(most_repeats)});
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
        last_ = before::atom;
    }

    void brackets() {
        std::size_t at = rest_.starts_with('^') ? 1 : 0;
        at += at < rest_.size() && rest_[at] == ']' ? 1 : 0; // there it is an ordinary character
        for (; at < rest_.size() && rest_[at] != ']'; ++at) {
            if (rest_[at] == '\\' || static_cast<unsigned char>(rest_[at]) >= 0x80) {
                refused_ = "between [ ] there may be no \\ and no letter beyond ASCII";
                return;
            }
            const bool named = rest_[at] == '[' && at + 1 < rest_.size() && rest_[at + 1] == ':';
            if (!named) {
                continue;
            }
            const auto end = rest_.find(":]", at + 2);
            if (end == std::string_view::npos) {
                break;
            }
            at = end + 1;
        }
        if (at >= rest_.size()) {
            refused_ = "a [ has no ]";
            return;
        }
        rest_.remove_prefix(at + 1);
        last_ = before::atom;
    }

    std::string_view rest_;
    std::string refused_;
    before last_ = before::nothing;
    int depth_ = 0;
    std::int64_t repeats_ = 1;
};

} // namespace

struct name_pattern::compiled {
    regex_t program{};
    bool good = false;

    explicit compiled(const std::string& text)
        : good(::regcomp(&program, text.c_str(), REG_EXTENDED) == 0) {}
    ~compiled() {
        if (good) {
            ::regfree(&program);
        }
    }
    compiled(const compiled&) = delete;
    compiled& operator=(const compiled&) = delete;
};

std::optional<name_pattern> name_pattern::make(std::string text, std::string& refused) {
    refused = text.empty() ? "nothing follows the /" : inspector(text).run();
    if (!refused.empty()) {
        return std::nullopt;
    }
    auto program = std::make_shared<const compiled>(text);
    if (!program->good) {
        refused = "it is no regular expression";
        return std::nullopt;
    }
    return name_pattern(std::move(text), std::move(program));
}

std::optional<name_pattern::found> name_pattern::find_in(std::string_view name) const {
    if (name.size() > longest_name_bytes || name.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    const std::string text(name);
    std::array<regmatch_t, 2> groups{};
    if (::regexec(&program_->program, text.c_str(), groups.size(), groups.data(), 0) != 0) {
        return std::nullopt;
    }
    found result;
    if (groups[1].rm_so >= 0) {
        result.first_group =
            text.substr(static_cast<std::size_t>(groups[1].rm_so),
                        static_cast<std::size_t>(groups[1].rm_eo - groups[1].rm_so));
    }
    return result;
}

} // namespace pgweir::config
