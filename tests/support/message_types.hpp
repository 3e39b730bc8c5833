// What messages of the protocol there are in some bytes.
#pragma once

#include "protocol/message.hpp"

#include <string>
#include <string_view>

namespace pgweir::test {

/// The types of the messages in `bytes`, which are whole.
inline std::string types_of(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
        const auto head = protocol::read_header(protocol::as_bytes(bytes));
        out += head.type;
        bytes.remove_prefix(head.frame_bytes());
    }
    return out;
}

} // namespace pgweir::test
