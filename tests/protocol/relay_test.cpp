// Both halves of the relay together: every conversation, split at every byte, byte by byte, and
// through buffers so small that messages do not fit.
#include "tests/protocol/conversations.hpp"
#include "tests/protocol/relay_replay.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::test;

TEST_CASE("relay: conversations, all at once") {
    for (const auto& [name, text] : conversations) {
        const std::string shown(name);
        CAPTURE(shown);
        relay_replay({}).play(parse_script(text));
    }
}

TEST_CASE("relay: conversations, split at every byte") {
    for (const auto& [name, text] : conversations) {
        const std::string shown(name);
        CAPTURE(shown);
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
        const std::string shown(name);
        CAPTURE(shown);
        for (const std::size_t piece : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 11U, 13U}) {
            CAPTURE(piece);
            relay_replay({0, piece}).play(parse_script(text));
        }
    }
}

TEST_CASE("relay: conversations through small buffers") {
    for (const auto& [name, text] : conversations) {
        const std::string shown(name);
        CAPTURE(shown);
        for (const std::size_t buffer : {40U, 41U, 45U, 48U, 64U}) {
            for (const std::size_t piece : {0U, 1U, 7U}) {
                CAPTURE(buffer);
                CAPTURE(piece);
                relay_replay({0, piece, buffer}).play(parse_script(text));
            }
        }
    }
}
