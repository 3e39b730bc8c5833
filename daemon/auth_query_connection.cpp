#include "daemon/auth_query_connection.hpp"

#include "protocol/error_response.hpp"

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <poll.h>
#include <string_view>

namespace pgweir::daemon {

namespace {

using std::chrono::seconds;

constexpr auto rest = seconds(1); // for what does not answer, whoever asks
// A login has seconds, and one connection may have been lost without a word.
constexpr auto answer_patience = seconds(6); // PostgreSQL gives up after 5
constexpr auto reused_patience = seconds(2);

std::string one_line(std::string_view text) {
    std::string line(text.substr(0, text.find_last_not_of(" \r\n") + 1));
    std::replace(line.begin(), line.end(), '\n', ' ');
    return line;
}

std::optional<std::string> column(const PGresult* of, int which) {
    if (which >= PQnfields(of) || PQgetisnull(of, 0, which) != 0) {
        return std::nullopt;
    }
    return std::string(PQgetvalue(of, 0, which),
                       static_cast<std::size_t>(PQgetlength(of, 0, which)));
}

/// Seconds since 1970, as extract(epoch from …) gives them. Nothing: for ever.
std::optional<auth_query::clock::time_point> time_of(const std::optional<std::string>& text) {
    const double at = text ? std::strtod(text->c_str(), nullptr) : INFINITY;
    constexpr double far = 9e9; // in the year 2255; later ones would not fit
    if (!(at < far)) {
        return std::nullopt;
    }
    return auth_query::clock::time_point(std::chrono::duration_cast<auth_query::clock::duration>(
        std::chrono::duration<double>(std::max(at, 0.0))));
}

/// The characters of this name do not exist where it is asked for.
bool is_about_characters(std::string_view sqlstate) {
    return sqlstate == "22021" || sqlstate == "22P05";
}

} // namespace

void auth_query_connection::closer::operator()(pg_conn* what) const { PQfinish(what); }

void auth_query_connection::clearer::operator()(pg_result* what) const { PQclear(what); }

/// What fails with one name may do with the next: only one that does not answer gets a rest.
auth_query::answer auth_query_connection::ask(const std::string& user) {
    if (clock::now() < again_at_) {
        return {nullptr, why_}; // those who have waited behind one that failed
    }
    const auto found = put(user);
    if (found.how == outcome::late || found.how == outcome::lost) {
        again_at_ = clock::now() + rest;
        why_ = found.why;
    }
    if (found.how != outcome::rows) {
        return {nullptr, found.why};
    }
    // Whom it does not name exactly, nobody becomes.
    const auto* const row = found.rows.get();
    const auto name = PQntuples(row) == 1 ? column(row, 0) : std::nullopt;
    if (name != user) {
        return {};
    }
    auto known = std::make_shared<looked_up_user>();
    known->secret = protocol::secret(column(row, 1).value_or(std::string()));
    known->valid_until = time_of(column(row, 2));
    if (const auto groups = column(row, 3)) {
        known->groups = parse_text_array(*groups);
    }
    return {std::move(known), {}};
}

std::string auth_query_connection::connect() {
    if (connection_ && PQstatus(connection_.get()) == CONNECTION_OK) {
        return {};
    }
    std::vector<const char*> keys, values;
    for (const auto& [key, value] : parameters_) {
        keys.push_back(key.c_str());
        values.push_back(value.c_str());
    }
    keys.push_back(nullptr);
    values.push_back(nullptr);
    has_answered_ = false;
    connection_.reset(PQconnectdbParams(keys.data(), values.data(), 0));
    if (PQstatus(connection_.get()) == CONNECTION_OK) {
        return {};
    }
    auto why = one_line(PQerrorMessage(connection_.get()));
    connection_.reset();
    return why.empty() ? "the connection failed" : why;
}

/// On a connection that had idled to its end, once more on a new one.
auth_query_connection::reply auth_query_connection::put(const std::string& user) {
    while (true) {
        if (auto why = connect(); !why.empty()) {
            return {outcome::lost, {}, std::move(why)};
        }
        const bool reused = has_answered_;
        auto found = put(user, reused ? reused_patience : answer_patience);
        has_answered_ = connection_ != nullptr;
        if (connection_ != nullptr || !reused) {
            return found;
        }
    }
}

/// The connection is gone if it is of no more use.
auth_query_connection::reply auth_query_connection::put(const std::string& user, seconds patience) {
    const std::array<const char*, 1> values{user.c_str()};
    bool late = false;
    result_ptr result;
    if (PQsendQueryParams(connection_.get(), query_.c_str(), 1, nullptr, values.data(), nullptr,
                          nullptr, 0) == 1) {
        result = read(clock::now() + patience, late);
    }
    if (!late && PQresultStatus(result.get()) == PGRES_TUPLES_OK) {
        return {outcome::rows, std::move(result), {}};
    }
    auto why = late ? "PostgreSQL does not answer" : one_line(PQerrorMessage(connection_.get()));
    why = why.empty() ? "auth.query gives no rows" : why;
    if (late || result == nullptr || PQstatus(connection_.get()) != CONNECTION_OK) {
        connection_.reset();
        return {late ? outcome::late : outcome::lost, {}, std::move(why)};
    }
    const char* const field = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    const std::string_view sqlstate = field != nullptr ? field : "";
    if (is_about_characters(sqlstate)) {
        return {outcome::not_a_name, {}, {}};
    }
    late = sqlstate == protocol::sqlstate::query_canceled;
    return {late ? outcome::late : outcome::refused, {}, std::move(why)};
}

/// All of the answer. `late`: it has not come in time.
auth_query_connection::result_ptr auth_query_connection::read(clock::time_point until, bool& late) {
    auto* const from = connection_.get();
    result_ptr last;
    while (true) {
        while (PQisBusy(from) != 0) {
            using milliseconds = std::chrono::milliseconds;
            const auto left = std::chrono::ceil<milliseconds>(until - clock::now()).count();
            pollfd one{PQsocket(from), POLLIN, 0};
            late = left <= 0 || ::poll(&one, 1, static_cast<int>(left)) == 0;
            if (late || PQconsumeInput(from) == 0) {
                return last;
            }
        }
        result_ptr next(PQgetResult(from));
        if (next == nullptr || PQresultStatus(next.get()) == PGRES_COPY_OUT) {
            return last;
        }
        last = std::move(next);
    }
}

std::optional<std::vector<std::string>> parse_text_array(std::string_view text) {
    if (text.size() < 2 || text.front() != '{' || text.back() != '}') {
        return std::nullopt;
    }
    text = text.substr(1, text.size() - 2);
    std::vector<std::string> all;
    for (std::size_t at = 0; at < text.size(); ++at) {
        std::string one;
        const bool quoted = text[at] == '"';
        if (quoted) {
            for (++at; at < text.size() && text[at] != '"'; ++at) {
                at += text[at] == '\\' ? 1 : 0;
                if (at < text.size()) {
                    one += text[at];
                }
            }
            if (at >= text.size() || (at + 1 < text.size() && text[at + 1] != ',')) {
                return std::nullopt;
            }
            ++at;
        } else {
            const auto end = std::min(text.find(',', at), text.size());
            one = text.substr(at, end - at);
            if (one.find_first_of("{}\"") != std::string::npos) {
                return std::nullopt;
            }
            at = end;
        }
        if (quoted || (one != "NULL" && !one.empty())) {
            all.push_back(std::move(one));
        }
    }
    return all;
}

} // namespace pgweir::daemon
