// Users that no file names: PostgreSQL is asked for them (auth.query), as a user of its own and on
// a connection of its own beside all pools, so that nothing of any client's can reach it. Answers
// are kept for a while (auth.query_ttl), also that there is no such user; when a proof has failed
// they are forgotten, so that a new user or password counts from the next attempt on.
//
// What is known is told no sooner than a look-up takes: else strangers could tell who has logged in
// lately, who exists, and which databases do.
//
// libpq waits (auth_query_connection); it does so on one thread for each database, for seconds at
// most, and nobody waits for that at the end. What one database does not answer concerns no other,
// and what cannot be asked about one name concerns no other name.
//
// While PostgreSQL is away, logins wait as long as they would for a server. They wait in
// held_answers, whoever they say they are, and not on a thread; it is asked again as often as for
// anybody. There are no more of them than auth.max_unauthenticated.
//
// With '*' strangers make databases up. The first connection to such a one is opened by one of a
// few threads that all of them share on one host; PostgreSQL sees no more at a time. One that has
// been opened shows that the database is there. One that is not there, or in which nothing can be
// asked, has no users: those who made its name up are told what they are told of any other.
//
// Owner: the service. Thread: any may ask; `done` is called on a thread of this, or at once.
// Tests: tests/daemon/auth_query_test.cpp (arrays, the cache), integration/auth_query_test.py.
#pragma once

#include "config/configuration.hpp"
#include "daemon/engine/ports.hpp"
#include "daemon/held_answers.hpp"
#include "daemon/logging.hpp"
#include "daemon/look_up_times.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgweir::daemon {

class auth_query {
public:
    using clock = std::chrono::system_clock;
    struct answer {
        std::shared_ptr<const looked_up_user> user = {}; // nothing: no such user, or not to be had:
        std::string failure = {};                        // … because of this,
        bool of_database = false; // … which PostgreSQL says of that database alone
        bool may_pass = false; // … which may be over soon: it is away, or has no connection left
        /// How long the question took, alone: without the wait behind others, nor for a
        /// connection to be opened. Nothing: it failed.
        std::optional<std::chrono::steady_clock::duration> took = {};
        /// What PostgreSQL has answered is not what auth.query is to give.
        std::string complaint = {};
    };

    /// `directory`: what paths in the configuration are relative to.
    auth_query(logger& log, std::shared_ptr<const config::configuration> config,
               std::string directory = {});
    ~auth_query();

    void reconfigure(std::shared_ptr<const config::configuration> config);
    /// Who `user` is in the database that clients call `database`. Those who ask for the same at
    /// the same time get the same answer. Who is gone when its turn comes (`asker`) gets none.
    /// While PostgreSQL is away it is asked again, every second, and who asks is told `until` then
    /// at the latest (and after one question at the soonest).
    void ask(const std::string& database, const std::string& user,
             held_answers::clock::time_point until, std::weak_ptr<const void> asker,
             std::function<void(const answer&)> done);
    /// Calls `done` as late as an answer of that database would come.
    void hold(const std::string& database, std::function<void()> done);
    /// A proof did not fit what was last answered, whoever that was: it is kept until it is a
    /// second old, and no longer (so that guessing does not make PostgreSQL work for each guess).
    void forget(const std::string& database, const std::string& user);
    /// Nobody is told anything after this. Waits for no answer.
    void stop();

private:
    struct entrance; // to databases that may not be there
    struct source;   // where is asked
    struct question;
    using sources = std::map<std::string, std::shared_ptr<source>>;
    using source_list = std::vector<std::shared_ptr<source>>;
    struct asked_user {
        answer known;
        clock::time_point asked_at{};
        clock::time_point until{};
        held_answers::clock::time_point told_at{};
    };
    using name = std::pair<std::string, std::string>; // of the database, of the user

    [[nodiscard]] std::shared_ptr<source> source_for(const std::string& database);
    [[nodiscard]] std::shared_ptr<source> make_source(const config::database& where);
    [[nodiscard]] std::shared_ptr<entrance> entrance_to(const config::database& where);
    void let_go_of_unknown_sources();
    [[nodiscard]] source_list take_unused();
    void ask(question what);
    void put(const source& to, question what);
    void tell(const question& what, answer found);
    [[nodiscard]] bool ask_later(const question& what, const answer& found);
    [[nodiscard]] bool is_news(const question& what, const answer& found);
    void answered(const question& what, const answer& found);
    [[nodiscard]] held_answers::clock::duration usual_time(const source* of);

    logger& log_;
    const std::string directory_;
    std::mutex mutex_; // of what follows
    std::shared_ptr<const config::configuration> config_;
    std::uint64_t configuration_ = 0; // how many there have been before this one
    std::map<name, asked_user> users_;
    sources sources_;
    std::map<std::pair<std::string, std::uint16_t>, std::shared_ptr<entrance>> entrances_;
    source_list former_; // whoever still waits for one of those is told by it
    bool stopped_ = false;
    look_up_times times_; // of all sources
    std::minstd_rand dice_{std::random_device()()};
    held_answers held_; // has a mutex of its own, and calls nothing of this
};

/// An array of texts as PostgreSQL writes it: `{a,"b c",NULL}`. Nothing: it is none.
[[nodiscard]] std::optional<std::vector<std::string>> parse_text_array(std::string_view text);

/// The first in what libpq says of errors when it is to be verbose: `FATAL:  3D000: …`, the words
/// in whatever language. Empty: PostgreSQL has sent none.
[[nodiscard]] std::string_view sqlstate_in(std::string_view verbose);

} // namespace pgweir::daemon
