#include "daemon/auth_query.hpp"

#include "daemon/auth_query_connection.hpp"
#include "daemon/lookups.hpp"
#include "daemon/tls_contexts.hpp"
#include "daemon/utf8.hpp"

#include <openssl/x509.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>

namespace pgweir::daemon {

namespace {

using std::chrono::seconds;

constexpr auto keep_found = seconds(30);
constexpr auto keep_unknown = seconds(5);
constexpr auto keep_failure = seconds(1);
constexpr auto too_fresh_to_forget = seconds(1);
constexpr std::size_t most_kept = 100'000;
constexpr std::size_t most_sources = 1'000; // with '*', strangers make them up

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

} // namespace

struct auth_query::source {
    using questions = lookups<std::string, answer>;

    source(std::string database_, const std::shared_ptr<auth_query_connection>& where)
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
    // Each question has one: nobody waits, where there is no other.
    const std::shared_ptr<const void> waiting = std::make_shared<char>();

    [[nodiscard]] bool is_awaited() const { return waiting.use_count() > 1; }
};

auth_query::auth_query(logger& log, std::shared_ptr<const config::configuration> config,
                       std::string directory)
    : log_(log)
    , directory_(std::move(directory))
    , config_(std::move(config)) {}

auth_query::~auth_query() { stop(); }

void auth_query::stop() {
    sources now; // they are told to stop outside the lock: whoever is being told needs it
    source_list before;
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        now.swap(sources_);
        before.swap(former_);
    }
}

void auth_query::reconfigure(std::shared_ptr<const config::configuration> config) {
    source_list unused;
    const std::lock_guard lock(mutex_);
    config_ = std::move(config);
    ++configuration_;
    for (auto& [of, each] : std::exchange(sources_, {})) {
        former_.push_back(std::move(each));
    }
    unused = take_unused();
    for (auto& [of, known] : users_) {
        known.until = {};
    }
}

/// With the mutex held. What is returned is to go when the mutex is free.
auth_query::source_list auth_query::take_unused() {
    source_list unused;
    for (auto& each : former_) {
        if (!each->is_awaited()) {
            unused.push_back(std::move(each));
        }
    }
    std::erase(former_, nullptr);
    return unused;
}

/// With the mutex held.
void auth_query::let_go_of_unknown_sources() {
    for (auto at = sources_.begin(); at != sources_.end();) {
        const bool known = at->second->found->load();
        if (!known) {
            former_.push_back(std::move(at->second));
        }
        at = known ? std::next(at) : sources_.erase(at);
    }
}

/// With the mutex held. Nothing: nobody knows that database.
std::shared_ptr<auth_query::source> auth_query::source_for(const std::string& database) {
    const auto& named = config_->query_database.empty() ? database : config_->query_database;
    const auto where = config_->find_database(named);
    if (!where || stopped_) {
        return nullptr;
    }
    if (const auto known = sources_.find(where->name); known != sources_.end()) {
        return known->second;
    }
    if (sources_.size() >= most_sources) {
        let_go_of_unknown_sources();
    }
    return sources_[where->name] = make_source(*where);
}

/// With the mutex held.
std::shared_ptr<auth_query::source> auth_query::make_source(const config::database& where) const {
    auth_query_connection::parameters parameters;
    const auto* const self = config_->find_user(config_->query_user);
    const auto add = [&](std::string key, std::string value) {
        if (!value.empty()) {
            parameters.emplace_back(std::move(key), std::move(value));
        }
    };
    add("host", where.host);
    add("port", std::to_string(where.port));
    add("dbname", where.dbname.empty() ? where.name : where.dbname);
    add("user", config_->query_user);
    add("password", self == nullptr ? std::string() : std::string(self->password.reveal()));
    constexpr std::array<const char*, 6> modes{"disable", "allow",     "prefer",
                                               "require", "verify-ca", "verify-full"};
    add("sslmode", modes.at(static_cast<std::size_t>(where.sslmode)));
    const bool verifies = where.sslmode >= config::tls_mode::verify_ca;
    add("sslrootcert", where.sslrootcert.empty() && verifies
                           ? system_authorities()
                           : absolute(directory_, where.sslrootcert));
    add("sslcert", absolute(directory_, where.sslcert));
    add("sslkey", absolute(directory_, where.sslkey));
    constexpr std::array<const char*, 3> bindings{"disable", "prefer", "require"};
    add("channel_binding", bindings.at(static_cast<std::size_t>(where.binding)));
    add("application_name", "pgweir auth_query");
    add("client_encoding", "UTF8");
    add("connect_timeout", "5");
    add("tcp_user_timeout", "5000");
    add("options", "-c search_path=pg_catalog -c statement_timeout=5000 -c row_security=on");
    const auto asked =
        std::make_shared<auth_query_connection>(std::move(parameters), config_->query);
    return std::make_shared<source>(where.name, asked);
}

void auth_query::ask(const std::string& database, const std::string& user,
                     std::weak_ptr<const void> asker, std::function<void(const answer&)> done) {
    if (to_valid_utf8(user) != user) {
        done({}); // PostgreSQL, which is asked in UTF-8, cannot be told that name
        return;
    }
    const name of(database, user);
    std::shared_ptr<source> where;
    answer known;
    std::uint64_t configuration = 0;
    std::shared_ptr<const void> waiting;
    {
        source_list unused;
        const std::lock_guard lock(mutex_);
        where = source_for(database);
        waiting = where != nullptr ? where->waiting : nullptr; // from now on it is not let go
        unused = take_unused();
        configuration = configuration_;
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
        [this, of, configuration, done = std::move(done), database = where->database,
         failed = where->failed, found = where->found, waiting](const answer* what) {
            const auto told = what != nullptr ? *what : answer{nullptr, "too many ask at once"};
            const bool bad = !told.failure.empty();
            if (!failed->exchange(bad) && bad) {
                log_.log(log_severity::error, "users cannot be looked up",
                         {{"database", database}, {"cause", told.failure}});
            }
            found->store(found->load() || !bad);
            answered(of, configuration, told);
            done(told);
        });
}

/// `configuration`: in which it was asked. What another one asks elsewhere is not to be kept.
void auth_query::answered(const name& of, std::uint64_t configuration, const answer& what) {
    const std::lock_guard lock(mutex_);
    if (configuration != configuration_) {
        return;
    }
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

} // namespace pgweir::daemon
