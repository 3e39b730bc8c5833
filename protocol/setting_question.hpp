// What is asked of PostgreSQL when a transaction that may have changed settings has ended, and what
// follows from the answer: what the client's session is like now, and what the server carries.
//
// Where it is known which settings may have changed, their values are asked for by name. Else all
// that have been set for the session are listed (pg_settings leaves out who one is, and what
// extensions and applications have made up: those are asked for besides, as far as they are known).
// So are they where something was reset that the client had asked for at its start: from the value
// alone nobody could tell whether the server has gone back to its own, or the RESET has been rolled
// back. Of those that an application has made up the list says nothing; there the value tells, and
// what RESET makes of it on this server (a role may have one of its own), which is asked as well.
// What only somebody else than who logs in may set cannot be given to another server, nor be taken
// off this one: of what everybody may not set, that is tried when all the rest is known.
// Who one is is told as well, but neither in that list nor whether by RESET: where it is what it
// was, and what the server has of itself, the text counts. (In a transaction block the start-up
// value is set again right behind RESET, and PostgreSQL tells.) The questions travel behind the
// client's answer; their own answers are swallowed.
//
// Owner: a server, while it is asked. Thread: its worker's. Sans-io.
// Tests: tests/protocol/setting_question_test.cpp.
// Source: PostgreSQL documentation, "pg_settings", "Customized Options".
#pragma once

#include "protocol/message.hpp"
#include "protocol/reply_queue.hpp"
#include "protocol/setting_changes.hpp"
#include "protocol/setting_replay.hpp"
#include "protocol/setting_trial.hpp"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

class setting_question {
public:
    /// `before`: what the session was like before; `at_start`: what RESET goes back to.
    /// `own`: who the server is where nobody has set anything. Of those that may have changed and
    /// nobody has the name of (setting_changes::unknown) nothing can be asked.
    setting_question(const setting_changes& changes, const setting_map& before,
                     const setting_map& at_start, const login_identity& own);

    /// Something may have been reset on the server that is to be what the client asked for at its
    /// start: what it sends next waits until that has been put right.
    [[nodiscard]] bool withholds() const;

    /// … or what the server is going to carry may have to be tried (try_elsewhere()), which nothing
    /// of the client's may come in front of. To be called first.
    void expect_trial(const permitted_settings& permitted);

    /// What is being asked about.
    [[nodiscard]] const setting_changes& changes() const { return changes_; }
    /// All has been answered, and something that could not be read has changed what the client
    /// asked for at its start: whether by RESET, the list tells.
    [[nodiscard]] bool start_up_in_doubt() const;

    /// Appends the messages, and to `owed` what they will be answered with.
    void append(std::string& out, reply_queue& owed) const;

    /// All has been told. Whether there are any of `carried` of which it is not known that they may
    /// be set elsewhere, and it can be tried (setting_trial.hpp): once.
    [[nodiscard]] bool may_try_elsewhere(const setting_map& carried,
                                         const permitted_settings& permitted);
    /// Appends the trial of those.
    void try_elsewhere(const setting_map& carried, std::string& out, reply_queue& owed);
    /// What has been tried, and may be set.
    [[nodiscard]] const setting_map& tried() const { return tried_; }
    /// … may not: the client is to stay where it is.
    [[nodiscard]] bool stays() const { return stays_; }

    /// The body of an answer: DataRow or FunctionCallResponse. Empty: it was too long.
    void take(backend type, bytes body);
    /// A ReadyForQuery has come that answers it. True: it was the last one.
    [[nodiscard]] bool ready_came();
    /// An error came, or what could not be read: nothing is known.
    void fail() { (tried_.empty() ? failed_ : stays_) = true; }

    struct answer {
        setting_map session; // what the client is to have wherever it goes
        setting_map carried; // what this server has
    };
    /// When all has been answered. Nothing: it could not be found out.
    [[nodiscard]] std::optional<answer> result() const;

private:
    [[nodiscard]] bool resets_start_up() const;
    [[nodiscard]] bool was_reset(std::string_view name) const;
    [[nodiscard]] bool was_only_reset(std::string_view name) const;
    [[nodiscard]] bool all_went_back() const;
    [[nodiscard]] std::string_view reset_value(std::string_view name) const;
    [[nodiscard]] bool is_login_user() const;
    [[nodiscard]] bool is_default(std::string_view name,
                                  const std::optional<std::string>& value) const;
    void settle(answer& into, const std::string& name, const std::optional<std::string>& value,
                bool has_gone_back) const;

    setting_changes changes_;
    const setting_map before_, at_start_;
    std::string own_user_, own_role_;
    bool everything_;
    std::vector<std::string> asked_;       // by name, in this order
    std::vector<std::string> reset_asked_; // … and behind them for what RESET makes of these
    std::vector<std::optional<std::string>> told_;
    setting_map listed_;
    std::size_t ready_missing_ = 0;
    setting_map tried_;
    bool failed_ = false;
    bool expects_trial_ = false;
    bool stays_ = false;
};

} // namespace pgweir::protocol
