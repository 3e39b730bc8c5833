#include "daemon/control_plane.hpp"

#include "daemon/host_facts.hpp"
#include "daemon/worker.hpp"
#include "protocol/scram.hpp"

#include <boost/asio.hpp>

#include <array>
#include <cstring>

namespace pgweir::daemon {

namespace asio = boost::asio;

namespace {

using std::chrono::seconds;

constexpr auto name_kept_for = seconds(15);
constexpr auto no_address_kept_for = seconds(1);
constexpr auto no_name_kept_for = seconds(5);
/// Threads that may wait for a name server at the same time.
constexpr std::size_t for_servers = 4, for_clients = 8, for_peers = 2;
constexpr std::size_t keys_kept = 10'000;

host_addresses addresses_of_host(const server_address& where) {
    asio::io_context unused;
    asio::ip::tcp::resolver resolver(unused);
    host_addresses found;
    for (const auto& result :
         resolver.resolve(where.host, std::to_string(where.port),
                          asio::ip::resolver_base::numeric_service, found.error)) {
        auto& where_to = found.where.emplace_back();
        where_to.length = static_cast<socklen_t>(result.endpoint().size());
        std::memcpy(&where_to.address, result.endpoint().data(), where_to.length);
    }
    return found;
}

/// A name, and for how long it is kept.
lookups<config::ip_address, std::string>::found_out kept(std::string name) {
    const auto keep_for = name.empty() ? no_name_kept_for : name_kept_for;
    return {std::move(name), keep_for};
}

} // namespace

name_source::name_source()
    : addresses_of(addresses_of_host)
    , host_name_of(confirmed_host_name)
    , user_name_of(system_user_name) {}

control_plane::control_plane(std::size_t threads, name_source names)
    : threads_(threads)
    , accepting_(threads)
    , deriving_(threads)
    , readings_(asio::make_strand(threads_))
    , servers_(
          [ask = std::move(names.addresses_of)](const auto& where) {
              auto found = ask({.host = where.first, .port = where.second});
              const auto keep_for = found.error ? no_address_kept_for : name_kept_for;
              return decltype(servers_)::found_out{std::move(found), keep_for};
          },
          {.threads = for_servers})
    , clients_([ask = std::move(names.host_name_of)](
                   const config::ip_address& address) { return kept(ask(address)); },
               {.threads = for_clients})
    , peers_(
          [ask = std::move(names.user_name_of)](std::uint32_t uid) {
              auto [answer, keep_for] = kept(ask(uid));
              return decltype(peers_)::found_out{std::move(answer), keep_for};
          },
          {.threads = for_peers}) {}

control_plane::~control_plane() { stop(); }

void control_plane::stop() {
    stop_soon();
    servers_.stop();
    clients_.stop();
    peers_.stop();
    for (auto* const pool : {&threads_, &accepting_, &deriving_}) {
        pool->stop(); // what has not been begun nobody waits for
    }
    for (auto* const pool : {&threads_, &accepting_, &deriving_}) {
        pool->join();
    }
}

void control_plane::resolve(const server_address& where, std::weak_ptr<const void> asker,
                            std::function<void(host_addresses)> done) {
    servers_.ask({where.host, where.port}, std::move(asker),
                 [done = std::move(done)](const host_addresses* found) {
                     done(found != nullptr
                              ? *found
                              : host_addresses{.where = {},
                                               .error = make_error_code(
                                                   asio::error::host_not_found_try_again)});
                 });
}

void control_plane::resolve(const server_address& where, worker& on, connection& what) {
    const std::weak_ptr<connection_watch> ticket = watch(what);
    resolve(where, ticket, [&on, ticket](host_addresses found) {
        on.run([ticket, found = std::move(found)](engine&, time_point) {
            const auto watched = ticket.lock();
            if (watched == nullptr || watched->what == nullptr) {
                return; // it has gone meanwhile
            }
            if (found.where.empty()) {
                connect_failed(*watched->what, found.error);
            } else {
                connect_to(*watched->what, found.where);
            }
        });
    });
}

void control_plane::name(login_question what, login_answer& into, std::function<void()> done) {
    if (!what.host_name) {
        name_peer(what, into, std::move(done));
        return;
    }
    clients_.ask(what.address, what.asker,
                 [this, what, &into, done = std::move(done)](const std::string* name) {
                     if (name != nullptr) {
                         into.host_name = *name;
                     } else {
                         into.failure = "too many names of clients are being looked up";
                     }
                     name_peer(what, into, done);
                 });
}

void control_plane::name_peer(const login_question& what, login_answer& into,
                              std::function<void()> done) {
    if (!what.peer_name) {
        done();
        return;
    }
    peers_.ask(what.peer_uid, what.asker, [&into, done = std::move(done)](const std::string* name) {
        if (name != nullptr) {
            into.peer_name = *name;
        } else {
            into.failure = "too many names of users are being looked up";
        }
        done();
    });
}

void control_plane::derive(protocol::login_derive what, std::weak_ptr<const void> asker,
                           std::function<void(protocol::secret)> done) {
    asio::post(deriving_, [this, what = std::move(what), asker = std::move(asker),
                           done = std::move(done)] {
        if (asker.expired()) {
            return;
        }
        const auto name = protocol::sha256(std::to_string(what.iterations) + "\n" +
                                           std::to_string(what.salt.size()) + "\n" + what.salt +
                                           std::string(what.password.reveal()));
        protocol::secret key;
        {
            const std::lock_guard lock(mutex_);
            if (const auto known = keys_.find(name); known != keys_.end()) {
                key = known->second;
            }
        }
        if (key.empty()) {
            key = protocol::derive_salted_password(what.password, what.salt, what.iterations);
            const std::lock_guard lock(mutex_);
            if (keys_.size() >= keys_kept) {
                keys_.clear();
            }
            keys_.emplace(name, key);
        }
        done(std::move(key));
    });
}

void control_plane::handshake(tls_stream& what, std::weak_ptr<const void> asker,
                              std::function<void(tls_stream::outcome)> done) {
    asio::post(what.accepts() ? accepting_ : threads_,
               [&what, asker = std::move(asker), done = std::move(done)] {
                   if (!asker.expired()) {
                       done(what.handshake());
                   }
               });
}

void control_plane::read_names(names_reading what, std::function<void(names_outcome)> done) {
    asio::post(readings_, [this, what = std::move(what), done = std::move(done)]() mutable {
        if (!stopping_.load()) {
            done(learn_names_from(std::move(what), std::chrono::steady_clock::now()));
        }
    });
}

} // namespace pgweir::daemon
