// The frame of every PostgreSQL v3 message, and the two things done with it: look at a header, and
// append a message of our own to a buffer.
//
// Owner: whoever holds the buffer. Thread: any. Sans-io. Tests: tests/protocol/message_test.cpp.
// Source: PostgreSQL documentation, "Message Formats" (protocol-message-formats.html).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace pgweir::protocol {

using bytes = std::span<const std::byte>;

/// Type bytes of the messages a client sends. A startup packet has no type byte.
enum class frontend : char {
    bind = 'B',
    close = 'C',
    copy_data = 'd',
    copy_done = 'c',
    copy_fail = 'f',
    describe = 'D',
    execute = 'E',
    flush = 'H',
    function_call = 'F',
    parse = 'P',
    password = 'p', // PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse
    query = 'Q',
    sync = 'S',
    terminate = 'X',
};

/// Type bytes of the messages a server sends.
enum class backend : char {
    authentication = 'R',
    backend_key_data = 'K',
    bind_complete = '2',
    close_complete = '3',
    command_complete = 'C',
    copy_both_response = 'W',
    copy_data = 'd',
    copy_done = 'c',
    copy_in_response = 'G',
    copy_out_response = 'H',
    data_row = 'D',
    empty_query_response = 'I',
    error_response = 'E',
    function_call_response = 'V',
    negotiate_protocol_version = 'v',
    no_data = 'n',
    notice_response = 'N',
    notification_response = 'A',
    parameter_description = 't',
    parameter_status = 'S',
    parse_complete = '1',
    portal_suspended = 's',
    ready_for_query = 'Z',
    row_description = 'T',
};

/// The byte in ReadyForQuery.
enum class transaction_status : char {
    idle = 'I',
    in_transaction = 'T',
    failed = 'E',
};

/// A type byte and the length field behind it (which counts itself, but not the type byte).
inline constexpr std::size_t header_bytes = 5;

/// What a peer may claim as the length field: at least itself, at most what PostgreSQL accepts
/// (PQ_LARGE_MESSAGE_LIMIT, MaxAllocSize - 1). Compared on 64 bits and by subtraction only.
inline constexpr std::uint32_t min_length_field = 4;
inline constexpr std::uint32_t max_length_field = 0x3ffffffe;

/// The first five bytes of a message.
struct header {
    char type = 0;
    std::uint32_t length_field = 0;

    /// The whole message on the wire: type byte, length field and body.
    [[nodiscard]] std::size_t frame_bytes() const { return std::size_t{length_field} + 1; }
    [[nodiscard]] std::size_t body_bytes() const { return std::size_t{length_field} - 4; }
    /// False when the length field is one that no PostgreSQL would send or accept.
    [[nodiscard]] bool plausible() const {
        return length_field >= min_length_field && length_field <= max_length_field;
    }
};

/// Big-endian integers at the front of `in`, which must hold at least that many bytes.
[[nodiscard]] inline std::uint32_t read_u32(bytes in) {
    return std::to_integer<std::uint32_t>(in[0]) << 24 |
           std::to_integer<std::uint32_t>(in[1]) << 16 |
           std::to_integer<std::uint32_t>(in[2]) << 8 | std::to_integer<std::uint32_t>(in[3]);
}
[[nodiscard]] inline std::uint16_t read_u16(bytes in) {
    return static_cast<std::uint16_t>(std::to_integer<unsigned>(in[0]) << 8 |
                                      std::to_integer<unsigned>(in[1]));
}

/// The header at the front of `in`, which must hold at least `header_bytes`.
[[nodiscard]] inline header read_header(bytes in) {
    return {static_cast<char>(in[0]), read_u32(in.subspan(1))};
}

[[nodiscard]] inline std::string_view as_text(bytes in) {
    return {reinterpret_cast<const char*>(in.data()), in.size()};
}
[[nodiscard]] inline bytes as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// The string that begins `at` bytes into a message that may have been cut off. `found`: its end is
/// there; else `text` is as much of it as there is.
struct string_in {
    std::string_view text;
    bool found = false;
};
[[nodiscard]] inline string_in string_at(bytes in, std::size_t at) {
    if (at < in.size() && in[at] == std::byte{}) {
        return {{}, true}; // most names are empty
    }
    const auto text = as_text(in).substr(std::min(at, in.size()));
    const auto zero = text.find('\0');
    return zero == std::string_view::npos ? string_in{text, false}
                                          : string_in{text.substr(0, zero), true};
}

/// Takes values off the front of a message body. Every getter fails (`ok()` turns false, and stays
/// so) instead of reading past the end, so a parser may check once, at its end.
class body_reader {
public:
    explicit body_reader(bytes body)
        : rest_(body) {}

    [[nodiscard]] bool ok() const { return ok_; }
    /// True when everything was read and nothing failed.
    [[nodiscard]] bool finished() const { return ok_ && rest_.empty(); }
    [[nodiscard]] bytes rest() const { return rest_; }

    char character();
    std::uint16_t u16();
    std::uint32_t u32();
    /// A zero-terminated string, without its zero.
    std::string_view c_string();
    bytes raw(std::size_t count);

private:
    bytes rest_;
    bool ok_ = true;
};

/// Appends messages to a byte string. The length field is filled in when the message ends.
///
///     message_writer(out).begin('C').c_string("SELECT 1").end();
class message_writer {
public:
    explicit message_writer(std::string& out)
        : out_(out) {}

    message_writer& begin(char type);
    message_writer& begin(frontend type) { return begin(static_cast<char>(type)); }
    message_writer& begin(backend type) { return begin(static_cast<char>(type)); }
    /// A message without a type byte (startup, cancel request).
    message_writer& begin_untyped();
    message_writer& u8(std::uint8_t value);
    message_writer& u16(std::uint16_t value);
    message_writer& u32(std::uint32_t value);
    message_writer& raw(std::string_view value);
    /// The text up to its first zero byte, and a terminating zero.
    message_writer& c_string(std::string_view value);
    message_writer& end();

private:
    std::string& out_;
    std::size_t length_at_ = 0;
};

/// A whole Query message (simple protocol).
void append_query(std::string& out, std::string_view sql);
/// ReadyForQuery with this status.
void append_ready_for_query(std::string& out, transaction_status status);
/// ParameterStatus.
void append_parameter_status(std::string& out, std::string_view name, std::string_view value);

} // namespace pgweir::protocol
