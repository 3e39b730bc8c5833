// The outside as the engine sees it: what it may ask for, and what it will be told. The worker
// implements these over sockets, the simulator over a network it makes up; the engine cannot tell.
//
// All of it belongs to one worker's thread. Calls never block and never call back into the engine
// before they return.
#pragma once

#include "config/address.hpp"
#include "config/configuration.hpp"
#include "pool/ids.hpp"
#include "protocol/message.hpp"
#include "protocol/scram.hpp"
#include "protocol/secret.hpp"
#include "protocol/tls_facts.hpp"

#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pgweir::protocol {
struct login_derive;
} // namespace pgweir::protocol

namespace pgweir::daemon {

using pool::client_id;
using pool::duration;
using pool::server_id;
using pool::time_point;
using pool::worker_index;

/// Told what happens on a connection. Implemented by the engine's clients and servers.
class connection_events {
public:
    /// The read asked for has ended: `count` bytes, or an error (boost::asio::error::eof's value is
    /// reported as `count` 0 without an error).
    virtual void on_read(time_point now, std::size_t count, boost::system::error_code error) = 0;
    /// wait_readable() has ended: there is something to read, an end of file or an error.
    virtual void on_readable(time_point now) = 0;
    /// wait_writable() has ended.
    virtual void on_writable(time_point now) = 0;
    /// secure() has ended: what the handshake has told, or (nothing) why it failed.
    virtual void on_secured(time_point now, const protocol::tls_facts* facts,
                            const protocol::tls_failure& failure) = 0;
    /// connect() has ended.
    virtual void on_connected(time_point now, boost::system::error_code error) = 0;

protected:
    ~connection_events() = default;
};

class tls_context; // certificates and rules (daemon/tls_context.hpp); passed on, not looked at

/// How TLS begins on a connection.
struct tls_start {
    std::shared_ptr<const tls_context> context;
    std::string_view first = {};  // has been read already, and is the beginning of the handshake
    bool direct = false;          // nothing of PostgreSQL's protocol has been said before
    std::string server_name = {}; // whom we have connected to, as configured
};

/// What connection::names() says of a peer on a Unix socket.
inline constexpr std::string_view local_peer = "unix";

class detached_connection; // a socket between two workers (below)

/// One socket. At most one read (or wait_readable) and one wait_writable are outstanding.
class connection {
public:
    virtual ~connection() = default; // closes; nothing is reported afterwards

    virtual void set_events(connection_events* who) = 0;

    struct send_result {
        std::size_t sent = 0;            // less than asked: the socket is full
        boost::system::error_code error; // the connection is broken
    };
    /// Sends what the socket takes now, of all the pieces in order, in one system call.
    [[nodiscard]] virtual send_result send(std::span<const protocol::bytes> pieces) = 0;
    /// Asks for bytes into `into`, which must stay until on_read().
    virtual void read(std::span<std::byte> into) = 0;
    /// Asks to be told when there are bytes, without holding a buffer meanwhile. Costs nothing more
    /// than read().
    virtual void wait_readable() = 0;
    virtual void wait_writable() = 0;
    /// Others have something to do at the same time, and all are to send when all have done it:
    /// then nothing is to be sent now, and on_writable() will say when, as if the socket were full
    /// until then.
    [[nodiscard]] virtual bool sends_later() { return false; }
    /// Begins TLS; on_secured() says how that ended. Until then nothing is read or sent.
    virtual void secure(const tls_start& how) = 0;
    /// Ends the sending direction: the peer sees an end of file.
    virtual void shutdown_send() = 0;
    /// Takes the socket away, for another worker. Nothing is reported afterwards.
    [[nodiscard]] virtual std::unique_ptr<detached_connection> detach() = 0;

    /// For a connection on which nothing is expected: has the peer closed it, or sent something
    /// that has not been reported yet? One look, one system call; a connection that cannot tell
    /// says no.
    [[nodiscard]] virtual bool stirs() { return false; }

    /// Has the peer said its last, as far as is known? What it has sent before may not be read yet.
    [[nodiscard]] virtual bool has_ended() const { return false; }

    /// Where the peer is, for logs and the console ("127.0.0.1", 41234), and our own end.
    struct addresses {
        std::string peer;
        std::uint16_t peer_port = 0;
        std::string local;
        std::uint16_t local_port = 0;
        std::uint32_t peer_uid = ~0U; // of a Unix socket: the system's user at the other end
        /// What `peer` spells; nothing: a Unix socket.
        std::optional<config::ip_address> peer_ip = {};
    };
    [[nodiscard]] virtual addresses names() const = 0;
};

/// What a client's login has shown of its secrets: servers can be logged in to with it.
struct shown_secrets {
    protocol::secret password; // empty: not that
    std::optional<protocol::scram_keys> keys = {};
};

/// What PostgreSQL says of a user that no file names.
struct looked_up_user {
    protocol::secret secret;                                               // empty: it has none
    std::optional<std::chrono::system_clock::time_point> valid_until = {}; // nothing: for ever
    std::optional<std::vector<std::string>> groups = {};                   // nothing: not told
};

/// What has to be found out before it can be decided whether a client may log in.
struct login_question {
    std::string database, user;
    bool about_user = false;  // PostgreSQL is to be asked for it
    bool in_the_file = false; // … and would be, if it were not: answered as late as if it were
    bool host_name = false;   // the name of `address`
    bool peer_name = false;   // the system's name of `peer_uid`
    config::ip_address address;
    std::uint32_t peer_uid = 0;
    /// Until then PostgreSQL is asked again, where it cannot answer at present.
    time_point patient_until{};
    /// Gone as soon as nobody wants to know any more.
    std::weak_ptr<const void> asker = {};
};
struct login_answer {
    std::shared_ptr<const looked_up_user> user;
    std::optional<std::string> host_name; // where it was asked for; empty: it has none
    std::optional<std::string> peer_name; // the same
    /// Why something could not be found out, which says nothing of the client; for the log. Empty:
    /// all could.
    std::string failure = {};
    bool postgresql_is_away = false; // … because it cannot be reached, or takes no more connections
};

/// A client that has just come, as whoever has taken it saw it: its socket may have been reset
/// since, and does not say any more where the client is.
struct arrival {
    bool over_limit = false; // it is one more than max_clients
    bool from_proxy = false; // a load balancer, which is to send the PROXY protocol's header first
    /// The address for which it counts until it has logged in; empty: not known yet (from_proxy).
    std::string login_place;
};

/// Where a server is, as configured. Names are resolved by whoever implements open().
struct server_address {
    std::string host; // address, name, or directory of a Unix socket
    std::uint16_t port = 5432;
    bool operator==(const server_address&) const = default;
};

/// A field of a structured log line.
struct log_field {
    std::string_view name;
    std::variant<std::string_view, std::int64_t, double> value;
};
enum class log_severity : std::uint8_t { debug, info, warning, error };

struct engine_message; // a value for another worker's engine (engine.hpp)
struct pool_entry;     // what all workers share of a pool (pool_entry.hpp)
struct names_reading;  // what PostgreSQL says that names hide (names_reading.hpp)

/// A connection on its way from one worker to another, belonging to neither.
class detached_connection {
public:
    virtual ~detached_connection() = default; // closes
};

/// Everything else the engine needs from outside.
class engine_ports {
public:
    /// A new, not yet connected connection. `who` is told on_connected() when it is, or cannot be.
    [[nodiscard]] virtual std::unique_ptr<connection> open(const server_address& where,
                                                           connection_events& who) = 0;
    /// The other end of detach().
    [[nodiscard]] virtual std::unique_ptr<connection>
    attach(std::unique_ptr<detached_connection> what, connection_events& who) = 0;
    /// The pool for this database and user, or the one for replication beside it; made if need be.
    /// A look-up in a table shared by all workers: at login only.
    [[nodiscard]] virtual std::shared_ptr<pool_entry> pool_for(const config::database& where,
                                                               std::string_view user,
                                                               const shown_secrets& shown,
                                                               bool replication) = 0;
    /// It has logged in, or gone: one less of those who have not (auth.max_unauthenticated).
    virtual void login_over(const std::string& place) = 0;
    /// One that came without an address counts for this one from now on. False: so many from there
    /// have not logged in yet, and it has to go.
    [[nodiscard]] virtual bool login_from(const std::string& address, std::size_t most) = 0;
    /// A client connection has ended: one less of max_clients.
    virtual void client_gone() = 0;
    /// Derives a SCRAM SaltedPassword elsewhere. The answer is engine::on_derived(ticket, …),
    /// unless `asker` has gone before it is begun.
    virtual void derive(std::uint64_t ticket, const protocol::login_derive& what,
                        std::weak_ptr<const void> asker) = 0;
    /// Reads what `asked` has said that names hide, elsewhere (learn_names_from()). The answer is
    /// engine::on_names_read(asked, …), unless the daemon ends before.
    virtual void read_names(server_id asked, names_reading what) = 0;
    /// Finds out elsewhere what a login depends on. The answer is engine::on_looked_up(ticket, …).
    virtual void look_up(std::uint64_t ticket, login_question what) = 0;
    /// A proof did not fit what was looked up.
    virtual void forget_user(const std::string& database, const std::string& user) = 0;
    /// What most verifiers look like, of those in the configuration and those looked up.
    [[nodiscard]] virtual protocol::scram_shape common_verifier() const = 0;
    /// The time of day: passwords expire by it.
    [[nodiscard]] virtual std::chrono::system_clock::time_point wall_clock() const = 0;
    /// Bytes from a cryptographic generator (seeded in the simulator).
    virtual void random(std::span<std::byte> into) = 0;
    /// Hands a value to another worker's engine: on_message() there, in order.
    virtual void post(worker_index to, engine_message message) = 0;
    /// A console command of a logged-in console client. The answer is engine::on_console().
    virtual void console(client_id who, std::string_view user, std::string command) = 0;
    /// One structured log line.
    virtual void log(log_severity severity, std::string_view event,
                     std::initializer_list<log_field> fields) = 0;
    /// Is a line of that severity written at all? (Spares making it.)
    [[nodiscard]] virtual bool logs(log_severity severity) const = 0;

protected:
    ~engine_ports() = default;
};

} // namespace pgweir::daemon
