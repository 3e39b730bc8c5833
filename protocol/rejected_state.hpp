// Statements that the client is not to have carried out because of what they would leave in the
// session (session_state: reject). PostgreSQL refuses them: it is sent a text that is a syntax
// error in their place, so that batches, transactions and pipelines become what any error of its
// makes of them; and that error gets other words on its way to the client.
//
// Pure. Tests: tests/protocol/rejected_state_test.cpp.
#pragma once

#include "protocol/error_response.hpp"
#include "protocol/message.hpp"
#include "protocol/session_state.hpp"

#include <optional>
#include <string>

namespace pgweir::protocol {

/// The message, a whole Query or Parse, with such a text in it. `why`: reasons, the lowest of which
/// is told.
[[nodiscard]] std::string rejected_message(bytes message, std::uint16_t why);

/// The reason, if this is PostgreSQL's ErrorResponse (a whole message, or its front) to such a one.
[[nodiscard]] std::optional<pin_reason> rejected_for(bytes error_response);

[[nodiscard]] error_words words_of_rejection(pin_reason why);

} // namespace pgweir::protocol
