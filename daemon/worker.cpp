#include "daemon/worker.hpp"

#include "daemon/control_plane.hpp"
#include "daemon/pool_directory.hpp"
#include "daemon/socket_connection.hpp"

#include <boost/asio.hpp>

#include <openssl/rand.h>

#include <csignal>
#include <pthread.h>
#include <stdexcept>
#include <sys/eventfd.h>
#include <unistd.h>

namespace pgweir::daemon {

namespace asio = boost::asio;

namespace {

/// Time-outs may be this much late; so the timer is not set again for every small difference.
constexpr auto timer_slack = std::chrono::milliseconds(5);
/// The engine is asked at least this often, so that a watchdog can see the loop turn.
constexpr auto longest_sleep = std::chrono::seconds(1);

int make_bell() {
    const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        throw std::runtime_error("eventfd: " + std::string(std::strerror(errno)));
    }
    return fd;
}

} // namespace

struct worker::letter {
    struct new_client {
        int fd;
        bool over_limit;
    };
    std::variant<new_client, engine_message, task> what;
};

worker::worker(engine::options options, worker_surroundings around,
               std::shared_ptr<const config::configuration> config)
    : around_(std::move(around))
    // One thread runs this loop, and nobody else touches it: no locks inside. Other threads leave
    // letters and ring the bell.
    , loop_(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE)
    , timer_(loop_.get_executor())
    , bell_(loop_.get_executor(), make_bell())
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
        wait_for_mail();
        arm_timer();
        loop_.run();
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
    const std::uint64_t one = 1;
    (void)!::write(bell_.native_handle(), &one, sizeof one);
}

void worker::run(task what) { put({std::move(what)}); }
void worker::post_client(int fd, bool over_limit) { put({letter::new_client{fd, over_limit}}); }
void worker::post_message(engine_message message) { put({std::move(message)}); }

void worker::wait_for_mail() {
    bell_.async_read_some(asio::buffer(&rung_, sizeof rung_),
                          [this](boost::system::error_code error, std::size_t) {
                              if (!error) {
                                  read_mail();
                                  wait_for_mail();
                              }
                          });
}

void worker::read_mail() {
    {
        const std::lock_guard lock(mail_mutex_);
        opened_.swap(mail_);
    }
    for (auto& item : opened_) {
        const auto at = now();
        if (auto* const client = std::get_if<letter::new_client>(&item.what)) {
            engine_.accept(at, make_connection(*this, client->fd), client->over_limit);
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

time_point worker::now() const { return std::chrono::steady_clock::now(); }

time_point worker::last_seen() const {
    return time_point(duration(last_seen_ns_.load(std::memory_order_relaxed)));
}

void worker::after_event() {
    if (engine_.next_deadline() + timer_slack < armed_for_) {
        arm_timer();
    }
}

void worker::arm_timer() {
    const auto at = now();
    last_seen_ns_.store(at.time_since_epoch().count(), std::memory_order_relaxed);
    armed_for_ = std::clamp(engine_.next_deadline(), at, at + longest_sleep);
    timer_.expires_at(armed_for_);
    timer_.async_wait([this](boost::system::error_code error) {
        if (!error) {
            const auto time = now();
            if (engine_.next_deadline() <= time) {
                engine_.sweep(time);
            }
            arm_timer();
        }
    });
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
    auto made = make_connection(*this, std::exchange(socket.fd, -1));
    made->set_events(&who);
    return made;
}

std::shared_ptr<pool_entry> worker::pool_for(const config::database& where, std::string_view user,
                                             const protocol::secret& password) {
    return around_.pools.find_or_make(where, user, password);
}

void worker::client_gone() { around_.clients.fetch_sub(1, std::memory_order_relaxed); }

void worker::derive(std::uint64_t ticket, const protocol::secret& password, std::string salt,
                    std::uint32_t iterations) {
    around_.control.derive(password, std::move(salt), iterations,
                           [this, ticket](protocol::secret key) {
                               run([ticket, key = std::move(key)](engine& e, time_point at) {
                                   e.on_derived(at, ticket, key);
                               });
                           });
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
