// See disturbance.hpp.
#include "integration/differential/disturbance.hpp"

#include <chrono>
#include <iostream>
#include <sstream>
#include <string>

namespace pgweir::differential {

namespace {

// One round: statements under names that scripts use as well, an error, a transaction rolled back.
// Nothing here writes. `%n` is the disturber's number.
constexpr std::string_view round = R"(guards: nothing
a: parse s1 : select %n, 's1 of a disturbance' /*disturbance*/
a: bind unnamed s1
a: execute unnamed
a: sync
a: wait ready
a: query begin /*disturbance*/
a: parse s2 : select %n, 's2 of a disturbance' /*disturbance*/
a: bind p1 s1
a: bind p2 s2
a: execute p1
a: execute p2
a: sync
a: wait ready 2
a: query select 1/0 /*disturbance*/
a: query rollback /*disturbance*/
a: wait ready 2
a: bind unnamed s2
a: describe portal unnamed
a: execute unnamed
a: close statement s1
a: close statement s2
a: sync
a: wait ready
a: parse unnamed : select %n, 'unnamed' /*disturbance*/
a: bind unnamed unnamed
a: execute unnamed
a: sync
a: wait ready
)";

script round_of(std::size_t number) {
    std::string text(round);
    for (auto at = text.find("%n"); at != std::string::npos; at = text.find("%n")) {
        text.replace(at, 2, std::to_string(1'000 + number));
    }
    return read_script("disturbance", text);
}

std::string told(wire_client& wire) {
    object_names names;
    std::string out;
    for (const auto& message : wire.received()) {
        out += to_line(message, names) + "\n";
    }
    return out;
}

} // namespace

disturbance::disturbance(const place& where, std::size_t clients) {
    for (std::size_t i = 0; i < clients; ++i) {
        threads_.emplace_back([this, where, i] { disturb(where, i); });
    }
}

disturbance::~disturbance() {
    stop_ = true;
    for (auto& t : threads_) {
        t.join();
    }
}

void disturbance::disturb(const place& where, std::size_t number) {
    try {
        const auto steps = round_of(number).steps;
        wire_client wire;
        const auto patience = [] {
            return std::chrono::steady_clock::now() + std::chrono::seconds(60);
        };
        wire.connect(where.at, test::encode_startup({{"user", where.user},
                                                     {"database", where.database},
                                                     {"application_name", "disturbance"}}));
        static_cast<void>(wire.wait_for_login(patience()));
        std::string first_round;
        while (!stop_) {
            wire.forget_everything();
            for (const auto& step : steps) {
                const auto outcome = step.what == step_kind::wait_ready
                                         ? wire.wait_for("Z", step.number, patience())
                                         : wire.send(encode(step), patience());
                if (outcome != wire_client::outcome::done) {
                    throw std::runtime_error("a disturber's connection ended:\n" + told(wire));
                }
            }
            const auto lines = told(wire);
            first_round = first_round.empty() ? lines : first_round;
            if (lines != first_round) {
                throw std::runtime_error("a disturber was told\n" + lines + "instead of\n" +
                                         first_round);
            }
            ++transactions_;
            // Often enough to change everybody's server; not so often that nobody else gets on.
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
    } catch (const std::exception& error) {
        ++complaints_;
        std::cout << error.what() << std::endl;
    }
}

} // namespace pgweir::differential
