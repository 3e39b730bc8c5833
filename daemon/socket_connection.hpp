// A connection over a real socket (TCP or Unix) on one worker's event loop: one plain
// send per gathered write. Reading asks with a buffer, so that no epoll_ctl is needed; only a
// client that has been quiet waits without one.
//
// Where several connections have something to do at once (event_loop::crowded()), all read, then
// all are told what they have read, then all send. In between a connection may go, or go to another
// worker: what it has read goes with it.
//
// Owner: an engine's client, server or cancel attempt, through daemon::connection. Thread: the
// worker's. Tests: tests/daemon/socket_connection_test.cpp, integration.
#pragma once

#include "daemon/endpoint.hpp"
#include "daemon/engine/ports.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace pgweir::daemon {

class worker;
class tls_stream;
struct detached_socket;

/// A connected socket that has just been accepted. Owns `fd`.
[[nodiscard]] std::unique_ptr<connection> make_connection(worker& on, int fd);
/// … that has come from another worker.
[[nodiscard]] std::unique_ptr<connection> make_connection(worker& on, detached_socket& from);

/// Connects to the first of `where` that accepts; `who` is told on_connected() once.
[[nodiscard]] std::unique_ptr<connection> make_connection(worker& on, connection_events& who);
/// … as soon as the addresses are known.
void connect_to(connection& what, std::vector<endpoint> where);
/// … or that there are none.
void connect_failed(connection& what, boost::system::error_code why);

/// Tells later whether a connection is still there: `what` turns to nothing when it goes. To be
/// asked on its worker's thread only, but may be carried across others.
struct connection_watch {
    connection* what = nullptr;
};
[[nodiscard]] std::shared_ptr<connection_watch> watch(connection& what);

/// A socket on its way to another worker.
struct detached_socket final : detached_connection {
    detached_socket(int fd_, std::string unread_, std::unique_ptr<tls_stream> tls_);
    ~detached_socket() override;
    int fd;
    std::string unread; // has been read, and nobody has been told
    std::unique_ptr<tls_stream> tls;
};

} // namespace pgweir::daemon
