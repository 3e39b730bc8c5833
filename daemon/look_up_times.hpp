// How long look-ups take: what is known already is answered after as long, so that the time an
// answer takes does not tell what is known. A value. Tests: tests/daemon/look_up_times_test.cpp.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace pgweir::daemon {

class look_up_times {
public:
    using duration = std::chrono::steady_clock::duration;
    static constexpr std::size_t remembered = 16;
    /// What PostgreSQL takes longer for says nothing of the user, and nobody is to wait for it
    /// twice.
    static constexpr duration longest = std::chrono::milliseconds(20);
    static constexpr duration unknown = std::chrono::milliseconds(1); // before the first

    void learn(duration took);
    /// One of the last, any of them as likely as another. `dice`: any number, by chance.
    [[nodiscard]] duration draw(std::uint32_t dice) const;
    [[nodiscard]] bool empty() const { return learnt_ == 0; }
    /// One slow one among them would be seen in all that is drawn.
    [[nodiscard]] bool are_few() const { return learnt_ < remembered; }

private:
    std::array<duration, remembered> last_{};
    std::size_t learnt_ = 0;
};

} // namespace pgweir::daemon
