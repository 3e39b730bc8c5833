// What a fake client accepts as an answer: what a direct connection would have said, or an error
// for which there is an excuse. See fake_client.hpp.
#include "tests/simulation/fake_client.hpp"

#include "protocol/error_response.hpp"

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

/// May an ERROR stand where an ordinary answer was expected?
bool fake_client::excusable(std::string_view sqlstate) const {
    if (sqlstate == "57014") {
        return cancel_asked_;
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
    if (sqlstate == "08006" || sqlstate == "57P02" ||
        (sqlstate == "57P03" && rules_.own_servers && at_login)) {
        return server_trouble();
    }
    if (sqlstate == "08P01") {
        return garbage_sent_;
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
        if (protocol::read_error_fields(protocol::as_bytes(m.body)).fatal()) {
            fatal(essence(m));
            return;
        }
        break;
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

/// The next request that is answered at all begins to be answered.
void fake_client::start_unit() {
    current_ = std::move(units_.front());
    units_.pop_front();
    snapshot_ = model_;
    for (auto& reply : model_.execute(current_.m)) {
        if (reply.type != 'S') {
            expected_.push_back(std::move(reply));
        }
    }
}

/// Requests that are answered by nothing are done with as soon as what was before them is.
void fake_client::skip_silent_units() {
    while (expected_.empty() && !units_.empty()) {
        auto without = model_;
        if (!without.execute(units_.front().m).empty()) {
            return;
        }
        model_ = std::move(without);
        units_.pop_front();
    }
}

void fake_client::compare(const message& m) {
    skip_silent_units();
    if (expected_.empty() && !units_.empty()) {
        start_unit();
    } else if (expected_.empty() && m.type == 'E' && model_.in_copy_in()) {
        snapshot_ = model_; // COPY fails while more data is on its way
        current_ = {{'d', {}}, shared_.time.now()};
    } else if (expected_.empty()) {
        wrong(std::string("got a message of type ") + m.type + " that it had not asked for");
        return;
    }
    const bool as_expected = !expected_.empty() && same(expected_.front(), m);
    if (!as_expected && m.type == 'E' && excusable(essence(m))) {
        model_ = snapshot_;
        expected_.clear();
        for (auto& reply : model_.fail(current_.m, essence(m))) {
            if (reply.type != 'S') {
                expected_.push_back(std::move(reply));
            }
        }
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
    }
    think();
}

void fake_client::unit_done() {
    for (const auto& write : model_.committed) {
        if (!rules_.log->contains(write)) {
            wrong("was told that " + write + " is committed, but it is not in the log");
        }
    }
    never_written_.insert(never_written_.end(), model_.aborted.begin(), model_.aborted.end());
    model_.committed.clear();
    model_.aborted.clear();
    skip_silent_units();
}

void fake_client::check_aborted_writes() const {
    for (const auto& write : never_written_) {
        if (rules_.log->contains(write)) {
            shared_.violation(tag_ + " was told that " + write + " failed, but it is in the log");
        }
    }
}

} // namespace pgweir::simulation
