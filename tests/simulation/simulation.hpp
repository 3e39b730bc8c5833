// One simulation: everything a seed decides, from the configuration to the last fault, and its
// run to the end: a time of chaos, a time without faults in which everybody must be served, quiet,
// shutdown.
//
// Owner: main.cpp. Thread: one per simulation. Life: one seed.
#pragma once

#include "tests/simulation/fake_client.hpp"
#include "tests/simulation/fake_postgres.hpp"
#include "tests/simulation/fake_worker.hpp"
#include "tests/simulation/invariants.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace pgweir::simulation {

class simulation {
public:
    simulation(std::uint64_t seed, planted_bug bug, bool readable);
    ~simulation();

    void run();

    world shared;
    std::uint64_t steps = 0;

private:
    void plan_network();
    void plan_configuration();
    void plan_clients();
    [[nodiscard]] client_plan plan_client(std::uint32_t number);
    void plan_faults();
    void fault_tick();
    void server_outage();
    void reconfigure();
    void begin_shutdown();
    void finish_shutdown();
    void accept(network::end_ptr end);
    /// One event. False: nothing is left to happen before `until`.
    bool step(time_point until);
    void run_until(time_point until, bool (simulation::*enough)() const);
    [[nodiscard]] bool clients_done() const;
    [[nodiscard]] bool engines_empty() const;
    [[nodiscard]] bool shuts_down() const { return rules_.shutting_down; }
    void calm();
    void trace_rows();

    network net_;
    fake_postgres postgres_;
    daemon_state daemon_;
    client_rules rules_;
    std::shared_ptr<config::configuration> config_;
    std::vector<std::unique_ptr<fake_client>> clients_;
    invariants invariants_;

    // Which faults this simulation has.
    bool server_faults_ = false;
    bool client_faults_ = false;
    bool cancel_storm_ = false;
    bool reloads_ = false;
    bool small_max_clients_ = false;
    bool conversations_ = false; // some clients play generated ones
    bool shuts_down_early_ = false;
    std::uint64_t sweeps_at_this_moment_ = 0;
    time_point moment_{};
    time_point chaos_ends_{};
};

} // namespace pgweir::simulation
