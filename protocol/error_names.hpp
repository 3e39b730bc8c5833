// Errors that name a prepared statement name it as the server knows it; its client knows another.
//
// Pure. Tests: tests/protocol/error_names_test.cpp.
// Source: PostgreSQL documentation, "Error and Notice Message Fields".
#pragma once

#include "protocol/client_statements.hpp"
#include "protocol/message.hpp"

#include <string>

namespace pgweir::protocol {

/// Is there a server's name of a statement in this ErrorResponse?
[[nodiscard]] bool names_shared_statement(bytes error_response);

/// Appends the same ErrorResponse (a whole message) with the client's names in their place. A name
/// that the client does not know stays.
void append_with_client_names(std::string& out, bytes error_response,
                              const client_statements& names);

} // namespace pgweir::protocol
