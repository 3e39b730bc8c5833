#include "daemon/auth_query_connection.hpp"

#include "protocol/error_response.hpp"

#include <libpq-fe.h>
#include <openssl/crypto.h>

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
constexpr auto connect_patience = seconds(5); // for each address
constexpr auto answer_patience = seconds(6);  // PostgreSQL gives up after 5
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

/// Of seconds since 1970, as extract(epoch from …) gives them. Nothing: for ever.
std::optional<auth_query::clock::time_point> time_of(double at) {
    constexpr double far = 9e9; // in the year 2255; later ones would not fit
    if (!(at < far)) {
        return std::nullopt;
    }
    return auth_query::clock::time_point(std::chrono::duration_cast<auth_query::clock::duration>(
        std::chrono::duration<double>(std::max(at, 0.0))));
}

/// All of the text is one. Nothing: it is no number.
std::optional<double> number_in(const std::string& text) {
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    return end == text.c_str() || *end != '\0' ? std::nullopt : std::optional(number);
}

/// Whom it does not name exactly, nobody becomes; nor does whose answer cannot be read.
auth_query::answer read_answer(const PGresult* from, const std::string& user) {
    if (PQnfields(from) < 2) {
        return {.complaint = "one column: a name and what PostgreSQL keeps of the password are "
                             "needed"};
    }
    if (PQntuples(from) > 1) {
        return {.complaint = std::to_string(PQntuples(from)) + " rows for one name"};
    }
    if (PQntuples(from) == 0 || column(from, 0) != user) {
        return {};
    }
    auto known = std::make_shared<looked_up_user>();
    known->secret = protocol::secret(column(from, 1).value_or(std::string()));
    if (const auto until = column(from, 2)) {
        const auto at = number_in(*until);
        if (!at) {
            return {.complaint = "a valid_until that is no number (of seconds since 1970)"};
        }
        known->valid_until = time_of(*at);
    }
    auth_query::answer found{.user = known};
    if (const auto groups = column(from, 3)) {
        known->groups = parse_text_array(*groups);
        found.complaint = known->groups ? "" : "groups that are no array of texts";
    }
    return found;
}

/// The characters of this name do not exist where it is asked for.
bool is_about_characters(std::string_view sqlstate) {
    return sqlstate == protocol::sqlstate::character_not_in_repertoire ||
           sqlstate == protocol::sqlstate::untranslatable_character;
}

/// Of these only the server as a whole is the cause; who may ask nothing in one database
/// (42501, 42883, 55000, 28000 by pg_hba.conf …), or finds none (3D000), hears it of that one; as
/// where its CONNECTION LIMIT is reached, which only the place in PostgreSQL's source tells from
/// the server's own, or one of its session_preload_libraries is missing.
bool is_of_server(std::string_view sqlstate, std::string_view verbose = {}) {
    if (sqlstate == protocol::sqlstate::undefined_file ||
        (sqlstate == protocol::sqlstate::too_many_connections &&
         verbose.find("CheckMyDatabase") != verbose.npos)) {
        return false;
    }
    constexpr std::array<std::string_view, 6> classes{"08", "40", "53", "57", "58", "XX"};
    return sqlstate.size() != 5 || sqlstate == protocol::sqlstate::invalid_password ||
           std::find(classes.begin(), classes.end(), sqlstate.substr(0, 2)) != classes.end();
}

/// … and in a while it may be another answer: not to a wrong password.
bool may_pass_by_itself(std::string_view sqlstate, std::string_view verbose = {}) {
    return sqlstate != "28P01" && is_of_server(sqlstate, verbose);
}

/// Until there is something to read, or room to write. False: not in time.
bool wait_for(int socket, short what, std::chrono::steady_clock::time_point until) {
    using milliseconds = std::chrono::milliseconds;
    const auto left =
        std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now()).count();
    pollfd one{socket, what, 0};
    return left > 0 && ::poll(&one, 1, static_cast<int>(left)) != 0;
}

} // namespace

void auth_query_connection::closer::operator()(pg_conn* what) const { PQfinish(what); }

void auth_query_connection::clearer::operator()(pg_result* what) const {
    for (int row = 0; row < PQntuples(what); ++row) {
        for (int each = 0; each < PQnfields(what); ++each) {
            OPENSSL_cleanse(PQgetvalue(what, row, each),
                            static_cast<std::size_t>(PQgetlength(what, row, each)));
        }
    }
    PQclear(what);
}

/// How long a question takes from now on: the first on a new connection is none to go by.
std::optional<auth_query_connection::clock::duration> auth_query_connection::time_of_a_question() {
    std::array<clock::duration, 3> took{};
    for (auto& each : took) {
        const auto begun = clock::now();
        if (connection_ == nullptr || put("", answer_patience).how != outcome::rows) {
            return std::nullopt;
        }
        each = clock::now() - begun;
        if (each > look_up_times::longest) {
            return each; // whoever waits for the answer is not to wait for more of these
        }
    }
    std::sort(took.begin(), took.end());
    return took[1];
}

/// What fails with one name may do with the next: only one that does not answer gets a rest.
auth_query::answer auth_query_connection::ask(const std::string& user) {
    if (clock::now() < again_at_) {
        return failure_; // those who have waited behind one that failed
    }
    const bool is_warm = has_answered_;
    was_opened_ = false;
    const auto begun = clock::now();
    const auto found = put(user);
    auto took = std::optional(clock::now() - begun);
    if (found.how != outcome::rows) {
        took.reset();
    } else if (!is_warm || was_opened_) {
        took = time_of_a_question();
    }
    if (found.how != outcome::rows) {
        auth_query::answer failure{
            .failure = found.why, .of_database = found.of_database, .may_pass = found.may_pass};
        if (found.how == outcome::late || found.how == outcome::lost) {
            again_at_ = clock::now() + rest;
            failure_ = failure;
        }
        return failure;
    }
    auto answer = read_answer(found.rows.get(), user);
    answer.took = took;
    return answer;
}

/// As PQconnectdbParams(), which leaves no room to ask for SQLSTATEs. False: not in time.
bool auth_query_connection::begin() {
    std::vector<const char*> keys, values;
    for (const auto& [key, value] : parameters_) {
        keys.push_back(key.c_str());
        values.push_back(value.c_str());
    }
    if (!password_.empty()) {
        keys.push_back("password");
        values.push_back(password_.reveal().data()); // of a std::string: it ends with a zero byte
    }
    keys.push_back(nullptr);
    values.push_back(nullptr);
    has_answered_ = false;
    was_opened_ = true;
    connection_.reset(PQconnectStartParams(keys.data(), values.data(), 0));
    auto* const to = connection_.get();
    if (PQstatus(to) == CONNECTION_BAD) {
        return true;
    }
    PQsetErrorVerbosity(to, PQERRORS_VERBOSE);
    const auto address = [&] {
        const char* const known = PQhostaddr(to);
        return std::string(known != nullptr ? known : "");
    };
    auto until = clock::now() + connect_patience;
    auto wanted = PGRES_POLLING_WRITING;
    while (wanted == PGRES_POLLING_READING || wanted == PGRES_POLLING_WRITING) {
        if (!wait_for(PQsocket(to), wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT, until)) {
            return false;
        }
        const auto before = address();
        wanted = PQconnectPoll(to);
        if (address() != before) {
            until = clock::now() + connect_patience;
        }
    }
    PQsetErrorVerbosity(to, PQERRORS_DEFAULT);
    return true;
}

auth_query::answer auth_query_connection::connect() {
    if (connection_ && PQstatus(connection_.get()) == CONNECTION_OK) {
        return {};
    }
    const bool in_time = begin();
    if (in_time && PQstatus(connection_.get()) == CONNECTION_OK) {
        return {};
    }
    auto why = in_time ? one_line(PQerrorMessage(connection_.get())) : "PostgreSQL does not answer";
    connection_.reset();
    const auto sqlstate = std::string(sqlstate_in(why));
    const bool of_database = !is_of_server(sqlstate, why);
    const bool may_pass = may_pass_by_itself(sqlstate, why);
    return {.failure = why.empty() ? "the connection failed" : std::move(why),
            .of_database = of_database,
            .may_pass = may_pass};
}

/// On a connection that had idled to its end, once more on a new one.
auth_query_connection::reply auth_query_connection::put(const std::string& user) {
    while (true) {
        if (auto none = connect(); !none.failure.empty()) {
            return {outcome::lost, {}, std::move(none.failure), none.of_database, none.may_pass};
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
        return {late ? outcome::late : outcome::lost, {}, std::move(why), false, true};
    }
    const char* const field = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    const std::string_view sqlstate = field != nullptr ? field : "";
    if (is_about_characters(sqlstate)) {
        return {outcome::not_a_name, {}, {}};
    }
    late = sqlstate == protocol::sqlstate::query_canceled;
    return {late ? outcome::late : outcome::refused,
            {},
            std::move(why),
            !is_of_server(sqlstate),
            late || may_pass_by_itself(sqlstate)};
}

/// All of the answer. `late`: it has not come in time.
auth_query_connection::result_ptr auth_query_connection::read(clock::time_point until, bool& late) {
    auto* const from = connection_.get();
    result_ptr last;
    while (true) {
        while (PQisBusy(from) != 0) {
            late = !wait_for(PQsocket(from), POLLIN, until);
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

/// What stands before it is libpq's and of the configuration; what comes after it may be anybody's.
std::string_view sqlstate_in(std::string_view verbose) {
    const auto is_one = [](std::string_view code) {
        return code.size() == 5 && std::all_of(code.begin(), code.end(), [](char each) {
                   return (each >= '0' && each <= '9') || (each >= 'A' && each <= 'Z');
               });
    };
    constexpr std::string_view before = ":  ";
    for (auto at = verbose.find(before); at != verbose.npos; at = verbose.find(before, at + 1)) {
        const auto code = verbose.substr(at + before.size(), 5);
        if (is_one(code) && verbose.substr(at + before.size() + 5, 2) == ": ") {
            return code;
        }
    }
    return {};
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
