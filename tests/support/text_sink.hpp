// A relay_sink that writes everything into one string, as a socket would send it.
//
// Tests only.
#pragma once

#include "protocol/statement_router.hpp"

#include <string>

namespace pgweir::test {

class text_sink final : public protocol::relay_sink {
public:
    void pass(protocol::bytes piece) override { text += protocol::as_text(piece); }
    std::string& own() override { return text; }
    [[nodiscard]] bool has_room() const override { return room; }

    std::string text;
    bool room = true;
};

} // namespace pgweir::test
