// The generator of conversations itself: the same every time, rich enough, and never waiting for
// what does not come. The server is the model (tests/support/postgres_model.hpp).
#include "tests/support/conversation_generator.hpp"
#include "tests/support/postgres_model.hpp"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <string_view>

using namespace pgweir;
using namespace pgweir::test;

namespace {

constexpr std::uint64_t seeds = 2'000;

// A client of the model: what has come, and up to where it has been waited for.
struct listener {
    postgres_model server;
    std::string types; // of the messages that came
    std::size_t waited_to = 0;

    void hear(std::string_view bytes) {
        while (bytes.size() >= protocol::header_bytes) {
            const auto head = protocol::read_header(protocol::as_bytes(bytes));
            types += head.type;
            bytes.remove_prefix(head.frame_bytes());
        }
    }
    // One of these types comes, or the server has closed.
    bool waited_for(std::string_view wanted) {
        const auto at = types.find_first_of(wanted, waited_to);
        waited_to = at == std::string::npos ? types.size() : at + 1;
        return at != std::string::npos || server.closed();
    }
};

std::string types_of(const std::string& names) {
    static const std::map<std::string, char> known = {{"ParseComplete", '1'},
                                                      {"ErrorResponse", 'E'},
                                                      {"CommandComplete", 'C'},
                                                      {"EmptyQueryResponse", 'I'},
                                                      {"CopyInResponse", 'G'}};
    std::string types;
    for (const auto& [name, type] : known) {
        if (names.find(name) != std::string::npos) {
            types += type;
        }
    }
    return types;
}

} // namespace

TEST_CASE("the same seed gives the same conversation, its neighbour another") {
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        const auto made = generate(seed, postgres_dialect());
        CHECK(made.steps == generate(seed, postgres_dialect()).steps);
        CHECK(made.steps != generate(seed + 1, postgres_dialect()).steps);
    }
}

TEST_CASE("a thousand conversations say everything there is to say") {
    std::set<step_kind> said;
    std::set<std::size_t> clients;
    for (std::uint64_t seed = 0; seed < 1'000; ++seed) {
        const auto made = generate(seed, postgres_dialect());
        clients.insert(made.clients);
        for (const auto& step : made.steps) {
            said.insert(step.what);
        }
    }
    CHECK(clients == std::set<std::size_t>{1, 2, 3});
    for (const auto kind : {step_kind::query,
                            step_kind::parse,
                            step_kind::bind,
                            step_kind::describe_statement,
                            step_kind::describe_portal,
                            step_kind::execute,
                            step_kind::close_statement,
                            step_kind::close_portal,
                            step_kind::flush,
                            step_kind::sync,
                            step_kind::function_call,
                            step_kind::copy_data,
                            step_kind::copy_done,
                            step_kind::copy_fail,
                            step_kind::terminate,
                            step_kind::wait_ready,
                            step_kind::wait_message,
                            step_kind::wait_close,
                            step_kind::hang_up,
                            step_kind::reset,
                            step_kind::admin_until,
                            step_kind::admin_check}) {
        CAPTURE(static_cast<int>(kind));
        CHECK(said.contains(kind));
    }
}

TEST_CASE("clients may leave in the middle, in every way there is") {
    generator_options options;
    options.leave_in_the_middle = true;
    std::map<step_kind, std::size_t> last; // step of a client, and how often
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        std::map<char, conversation_step> left;
        for (const auto& step : generate(seed, model_dialect(), options).steps) {
            const bool leaves = step.what == step_kind::terminate ||
                                step.what == step_kind::half_close ||
                                step.what == step_kind::hang_up || step.what == step_kind::reset;
            REQUIRE((!is_message(step.what) || !left.contains(step.client)));
            if (leaves) {
                left[step.client] = step;
            }
        }
        for (const auto& [client, step] : left) {
            ++last[step.what];
        }
    }
    CHECK(last.size() == 4);
}

TEST_CASE("whatever is waited for comes") {
    generator_options options;
    options.looks_from_outside = false;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        CAPTURE(seed);
        std::map<char, listener> everybody;
        for (const auto& step : generate(seed, model_dialect(), options).steps) {
            auto& who = everybody[step.client];
            if (is_message(step.what)) {
                who.hear(who.server.receive(encode(step)));
            } else if (step.what == step_kind::wait_ready) {
                for (std::uint32_t i = 0; i < step.number; ++i) {
                    REQUIRE(who.waited_for("Z"));
                }
            } else if (step.what == step_kind::wait_message) {
                REQUIRE(who.waited_for(types_of(step.name)));
            } else if (step.what == step_kind::wait_close) {
                REQUIRE(who.server.closed());
            }
        }
    }
}

TEST_CASE("messages are encoded as the documentation says") {
    conversation_step step;
    step.what = step_kind::parse;
    step.name = "s";
    step.text = "x";
    step.types = {23};
    CHECK(encode(step) == std::string("P\0\0\0\x0es\0x\0\0\1\0\0\0\x17", 15));
    step.what = step_kind::bind;
    step.statement = "t";
    step.values = {"v", std::nullopt};
    step.formats = {0};
    step.results = {1};
    CHECK(encode(step) ==
          std::string("B\0\0\0\x1bs\0t\0\0\1\0\0\0\2\0\0\0\1v\xff\xff\xff\xff\0\1\0\1", 28));
    step.what = step_kind::function_call;
    step.number = 177;
    CHECK(encode(step) ==
          std::string("F\0\0\0\x19\0\0\0\xb1\0\1\0\0\0\2\0\0\0\1v\xff\xff\xff\xff\0\1", 26));
    step.what = step_kind::execute;
    step.number = 3;
    CHECK(encode(step) == std::string("E\0\0\0\x0as\0\0\0\0\3", 11));
}
