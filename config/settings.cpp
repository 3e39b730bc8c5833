// The table, row by row. What is done with a row is in setting_value.cpp.
#include "config/settings.hpp"

#include <algorithm>
#include <chrono>

namespace pgweir::config {
namespace {

using namespace std::chrono_literals;

/// Bounds of durations are in nanoseconds.
constexpr std::int64_t ns(duration value) { return value.count(); }

/// PostgreSQL cuts names at 63 bytes: a longer one would name something else.
constexpr std::int64_t longest_name = 63;
/// Access tokens of cloud providers serve as passwords and take kilobytes.
constexpr std::int64_t longest_secret = 8192;
/// Whoever guesses it tells users from strangers, with no need to ask for each guess.
constexpr std::int64_t shortest_mock_secret = 16;
constexpr std::int64_t longest_path = 4096;
/// sockaddr_un holds 107 characters, 15 of which "/.s.PGSQL.65535" needs.
constexpr std::int64_t longest_socket_directory = 92;
constexpr std::int64_t longest_line = 4096;

constexpr auto restart = change_needs::restart;

// clang-format off
constexpr setting table[] = {
    {.key = "listen.address", .where = &listen_address::address, .fallback = "127.0.0.1",
     .least = 1, .most = 90, .form = text_form::listen, .needs = restart,
     .doc = "Address clients connect to; `0.0.0.0` or `::` is every one this machine has. The absolute path of a directory is a Unix socket in it, `.s.PGSQL.` and the port."},
    {.key = "listen.port", .where = &listen_address::port, .fallback = "6432",
     .least = 0, .most = 65'535, .needs = restart,
     .doc = "Port clients connect to; 0 takes any free one and tells it in the log."},

    {.key = "databases.<name>.host", .where = &database::host, .fallback = "127.0.0.1",
     .least = 1, .most = 253, .form = text_form::host,
     .doc = "Where PostgreSQL is: host name, address, or absolute path of the directory of its Unix socket."},
    {.key = "databases.<name>.port", .where = &database::port, .fallback = "5432",
     .least = 1, .most = 65'535,
     .doc = "Port of PostgreSQL."},
    {.key = "databases.<name>.unix_socket_directory", .where = &database::unix_socket_directory, .fallback = "",
     .least = 0, .most = longest_socket_directory, .form = text_form::directory,
     .doc = "Absolute path of the directory of the Unix socket that is meant where `host` is `localhost`, in whatever case; other hosts do not mind it. Not given, `localhost` is a host name."},
    {.key = "databases.<name>.dbname", .where = &database::dbname, .fallback = "",
     .least = 0, .most = longest_name,
     .doc = "Name of the database at PostgreSQL; not given, it is the name clients ask for."},
    {.key = "databases.<name>.user", .where = &database::user, .fallback = "",
     .least = 0, .most = longest_name,
     .doc = "User to log in to PostgreSQL as, whoever the client is; not given, it is the client's own user."},
    {.key = "databases.<name>.password", .where = &database::password, .fallback = "",
     .least = 1, .most = longest_secret,
     .doc = "Password of `user` at PostgreSQL."},
    {.key = "databases.<name>.sslmode", .where = &database::sslmode, .fallback = "prefer",
     .doc = "TLS to PostgreSQL, also for cancel requests, as libpq's `sslmode`: `verify-ca` and `verify-full` check the server's certificate (and so does `require` where `sslrootcert` is given), `verify-full` also that it is for `host`, and alone may do without `sslrootcert`: an address has to be among the certificate's addresses, libpq takes it as a DNS or common name as well. Not on a Unix socket."},
    {.key = "databases.<name>.sslrootcert", .where = &database::sslrootcert, .fallback = "",
     .least = 0, .most = longest_path, .form = text_form::path,
     .doc = "File with the authorities (PEM) that sign PostgreSQL's certificate, or `system`: those that the system trusts, which is also meant where it is not given. They sign for whoever owns a name, so that `system` needs `sslmode` `verify-full`, and `verify-ca` needs a file (one that is called so is `./system`)."},
    {.key = "databases.<name>.sslcrl", .where = &database::sslcrl, .fallback = "",
     .least = 0, .most = longest_path, .form = text_form::path,
     .doc = "File with the lists (PEM) of certificates that those authorities have revoked, as libpq's `sslcrl`: one list of each authority, which has not run out, or no server is believed. Read at the start and by a reload. Where `sslmode` checks no certificate nobody looks at it, which is warned of."},
    {.key = "databases.<name>.sslcert", .where = &database::sslcert, .fallback = "",
     .least = 0, .most = longest_path, .form = text_form::path,
     .doc = "File with the certificate (PEM) that pgweir shows PostgreSQL."},
    {.key = "databases.<name>.sslkey", .where = &database::sslkey, .fallback = "",
     .least = 0, .most = longest_path, .form = text_form::path,
     .doc = "File with its private key; others must not be able to read it."},
    {.key = "databases.<name>.sslnegotiation", .where = &database::sslnegotiation, .fallback = "postgres",
     .doc = "`direct` begins with TLS at once, which PostgreSQL 17 and later understand; it needs `sslmode` `require`, `verify-ca` or `verify-full`. The connection on which users are asked for (`auth.query_user`) does not heed it, as the libpq it is made by has no such option: it asks for TLS first, and `sslmode` counts."},
    {.key = "databases.<name>.channel_binding", .where = &database::binding, .fallback = "prefer",
     .doc = "SCRAM logins that hold for this TLS connection alone (SCRAM-SHA-256-PLUS): `require` refuses a server without, as libpq does. A server's certificate with an Ed25519 or Ed448 signature binds nothing: libpq, which asks for users (`auth.query_user`), gets in there with `disable` only."},

    {.key = "users.<name>.password", .where = &user::password, .fallback = "",
     .least = 1, .most = longest_secret, .required = true,
     .doc = "What the client proves to know: a password, `md5` with its 32 digits, or a verifier beginning with `SCRAM-SHA-256$`."},

    {.key = "pool.mode", .where = &pool_settings::mode, .fallback = "transaction", .needs = restart,
     .doc = "For how long a client keeps its server connection: one transaction, its whole session, or one statement."},
    {.key = "pool.reuse", .where = &pool_settings::reuse, .fallback = "always", .needs = restart,
     .doc = "With `never`, which needs mode session, each client's server connection is opened for it alone, with its own start-up packet, and closed after it; `minconn` and `idle_timeout` then mean nothing."},
    {.key = "pool.minconn", .where = &pool_settings::minconn, .fallback = "5",
     .least = 0, .most = 10'000,
     .doc = "Server connections kept open per database and user, even when nobody needs them; never more than `maxconn`. With many users, all of them count: `minconn` times users. From the start on they are kept for users of the YAML with a password to log in with; those of anybody else (a userlist, `auth.query_user`, a password that the client has shown) are opened when one logs in, and are closed when none of that user has been there for `idle_timeout`. Where PostgreSQL has no connection left for clients who wait, idle ones of other pools go, longest idle first: down to `minconn`, and all of them where a pool has no clients."},
    {.key = "pool.maxconn", .where = &pool_settings::maxconn, .fallback = "50",
     .least = 1, .most = 10'000,
     .doc = "Server connections per database and user that are never exceeded; further clients wait."},
    {.key = "pool.max_replication", .where = &pool_settings::max_replication, .fallback = "10",
     .least = 0, .most = 10'000,
     .doc = "Replication connections per database and user, beside `maxconn`; each has a server connection of its own, and one more is refused at once."},
    {.key = "pool.prepared_statements", .where = &pool_settings::prepared_statements, .fallback = "200",
     .least = 0, .most = 100'000,
     .doc = "Named prepared statements kept on each server connection; the least recently used go first and come back when they are needed. With 0 a named statement keeps its client on its server (mode transaction and statement)."},
    {.key = "pool.wait_timeout", .where = &pool_settings::wait_timeout, .fallback = "5s",
     .least = ns(1ms), .most = ns(24h),
     .doc = "How long a client waits for a server connection before it gets an error that names who holds them."},
    {.key = "pool.idle_timeout", .where = &pool_settings::idle_timeout, .fallback = "10m",
     .least = 0, .most = ns(24h * 365),
     .doc = "A server connection above `minconn` that nobody has used for this long is closed; 0 is never. So are those below it of a user who has not been there for this long, unless they are open from the start."},
    {.key = "pool.max_lifetime", .where = &pool_settings::max_lifetime, .fallback = "1h",
     .least = 0, .most = ns(24h * 365),
     .doc = "A server connection older than this (less a random part) is replaced when it is free; 0 is never."},
    {.key = "pool.pin_idle_timeout", .where = &pool_settings::pin_idle_timeout, .fallback = "0",
     .least = 0, .most = ns(24h * 365),
     .doc = "A client that keeps its server connection between transactions (a pin) and has asked for nothing for this long is ended; 0 is never. Mode transaction and statement."},
    {.key = "pool.observe", .where = &pool_settings::observe, .fallback = "false",
     .doc = "Mode session: `SHOW PINS`, `pgweir show pins` and the metrics of pins tell what would keep a client on its server connection in mode transaction. In mode transaction they tell what does, and this changes nothing."},
    {.key = "pool.audit_every", .where = &pool_settings::audit_every, .fallback = "10000",
     .least = 0, .most = 1'000'000'000,
     .doc = "One in so many times that a server connection comes back, PostgreSQL is asked whether its session has anything that pgweir does not know of; if so, it is closed, and log and metrics tell what and which statement. It takes PostgreSQL about 2 ms; 1 is each time, 0 never."},
    {.key = "pool.connect_timeout", .where = &pool_settings::connect_timeout, .fallback = "15s",
     .least = ns(1ms), .most = ns(1h),
     .doc = "How long connecting and logging in to PostgreSQL may take."},

    {.key = "pool.session_state.temporary_objects", .where = &pool_settings::temporary_objects, .fallback = "pin",
     .doc = "Temporary tables, views, sequences and functions (`CREATE TEMP`, `pg_temp`): `pin` keeps the client on its server connection while they are there, `reject` answers with an ERROR, `ignore` does neither, so that the client loses what it has made and others may find it. Mode transaction and statement."},
    {.key = "pool.session_state.held_cursors", .where = &pool_settings::held_cursors, .fallback = "pin",
     .doc = "Cursors `WITH HOLD`: as `temporary_objects`."},
    {.key = "pool.session_state.sql_statements", .where = &pool_settings::sql_statements, .fallback = "pin",
     .doc = "SQL's `PREPARE`: with `virtualise` it keeps nobody, but is carried out again on each server where what it has prepared is used, if it stands in a Query of its own (what that changes: docs/session-state.md); else as `temporary_objects`."},
    {.key = "pool.session_state.listen", .where = &pool_settings::listen, .fallback = "virtualise",
     .doc = "`LISTEN`: with `virtualise` one server connection per database and user, beside `maxconn`, listens for all clients; else as `temporary_objects`."},
    {.key = "pool.session_state.advisory_locks", .where = &pool_settings::advisory_locks, .fallback = "pin",
     .doc = "Advisory locks of the session: as `temporary_objects`."},
    {.key = "pool.session_state.libraries", .where = &pool_settings::libraries, .fallback = "pin",
     .doc = "`LOAD`, what libraries, languages and functions in C keep in memory, backups "
            "(`pg_backup_start()`), temporary replication slots and replication origins: as "
            "`temporary_objects`."},
    {.key = "pool.session_state.random_seed", .where = &pool_settings::random_seed, .fallback = "pin",
     .doc = "`setseed()` and `SET seed`: as `temporary_objects`."},

    {.key = "auth.method", .where = &configuration::auth, .fallback = "scram-sha-256",
     .doc = "How clients prove who they are; `trust` asks for no proof at all."},
    {.key = "auth.userlist", .where = &configuration::userlist, .fallback = "",
     .least = 0, .most = longest_path, .form = text_form::path,
     .doc = "File with further users, one `\"user\" \"secret\"` per line as PgBouncer has it; a relative path begins at this file's directory."},
    {.key = "auth.hba", .where = &configuration::hba, .fallback = "[]",
     .least = 1, .most = longest_line, .form = text_form::line,
     .doc = "Who may log in from where, and how they prove it: lines as in PostgreSQL's pg_hba.conf ([access rules](access.md)). The first that matches counts instead of `method`; whom none matches is refused. Without any, `method` counts for everybody."},
    {.key = "auth.hba_file", .where = &configuration::hba_file, .fallback = "",
     .least = 0, .most = longest_path, .form = text_form::path,
     .doc = "File with such lines, instead of `hba`; a relative path begins at this file's directory."},
    {.key = "auth.ident", .where = &configuration::ident, .fallback = "[]",
     .least = 1, .most = longest_line, .form = text_form::line,
     .doc = "Lines as in PostgreSQL's pg_ident.conf, for `map=` in the access rules: which users somebody may be whom the system or a certificate names otherwise."},
    {.key = "auth.ident_file", .where = &configuration::ident_file, .fallback = "",
     .least = 0, .most = longest_path, .form = text_form::path,
     .doc = "File with such lines, instead of `ident`; a relative path begins at this file's directory."},
    {.key = "auth.query_user", .where = &configuration::query_user, .fallback = "",
     .least = 0, .most = longest_name,
     .doc = "User to log in to PostgreSQL as and ask for users not listed here, one connection per database beside all pools; its password is that of `users`. [auth_query.sql](../deploy/auth_query.sql) makes what it needs, without superuser rights."},
    {.key = "auth.query_database", .where = &configuration::query_database, .fallback = "",
     .least = 0, .most = longest_name,
     .doc = "One of `databases`, in which that is asked; not given, it is the one the client wants, whose owner then decides who may log in to it, and a database of `'*'` in which PostgreSQL does not let it be asked has no users; for the console nobody is asked for."},
    {.key = "auth.query", .where = &configuration::query,
     .fallback = "SELECT name, verifier, valid_until, groups FROM pgweir.user_lookup($1)",
     .least = 1, .most = longest_line,
     .doc = "What is asked, `$1` being the user's name: one row with the name, what PostgreSQL keeps of the password and, if it likes, until when that counts (seconds since 1970) and the roles it is a member of (an array). No row: there is no such user."},
    {.key = "auth.query_ttl", .where = &configuration::query_ttl, .fallback = "30s",
     .least = 0, .most = ns(1h),
     .doc = "How long its answers count, also that there is no such user, before PostgreSQL is asked again; 0 asks each time. After a failed login PostgreSQL is asked again as soon as the answer is a second old. An answer that was kept is given as late as one that is asked for."},
    {.key = "auth.mock_secret", .where = &configuration::mock_secret, .fallback = "",
     .least = shortest_mock_secret, .most = longest_secret,
     .doc = "What the SCRAM salts of users that do not exist are made from, so that they stay as a user's do. Not given, it is derived from the `key` of `tls`, and without TLS it is random at each start: who asks before and after a restart then learns which users exist. Needed without TLS, and for several pgweirs behind one address that do not have the same `tls.key`: the same for all of them, random (`openssl rand -hex 32`), and no password."},
    {.key = "auth.max_unauthenticated", .where = &configuration::max_unauthenticated, .fallback = "5000",
     .least = 1, .most = 1'000'000,
     .doc = "Connections that have not logged in yet, in all; further ones are closed."},
    {.key = "auth.max_unauthenticated_per_address", .where = &configuration::max_unauthenticated_per_address, .fallback = "1000",
     .least = 1, .most = 1'000'000,
     .doc = "The same for those from one address; Unix sockets count as one. Through a load balancer of `proxy_protocol`, it is the address in its header that counts, and until that has come only `auth.max_unauthenticated` does."},
    {.key = "auth.login_timeout", .where = &configuration::login_timeout, .fallback = "15s",
     .least = ns(100ms), .most = ns(10min),
     .doc = "How long a client may take from connecting to the end of its login, however busy it is: a packet that trickles in gains it no time."},

    {.key = "tls.mode", .where = &configuration::tls, .fallback = "prefer",
     .doc = "TLS with clients: `disable` refuses it, `allow` and `prefer` offer it where there is a `certificate`, `require` lets nobody log in over TCP without (a Unix socket needs none), `verify-ca` and `verify-full` want a certificate of the client's as well, signed by `ca`."},
    {.key = "tls.certificate", .where = &configuration::tls_certificate, .fallback = "",
     .least = 0, .most = longest_path, .form = text_form::path,
     .doc = "File with pgweir's certificate (PEM) and its chain; a reload reads it again."},
    {.key = "tls.key", .where = &configuration::tls_key, .fallback = "",
     .least = 0, .most = longest_path, .form = text_form::path,
     .doc = "File with its private key; others must not be able to read it."},
    {.key = "tls.ca", .where = &configuration::tls_ca, .fallback = "",
     .least = 0, .most = longest_path, .form = text_form::path,
     .doc = "File with the authorities (PEM) that sign clients' certificates; given, clients are asked for one."},
    {.key = "tls.crl", .where = &configuration::tls_crl, .fallback = "",
     .least = 0, .most = longest_path, .form = text_form::path,
     .doc = "File with the lists (PEM) of certificates that those authorities have revoked, as PostgreSQL's `ssl_crl_file`: one list of each authority, which has not run out, or no client's certificate is taken. A reload reads it again; whoever is connected stays. Needs `ca`."},
    {.key = "tls.min_version", .where = &configuration::tls_least, .fallback = "1.2",
     .doc = "The oldest version of TLS spoken with clients."},

    {.key = "console.admin_users", .where = &configuration::admin_users, .fallback = "[]",
     .least = 1, .most = longest_name,
     .doc = "Users who may give every command on the console (the database `pgbouncer` or `pgweir`)."},
    {.key = "console.stats_users", .where = &configuration::stats_users, .fallback = "[]",
     .least = 1, .most = longest_name,
     .doc = "Users who may look on the console but change nothing."},

    {.key = "proxy_protocol", .where = &configuration::proxy_protocol, .fallback = "[]",
     .least = 1, .most = 64, .form = text_form::network,
     .doc = "Networks of load balancers that send the PROXY protocol's header, version 1 or 2, in front of each connection: they must, and the client's address is what it says. Nobody else is believed. What version 2 carries behind the addresses (TLVs, such as a client's certificate) is skipped; a header of more than 4096 bytes in all is refused."},
    {.key = "workers", .where = &configuration::workers, .fallback = "auto",
     .least = 1, .most = 255, .word = "auto", .needs = restart,
     .doc = "Threads that serve clients; `auto` is one per core."},
    {.key = "max_clients", .where = &configuration::max_clients, .fallback = "20000",
     .least = 1, .most = 1'000'000,
     .doc = "Client connections in all; further ones are refused."},
    {.key = "statement_memory", .where = &configuration::statement_memory_mib, .fallback = "256",
     .least = 1, .most = 1'000'000,
     .doc = "MiB that each worker spends on the texts of prepared statements; when they are spent, a client that prepares another one keeps its server."},
    {.key = "shutdown_timeout", .where = &configuration::shutdown_timeout, .fallback = "30s",
     .least = 0, .most = ns(24h),
     .doc = "How long open transactions may go on after SIGTERM."},
    {.key = "functions_interval", .where = &configuration::functions_interval, .fallback = "1m",
     .least = ns(100ms), .most = ns(24h),
     .doc = "How often PostgreSQL is asked which functions, views and triggers change a session; what clients of pgweir create counts at once."},
    {.key = "slow_query", .where = &configuration::slow_query, .fallback = "500ms",
     .least = 0, .most = ns(24h), .word = "off",
     .doc = "Queries and transactions that take longer are logged, literals removed; 0 logs all, `off` none."},

    {.key = "metrics.address", .where = &configuration::metrics_address, .fallback = "127.0.0.1",
     .least = 1, .most = 45, .form = text_form::address, .needs = restart,
     .doc = "Address of the HTTP server with `/metrics`, `/healthz` and `/readyz`; it asks nobody for a password."},
    {.key = "metrics.port", .where = &configuration::metrics_port, .fallback = "9127",
     .least = 0, .most = 65'535, .needs = restart,
     .doc = "Its port; 0 takes any free one and tells it in the log."},

    {.key = "log.level", .where = &configuration::level, .fallback = "info",
     .doc = "The least important lines that are still logged."},
    {.key = "log.format", .where = &configuration::format, .fallback = "text", .needs = restart,
     .doc = "Lines for people, or one JSON object each for machines."},
    {.key = "log.connections", .where = &configuration::log_connections, .fallback = "true",
     .doc = "Log every client's login."},
    {.key = "log.disconnections", .where = &configuration::log_disconnections, .fallback = "true",
     .doc = "Log every client's end, with its reason."},
};
// clang-format on

} // namespace

std::span<const setting> settings() { return table; }

const setting* find_setting(std::string_view key) {
    const auto found = std::find_if(std::begin(table), std::end(table),
                                    [&](const setting& row) { return row.key == key; });
    return found == std::end(table) ? nullptr : found;
}

std::vector<std::string_view> keys_under(std::string_view prefix) {
    std::vector<std::string_view> result;
    for (const auto& row : table) {
        if (!row.key.starts_with(prefix)) {
            continue;
        }
        const auto rest = row.key.substr(prefix.size());
        const auto key = rest.substr(0, rest.find('.'));
        if (std::find(result.begin(), result.end(), key) == result.end()) {
            result.push_back(key);
        }
    }
    return result;
}

std::vector<shown_setting> show_settings(const configuration& of) {
    auto all = of; // rows want an owner they could write to
    std::vector<shown_setting> result;
    for (const auto& row : table) {
        if (row.key.starts_with(database_prefix) || row.key.starts_with(user_prefix)) {
            continue;
        }
        shown_setting shown{.key = std::string(row.key),
                            .value = {},
                            .fallback = std::string(row.fallback),
                            .changeable = row.needs == change_needs::reload};
        if (row.key.starts_with(listen_prefix)) {
            for (auto& each : all.listen) {
                shown.value += shown.value.empty() ? "" : ", ";
                shown.value += text_of(row, &each);
            }
        } else if (is_in_pool(row)) {
            shown.value = text_of(row, &all.pool);
        } else {
            shown.value = text_of(row, &all);
        }
        result.push_back(std::move(shown));
    }
    return result;
}

} // namespace pgweir::config
