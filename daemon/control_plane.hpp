// What may take long, and therefore happens on no worker: name look-ups, key derivation, the steps
// of TLS handshakes, and reading what the names in a database hide. A pool of threads; answers go
// back to the worker that asked, as letters.
//
// Owner: the service. Thread: any may ask. Tests: tests/daemon/names_reading_test.cpp, integration.
#pragma once

#include "daemon/engine/names_reading.hpp"
#include "daemon/socket_connection.hpp"
#include "daemon/tls_stream.hpp"
#include "protocol/secret.hpp"

#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace pgweir::daemon {

class control_plane {
public:
    explicit control_plane(std::size_t threads = 2);
    ~control_plane();

    /// Looks up `where.host` and goes on connecting `what`, on worker `on`, if that still exists by
    /// then. Answers are kept for a few seconds, failures shorter.
    void resolve(const server_address& where, worker& on, connection& what);

    /// PBKDF2. `done` is called on a thread of the pool. Results are kept (bounded): the same salt
    /// and password come again with every new server connection.
    void derive(protocol::secret password, std::string salt, std::uint32_t iterations,
                std::function<void(protocol::secret)> done);

    /// tls_stream::handshake(): a signature is a millisecond of somebody else's transactions.
    /// `what` must stay, and be left alone, until `done` is called, on a thread of the pool.
    void handshake(tls_stream& what, std::function<void(tls_stream::outcome)> done);

    /// Asks the system for the names that `what` wants, puts them into `into`, which must stay, and
    /// calls `done` on a thread of the pool. A host's name counts where it has that address.
    void name(login_question what, login_answer& into, std::function<void()> done);

    /// learn_names_from(). `done` is called on a thread of the pool. One at a time, in order: many
    /// at once say the same as a rule, so that the first spares the others, and logins never wait
    /// for one as long as there is a second thread.
    void read_names(names_reading what, std::function<void(names_outcome)> done);

    /// What names hide nobody needs any more: what has not been begun of that is dropped.
    void stop_soon() { stopping_.store(true); }
    /// … and waits for what is under way, and takes nothing more.
    void stop();

private:
    [[nodiscard]] std::vector<endpoint> look_up(const server_address& where,
                                                boost::system::error_code& error);

    boost::asio::thread_pool threads_;
    boost::asio::strand<boost::asio::thread_pool::executor_type> readings_;
    std::atomic<bool> stopping_{false};
    std::mutex mutex_; // of both caches
    struct looked_up {
        std::vector<endpoint> where;
        boost::system::error_code error;
        std::chrono::steady_clock::time_point until;
    };
    std::map<std::string, looked_up> names_;
    std::map<std::string, protocol::secret> keys_; // by SHA-256 of password, salt and iterations
};

} // namespace pgweir::daemon
