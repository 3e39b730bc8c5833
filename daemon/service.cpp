#include "daemon/service.hpp"

#include "config/address.hpp"
#include "config/difference.hpp"
#include "daemon/auth_query.hpp"
#include "daemon/configuration_reader.hpp"
#include "daemon/console.hpp"
#include "daemon/control_plane.hpp"
#include "daemon/host_facts.hpp"
#include "daemon/listener.hpp"
#include "daemon/logging.hpp"
#include "daemon/metrics.hpp"
#include "daemon/mock_secret.hpp"
#include "daemon/operator_view.hpp"
#include "daemon/ops_http.hpp"
#include "daemon/ops_snapshot.hpp"
#include "daemon/pool_directory.hpp"
#include "daemon/socket_connection.hpp"
#include "daemon/status_page.hpp"
#include "daemon/worker.hpp"
#include "systemd/listen_fds.hpp"
#include "systemd/notify.hpp"

#include <boost/asio.hpp>

#include <openssl/rand.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <list>
#include <stdexcept>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

namespace pgweir::daemon {

namespace asio = boost::asio;

namespace {

constexpr auto shutdown_poll = std::chrono::milliseconds(20);
/// A worker that has not been seen for so long will not come back: as WatchdogSec= of the unit.
constexpr auto hung_after = std::chrono::seconds(30);
/// After everybody has been told: how long last bytes and PostgreSQL's goodbyes may take.
constexpr auto last_words = std::chrono::seconds(3);

log_severity severity_of(config::log_level level) { return static_cast<log_severity>(level); }
log_layout layout_of(config::log_format format) {
    return format == config::log_format::json ? log_layout::json : log_layout::text;
}

logger::options log_options(const config::configuration& config) {
    logger::options options;
    options.level = severity_of(config.level);
    options.layout = layout_of(config.format);
    options.priority_prefix = is_journal(options.fd);
    return options;
}

std::string random_secret() {
    std::string value(32, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(value.data()),
                   static_cast<int>(value.size())) != 1) {
        throw std::runtime_error("no random numbers to be had");
    }
    return value;
}

/// Where a client is that has just come, or the load balancer it came through.
sockaddr_storage peer_of(int fd) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    (void)::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length);
    return address;
}

/// For a reload, off the ops thread. What needs a restart stays as it runs.
configuration_reader::outcome read_configuration(const std::string& path,
                                                 const config::configuration& running,
                                                 const tls_contexts& tls) {
    configuration_reader::outcome read{load_configuration(path, &tls)};
    if (read.loaded.config) {
        read.changes = config::compare(running, *read.loaded.config).lines();
        read.loaded.config = std::make_shared<const config::configuration>(
            config::after_reload(running, *read.loaded.config));
    }
    return read;
}

/// As many descriptors as allowed: every client and server is one.
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

} // namespace

struct service::state {
    state(std::string path_, loaded_configuration loaded, options opts)
        : path(std::move(path_))
        , config(std::move(loaded.config))
        , tls(std::move(loaded.tls))
        , for_tests(opts)
        , log(log_options(*config))
        , worker_count(config->workers != 0 ? config->workers
                                            : std::max(1U, std::thread::hardware_concurrency()))
        , pools(worker_count, config, tls)
        , users(log, config, std::filesystem::path(path).parent_path().string())
        , signals(ops)
        , timer(ops)
        , every_second(ops)
        , view({ops, pools, workers, clients, log, [this] { return config; },
                [this](console_source::reload_callback done) { reload(std::move(done)); },
                [this] { begin_shutdown(); }})
        , admin_console(view) {
        for (const auto& warning : loaded.warnings) {
            log.log(log_severity::warning, "configuration", {{"warning", warning}});
        }
    }

    void start_workers();
    void start_listeners();
    void start_http();
    void wait_for_signal();
    [[nodiscard]] bool all_seen_within(std::chrono::nanoseconds limit) const;
    void tick();
    void reload(console_source::reload_callback done);
    std::optional<std::string> use(configuration_reader::outcome read);
    /// Not any more when it stops: systemd would show it as serving.
    void say_ready(const char* status) const {
        if (!shutting_down) {
            systemd::notify_ready(status);
        }
    }
    void begin_shutdown();
    void finish_shutdown();
    void wait_until_empty(time_point deadline, void (state::*then)());
    void take_client(int fd);
    void console_command(worker_index from, client_id who, std::string user, std::string command);

    std::string path;
    std::shared_ptr<const config::configuration> config;
    std::shared_ptr<const tls_contexts> tls;
    const options for_tests;
    const std::string chance = random_secret(); // of this process
    logger log;
    std::uint32_t worker_count;
    pool_directory pools;
    auth_query users;
    verifier_census verifiers;
    login_places logins;
    control_plane control{std::max<std::size_t>(worker_count, 2)};
    std::atomic<std::uint64_t> clients{0};
    std::vector<std::unique_ptr<worker>> workers;
    std::vector<std::uint64_t> handed; // clients given to each worker so far

    asio::io_context ops;
    asio::signal_set signals;
    asio::steady_timer timer;
    asio::steady_timer every_second;
    time_point last_sign_of_life{};
    std::list<listener> listeners;
    std::unique_ptr<metrics_collector> metrics;
    std::unique_ptr<ops_http> http;
    operator_view view;
    console admin_console;
    configuration_reader reader{
        ops,
        {.begin =
             [this] {
                 if (!shutting_down) {
                     systemd::notify_reloading();
                 }
                 return [path = path, config = config, tls = tls] {
                     return read_configuration(path, *config, *tls);
                 };
             },
         .use = [this](configuration_reader::outcome read) { return use(std::move(read)); }}};
    bool shutting_down = false;
    int exit_status = 0;
};

service::service(std::string path, loaded_configuration config, options opts)
    : state_(std::make_unique<state>(std::move(path), std::move(config), opts)) {}

service::~service() {
    // Workers talk to one another, and the control plane's threads to them: all stop before any
    // goes (also when starting has failed half way).
    for (auto& worker : state_->workers) {
        worker->stop();
    }
    state_->control.stop();
}

int service::run() {
    auto& s = *state_;
    std::signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    s.start_workers();
    s.start_listeners();
    s.start_http();
    s.wait_for_signal();
    s.tick();
    systemd::notify_ready("serving");
    s.log.log(log_severity::info, "ready",
              {{"version", build_version()},
               {"workers", std::int64_t{s.worker_count}},
               {"process_id", std::int64_t{::getpid()}}});
    s.ops.run();
    // Nobody waits for signals any more: a reload asked for now must not end us half way.
    s.signals.clear();
    std::signal(SIGHUP, SIG_IGN);
    for (auto& worker : s.workers) {
        worker->stop();
    }
    s.control.stop();
    s.users.stop();
    s.log.log(log_severity::info, "stopped", {});
    return s.exit_status;
}

// Starting
// -----------------------------------------------------------------------------------------

void service::state::start_workers() {
    const auto mock_secret = mock_secret_of(*config, tls->clients.get(), chance);
    const auto statement_key = random_secret();
    verifiers.use(config->users);
    const auto networks = own_networks();
    for (std::uint32_t i = 0; i < worker_count; ++i) {
        engine::options options;
        options.self = {i};
        options.workers = worker_count;
        options.mock_secret = mock_secret;
        options.statement_key = statement_key;
        options.client_tls = tls->clients;
        options.own_networks = networks;
        options.rotate_servers = for_tests.rotate_servers;
        options.track_sessions = for_tests.track_sessions;
        worker_surroundings around{
            control,
            users,
            verifiers,
            logins,
            pools,
            log,
            clients,
            [this](worker_index from, client_id who, std::string user, std::string command) {
                asio::post(ops,
                           [this, from, who, user = std::move(user), command = std::move(command)] {
                               console_command(from, who, user, command);
                           });
            },
            [this](worker_index to, engine_message message) {
                workers[to.value]->post_message(std::move(message));
            }};
        workers.push_back(std::make_unique<worker>(std::move(options), std::move(around), config));
    }
    handed.assign(worker_count, 0);
    for (auto& worker : workers) {
        worker->start();
    }
    std::size_t next = 0;
    for (const auto& entry : pools.make_configured()) {
        workers[next++ % worker_count]->run(
            [entry](engine& e, time_point now) { e.warm(now, entry); });
    }
}

void service::state::start_listeners() {
    const auto take = [this](int fd) { take_client(fd); };
    bool inherited = false;
    for (const auto& socket : systemd::take_listen_fds()) {
        if (socket.what != systemd::inherited_socket::kind::unusable && socket.name != "metrics") {
            listeners.emplace_back(ops, log, take).adopt(socket.fd);
            inherited = true;
        } else {
            log.log(log_severity::warning, "inherited socket not used", {{"name", socket.name}});
            ::close(socket.fd);
        }
    }
    if (!inherited) {
        for (const auto& where : config->listen) {
            listeners.emplace_back(ops, log, take).listen(where.address, where.port);
        }
    }
    for (const auto& listener : listeners) {
        log.log(log_severity::info, "listening",
                {{"address", listener.name()}, {"port", std::int64_t{listener.port()}}});
    }
}

void service::state::start_http() {
    metrics = std::make_unique<metrics_collector>(
        snapshot_source{[this] { return view.pools(); }, [this] { return view.process(); }});
    ops_http_handlers handlers;
    handlers.metrics = [this] { return metrics_text(*metrics); };
    handlers.healthy = [this] { return all_seen_within(hung_after); };
    handlers.ready = [this] { return view.ready(); };
    handlers.status_page = [this] { return daemon::status_page(view.pools(), view.process()); };
    http = std::make_unique<ops_http>(ops, std::move(handlers));
    if (const auto error = http->listen(config->metrics_address, config->metrics_port)) {
        throw std::runtime_error("metrics: listen on " + config->metrics_address + " port " +
                                 std::to_string(config->metrics_port) + ": " + error.message());
    }
    log.log(log_severity::info, "metrics",
            {{"address", config->metrics_address}, {"port", std::int64_t{http->port()}}});
}

void service::state::take_client(int fd) {
    view.count_accepted();
    const auto at = peer_of(fd);
    const auto ip = ip_of(at);
    const auto peer = name_of(at).first;
    const bool from_proxy = ip && config::is_within(*ip, config->proxy_protocol);
    const auto place = from_proxy ? std::string() : peer;
    if (!logins.enter(place, config->max_unauthenticated,
                      config->max_unauthenticated_per_address)) {
        ::close(fd);
        if (logins.is_news(std::chrono::steady_clock::now())) {
            log.log(log_severity::warning, too_many_logins, {{"address", peer}});
        }
        return;
    }
    const bool over_limit = clients.fetch_add(1, std::memory_order_relaxed) >= config->max_clients;
    std::size_t least = 0;
    std::uint64_t least_load = std::numeric_limits<std::uint64_t>::max();
    for (std::size_t i = 0; i < workers.size(); ++i) {
        // Those still in its mailbox count, too.
        const auto& counters = workers[i]->counters();
        const auto load = handed[i] - counters.accepted.load() + counters.clients.load();
        if (load < least_load) {
            least_load = load;
            least = i;
        }
    }
    ++handed[least];
    workers[least]->post_client(fd, {over_limit, from_proxy, place});
}

// Signals, reload, watchdog
// --------------------------------------------------------------------------

void service::state::wait_for_signal() {
    static bool added = false;
    if (!added) {
        added = true;
        for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) {
            signals.add(number);
        }
    }
    signals.async_wait([this](boost::system::error_code error, int number) {
        if (error) {
            return;
        }
        if (number == SIGHUP) {
            reload([](const auto&) {});
        } else if (number == SIGUSR1 || number == SIGUSR2) { // others pause and go on
            log.log(log_severity::warning, "signal ignored",
                    {{"signal", number == SIGUSR1 ? "SIGUSR1" : "SIGUSR2"}});
        } else if (!shutting_down) {
            begin_shutdown();
        } else {
            log.log(log_severity::warning, "ending at once", {{"cause", "second signal"}});
            exit_status = 1;
            ops.stop();
            return;
        }
        wait_for_signal();
    });
}

/// A worker goes through its loop every second, whatever there is to do.
bool service::state::all_seen_within(std::chrono::nanoseconds limit) const {
    const auto now = std::chrono::steady_clock::now();
    return std::all_of(workers.begin(), workers.end(),
                       [&](const auto& worker) { return now - worker->last_seen() < limit; });
}

/// Once a second: samples for the console's averages, and a sign of life for systemd.
void service::state::tick() {
    admin_console.tick();
    const auto now = std::chrono::steady_clock::now();
    if (const auto period = systemd::watchdog_period();
        period && now - last_sign_of_life > *period / 3) {
        if (all_seen_within(*period)) {
            last_sign_of_life = now;
            systemd::notify_watchdog();
        }
    }
    every_second.expires_after(std::chrono::seconds(1));
    every_second.async_wait([this](boost::system::error_code error) {
        if (!error) {
            tick();
        }
    });
}

void service::state::reload(console_source::reload_callback done) {
    if (reader.is_reading()) {
        log.log(log_severity::info, "reload waits", {{"cause", "the last one is being read"}});
    }
    reader.read(std::move(done));
}

/// The whole file is checked first; one with errors changes nothing.
std::optional<std::string> service::state::use(configuration_reader::outcome read) {
    auto& loaded = read.loaded;
    for (const auto& warning : loaded.warnings) {
        log.log(log_severity::warning, "configuration", {{"warning", warning}});
    }
    if (!loaded.config) {
        view.count_reload(false);
        std::string all;
        for (const auto& error : loaded.errors) {
            log.log(log_severity::error, "reload refused", {{"cause", error}});
            all += (all.empty() ? "" : "; ") + error;
        }
        say_ready("serving; the last reload was refused");
        return all;
    }
    for (const auto& line : read.changes) {
        log.log(log_severity::info, "reload", {{"change", line}});
    }
    config = std::move(loaded.config);
    view.count_reload(true);
    log.set_level(severity_of(config->level));
    log.set_layout(layout_of(config->format));
    tls = std::move(loaded.tls);
    const auto networks = own_networks();
    const auto mock_secret = mock_secret_of(*config, tls->clients.get(), chance);
    pools.reconfigure(config, tls);
    users.reconfigure(config);
    verifiers.use(config->users);
    for (auto& worker : workers) {
        worker->run([config = config, with_clients = tls->clients, networks,
                     mock_secret](engine& e, time_point now) {
            e.use(with_clients, networks, mock_secret);
            e.reconfigure(now, config);
        });
    }
    log.log(log_severity::info, "reloaded",
            {{"changes", static_cast<std::int64_t>(read.changes.size())}});
    say_ready("serving");
    return std::nullopt;
}

// Stopping
// -----------------------------------------------------------------------------------------

void service::state::begin_shutdown() {
    if (shutting_down) {
        return;
    }
    shutting_down = true;
    view.shutting_down();
    systemd::notify_stopping("finishing open transactions");
    log.log(log_severity::info, "shutting down",
            {{"clients", static_cast<std::int64_t>(clients.load())},
             {"timeout_seconds", std::chrono::duration<double>(config->shutdown_timeout).count()}});
    for (auto& listener : listeners) {
        listener.stop();
    }
    for (auto& worker : workers) {
        worker->run([](engine& e, time_point now) { e.begin_shutdown(now); });
    }
    wait_until_empty(std::chrono::steady_clock::now() + config->shutdown_timeout,
                     &state::finish_shutdown);
}

void service::state::finish_shutdown() {
    for (auto& worker : workers) {
        worker->run([](engine& e, time_point now) { e.finish_shutdown(now); });
    }
    wait_until_empty(std::chrono::steady_clock::now() + last_words, nullptr);
}

/// Polls the engines until they are empty, then ends the loop; at `deadline` does `then` instead.
void service::state::wait_until_empty(time_point deadline, void (state::*then)()) {
    auto still_missing = std::make_shared<std::atomic<std::size_t>>(workers.size());
    for (auto& worker : workers) {
        worker->run([still_missing](engine& e, time_point) {
            if (e.empty()) {
                still_missing->fetch_sub(1);
            }
        });
    }
    timer.expires_after(shutdown_poll);
    timer.async_wait([this, still_missing, deadline, then](boost::system::error_code error) {
        if (error) {
            return;
        }
        if (still_missing->load() == 0) {
            http->stop();
            ops.stop();
        } else if (std::chrono::steady_clock::now() < deadline) {
            wait_until_empty(deadline, then);
        } else if (then != nullptr) {
            (this->*then)();
        } else {
            ops.stop();
        }
    });
}

void service::state::console_command(worker_index from, client_id who, std::string user,
                                     std::string command) {
    admin_console.execute(user, command, [this, from, who](std::string reply) {
        workers[from.value]->run([who, reply = std::move(reply)](engine& e, time_point now) {
            e.on_console(now, who, reply);
        });
    });
}

} // namespace pgweir::daemon
