// What a long reading of what names hide holds up, and what it does not: one worker's engine in the
// simulator's world, with the control plane's time set by the test. How long anything takes is
// virtual; what is looked at is who has been answered while a reading is under way.
#include "tests/simulation/fake_postgres.hpp"
#include "tests/simulation/fake_worker.hpp"
#include "tests/simulation/session_messages.hpp"

#include "protocol/startup.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using namespace pgweir::simulation;
namespace daemon_ = pgweir::daemon;
namespace protocol = pgweir::protocol;

namespace {

constexpr auto never = seconds(24 * 3'600);

/// One worker, and PostgreSQL behind it.
struct house {
    explicit house(std::uint32_t servers = 1, duration interval = seconds(3'600))
        : config(std::make_shared<pgweir::config::configuration>()) {
        config->pool.minconn = 0;
        config->pool.maxconn = servers;
        config->pool.audit_every = 0;
        config->pool.listen = pgweir::config::listen_policy::pin;
        config->pool.wait_timeout = config->pool.idle_timeout = seconds(60);
        config->pool.max_lifetime = seconds(3'600);
        config->auth = pgweir::config::auth_method::trust;
        config->functions_interval =
            std::chrono::duration_cast<decltype(config->functions_interval)>(interval);
        for (const auto* const name : {"app", "other"}) {
            pgweir::config::user user;
            user.name = name;
            config->users.push_back(std::move(user));
        }
        pgweir::config::database shop;
        shop.name = shop.dbname = "shop";
        shop.pool = config->pool;
        config->databases.push_back(std::move(shop));
        net.conditions.short_percent = 0; // what is sent is taken whole
        state.server_password = postgres.password;
        state.workers.push_back(std::make_unique<fake_worker>(state, 0, 1, config, false));
    }
    house(const house&) = delete;
    house& operator=(const house&) = delete;
    ~house() { shared.time.clear(); } // while all that it refers to is there

    /// Lets things happen until `holds`; false: it does not come to that.
    [[nodiscard]] bool until(const std::function<bool()>& holds) {
        const auto give_up = shared.time.now() + seconds(30);
        while (!holds()) {
            auto& worker = *state.workers[0];
            const auto sweep = worker.next_sweep();
            const auto next = std::min(sweep, shared.time.next());
            if (next > give_up) {
                return false;
            }
            if (sweep <= next) {
                shared.time.advance_to(sweep);
                worker.sweep();
            } else {
                shared.time.run_next();
            }
            REQUIRE(worker.engine.broken_invariants().empty());
        }
        return true;
    }
    /// From now on a reading takes so long.
    void readings_take(duration time) { state.readings = {time, time, 0}; }
    [[nodiscard]] daemon_::pool_entry& pool(const char* user) {
        return *state.pools.at({"shop", user});
    }
    [[nodiscard]] bool known(const char* user) { return pool(user).names->known(); }
    [[nodiscard]] std::uint64_t questions(const char* user) {
        return pool(user).counters[0]->catalogue_questions.load();
    }

    world shared{7};
    network net{shared};
    fake_postgres postgres{shared, net};
    daemon_state state{shared, net, postgres, {}, {}, 0, 0, 0, {}, {}, 0};
    std::shared_ptr<pgweir::config::configuration> config;
};

/// Sends one Query at a time and counts the ReadyForQuery.
class client : socket_user {
public:
    client(house& in, std::string_view user)
        : in_(in)
        , end_(in.net.connect()) {
        end_[0]->set_user(this);
        in.state.workers[0]->accept(end_[1], false);
        std::string out;
        protocol::message_writer(out)
            .begin_untyped()
            .u32(3U << 16U)
            .c_string("user")
            .c_string(user)
            .c_string("database")
            .c_string("shop")
            .u8(0)
            .end();
        REQUIRE(end_[0]->send(out) == out.size());
    }
    ~client() { end_[0]->set_user(nullptr); }
    client(const client&) = delete;
    client& operator=(const client&) = delete;

    void send(const std::string& sql) {
        std::string out;
        protocol::append_query(out, sql);
        REQUIRE(end_[0]->send(out) == out.size());
    }
    /// … and waits for the answer.
    [[nodiscard]] bool ask(const std::string& sql) {
        send(sql);
        const auto wanted = answers() + 1;
        return in_.until([&] { return answers() >= wanted; });
    }
    /// How many ReadyForQuery have come; the first is the welcome.
    [[nodiscard]] std::size_t answers() const {
        const auto got = messages_of(got_);
        return static_cast<std::size_t>(
            std::count_if(got.begin(), got.end(), [](const message& m) { return m.type == 'Z'; }));
    }
    void leave() { end_[0]->close(); }
    [[nodiscard]] bool is_welcome() const { return answers() != 0; }

private:
    void on_arrival() override {
        got_ += end_[0]->readable();
        end_[0]->take(end_[0]->readable().size());
    }
    void on_room() override {}

    house& in_;
    std::array<network::end_ptr, 2> end_;
    std::string got_;
};

const std::string look = "SELECT 1 tag=t n=1 rows=1";
const std::string make = "CREATE OR REPLACE FUNCTION hidden_lock() RETURNS void LANGUAGE plpgsql"
                         " AS 'begin perform pg_advisory_lock(7); end' tag=t";

} // namespace

TEST_CASE("names: a large catalogue delays nobody else on its worker") {
    house in;
    client other(in, "other");
    REQUIRE(in.until([&] { return other.is_welcome() && in.known("other"); }));

    in.readings_take(seconds(1) - milliseconds(1));
    client first(in, "app");
    REQUIRE(in.until([&] { return in.state.readings_under_way == 1; }));
    for (int i = 0; i < 200; ++i) {
        REQUIRE(other.ask(look));
    }
    CHECK(in.state.readings_under_way == 1);
    CHECK(!first.is_welcome()); // it waits for the first reading
    CHECK(!in.known("app"));
    REQUIRE(in.until([&] { return first.is_welcome(); }));
    CHECK(in.state.readings_under_way == 0);
    CHECK(in.known("app"));
    CHECK(first.ask(look));
    CHECK(in.pool("app").counters[0]->catalogue_questions_failed.load() == 0);
}

TEST_CASE("names: where all is known its own pool does not wait for the next reading") {
    house in(1, milliseconds(200));
    client only(in, "app");
    REQUIRE(in.until([&] { return only.is_welcome() && in.known("app"); }));
    in.readings_take(never);
    REQUIRE(in.until([&] { return in.state.readings_under_way == 1; }));
    for (int i = 0; i < 200; ++i) {
        REQUIRE(only.ask(look));
    }
    CHECK(in.known("app"));
    CHECK(in.pool("app").counters[0]->catalogue_questions_failed.load() == 0);
}

TEST_CASE("names: who has made something waits until it has been read, and others wait with it") {
    house in(2);
    client maker(in, "app"), beside(in, "app"), other(in, "other");
    REQUIRE(in.until([&] {
        return maker.is_welcome() && beside.is_welcome() && other.is_welcome() && in.known("app") &&
               in.known("other");
    }));
    const auto questions = in.questions("app");
    in.readings_take(milliseconds(900));
    REQUIRE(maker.ask(make));
    CHECK(!in.known("app"));
    const auto answers = maker.answers();
    maker.send(look);
    beside.send(look);
    REQUIRE(in.until([&] { return in.state.readings_under_way == 2; })); // of its server, too
    for (int i = 0; i < 100; ++i) {
        REQUIRE(other.ask(look));
    }
    CHECK(maker.answers() == answers);
    CHECK(in.state.readings_under_way == 2);
    REQUIRE(in.until([&] { return maker.answers() > answers; }));
    CHECK(in.known("app"));
    CHECK(in.until([&] { return beside.answers() == 2; }));
    CHECK(in.questions("app") == questions + 2);

    SUBCASE("it leaves meanwhile") {
        {
            client short_lived(in, "app");
            REQUIRE(in.until([&] { return short_lived.is_welcome(); }));
            REQUIRE(short_lived.ask(make));
            REQUIRE(in.until([&] { return in.state.readings_under_way == 1; }));
            short_lived.leave();
        }
        REQUIRE(beside.ask(look));
        CHECK(in.known("app"));
    }
}

TEST_CASE(
    "names: a reading that takes too long is waited for by nobody, and counts when it is done") {
    house in;
    in.readings_take(seconds(5));
    client first(in, "app");
    REQUIRE(in.until([&] { return first.is_welcome(); }));
    CHECK(in.state.readings_under_way == 1);
    CHECK(!in.known("app"));
    CHECK(!in.pool("app").names->awaited());
    CHECK(first.ask(look));
    REQUIRE(in.until([&] { return in.state.readings_under_way == 0; }));
    CHECK(in.known("app"));
    CHECK(first.ask(look));
    CHECK(in.questions("app") == 1);
    CHECK(in.pool("app").counters[0]->catalogue_questions_failed.load() == 1);
}

TEST_CASE("names: what happens while a reading is under way") {
    house in;
    in.readings_take(milliseconds(500));
    client first(in, "app");
    REQUIRE(in.until([&] { return in.state.readings_under_way == 1; }));
    auto& engine = in.state.workers[0]->engine;

    SUBCASE("the server is lost: what it has said counts") {
        in.postgres.crash();
        REQUIRE(in.until([&] { return first.is_welcome(); }));
        CHECK(in.known("app"));
        CHECK(first.ask(look));
        CHECK(in.pool("app").counters[0]->catalogue_questions_failed.load() == 0);
    }
    SUBCASE("a reload leads to another database: it is asked anew") {
        auto access = *in.pool("app").access.load();
        access.where.port = 5'433;
        in.pool("app").set_access(
            std::make_shared<const daemon_::server_access>(std::move(access)));
        engine.reconfigure(in.shared.time.now(), in.config);
        REQUIRE(in.until([&] { return first.is_welcome(); }));
        CHECK(in.known("app"));
        CHECK(in.questions("app") == 2);
        CHECK(first.ask(look));
    }
    SUBCASE("the worker shuts down: it waits for no reading") {
        engine.begin_shutdown(in.shared.time.now());
        engine.finish_shutdown(in.shared.time.now());
        first.leave();
        REQUIRE(in.until([&] { return engine.empty(); }));
        CHECK(in.state.readings_under_way == 1);
        REQUIRE(in.until([&] { return in.state.readings_under_way == 0; }));
        CHECK(engine.empty());
    }
}
