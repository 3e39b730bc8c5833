// The vocabulary of conversations between clients and a server: what a script of the differential
// harness and a random conversation consist of. A step is a message to send, something to wait
// for, a way to leave, or a look from outside.
//
// Tests only: integration/differential plays steps over sockets, the generator
// (tests/support/conversation_generator.hpp) makes them up. Values; any thread; sans-io.
// Source: PostgreSQL documentation, "Message Formats".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgweir::test {

enum class step_kind : std::uint8_t {
    connect, // `settings` are the start-up parameters besides user and database
    // Messages.
    query,              // text
    parse,              // name, text, types
    bind,               // name (the portal's), statement, values, formats, results
    describe_statement, // name
    describe_portal,    // name
    execute,            // name, number (the row limit; 0: none)
    close_statement,    // name
    close_portal,       // name
    flush,
    sync,
    function_call, // number (the function's OID), values, formats, results (at most one)
    copy_data,     // text
    copy_done,
    copy_fail, // text
    terminate,
    raw_message, // name (its type), text (its body)
    raw_bytes,   // text
    rest,        // what a step with `cut` has left
    // Waiting.
    wait_ready,   // number of ReadyForQuery
    wait_message, // name (of a backend message), number
    wait_close,   // the other side closes
    // Leaving.
    hang_up,    // close the socket
    reset,      // … with a RST
    half_close, // send nothing any more, but go on reading
    cancel,     // a CancelRequest with this client's key, to its end
    // From outside, past any pooler. They have no client.
    admin_run,   // text
    admin_check, // text; its result is part of the transcript
    admin_until, // text, a condition; `quiet`: every session is idle
    admin_stop,  // text, whose rows are process ids: these do nothing and take no signal
    admin_go_on, // … until now
};

struct conversation_step {
    step_kind what = step_kind::sync;
    char client = 'a';
    std::string name, statement, text;
    std::vector<std::uint32_t> types;
    std::vector<std::optional<std::string>> values; // none: null
    std::vector<std::uint16_t> formats, results;    // format codes
    std::uint32_t number = 0;
    // Send only so many bytes of the message; the others when `rest` comes.
    std::optional<std::size_t> cut;
    std::vector<std::pair<std::string, std::string>> settings;

    friend bool operator==(const conversation_step&, const conversation_step&) = default;
};

using conversation = std::vector<conversation_step>;

/// A step that sends bytes of the session's protocol (`rest` does, but has none of its own).
[[nodiscard]] bool is_message(step_kind what);

/// The whole message, `cut` or not. Empty when the step is no message.
[[nodiscard]] std::string encode(const conversation_step& step);

/// StartupMessage of protocol 3.0.
[[nodiscard]] std::string
encode_startup(const std::vector<std::pair<std::string, std::string>>& settings);

} // namespace pgweir::test
