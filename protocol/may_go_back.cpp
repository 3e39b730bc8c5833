#include "protocol/may_go_back.hpp"

namespace pgweir::protocol {

// The order is the precedence: what makes the server useless for good comes first, then what is
// still under way (bytes, messages, answers), then what PostgreSQL says of its transaction, then
// what holds the server for a reason of its own. Of several doubts the first is reported.
return_verdict may_go_back(const return_facts& facts) {
    if (facts.in_doubt) {
        return return_verdict::in_doubt;
    }
    if (facts.inside_client_message || facts.inside_server_message) {
        return return_verdict::inside_message;
    }
    if (facts.unsent_to_server) {
        return return_verdict::unsent;
    }
    if (facts.in_copy) {
        return return_verdict::in_copy;
    }
    if (facts.replies_owed) {
        return return_verdict::replies_owed;
    }
    if (!facts.ready_seen_since_last_message) {
        return return_verdict::not_ready;
    }
    switch (facts.status) {
    case transaction_status::idle:
        break;
    case transaction_status::in_transaction:
        return return_verdict::in_transaction;
    case transaction_status::failed:
        return return_verdict::failed_transaction;
    default: // a byte that is no status
        return return_verdict::not_ready;
    }
    if (facts.cancel_in_flight) {
        return return_verdict::cancel_in_flight;
    }
    if (facts.pinned) {
        return return_verdict::pinned;
    }
    return return_verdict::yes;
}

std::string_view to_string(return_verdict verdict) {
    switch (verdict) {
    case return_verdict::yes:
        return "yes";
    case return_verdict::not_ready:
        return "not_ready";
    case return_verdict::in_transaction:
        return "in_transaction";
    case return_verdict::failed_transaction:
        return "failed_transaction";
    case return_verdict::replies_owed:
        return "replies_owed";
    case return_verdict::unsent:
        return "unsent";
    case return_verdict::inside_message:
        return "inside_message";
    case return_verdict::in_copy:
        return "in_copy";
    case return_verdict::in_doubt:
        return "in_doubt";
    case return_verdict::cancel_in_flight:
        return "cancel_in_flight";
    case return_verdict::pinned:
        return "pinned";
    }
    return "unknown";
}

} // namespace pgweir::protocol
