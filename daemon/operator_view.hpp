// What operators see of the running daemon: the one snapshot behind metrics, status page, readiness
// and console, and the rows that only the workers can make.
//
// Owner: the service. Thread: the ops thread. Tests: integration (console, prometheus, outages).
#pragma once

#include "daemon/console_source.hpp"
#include "daemon/ops_http.hpp"
#include "daemon/pool_directory.hpp"
#include "daemon/worker.hpp"

#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>
#include <vector>

namespace pgweir::daemon {

class operator_view final : public console_source {
public:
    struct parts {
        boost::asio::io_context& ops;
        pool_directory& pools;
        const std::vector<std::unique_ptr<worker>>& workers;
        const std::atomic<std::uint64_t>& clients;
        logger& log;
        std::function<std::shared_ptr<const config::configuration>()> configuration;
        std::function<void(reload_callback)> reload;
        std::function<void()> shutdown;
    };
    explicit operator_view(parts of);

    [[nodiscard]] process_snapshot process() const;
    [[nodiscard]] readiness ready() const;

    void count_accepted() { ++accepted_; }
    void count_reload(bool good);
    void shutting_down() { shutting_down_ = true; }

    // console_source
    [[nodiscard]] std::shared_ptr<const config::configuration> configuration() const override;
    [[nodiscard]] std::vector<pool_snapshot> pools() const override;
    [[nodiscard]] pool::time_point started_at() const override { return started_at_; }
    [[nodiscard]] pool::time_point now() const override;
    [[nodiscard]] std::chrono::system_clock::time_point wall_clock() const override;
    void collect_clients(rows_callback<client_row> done) override;
    void collect_servers(rows_callback<server_row> done) override;
    void collect_leases(rows_callback<lease_row> done) override;
    void collect_pools(rows_callback<pool_row> done) override;
    void collect_pins(rows_callback<pin_row> done) override;
    void reload(reload_callback done) override;
    void shutdown() override;

private:
    template <typename Row>
    void collect(std::function<std::vector<Row>(const engine&, time_point)> from,
                 rows_callback<Row> done);

    parts of_;
    const time_point started_at_;
    std::uint64_t accepted_ = 0, reloads_ = 0, reload_failures_ = 0;
    bool last_reload_ok_ = true;
    bool shutting_down_ = false;
};

} // namespace pgweir::daemon
