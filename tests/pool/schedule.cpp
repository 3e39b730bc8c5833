// The world of schedule.hpp.
#include "tests/pool/schedule.hpp"

#include <algorithm>

namespace pgweir::pool {

using namespace std::chrono_literals;
using to = shard::placement::to;

namespace {

constexpr std::uint32_t clients_per_worker = 6;
constexpr std::size_t all_states = 5;

} // namespace

schedule::schedule(const options& how)
    : how_(how)
    , random_(how.seed)
    , bounds_(how.bounds)
    , book_(how.workers)
    , most_allowed_(how.bounds.maxconn) {
    for (std::uint32_t at = 0; at < how.workers; ++at) {
        workers_.emplace_back(book_, at, bounds_).part.set_warm(true);
        for (std::uint32_t i = 0; i < clients_per_worker; ++i) {
            auto& made = clients_.emplace_back();
            made.id = client_id{clients_.size()};
            made.at = at;
        }
    }
    for (std::uint32_t at = 0; at < how.workers; ++at) {
        react(at);
    }
    check();
}

void schedule::step() {
    ++steps_;
    const auto chance = draw(100);
    if (chance < 22) {
        client_asks();
    } else if (chance < 40) {
        client_is_done();
    } else if (chance < 43) {
        client_gives_up();
    } else if (chance < 55) {
        connect_ends();
    } else if (chance < 60) {
        reset_ends();
    } else if (chance < 62) {
        server_dies();
    } else if (chance < 68) {
        server_is_gone();
    } else if (chance < 86) {
        message_arrives(static_cast<std::uint32_t>(draw(workers_.size())));
    } else if (chance < 98) {
        time_passes();
    } else if (chance == 98) {
        postgres_changes();
    } else if (draw(5) == 0) {
        reload();
    } else {
        settle();
    }
    check();
}

// What happens ----------------------------------------------------------------------------------

void schedule::client_asks() {
    auto& who = clients_[draw(clients_.size())];
    if (who.waiting || who.held != nullptr) {
        return;
    }
    auto& part = workers_[who.at].part;
    const bool queue = part.waiting() != 0;
    who.held = part.acquire(who, now_);
    if (who.held != nullptr) {
        expect(!queue, "a client that asks overtakes one that waits");
        ++tally_.at_once;
        note(who.held->id.value);
    } else {
        ++tally_.waited;
        react(who.at);
    }
}

void schedule::client_is_done() {
    auto* const used = any_server(server_state::leased);
    if (used == nullptr) {
        return;
    }
    const auto holder = std::ranges::find(clients_, used->holder, &client::id);
    expect(holder != clients_.end() && holder->held == used, "a lease is not its holder's");
    holder->held = nullptr;
    auto& part = workers_[as_database_server(*used).at].part;
    if (draw(4) == 0) {
        part.begin_reset(*used, now_);
    } else {
        place(*used);
    }
}

void schedule::client_gives_up() {
    auto& who = clients_[draw(clients_.size())];
    tally_.cancelled += who.waiting ? 1 : 0;
    workers_[who.at].part.leave_queue(who);
}

void schedule::connect_ends() {
    if (auto* const opening = any_server(server_state::connecting)) {
        login(*opening, postgres_ == postgres::up);
    }
}

void schedule::login(server& who, bool works) {
    const auto at = as_database_server(who).at;
    if (works) {
        ++tally_.connected;
        book_.report_up();
        place(who);
        react(at);
        wake_others(at);
        return;
    }
    const bool full = postgres_ == postgres::full;
    ++(full ? tally_.full : tally_.refused);
    (void)book_.report_failure(full ? ledger::health::full : ledger::health::unreachable, now_,
                               bounds_.retry_min, bounds_.retry_max);
    begin_close(who, server_close::connect_failed);
}

void schedule::reset_ends() {
    if (auto* const cleaned = any_server(server_state::resetting)) {
        ++tally_.reset;
        place(*cleaned);
    }
}

void schedule::server_dies() {
    const auto state = static_cast<server_state>(draw(all_states - 1));
    auto* const dying = any_server(state);
    if (dying == nullptr) {
        return;
    }
    ++tally_.died;
    if (state == server_state::leased) {
        const auto holder = std::ranges::find(clients_, dying->holder, &client::id);
        holder->held = nullptr;
    }
    begin_close(*dying, server_close::server_eof);
}

void schedule::server_is_gone() {
    if (auto* const closing = any_server(server_state::closing)) {
        gone(*closing);
    }
}

void schedule::message_arrives(std::uint32_t at) {
    auto& mine = workers_[at];
    if (mine.mail.empty()) {
        return;
    }
    const auto mail = mine.mail.front();
    mine.mail.pop_front();
    switch (mail.what) {
    case message::kind::ask:
        if (auto* const given = mine.part.give_idle()) {
            as_database_server(*given).in_transit = true;
            workers_[mail.from].mail.push_back({message::kind::take, at, given});
        } else if (const auto other = mine.part.whom_else(worker_index{mail.from})) {
            ++tally_.passed_on;
            workers_[other->value].mail.push_back({message::kind::ask, mail.from, nullptr});
        }
        break;
    case message::kind::take: {
        auto& come = as_database_server(*mail.carried);
        come.at = at;
        come.in_transit = false;
        ++tally_.migrated;
        mine.part.adopt(come, now_);
        place(come);
        break;
    }
    case message::kind::wake:
        ++tally_.woken;
        react(at);
        break;
    }
}

void schedule::time_passes() {
    // Mostly a little; sometimes as long as it takes for something to be due.
    auto until = now_ + duration(static_cast<std::int64_t>(draw(3'000'000)));
    std::optional<time_point> due;
    for (const auto& one : workers_) {
        const auto next = one.part.next_deadline();
        due = next && (!due || *next < *due) ? next : due;
    }
    if (due && (*due < until || draw(16) == 0)) {
        until = *due;
    }
    now_ = std::max(now_, until);
    for (std::uint32_t at = 0; at < workers_.size(); ++at) {
        const auto next = workers_[at].part.next_deadline();
        if (next && *next <= now_) {
            timer(at);
        }
    }
}

void schedule::postgres_changes() {
    constexpr std::array next{postgres::up, postgres::up,   postgres::up,
                              postgres::up, postgres::down, postgres::full};
    postgres_ = next[draw(next.size())];
}

void schedule::reload() {
    if (how_.limits_change) {
        bounds_.maxconn = static_cast<std::uint32_t>(1 + draw(2 * how_.bounds.maxconn));
        bounds_.minconn = static_cast<std::uint32_t>(draw(bounds_.maxconn + 1));
        bounds_.wait_timeout = duration(1ms) * static_cast<int>(1 + draw(200));
    }
    bounds_.idle_timeout = duration(1ms) * static_cast<int>(draw(400));
    bounds_.max_lifetime = duration(10ms) * static_cast<int>(draw(500));
    ++tally_.reloads;
    most_allowed_ = std::max(bounds_.maxconn, book_.taken());
    for (std::uint32_t at = 0; at < workers_.size(); ++at) {
        workers_[at].part.set_limits(bounds_);
        timer(at);
    }
}

// How a worker answers --------------------------------------------------------------------------

void schedule::react(std::uint32_t at) {
    auto& part = workers_[at].part;
    const bool known_up = book_.next_try() == time_point::min();
    int opened = 0;
    while (true) {
        const auto decision = part.grow(now_);
        ++tally_.grown[static_cast<std::size_t>(decision)];
        if (decision != growth::open_for_waiter && decision != growth::open_for_minimum) {
            break;
        }
        auto& made = servers_.emplace_back();
        made.id = server_id{++last_server_};
        made.at = at;
        part.add_connecting(made, now_, static_cast<double>(draw(1000)) / 1000);
        ++opened;
    }
    expect(known_up || opened <= 1, "more than one attempt while it is not known to be up");
    if (const auto other = part.whom_to_ask()) {
        ++tally_.asked;
        workers_[other->value].mail.push_back({message::kind::ask, at, nullptr});
    }
}

void schedule::wake_others(std::uint32_t at) {
    workers_[at].part.wake_others([&](worker_index other) {
        workers_[other.value].mail.push_back({message::kind::wake, at, nullptr});
    });
}

void schedule::timer(std::uint32_t at) {
    auto& part = workers_[at].part;
    while (auto* const late = part.next_timed_out(now_)) {
        expect(!late->waiting, "a timed-out client still waits");
        ++tally_.timed_out;
        note(late->id.value);
    }
    part.sweep(now_, [&](server& who, server_close reason) {
        ++tally_.closed[static_cast<std::size_t>(reason)];
        note(who.id.value);
        if (draw(2) == 0) {
            gone(who);
        }
    });
    react(at);
    const auto next = part.next_deadline();
    expect(!next || *next > now_, "a timer that follows next_deadline() would spin");
}

void schedule::place(server& who) {
    auto& mine = as_database_server(who);
    auto& part = workers_[mine.at].part;
    auto* const oldest = part.oldest_waiter();
    const auto placed = part.free(who, now_);
    note(static_cast<std::uint64_t>(placed.where) * 1000 + who.id.value);
    switch (placed.where) {
    case to::waiter: {
        expect(placed.client == oldest, "not the oldest waiter of the worker");
        auto& served = as_client(*placed.client);
        expect(!served.waiting && who.holder == served.id, "the lease is not the waiter's");
        check_order(served);
        served.held = &who;
        ++tally_.served;
        break;
    }
    case to::idle:
        break;
    case to::other_worker:
        mine.in_transit = true;
        workers_[placed.worker.value].mail.push_back({message::kind::take, mine.at, &who});
        break;
    case to::close:
        ++tally_.closed[static_cast<std::size_t>(placed.reason)];
        react(mine.at);
        break;
    }
}

void schedule::begin_close(server& who, server_close reason) {
    const auto at = as_database_server(who).at;
    ++tally_.closed[static_cast<std::size_t>(reason)];
    // Some are gone without a goodbye, most take their time.
    if (draw(4) != 0) {
        workers_[at].part.begin_close(who, reason, now_);
        react(at);
    } else {
        gone(who);
    }
}

void schedule::gone(server& who) {
    const auto at = as_database_server(who).at;
    workers_[at].part.closed(who);
    servers_.remove_if([&](const database_server& one) { return &one == &who; });
    react(at);
    wake_others(at);
}

// The ends --------------------------------------------------------------------------------------

void schedule::settle() {
    for (int round = 0;; ++round) {
        expect(round < 10'000, "messages are sent without end");
        std::uint32_t at = 0;
        while (at < workers_.size() && workers_[at].mail.empty()) {
            ++at;
        }
        if (at == workers_.size()) {
            break;
        }
        message_arrives(at);
        check();
    }
    check_quiet();
}

void schedule::wind_down() {
    postgres_ = postgres::up;
    const auto busy = [&] {
        return std::ranges::any_of(
            clients_, [](const client& one) { return one.waiting || one.held != nullptr; });
    };
    for (int round = 0; busy(); ++round) {
        expect(round < 100'000, "a waiter is neither served nor timed out");
        connect_ends();
        reset_ends();
        client_is_done();
        server_is_gone();
        time_passes();
        settle();
        check();
    }
    // Idle servers above the minimum go, and then nothing is due for as long as they live.
    bounds_.max_lifetime = 0s;
    bounds_.idle_timeout = 1s;
    for (std::uint32_t at = 0; at < workers_.size(); ++at) {
        workers_[at].part.set_limits(bounds_);
        timer(at);
    }
    for (int round = 0; round < 1'000; ++round) {
        connect_ends();
        reset_ends();
        server_is_gone();
        time_passes();
        settle();
    }
    expect(book_.taken() == bounds_.minconn, "what stays is not the minimum");
    for (auto& one : workers_) {
        expect(!one.part.next_deadline(), "a deadline though nothing is to be done");
        one.part.set_warm(false);
    }
    while (!servers_.empty()) {
        auto& last = servers_.back();
        workers_[last.at].part.begin_close(last, server_close::shutdown, now_);
        gone(last);
        check();
    }
    expect(book_.taken() == 0 && book_.staying() == 0, "slots have leaked");
}

// What must hold --------------------------------------------------------------------------------

void schedule::check() {
    const auto taken = book_.taken();
    expect(taken <= most_allowed_, "more than maxconn");
    most_allowed_ = std::max(bounds_.maxconn, std::min(most_allowed_, taken));
    expect(taken == servers_.size(), "the ledger and PostgreSQL count differently");
    std::uint32_t listed = 0;
    std::uint32_t closing = 0;
    for (std::uint32_t at = 0; at < workers_.size(); ++at) {
        auto& one = workers_[at];
        check_worker(one, at);
        for (std::size_t state = 0; state < all_states; ++state) {
            listed += one.part.count(static_cast<server_state>(state));
        }
        closing += one.part.count(server_state::closing);
    }
    const auto moving = std::ranges::count(servers_, true, &database_server::in_transit);
    expect(listed + static_cast<std::uint32_t>(moving) == taken, "a server is on no list, or two");
    expect(book_.staying() == taken - closing, "closing and leaving are not the same servers");
}

void schedule::check_worker(worker& one, std::uint32_t at) {
    const auto& part = one.part;
    const auto& counts = one.counts;
    const auto gauge = [&](const counter& shown, server_state state) {
        expect(shown.load() == part.count(state), "a gauge differs from its list");
        const auto& list = part.servers(state);
        for (const auto* s = list.front(); s != nullptr; s = list.next(*s)) {
            expect(s->state == state, "a server is on the list of another state");
        }
    };
    gauge(counts.servers_connecting, server_state::connecting);
    gauge(counts.servers_idle, server_state::idle);
    gauge(counts.servers_in_use, server_state::leased);
    gauge(counts.servers_resetting, server_state::resetting);
    gauge(counts.servers_closing, server_state::closing);
    expect(counts.clients_waiting.load() == part.waiting(), "the gauge of waiters is wrong");
    expect(part.waiting() == 0 || part.count(server_state::idle) == 0,
           "somebody waits next to an idle server");
    expect(book_.has_waiter(worker_index{at}) == (part.waiting() != 0),
           "the published waiter is wrong");
    auto last = time_point::min();
    for (const auto* w = part.waiters().front(); w != nullptr; w = part.waiters().next(*w)) {
        expect(w->waiting && w->waiting_since >= last, "the queue is out of order");
        expect(now_ - w->waiting_since < bounds_.wait_timeout, "a waiter was not timed out");
        last = w->waiting_since;
    }
    const auto holding = std::ranges::count_if(
        clients_, [&](const client& who) { return who.at == at && who.held != nullptr; });
    expect(static_cast<std::uint32_t>(holding) == part.count(server_state::leased),
           "leases and holders differ");
}

void schedule::check_order(const client& served) {
    for (auto& one : workers_) {
        if (const auto* const oldest = one.part.oldest_waiter()) {
            expect(oldest->waiting_since + bounds_.migration_margin >= served.waiting_since,
                   "a waiter elsewhere was overtaken by more than the margin");
        }
    }
}

void schedule::check_quiet() {
    std::uint32_t waiting = 0;
    std::uint32_t idle = 0;
    const bool may_grow = book_.next_try() == time_point::min() && book_.taken() < bounds_.maxconn;
    for (auto& one : workers_) {
        waiting += one.part.waiting();
        idle += one.part.count(server_state::idle);
        expect(!may_grow || one.part.waiting() <= one.part.count(server_state::connecting),
               "a waiter is not given the slot that is free");
    }
    expect(waiting == 0 || idle == 0, "somebody waits while a server is idle");
    expect(!may_grow || book_.staying() >= bounds_.minconn, "the minimum is not refilled");
}

void schedule::expect(bool holds, const char* what) const {
    if (!holds) {
        throw std::logic_error(std::string(what) + ", seed " + std::to_string(how_.seed) +
                               ", step " + std::to_string(steps_));
    }
}

// Chance ----------------------------------------------------------------------------------------

std::uint64_t schedule::draw(std::uint64_t below) { return random_() % below; }

server* schedule::any_server(server_state state) {
    std::uint64_t many = 0;
    for (const auto& one : servers_) {
        many += one.state == state && !one.in_transit ? 1 : 0;
    }
    if (many == 0) {
        return nullptr;
    }
    auto skip = draw(many);
    for (auto& one : servers_) {
        if (one.state == state && !one.in_transit && skip-- == 0) {
            return &one;
        }
    }
    return nullptr;
}

void schedule::note(std::uint64_t what) { trace_ = (trace_ ^ what) * 0x100000001b3U + steps_; }

void schedule::tally::add(const tally& other) {
    const auto sum = [](std::uint64_t& mine, std::uint64_t more) { mine += more; };
    sum(at_once, other.at_once);
    sum(waited, other.waited);
    sum(served, other.served);
    sum(cancelled, other.cancelled);
    sum(timed_out, other.timed_out);
    sum(connected, other.connected);
    sum(refused, other.refused);
    sum(full, other.full);
    sum(died, other.died);
    sum(reset, other.reset);
    sum(migrated, other.migrated);
    sum(asked, other.asked);
    sum(passed_on, other.passed_on);
    sum(woken, other.woken);
    sum(reloads, other.reloads);
    std::ranges::transform(closed, other.closed, closed.begin(), std::plus<>());
    std::ranges::transform(grown, other.grown, grown.begin(), std::plus<>());
}

} // namespace pgweir::pool
