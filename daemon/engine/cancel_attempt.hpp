// One cancel request on its way to PostgreSQL, on a connection of its own, sent as soon as the
// socket is open. PostgreSQL closes the connection after it has signalled the backend: until then
// the server it is meant for goes to nobody else.
#pragma once

#include "daemon/engine/engine.hpp"
#include "protocol/server_cancel.hpp"

namespace pgweir::daemon {

struct engine::cancel_attempt final : connection_events {
    cancel_attempt(engine& home_, const server& of)
        : home(home_)
        , target(of.id)
        , access(of.access)
        , login(of.key, mode_for(of), access->direct_tls) {}

    void on_connected(time_point now, boost::system::error_code error) override;
    void on_read(time_point now, std::size_t count, boost::system::error_code error) override;
    void on_readable(time_point) override {}
    void on_writable(time_point now) override;
    void on_secured(time_point now, const protocol::tls_facts* facts,
                    const protocol::tls_failure& failure) override;

    /// As the connection that it is about came to be, or stricter: never with less.
    static protocol::tls_mode mode_for(const server& of) {
        return of.secured ? std::max(of.sslmode, protocol::tls_mode::require)
                          : protocol::tls_mode::disable;
    }
    /// What PostgreSQL's protocol wants next.
    void step(protocol::server_cancel_action action, time_point now);
    void flush(time_point now);

    engine& home;
    server_id target;
    std::shared_ptr<const server_access> access;
    std::unique_ptr<connection> socket;
    protocol::server_cancel login;
    std::string out;          // not sent yet
    bool request_out = false; // … and that is the request itself
    std::array<std::byte, 16> answer{};
    std::vector<route_cancel> for_whom;
    time_point deadline{};
    bool sent = false;
    bool finished = false;
};

} // namespace pgweir::daemon
