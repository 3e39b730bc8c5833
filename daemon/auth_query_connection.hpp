// The connection on which one database is asked for users, and the question. libpq waits, for
// seconds at most: PostgreSQL is given time enough to answer, and a connection that has been lost
// without a word is found out.
//
// Owner: auth_query's source of that database. Thread: one at a time, which nothing else needs.
// Tests: tests/daemon/auth_query_test.cpp (arrays), integration/auth_query_test.py.
#pragma once

#include "daemon/auth_query.hpp"
#include "protocol/secret.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

struct pg_conn;
struct pg_result;

namespace pgweir::daemon {

class auth_query_connection {
public:
    /// As libpq has them: keys and values.
    using parameters = std::vector<std::pair<std::string, std::string>>;

    auth_query_connection(parameters where, protocol::secret password, std::string query)
        : parameters_(std::move(where))
        , password_(std::move(password))
        , query_(std::move(query)) {}

    auth_query::answer ask(const std::string& user);
    /// A connection, or the failure that there is none.
    [[nodiscard]] auth_query::answer connect();

private:
    using clock = std::chrono::steady_clock;
    struct closer {
        void operator()(pg_conn* what) const;
    };
    /// Wipes what it frees: there are verifiers in it.
    struct clearer {
        void operator()(pg_result* what) const;
    };
    using result_ptr = std::unique_ptr<pg_result, clearer>;
    enum class outcome : std::uint8_t {
        rows,
        not_a_name, // PostgreSQL cannot have a user of that name
        refused,    // it says an error of this question
        late,       // it takes too long
        lost        // the connection
    };
    struct reply {
        outcome how;
        result_ptr rows = {};
        std::string why = {};
        bool of_database = false; // PostgreSQL says so of this one alone
        bool may_pass = false;    // … or may not say so in a while
    };

    [[nodiscard]] bool begin();
    [[nodiscard]] std::optional<clock::duration> time_of_a_question();
    [[nodiscard]] reply put(const std::string& user, std::chrono::seconds patience);
    [[nodiscard]] reply put(const std::string& user);
    [[nodiscard]] result_ptr read(clock::time_point until, bool& late);

    const parameters parameters_;
    const protocol::secret password_;
    const std::string query_;
    std::unique_ptr<pg_conn, closer> connection_;
    bool has_answered_ = false; // this connection, once
    bool was_opened_ = false;   // … for the question that is being asked
    clock::time_point again_at_{};
    auth_query::answer failure_;
};

} // namespace pgweir::daemon
