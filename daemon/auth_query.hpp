// Users that no file names: PostgreSQL is asked for them (auth.query), as a user of its own and on
// a connection of its own beside all pools, so that nothing of any client's can reach it. Answers
// are kept for a while, also that there is no such user; a password that did not do is forgotten,
// so that a new one counts from the next attempt on.
//
// libpq waits; it does so on threads of this, two for everybody.
//
// Owner: the service. Thread: any may ask; `done` is called on a thread of this, or at once.
// Tests: tests/daemon/auth_query_test.cpp (arrays, the cache), integration/auth_query_test.py.
#pragma once

#include "config/configuration.hpp"
#include "daemon/engine/ports.hpp"
#include "daemon/logging.hpp"

#include <boost/asio/thread_pool.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct pg_conn;

namespace pgweir::daemon {

class auth_query {
public:
    using clock = std::chrono::system_clock;
    using answer = std::shared_ptr<const looked_up_user>; // nothing: no such user, or not to be had

    auth_query(logger& log, std::shared_ptr<const config::configuration> config);
    ~auth_query();

    void reconfigure(std::shared_ptr<const config::configuration> config);
    /// Who `user` is in the database that clients call `database`. Those who ask for the same at
    /// the same time get the same answer.
    void ask(const std::string& database, const std::string& user,
             std::function<void(answer)> done);
    /// A proof did not fit what was last answered: the next one asks anew, unless that is not a
    /// second old (so that guessing does not make PostgreSQL work for each guess).
    void forget(const std::string& database, const std::string& user);
    /// Waits for what is under way and takes nothing more.
    void stop();

private:
    struct source; // where is asked
    struct asked_user {
        answer known;
        clock::time_point asked_at{};
        clock::time_point until{};
        bool asking = false;
        std::vector<std::function<void(answer)>> waiting;
    };
    using name = std::pair<std::string, std::string>; // of the database, of the user

    [[nodiscard]] std::shared_ptr<source> source_for(const std::string& database);
    void look_up(const std::shared_ptr<source>& where, const name& of);
    void answered(const name& of, answer what, std::chrono::seconds keep_for);

    logger& log_;
    std::mutex mutex_; // of what follows
    std::shared_ptr<const config::configuration> config_;
    std::map<name, asked_user> users_;
    std::map<std::string, std::shared_ptr<source>> sources_;
    boost::asio::thread_pool threads_{2};
};

/// An array of texts as PostgreSQL writes it: `{a,"b c",NULL}`. Nothing: it is none.
[[nodiscard]] std::optional<std::vector<std::string>> parse_text_array(std::string_view text);

} // namespace pgweir::daemon
