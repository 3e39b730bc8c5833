#include "daemon/auth_query.hpp"

#include <boost/asio/post.hpp>

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace pgweir::daemon {

namespace {

using std::chrono::seconds;

constexpr auto keep_found = seconds(30);
constexpr auto keep_unknown = seconds(5);
constexpr auto keep_failure = seconds(1);
constexpr auto too_fresh_to_forget = seconds(1);
constexpr std::size_t most_kept = 100'000;

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

} // namespace

struct auth_query::source {
    std::mutex mutex; // of the connection: one question at a time
    std::vector<std::pair<std::string, std::string>> parameters;
    std::string query;
    std::string database; // as clients call it
    connection_ptr connection{nullptr, &PQfinish};
    bool failed = false; // the last time: it has been logged

    /// Nothing: it could not be asked; `why` says why.
    std::optional<auth_query::answer> ask(const std::string& user, std::string& why);
    [[nodiscard]] bool connect(std::string& why);
};

bool auth_query::source::connect(std::string& why) {
    if (connection && PQstatus(connection.get()) == CONNECTION_OK) {
        return true;
    }
    std::vector<const char*> keys, values;
    for (const auto& [key, value] : parameters) {
        keys.push_back(key.c_str());
        values.push_back(value.c_str());
    }
    keys.push_back(nullptr);
    values.push_back(nullptr);
    connection.reset(PQconnectdbParams(keys.data(), values.data(), 0));
    if (PQstatus(connection.get()) != CONNECTION_OK) {
        why = one_line(PQerrorMessage(connection.get()));
        connection.reset();
        return false;
    }
    return true;
}

std::optional<auth_query::answer> auth_query::source::ask(const std::string& user,
                                                          std::string& why) {
    for (int attempt = 0; attempt < 2; ++attempt) {
        const bool fresh = connection == nullptr;
        if (!connect(why)) {
            return std::nullopt;
        }
        const std::array<const char*, 1> values{user.c_str()};
        const result_ptr result(PQexecParams(connection.get(), query.c_str(), 1, nullptr,
                                             values.data(), nullptr, nullptr, 0),
                                &PQclear);
        if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) {
            why = one_line(PQresultErrorMessage(result.get()));
            if (PQstatus(connection.get()) != CONNECTION_OK && !fresh) {
                continue; // it had idled to its end: once more, on a new one
            }
            return std::nullopt;
        }
        // Whom it does not name exactly, nobody becomes.
        const auto name = PQntuples(result.get()) == 1 ? column(result.get(), 0) : std::nullopt;
        if (name != user) {
            return answer();
        }
        auto found = std::make_shared<looked_up_user>();
        found->secret = protocol::secret(column(result.get(), 1).value_or(std::string()));
        found->valid_until = time_of(column(result.get(), 2));
        if (const auto groups = column(result.get(), 3)) {
            found->groups = parse_text_array(*groups);
        }
        return answer(std::move(found));
    }
    return std::nullopt;
}

auth_query::auth_query(logger& log, std::shared_ptr<const config::configuration> config)
    : log_(log)
    , config_(std::move(config)) {}

auth_query::~auth_query() { stop(); }

void auth_query::stop() { threads_.join(); }

void auth_query::reconfigure(std::shared_ptr<const config::configuration> config) {
    const std::lock_guard lock(mutex_);
    config_ = std::move(config);
    sources_.clear(); // whoever asks right now finishes with the old one
    for (auto& [of, known] : users_) {
        known.until = {};
    }
}

/// With the mutex held. Nothing: nobody knows that database.
std::shared_ptr<auth_query::source> auth_query::source_for(const std::string& database) {
    const auto& named = config_->query_database.empty() ? database : config_->query_database;
    const auto where = config_->find_database(named);
    if (!where) {
        return nullptr;
    }
    auto& made = sources_[where->name];
    if (made == nullptr) {
        made = std::make_shared<source>();
        made->database = where->name;
        made->query = config_->query;
        const auto* const self = config_->find_user(config_->query_user);
        const auto add = [&](std::string key, std::string value) {
            if (!value.empty()) {
                made->parameters.emplace_back(std::move(key), std::move(value));
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
        add("sslrootcert", where->sslrootcert);
        add("sslcert", where->sslcert);
        add("sslkey", where->sslkey);
        constexpr std::array<const char*, 3> bindings{"disable", "prefer", "require"};
        add("channel_binding", bindings.at(static_cast<std::size_t>(where->binding)));
        add("application_name", "pgweir auth_query");
        add("client_encoding", "UTF8");
        add("connect_timeout", "5");
        add("options", "-c search_path=pg_catalog -c statement_timeout=5000 -c row_security=on");
    }
    return made;
}

void auth_query::ask(const std::string& database, const std::string& user,
                     std::function<void(answer)> done) {
    answer known;
    {
        const std::lock_guard lock(mutex_);
        const name of(database, user);
        const auto where = source_for(database);
        const auto at = users_.find(of);
        if (where != nullptr && (at == users_.end() || at->second.until <= clock::now())) {
            if (users_.size() >= most_kept && at == users_.end()) {
                std::erase_if(users_, [](const auto& one) { return !one.second.asking; });
            }
            auto& entry = users_[of];
            entry.waiting.push_back(std::move(done));
            if (!std::exchange(entry.asking, true)) {
                boost::asio::post(threads_, [this, where, of] { look_up(where, of); });
            }
            return;
        }
        if (where != nullptr) {
            known = at->second.known;
        }
    }
    done(std::move(known));
}

void auth_query::look_up(const std::shared_ptr<source>& where, const name& of) {
    std::string why;
    std::optional<answer> found;
    {
        const std::lock_guard alone(where->mutex);
        found = where->ask(of.second, why);
        if (found) {
            where->failed = false;
        } else if (!std::exchange(where->failed, true)) {
            log_.log(log_severity::error, "users cannot be looked up",
                     {{"database", where->database}, {"cause", why}});
        }
    }
    answered(of, found.value_or(nullptr),
             !found              ? keep_failure
             : *found == nullptr ? keep_unknown
                                 : keep_found);
}

void auth_query::answered(const name& of, answer what, seconds keep_for) {
    std::vector<std::function<void(answer)>> waiting;
    {
        const std::lock_guard lock(mutex_);
        auto& entry = users_[of];
        entry.known = what;
        entry.asked_at = clock::now();
        entry.until = entry.asked_at + keep_for;
        entry.asking = false;
        waiting.swap(entry.waiting);
    }
    for (const auto& tell : waiting) {
        tell(what);
    }
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
