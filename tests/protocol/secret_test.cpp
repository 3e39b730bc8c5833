// Tests of protocol/secret.hpp: nothing of a secret stays behind, and comparing tells nothing.
#include "protocol/secret.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <new>
#include <string>
#include <utility>

using namespace pgweir::protocol;

namespace {

/// Only for the detection below: does `stream << value` compile?
template <typename Stream, typename Value>
concept can_print = requires(Stream& stream, const Value& value) {
    stream << value;
};

struct sink {
    template <typename T>
    sink& operator<<(const T&) {
        return *this;
    }
};

} // namespace

TEST_CASE("a secret cannot be printed") {
    CHECK(can_print<sink, std::string>);
    CHECK_FALSE(can_print<sink, secret>);
}

TEST_CASE("copying, moving and assigning keep the value where it belongs") {
    for (const std::string text :
         {"short", "a secret that is too long to live inside the object"}) {
        CAPTURE(text);
        secret a(text);
        const secret copy(a);
        CHECK(copy.reveal() == text);
        secret moved(std::move(a));
        CHECK(moved.reveal() == text);
        CHECK(a.empty()); // NOLINT(bugprone-use-after-move): that it is wiped is the point
        secret assigned("something before");
        assigned = copy;
        CHECK(assigned.reveal() == text);
        assigned = *&assigned;
        CHECK(assigned.reveal() == text);
        secret taken("something before");
        taken = std::move(moved);
        CHECK(taken.reveal() == text);
        CHECK(moved.empty()); // NOLINT(bugprone-use-after-move)
    }
}

TEST_CASE("a secret that has gone leaves nothing in its memory") {
    const std::string text = "hunter2hunter2"; // short: lives inside the object
    alignas(secret) std::array<std::byte, sizeof(secret)> memory{};
    auto* const held = new (memory.data()) secret(text);
    const auto found = [&memory, &text] {
        return std::string_view(reinterpret_cast<const char*>(memory.data()), memory.size())
                   .find(text.substr(0, 6)) != std::string_view::npos;
    };
    REQUIRE(found());
    SUBCASE("destroyed") {
        held->~secret();
        CHECK_FALSE(found());
    }
    SUBCASE("moved from") {
        const secret elsewhere(std::move(*held));
        CHECK_FALSE(found());
        held->~secret();
    }
    SUBCASE("overwritten by a shorter one") {
        *held = secret("x");
        CHECK_FALSE(found());
        held->~secret();
    }
}

TEST_CASE("CVE-2026-6478: secrets are compared by value, in constant time") {
    CHECK(secret("pencil").equals("pencil"));
    CHECK_FALSE(secret("pencil").equals("pencim"));
    CHECK_FALSE(secret("pencil").equals("pencils"));
    CHECK_FALSE(secret("pencil").equals(""));
    CHECK(secret().equals(""));
    CHECK(equal_in_constant_time("", ""));
    CHECK(equal_in_constant_time(std::string(3, '\0'), std::string(3, '\0')));
    CHECK_FALSE(equal_in_constant_time("a", "b"));
}
