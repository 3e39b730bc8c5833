// Pins that go away: what a transaction has left on the server, and what it has given up, is asked
// of PostgreSQL when it has ended, where a text spoke of it. What is still there keeps the client
// on its server, and nothing else does. The rules are in protocol/session_state.hpp and
// pin_question.hpp; this is where clients and servers meet them.
#include "daemon/engine/apart.hpp"
#include "daemon/engine/engine.hpp"
#include "protocol/statement_redact.hpp"

namespace pgweir::daemon {

namespace {

constexpr std::size_t longest_shown = 200; // of a statement that pins

/// What would pin a client of a session pool in transaction mode: settings that PostgreSQL could be
/// asked for would not.
std::uint16_t would_pin(const protocol::session_state& session) {
    const unsigned settings = session.changed_settings().unknown
                                  ? 0U
                                  : static_cast<unsigned>(protocol::pin_reason::setting);
    return static_cast<std::uint16_t>(session.pins() & ~settings);
}

} // namespace

static_assert(pool::stats::pin_reasons == protocol::pin_reason_count);

/// Something of our own may be asked between two transactions of the client's.
bool engine::may_be_asked(const client& c, const server& s) {
    const bool stays = s.only_for || s.pool->shard.bounds().mode == pool::pool_mode::session;
    // A cancel on its way would strike the question.
    return !stays && s.cancels_in_flight == 0 && s.ready_current &&
           s.status == protocol::transaction_status::idle && !s.owed.in_doubt() &&
           !c.stream.inside_message();
}

/// A transaction has ended in which texts spoke of what pins. Until PostgreSQL has answered, the
/// client keeps the server.
void engine::ask_about_pins(client& c, server& s) {
    auto about = c.session.pins_to_ask();
    if (about == 0 || !may_be_asked(c, s)) {
        return;
    }
    constexpr auto listens = static_cast<std::uint16_t>(protocol::pin_reason::listen);
    if (c.listening && (about & listens) != 0) {
        c.session.ask_about_channels();
    }
    if (c.session.channels_to_ask() && (c.listening || s.pool->shard.bounds().listens_for_all)) {
        about &= static_cast<std::uint16_t>(~listens); // next_errand() asks which
    }
    if (about == 0) {
        return;
    }
    c.session.pins_asked(about);
    s.pin_question = std::make_unique<protocol::pin_question>(about);
    {
        const apart transaction(s);
        s.pin_question->append(s.out.own(), s.owed, s.kept_statements.pins);
    }
    s.ready_current = false;
    flush(s);
}

/// PostgreSQL has answered.
void engine::pins_told(server& s) {
    const auto question = std::move(s.pin_question);
    auto* const c = s.user;
    const auto there = question->there();
    if (!there) {
        s.kept_statements.pins = 0;
    }
    if (c == nullptr) {
        return;
    }
    if (there && options_.bug == options::planted::unpinned_unseen) {
        c->session.pins_told(question->about(), 0);
    } else if (there) {
        c->session.pins_told(question->about(), *there);
        if (c->session.has(protocol::pin_reason::listen)) {
            c->session.ask_about_channels(); // a DO block has listened: next_errand() asks to what
        }
    } else if (question->worth_repeating()) {
        c->session.ask_again_about(question->about()); // the client has deallocated what we asked
    }
}

/// A transaction has ended, and the client keeps its server.
void engine::stays_pinned(client& c, server& s, time_point now) {
    const auto& bounds = s.pool->shard.bounds();
    auto pins = c.session.pins();
    if (bounds.mode == pool::pool_mode::session) {
        pins = bounds.observe ? would_pin(c.session) : std::uint16_t{0};
    }
    count_pins(c, s, pins, now);
    if (c.pinned_idle_since <= c.query_started) { // else something else has happened meanwhile
        c.pinned_idle_since = now;
    }
    if (c.session.pinned() && bounds.pin_idle_timeout != duration{}) {
        wake_by(c.pinned_idle_since + bounds.pin_idle_timeout);
    }
}

/// Whoever is pinned and asks for nothing is ended when its time is over: nobody else can have its
/// server. (In session mode each client has one for as long as it likes.)
void engine::sweep_pins(pool_part& part, time_point now) {
    const auto& bounds = part.shard.bounds();
    if (bounds.pin_idle_timeout == duration{} || bounds.mode == pool::pool_mode::session) {
        return;
    }
    std::vector<client_id> overdue; // ending one gives its server to another: not while iterating
    const auto& leased = part.shard.servers(pool::server_state::leased);
    for (auto* at = leased.front(); at != nullptr; at = leased.next(*at)) {
        const auto& s = static_cast<const server&>(*at);
        const bool waits = s.user != nullptr && s.user->pins_counted != 0 && s.ready_current &&
                           s.status == protocol::transaction_status::idle &&
                           !s.user->stream.inside_message() && !s.user->query_running;
        if (!waits) {
            continue; // comes back to stays_pinned()
        }
        const auto deadline = s.user->pinned_idle_since + bounds.pin_idle_timeout;
        if (deadline <= now) {
            overdue.push_back(s.user->id);
        } else {
            wake_by(deadline);
        }
    }
    for (const auto id : overdue) {
        auto* const c = find(id);
        if (c != nullptr && c->held != nullptr) {
            tell_and_close(
                *c, pool::client_close::pin_idle_timeout, protocol::error::pin_idle_timeout,
                {.message = "terminating connection due to pin_idle_timeout: it kept its server "
                            "connection (" +
                            pins_text(c->pins_counted) + ") and was idle",
                 .detail = {},
                 .hint = "Give up what keeps the server connection, or raise pin_idle_timeout of "
                         "pgweir."},
                now);
        }
    }
}

/// These pin the client now: what that means for metrics and SHOW PINS. Time is counted up to here.
void engine::count_pins(client& c, server& s, std::uint16_t pins, time_point now) {
    const unsigned before = c.pins_counted;
    if ((before | pins) == 0) [[likely]] {
        return;
    }
    auto& stats = s.pool->stats();
    if (before == 0) {
        stats.pins.add();
        stats.clients_pinned.add();
    } else if (pins == 0) {
        stats.clients_pinned.subtract();
    }
    c.pins_counted = pins;
    if (!c.info->pins) {
        c.info->pins = std::make_unique<std::array<client_info::pin, protocol::pin_reason_count>>();
    }
    for (std::size_t i = 0; i < protocol::pin_reason_count; ++i) {
        const unsigned bit = 1U << i;
        auto& pin = (*c.info->pins)[i];
        if ((before & bit) != 0) {
            const auto more = now - pin.counted_to;
            stats.pinned_ns[i].add(static_cast<std::uint64_t>(more.count()));
            pin.row->pinned += more;
        } else if ((pins & bit) != 0) {
            const auto text =
                c.session.pinned_by().empty() ? s.running.text() : c.session.pinned_by();
            stats.pins_now[i].add();
            stats.pins_by_reason[i].add();
            pin.row =
                &pins_.begin({s.pool->entry->database, s.pool->entry->user,
                              c.info->application_name, static_cast<protocol::pin_reason>(bit),
                              protocol::redact_statement(text, longest_shown)},
                             now);
        }
        pin.counted_to = now;
        if ((before & ~unsigned{pins} & bit) != 0) {
            stats.pins_now[i].subtract();
            --pin.row->now;
        }
    }
}

} // namespace pgweir::daemon
