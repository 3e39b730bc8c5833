// Name servers that do not answer, and what does not wait for them.
#include "daemon/control_plane.hpp"
#include "tests/daemon/certificates.hpp"

#include <doctest/doctest.h>

#include <array>
#include <future>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace pgweir;
using namespace std::chrono_literals;

/// The system, whose name server answers to nobody until this goes; but knows "here" by heart.
struct dead_names {
    dead_names()
        : answered(answers.get_future().share()) {
        const auto wait = [answered = answered] { answered.wait(); };
        source.addresses_of = [wait](const daemon::server_address& where) {
            if (where.host != "here") {
                wait();
            }
            return daemon::host_addresses{.where = {daemon::endpoint{}}, .error = {}};
        };
        source.host_name_of = [wait](const config::ip_address&) {
            wait();
            return std::string();
        };
        source.user_name_of = [](std::uint32_t) { return std::string("anna"); };
    }
    ~dead_names() { answers.set_value(); }
    std::promise<void> answers;
    std::shared_future<void> answered;
    daemon::name_source source;
};

struct login {
    std::shared_ptr<const void> client = std::make_shared<char>();
    daemon::login_answer answer;
    std::promise<void> told;
    std::future<void> is_told = told.get_future();

    daemon::login_question from(const config::ip_address& address) const {
        return {.database = {}, .user = {}, .host_name = true, .address = address, .asker = client};
    }
};

config::ip_address address(std::size_t number) {
    return {.bytes = {127, 0, static_cast<std::uint8_t>(number >> 8),
                      static_cast<std::uint8_t>(number)}};
}

TEST_CASE("control_plane: a name server that does not answer holds up no key and no other names") {
    const dead_names system;
    std::vector<login> strangers(200);
    login local, here;
    daemon::control_plane plane(2, system.source);
    for (std::size_t i = 0; i < strangers.size(); ++i) {
        auto& each = strangers[i];
        plane.name(each.from(address(i)), each.answer, [&each] { each.told.set_value(); });
    }
    std::promise<void> derived, found;
    plane.derive({protocol::secret("secret"), "salt", 1}, here.client,
                 [&](const protocol::secret&) { derived.set_value(); });
    CHECK(derived.get_future().wait_for(10s) == std::future_status::ready);
    plane.name(
        {.database = {}, .user = {}, .peer_name = true, .address = {}, .asker = local.client},
        local.answer, [&] { local.told.set_value(); });
    REQUIRE(local.is_told.wait_for(10s) == std::future_status::ready);
    CHECK(local.answer.peer_name == "anna");
    // Nor do names of clients hold up those of servers, nor one server those of another.
    plane.resolve({.host = "dead", .port = 5432}, here.client, [](const auto&) {});
    plane.resolve({.host = "here", .port = 5432}, here.client,
                  [&](const daemon::host_addresses& addresses) {
                      CHECK(addresses.where.size() == 1);
                      found.set_value();
                  });
    CHECK(found.get_future().wait_for(10s) == std::future_status::ready);
    CHECK(strangers.front().is_told.wait_for(0s) == std::future_status::timeout);
    plane.stop(); // returns, although nobody has been answered
}

TEST_CASE("control_plane: keys are made for those who are there, and hold up no handshake") {
    daemon::control_plane plane(1);
    const auto here = std::make_shared<char>();
    auto gone = std::make_shared<char>();
    std::promise<void> go_on, shaken, derived;
    std::string order;
    const auto key = [&](const std::shared_ptr<char>& asker, auto done) {
        plane.derive({protocol::secret("secret"), "salt", 1}, asker, std::move(done));
    };
    key(here, [&, until = go_on.get_future().share()](const protocol::secret&) {
        until.wait(); // as if there were many iterations
        order += 'a';
    });
    key(gone, [&](const protocol::secret&) { order += 'b'; });
    key(here, [&](const protocol::secret&) {
        order += 'c';
        derived.set_value();
    });
    std::array<int, 2> silent{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, silent.data()) == 0);
    daemon::tls_stream stream(silent[0],
                              {.context = daemon::tls_context::make(daemon::connecting_tls{})});
    plane.handshake(stream, here, [&](daemon::tls_stream::outcome) { shaken.set_value(); });
    CHECK(shaken.get_future().wait_for(10s) == std::future_status::ready);
    gone.reset();
    go_on.set_value();
    CHECK(derived.get_future().wait_for(10s) == std::future_status::ready);
    plane.stop();
    CHECK(order == "ac");
    ::close(silent[0]);
    ::close(silent[1]);
}

TEST_CASE(
    "control_plane: clients do not hold up servers, and who has gone is not shaken hands with") {
    daemon::control_plane plane(1);
    test::certificates files;
    files.make("server", "db.example");
    const auto accepting = files.accepting_as("server");
    const auto context = daemon::tls_context::make(accepting);
    std::array<int, 2> silent{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, silent.data()) == 0);
    daemon::tls_stream first(silent[0], {.context = context}),
        second(silent[0], {.context = context}),
        server(silent[1], {.context = daemon::tls_context::make(daemon::connecting_tls{})});
    const auto here = std::make_shared<char>();
    auto gone = std::make_shared<char>();
    std::promise<void> go_on, shaken, served;
    std::string order;
    plane.handshake(first, here, [&, until = go_on.get_future().share()](auto) { until.wait(); });
    plane.handshake(second, gone, [&](auto) { order += 'g'; });
    plane.handshake(second, here, [&](auto) {
        order += 'h';
        shaken.set_value();
    });
    plane.handshake(server, here, [&](auto) { served.set_value(); });
    CHECK(served.get_future().wait_for(10s) == std::future_status::ready);
    gone.reset();
    go_on.set_value();
    CHECK(shaken.get_future().wait_for(10s) == std::future_status::ready);
    plane.stop();
    CHECK(order == "h");
    ::close(silent[0]);
    ::close(silent[1]);
}

TEST_CASE("control_plane: whose name could not be asked for is told so, and has none") {
    const dead_names system;
    std::vector<login> strangers(2'000);
    daemon::control_plane plane(1, system.source);
    std::size_t refused = 0;
    for (std::size_t i = 0; i < strangers.size(); ++i) {
        auto& each = strangers[i];
        plane.name(each.from(address(i)), each.answer, [&each, &refused] {
            CHECK_FALSE(each.answer.host_name);
            CHECK_FALSE(each.answer.failure.empty());
            ++refused;
        });
    }
    CHECK(refused > 900);
    CHECK(refused <= 1'000);
    plane.stop();
}

} // namespace
