// What the console needs from the daemon around it. The daemon implements it over workers and the
// configuration file, the tests over made-up rows.
//
// Owner: the daemon. Thread: the ops thread, callbacks included. A callback comes once, now or
// later; when the daemon ends it may also never come.
#pragma once

#include "config/configuration.hpp"
#include "daemon/engine/snapshot.hpp"
#include "daemon/ops_snapshot.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgweir::daemon {

class console_source {
public:
    template <typename Row>
    using rows_callback = std::function<void(std::vector<Row>)>;
    /// Nothing: it worked. Else what is wrong, to be shown to the operator as it is.
    using reload_callback = std::function<void(std::optional<std::string>)>;

    /// The one that runs now.
    [[nodiscard]] virtual std::shared_ptr<const config::configuration> configuration() const = 0;
    /// Every pool there is: the same snapshot that metrics and status page read.
    [[nodiscard]] virtual std::vector<pool_snapshot> pools() const = 0;
    /// When the daemon started, and what time it is.
    [[nodiscard]] virtual pool::time_point started_at() const = 0;
    [[nodiscard]] virtual pool::time_point now() const = 0;
    [[nodiscard]] virtual std::chrono::system_clock::time_point wall_clock() const = 0;

    /// Rows of all workers, one worker's behind the other's, in any order.
    virtual void collect_clients(rows_callback<client_row> done) = 0;
    virtual void collect_servers(rows_callback<server_row> done) = 0;
    virtual void collect_leases(rows_callback<lease_row> done) = 0;
    virtual void collect_pools(rows_callback<pool_row> done) = 0;
    virtual void collect_pins(rows_callback<pin_row> done) = 0;

    /// Reads the configuration file again, as SIGHUP does.
    virtual void reload(reload_callback done) = 0;
    /// Ends the daemon, as SIGTERM does. Returns at once; answers given before still get out.
    virtual void shutdown() = 0;

protected:
    ~console_source() = default;
};

} // namespace pgweir::daemon
