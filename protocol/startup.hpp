// The first packets of a connection: SSLRequest, GSSENCRequest, CancelRequest, StartupMessage.
// Tests: tests/protocol/startup_test.cpp.
// Source: PostgreSQL documentation, "Start-up" (protocol-flow) and "Message Formats";
// ProcessStartupPacket() in src/backend/postmaster/postmaster.c.
#pragma once

#include "protocol/error_response.hpp"
#include "protocol/message.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace pgweir::protocol {

inline constexpr std::size_t max_startup_bytes = 10'000; // MAX_STARTUP_PACKET_LENGTH
inline constexpr std::uint32_t ssl_request_code = 80877103;
inline constexpr std::uint32_t gssenc_request_code = 80877104;
inline constexpr std::uint32_t cancel_request_code = 80877102;
inline constexpr std::uint32_t protocol_3_0 = 0x00030000;
/// Of protocol 3, in both roles. All that is new in 3.2 is longer cancel keys; there is no 3.1.
inline constexpr std::uint16_t newest_minor_version = 2;
inline constexpr std::size_t min_cancel_key_bytes = 4;
inline constexpr std::size_t max_cancel_key_bytes = 256;

/// How long the keys are that we give to clients, by the minor version the client speaks. (As
/// PostgreSQL 18 has it: a client that asks for 3.1 gets what it would in 3.0.)
[[nodiscard]] constexpr std::size_t own_cancel_key_bytes(std::uint16_t minor_version) {
    return minor_version >= 2 ? 32 : 4;
}

struct ssl_request {};
struct gssenc_request {};

/// Names a running session: what BackendKeyData told its client. The key is 4 bytes in protocol
/// 3.0, up to 256 in 3.2.
struct cancel_key {
    std::uint32_t process_id = 0;
    std::string key;
};
struct cancel_request {
    cancel_key target;
};

/// What kind of connection the `replication` parameter makes it.
enum class replication_kind : std::uint8_t {
    none,
    physical, // of the whole cluster; belongs to no database
    logical,  // `database`: SQL as well, in one database
};

struct startup_message {
    std::uint16_t minor_version = 0; // what the client asked for; may be newer than any
    std::string user;
    std::string database; // the user's name where none was given
    replication_kind replication = replication_kind::none;
    /// Settings the client wants in its session (all parameters but the above and _pq_.…), in the
    /// order given; of a name given twice the last counts. `options` stays as it was sent.
    std::vector<std::pair<std::string, std::string>> settings;
    std::vector<std::string> unknown_protocol_options; // the _pq_.… ones
};

struct startup_refusal {
    error code;
    error_words words;
    bool silent = false; // close without a word (garbage that is no PostgreSQL client)
};

using startup_packet =
    std::variant<std::monostate /* more bytes needed */, ssl_request, gssenc_request,
                 cancel_request, startup_message, startup_refusal>;

/// The refusal of a major version (or a second SSLRequest, GSSENCRequest: to PostgreSQL these are
/// versions 1234.5679 and .5680) in PostgreSQL's words.
[[nodiscard]] startup_refusal unsupported_protocol_refusal(std::uint32_t code);

/// Reads one packet at the front of `in`; on anything but "more" and a refusal, `in` is advanced
/// past it.
[[nodiscard]] startup_packet read_startup_packet(bytes& in);

/// The minor version that is spoken with a client that asked for this one.
[[nodiscard]] constexpr std::uint16_t spoken_minor_version(std::uint16_t asked) {
    return asked < newest_minor_version ? asked : newest_minor_version;
}

/// NegotiateProtocolVersion: the minor version that will be spoken, and what was not understood.
void append_negotiate_protocol_version(std::string& out, std::uint16_t minor_version,
                                       const std::vector<std::string>& unknown_options);

} // namespace pgweir::protocol
