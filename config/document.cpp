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

class positions {
public:
    explicit positions(std::string_view text)
        : text_(text) {
        line_starts_.push_back(0);
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '\n') {
                line_starts_.push_back(i + 1);
            }
        }
    }

    /// yaml-cpp counts bytes; people and editors count characters.
    [[nodiscard]] position of(const YAML::Mark& mark) const {
        const auto line =
            std::min(static_cast<std::size_t>(std::max(mark.line, 0)), line_starts_.size() - 1);
        const auto bytes = static_cast<std::size_t>(std::max(mark.column, 0));
        const auto here = text_.substr(line_starts_[line]);
        return {.line = line + 1, .column = position_of(here.substr(0, bytes), bytes).column};
    }

private:
    std::string_view text_;
    std::vector<std::size_t> line_starts_;
};

class tree_builder final : public YAML::EventHandler {
public:
    explicit tree_builder(const positions& where)
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
        put(node(node::kind::nothing, where_.of(mark)));
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { throw refused{mark, no_alias}; }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        check(mark, anchor, tag);
        if (expects_key()) {
            open_.back().key = {value, where_.of(mark)};
            return;
        }
        put(node(node::kind::scalar, where_.of(mark), value));
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(mark, tag, anchor, node::kind::list);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(mark, tag, anchor, node::kind::map);
    }
    void OnMapEnd() override { close(); }

    [[nodiscard]] node take() { return std::move(root_); }

    static constexpr const char* no_alias =
        "anchors and aliases are not supported; a text that begins with '&' or '*' needs quotes";

private:
    struct frame {
        node what;
        std::optional<std::pair<std::string, position>> key; // map: waits for its value
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
              node::kind kind) {
        check(mark, anchor, tag);
        if (expects_key()) {
            throw refused{mark, "a key must be a plain text"};
        }
        if (open_.size() >= deepest_node) {
            throw refused{mark, "this is nested too deeply"};
        }
        open_.push_back({.what = node(kind, where_.of(mark)), .key = {}});
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
        auto& [into, key] = open_.back();
        if (into.is == node::kind::list) {
            into.items.push_back(std::move(value));
        } else {
            into.entries.push_back(
                {.key = std::move(key->first), .at = key->second, .value = std::move(value)});
            key.reset();
        }
    }

    const positions& where_;
    std::vector<frame> open_;
    node root_;
    int documents_ = 0;
};

/// A tab where YAML wants spaces gives no message, or a strange one, in yaml-cpp.
std::optional<problem> tab_in_indentation(std::string_view text) {
    for (std::size_t start = 0; start < text.size();) {
        const auto end = std::min(text.find('\n', start), text.size());
        const auto line = text.substr(start, end - start);
        const auto first = line.find_first_not_of(" \t\r");
        const auto tab = line.find('\t');
        if (first != std::string_view::npos && line[first] != '#' && tab < first) {
            return problem{.at = position_of(text, start + tab),
                           .message = "a tab in the indentation: YAML takes spaces only"};
        }
        start = end + 1;
    }
    return std::nullopt;
}

/// yaml-cpp's words without what it may quote from the file.
std::string syntax_message(const std::string& theirs) {
    if (theirs.starts_with(YAML::ErrorMsg::UNKNOWN_ANCHOR)) {
        return tree_builder::no_alias;
    }
    return concat({"not valid YAML: ", std::string_view(theirs).substr(0, theirs.find(':'))});
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
    if (auto bad = tab_in_indentation(text)) {
        return *bad;
    }
    const positions where(text);
    tree_builder builder(where);
    std::istringstream stream{std::string(text)};
    try {
        YAML::Parser parser(stream);
        if (parser.HandleNextDocument(builder)) {
            (void)parser.HandleNextDocument(builder); // says whether there is a second one
        }
    } catch (const refused& why) {
        return problem{.at = where.of(why.at), .message = why.message};
    } catch (const YAML::Exception& why) {
        return problem{.at = where.of(why.mark), .message = syntax_message(why.msg)};
    }
    return builder.take();
}

} // namespace pgweir::config
