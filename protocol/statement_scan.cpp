#include "protocol/statement_scan.hpp"

#include "protocol/session_state.hpp"

namespace pgweir::protocol {

std::uint16_t scan(std::string_view, bool complete) {
    return complete ? std::uint16_t{0} : static_cast<std::uint16_t>(pin_reason::large_statement);
}

} // namespace pgweir::protocol
