// What an answer about names is good for by the time that it is read, and that it is read by one
// thread of the control plane at most, in order.
#include "daemon/control_plane.hpp"
#include "daemon/engine/names_reading.hpp"

#include <doctest/doctest.h>

#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace pgweir::daemon;
using namespace std::chrono_literals;
namespace protocol = pgweir::protocol;

namespace {

constexpr auto minute = 60s;
const time_point start{1h};

/// PostgreSQL's answer where there is one function that locks, of this name.
protocol::hidden_effects_answer answer(std::string_view function) {
    protocol::hidden_effects_answer all;
    const auto row = [&all](std::string_view what, std::string_view value) {
        std::string body;
        protocol::message_writer to(body);
        to.u16(3);
        for (const auto column : {what, std::string_view("1255.16400"), value}) {
            to.u32(static_cast<std::uint32_t>(column.size())).raw(column);
        }
        all.take_row(protocol::as_bytes(body));
    };
    row("n", function);
    row("l", "sql");
    row("c", "select pg_advisory_lock(7)");
    return all;
}

struct database {
    [[nodiscard]] names_reading reading(std::string_view function, bool due = false) const {
        return {entry, entry->names->ask(), due, minute, answer(function)};
    }
    [[nodiscard]] bool has(std::string_view function) const {
        return entry->names->latest()->find(function) != nullptr;
    }

    std::shared_ptr<pool_entry> entry = std::make_shared<pool_entry>("shop", "app", 1U);
};

} // namespace

TEST_CASE("names_reading: known by everybody when it is done") {
    const database shop;
    const auto outcome = learn_names_from(shop.reading("f"), start);
    CHECK(outcome.entry == shop.entry);
    CHECK(outcome.serial == 1);
    CHECK(outcome.failure.empty());
    CHECK(!outcome.again);
    CHECK(shop.entry->names->known());
    CHECK(shop.has("f"));
    CHECK(shop.entry->names->due() == start + minute);
}

TEST_CASE("names_reading: what makes no sense changes nothing") {
    const database shop;
    auto nonsense = shop.reading("f");
    std::string body;
    protocol::message_writer(body).u16(3).u32(1).raw("n");
    nonsense.answer.take_row(protocol::as_bytes(body));
    const auto outcome = learn_names_from(std::move(nonsense), start);
    CHECK(outcome.failure == "an answer makes no sense");
    CHECK(shop.entry->names->awaited());

    CHECK(shop.entry->names->failed(start, minute));
    CHECK(learn_names_from(shop.reading("f"), start).again);
    CHECK(shop.entry->names->known());
}

TEST_CASE("names_reading: another one has told already") {
    const database shop;
    auto first = shop.reading("f"), second = shop.reading("g");
    SUBCASE("what this one was asked for: there is nothing to read") {
        CHECK(learn_names_from(std::move(first), start).failure.empty());
        CHECK(learn_names_from(std::move(second), start).failure.empty());
        CHECK(shop.has("f"));
        CHECK(!shop.has("g"));
    }
    SUBCASE("… but it was to be looked at in any case") {
        second.due = true;
        (void)learn_names_from(std::move(first), start);
        (void)learn_names_from(std::move(second), start);
        CHECK(!shop.has("f"));
        CHECK(shop.has("g"));
    }
    SUBCASE("later than this one was asked: it does not go back") {
        first.due = true;
        (void)learn_names_from(std::move(second), start);
        (void)learn_names_from(std::move(first), start);
        CHECK(!shop.has("f"));
        CHECK(shop.has("g"));
        CHECK(shop.entry->names->known());
    }
    SUBCASE("and something has changed since") {
        (void)learn_names_from(std::move(first), start);
        shop.entry->names->hide_more();
        (void)learn_names_from(std::move(second), start);
        CHECK(shop.has("f"));
        CHECK(shop.entry->names->awaited()); // as it was before: to be asked again
        (void)learn_names_from(shop.reading("h"), start);
        CHECK(shop.entry->names->known());
    }
}

TEST_CASE("control_plane: names are read one after the other, and logins do not wait for them") {
    control_plane plane(2);
    const database shop, other;
    std::promise<void> is_read, go_on;
    std::vector<std::string> order;
    plane.read_names(shop.reading("f"), [&](const names_outcome&) {
        order.emplace_back("shop");
        is_read.set_value();
        go_on.get_future().wait(); // as if there were more of it
    });
    std::promise<void> all_read;
    plane.read_names(other.reading("g"), [&](const names_outcome&) {
        order.emplace_back("other");
        all_read.set_value();
    });
    is_read.get_future().wait();
    std::promise<void> derived;
    const auto asker = std::make_shared<char>();
    plane.derive({protocol::secret("secret"), "salt", 1}, asker,
                 [&](const protocol::secret&) { derived.set_value(); });
    derived.get_future().wait();
    CHECK(shop.entry->names->known());
    CHECK(!other.entry->names->known()); // its turn has not come
    go_on.set_value();
    all_read.get_future().wait();
    CHECK(order == std::vector<std::string>{"shop", "other"});
    CHECK(other.entry->names->known());
}

TEST_CASE("control_plane: what has not been begun when it stops is not read") {
    const database shop, other;
    std::promise<void> is_read, go_on;
    bool told = false;
    {
        control_plane plane(1);
        plane.read_names(shop.reading("f"), [&](const names_outcome&) {
            is_read.set_value();
            go_on.get_future().wait();
        });
        plane.read_names(other.reading("g"), [&](const names_outcome&) { told = true; });
        is_read.get_future().wait();
        plane.stop_soon();
        go_on.set_value();
    }
    CHECK(!told);
    CHECK(!other.entry->names->known());
}
