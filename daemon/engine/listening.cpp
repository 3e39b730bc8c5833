// LISTEN: clients that listen to channels without having a server. The rules are in
// protocol/client_channels.hpp and channel_use.hpp; this is where clients, their servers and the
// listening connection (listening_connection.cpp) meet them. ARCHITECTURE.md, "Life of a LISTEN".
//
// Tests: integration/listen_test.py, integration/state (listen*), integration/differential.
#include "daemon/engine/apart.hpp"
#include "daemon/engine/engine.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::daemon {

namespace {

/// In a NotificationResponse, behind the process id, which may be any bytes, as the length may be.
constexpr std::size_t words_at = protocol::header_bytes + sizeof(std::uint32_t);
/// So much waits for a client that is in a transaction, or does not read.
constexpr std::size_t most_waiting_bytes = 1024 * 1024;
/// A client's own NOTIFY comes back within a round trip of the listening connection; if it does
/// not, the client is not kept waiting for it.
constexpr auto fence_patience = std::chrono::seconds(2);
/// The fences behind a client's own NOTIFY have serials of their own.
constexpr std::uint64_t own_news = std::uint64_t{1} << 63;

bool is_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

template <typename Parameters>
std::string_view encoding_in(const Parameters& reported) {
    const auto found = reported.find("client_encoding");
    return found == reported.end() ? std::string_view() : std::string_view(found->second);
}

} // namespace

// What is said to the server ---------------------------------------------------------------------

/// The server is at rest, or may be: what is to be said to it about channels is said, and what
/// waits for the client is told. False: the client has ended.
bool engine::speak_of_channels(client& c, server& s, time_point now) {
    next_errand(c, s);
    deliver(c, now);
    return c.held == &s;
}

void engine::next_errand(client& c, server& s) {
    const bool stays = s.only_for || s.pool->shard.bounds().mode == pool::pool_mode::session;
    // A cancel on its way would strike what we say.
    if (stays || s.errand != channel_errand::none || s.cancels_in_flight != 0 || !s.ready_current ||
        s.owed.in_doubt() || c.stream.inside_message()) {
        return;
    }
    auto* l = c.listening.get();
    if (s.status == protocol::transaction_status::in_transaction && l != nullptr) {
        if (const auto name = l->channels.trace()) {
            protocol::append_listen(s.out.own(), s.owed, {*name});
            run_errand(s, channel_errand::trace);
        }
    }
    if (s.status != protocol::transaction_status::idle) {
        return;
    }
    if (l != nullptr && std::exchange(l->fence_wanted, false)) {
        const protocol::fence_mark mark{options_.self.value, c.id.value, l->last_fence | own_news};
        {
            const undeferred meanwhile(s);
            protocol::append_fence(s.out.own(), s.owed, s.pool->listeners.fence,
                                   protocol::fence_payload(mark), false);
        }
        run_errand(s, channel_errand::own_news);
    } else if (c.session.channels_to_ask() &&
               (l != nullptr || c.pool->shard.bounds().listens_for_all)) {
        if (l == nullptr) {
            c.listening = std::make_unique<listening_client>();
            l = c.listening.get();
            c.statements.unnamed_is_to_be_read();
        }
        c.session.channels_asked();
        l->channels.asked();
        s.channels_told.clear();
        {
            const apart transaction(s);
            protocol::append_channel_question(s.out.own(), s.owed);
        }
        run_errand(s, channel_errand::ask);
    } else if (l == nullptr || l->stays || l->text_waits) {
        return;
    } else if (l->channels.now() == protocol::client_channels::stage::joined &&
               !s.pool->listeners.fence.empty()) {
        const protocol::fence_mark mark{options_.self.value, c.id.value, l->channels.serial()};
        l->fence = s.pool->listeners.fence;
        l->channels.fence_sent(l->fence);
        {
            const undeferred meanwhile(s);
            protocol::append_fence(s.out.own(), s.owed, l->fence, protocol::fence_payload(mark),
                                   true);
        }
        run_errand(s, channel_errand::fence);
    } else if (l->channels.now() == protocol::client_channels::stage::settled) {
        if (l->channels.server_listens()) {
            l->channels.server_unlistens(); // what is sent behind it meets nothing there
            protocol::append_unlisten_all(s.out.own(), s.owed);
            run_errand(s, channel_errand::clear);
            return;
        }
        c.session.unpin(protocol::pin_reason::listen);
        if (l->channels.empty() && l->waiting.empty() && !l->holds_ready) {
            c.listening.reset();
        }
    }
}

void engine::run_errand(server& s, channel_errand what) {
    s.errand = what;
    s.errand_failed = false;
    s.ready_current = false;
    flush(s);
}

/// PostgreSQL has answered all of it. What follows from that is done when the server is looked at
/// next (maybe_give_back()).
void engine::errand_done(server& s, time_point now) {
    const auto what = std::exchange(s.errand, channel_errand::none);
    auto* const c = s.user;
    if (c == nullptr || !c->listening) {
        return;
    }
    auto& l = *c->listening;
    switch (what) {
    case channel_errand::none:
    case channel_errand::trace: // where it failed, so has the transaction
        break;
    case channel_errand::ask:
        l.stays = s.errand_failed;
        if (!s.errand_failed) {
            channels_told(*c, s);
        } else {
            leave(*c, l.channels.stay()); // what was about to move stays as well
            count_listening(*c);
        }
        break;
    case channel_errand::carry:
        if (!s.errand_failed) {
            l.channels.carried_by_server();
        }
        break;
    case channel_errand::fence:
        if (s.errand_failed) { // too much waits in PostgreSQL's queue
            l.stays = true;
            leave(*c, l.channels.stay());
        } else if (l.channels.now() == protocol::client_channels::stage::fenced) {
            l.channels.left_server(); // it should have told of the fence
        }
        count_listening(*c);
        break;
    case channel_errand::clear:
        l.stays = s.errand_failed;
        break;
    case channel_errand::own_news:
        if (s.errand_failed) {
            release_ready(*c, now);
        }
        break;
    }
}

/// The server has said what it listens to.
void engine::channels_told(client& c, server& s) {
    auto& l = *c.listening;
    auto changes = l.channels.told(std::exchange(s.channels_told, {}));
    leave(c, changes.gone);
    if (!changes.fresh.empty()) {
        // PostgreSQL converts what it notifies, and names, to the encoding of each connection.
        if (c.pool->shard.bounds().listens_for_all &&
            encoding_in(s.parameters) == listening_encoding) {
            join(c, std::move(changes.fresh));
        } else {
            l.stays = true;
            leave(c, l.channels.stay()); // some of it may have been about to move
        }
    }
    count_listening(c);
}

void engine::join(client& c, std::vector<std::string> channels) {
    auto& part = *c.pool;
    for (const auto& channel : channels) {
        (void)part.listeners.clients.add(channel, c.id);
    }
    ports_.post(part.entry->listening_home(options_.self),
                {join_channels{part.entry, options_.self, c.id, c.listening->channels.serial(),
                               std::move(channels)}});
}

void engine::leave(client& c, const std::vector<std::string>& channels) {
    auto& part = *c.pool;
    std::vector<std::string> last;
    for (const auto& channel : channels) {
        if (part.listeners.clients.remove(channel, c.id)) {
            last.push_back(channel);
        }
    }
    if (!last.empty()) {
        ports_.post(part.entry->listening_home(options_.self),
                    {leave_channels{part.entry, options_.self, std::move(last)}});
    }
}

/// The client leaves.
void engine::stop_listening(client& c) {
    if (c.listening) {
        discard_channels(c);
        c.listening.reset();
    }
}

/// It listens to nothing any more.
void engine::discard_channels(client& c) {
    leave(c, c.listening->channels.all_gone());
    count_listening(c);
}

void engine::count_listening(client& c) {
    const bool listens = !c.listening->channels.empty();
    if (std::exchange(c.listening->counted, listens) != listens) {
        auto& clients = c.pool->stats().clients_listening;
        listens ? clients.add() : clients.subtract();
    }
}

void engine::on(time_point now, channels_joined& message) {
    auto* const c = find(message.client);
    if (c == nullptr || !c->listening || !c->listening->channels.joined(message.serial)) {
        return;
    }
    if (c->held != nullptr) { // it is pinned
        maybe_give_back(*c->held, now);
    }
}

// What the client sends
// ----------------------------------------------------------------------------

/// False: what has been sent is to be answered first (channel_use.hpp), or what is being asked: the
/// server may listen to channels of ours, which a transaction that begins now would find.
bool engine::may_send_behind(const client& c, const server& s) {
    if (c.listening && s.errand == channel_errand::ask && !c.listening->channels.ours().empty()) {
        return false;
    }
    return !c.listening || !c.listening->use.stepwise || c.stream.inside_message() ||
           s.owed.in_copy_in() || s.owed.owed_ready(protocol::fate::forward) == 0;
}

/// A text that speaks of channels comes next, which the server is to know. False: something has to
/// be answered first.
bool engine::channels_first(client& c, server& s) {
    auto& l = *c.listening;
    const bool at_rest = s.ready_current && s.owed.empty() && s.errand == channel_errand::none;
    if (!at_rest && !s.owed.batch_open() && s.owed.answers_will_come()) {
        l.text_waits = true; // … for the server, which is not to be given back meanwhile
        c.session.pin(protocol::pin_reason::listen);
        flush(s);
        return false;
    }
    l.text_waits = false;
    l.carry_tried = true; // in a transaction block it would come too late
    l.use.missing = false;
    if (at_rest && s.status == protocol::transaction_status::idle && s.cancels_in_flight == 0) {
        c.session.pin(protocol::pin_reason::listen);
        {
            const undeferred meanwhile(s);
            protocol::append_listen(s.out.own(), s.owed, l.channels.served(), l.channels.ours());
        }
        run_errand(s, channel_errand::carry);
    }
    return true;
}

/// What the client's messages meet that speak of channels; nothing: there are none elsewhere.
protocol::channel_use* engine::channel_use_of(client& c) {
    if (!c.listening) {
        return nullptr;
    }
    auto& l = *c.listening;
    l.use.missing = !l.carry_tried && l.channels.missing();
    return &l.use;
}

/// Messages have been forwarded: what they say of channels.
void engine::take_channel_use(client& c) {
    auto& l = *c.listening;
    if (std::exchange(l.use.spoken_of, false)) {
        c.session.pin(protocol::pin_reason::listen); // until the server has been asked
        c.session.ask_about_channels();
        l.channels.sent(std::exchange(l.use.unlistens, {}));
    }
}

// What the client is told ------------------------------------------------------------------------

/// A ReadyForQuery of the client's. In front of the one that ends a transaction goes what has been
/// notified until then, its own notifications among it.
void engine::pass_ready(client& c, server& s, const protocol::server_step& step,
                        protocol::bytes taken, time_point now) {
    auto& l = *c.listening;
    const auto frame = taken.last(step.last_frame_bytes);
    if (const auto before = taken.first(taken.size() - frame.size()); !before.empty()) {
        c.out.pass(before);
    }
    if (step.status == protocol::transaction_status::idle) {
        l.channels.transaction_ended();
        const bool own = l.use.notified && !l.channels.served().empty() && s.owed.empty() &&
                         !s.owed.batch_open() && !s.owed.in_doubt() &&
                         !c.pool->listeners.fence.empty();
        l.use = {};
        l.carry_tried = false;
        if (own) {
            l.holds_ready = l.fence_wanted = true;
            ++l.last_fence;
            l.hold_until = now + fence_patience;
            fence_deadlines_.emplace_back(l.hold_until, c.id);
            wake_by(l.hold_until);
            return;
        }
        if (!settling(c)) {
            tell_waiting(c);
        }
    }
    c.out.pass(frame);
}

/// A notification from the client's server, of what has not moved to the listening connection.
void engine::pass_notification(client& c, const protocol::server_step& step,
                               protocol::bytes taken) {
    const auto frame = taken.last(step.last_frame_bytes);
    const auto told = protocol::read_notification(frame);
    auto* const l = c.listening.get();
    bool ours = false;
    if (l != nullptr && told) {
        // A fence, this client's or another's. The listening connection may be another one by now.
        ours = told->channel == l->fence || told->channel == c.pool->listeners.fence;
        const auto mark = ours ? protocol::read_fence(told->payload) : std::nullopt;
        if (mark && mark->client == c.id.value && mark->serial == l->channels.serial() &&
            l->channels.now() == protocol::client_channels::stage::fenced) {
            l->channels.left_server();
        }
    }
    const bool comes_otherwise = l != nullptr && told && l->channels.serves(told->channel);
    const auto passed = ours || comes_otherwise ? taken.first(taken.size() - frame.size()) : taken;
    if (!passed.empty()) {
        c.out.pass(passed);
    }
}

/// Its own notifications have come, or are not waited for any longer.
void engine::release_ready(client& c, time_point now) {
    auto& l = *c.listening;
    if (!std::exchange(l.holds_ready, false)) {
        return;
    }
    l.fence_wanted = false;
    if (!settling(c)) {
        tell_waiting(c);
    }
    protocol::append_ready_for_query(c.out.own(), protocol::transaction_status::idle);
    if (flush(c, now)) {
        pump(c, now);
    }
}

/// What it listens to is being found out, or moves: until then it is told nothing.
bool engine::settling(const client& c) {
    const auto& l = *c.listening;
    return c.session.channels_to_ask() ||
           l.channels.now() != protocol::client_channels::stage::settled ||
           (c.held != nullptr && c.held->errand == channel_errand::ask);
}

/// It is between two transactions, and nothing is on its way to it.
bool engine::may_be_told(const client& c) {
    if (c.listening->holds_ready || settling(c) || c.blocked || !c.out.empty()) {
        return false;
    }
    if (c.held == nullptr) {
        return c.state == client_state::idle || c.state == client_state::waiting;
    }
    const auto& s = *c.held;
    return c.state == client_state::active && s.ready_current && s.owed.empty() &&
           !c.query_running && s.status == protocol::transaction_status::idle;
}

/// Puts what waits into its outbox.
void engine::tell_waiting(client& c) {
    auto& l = *c.listening;
    std::uint64_t told = 0;
    for (const auto& what : l.waiting) {
        const auto read = protocol::read_notification(protocol::as_bytes(*what));
        if (read && l.channels.delivers(read->channel)) { // else it has said UNLISTEN since
            c.out.own() += *what;
            ++told;
        }
    }
    l.waiting.clear();
    l.waiting_bytes = 0;
    if (told != 0) {
        c.pool->stats().notifications.add(told);
    }
}

/// While it is not known which of them are the client's, its ReadyForQuery waits with them.
void engine::deliver(client& c, time_point now) {
    const auto* const l = c.listening.get();
    if (l != nullptr && l->holds_ready && l->fence_passed == l->last_fence && !settling(c)) {
        release_ready(c, now);
        return;
    }
    if (c.listening && !c.listening->waiting.empty() && may_be_told(c)) {
        tell_waiting(c);
        flush(c, now);
    }
}

/// One that is in a transaction, or does not read, cannot be told now. PostgreSQL would let its
/// queue grow, until there is no room for anybody's NOTIFY.
void engine::keep_for(client& c, const shared_notification& what, time_point now) {
    auto& l = *c.listening;
    l.waiting.push_back(what);
    l.waiting_bytes += what->size();
    const auto encoding = c.reported != nullptr ? encoding_in(*c.reported) : std::string_view();
    const auto words = std::string_view(*what).substr(words_at); // its channel and payload
    if (!encoding.empty() && encoding != listening_encoding && !is_ascii(words)) {
        tell_and_close(c, pool::client_close::notifications_unread,
                       protocol::error::notifications_unread,
                       {.message = "a notification cannot be converted to client_encoding",
                        .detail = {},
                        .hint = "Set client_encoding before LISTEN, not after it."},
                       now);
        return;
    }
    deliver(c, now);
    if (c.listening && c.listening->waiting_bytes > most_waiting_bytes) {
        ports_.log(log_severity::warning, "notifications not read",
                   {{"client", static_cast<std::int64_t>(c.id.value)},
                    {"database", c.info->database},
                    {"user", c.info->user},
                    {"application_name", c.info->application_name},
                    {"notifications", static_cast<std::int64_t>(l.waiting.size())},
                    {"bytes", static_cast<std::int64_t>(l.waiting_bytes)}});
        tell_and_close(c, pool::client_close::notifications_unread,
                       protocol::error::notifications_unread, {}, now);
    }
}

void engine::on(time_point now, notified& message) {
    const auto told = protocol::read_notification(protocol::as_bytes(*message.what));
    if (!told) {
        return;
    }
    for (const auto id : part_of(message.entry).listeners.clients.listeners(told->channel)) {
        auto* const c = find(id);
        if (c != nullptr && c->listening && c->listening->channels.delivers(told->channel)) {
            keep_for(*c, message.what, now);
        }
    }
}

void engine::on(time_point now, fence_passed& message) {
    auto* const c = find(message.client);
    if (c == nullptr || !c->listening) {
        return;
    }
    auto& l = *c->listening;
    if ((message.serial & own_news) == 0) {
        l.channels.arrived(message.serial);
        deliver(*c, now);
    } else {
        l.fence_passed = message.serial & ~own_news;
        deliver(*c, now);
    }
}

void engine::on(time_point now, listening_state& message) {
    auto& part = part_of(message.entry);
    part.listeners.fence = message.fence;
    std::vector<client_id> who;
    for (const auto& [id, c] : clients_) {
        if (c->pool == &part && c->listening) {
            who.push_back(id);
        }
    }
    for (const auto id : who) {
        auto* const c = find(id);
        if (c == nullptr || !c->listening) {
            continue;
        }
        if (message.fence.empty()) {
            release_ready(*c, now); // its fence has been lost
            continue;
        }
        if (message.again) {
            c->listening->channels.all_arrived();
        }
        if (c->held != nullptr) {
            maybe_give_back(*c->held, now); // its move may have waited for this
        }
        if (auto* const still = find(id); still != nullptr && still->listening) {
            deliver(*still, now);
        }
    }
}

} // namespace pgweir::daemon
