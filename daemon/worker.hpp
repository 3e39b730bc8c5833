// One worker: a thread, its event loop, its engine, and a mailbox through which others talk to it.
// It is the engine's outside: sockets, time, randomness. It decides nothing.
//
// Owner: the service. Thread: its own, but for post_*() and the atomics, which any thread may use.
// Tests: integration.
#pragma once

#include "daemon/engine/engine.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/logging.hpp"
#include "daemon/login_places.hpp"
#include "daemon/verifier_census.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace pgweir::daemon {

class auth_query;
class control_plane;
class pool_directory;

/// What a worker needs of the rest of the daemon.
struct worker_surroundings {
    control_plane& control;
    auth_query& users;
    verifier_census& verifiers;
    login_places& logins;
    pool_directory& pools;
    logger& log;
    std::atomic<std::uint64_t>& clients; // of all workers; max_clients is compared with it
    /// A console command; the answer goes to worker::run() of the worker named.
    std::function<void(worker_index, client_id, std::string user, std::string command)> console;
    std::function<void(worker_index, engine_message)> post;
};

/// An event of the log, whoever refuses the client.
inline constexpr std::string_view too_many_logins = "too many connections that have not logged in";

class worker final : engine_ports {
public:
    worker(engine::options options, worker_surroundings around,
           std::shared_ptr<const config::configuration> config);
    ~worker();
    worker(const worker&) = delete;
    worker& operator=(const worker&) = delete;

    void start();
    /// Ends the loop and waits for the thread.
    void stop();

    /// Runs `task` on the worker's thread with its engine. Any thread; never blocks for long.
    using task = std::function<void(engine&, time_point)>;
    void run(task what);
    /// A client has connected; owns `fd`. It has entered login_places.
    void post_client(int fd, arrival how);
    /// From another engine.
    void post_message(engine_message message);
    /// When the worker last went through its loop; for the watchdog.
    [[nodiscard]] time_point last_seen() const;
    [[nodiscard]] const engine_counters& counters() const { return engine_.counters(); }

    // For socket_connection -----------------------------------------------------------------------
    [[nodiscard]] event_loop& loop() { return loop_; }
    [[nodiscard]] control_plane& control() { return around_.control; }
    /// Of the event that is being handled.
    [[nodiscard]] time_point now() const { return loop_.now(); }
    /// An event has been handled: the engine may want to be woken earlier now.
    void after_event();

private:
    struct letter; // one thing in the mailbox

    // engine_ports
    std::unique_ptr<connection> open(const server_address& where, connection_events& who) override;
    std::unique_ptr<connection> attach(std::unique_ptr<detached_connection> what,
                                       connection_events& who) override;
    std::shared_ptr<pool_entry> pool_for(const config::database& where, std::string_view user,
                                         const shown_secrets& shown, bool replication) override;
    void client_gone() override;
    void login_over(const std::string& place) override { around_.logins.leave(place); }
    [[nodiscard]] bool login_from(const std::string& address, std::size_t most) override;
    void derive(std::uint64_t ticket, const protocol::login_derive& what,
                std::weak_ptr<const void> asker) override;
    void read_names(server_id asked, names_reading what) override;
    void look_up(std::uint64_t ticket, login_question what) override;
    void forget_user(const std::string& database, const std::string& user) override;
    [[nodiscard]] protocol::scram_shape common_verifier() const override {
        return around_.verifiers.commonest();
    }
    [[nodiscard]] std::chrono::system_clock::time_point wall_clock() const override {
        return std::chrono::system_clock::now();
    }
    void random(std::span<std::byte> into) override;
    void post(worker_index to, engine_message message) override;
    void console(client_id who, std::string_view user, std::string command) override;
    void log(log_severity severity, std::string_view event,
             std::initializer_list<log_field> fields) override;
    [[nodiscard]] bool logs(log_severity severity) const override;

    void put(letter what);
    void read_mail();
    void set_deadline(time_point at);

    worker_surroundings around_;
    event_loop loop_;
    class bell; // an eventfd: somebody has left a letter
    boost::intrusive_ptr<bell> bell_;

    std::mutex mail_mutex_;
    std::vector<letter> mail_;
    std::vector<letter> opened_;

    std::atomic<std::int64_t> last_seen_ns_{
        std::chrono::steady_clock::now().time_since_epoch().count()};
    worker_index self_;
    engine engine_;
    std::thread thread_;
};

} // namespace pgweir::daemon
