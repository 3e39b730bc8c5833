// A small world around the pool: several workers' shards on one ledger, clients, a PostgreSQL that
// comes, goes and fills up, messages that travel slowly, and virtual time. Everything that happens
// is drawn from one seed. After every step it checks what must always hold, and throws the sentence
// that does not. It drives the shards as the engine does, by the rules at the top of
// pool/shard.hpp.
//
// Used by schedule_test.cpp. Thread: one.
#pragma once

#include "pool/shard.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace pgweir::pool {

class schedule {
public:
    struct options {
        std::uint64_t seed = 1;
        std::uint32_t workers = 2;
        limits bounds;
        bool limits_change = false; // reloads happen, maxconn included
    };
    /// How often what happened, to see that a schedule has been everywhere.
    struct tally {
        std::uint64_t at_once = 0, waited = 0, served = 0, cancelled = 0, timed_out = 0;
        std::uint64_t connected = 0, refused = 0, full = 0, died = 0, reset = 0;
        std::uint64_t migrated = 0, asked = 0, passed_on = 0, woken = 0, reloads = 0;
        std::array<std::uint64_t, server_close_count> closed{};
        std::array<std::uint64_t, 6> grown{};
        void add(const tally& other);
    };

    explicit schedule(const options& how);
    /// One random event, then all checks.
    void step();
    /// Every message arrives; then nobody may wait for what is there.
    void settle();
    /// PostgreSQL works, nobody asks any more: everybody is served or timed out, all is given back.
    void wind_down();

    [[nodiscard]] const tally& counts() const { return tally_; }
    /// A number that all decisions of the schedule went into.
    [[nodiscard]] std::uint64_t trace() const { return trace_; }

private:
    struct database_server : server {
        std::uint32_t at = 0; // worker
        bool in_transit = false;
    };
    struct client : waiter {
        std::uint32_t at = 0;
        server* held = nullptr;
    };
    struct message {
        enum class kind : std::uint8_t { ask, take, wake } what;
        std::uint32_t from = 0;
        server* carried = nullptr;
    };
    struct worker {
        worker(ledger& book, std::uint32_t index, const limits& bounds)
            : part(book, counts, worker_index{index}, bounds) {}
        stats counts;
        shard part;
        std::deque<message> mail;
    };
    enum class postgres : std::uint8_t { up, down, full };

    // What happens
    void client_asks();
    void client_is_done();
    void client_gives_up();
    void connect_ends();
    void reset_ends();
    void server_dies();
    void server_is_gone();
    void message_arrives(std::uint32_t at);
    void time_passes();
    void postgres_changes();
    void reload();

    // How a worker answers
    void react(std::uint32_t at);
    void wake_others(std::uint32_t at);
    void timer(std::uint32_t at);
    void place(server& who);
    void begin_close(server& who, server_close reason);
    void gone(server& who);
    void login(server& who, bool works);

    // What must hold
    void check();
    void check_worker(worker& one, std::uint32_t at);
    void check_quiet();
    void check_order(const client& served);
    void expect(bool holds, const char* what) const;

    [[nodiscard]] std::uint64_t draw(std::uint64_t below);
    [[nodiscard]] server* any_server(server_state state);
    void note(std::uint64_t what);
    [[nodiscard]] static client& as_client(waiter& who) { return static_cast<client&>(who); }
    [[nodiscard]] static database_server& as_database_server(server& who) {
        return static_cast<database_server&>(who);
    }

    options how_;
    std::mt19937_64 random_;
    limits bounds_;
    time_point now_{};
    ledger book_;
    std::deque<worker> workers_; // stable addresses
    std::deque<client> clients_;
    std::list<database_server> servers_; // all that exist at PostgreSQL
    postgres postgres_ = postgres::up;
    std::uint32_t most_allowed_ = 0; // taken: maxconn, or what was open when maxconn was lowered
    std::uint64_t last_server_ = 0;
    std::uint64_t trace_ = 0;
    std::uint64_t steps_ = 0;
    tally tally_;
};

} // namespace pgweir::pool
