// Tests of daemon/verifier_census.hpp.
#include "daemon/verifier_census.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir;
using daemon::verifier_census;
using protocol::scram_shape;

namespace {

std::string verifier(scram_shape shape) {
    return protocol::format_scram_verifier({shape.iterations, std::string(shape.salt_bytes, 's'),
                                            std::string(protocol::scram_key_bytes, 'k'),
                                            std::string(protocol::scram_key_bytes, 'k')});
}

std::vector<config::user> listed(const std::vector<std::string>& secrets) {
    std::vector<config::user> users;
    for (const auto& each : secrets) {
        users.push_back({.name = "user" + std::to_string(users.size()),
                         .password = config::secret(each),
                         .from_file = false,
                         .session_state = {}});
    }
    return users;
}

constexpr scram_shape usual, many{20'000, 16}, salty{20'000, 24};

} // namespace

TEST_CASE("what most verifiers of the configuration look like") {
    verifier_census census;
    CHECK(census.commonest() == usual);
    census.use(listed({verifier(many), verifier(many), verifier(usual), "pencil", "pencil",
                       "md5" + std::string(32, 'a'), "SCRAM-SHA-256$1:x"}));
    CHECK(census.commonest() == many);
    census.use(listed({verifier(many), verifier(usual), verifier(usual)}));
    CHECK(census.commonest() == usual);
    census.use(listed({verifier(salty)}));
    CHECK(census.commonest() == salty);
    census.use(listed({verifier({protocol::max_scram_iterations + 1, 16})}));
    CHECK(census.commonest() == usual);
    census.use(listed({"pencil"}));
    CHECK(census.commonest() == usual);
}

TEST_CASE("who has been looked up counts, once, as it is now") {
    verifier_census census;
    census.see("ann", verifier(many));
    CHECK(census.commonest() == many);
    census.see("bob", verifier(usual));
    census.see("eve", verifier(usual));
    for (int i = 0; i < 5; ++i) {
        census.see("ann", verifier(many));
    }
    CHECK(census.commonest() == usual);
    census.see("bob", verifier(many));
    CHECK(census.commonest() == many);
    census.see("ann", ""); // no password any more
    census.see("bob", "md5" + std::string(32, 'a'));
    CHECK(census.commonest() == usual);
    census.see("eve", "");
    CHECK(census.commonest() == usual);
    // Beside those of the configuration, which a reload replaces.
    census.see("ann", verifier(salty));
    census.use(listed({verifier(many), verifier(many)}));
    CHECK(census.commonest() == many);
    census.use({});
    CHECK(census.commonest() == salty);
}
