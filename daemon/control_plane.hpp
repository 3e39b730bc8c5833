// What may take long, and therefore happens on no worker: key derivation, the steps of TLS
// handshakes, and reading what the names in a database hide, on pools of threads: strangers fill
// one that is theirs alone. And name look-ups, on threads apart, because those wait for others and
// these only compute. Answers go back to the worker that asked, as letters.
//
// Owner: the service. Thread: any may ask. Tests: tests/daemon/control_plane_test.cpp,
// names_reading_test.cpp, integration.
#pragma once

#include "config/address.hpp"
#include "daemon/engine/names_reading.hpp"
#include "daemon/lookups.hpp"
#include "daemon/socket_connection.hpp"
#include "daemon/tls_stream.hpp"
#include "protocol/client_login.hpp"
#include "protocol/secret.hpp"

#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace pgweir::daemon {

/// Where a host is; or why that is not known.
struct host_addresses {
    std::vector<endpoint> where;
    boost::system::error_code error;
};

/// Whom names are asked of: the system. Each call may take as long as it likes.
struct name_source {
    name_source();
    std::function<host_addresses(const server_address&)> addresses_of;
    /// Of the client at this address. Empty: it has none (confirmed_host_name()).
    std::function<std::string(const config::ip_address&)> host_name_of;
    std::function<std::string(std::uint32_t uid)> user_name_of;
};

class control_plane {
public:
    explicit control_plane(std::size_t threads = 2, name_source names = {});
    ~control_plane();

    /// Looks up `where.host` and goes on connecting `what`, on worker `on`, if that still exists by
    /// then. Answers are kept for a few seconds, failures shorter.
    void resolve(const server_address& where, worker& on, connection& what);
    /// … and tells `done`, on a thread of this or at once.
    void resolve(const server_address& where, std::weak_ptr<const void> asker,
                 std::function<void(host_addresses)> done);

    /// PBKDF2. `done` is called on a thread of this, unless `asker` has gone before. Results are
    /// kept (bounded): the same salt and password come again with every new server connection.
    void derive(protocol::login_derive what, std::weak_ptr<const void> asker,
                std::function<void(protocol::secret)> done);

    /// tls_stream::handshake(): a signature is a millisecond of somebody else's transactions.
    /// `what` must stay, and be left alone, until `done` is called, on a thread of this, or
    /// dropped: `asker` has gone before it was begun, or the daemon ends. Clients do not hold up
    /// servers.
    void handshake(tls_stream& what, std::weak_ptr<const void> asker,
                   std::function<void(tls_stream::outcome)> done);

    /// Asks the system for the names that `what` wants, puts them into `into`, which must stay, and
    /// calls `done` on a thread of this or at once; unless nobody wants to know any more, or the
    /// daemon ends. A host's name counts where it has that address. Answers are kept for a while.
    void name(login_question what, login_answer& into, std::function<void()> done);

    /// learn_names_from(). `done` is called on a thread of the pool. One at a time, in order: many
    /// at once say the same as a rule, so that the first spares the others, and logins never wait
    /// for one as long as there is a second thread.
    void read_names(names_reading what, std::function<void(names_outcome)> done);

    /// What names hide nobody needs any more: what has not been begun of that is dropped.
    void stop_soon() { stopping_.store(true); }
    /// … and nobody is told anything any more. Waits for what is being computed, for no name.
    void stop();

private:
    void name_peer(const login_question& what, login_answer& into, std::function<void()> done);

    boost::asio::thread_pool threads_;
    boost::asio::thread_pool accepting_; // apart: handshakes that any stranger asks for
    boost::asio::thread_pool deriving_; // apart: a verifier says how long it takes, and is a user's
    boost::asio::strand<boost::asio::thread_pool::executor_type> readings_;
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;
    std::map<std::string, protocol::secret> keys_; // by SHA-256 of password, salt and iterations
    // Apart, so that clients cannot hold up the way to PostgreSQL.
    lookups<std::pair<std::string, std::uint16_t>, host_addresses> servers_;
    lookups<config::ip_address, std::string> clients_;
    lookups<std::uint32_t, std::string> peers_;
};

} // namespace pgweir::daemon
