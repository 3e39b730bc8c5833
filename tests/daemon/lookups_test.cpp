// Look-ups that take as long as they like: whom they hold up, and whom not.
#include "daemon/lookups.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace {

using namespace pgweir;
using namespace std::chrono_literals;
using names = daemon::lookups<std::string, std::string>;

/// A name server that answers when it is let. Shared with the threads that ask it.
struct server {
    std::promise<void> answers;
    std::shared_future<void> answered = answers.get_future().share();
    std::atomic<int> asked{0};
    std::atomic<long> keep_for_ms{60'000};
};

struct bench {
    std::shared_ptr<server> dns = std::make_shared<server>();
    names all;
    std::shared_ptr<const void> me = std::make_shared<char>();

    explicit bench(daemon::lookup_limits limits)
        : all(
              [dns = dns](const std::string& what) {
                  ++dns->asked;
                  if (what != "quick") {
                      dns->answered.wait();
                  }
                  return names::found_out{what + "!", std::chrono::milliseconds(dns->keep_for_ms)};
              },
              limits) {}
    ~bench() {
        all.stop();
        answer(); // for the threads that still wait, or a sanitizer would find them
    }
    void answer() {
        if (!std::exchange(has_answered, true)) {
            dns->answers.set_value();
        }
    }
    [[nodiscard]] std::future<std::string> ask(const std::string& what,
                                               const std::shared_ptr<const void>& who) {
        const auto told = std::make_shared<std::promise<std::string>>();
        all.ask(what, who, [told](const std::string* name) {
            told->set_value(name != nullptr ? *name : "too much");
        });
        return told->get_future();
    }
    [[nodiscard]] std::future<std::string> ask(const std::string& what) { return ask(what, me); }
    /// Until so many look-ups are under way.
    void wait_for_asked(int count) const {
        while (dns->asked < count) {
            std::this_thread::yield();
        }
    }
    bool has_answered = false;
};

std::string get(std::future<std::string>& from) {
    REQUIRE(from.wait_for(10s) == std::future_status::ready);
    return from.get();
}

TEST_CASE("lookups: the same is asked once, and kept") {
    bench b({.threads = 2});
    auto first = b.ask("a"), second = b.ask("a");
    b.answer();
    CHECK(get(first) == "a!");
    CHECK(get(second) == "a!");
    auto third = b.ask("a");
    CHECK(get(third) == "a!");
    CHECK(b.dns->asked == 1);
}

TEST_CASE("lookups: what is not kept is asked again") {
    bench b({.threads = 1});
    b.answer();
    b.dns->keep_for_ms = 0;
    for (int i = 1; i <= 3; ++i) {
        auto told = b.ask("a");
        CHECK(get(told) == "a!");
        CHECK(b.dns->asked == i);
    }
}

TEST_CASE("lookups: one whose asking throws is told so, and the others are served") {
    auto calls = std::make_shared<std::atomic<int>>(0);
    names all(
        [calls](const std::string& what) {
            if (++*calls == 1) {
                throw std::bad_alloc();
            }
            return names::found_out{what + "!", 60s};
        },
        {.threads = 1});
    const auto me = std::make_shared<char>();
    for (const auto* const expected : {"too much", "a!"}) { // and it is not kept
        std::promise<std::string> told;
        all.ask("a", me, [&](const std::string* name) {
            told.set_value(name != nullptr ? *name : "too much");
        });
        auto answer = told.get_future();
        CHECK(get(answer) == expected);
    }
    all.stop();
}

TEST_CASE("lookups: one that waits holds up no other, as long as there are threads") {
    bench b({.threads = 3});
    auto slow = b.ask("a"), also_slow = b.ask("b"), quick = b.ask("quick");
    CHECK(get(quick) == "quick!");
    CHECK(slow.wait_for(0s) == std::future_status::timeout);
    b.answer();
    CHECK(get(slow) == "a!");
    CHECK(get(also_slow) == "b!");
}

TEST_CASE("lookups: what nobody waits for any more is not asked") {
    bench b({.threads = 1});
    auto under_way = b.ask("a");
    b.wait_for_asked(1);
    auto stranger = std::make_shared<char>();
    auto gone = b.ask("b", stranger), shared = b.ask("c", stranger), wanted = b.ask("c");
    stranger.reset();
    b.answer();
    CHECK(get(wanted) == "c!");
    CHECK(get(shared) == "c!"); // it comes to nobody, but it comes
    CHECK(b.dns->asked == 2);
    CHECK_THROWS_AS(gone.get(), std::future_error); // dropped
    auto again = b.ask("b");
    CHECK(get(again) == "b!");
}

TEST_CASE("lookups: too much is told so at once, unless what was before is of no use any more") {
    bench b({.threads = 1, .waiting = 2});
    auto under_way = b.ask("a");
    b.wait_for_asked(1);
    auto stranger = std::make_shared<char>();
    auto one = b.ask("b", stranger), two = b.ask("c"), too_much = b.ask("d");
    CHECK(get(too_much) == "too much");
    auto the_same = b.ask("c"); // waits with the other
    stranger.reset();
    auto in_its_place = b.ask("d");
    b.answer();
    CHECK(get(in_its_place) == "d!");
    CHECK(get(the_same) == "c!");
}

TEST_CASE("lookups: no more answers are kept than there is room for") {
    bench b({.threads = 1, .kept = 2});
    b.answer();
    for (const auto* const each : {"a", "b", "c", "a"}) {
        auto told = b.ask(each);
        CHECK(get(told) == each + std::string("!"));
    }
    CHECK(b.dns->asked == 4);
}

TEST_CASE("lookups: the end waits for no answer, and nobody is told after it") {
    auto b = std::make_unique<bench>(daemon::lookup_limits{.threads = 1});
    auto under_way = b->ask("a"), queued = b->ask("b");
    b->wait_for_asked(1);
    b->all.stop(); // returns
    CHECK_THROWS_AS(under_way.get(), std::future_error);
    CHECK_THROWS_AS(queued.get(), std::future_error);
    auto late = b->ask("c");
    CHECK_THROWS_AS(late.get(), std::future_error);
}

} // namespace
