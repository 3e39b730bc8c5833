// Every reason has a word, and no two share one: logs, metric labels and the console rely on it.
#include "pool/close_reason.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string_view>

using namespace pgweir::pool;

namespace {

bool is_a_word(std::string_view text) {
    return !text.empty() &&
           std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

template <typename Reason>
void check_names(std::size_t count) {
    std::set<std::string_view> seen;
    for (std::size_t i = 0; i < count; ++i) {
        const auto name = to_string(static_cast<Reason>(i));
        CAPTURE(i);
        CHECK_MESSAGE(is_a_word(name), name);
        CHECK_MESSAGE(seen.insert(name).second, name);
    }
    CHECK(to_string(static_cast<Reason>(count)) == "?");
}

} // namespace

TEST_CASE("every reason to close a client has a name of its own") {
    check_names<client_close>(client_close_count);
}

TEST_CASE("every reason to close a server has a name of its own") {
    check_names<server_close>(server_close_count);
}
