// The look from outside: one libpq connection straight to PostgreSQL, for setting up, checking and
// tearing down.
//
// Owner: main. One thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct pg_conn;

namespace pgweir::differential {

class admin {
public:
    explicit admin(const std::string& conninfo);
    ~admin() { go_on(); }
    admin(const admin&) = delete;
    admin& operator=(const admin&) = delete;

    /// Throws with PostgreSQL's words when a statement fails.
    void run(const std::string& sql);
    /// Rows as text, one per line; an error as its SQLSTATE.
    [[nodiscard]] std::vector<std::string> check(const std::string& sql);
    /// Asks until the answer is true. False: it did not become so in time.
    [[nodiscard]] bool until(const std::string& sql,
                             std::chrono::steady_clock::time_point deadline);
    /// Stops (SIGSTOP) the processes whose ids `sql` tells, which must be some, on this machine.
    /// False: they did not stop in time.
    [[nodiscard]] bool stop(const std::string& sql, std::chrono::steady_clock::time_point deadline);
    /// What was stopped goes on.
    void go_on();

    /// A condition for until(): no session but this one, and those that say that they are a
    /// disturbance, is in the middle of anything.
    static const std::string quiet;
    static constexpr std::string_view disturbance_mark = "/*disturbance*/";

private:
    struct closer {
        void operator()(pg_conn* connection) const;
    };
    std::unique_ptr<pg_conn, closer> connection_;
    std::vector<int> stopped_;
};

} // namespace pgweir::differential
