// One cancel request on its way to PostgreSQL, on a connection of its own, sent as soon as the
// socket is open. PostgreSQL closes the connection after it has signalled the backend: until then
// the server it is meant for goes to nobody else.
#pragma once

#include "daemon/engine/engine.hpp"

namespace pgweir::daemon {

struct engine::cancel_attempt final : connection_events {
    explicit cancel_attempt(engine& home_)
        : home(home_) {}

    void on_connected(time_point now, boost::system::error_code error) override;
    void on_read(time_point now, std::size_t count, boost::system::error_code error) override;
    void on_readable(time_point) override {}
    void on_writable(time_point now) override;

    engine& home;
    server_id target;
    std::unique_ptr<connection> socket;
    std::string request;
    std::array<std::byte, 16> answer{};
    std::vector<route_cancel> for_whom;
    time_point deadline{};
    bool sent = false;
    bool finished = false;
};

} // namespace pgweir::daemon
