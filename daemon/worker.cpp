#include "daemon/worker.hpp"

#include "daemon/auth_query.hpp"
#include "daemon/control_plane.hpp"
#include "daemon/pool_directory.hpp"
#include "daemon/socket_connection.hpp"

#include <openssl/rand.h>

#include <csignal>
#include <pthread.h>
#include <stdexcept>
#include <sys/eventfd.h>
#include <unistd.h>

namespace pgweir::daemon {

namespace {

/// The engine is asked at least this often, so that a watchdog can see the loop turn.
constexpr auto longest_sleep = std::chrono::seconds(1);

} // namespace

class worker::bell final : public event_source {
public:
    explicit bell(worker& of)
        : of_(of)
        , fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
        if (fd_ < 0 || !of.loop_.add(fd_, *this)) {
            throw std::runtime_error("eventfd: " + std::string(std::strerror(errno)));
        }
    }
    ~bell() override { ::close(fd_); }
    void ring() const {
        const std::uint64_t one = 1;
        (void)!::write(fd_, &one, sizeof one);
    }
    void on_events(std::uint32_t) override {
        std::uint64_t rung = 0;
        (void)!::read(fd_, &rung, sizeof rung);
        of_.read_mail();
    }

private:
    worker& of_;
    int fd_;
};

struct worker::letter {
    struct new_client {
        int fd;
        arrival how;
    };
    std::variant<new_client, engine_message, task> what;
};

worker::worker(engine::options options, worker_surroundings around,
               std::shared_ptr<const config::configuration> config)
    : around_(std::move(around))
    , bell_(new bell(*this))
    , self_(options.self)
    , engine_(std::move(options), *this, std::move(config)) {}

worker::~worker() {
    stop();
    for (auto& item : mail_) {
        if (auto* const client = std::get_if<letter::new_client>(&item.what)) {
            ::close(client->fd);
        }
    }
}

void worker::start() {
    thread_ = std::thread([this] {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, nullptr); // signals are the ops thread's
        const auto name = "worker " + std::to_string(self_.value);
        pthread_setname_np(pthread_self(), name.c_str());
        set_deadline(std::chrono::steady_clock::now());
        loop_.run([this](time_point at) {
            if (engine_.next_deadline() <= at) {
                engine_.sweep(at);
            }
            set_deadline(at);
        });
    });
}

void worker::stop() {
    if (thread_.joinable()) {
        run([this](engine&, time_point) { loop_.stop(); });
        thread_.join();
    }
}

// Mail
// ---------------------------------------------------------------------------------------------

void worker::put(letter what) {
    {
        const std::lock_guard lock(mail_mutex_);
        mail_.push_back(std::move(what));
    }
    bell_->ring();
}

void worker::run(task what) { put({std::move(what)}); }
void worker::post_client(int fd, arrival how) { put({letter::new_client{fd, std::move(how)}}); }
void worker::post_message(engine_message message) { put({std::move(message)}); }

void worker::read_mail() {
    {
        const std::lock_guard lock(mail_mutex_);
        opened_.swap(mail_);
    }
    for (auto& item : opened_) {
        const auto at = now();
        if (auto* const client = std::get_if<letter::new_client>(&item.what)) {
            engine_.accept(at, make_connection(*this, client->fd), std::move(client->how));
        } else if (auto* const message = std::get_if<engine_message>(&item.what)) {
            engine_.on_message(at, std::move(*message));
        } else {
            std::get<task>(item.what)(engine_, at);
        }
    }
    opened_.clear();
    after_event();
}

// Time
// ---------------------------------------------------------------------------------------------

time_point worker::last_seen() const {
    return time_point(duration(last_seen_ns_.load(std::memory_order_relaxed)));
}

void worker::after_event() {
    if (engine_.next_deadline() < loop_.deadline()) {
        loop_.set_deadline(engine_.next_deadline());
    }
}

void worker::set_deadline(time_point at) {
    last_seen_ns_.store(at.time_since_epoch().count(), std::memory_order_relaxed);
    loop_.set_deadline(std::min(engine_.next_deadline(), at + longest_sleep));
}

// The engine's outside
// -------------------------------------------------------------------------------

std::unique_ptr<connection> worker::open(const server_address& where, connection_events& who) {
    auto made = make_connection(*this, who);
    auto known = literal_endpoints(where);
    if (!known.empty()) {
        connect_to(*made, std::move(known));
    } else {
        around_.control.resolve(where, *this, *made);
    }
    return made;
}

std::unique_ptr<connection> worker::attach(std::unique_ptr<detached_connection> what,
                                           connection_events& who) {
    auto& socket = static_cast<detached_socket&>(*what);
    auto made = make_connection(*this, socket);
    made->set_events(&who);
    return made;
}

std::shared_ptr<pool_entry> worker::pool_for(const config::database& where, std::string_view user,
                                             const shown_secrets& shown, bool replication) {
    return replication ? around_.pools.find_or_make_replication(where, user, shown)
                       : around_.pools.find_or_make(where, user, shown);
}

void worker::client_gone() { around_.clients.fetch_sub(1, std::memory_order_relaxed); }

bool worker::login_from(const std::string& address, std::size_t most) {
    if (around_.logins.learn(address, most)) {
        return true;
    }
    if (around_.logins.is_news(now())) {
        around_.log.log(log_severity::warning, too_many_logins, {{"address", address}});
    }
    return false;
}

void worker::derive(std::uint64_t ticket, const protocol::login_derive& what,
                    std::weak_ptr<const void> asker) {
    around_.control.derive(what, std::move(asker), [this, ticket](protocol::secret key) {
        run([ticket, key = std::move(key)](engine& e, time_point at) {
            e.on_derived(at, ticket, key);
        });
    });
}

void worker::read_names(server_id asked, names_reading what) {
    around_.control.read_names(std::move(what), [this, asked](names_outcome outcome) {
        run([asked, outcome = std::move(outcome)](engine& e, time_point at) {
            e.on_names_read(at, asked, outcome);
        });
    });
}

/// First the system, which may have to ask a name server, then PostgreSQL.
void worker::look_up(std::uint64_t ticket, login_question what) {
    auto answer = std::make_shared<login_answer>();
    auto tell = [this, ticket, answer] {
        run([ticket, answer](engine& e, time_point at) { e.on_looked_up(at, ticket, *answer); });
    };
    auto ask = [this, answer, tell, what] {
        if (!what.about_user) {
            if (what.in_the_file) {
                around_.users.hold(what.database, tell);
            } else {
                tell();
            }
            return;
        }
        around_.users.ask(what.database, what.user, what.patient_until, what.asker,
                          [this, answer, tell, user = what.user](const auth_query::answer& told) {
                              answer->user = told.user;
                              if (told.user != nullptr) {
                                  around_.verifiers.see(user, told.user->secret.reveal());
                              }
                              if (!told.failure.empty()) {
                                  answer->failure = told.failure;
                                  answer->postgresql_is_away = told.may_pass;
                              }
                              tell();
                          });
    };
    if (what.host_name || what.peer_name) {
        around_.control.name(what, *answer, std::move(ask));
    } else {
        ask();
    }
}

void worker::forget_user(const std::string& database, const std::string& user) {
    around_.users.forget(database, user);
}

void worker::random(std::span<std::byte> into) {
    if (RAND_bytes(reinterpret_cast<unsigned char*>(into.data()), static_cast<int>(into.size())) !=
        1) {
        std::abort(); // no randomness: every key would be guessable
    }
}

void worker::post(worker_index to, engine_message message) { around_.post(to, std::move(message)); }

void worker::console(client_id who, std::string_view user, std::string command) {
    around_.console(self_, who, std::string(user), std::move(command));
}

void worker::log(log_severity severity, std::string_view event,
                 std::initializer_list<log_field> fields) {
    around_.log.log(severity, event, fields);
}

bool worker::logs(log_severity severity) const { return around_.log.logs(severity); }

} // namespace pgweir::daemon
