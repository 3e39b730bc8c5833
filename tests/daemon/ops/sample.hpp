// Two pools on two workers with every counter set, for the tests of what renders snapshots.
#pragma once

#include "daemon/ops_snapshot.hpp"

namespace pgweir::daemon {

struct sample_pools {
    pool::stats first[2];
    pool::stats second[2];

    sample_pools();
    [[nodiscard]] snapshot_source source() const;
};

} // namespace pgweir::daemon
