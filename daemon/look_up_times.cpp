#include "daemon/look_up_times.hpp"

#include <algorithm>

namespace pgweir::daemon {

void look_up_times::learn(duration took) {
    last_.at(learnt_ % remembered) = std::clamp(took, duration::zero(), longest);
    ++learnt_;
}

look_up_times::duration look_up_times::draw(std::uint32_t dice) const {
    return empty() ? unknown : last_.at(dice % std::min(learnt_, remembered));
}

} // namespace pgweir::daemon
