// What a client's texts have to do with the channels that the listening connection listens to for
// it, during a transaction. A client without any has nothing to do with this.
//
// A text that says UNLISTEN, or asks what is listened to, is sent when all before it has been
// answered, and nothing is sent behind it before it has been answered: so it is known which error
// is about it, and the server can be told something in between (client_channels::trace()). The same
// for NOTIFY, whose notification to the client itself goes in front of the ReadyForQuery that ends
// the transaction, as PostgreSQL has it.
//
// Owner: a client, of a transaction. Thread: its worker's. Sans-io.
// Tests: tests/protocol/client_stream_test.cpp.
#pragma once

#include "protocol/channel_sql.hpp"
#include "protocol/session_state.hpp"
#include "protocol/statement_router.hpp"
#include "protocol/statement_scan.hpp"

#include <vector>

namespace pgweir::protocol {

struct channel_use {
    /// The server does not listen to what is served, and can be made to in front of a text that
    /// speaks of it.
    bool missing = false;
    bool stepwise = false; // nothing is sent behind a request that has not been answered
    bool spoken_of = false;
    bool notified = false;
    std::vector<unlisten> unlistens; // since they were last taken

    /// UNLISTEN may be in it, or somebody asks what is listened to.
    [[nodiscard]] static constexpr bool speaks(effect_bits effects) {
        return (effects &
                (speaks_of_channels | static_cast<effect_bits>(pin_reason::large_statement))) != 0;
    }
    [[nodiscard]] static constexpr bool concerns(effect_bits effects) {
        return speaks(effects) || (effects & notifies) != 0;
    }
    /// May a text with these effects be sent now?
    [[nodiscard]] routing before(effect_bits effects, const reply_queue& owed) const;
    /// It is being sent, or what it says is going to be executed.
    void sent(const scanned_statement& what);
    /// A message of this type has been sent: the next one waits.
    [[nodiscard]] bool ends_step(frontend type) const {
        return stepwise && (type == frontend::query || type == frontend::sync ||
                            type == frontend::function_call);
    }
};

/// What a prepared statement says is about to be executed.
[[nodiscard]] routing use_of_channels(const scanned_statement& what, const statement_link& link,
                                      const reply_queue& owed);

} // namespace pgweir::protocol
