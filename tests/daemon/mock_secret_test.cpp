// Tests of daemon/mock_secret.hpp.
#include "daemon/mock_secret.hpp"
#include "tests/daemon/certificates.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <string>

using namespace pgweir;
using daemon::mock_secret_of;

namespace {

std::shared_ptr<const daemon::tls_context> context_of(const test::certificates& from,
                                                      const std::string& name) {
    daemon::accepting_tls made;
    made.certificate = from.path(name + ".pem");
    made.key = from.path(name + ".key");
    return daemon::tls_context::make(made);
}

} // namespace

TEST_CASE("what mock salts are made from: the configuration's, the key's, this process's") {
    test::certificates files;
    files.make("one", "localhost");
    files.make("other", "localhost", "ED25519");
    const auto one = context_of(files, "one");
    const std::string chance = "of this process";
    config::configuration config;
    CHECK(mock_secret_of(config, nullptr, chance) == chance);

    const auto of_one = mock_secret_of(config, one.get(), chance);
    CHECK(of_one.size() == 32);
    CHECK(of_one != chance);
    CHECK(mock_secret_of(config, context_of(files, "one").get(), "of the next") == of_one);
    CHECK(mock_secret_of(config, context_of(files, "other").get(), chance) != of_one);
    // As another tool would write the same key.
    std::ofstream(files.path("one.key"), std::ios::app) << "\n\n";
    CHECK(mock_secret_of(config, context_of(files, "one").get(), chance) == of_one);
    // Whoever has a password or a verifier of the configuration learns nothing of it.
    config.users.push_back({.name = "ann",
                            .password = config::secret("pencil"),
                            .from_file = false,
                            .session_state = {}});
    CHECK(mock_secret_of(config, one.get(), chance) == of_one);
    CHECK(mock_secret_of(config, nullptr, chance) == chance);

    config.mock_secret = config::secret("0123456789abcdef");
    CHECK(mock_secret_of(config, one.get(), chance) == "0123456789abcdef");
    CHECK(mock_secret_of(config, nullptr, chance) == "0123456789abcdef");
}
