// Both halves of the relay together: every conversation, split at every byte, byte by byte, and
// through buffers so small that messages do not fit.
#include "tests/protocol/conversations.hpp"
#include "tests/protocol/relay_replay.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::test;

TEST_CASE("relay: conversations, all at once") {
    for (const auto& [name, text] : conversations) {
        CAPTURE(std::string(name));
        relay_replay({}).play(parse_script(text));
    }
}

TEST_CASE("relay: conversations, split at every byte") {
    for (const auto& [name, text] : conversations) {
        CAPTURE(std::string(name));
        const auto steps = parse_script(text);
        std::size_t total = 0;
        for (const auto& step : steps) {
            total += step.message.bytes.size();
        }
        for (std::size_t at = 1; at < total; ++at) {
            CAPTURE(at);
            relay_replay({at}).play(steps);
        }
    }
}

TEST_CASE("relay: conversations in small pieces") {
    for (const auto& [name, text] : conversations) {
        CAPTURE(std::string(name));
        for (const std::size_t piece : {1, 2, 3, 4, 5, 6, 7, 11, 13}) {
            CAPTURE(piece);
            relay_replay({0, piece}).play(parse_script(text));
        }
    }
}

TEST_CASE("relay: conversations through small buffers") {
    for (const auto& [name, text] : conversations) {
        CAPTURE(std::string(name));
        for (const std::size_t buffer : {32, 33, 37, 48, 64}) {
            for (const std::size_t piece : {0, 1, 7}) {
                CAPTURE(buffer);
                CAPTURE(piece);
                relay_replay({0, piece, buffer}).play(parse_script(text));
            }
        }
    }
}
