// What a server remembers of nextval(), for currval() and lastval() to tell, as far as it matters
// to the client that holds it.
//
// A server that others have used may remember what they did. To have it forget that whenever
// another client takes it over would cost everybody; so that is done (daemon/engine/sequences.cpp)
// only where such functions have been seen in use. Where one is seen for the first time, in the
// middle of a lease, the server forgets in front of the very message: the client hears "not yet
// defined in this session" once, even of what it has done itself in this transaction, but never
// another's value.
//
// Owner: a server connection. Thread: its worker's. Sans-io.
// Tests: tests/protocol/sequence_memory_test.cpp.
// Source: PostgreSQL documentation, "Sequence Manipulation Functions" and DISCARD, which is allowed
// inside transactions and not undone by them (ResetSequenceCaches() in
// src/backend/commands/sequence.c).
#pragma once

#include "protocol/session_state.hpp"
#include "protocol/statement_router.hpp"
#include "protocol/statement_scan.hpp"

#include <cstdint>

namespace pgweir::protocol {

struct sequence_memory {
    /// Somebody else's values may be among what it remembers.
    bool foreign = false;
    /// It is being told to forget them in this batch (reply_queue::batch()); 0: in none. What is
    /// sent behind that in the same batch fails if it does. That it has forgotten PostgreSQL says
    /// with the tag DISCARD SEQUENCES.
    std::uint64_t forgets_in = 0;
};

/// May a text with these effects (scan()) read it?
[[nodiscard]] constexpr bool may_read_sequences(effect_bits effects) {
    return (effects &
            (unsigned{reads_sequences} | static_cast<unsigned>(pin_reason::large_statement))) != 0;
}

/// Such a text is about to be sent in a message of this type (for Bind: is about to be executed).
/// If others' values are there, a DISCARD SEQUENCES is put in front of it.
[[nodiscard]] routing forget_others_sequences(frontend type, const scanned_statement& what,
                                              const statement_link& link, reply_queue& owed,
                                              relay_sink& to);

} // namespace pgweir::protocol
