// The type that holds a secret: copies, moves, and what it leaves behind.
#include "config/secret.hpp"

#include <doctest/doctest.h>

#include <ostream>
#include <sstream>
#include <type_traits>
#include <utility>

using pgweir::config::secret;

namespace {
template <typename Value>
concept printable = requires(std::ostream& stream, const Value& value) {
    stream << value;
};
} // namespace

TEST_CASE("a secret cannot be printed") {
    CHECK(!printable<secret>);
    CHECK(!std::is_convertible_v<secret, std::string>);
    CHECK(!std::is_convertible_v<std::string, secret>);
}

TEST_CASE("copies and moves") {
    for (const std::string text : {"", "short", "a secret that is too long to be kept in place"}) {
        CAPTURE(text);
        secret original{text};
        CHECK(original.reveal() == text);
        CHECK(original.empty() == text.empty());

        secret copied{original};
        CHECK(copied == original);
        secret assigned{"something else that is long enough to be allocated"};
        assigned = original;
        CHECK(assigned == original);
        const auto& self = assigned;
        assigned = self;
        CHECK(assigned == original);

        secret moved{std::move(copied)};
        CHECK(moved == original);
        CHECK(copied.empty()); // NOLINT: that it is empty is what is tested
        secret taken;
        taken = std::move(moved);
        CHECK(taken == original);
        CHECK(moved.empty()); // NOLINT
    }
}

TEST_CASE("a secret wipes its bytes when it is moved from") {
    // Short texts live inside the object, where they can be looked for without touching freed
    // memory.
    secret from{"hunter2"};
    const secret to{std::move(from)};
    const std::string_view bytes(reinterpret_cast<const char*>(&from), sizeof from);
    CHECK(bytes.find("unter2") == std::string_view::npos);
    CHECK(to.reveal() == "hunter2");
}
