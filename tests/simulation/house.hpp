// One worker's engine in the simulator's world, and clients that ask one thing at a time: for tests
// of one situation each. How long anything takes is virtual.
#pragma once

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

namespace pgweir::simulation {

/// One worker, and PostgreSQL behind it.
struct house {
    explicit house(std::uint32_t servers = 1, duration interval = seconds(3'600))
        : config(std::make_shared<config::configuration>()) {
        config->pool.minconn = 0;
        config->pool.maxconn = servers;
        config->pool.audit_every = 0;
        config->pool.listen = config::virtual_policy::pin;
        config->pool.wait_timeout = config->pool.idle_timeout = seconds(60);
        config->pool.max_lifetime = seconds(3'600);
        config->auth = config::auth_method::trust;
        config->functions_interval =
            std::chrono::duration_cast<decltype(config->functions_interval)>(interval);
        for (const auto* const name : {"app", "other"}) {
            config::user user;
            user.name = name;
            config->users.push_back(std::move(user));
        }
        config::database shop;
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
    /// Lets so much time pass.
    void pass(duration time) {
        const auto end = shared.time.now() + time;
        shared.time.at(end, [] {});
        REQUIRE(until([&] { return shared.time.now() >= end; }));
    }
    /// From now on a reading takes so long.
    void readings_take(duration time) { state.readings = {time, time, 0}; }
    [[nodiscard]] daemon::pool_entry& pool(const char* user) {
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
    std::shared_ptr<config::configuration> config;
};

/// Sends one Query at a time, or a Sync, and counts the ReadyForQuery.
class client : socket_user {
public:
    client(house& in, std::string_view user, const settings& at_start = {})
        : in_(in)
        , end_(in.net.connect()) {
        end_[0]->set_user(this);
        in.state.workers[0]->accept(end_[1], false);
        std::string out;
        protocol::message_writer packet(out);
        packet.begin_untyped().u32(3U << 16U);
        packet.c_string("user").c_string(user).c_string("database").c_string("shop");
        for (const auto& [name, value] : at_start) {
            packet.c_string(name).c_string(value);
        }
        packet.u8(0).end();
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
    void sync() {
        std::string out;
        protocol::message_writer(out).begin(protocol::frontend::sync).end();
        REQUIRE(end_[0]->send(out) == out.size());
    }
    /// Sends a Query and waits for the answer.
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
    /// Has the worker cancel what it is doing.
    void cancel() {
        const auto got = messages_of(got_);
        const auto key =
            std::find_if(got.begin(), got.end(), [](const message& m) { return m.type == 'K'; });
        REQUIRE(key != got.end());
        daemon::route_cancel request{{}, {0}, {}};
        request.key.process_id = protocol::read_u32(protocol::as_bytes(key->body));
        request.key.key = key->body.substr(4);
        in_.state.workers[0]->engine.on_message(in_.shared.time.now(), {std::move(request)});
    }
    [[nodiscard]] bool is_welcome() const { return answers() != 0; }
    /// The other side has closed.
    [[nodiscard]] bool is_ended() const { return end_[0]->at_end(); }
    /// The SQLSTATE of the last thing it was told, if that was a FATAL.
    [[nodiscard]] std::string last_fatal() const {
        const auto got = messages_of(got_);
        return got.empty() || !is_fatal(got.back()) ? "" : essence(got.back());
    }

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

} // namespace pgweir::simulation
