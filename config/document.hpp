// YAML text -> a small tree with a position on everything. The one place that knows yaml-cpp.
//
// Takes less than YAML has: no anchors and aliases (a few lines of them unfold to gigabytes), no
// tags, one document, keys that are plain texts. Sizes and depth are bounded. No message repeats a
// value: it could be a secret. Pure, any thread. Tests: tests/config/document_test.cpp.
#pragma once

#include "config/problem.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace pgweir::config {

struct entry;

struct node {
    enum class kind { nothing, scalar, list, map };
    explicit node(kind which = kind::nothing, position where = {}, std::string value = {});

    kind is;
    position at;
    std::string text;           // scalar
    std::vector<node> items;    // list
    std::vector<entry> entries; // map; duplicate keys are still there
};

struct entry {
    std::string key;
    position at; // of the key
    node value;
};

inline node::node(kind which, position where, std::string value)
    : is(which)
    , at(where)
    , text(std::move(value)) {}

/// Bytes of a whole file: 10,000 users with SCRAM verifiers fit; more belong in a userlist.
/// yaml-cpp takes up to 250 times as much memory for a file that is nothing but brackets.
inline constexpr std::size_t largest_document_bytes = 2'097'152;
/// The deepest that is needed is 4: databases, one of them, its key, its value.
inline constexpr std::size_t deepest_node = 8;

/// The tree (kind `nothing` for an empty file), or what keeps the text from being one.
[[nodiscard]] std::variant<node, problem> read_document(std::string_view text);

} // namespace pgweir::config
