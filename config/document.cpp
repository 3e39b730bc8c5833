// See document.hpp. yaml-cpp tells of each piece as it meets it (an event handler rather than its
// own tree): so depth is bounded while reading, and nothing that is refused is ever unfolded.
#include "config/document.hpp"
#include "config/text.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

namespace pgweir::config {
namespace {

/// Ends the reading from inside yaml-cpp.
struct refused {
    YAML::Mark at;
    std::string message;
};

/// Turns yaml-cpp's places, which count bytes, into places that count characters.
class source {
public:
    explicit source(std::string_view text)
        : text_(text) {
        line_starts_.push_back(0);
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '\n') {
                line_starts_.push_back(i + 1);
            }
        }
    }

    /// Goes on from the last place asked for if that is before it in the same line: a file may be
    /// one line of megabytes.
    [[nodiscard]] position of(const YAML::Mark& mark) {
        const auto line = line_of(mark);
        const auto bytes = std::min(static_cast<std::size_t>(std::max(mark.column, 0)),
                                    text_.size() - line_starts_[line]);
        if (line != line_ || bytes < bytes_) {
            line_ = line;
            bytes_ = 0;
            column_ = 1;
        }
        const auto ahead = text_.substr(line_starts_[line] + bytes_, bytes - bytes_);
        column_ += position_of(ahead, ahead.size()).column - 1;
        bytes_ = bytes;
        return {.line = line + 1, .column = column_};
    }

    /// Does a ':' follow the key that begins here?
    [[nodiscard]] bool has_colon_after(const YAML::Mark& mark, const std::string& key) const {
        const auto begin =
            line_starts_[line_of(mark)] + static_cast<std::size_t>(std::max(mark.column, 0));
        auto rest = text_.substr(std::min(begin, text_.size()));
        if (rest.starts_with('"') || rest.starts_with('\'')) {
            // A quoted key may be written longer than it is, never shorter.
            rest = rest.substr(std::min(rest.find(rest[0], 1 + key.size()), rest.size() - 1) + 1);
        } else {
            rest = rest.substr(std::min(key.size(), rest.size()));
        }
        const auto next = rest.find_first_not_of(" \t");
        return next != std::string_view::npos && rest[next] == ':';
    }

private:
    [[nodiscard]] std::size_t line_of(const YAML::Mark& mark) const {
        return std::min(static_cast<std::size_t>(std::max(mark.line, 0)), line_starts_.size() - 1);
    }

    std::string_view text_;
    std::vector<std::size_t> line_starts_;
    std::size_t line_ = 0, bytes_ = 0, column_ = 1; // the last place asked for
};

class tree_builder final : public YAML::EventHandler {
public:
    explicit tree_builder(source& where)
        : where_(where) {}

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (documents_++ > 0) {
            throw refused{mark,
                          "the file must hold one YAML document, and here a second one begins"};
        }
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        check(mark, anchor, "?");
        if (expects_key()) {
            throw refused{mark, "a key is missing here"};
        }
        if (open_.empty() || !open_.back().key) {
            put(node(node::kind::nothing, where_.of(mark)));
            return;
        }
        // yaml-cpp takes a lone text in a map for a key, although its ':' is missing. Its own mark
        // is at whatever comes next.
        const auto& key = *open_.back().key;
        if (!where_.has_colon_after(key.mark, key.text)) {
            // `[1, 2` without its end: to yaml-cpp the 2 begins a map of one pair.
            if (open_.back().in_brackets && open_.back().mark.pos == key.mark.pos) {
                open_.pop_back();
                throw refused{open_bracket(key.mark), unclosed_list};
            }
            throw refused{key.mark, "a ':' and a space must follow this key"};
        }
        put(node(node::kind::nothing, key.at));
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { throw refused{mark, no_alias}; }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        check(mark, anchor, tag);
        if (expects_key()) {
            open_.back().key = pending_key{.text = value, .mark = mark, .at = where_.of(mark)};
            last_ = mark;
            return;
        }
        last_ = mark;
        put(node(node::kind::scalar, where_.of(mark), value));
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value style) override {
        open(mark, tag, anchor, node::kind::list, style);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value style) override {
        open(mark, tag, anchor, node::kind::map, style);
    }
    void OnMapEnd() override { close(); }

    [[nodiscard]] node take() { return std::move(root_); }
    /// The last key or value that was read.
    [[nodiscard]] const YAML::Mark& last() const { return last_; }
    /// The innermost '{' or '[' that is open; where none is, `otherwise`.
    [[nodiscard]] YAML::Mark open_bracket(YAML::Mark otherwise) const {
        const auto found = std::find_if(open_.rbegin(), open_.rend(),
                                        [](const frame& each) { return each.in_brackets; });
        return found == open_.rend() ? otherwise : found->mark;
    }

    static constexpr const char* no_alias =
        "anchors and aliases are not supported; a text that begins with '&' or '*' needs quotes";
    static constexpr const char* unclosed_list =
        "not valid YAML: this '[' is not closed where it should be";
    static constexpr const char* unclosed_map =
        "not valid YAML: this '{' is not closed where it should be";

private:
    struct pending_key {
        std::string text;
        YAML::Mark mark;
        position at;
    };
    struct frame {
        node what;
        YAML::Mark mark;
        bool in_brackets;
        std::optional<pending_key> key; // map: waits for its value
    };

    [[nodiscard]] bool expects_key() const {
        return !open_.empty() && open_.back().what.is == node::kind::map && !open_.back().key;
    }

    static void check(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag) {
        if (anchor != 0) {
            throw refused{mark, no_alias};
        }
        if (!tag.empty() && tag != "?" && tag != "!") { // plain and quoted, in yaml-cpp's words
            throw refused{mark, "tags are not supported; a text that begins with '!' needs quotes"};
        }
    }

    void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
              node::kind kind, YAML::EmitterStyle::value style) {
        check(mark, anchor, tag);
        if (expects_key()) {
            throw refused{mark, "a key must be a plain text"};
        }
        if (open_.size() >= deepest_node) {
            throw refused{mark, "this is nested too deeply"};
        }
        open_.push_back({.what = node(kind, where_.of(mark)),
                         .mark = mark,
                         .in_brackets = style == YAML::EmitterStyle::Flow,
                         .key = {}});
    }

    void close() {
        auto done = std::move(open_.back().what);
        open_.pop_back();
        put(std::move(done));
    }

    void put(node value) {
        if (open_.empty()) {
            root_ = std::move(value);
            return;
        }
        auto& into = open_.back().what;
        auto& key = open_.back().key;
        if (into.is == node::kind::list) {
            into.items.push_back(std::move(value));
        } else {
            into.entries.push_back(
                {.key = std::move(key->text), .at = key->at, .value = std::move(value)});
            key.reset();
        }
    }

    source& where_;
    std::vector<frame> open_;
    node root_;
    int documents_ = 0;
    YAML::Mark last_;
};

/// `text` for yaml-cpp, which is unsure about tabs at the beginning of a line: refused where the
/// line says something, a space on a line that is empty or a comment. No place moves.
std::variant<std::string, problem> without_tabs_in_indentation(std::string_view text) {
    std::string result(text);
    for (std::size_t start = 0; start < text.size();) {
        const auto end = std::min(text.find('\n', start), text.size());
        const auto line = text.substr(start, end - start);
        const auto indentation = std::min(line.find_first_not_of(" \t\r"), line.size());
        const bool says_nothing = indentation == line.size() || line[indentation] == '#';
        const auto tab = line.substr(0, indentation).find('\t');
        if (tab != std::string_view::npos && !says_nothing) {
            return problem{.at = position_of(text, start + tab),
                           .message = "a tab in the indentation: YAML takes spaces only"};
        }
        if (tab != std::string_view::npos) {
            std::replace(result.begin() + static_cast<std::ptrdiff_t>(start),
                         result.begin() + static_cast<std::ptrdiff_t>(start + indentation), '\t',
                         ' ');
        }
        start = end + 1;
    }
    return result;
}

/// What yaml-cpp says in words (and at a place) that help, and without what it may quote from the
/// file.
problem explain(const YAML::Exception& why, const tree_builder& read, source& where) {
    const auto is = [&](const char* message) { return why.msg.starts_with(message); };
    if (is(YAML::ErrorMsg::UNKNOWN_ANCHOR)) {
        return {.at = where.of(why.mark), .message = tree_builder::no_alias};
    }
    if (is(YAML::ErrorMsg::DOC_IN_SCALAR) || is(YAML::ErrorMsg::EOF_IN_SCALAR)) {
        return {.at = where.of(read.last()),
                .message =
                    "not valid YAML: the quoted text here or right after has no closing quote"};
    }
    if (is(YAML::ErrorMsg::END_OF_MAP_FLOW) || is(YAML::ErrorMsg::END_OF_SEQ_FLOW)) {
        return {.at = where.of(read.open_bracket(why.mark)),
                .message = is(YAML::ErrorMsg::END_OF_MAP_FLOW) ? tree_builder::unclosed_map
                                                               : tree_builder::unclosed_list};
    }
    if (is(YAML::ErrorMsg::END_OF_MAP) || is(YAML::ErrorMsg::END_OF_SEQ)) {
        return {.at = where.of(why.mark),
                .message = "not valid YAML: this does not fit what is above it; is the indentation "
                           "right?"};
    }
    if (is(YAML::ErrorMsg::MAP_VALUE)) {
        return {.at = where.of(why.mark),
                .message = "not valid YAML: a ':' that follows no key; is the indentation right, "
                           "or does a text need quotes?"};
    }
    return {.at = where.of(why.mark),
            .message = concat(
                {"not valid YAML: ", std::string_view(why.msg).substr(0, why.msg.find(':'))})};
}

} // namespace

std::variant<node, problem> read_document(std::string_view text) {
    if (text.size() > largest_document_bytes) {
        return problem{.at = {},
                       .message = concat({"the file is larger than ",
                                          std::to_string(largest_document_bytes), " bytes"})};
    }
    text = without_byte_order_mark(text);
    if (auto bad = check_text(text)) {
        return *bad;
    }
    const auto untabbed = without_tabs_in_indentation(text);
    if (const auto* bad = std::get_if<problem>(&untabbed)) {
        return *bad;
    }
    source where(text);
    tree_builder builder(where);
    // The mark for the end of a document: without it yaml-cpp takes the end of the file for the
    // closing quote of a text, and the rest of the file for that text.
    std::istringstream stream(concat({std::get<std::string>(untabbed), "\n...\n"}));
    try {
        YAML::Parser parser(stream);
        if (parser.HandleNextDocument(builder)) {
            (void)parser.HandleNextDocument(builder); // says whether there is a second one
        }
    } catch (const refused& why) {
        return problem{.at = where.of(why.at), .message = why.message};
    } catch (const YAML::Exception& why) {
        return explain(why, builder, where);
    }
    return builder.take();
}

} // namespace pgweir::config
