#include "protocol/executed_statement.hpp"

#include "protocol/channel_use.hpp"
#include "protocol/lent_statements.hpp"
#include "protocol/sequence_memory.hpp"

namespace pgweir::protocol {

executed_statement statement_is_executed(frontend type, scanned_statement what,
                                         const statement_link& link, reply_queue& owed,
                                         session_state& state, relay_sink& to) {
    what.effects &= ~effect_bits{link.ignored};
    executed_statement found;
    if (may_read_sequences(what.effects)) {
        found.way = forget_others_sequences(type, what, link, owed, to);
    }
    if (found.way.is == routing::how::as_is && (what.effects & lists_statements) != 0) {
        found.way = have_only_own_statements(type, link, owed, to);
        found.only_own_there = link.kept != nullptr && owed.ours_may_go();
    }
    if (found.way.is == routing::how::as_is) {
        found.way = use_of_channels(what, link, owed);
    }
    if (found.way.is == routing::how::as_is) {
        state.statement(what.sql, what.effects, link.names.names);
    }
    return found;
}

} // namespace pgweir::protocol
