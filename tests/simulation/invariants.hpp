// What must be true after every step, and at the end. The numbers are those of DESIGN.md,
// "Invariants". What concerns a client's answers (1, 2, 5, 6, 13) is checked by fake_client, the
// cancels (7) and double writes (6) by fake_postgres.
#pragma once

#include "tests/simulation/fake_worker.hpp"

#include <map>
#include <vector>

namespace pgweir::simulation {

class invariants {
public:
    invariants(world& shared, daemon_state& daemon, fake_postgres& postgres)
        : shared_(shared)
        , daemon_(daemon)
        , postgres_(postgres) {}

    void after_step();
    /// Every client has left, and time has passed.
    void when_quiet();
    /// Everything has been shut down.
    void at_end();
    /// maxconn is this from now on, at one worker after the other.
    void bound_changes(std::uint32_t from, std::uint32_t to);

    std::uint32_t bound = 0;
    bool shutting_down = false;
    bool any_server_does = true; // for any client: not in session mode

private:
    void bound_holds();            // 4
    void engines_are_sound();      // 3, 9
    void nobody_is_forgotten();    // liveness: no lost wake-up
    void waiters_are_in_order();   // 8
    void audits_find_nothing();    // 13: whatever is done to a session is noticed
    void nonsense_ends_a_server(); // 3: what it says next is nobody's

    world& shared_;
    daemon_state& daemon_;
    fake_postgres& postgres_;
    std::uint32_t lower_bound_ = 0; // holds as soon as it has been reached
    std::map<const daemon::pool_entry*, time_point> stuck_since_;
    struct place_in_queue {
        time_point since;
        std::uint32_t worker;
        std::string pool;
    };
    std::map<std::uint64_t, place_in_queue> queue_; // at the last look
    std::uint64_t looks_ = 0;
    std::map<std::uint32_t, std::uint64_t> nonsense_heard_by_; // process id, client
};

} // namespace pgweir::simulation
