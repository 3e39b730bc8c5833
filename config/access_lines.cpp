// See access_lines.hpp.
#include "config/access_lines.hpp"
#include "config/text.hpp"
#include "config/userlist.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::config {
namespace {

constexpr std::size_t longest_token_bytes = 255; // PostgreSQL 15's

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/// A line with those that continue it.
class whole_line {
public:
    std::string text;

    void begin_piece(std::size_t line) { pieces_.push_back({.offset = text.size(), .line = line}); }
    /// Where a byte is. Only ever asked for one at or behind the last one.
    position place(std::size_t offset) {
        while (piece_ + 1 < pieces_.size() && pieces_[piece_ + 1].offset <= offset) {
            seen_ = pieces_[++piece_].offset;
            column_ = 1;
        }
        for (; seen_ < std::min(offset, text.size()); ++seen_) {
            column_ += (static_cast<unsigned char>(text[seen_]) & 0xc0U) == 0x80 ? 0U : 1U;
        }
        return {.line = pieces_[piece_].line, .column = column_};
    }

private:
    struct piece {
        std::size_t offset, line;
    };
    std::vector<piece> pieces_;
    std::size_t piece_ = 0;
    std::size_t seen_ = 0;
    std::size_t column_ = 1;
};

class file_reader {
public:
    file_reader(const access_files& files, access_lines& into)
        : files_(files)
        , lines_(&into.lines)
        , problems_(into.problems) {}

    void read(std::string_view text, const std::string& file, int depth);

private:
    struct next_token {
        access_token token;
        bool comma_follows = false;
    };

    whole_line take_line(std::string_view& rest, std::size_t& line_number) const;
    access_line read_line(whole_line& from, const std::string& file, int depth);
    std::optional<next_token> read_token(whole_line& from, std::size_t& at,
                                         const std::string& file);
    void insert_file(const access_token& reference, const std::string& file, int depth,
                     access_field& into);
    bool follow_include(const access_line& line, int depth);
    std::optional<std::string> content(const std::string& path, position at,
                                       const std::string& file, int depth, bool must_exist);

    void complain(const std::string& file, position at, std::string message) {
        if (problems_.size() < most_problems) {
            problems_.push_back({.file = file, .at = at, .message = std::move(message)});
        }
    }
    [[nodiscard]] bool given_up() const {
        return problems_.size() >= most_problems || tokens_ > most_access_tokens;
    }

    const access_files& files_;
    std::vector<access_line>* lines_; // where the lines of the file that is being read go
    std::vector<problem>& problems_;
    std::size_t bytes_ = 0;
    std::size_t tokens_ = 0;
};

std::string beside(const std::string& file, const std::string& path) {
    const auto slash = file.rfind('/');
    return path.starts_with('/') || slash == std::string::npos ? path
                                                               : file.substr(0, slash + 1) + path;
}

whole_line file_reader::take_line(std::string_view& rest, std::size_t& line_number) const {
    whole_line result;
    std::size_t after_last_backslash = 0;
    while (true) {
        result.begin_piece(++line_number);
        const auto end = std::min(rest.find('\n'), rest.size());
        result.text += rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        while (result.text.ends_with('\r')) {
            result.text.pop_back();
        }
        if (result.text.size() <= after_last_backslash || result.text.back() != '\\') {
            return result;
        }
        result.text.pop_back();
        after_last_backslash = result.text.size();
        if (rest.empty()) {
            return result;
        }
    }
}

/// The quirks are PostgreSQL's: a quote may begin inside a token, and only one that begins it makes
/// a keyword an ordinary word.
std::optional<file_reader::next_token> file_reader::read_token(whole_line& from, std::size_t& at,
                                                               const std::string& file) {
    const auto& text = from.text;
    while (at < text.size() && (is_blank(text[at]) || text[at] == ',')) {
        ++at;
    }
    next_token result;
    result.token.at = from.place(at);
    auto& value = result.token.text;
    bool in_quotes = false;
    bool was_quote = false;
    bool saw_quote = false;
    for (; at < text.size() && (in_quotes || !is_blank(text[at])); ++at) {
        const char c = text[at];
        if (c == '#' && !in_quotes) {
            at = text.size();
            break;
        }
        if (c == ',' && !in_quotes) {
            result.comma_follows = true;
            ++at;
            break;
        }
        if (c != '"' || was_quote) {
            value += c;
        }
        was_quote = in_quotes && c == '"' && !was_quote;
        if (c == '"') {
            in_quotes = !in_quotes;
            saw_quote = true;
            result.token.quoted |= value.empty();
        }
    }
    if (in_quotes) {
        complain(file, result.token.at, "the closing quote is missing");
    }
    if (value.size() > longest_token_bytes) {
        complain(file, result.token.at,
                 concat({"a word is longer than ", std::to_string(longest_token_bytes), " bytes"}));
        value.resize(longest_token_bytes);
    }
    if (!saw_quote && value.empty()) {
        return std::nullopt;
    }
    if (++tokens_ == most_access_tokens + 1) {
        complain(file, result.token.at,
                 concat({"there are more than ", std::to_string(most_access_tokens), " words"}));
    }
    return result;
}

std::optional<std::string> file_reader::content(const std::string& path, position at,
                                                const std::string& file, int depth,
                                                bool must_exist) {
    if (depth >= deepest_access_file) {
        complain(file, at,
                 concat({"files name files deeper than ", std::to_string(deepest_access_file),
                         " times"}));
        return std::nullopt;
    }
    auto text = files_ ? files_(path) : std::nullopt;
    if (!text && must_exist) {
        complain(file, at, concat({"the file '", path, "' cannot be read"}));
    }
    return text;
}

/// All words of a file, whatever its lines, take the place of `@file`.
void file_reader::insert_file(const access_token& reference, const std::string& file, int depth,
                              access_field& into) {
    const auto path = beside(file, reference.text.substr(1));
    const auto text = content(path, reference.at, file, depth, true);
    if (!text) {
        return;
    }
    std::vector<access_line> inner;
    auto* const outer = std::exchange(lines_, &inner);
    read(*text, path, depth + 1);
    lines_ = outer;
    for (auto& line : inner) {
        for (auto& field : line.fields) {
            for (auto& token : field.tokens) {
                token.at = reference.at;
                into.tokens.push_back(std::move(token));
            }
        }
    }
}

access_line file_reader::read_line(whole_line& from, const std::string& file, int depth) {
    access_line line{.file = file, .at = {}, .end = {}, .text = from.text, .fields = {}};
    std::size_t at = 0;
    while (!given_up()) {
        access_field field;
        bool more = true;
        bool any = false;
        while (more && !given_up()) {
            const auto next = read_token(from, at, file);
            if (!next) {
                break;
            }
            field.at = any ? field.at : next->token.at;
            any = true;
            more = next->comma_follows;
            line.end = from.place(at);
            const auto& token = next->token;
            if (!token.quoted && token.text.size() > 1 && token.text[0] == '@') {
                insert_file(token, file, depth, field);
            } else {
                field.tokens.push_back(token);
            }
        }
        if (!any) {
            break;
        }
        line.fields.push_back(std::move(field));
    }
    if (!line.fields.empty()) {
        line.at = line.fields.front().at;
    }
    return line;
}

/// PostgreSQL 16's `include FILE` and `include_if_exists FILE`. Answers whether it was one.
bool file_reader::follow_include(const access_line& line, int depth) {
    if (line.fields.size() != 2 || line.fields[0].tokens.empty()) {
        return false;
    }
    const auto& word = line.fields[0].tokens.front();
    const bool if_exists = word.is("include_if_exists");
    if (word.is("include_dir")) {
        complain(line.file, word.at, "include_dir is not there: include the files one by one");
        return true;
    }
    if (!word.is("include") && !if_exists) {
        return false;
    }
    const auto& names = line.fields[1].tokens;
    if (names.size() != 1 || names[0].text.empty()) {
        complain(line.file, line.fields[1].at, concat({word.text, " takes one file"}));
        return true;
    }
    const auto path = beside(line.file, names[0].text);
    if (const auto text = content(path, names[0].at, line.file, depth, !if_exists)) {
        read(*text, path, depth + 1);
    }
    return true;
}

void file_reader::read(std::string_view text, const std::string& file, int depth) {
    text = without_byte_order_mark(text);
    bytes_ += text.size();
    if (bytes_ > largest_access_bytes) {
        complain(file, {},
                 concat({"the files are larger than ", std::to_string(largest_access_bytes),
                         " bytes together"}));
        return;
    }
    if (auto bad = check_text(text)) {
        complain(file, bad->at, std::move(bad->message));
        return;
    }
    std::size_t line_number = 0;
    while (!text.empty() && !given_up()) {
        auto whole = take_line(text, line_number);
        auto line = read_line(whole, file, depth);
        if (!line.fields.empty() && !follow_include(line, depth)) {
            lines_->push_back(std::move(line));
        }
    }
}

} // namespace

access_lines read_access_lines(std::string_view text, const std::string& file,
                               const access_files& files) {
    access_lines result;
    file_reader(files, result).read(text, file, 0);
    return result;
}

} // namespace pgweir::config
