// One worker of the daemon as the simulation has it: an engine, and the ports through which it sees
// the made-up network, the other workers and the clock.
#pragma once

#include "daemon/engine/engine.hpp"
#include "tests/simulation/fake_postgres.hpp"
#include "tests/simulation/network.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pgweir::simulation {

class fake_worker;

/// How long the control plane takes to read what names hide. Readings may overtake one another.
struct reading_speed {
    duration least{0}, most = milliseconds(20);
    unsigned late_percent = 0; // take longer than anybody waits
};

/// What all workers of a simulation share.
struct daemon_state {
    world& shared;
    network& net;
    fake_postgres& postgres;
    std::vector<std::unique_ptr<fake_worker>> workers;
    std::map<std::pair<std::string, std::string>, std::shared_ptr<daemon::pool_entry>> pools;
    std::size_t open_sockets = 0; // that some engine holds
    std::size_t clients = 0;      // against max_clients
    std::uint64_t messages = 0;   // between workers, under way
    std::string server_password;
    reading_speed readings = {};
    std::uint64_t readings_under_way = 0;
    std::map<std::string, std::size_t> logging_in = {}; // by place: have not logged in yet
};

class fake_worker final : public daemon::engine_ports {
public:
    fake_worker(daemon_state& daemon, std::uint32_t self, std::uint32_t workers,
                std::shared_ptr<const config::configuration> config, bool rotate_servers);

    /// Hands it a client, from one of three addresses.
    void accept(network::end_ptr end, bool over_limit);
    void accept(network::end_ptr end, daemon::arrival how);
    /// When its timer fires next: at the engine's deadline, or somewhat later.
    [[nodiscard]] time_point next_sweep();
    void sweep();

    daemon::engine engine;

private:
    std::unique_ptr<daemon::connection> open(const daemon::server_address& where,
                                             daemon::connection_events& who) override;
    std::unique_ptr<daemon::connection> attach(std::unique_ptr<daemon::detached_connection> what,
                                               daemon::connection_events& who) override;
    std::shared_ptr<daemon::pool_entry> pool_for(const config::database& where,
                                                 std::string_view user,
                                                 const daemon::shown_secrets& shown,
                                                 bool replication) override;
    void client_gone() override;
    void login_over(const std::string& place) override;
    [[nodiscard]] bool login_from(const std::string& address, std::size_t most) override;
    void derive(std::uint64_t ticket, const protocol::login_derive& what,
                std::weak_ptr<const void> asker) override;
    void read_names(daemon::server_id asked, daemon::names_reading what) override;
    void look_up(std::uint64_t ticket, daemon::login_question what) override;
    void forget_user(const std::string&, const std::string&) override {}
    [[nodiscard]] protocol::scram_shape common_verifier() const override { return {}; }
    [[nodiscard]] std::chrono::system_clock::time_point wall_clock() const override { return {}; }
    void random(std::span<std::byte> into) override;
    void post(daemon::worker_index to, daemon::engine_message message) override;
    void console(daemon::client_id who, std::string_view user, std::string command) override;
    void log(daemon::log_severity severity, std::string_view event,
             std::initializer_list<daemon::log_field> fields) override;
    [[nodiscard]] bool logs(daemon::log_severity severity) const override;

    [[nodiscard]] static daemon::engine::options options_for(const daemon_state& daemon,
                                                             std::uint32_t self,
                                                             std::uint32_t workers,
                                                             bool rotate_servers);

    daemon_state& daemon_;
    std::uint32_t self_;
    std::vector<time_point> last_post_; // by receiver: messages arrive in order
    time_point deadline_{};
    time_point sweep_at_ = time_point::max();
};

} // namespace pgweir::simulation
