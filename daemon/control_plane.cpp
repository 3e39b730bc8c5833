#include "daemon/control_plane.hpp"

#include "daemon/host_facts.hpp"
#include "daemon/worker.hpp"
#include "protocol/scram.hpp"

#include <boost/asio.hpp>

#include <array>
#include <cstring>
#include <pwd.h>

namespace pgweir::daemon {

namespace asio = boost::asio;

namespace {

constexpr auto name_kept_for = std::chrono::seconds(15);
constexpr auto failure_kept_for = std::chrono::seconds(1);
constexpr std::size_t keys_kept = 10'000;

std::string name_of_user(std::uint32_t uid) {
    std::array<char, 16'384> space{};
    passwd entry{};
    passwd* found = nullptr;
    const bool known =
        ::getpwuid_r(uid, &entry, space.data(), space.size(), &found) == 0 && found != nullptr;
    return known ? entry.pw_name : "";
}

} // namespace

control_plane::control_plane(std::size_t threads)
    : threads_(threads)
    , readings_(asio::make_strand(threads_)) {}
control_plane::~control_plane() { stop(); }

void control_plane::stop() {
    stop_soon();
    threads_.join();
}

void control_plane::resolve(const server_address& where, worker& on, connection& what) {
    const auto ticket = watch(what);
    asio::post(threads_, [this, where, &on, ticket] {
        boost::system::error_code error;
        auto found = look_up(where, error);
        on.run([ticket, found = std::move(found), error](engine&, time_point) {
            if (auto* const still_there = ticket->what) {
                if (found.empty()) {
                    connect_failed(*still_there, error);
                } else {
                    connect_to(*still_there, found);
                }
            }
        });
    });
}

void control_plane::name(login_question what, login_answer& into, std::function<void()> done) {
    asio::post(threads_, [what = std::move(what), &into, done = std::move(done)] {
        if (what.host_name) {
            const auto address = config::read_address(what.address);
            into.host_name = address ? confirmed_host_name(*address) : std::string();
        }
        if (what.peer_name) {
            into.peer_name = name_of_user(what.peer_uid);
        }
        done();
    });
}

std::vector<endpoint> control_plane::look_up(const server_address& where,
                                             boost::system::error_code& error) {
    const auto key = where.host + "\n" + std::to_string(where.port);
    const auto now = std::chrono::steady_clock::now();
    {
        const std::lock_guard lock(mutex_);
        if (const auto known = names_.find(key);
            known != names_.end() && known->second.until > now) {
            error = known->second.error;
            return known->second.where;
        }
    }
    asio::io_context unused;
    asio::ip::tcp::resolver resolver(unused);
    std::vector<endpoint> found;
    for (const auto& result : resolver.resolve(where.host, std::to_string(where.port),
                                               asio::ip::resolver_base::numeric_service, error)) {
        auto& where_to = found.emplace_back();
        where_to.length = static_cast<socklen_t>(result.endpoint().size());
        std::memcpy(&where_to.address, result.endpoint().data(), where_to.length);
    }
    const std::lock_guard lock(mutex_);
    names_[key] = {found, error, now + (error ? failure_kept_for : name_kept_for)};
    return found;
}

void control_plane::derive(protocol::secret password, std::string salt, std::uint32_t iterations,
                           std::function<void(protocol::secret)> done) {
    asio::post(threads_, [this, password = std::move(password), salt = std::move(salt), iterations,
                          done = std::move(done)] {
        const auto name =
            protocol::sha256(std::to_string(iterations) + "\n" + std::to_string(salt.size()) +
                             "\n" + salt + std::string(password.reveal()));
        protocol::secret key;
        {
            const std::lock_guard lock(mutex_);
            if (const auto known = keys_.find(name); known != keys_.end()) {
                key = known->second;
            }
        }
        if (key.empty()) {
            key = protocol::derive_salted_password(password, salt, iterations);
            const std::lock_guard lock(mutex_);
            if (keys_.size() >= keys_kept) {
                keys_.clear();
            }
            keys_.emplace(name, key);
        }
        done(std::move(key));
    });
}

void control_plane::handshake(tls_stream& what, std::function<void(tls_stream::outcome)> done) {
    asio::post(threads_, [&what, done = std::move(done)] { done(what.handshake()); });
}

void control_plane::read_names(names_reading what, std::function<void(names_outcome)> done) {
    asio::post(readings_, [this, what = std::move(what), done = std::move(done)]() mutable {
        if (!stopping_.load()) {
            done(learn_names_from(std::move(what), std::chrono::steady_clock::now()));
        }
    });
}

} // namespace pgweir::daemon
