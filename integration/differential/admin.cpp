// See admin.hpp.
#include "integration/differential/admin.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include <libpq-fe.h>

namespace pgweir::differential {

namespace {

using result_ptr = std::unique_ptr<PGresult, decltype(&PQclear)>;

bool has_stopped(int process) {
    std::ifstream in("/proc/" + std::to_string(process) + "/stat");
    std::string stat;
    std::getline(in, stat);
    return stat.find(") T ") != std::string::npos; // "PID (NAME) STATE …"
}

} // namespace

const std::string admin::quiet =
    "select count(*) = 0 from pg_stat_activity where datname = current_database()"
    " and backend_type = 'client backend' and pid <> pg_backend_pid() and state <> 'idle'"
    " and query not like '%" +
    std::string(disturbance_mark) + "%'";

void admin::closer::operator()(pg_conn* connection) const { PQfinish(connection); }

admin::admin(const std::string& conninfo)
    : connection_(PQconnectdb(conninfo.c_str())) {
    if (PQstatus(connection_.get()) != CONNECTION_OK) {
        throw std::runtime_error(PQerrorMessage(connection_.get()));
    }
    PQsetNoticeProcessor(
        connection_.get(), [](void*, const char*) {}, nullptr);
}

void admin::run(const std::string& sql) {
    const result_ptr result(PQexec(connection_.get(), sql.c_str()), PQclear);
    const auto status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
        throw std::runtime_error(sql + ": " + PQresultErrorMessage(result.get()));
    }
}

std::vector<std::string> admin::check(const std::string& sql) {
    const result_ptr result(PQexec(connection_.get(), sql.c_str()), PQclear);
    if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) {
        const char* const state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
        return {std::string("error ") + (state != nullptr ? state : "without SQLSTATE")};
    }
    std::vector<std::string> lines;
    for (int row = 0; row < PQntuples(result.get()); ++row) {
        std::string line;
        for (int column = 0; column < PQnfields(result.get()); ++column) {
            line += column == 0 ? "" : " | ";
            line += PQgetisnull(result.get(), row, column) != 0
                        ? "null"
                        : PQgetvalue(result.get(), row, column);
        }
        lines.push_back(std::move(line));
    }
    return lines;
}

bool admin::until(const std::string& sql, std::chrono::steady_clock::time_point deadline) {
    while (check(sql) != std::vector<std::string>{"t"}) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        // Asking is what takes the time: leave the processor to those who are waited for.
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

bool admin::stop(const std::string& sql, std::chrono::steady_clock::time_point deadline) {
    const auto processes = check(sql);
    for (const auto& line : processes) {
        const int process = std::stoi(line);
        if (process <= 1 || ::kill(process, SIGSTOP) != 0) {
            throw std::runtime_error("cannot stop process " + line + ": " + std::strerror(errno));
        }
        stopped_.push_back(process);
        while (!has_stopped(process)) {
            if (std::chrono::steady_clock::now() > deadline) {
                return false;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
    return !processes.empty();
}

void admin::go_on() {
    for (const int process : std::exchange(stopped_, {})) {
        ::kill(process, SIGCONT);
    }
}

} // namespace pgweir::differential
