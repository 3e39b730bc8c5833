// See name_pattern.hpp.
#include "config/name_pattern.hpp"
#include "config/text.hpp"

#include <array>
#include <cstdint>
#include <regex.h>
#include <vector>

namespace pgweir::config {
namespace {

/// The compiled form grows with what is counted times its count, the time to make it with more than
/// that, and the C library has no bound: 240 bytes repeated 1000 times took longer than a minute.
constexpr std::int64_t most_unfolded = 2000;
constexpr std::size_t longest_name_bytes = 1024; // of what is matched
constexpr std::size_t longest_pattern_bytes = 1000;
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
            sizes_.push_back(0);
            return;
        case ')':
            if (--depth_ < 0) {
                refused_ = "a ) has no (";
                return;
            }
            last_size_ = sizes_.back() + 2; // the ( ) itself takes room
            sizes_.pop_back();
            return atom(last_size_);
        case '^':
        case '|':
            last_ = before::nothing;
            return;
        case '*':
        case '+':
        case '?':
            counted();
            ++last_size_;
            return grow(1);
        case '{':
            counted();
            return braces();
        default:
            atom(1);
        }
    }

    /// Something that can be counted, so large when it is unfolded.
    void atom(std::int64_t size) {
        last_ = before::atom;
        last_size_ = size;
        grow(size);
    }
    void grow(std::int64_t by) {
        sizes_.back() += by;
        if (sizes_.back() > most_unfolded) {
            refused_ = concat({"unfolded, what stands before { } is longer than ",
                               std::to_string(most_unfolded)});
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
        grow(last_size_ * (std::min(std::max<std::int64_t>(*most, 1), most_unfolded + 1) - 1));
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
        atom(1);
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
        atom(1);
    }

    std::string_view rest_;
    std::string refused_;
    before last_ = before::nothing;
    int depth_ = 0;
    std::vector<std::int64_t> sizes_{0}; // unfolded: of the pattern, and of each ( that is open
    std::int64_t last_size_ = 0;
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
    refused = text.empty()                          ? "nothing follows the /"
              : text.size() > longest_pattern_bytes ? "it is too long"
                                                    : inspector(text).run();
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
