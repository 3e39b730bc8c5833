// What a configuration file says, validated: a value that never changes once made. Every setting in
// it is one row of the table in config/settings.cpp.
//
// Owner: shared (shared_ptr<const configuration>) by everybody who runs by it; a reload makes a new
// one. Thread: any.
#pragma once

#include "config/hba.hpp"
#include "config/ident_map.hpp"
#include "config/secret.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pgweir::config {

using duration = std::chrono::nanoseconds;

struct listen_address {
    std::string address = "127.0.0.1"; // IPv4 or IPv6 literal
    std::uint16_t port = 6432;         // 0: any free one (told in the log)
    bool operator==(const listen_address&) const = default;
};

enum class pool_mode : std::uint8_t { transaction, session, statement };
/// May a server serve another client after its first?
enum class server_reuse : std::uint8_t { always, never };
/// What is done with a statement that leaves something behind in the session which would keep its
/// client on its server: keep it there, refuse the statement, or let it pass.
enum class state_policy : std::uint8_t { pin, reject, ignore };
/// The same for what need not keep anybody (LISTEN, PREPARE), because it can be done for all.
enum class virtual_policy : std::uint8_t { virtualise, pin, reject, ignore };
enum class auth_method : std::uint8_t { trust, password, md5, scram_sha_256 };
/// libpq's sslmode: of a database, towards PostgreSQL; of `tls`, towards clients.
enum class tls_mode : std::uint8_t { disable, allow, prefer, require, verify_ca, verify_full };
enum class tls_version : std::uint8_t { tls_1_2, tls_1_3 };
/// libpq's sslnegotiation: TLS is asked for first, or begun at once.
enum class tls_negotiation : std::uint8_t { postgres, direct };
/// libpq's channel_binding.
enum class channel_binding : std::uint8_t { disable, prefer, require };
enum class log_format : std::uint8_t { text, json };
enum class log_level : std::uint8_t { debug, info, warning, error };

/// `pool:`, and the same keys inside a database to override it there.
struct pool_settings {
    pool_mode mode = pool_mode::transaction;
    server_reuse reuse = server_reuse::always; // never: session mode only
    std::uint32_t minconn = 5;
    std::uint32_t maxconn = 50;
    std::uint32_t max_replication = 10;      // beside maxconn
    std::uint32_t prepared_statements = 200; // named ones on each server; 0: they pin
    duration wait_timeout = std::chrono::seconds(5);
    duration idle_timeout = std::chrono::minutes(10);
    duration max_lifetime = std::chrono::hours(1);
    duration connect_timeout = std::chrono::seconds(15);
    duration pin_idle_timeout{};        // 0: never
    bool observe = false;               // session mode: tell what would pin in transaction mode
    std::uint32_t audit_every = 10'000; // one in so many leases; 0: none
    // session_state
    state_policy temporary_objects = state_policy::pin;
    state_policy held_cursors = state_policy::pin;
    virtual_policy sql_statements = virtual_policy::pin;
    virtual_policy listen = virtual_policy::virtualise;
    state_policy advisory_locks = state_policy::pin;
    state_policy libraries = state_policy::pin;
    state_policy random_seed = state_policy::pin;
    bool operator==(const pool_settings&) const = default;
};

/// libpq's sslrootcert=system. A file of that name is `./system`.
inline constexpr std::string_view system_authorities = "system";

/// One entry of `databases:`; the key is the name clients ask for. `*` stands for any other name.
struct database {
    std::string name;
    std::string host = "127.0.0.1"; // address, host name, or directory of a Unix socket
    std::uint16_t port = 5432;
    std::string unix_socket_directory; // meant by the host localhost, where given
    std::string dbname;                // at the server; the name itself where not given
    std::string user;                  // log in to the server as this user whoever the client is
    secret password;                   // … with this password
    tls_mode sslmode = tls_mode::prefer;
    std::string sslrootcert; // path; who signs the server's certificate, or system_authorities
    std::string sslcrl;      // path; which of those are revoked
    std::string sslcert;     // path; our certificate, and
    std::string sslkey;      // its key
    tls_negotiation sslnegotiation = tls_negotiation::postgres;
    channel_binding binding = channel_binding::prefer; // channel_binding
    pool_settings pool; // `pool:` with this database's own keys laid over it
    bool operator==(const database&) const = default;

    /// Where its connections go: `host`, or what localhost stands for.
    [[nodiscard]] const std::string& connects_to() const;
    /// Is the server's certificate to be signed by one of the authorities that the system trusts?
    [[nodiscard]] bool trusts_the_system() const {
        return sslrootcert == system_authorities ||
               (sslrootcert.empty() && sslmode == tls_mode::verify_full);
    }
    /// With an authority given, libpq checks it also where it is only asked to require TLS.
    [[nodiscard]] bool checks_certificate() const {
        return sslmode >= tls_mode::verify_ca ||
               (sslmode == tls_mode::require && !sslrootcert.empty());
    }
    [[nodiscard]] bool has_unix_socket() const { return connects_to().starts_with('/'); }
};

/// What is to become of one kind of session state.
template <typename Policy>
struct rule_of {
    Policy pool_settings::*kind;
    Policy policy;
    bool operator==(const rule_of&) const = default;
};
using state_rule = std::variant<rule_of<state_policy>, rule_of<virtual_policy>>;

void lay_over(pool_settings& pool, const std::vector<state_rule>& rules);

/// One entry of `users:`, or a line of the userlist file.
struct user {
    std::string name;
    secret password;                       // plaintext, md5…, or SCRAM-SHA-256$…
    bool from_file = false;                // from auth.userlist
    std::vector<state_rule> session_state; // laid over that of the database
    bool operator==(const user&) const = default;
};

/// Where each name is, sorted, so that one of 10,000 users is found in 14 steps. Says nothing that
/// the list it points into does not say: two configurations are equal with it or without.
struct name_index {
    std::vector<std::uint32_t> order;
    bool operator==(const name_index&) const { return true; }
};

struct configuration {
    std::vector<listen_address> listen{listen_address{}};
    std::vector<database> databases;
    std::vector<user> users; // YAML first; a name in both is an error
    pool_settings pool;

    auth_method auth = auth_method::scram_sha_256; // auth.method
    std::string userlist;                          // auth.userlist: path, empty for none
    std::string query_user;     // auth.query_user: asks PostgreSQL for users not named here
    std::string query_database; // auth.query_database: where; empty: the client's own
    std::string query = "SELECT name, verifier, valid_until, groups FROM pgweir.user_lookup($1)";
    duration query_ttl = std::chrono::seconds(30); // auth.query_ttl
    // Where there are rules, they and not auth.method say how a client proves who it is; that it
    // was let in by none of them refuses it. No rules: auth.method counts for everybody.
    std::vector<std::string> hba, ident; // auth.hba, auth.ident: the lines themselves
    std::string hba_file, ident_file;    // auth.hba_file, auth.ident_file: paths, empty for none
    std::vector<hba_rule> hba_rules;     // of whichever was given
    std::vector<ident_line> ident_lines; // the same
    secret mock_secret; // auth.mock_secret; none: that of tls.key, else of the process
    duration login_timeout = std::chrono::seconds(15); // auth.login_timeout
    std::uint32_t max_unauthenticated = 5'000;         // auth.max_unauthenticated
    std::uint32_t max_unauthenticated_per_address = 1'000;
    std::vector<std::string> proxy_protocol; // networks; each is one (read_network())

    tls_mode tls = tls_mode::prefer;              // tls.mode
    std::string tls_certificate;                  // tls.certificate: path, empty for none
    std::string tls_key;                          // tls.key
    std::string tls_ca;                           // tls.ca
    std::string tls_crl;                          // tls.crl
    tls_version tls_least = tls_version::tls_1_2; // tls.min_version

    std::vector<std::string> admin_users; // console.admin_users
    std::vector<std::string> stats_users; // console.stats_users

    std::uint32_t workers = 0; // workers: auto is 0
    std::uint32_t max_clients = 20'000;
    std::uint32_t statement_memory_mib = 256; // statement_memory
    duration shutdown_timeout = std::chrono::seconds(30);
    duration functions_interval = std::chrono::seconds(60);
    std::optional<duration> slow_query = std::chrono::milliseconds(500); // `off` is nothing

    std::string metrics_address = "127.0.0.1"; // metrics.address
    std::uint16_t metrics_port = 9127;         // metrics.port; 0: any free one

    log_level level = log_level::info;    // log.level
    log_format format = log_format::text; // log.format
    bool log_connections = true;          // log.connections
    bool log_disconnections = true;       // log.disconnections

    bool operator==(const configuration&) const = default;

    /// The entry for a database name: its own, else `*` under that name, else nothing.
    [[nodiscard]] std::optional<database> find_database(std::string_view name) const;
    /// Nothing: nullptr. The pointer lives as long as the configuration is not changed.
    [[nodiscard]] const user* find_user(std::string_view name) const;
    /// What counts for clients of this database as this user.
    [[nodiscard]] pool_settings find_pool(std::string_view database, std::string_view user) const;

    /// Makes both find_ functions fast. parse() has done it; whoever changes names afterwards does
    /// it again. Lists that have grown or shrunk since are searched one by one.
    void index();
    name_index database_index, user_index; // by index()
};

} // namespace pgweir::config
