// What the engine relies on when several sockets have something at once: everybody reads, then is
// told, then sends; and nothing that has been read gets lost in between. And a handshake holds up
// nobody, nor what it works with when its connection goes.
#include "daemon/socket_connection.hpp"

#include "daemon/auth_query.hpp"
#include "daemon/control_plane.hpp"
#include "daemon/pool_directory.hpp"
#include "daemon/tls_stream.hpp"
#include "daemon/worker.hpp"
#include "tests/daemon/certificates.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <functional>
#include <future>
#include <openssl/ssl.h>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace {

using namespace pgweir;
using namespace std::chrono_literals;
using daemon::connection;
using pool::time_point;

/// A worker without clients, on whose thread connections are tried.
struct bench {
    std::shared_ptr<config::configuration> config = std::make_shared<config::configuration>();
    daemon::control_plane control{1};
    daemon::pool_directory pools{1, config};
    daemon::logger log{{.level = daemon::log_severity::error}};
    std::atomic<std::uint64_t> clients{0};
    daemon::auth_query users{log, config};
    daemon::verifier_census verifiers;
    daemon::login_places logins;
    daemon::worker worker{{.self = {}, .mock_secret = "x"},
                          {control, users, verifiers, logins, pools, log, clients, {}, {}},
                          config};

    bench() { worker.start(); }
    ~bench() { worker.stop(); }

    void on_worker(const std::function<void()>& what) {
        std::promise<void> done;
        worker.run([&](daemon::engine&, time_point) {
            what();
            done.set_value();
        });
        REQUIRE(done.get_future().wait_for(10s) == std::future_status::ready);
    }
};

/// One side of a connection that reads whatever comes and writes down what happens.
struct peer final : daemon::connection_events {
    peer(bench& on, char name_, std::string& diary_)
        : name(name_)
        , diary(diary_) {
        std::array<int, 2> ends{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) ==
                0);
        other_end = ends[1];
        socket = daemon::make_connection(on.worker, ends[0]);
        socket->set_events(this);
        socket->wait_readable();
    }
    ~peer() { ::close(other_end); }
    void write(std::string_view what) const {
        REQUIRE(::write(other_end, what.data(), what.size()) == static_cast<ssize_t>(what.size()));
    }

    void on_readable(time_point) override {
        diary += {'r', name};
        socket->read(buffer);
    }
    void on_read(time_point, std::size_t count, boost::system::error_code) override {
        diary += {'g', name};
        got.append(reinterpret_cast<const char*>(buffer.data()), count);
        if (count != 0) {
            diary += socket->sends_later() ? "-" : "!";
            socket->wait_readable();
        }
        if (also) {
            also();
        }
        if (all_told && ++*told == 3) {
            all_told->set_value();
        }
    }
    void on_writable(time_point) override {
        diary += {'w', name};
        CHECK_FALSE(socket->sends_later()); // it would never end
        if (all_sent && ++*sent == 3) {
            all_sent->set_value();
        }
    }
    void on_connected(time_point, boost::system::error_code) override {}
    void on_secured(time_point, const protocol::tls_facts* facts,
                    const protocol::tls_failure&) override {
        diary += {facts != nullptr ? 's' : 'f', name};
        socket->wait_readable();
        if (all_told) {
            all_told->set_value();
        }
    }

    char name;
    std::string& diary;
    int other_end = -1;
    std::array<std::byte, 4> buffer{};
    std::string got;
    std::unique_ptr<connection> socket;
    std::function<void()> also; // in on_read()
    std::promise<void>* all_told = nullptr;
    std::promise<void>* all_sent = nullptr;
    int* told = nullptr;
    int* sent = nullptr;
};

/// Three peers who are written to at the same time.
struct three {
    bench on;
    std::string diary;
    std::promise<void> told, sent;
    int count_told = 0;
    int count_sent = 0;
    std::array<std::unique_ptr<peer>, 3> all;

    void start(const std::function<void()>& before = {}) {
        on.on_worker([&] {
            for (std::size_t i = 0; i < all.size(); ++i) {
                all[i] = std::make_unique<peer>(on, static_cast<char>('a' + i), diary);
                all[i]->all_told = &told;
                all[i]->all_sent = &sent;
                all[i]->told = &count_told;
                all[i]->sent = &count_sent;
                all[i]->write({"1", 1});
            }
            if (before) {
                before();
            }
        });
    }
    ~three() {
        on.on_worker([&] { all = {}; });
    }
};

} // namespace

TEST_CASE("several with something to read: all read, all are told, all send") {
    three t;
    t.start();
    REQUIRE(t.sent.get_future().wait_for(10s) == std::future_status::ready);
    t.on.on_worker([&] { CHECK(t.diary == "rarbrcga-gb-gc-wawbwc"); });
}

TEST_CASE("one with something to read is told at once, and sends at once") {
    three t;
    t.start();
    REQUIRE(t.sent.get_future().wait_for(10s) == std::future_status::ready);
    t.on.on_worker([&] { t.diary.clear(); });
    std::promise<void> again;
    t.on.on_worker([&] {
        t.all[1]->all_told = nullptr;
        t.all[1]->also = [&] { again.set_value(); };
        t.all[1]->write("2");
    });
    REQUIRE(again.get_future().wait_for(10s) == std::future_status::ready);
    t.on.on_worker([&] { CHECK(t.diary == "rbgb!"); });
}

TEST_CASE("who goes after it has read, before it is told, is told nothing") {
    three t;
    t.start([&] {
        t.all[0]->also = [&] {
            t.all[1]->socket.reset();
            t.told.set_value();
        };
        t.all[2]->all_told = nullptr;
        t.all[0]->all_told = nullptr;
    });
    REQUIRE(t.told.get_future().wait_for(10s) == std::future_status::ready);
    t.on.on_worker([&] {
        CHECK(t.all[1]->got.empty());
        CHECK(t.diary.find("gb") == std::string::npos);
        CHECK(t.diary.find("gc") != std::string::npos);
    });
}

TEST_CASE("what has been read goes with a socket to another worker, in front of the rest") {
    three t;
    bench elsewhere;
    std::promise<std::unique_ptr<daemon::detached_connection>> on_its_way;
    t.start([&] {
        t.all[1]->write("2345678"); // more than a buffer holds
        t.all[0]->all_told = t.all[2]->all_told = nullptr;
        t.all[0]->also = [&] { on_its_way.set_value(t.all[1]->socket->detach()); };
    });
    auto moved = on_its_way.get_future();
    REQUIRE(moved.wait_for(10s) == std::future_status::ready);
    t.on.on_worker([&] { // its thread's, and the diary is from now on the other's
        for (auto& each : t.all) {
            each->socket.reset();
        }
    });
    auto detached = moved.get();
    auto& socket = static_cast<daemon::detached_socket&>(*detached);
    CHECK(socket.unread == "1234");
    std::promise<void> all_there;
    elsewhere.on_worker([&] {
        auto& b = *t.all[1];
        b.all_told = nullptr;
        b.socket = daemon::make_connection(elsewhere.worker, socket);
        b.socket->set_events(&b);
        b.also = [&] {
            if (b.got.size() == 8) {
                all_there.set_value();
            }
        };
        b.socket->wait_readable();
    });
    CHECK(all_there.get_future().wait_for(10s) == std::future_status::ready);
    elsewhere.on_worker([&] {
        CHECK(t.all[1]->got == "12345678");
        t.all[1]->socket.reset();
    });
}

namespace {

/// A connection that is to speak TLS, its other end, and a control plane that is busy.
struct securing {
    using outcome = daemon::tls_stream::outcome;

    test::certificates files;
    std::array<int, 2> silent{}; // between whose ends nobody says anything
    std::optional<daemon::tls_stream> others;
    std::shared_ptr<const void> asker = std::make_shared<char>();
    bench on;
    std::string diary;
    std::unique_ptr<peer> one;
    std::optional<daemon::tls_stream> other;
    std::promise<void> secured;
    std::promise<void> busy_until;

    securing() {
        files.make("server", "db.example");
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                             silent.data()) == 0);
        const auto accepting = files.accepting_as("server");
        others.emplace(silent[0],
                       daemon::tls_start{.context = daemon::tls_context::make(accepting)});
        on.control.handshake(*others, asker,
                             [until = busy_until.get_future().share()](outcome) { until.wait(); });
        on.on_worker([&] {
            one = std::make_unique<peer>(on, 'a', diary);
            one->all_told = &secured;
            one->socket->secure({.context = daemon::tls_context::make(accepting)});
            other.emplace(one->other_end, daemon::tls_start{.context = daemon::tls_context::make(
                                                                daemon::connecting_tls{})});
            CHECK(other->handshake() == outcome::wants_read); // its ClientHello is on its way
        });
        on.on_worker([] {}); // … and has been reported
    }
    ~securing() {
        on.on_worker([&] { one.reset(); });
        ::close(silent[0]);
        ::close(silent[1]);
    }
    [[nodiscard]] outcome go_on_until(outcome end) {
        auto how = outcome::wants_read;
        for (int i = 0; i < 10'000 && how != end; ++i) {
            how = other->handshake();
            std::this_thread::sleep_for(1ms);
        }
        return how;
    }
};

} // namespace

TEST_CASE("a handshake holds up nobody on its worker") {
    securing s;
    s.on.on_worker([&] { CHECK(s.diary.empty()); }); // it waits, the worker does not
    CHECK(s.other->handshake() == securing::outcome::wants_read);
    s.busy_until.set_value();
    CHECK(s.go_on_until(securing::outcome::done) == securing::outcome::done);
    REQUIRE(s.secured.get_future().wait_for(10s) == std::future_status::ready);
    s.on.on_worker([&] {
        CHECK(s.diary.starts_with("sa")); // it may have stirred once more
        const std::array<protocol::bytes, 1> hello{protocol::as_bytes("hello")};
        CHECK(s.one->socket->send(hello).sent == 5);
    });
    std::array<std::byte, 10> got{};
    CHECK(s.other->read(got).count == 5);
}

TEST_CASE("what comes right behind a handshake is read, whoever was the faster") {
    test::certificates files;
    files.make("server", "db.example");
    const auto accepting = files.accepting_as("server");
    const auto context = daemon::tls_context::make(accepting);
    const auto connecting = daemon::tls_context::make(daemon::connecting_tls{});
    bench on;
    std::string diary;
    for (int i = 0; i < 300; ++i) {
        std::unique_ptr<peer> one;
        std::promise<void> got_it;
        on.on_worker([&] {
            one = std::make_unique<peer>(on, 'a', diary);
            one->also = [&] { got_it.set_value(); };
            one->socket->secure({.context = context});
        });
        daemon::tls_stream other(one->other_end, {.context = connecting});
        while (other.handshake() != daemon::tls_stream::outcome::done) {
            std::this_thread::yield();
        }
        const std::array<protocol::bytes, 1> hello{protocol::as_bytes("hi")};
        CHECK(other.send(hello).count == 2);
        REQUIRE(got_it.get_future().wait_for(10s) == std::future_status::ready);
        on.on_worker([&] { one.reset(); });
    }
}

TEST_CASE("others are read while a peer sends new keys, and it is read on without an edge") {
    securing s;
    s.busy_until.set_value();
    test::certificates& files = s.files;
    const auto accepting = files.accepting_as("server");
    std::string diary;
    std::unique_ptr<peer> updating, other;
    std::promise<void> secured, got_it;
    s.on.on_worker([&] {
        updating = std::make_unique<peer>(s.on, 'u', diary);
        other = std::make_unique<peer>(s.on, 'o', diary);
        updating->all_told = &secured;
        updating->socket->secure({.context = daemon::tls_context::make(accepting)});
    });
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(
        SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
    const std::unique_ptr<SSL, decltype(&SSL_free)> client(SSL_new(context.get()), &SSL_free);
    SSL_set_fd(client.get(), updating->other_end);
    SSL_set_connect_state(client.get());
    while (SSL_do_handshake(client.get()) != 1) {
        REQUIRE(SSL_want_read(client.get()));
        std::this_thread::yield();
    }
    REQUIRE(secured.get_future().wait_for(10s) == std::future_status::ready);
    SSL_set_block_padding(client.get(), SSL3_RT_MAX_PLAIN_LENGTH); // of one budget, some
    s.on.on_worker([&] {
        diary.clear();
        updating->all_told = nullptr;
        updating->also = [&] { got_it.set_value(); };
        for (int i = 0; i < 8; ++i) {
            REQUIRE(SSL_key_update(client.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
            REQUIRE(SSL_do_handshake(client.get()) == 1);
        }
        REQUIRE(SSL_write(client.get(), "hi", 2) == 2);
        other->write("x");
    });
    REQUIRE(got_it.get_future().wait_for(10s) == std::future_status::ready);
    s.on.on_worker([&] {
        CHECK(updating->got == "hi");
        CHECK(other->got == "x");
        CHECK(diary.find("go") < diary.find("gu"));
        updating.reset();
        other.reset();
    });
}

TEST_CASE("who goes in the middle of a handshake leaves its socket to whoever works with it") {
    securing s;
    s.on.on_worker([&] {
        s.one->socket.reset();
        // Somebody else would be given the number now, and bytes that are not theirs.
        std::array<int, 2> ends{};
        REQUIRE(::pipe(ends.data()) == 0);
        ::close(ends[0]);
        ::close(ends[1]);
    });
    std::byte byte{};
    CHECK(::recv(s.one->other_end, &byte, 1, MSG_PEEK) < 0); // not closed yet
    s.busy_until.set_value();
    std::array<std::byte, 4096> rest{};
    ssize_t got = -1;
    for (int i = 0; i < 10'000 && got != 0; ++i) {
        got = ::recv(s.one->other_end, rest.data(), rest.size(), 0); // the answer, then the end
        if (got < 0 && errno == ECONNRESET) {
            got = 0;
        }
        std::this_thread::sleep_for(1ms);
    }
    CHECK(got == 0);
    s.on.on_worker([&] { CHECK(s.diary.empty()); });
}

TEST_CASE("nothing is sent in the clear while a handshake is under way") {
    securing s;
    s.on.on_worker([&] {
        const std::array<protocol::bytes, 1> secret{protocol::as_bytes("secret")};
        CHECK(s.one->socket->send(secret).sent == 0);
    });
    std::byte byte{};
    CHECK(::recv(s.one->other_end, &byte, 1, MSG_PEEK) < 0);
    s.busy_until.set_value();
    CHECK(s.go_on_until(securing::outcome::done) == securing::outcome::done);
}
