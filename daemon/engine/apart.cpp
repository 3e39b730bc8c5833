#include "daemon/engine/apart.hpp"

#include "protocol/own_statement.hpp"

#include <string_view>

namespace pgweir::daemon {

namespace {

constexpr std::uint8_t begin_and_commit = 2;

void append_deferrable(server& s, std::string_view sql) {
    protocol::append_own_statement(s.out.own(), s.owed, protocol::apart_name, sql);
    protocol::append_own_sync(s.out.own(), s.owed);
}

} // namespace

apart::apart(server& s)
    : server_(s)
    , needed_(is_needed(s)) {
    if (needed_) {
        protocol::append_apart_begin(s.out.own(), s.owed);
        s.apart_unheard = begin_and_commit;
        s.apart = true;
    }
}

apart::~apart() {
    if (needed_) {
        protocol::append_apart_end(server_.out.own(), server_.owed);
    }
}

undeferred::undeferred(server& s)
    : server_(s)
    , needed_(protocol::may_wait_for_snapshot(*s.carried)) {
    if (needed_) {
        append_deferrable(s, "SET default_transaction_deferrable TO off");
        s.apart_unheard = begin_and_commit;
    }
}

undeferred::~undeferred() {
    if (needed_) {
        append_deferrable(server_, "SET default_transaction_deferrable TO on");
    }
}

bool apart::is_needed(const server& s) {
    const auto reported = s.parameters.find("default_transaction_read_only");
    return reported != s.parameters.end() ? reported->second == "on"
                                          : protocol::may_wait_for_snapshot(*s.carried);
}

bool apart::takes_ready(server& s, protocol::transaction_status status, bool ours) {
    const bool over = status == protocol::transaction_status::idle;
    if (!ours || !s.apart || over) {
        s.status = status;
        s.apart = s.apart && !over;
    }
    if (!ours || s.apart_unheard == 0) {
        return false;
    }
    --s.apart_unheard;
    return true;
}

} // namespace pgweir::daemon
