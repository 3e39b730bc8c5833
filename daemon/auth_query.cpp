#include "daemon/auth_query.hpp"

#include "daemon/lookups.hpp"
#include "daemon/tls_contexts.hpp"

#include <libpq-fe.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <poll.h>

namespace pgweir::daemon {

namespace {

using std::chrono::seconds;
using deadline_clock = std::chrono::steady_clock;

constexpr auto keep_found = seconds(30);
constexpr auto keep_unknown = seconds(5);
constexpr auto keep_failure = seconds(1);
constexpr auto too_fresh_to_forget = seconds(1);
constexpr std::size_t most_kept = 100'000;
constexpr std::size_t most_sources = 1'000; // with '*', strangers make them up
// A login has seconds, and one connection may have been lost without a word.
constexpr auto answer_patience = seconds(6); // PostgreSQL gives up after 5
constexpr auto reused_patience = seconds(2);

using connection_ptr = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using result_ptr = std::unique_ptr<PGresult, decltype(&PQclear)>;

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

/// The authorities that are asked where none are named, as the pools have it: the system's. libpq
/// has another idea.
std::string system_authorities() {
    const char* const named = std::getenv("SSL_CERT_FILE");
    for (const char* const file :
         {named, X509_get_default_cert_file(), "/etc/ssl/certs/ca-certificates.crt"}) {
        if (file != nullptr && std::filesystem::exists(file)) {
            return file;
        }
    }
    return {};
}

/// All of the answer. `late`: it has not come in time.
result_ptr read_answer(PGconn* from, deadline_clock::time_point until, bool& late) {
    result_ptr last(nullptr, &PQclear);
    while (true) {
        while (PQisBusy(from) != 0) {
            using milliseconds = std::chrono::milliseconds;
            const auto left =
                std::chrono::ceil<milliseconds>(until - deadline_clock::now()).count();
            pollfd one{PQsocket(from), POLLIN, 0};
            late = left <= 0 || ::poll(&one, 1, static_cast<int>(left)) == 0;
            if (late || PQconsumeInput(from) == 0) {
                return last;
            }
        }
        result_ptr next(PQgetResult(from), &PQclear);
        if (next == nullptr || PQresultStatus(next.get()) == PGRES_COPY_OUT) {
            return last;
        }
        last = std::move(next);
    }
}

/// Where a database is asked: one connection, and one thread at a time.
class line {
public:
    line(std::vector<std::pair<std::string, std::string>> parameters, std::string query)
        : parameters_(std::move(parameters))
        , query_(std::move(query)) {}

    auth_query::answer ask(const std::string& user) {
        if (deadline_clock::now() < again_at_) {
            return {nullptr, why_}; // those who have waited behind one that failed
        }
        auto found = try_to_ask(user);
        if (!found.failure.empty()) {
            again_at_ = deadline_clock::now() + keep_failure;
            why_ = found.failure;
        }
        return found;
    }

private:
    auth_query::answer try_to_ask(const std::string& user);
    [[nodiscard]] std::string connect();
    [[nodiscard]] result_ptr put(const std::string& user, seconds patience, std::string& why);

    std::vector<std::pair<std::string, std::string>> parameters_;
    std::string query_;
    connection_ptr connection_{nullptr, &PQfinish};
    deadline_clock::time_point again_at_{};
    std::string why_;
};

/// Why it cannot; empty: it has.
std::string line::connect() {
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
    connection_.reset(PQconnectdbParams(keys.data(), values.data(), 0));
    if (PQstatus(connection_.get()) == CONNECTION_OK) {
        return {};
    }
    auto why = one_line(PQerrorMessage(connection_.get()));
    connection_.reset();
    return why.empty() ? "the connection failed" : why;
}

/// Nothing: there was no answer, and `why`. The connection is gone if it is of no more use.
result_ptr line::put(const std::string& user, seconds patience, std::string& why) {
    const std::array<const char*, 1> values{user.c_str()};
    bool late = false;
    result_ptr result(nullptr, &PQclear);
    if (PQsendQueryParams(connection_.get(), query_.c_str(), 1, nullptr, values.data(), nullptr,
                          nullptr, 0) == 1) {
        result = read_answer(connection_.get(), deadline_clock::now() + patience, late);
    }
    if (!late && PQresultStatus(result.get()) == PGRES_TUPLES_OK) {
        return result;
    }
    why = late ? "PostgreSQL does not answer" : one_line(PQerrorMessage(connection_.get()));
    why = why.empty() ? "auth.query gives no rows" : why;
    if (late || result == nullptr || PQstatus(connection_.get()) != CONNECTION_OK) {
        connection_.reset();
    }
    return {nullptr, &PQclear};
}

auth_query::answer line::try_to_ask(const std::string& user) {
    std::string why;
    for (int attempt = 0; attempt < 2; ++attempt) {
        const bool fresh = connection_ == nullptr;
        if (why = connect(); !why.empty()) {
            return {nullptr, why};
        }
        const auto result = put(user, fresh ? answer_patience : reused_patience, why);
        if (result == nullptr) {
            if (connection_ == nullptr && !fresh) {
                continue; // it had idled to its end: once more, on a new one
            }
            return {nullptr, why};
        }
        // Whom it does not name exactly, nobody becomes.
        const auto name = PQntuples(result.get()) == 1 ? column(result.get(), 0) : std::nullopt;
        if (name != user) {
            return {};
        }
        auto found = std::make_shared<looked_up_user>();
        found->secret = protocol::secret(column(result.get(), 1).value_or(std::string()));
        found->valid_until = time_of(column(result.get(), 2));
        if (const auto groups = column(result.get(), 3)) {
            found->groups = parse_text_array(*groups);
        }
        return {std::move(found), {}};
    }
    return {nullptr, why};
}

} // namespace

struct auth_query::source {
    using questions = lookups<std::string, answer>;

    source(std::string database_, const std::shared_ptr<line>& where)
        : database(std::move(database_))
        , users(
              [where](const std::string& user) -> questions::found_out {
                  return {where->ask(user), {}};
              },
              {.threads = 1}) {}

    const std::string database; // as clients call it
    questions users;
    // Of what has been told; the log is told of the first of several failures.
    const std::shared_ptr<std::atomic<bool>> failed = std::make_shared<std::atomic<bool>>(false);
    const std::shared_ptr<std::atomic<bool>> found = std::make_shared<std::atomic<bool>>(false);
};

auth_query::auth_query(logger& log, std::shared_ptr<const config::configuration> config,
                       std::string directory)
    : log_(log)
    , directory_(std::move(directory))
    , config_(std::move(config)) {}

auth_query::~auth_query() { stop(); }

void auth_query::stop() {
    sources now, before; // they are told to stop outside the lock: whoever is being told needs it
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        now.swap(sources_);
        before.swap(former_);
    }
}

void auth_query::reconfigure(std::shared_ptr<const config::configuration> config) {
    sources before;
    const std::lock_guard lock(mutex_);
    config_ = std::move(config);
    before.swap(former_);
    former_.swap(sources_);
    for (auto& [of, known] : users_) {
        known.until = {};
    }
}

/// With the mutex held. Nothing: nobody knows that database. What `unused` is given is to go when
/// the mutex is free.
std::shared_ptr<auth_query::source> auth_query::source_for(const std::string& database,
                                                           sources& unused) {
    const auto& named = config_->query_database.empty() ? database : config_->query_database;
    const auto where = config_->find_database(named);
    if (!where || stopped_) {
        return nullptr;
    }
    if (const auto known = sources_.find(where->name); known != sources_.end()) {
        return known->second;
    }
    if (sources_.size() >= most_sources) {
        for (auto at = sources_.begin(); at != sources_.end();) {
            const auto next = std::next(at);
            if (!at->second->found->load()) {
                unused.insert(sources_.extract(at));
            }
            at = next;
        }
    }
    std::vector<std::pair<std::string, std::string>> parameters;
    const auto* const self = config_->find_user(config_->query_user);
    const auto add = [&](std::string key, std::string value) {
        if (!value.empty()) {
            parameters.emplace_back(std::move(key), std::move(value));
        }
    };
    add("host", where->host);
    add("port", std::to_string(where->port));
    add("dbname", where->dbname.empty() ? where->name : where->dbname);
    add("user", config_->query_user);
    add("password", self == nullptr ? std::string() : std::string(self->password.reveal()));
    constexpr std::array<const char*, 6> modes{"disable", "allow",     "prefer",
                                               "require", "verify-ca", "verify-full"};
    add("sslmode", modes.at(static_cast<std::size_t>(where->sslmode)));
    const bool verifies = where->sslmode >= config::tls_mode::verify_ca;
    add("sslrootcert", where->sslrootcert.empty() && verifies
                           ? system_authorities()
                           : absolute(directory_, where->sslrootcert));
    add("sslcert", absolute(directory_, where->sslcert));
    add("sslkey", absolute(directory_, where->sslkey));
    constexpr std::array<const char*, 3> bindings{"disable", "prefer", "require"};
    add("channel_binding", bindings.at(static_cast<std::size_t>(where->binding)));
    add("application_name", "pgweir auth_query");
    add("client_encoding", "UTF8");
    add("connect_timeout", "5");
    add("tcp_user_timeout", "5000");
    add("options", "-c search_path=pg_catalog -c statement_timeout=5000 -c row_security=on");
    const auto asked = std::make_shared<line>(std::move(parameters), config_->query);
    return sources_[where->name] = std::make_shared<source>(where->name, asked);
}

void auth_query::ask(const std::string& database, const std::string& user,
                     std::weak_ptr<const void> asker, std::function<void(const answer&)> done) {
    const name of(database, user);
    std::shared_ptr<source> where;
    answer known;
    {
        sources unused;
        const std::lock_guard lock(mutex_);
        where = source_for(database, unused);
        const auto at = users_.find(of);
        if (where != nullptr && at != users_.end() && at->second.until > clock::now()) {
            known = at->second.known;
            where = nullptr;
        }
    }
    if (where == nullptr) {
        done(known);
        return;
    }
    where->users.ask(
        user, std::move(asker),
        [this, of, done = std::move(done), database = where->database, failed = where->failed,
         found = where->found](const answer* what) {
            const auto told = what != nullptr ? *what : answer{nullptr, "too many ask at once"};
            const bool bad = !told.failure.empty();
            if (!failed->exchange(bad) && bad) {
                log_.log(log_severity::error, "users cannot be looked up",
                         {{"database", database}, {"cause", told.failure}});
            }
            found->store(found->load() || !bad);
            answered(of, told);
            done(told);
        });
}

void auth_query::answered(const name& of, const answer& what) {
    const std::lock_guard lock(mutex_);
    if (users_.size() >= most_kept && !users_.contains(of)) {
        users_.clear();
    }
    auto& entry = users_[of];
    entry.known = what;
    entry.asked_at = clock::now();
    entry.until = entry.asked_at + (!what.failure.empty()  ? keep_failure
                                    : what.user == nullptr ? keep_unknown
                                                           : keep_found);
}

void auth_query::forget(const std::string& database, const std::string& user) {
    const std::lock_guard lock(mutex_);
    const auto at = users_.find({database, user});
    if (at != users_.end() && at->second.asked_at + too_fresh_to_forget <= clock::now()) {
        at->second.until = {};
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
