// What a fake client accepts as an answer: what a direct connection would have said, or an error
// for which there is an excuse. See fake_client.hpp.
#include "tests/simulation/fake_client.hpp"

#include <algorithm>

namespace pgweir::simulation {

namespace {

/// A lost server explains errors for so long: waits and slow networks included.
constexpr auto excuse_lasts = seconds(40);

} // namespace

void fake_client::wrong(std::string what) { shared_.violation(tag_ + " " + std::move(what)); }

bool fake_client::server_trouble() const {
    return shared_.last_server_fault != time_point{} &&
           shared_.time.now() - shared_.last_server_fault < excuse_lasts;
}

/// The other side closes: has everything been said?
bool fake_client::may_end() const {
    // What a server that was lost had to say to one who was leaving, nobody knows.
    return doubt_ || misses_only_unflushed() || (said_goodbye_ && leaves_a_copy_open()) ||
           ((said_goodbye_ || half_closed_) && server_trouble());
}

/// The end of a COPY has not been sent: to a Terminate there PostgreSQL would say what is wrong
/// with that, and before it, that the data is; the daemon just closes
/// (integration/differential/allowed_differences.md).
bool fake_client::leaves_a_copy_open() const {
    bool open = copy_ != copy_so_far::none;
    auto rest = model_;
    for (const auto& left : units_) {
        const auto replies = rest.execute(left.m);
        const bool begins = std::any_of(replies.begin(), replies.end(),
                                        [](const auto& r) { return r.type == 'G'; });
        open = begins || (open && left.m.type != 'c' && left.m.type != 'f');
    }
    return open;
}

/// It has said goodbye, or all that it will say, and what it has not heard is what PostgreSQL had
/// not flushed by then.
bool fake_client::misses_only_unflushed() const {
    constexpr std::string_view flushed = "ZENG";
    const auto is_flushed = [&](const message& m) {
        return flushed.find(m.type) != std::string_view::npos;
    };
    if (current_.m.type == 'X') {
        return true; // in the middle of COPY PostgreSQL complains, but to whom?
    }
    if (std::any_of(expected_.begin(), expected_.end(), is_flushed)) {
        return false;
    }
    auto rest = model_;
    for (const auto& left : units_) {
        if (left.m.type == 'X') {
            return true;
        }
        const auto replies = rest.execute(left.m);
        const bool flushes = left.m.type == 'H' && !rest.skipping();
        if (flushes || std::any_of(replies.begin(), replies.end(), is_flushed)) {
            return false;
        }
    }
    return rest.closed() || half_closed_;
}

/// A request may be answered by this ERROR although PostgreSQL would do what it asks: what is known
/// not to be as on a direct connection (integration/differential/allowed_differences.md).
bool fake_client::known_difference(const message& m) const {
    // In a failed transaction nobody can make a server know a statement that it lacks, not even one
    // without rows, which could be described there.
    return current_.m.type == 'D' && essence(m) == "25P02" &&
           snapshot_.status() == protocol::transaction_status::failed;
}

/// May an ERROR stand where an ordinary answer was expected?
bool fake_client::excusable(std::string_view sqlstate) const {
    if (sqlstate == "55000") {
        // Another server than the one that has the value. (Behind an INSERT in the same Query
        // nobody would know here what has been done: no client sends that.)
        return snapshot_.statement_of(current_.m).find("lastval()") != std::string_view::npos;
    }
    if (sqlstate == "57014") {
        return cancel_asked_ || (half_closed_ && snapshot_.in_copy_in());
    }
    const bool nothing_open = snapshot_.status() == protocol::transaction_status::idle;
    // The engine's own, in place of a server.
    const bool waited = shared_.time.now() - current_.sent_at >= rules_.wait_timeout;
    if (sqlstate == "53300") {
        return nothing_open && waited;
    }
    if (sqlstate == "08001") { // waited in vain also where the first server is slow to answer
        return nothing_open && (waited || server_trouble());
    }
    if (sqlstate == "08004") {
        return nothing_open && server_trouble();
    }
    return false;
}

bool fake_client::fatal_excusable(std::string_view sqlstate) const {
    const bool at_login = phase_ == phase::login || phase_ == phase::tls;
    const auto waited = shared_.time.now() - started_at_;
    if (sqlstate == "57P01") {
        return rules_.shutting_down || server_trouble();
    }
    if (sqlstate == "57P05") {
        return limited_; // when, tests/simulation/idle_limits_test.cpp looks at
    }
    if (sqlstate == "08006" || sqlstate == "57P02" ||
        (sqlstate == "57P03" && rules_.own_servers && at_login)) {
        return server_trouble();
    }
    if (sqlstate == "08P01") {
        return garbage_sent_ || (shared_.nonsense_talked && server_trouble());
    }
    if (sqlstate == "0A000") {
        return rules_.statement_mode && began_;
    }
    if (sqlstate == "22023" || sqlstate == "42704") { // ours, or in PostgreSQL's own words
        return plan_.provokes == client_plan::refusal::setting;
    }
    if (!at_login) {
        return false;
    }
    if (sqlstate == "53300") {
        return plan_.over_limit || waited >= rules_.wait_timeout ||
               (rules_.own_servers && server_trouble()); // PostgreSQL's own
    }
    if (sqlstate == "08001") {
        return server_trouble() || waited >= rules_.wait_timeout ||
               (rules_.own_servers && waited >= rules_.connect_timeout);
    }
    if (sqlstate == "08004") {
        return server_trouble();
    }
    if (sqlstate == "28P01") {
        return plan_.provokes == client_plan::refusal::password;
    }
    if (sqlstate == "3D000") {
        return plan_.provokes == client_plan::refusal::database;
    }
    return sqlstate == "57014" && waited >= rules_.login_timeout;
}

/// An answer to nothing (backend_process::nonsense()) meets a question that is on its way: nobody
/// can tell it from an answer to that.
bool fake_client::may_be_nonsense(const message& m) const {
    return shared_.nonsense_talked && (m.type == '2' || m.type == '3');
}

void fake_client::fatal(std::string_view sqlstate) {
    if (!fatal_excusable(sqlstate)) {
        wrong("was sent away with SQLSTATE " + std::string(sqlstate) + " for no reason");
    }
    fatal_ = sqlstate;
}

void fake_client::answer(const message& m) {
    switch (static_cast<protocol::backend>(m.type)) {
    case protocol::backend::notice_response:
        if (m.body.find("for ") == std::string::npos) {
            break; // a WARNING, which is part of the answer
        }
        if (m.body.find("for " + tag_ + '\0') == std::string::npos) {
            wrong("got somebody else's notice");
        }
        return;
    case protocol::backend::notification_response:
        if (m.body.find("listen") == std::string::npos &&
            m.body.find(tag_ + '\0') == std::string::npos) {
            wrong("got somebody else's notification");
        }
        return;
    case protocol::backend::parameter_status: {
        const auto name = m.body.substr(0, m.body.find('\0'));
        seen_[name] = m.body.substr(name.size() + 1, m.body.size() - name.size() - 2);
        return;
    }
    case protocol::backend::error_response:
        if (is_fatal(m) && (expected_.empty() || !same(expected_.front(), m))) {
            fatal(essence(m));
            return;
        }
        break;
    case protocol::backend::data_row: {
        const auto text = " " + essence(m);
        const auto whose = word_of(text, "tag");
        if (!whose.empty() && whose != tag_ && whose != "everybody") {
            wrong("got a row of " + std::string(whose));
        }
        break;
    }
    default:
        break;
    }
    if (plan_.console) {
        compare_console(m);
    } else if (phase_ == phase::ready || phase_ == phase::leaving) {
        compare(m);
    }
}

void fake_client::compare_console(const message& m) {
    if (m.type == 'Z') {
        if (console_owed_ == 0) {
            wrong("got a ReadyForQuery that the console did not owe");
            return;
        }
        --console_owed_;
        think();
    }
}

/// Whether it is clear what a COPY has read. It is not when the COPY fails and anything but its
/// data was sent between its beginning and its end.
void fake_client::note_copy(const std::vector<message>& replies) {
    const auto say = [&](char type) {
        return std::any_of(replies.begin(), replies.end(),
                           [&](const auto& reply) { return reply.type == type; });
    };
    const char type = current_.m.type;
    if (say('G')) {
        copy_ = copy_so_far::plain;
    } else if (copy_ == copy_so_far::none) {
        return;
    } else if (type == 'c' || type == 'f') {
        doubt_ = doubt_ || (copy_ == copy_so_far::muddled && say('E'));
        copy_ = copy_so_far::none;
        return;
    } else if (type != 'd' && type != 'H') {
        copy_ = copy_so_far::muddled;
    }
    const bool over = !model_.in_copy_in() || model_.closed();
    doubt_ = doubt_ || (copy_ == copy_so_far::muddled && over);
}

/// Goes to the next request that is answered at all, and to its answer.
void fake_client::look_ahead() {
    while (expected_.empty() && !units_.empty()) {
        current_ = std::move(units_.front());
        units_.pop_front();
        snapshot_ = model_;
        const bool goodbye = current_.m.type == 'X';
        auto replies = model_.execute(current_.m);
        note_copy(replies);
        limited_ = limited_ || model_.idle_limit().count() != 0;
        for (auto& reply : replies) {
            // To one who says goodbye in the middle of COPY, PostgreSQL explains what is wrong
            // with that.
            if (reply.type != 'S' && !goodbye) {
                expected_.push_back(std::move(reply));
            }
        }
    }
}

void fake_client::compare(const message& m) {
    if (expected_.empty() && m.type == 'E' && model_.in_copy_in()) {
        snapshot_ = model_; // COPY fails while more data is on its way
        current_ = {{'d', {}}, shared_.time.now()};
    } else if (expected_.empty() && !doubt_) {
        wrong(std::string("got a message of type ") + m.type + " that it had not asked for");
        return;
    }
    const bool as_expected = !expected_.empty() && same(expected_.front(), m);
    if (!as_expected && m.type == 'E' && (excusable(essence(m)) || known_difference(m))) {
        model_ = snapshot_;
        doubt_ = doubt_ || (copy_ == copy_so_far::muddled && model_.in_copy_in()) ||
                 (essence(m) == "57014" && model_.in_batch());
        expected_.clear();
        for (auto& reply : model_.fail(current_.m, essence(m))) {
            if (reply.type != 'S') {
                expected_.push_back(std::move(reply));
            }
        }
    } else if (!as_expected && (doubt_ || may_be_nonsense(m))) {
        shared_.trace(plan_.number, "doubt", [&] { return tag_ + " does not know what is right"; });
        cut();
        finished();
        return;
    } else if (!as_expected) {
        const auto& right = expected_.empty() ? message{} : expected_.front();
        wrong("got " + std::string(1, m.type) + " '" + essence(m).substr(0, 200) +
              "' where a direct connection would answer " + std::string(1, right.type) + " '" +
              essence(right).substr(0, 200) + "'");
        cut(); // one report is enough
        finished();
        return;
    }
    expected_.pop_front();
    if (expected_.empty()) {
        unit_done();
        if (m.type == 'Z') {
            for (const auto& [name, value] : model_.reported()) {
                if (seen_[name] != value) {
                    wrong("believes that " + name + " is '" + seen_[name] + "', but it is '" +
                          value + "'");
                    seen_[name] = value;
                }
            }
        }
        look_ahead();
    }
    think();
}

void fake_client::unit_done() {
    for (const auto& write : model_.committed) {
        const auto found = rules_.log->find(write);
        const auto times = found == rules_.log->end() ? 0 : found->second;
        if (times < ++acknowledged_[write]) {
            wrong("was told that " + write + " is committed, but it is in the log " +
                  std::to_string(times) + " times only");
        }
    }
    never_written_.insert(never_written_.end(), model_.aborted.begin(), model_.aborted.end());
    model_.committed.clear();
    model_.aborted.clear();
}

void fake_client::check_aborted_writes() const {
    for (const auto& write : never_written_) {
        const bool counted = write.ends_with('*'); // may have failed once and succeeded once
        if (!counted && rules_.log->contains(write)) {
            shared_.violation(tag_ + " was told that " + write + " failed, but it is in the log");
        }
    }
    // One who has been told everything knows how often each write has been done.
    const auto all = rules_.log->find(tag_ + ".*");
    if (heard_everything_ && all != rules_.log->end()) {
        const auto known = acknowledged_.find(all->first);
        if (known == acknowledged_.end() || known->second != all->second) {
            shared_.violation(all->first + " is in the log " + std::to_string(all->second) +
                              " times, which is not what " + tag_ + " was told");
        }
    }
}

} // namespace pgweir::simulation
