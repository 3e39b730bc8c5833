// Other clients of the same pool, who keep it busy with short transactions of their own: servers
// change hands all the time, and whoever is being watched gets another one nearly every time. They
// use the names of statements that scripts use, for other statements.
//
// Owner: main. Threads of their own, joined by the destructor.
#pragma once

#include "integration/differential/player.hpp"

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace pgweir::differential {

class disturbance {
public:
    disturbance(const place& where, std::size_t clients);
    disturbance(const disturbance&) = delete;
    disturbance& operator=(const disturbance&) = delete;
    ~disturbance();

    /// What they did; a disturber whose connection ended or whose answers were wrong says so in
    /// `complaints`.
    [[nodiscard]] std::size_t transactions() const { return transactions_; }
    [[nodiscard]] std::size_t complaints() const { return complaints_; }

private:
    void disturb(const place& where, std::size_t number);

    std::atomic<bool> stop_ = false;
    std::atomic<std::size_t> transactions_ = 0, complaints_ = 0;
    std::vector<std::thread> threads_;
};

} // namespace pgweir::differential
