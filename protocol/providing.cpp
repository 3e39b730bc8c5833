#include "protocol/providing.hpp"

namespace pgweir::protocol {

using change = server_statements::change;

void providing::make_room() {
    while (const auto* const victim = link_.there.victim(link_.per_server, owed_.batch())) {
        const auto id = *victim;
        append_close_statement(to_.own(), server_name(id));
        link_.there.sent(change::about(change::kind::evict, {.id = id}), owed_.batch());
        owed_.sent(frontend::close, fate::swallow, {.noted = true});
        ++link_.counted.evicted;
    }
}

// Should the server have it after all, that is closed first.
void providing::parse(const client_statements::named& known) {
    const auto& what = known.what;
    make_room();
    append_close_statement(to_.own(), what->name);
    owed_.sent(frontend::close, fate::swallow);
    if (known.types.empty()) {
        append_parse(to_.own(), what->name, what->definition);
    } else {
        append_parse(to_.own(), what->name, what->text(), known.types);
    }
    link_.there.sent(change::about(change::kind::provide, {.id = what->id, .what = what}),
                     owed_.batch(), parsed_now(link_));
    owed_.sent(frontend::parse, fate::swallow, {.errors_to_client = true, .noted = true});
    ++link_.counted.provided;
}

void providing::describe(client_statements::named& known) {
    message_writer(to_.own()).begin(frontend::describe).u8('S').c_string(known.what->name).end();
    link_.there.sent(
        change::about(change::kind::describe, {.id = known.what->id, .what = known.what}),
        owed_.batch());
    owed_.sent(frontend::describe, fate::swallow,
               {.describes_statement = true, .errors_to_client = true, .noted = true});
    known.asked = true;
}

bool providing::is_to_be_checked(const client_statements::named& known) const {
    return known.relied_on && known.shape != unknown_shape && !known.unchecked &&
           !owed_.skipping_until_sync() && link_.status != transaction_status::failed;
}

routing providing::provide_for(client_statements::named& known) {
    parse(known);
    if (!is_to_be_checked(known)) {
        return {};
    }
    describe(known);
    message_writer(to_.own()).begin(frontend::flush).end();
    link_.mine.checks();
    link_.counted.checking = true;
    return {routing::how::wait};
}

void providing::describe_first(client_statements::named& known) {
    if (known.shape == unknown_shape && !known.asked && !known.unchecked && owed_.ours_may_go() &&
        !owed_.skipping_until_sync() && link_.status != transaction_status::failed &&
        known.what != nullptr &&
        link_.there.of(known.what->id, owed_.batch()) == server_statements::presence::present) {
        describe(known);
    }
}

void describe_portals_statement(const statement_link& link, reply_queue& owed, relay_sink& to) {
    if (auto* const what = link.mine.take_described_portal(owed.batch()); what != nullptr) {
        providing(link, owed, to).describe_first(*what);
    }
}

} // namespace pgweir::protocol
