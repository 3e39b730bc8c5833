// How a client plays a conversation of tests/support/conversation_generator: message by message,
// waiting where it says so, and leaving as it says. What it must hear is, as always, what its own
// postgres_session answers. See fake_client.hpp.
#include "tests/simulation/fake_client.hpp"

#include "tests/support/conversation_generator.hpp"

namespace pgweir::simulation {

namespace {

using kind = test::statement_text::kind;

/// The model's language, each statement with the words that tell whose it is.
test::dialect language_of(const std::string& tag, const client_rules& rules, bool session_state) {
    auto language = test::model_dialect();
    language.statements.push_back({"SELECT %c rows=3 ms=3", 0, kind::ordinary, 2});
    language.statements.push_back({"INSERT %c ms=2", 0, kind::ordinary, 1});
    if (rules.slow_statement_ms != 0) {
        const auto slow = "SELECT %c ms=" + std::to_string(rules.slow_statement_ms);
        language.statements.push_back({slow, 0, kind::ordinary, 2});
    }
    if (rules.bulk) {
        language.statements.push_back({"SELECT %c rows=9 size=3000", 0, kind::ordinary, 2});
    }
    if (session_state) {
        for (const auto* const text :
             {"SET custom.x = 'of %c'", "SET timezone = 'Zone/%c'", "SET LOCAL custom.y = 'local'",
              "LISTEN ch %c", "CREATE TEMP TABLE t %c", "SELECT pg_advisory_lock(7) %c",
              "UNLISTEN ch %c", "DROP TABLE t %c", "SELECT pg_advisory_unlock(7) %c"}) {
            language.statements.push_back({text, 0, kind::ordinary, 1});
        }
    }
    for (auto& statement : language.statements) {
        if (const auto at = statement.text.find("%c"); at != std::string::npos) {
            statement.text.replace(at, 2, "tag=" + tag);
        }
    }
    return language;
}

} // namespace

void fake_client::make_up_conversation() {
    if (!plan_.converses) {
        return;
    }
    began_ = true; // where that is not allowed
    test::generator_options options;
    options.most_clients = 1;
    options.bursts = plan_.single_bytes ? 6 : 24;
    options.looks_from_outside = false;
    // Which of the messages in a COPY a cancel comes before nobody can tell.
    options.doubtful_copies = plan_.cancel_percent == 0 && shared_.random.chance(20);
    options.leave_in_the_middle = true;
    const auto language = language_of(tag_, rules_, plan_.session_state_percent != 0);
    steps_ = test::generate(shared_.random.next(), language, options).steps;
}

/// Sends as much as the conversation has to say before it waits, or a part of that.
void fake_client::go_on() {
    thinking_ = false;
    while (phase_ == phase::ready && next_step_ != steps_.size() && wait_is_over()) {
        perform(steps_[next_step_++]);
        constexpr unsigned pause_percent = 15;
        if (shared_.random.chance(pause_percent)) {
            break;
        }
    }
    pump_out();
    maybe_cancel();
    if (next_step_ != steps_.size()) {
        think();
    }
}

void fake_client::perform(const test::conversation_step& step) {
    if (test::is_message(step.what)) {
        const auto bytes = test::encode(step);
        said_goodbye_ = step.what == test::step_kind::terminate;
        add(bytes[0], bytes.substr(protocol::header_bytes));
        return;
    }
    switch (step.what) {
    case test::step_kind::hang_up:
        shared_.trace(plan_.number, "leave", [&] { return tag_ + " hangs up"; });
        phase_ = phase::leaving;
        closes_when_sent_ = true;
        if (out_.empty()) {
            finished();
        }
        return;
    case test::step_kind::reset:
        cut();
        return;
    case test::step_kind::half_close:
        shared_.trace(plan_.number, "leave", [&] { return tag_ + " says nothing any more"; });
        half_close_when_sent_ = true;
        if (out_.empty()) {
            half_closed_ = true;
            end_->finish();
        }
        return;
    default:
        wait_for(step);
    }
}

void fake_client::wait_for(const test::conversation_step& step) {
    wait_count_ = step.number;
    waits_for_end_ = step.what == test::step_kind::wait_close;
    wait_types_ = step.what == test::step_kind::wait_ready ? "Z"
                  : step.name == "EmptyQueryResponse"      ? "I"
                  : step.name.starts_with("Parse")         ? "1E"
                                                           : "CE";
}

/// What is waited for has come, or nothing more is to come: it may have been replaced by an error.
bool fake_client::wait_is_over() {
    while (wait_count_ != 0) {
        const auto at = heard_.find_first_of(wait_types_, waited_to_);
        if (at == std::string::npos) {
            if (outstanding()) {
                return false;
            }
            waited_to_ = heard_.size();
            wait_count_ = 0;
            break;
        }
        waited_to_ = at + 1;
        --wait_count_;
    }
    return !waits_for_end_;
}

} // namespace pgweir::simulation
