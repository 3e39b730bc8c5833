#include "daemon/auth_query.hpp"

#include "config/console_names.hpp"
#include "daemon/auth_query_connection.hpp"
#include "daemon/lookups.hpp"
#include "daemon/tls_contexts.hpp"
#include "daemon/utf8.hpp"

#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <unistd.h>

namespace pgweir::daemon {

namespace {

using std::chrono::seconds;

constexpr auto keep_no_database = seconds(5);
constexpr auto keep_failure = seconds(1);
constexpr auto too_fresh_to_forget = seconds(1);

/// Soon they may not.
auth_query::answer too_many() { return {.failure = "too many ask at once", .may_pass = true}; }

constexpr std::size_t most_kept = 100'000;
constexpr std::size_t most_sources = 1'000;       // with '*', strangers make them up
constexpr std::size_t most_first_connections = 4; // at a time, to one host
constexpr auto news_of_entrance = seconds(60);

/// The authorities that are asked where none are named, as the pools have it: the system's. libpq
/// has another idea. Asked while clients log in: what cannot be looked at (a directory that is
/// closed to this user) is not there, and nothing is thrown.
std::string system_authorities() {
    const char* const named = std::getenv("SSL_CERT_FILE");
    for (const char* const file :
         {named, X509_get_default_cert_file(), "/etc/ssl/certs/ca-certificates.crt"}) {
        if (file != nullptr && ::access(file, R_OK) == 0) {
            return file;
        }
    }
    return {};
}

} // namespace

/// To all databases of one host that only '*' names, and to which there has been no connection yet.
/// It knows nothing of its owner: its threads may be there for longer.
struct auth_query::entrance {
    struct name {
        std::weak_ptr<source> of;
        bool operator<(const name& other) const { return of.owner_before(other.of); }
    };
    using connections = lookups<name, answer>; // of nobody: only whether it failed

    static connections::found_out open(const name& what);

    connections to{open, {.threads = most_first_connections, .kept = most_sources}};
    clock::time_point told_at{}; // the log; with auth_query's mutex
};

struct auth_query::source {
    using questions = lookups<std::string, answer>;

    /// What is known of it, also while it is being told and has no owner any more.
    struct standing {
        const std::string database;                           // as clients call it
        const std::shared_ptr<auth_query::entrance> entrance; // nothing: the configuration names it
        const bool is_of_client; // whoever logs in has chosen it, and not the configuration
        std::atomic<bool> failed = false;  // the log is told of the first of several failures
        std::atomic<bool> exists = false;  // it has been connected to
        std::atomic<bool> misread = false; // the log has been told of an answer that makes no sense
        look_up_times times = {};          // with auth_query's mutex
    };

    source(std::shared_ptr<standing> what, std::shared_ptr<auth_query_connection> where)
        : known(std::move(what))
        , connection(std::move(where))
        , users(
              [to = connection](const std::string& user) -> questions::found_out {
                  return {to->ask(user), {}};
              },
              {.threads = 1}) {}

    const std::shared_ptr<standing> known;
    // The entrance's until `exists`, then that of the thread of `users`.
    const std::shared_ptr<auth_query_connection> connection;
    mutable questions users;
    // Each question has one: nobody waits, where there is no other.
    const std::shared_ptr<const void> waiting = std::make_shared<char>();

    [[nodiscard]] bool is_awaited() const { return waiting.use_count() > 1; }
};

/// Who asks for whom.
struct auth_query::question {
    name of;
    held_answers::clock::time_point until{};      // it is asked again if need be
    std::shared_ptr<std::atomic<bool>> told = {}; // there from the first time on that it is
    held_answers::clock::time_point asked_at = held_answers::clock::now();
    std::uint64_t configuration = 0; // in which it was asked
    std::shared_ptr<source::standing> at = {};
    std::shared_ptr<const void> waiting = {};
    std::weak_ptr<const void> asker = {};
    std::function<void(const answer&)> done = {};
};

/// One thread at a time for each name.
auth_query::entrance::connections::found_out auth_query::entrance::open(const name& what) {
    const auto to = what.of.lock();
    if (to == nullptr || to->known->exists) {
        return {{}, {}};
    }
    auto found = to->connection->connect();
    to->known->exists = found.failure.empty();
    return {found, found.of_database ? keep_no_database : keep_failure};
}

auth_query::auth_query(logger& log, std::shared_ptr<const config::configuration> config,
                       std::string directory)
    : log_(log)
    , directory_(std::move(directory))
    , config_(std::move(config)) {}

auth_query::~auth_query() { stop(); }

void auth_query::stop() {
    sources now; // they are told to stop outside the lock: whoever is being told needs it
    source_list before;
    decltype(entrances_) entrances;
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        now.swap(sources_);
        before.swap(former_);
        entrances.swap(entrances_);
    }
    for (const auto& [where, each] : entrances) {
        each->to.stop();
    }
    held_.stop();
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
        const auto& what = *at->second->known;
        const bool known = what.entrance == nullptr || what.exists;
        if (!known) {
            former_.push_back(std::move(at->second));
        }
        at = known ? std::next(at) : sources_.erase(at);
    }
}

/// With the mutex held. Nothing: nobody knows that database. PostgreSQL may have one that is called
/// like the console: its owner is not to say who has the console.
std::shared_ptr<auth_query::source> auth_query::source_for(const std::string& database) {
    const auto& named = config_->query_database.empty() ? database : config_->query_database;
    const auto where = config::is_console(named) ? std::nullopt : config_->find_database(named);
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

/// With the mutex held. Nothing: the configuration says that the database is there.
std::shared_ptr<auth_query::entrance> auth_query::entrance_to(const config::database& where) {
    const auto& all = config_->databases;
    if (std::any_of(all.begin(), all.end(),
                    [&](const auto& each) { return each.name == where.name; })) {
        return nullptr;
    }
    auto& known = entrances_[{where.connects_to(), where.port}];
    if (known == nullptr) {
        known = std::make_shared<entrance>();
    }
    return known;
}

/// With the mutex held.
std::shared_ptr<auth_query::source> auth_query::make_source(const config::database& where) {
    auth_query_connection::parameters parameters;
    const auto* const self = config_->find_user(config_->query_user);
    const auto add = [&](std::string key, std::string value) {
        if (!value.empty()) {
            parameters.emplace_back(std::move(key), std::move(value));
        }
    };
    add("host", where.connects_to());
    add("port", std::to_string(where.port));
    add("dbname", where.dbname.empty() ? where.name : where.dbname);
    add("user", config_->query_user);
    constexpr std::array<const char*, 6> modes{"disable", "allow",     "prefer",
                                               "require", "verify-ca", "verify-full"};
    add("sslmode", modes.at(static_cast<std::size_t>(where.sslmode)));
    add("sslrootcert",
        where.trusts_the_system() ? system_authorities() : absolute(directory_, where.sslrootcert));
    add("sslcrl", absolute(directory_, where.sslcrl));
    add("sslcert", absolute(directory_, where.sslcert));
    add("sslkey", absolute(directory_, where.sslkey));
    constexpr std::array<const char*, 3> bindings{"disable", "prefer", "require"};
    add("channel_binding", bindings.at(static_cast<std::size_t>(where.binding)));
    add("application_name", "pgweir auth_query");
    add("client_encoding", "UTF8");
    add("tcp_user_timeout", "4000"); // time enough for the next address
    add("options", "-c search_path=pg_catalog -c statement_timeout=5000 -c row_security=on");
    protocol::secret password(self == nullptr ? std::string()
                                              : std::string(self->password.reveal()));
    auto by = entrance_to(where);
    const bool is_of_client = by != nullptr && config_->query_database.empty();
    return std::make_shared<source>(
        std::make_shared<source::standing>(where.name, std::move(by), is_of_client),
        std::make_shared<auth_query_connection>(std::move(parameters), std::move(password),
                                                config_->query));
}

void auth_query::ask(const std::string& database, const std::string& user,
                     held_answers::clock::time_point until, std::weak_ptr<const void> asker,
                     std::function<void(const answer&)> done) {
    if (to_valid_utf8(user) != user) {
        done({}); // PostgreSQL, which is asked in UTF-8, cannot be told that name
        return;
    }
    ask({.of = {database, user},
         .until = until,
         .asker = std::move(asker),
         .done = std::move(done)});
}

void auth_query::ask(question what) {
    const auto& database = what.of.first;
    std::shared_ptr<source> where;
    std::optional<answer> known;
    auto told_at = what.asked_at;
    {
        source_list unused;
        const std::lock_guard lock(mutex_);
        where = source_for(database);
        const auto at = users_.find(what.of);
        if (where == nullptr) {
            known.emplace();
        } else if (at != users_.end() && at->second.until > clock::now()) {
            known = at->second.known;
        }
        if (known) {
            told_at += usual_time(where.get());
        } else {
            what.configuration = configuration_;
            what.at = where->known;
            what.waiting = where->waiting; // from now on it is not let go
        }
        unused = take_unused();
    }
    if (known && ask_later(what, *known)) {
        return;
    }
    if (known) {
        held_.put(told_at,
                  [known = std::move(*known), done = std::move(what.done)] { done(known); });
    } else if (what.at->entrance == nullptr || what.at->exists) {
        put(*where, std::move(what));
    } else {
        auto who = what.asker;
        what.at->entrance->to.ask({where}, std::move(who),
                                  [this, where, what](const answer* found) {
                                      if (found != nullptr && found->failure.empty()) {
                                          put(*where, what);
                                      } else {
                                          tell(what, found != nullptr ? *found : too_many());
                                      }
                                  });
    }
}

void auth_query::put(const source& to, question what) {
    auto who = what.asker;
    const auto user = what.of.second;
    to.users.ask(user, std::move(who), [this, what = std::move(what)](const answer* found) {
        tell(what, found != nullptr ? *found : too_many());
    });
}

/// PostgreSQL may be back before this one has waited for too long. False: it is to be told now.
/// Whoever it is waits here, so that how long says nothing of it.
bool auth_query::ask_later(const question& what, const answer& found) {
    const auto now = held_answers::clock::now();
    if (!found.may_pass || now >= what.until || what.asker.expired()) {
        return false;
    }
    question again{.of = what.of,
                   .until = what.until,
                   .told = what.told,
                   .asker = what.asker,
                   .done = what.done};
    if (again.told == nullptr) {
        again.told = std::make_shared<std::atomic<bool>>(false);
        again.done = [told = again.told, done = what.done](const answer& last) {
            if (!told->exchange(true)) {
                done(last);
            }
        };
        // By itself: a question may take longer than there is time.
        held_.put(what.until, [found, done = again.done] { done(found); });
    }
    if (const auto next = now + keep_failure; next < what.until) {
        held_.put(next, [this, again = std::move(again)] {
            if (!*again.told && !again.asker.expired()) {
                ask(again);
            }
        });
    }
    return true;
}

/// Strangers are not to find out which databases there are: one that is not, or in which nothing
/// can be asked, is like those that are there and do not have this user.
void auth_query::tell(const question& what, answer found) {
    if (is_news(what, found)) {
        log_.log(log_severity::error, "users cannot be looked up",
                 {{"database", what.at->database}, {"cause", found.failure}});
    }
    if (!found.complaint.empty() && !what.at->misread.exchange(true)) {
        log_.log(log_severity::error, "auth.query answers what it should not",
                 {{"database", what.at->database},
                  {"user", what.of.second},
                  {"cause", found.complaint}});
    }
    auto told_at = what.asked_at;
    if (found.of_database && what.at->is_of_client) {
        found = {};
        const std::lock_guard lock(mutex_);
        told_at += usual_time(nullptr);
    }
    answered(what, found);
    if (ask_later(what, found)) {
        return;
    }
    if (told_at > held_answers::clock::now()) {
        held_.put(told_at, [found, done = what.done] { done(found); });
    } else {
        what.done(found);
    }
}

/// Is it the first of several failures? Of databases that strangers make up it is one in a while.
bool auth_query::is_news(const question& what, const answer& found) {
    auto& at = *what.at;
    const bool bad = !found.failure.empty();
    if (at.entrance == nullptr || at.exists) {
        return !at.failed.exchange(bad) && bad;
    }
    const std::lock_guard lock(mutex_);
    if (!bad || clock::now() < at.entrance->told_at + news_of_entrance) {
        return false;
    }
    at.entrance->told_at = clock::now();
    return true;
}

void auth_query::hold(const std::string& database, std::function<void()> done) {
    auto told_at = held_answers::clock::now();
    {
        const std::lock_guard lock(mutex_);
        told_at += usual_time(source_for(database).get());
    }
    held_.put(told_at, std::move(done));
}

/// With the mutex held. As long as one of its last questions, or of any where it has had few.
held_answers::clock::duration auth_query::usual_time(const source* of) {
    const auto dice = static_cast<std::uint32_t>(dice_());
    return of == nullptr || of->known->times.are_few() ? times_.draw(dice)
                                                       : of->known->times.draw(dice);
}

/// What another configuration asks elsewhere is not to be kept for this one.
void auth_query::answered(const question& what, const answer& found) {
    const std::lock_guard lock(mutex_);
    if (what.configuration != configuration_) {
        return;
    }
    if (users_.size() >= most_kept && !users_.contains(what.of)) {
        users_.clear();
    }
    auto& entry = users_[what.of];
    const auto now = held_answers::clock::now();
    // Who has joined a question that was being asked has waited for a part of it only.
    if (found.took && entry.told_at < what.asked_at) {
        what.at->times.learn(*found.took);
        times_.learn(*found.took);
    }
    entry.known = found;
    entry.told_at = now;
    entry.asked_at = clock::now();
    entry.until = entry.asked_at + (found.failure.empty() ? config_->query_ttl : keep_failure);
}

void auth_query::forget(const std::string& database, const std::string& user) {
    const std::lock_guard lock(mutex_);
    const auto at = users_.find({database, user});
    if (at != users_.end()) {
        auto& entry = at->second;
        entry.until = std::min(entry.until, entry.asked_at + too_fresh_to_forget);
    }
}

} // namespace pgweir::daemon
