// When what names hide is read, and what texts are read under until then.
#include "daemon/engine/database_names.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <utility>

using namespace pgweir::daemon;
using namespace std::chrono_literals;
using pgweir::protocol::may_hide;
using pgweir::protocol::name_effects;

namespace {

constexpr auto minute = 60s;
const time_point start{1h};

std::shared_ptr<const name_effects> something() {
    name_effects names;
    names.add("f", {.always = {.bits = 4, .settings = {}}, .on_write = {}});
    return std::make_shared<const name_effects>(names);
}

bool anything_may_be_hidden(const database_names& names) {
    return (names.latest()->of_all().bits & may_hide) != 0;
}

} // namespace

TEST_CASE("database_names: known, awaited, unknown") {
    database_names names(7);
    CHECK(names.awaited());
    CHECK(!names.known());
    CHECK(anything_may_be_hidden(names));
    auto version = names.version();
    const auto moved = [&] { return std::exchange(version, names.version()) != version; };

    SUBCASE("read at once") {
        CHECK(!names.learned(something(), names.ask(), start, minute));
        CHECK(moved());
        CHECK(names.known());
        CHECK(!names.awaited());
        CHECK(*names.latest() == *something());
        CHECK(names.due() == start + minute);

        CHECK(!names.learned(something(), names.ask(), start, minute));
        CHECK(!moved()); // nothing to be read again

        names.hide_more();
        CHECK(moved());
        CHECK(names.awaited());
        CHECK(anything_may_be_hidden(names));
        CHECK(names.latest()->find("f") != nullptr); // what was known still counts
    }
    SUBCASE("it fails") {
        CHECK(names.failed(start, minute));
        CHECK(moved());
        CHECK(!names.awaited());
        CHECK(!names.known());
        CHECK(anything_may_be_hidden(names));
        CHECK(!names.failed(start, minute)); // said once
        names.hide_more();
        CHECK(!names.awaited()); // there is no reason to hope
        CHECK(names.learned(something(), names.ask(), start, minute));
        CHECK(names.known());
        CHECK(names.failed(start, minute));
        CHECK(names.known()); // what was read stands
        CHECK(!anything_may_be_hidden(names));
        names.hide_more();
        CHECK(!names.known());
    }
    SUBCASE("changed while it was asked") {
        const auto before = names.ask();
        names.hide_more();
        CHECK(!names.learned(something(), before, start, minute));
        CHECK(!names.known());
        CHECK(names.awaited());
        CHECK(names.latest()->find("f") != nullptr);
        CHECK(!names.learned(something(), names.ask(), start, minute));
        CHECK(names.known());
    }
}

TEST_CASE("database_names: longer each time, but seldom") {
    database_names names;
    auto now = start;
    for (const auto patience : {1s, 2s, 4s, 8s, 8s}) {
        CHECK(names.patience() == patience);
        CHECK(names.take_turn(now, minute));
        CHECK(!names.take_turn(now, minute)); // somebody is at it
        names.failed(now, minute);
        const auto wait = names.due() - now;
        CHECK(wait >= 20s);
        CHECK(wait <= minute);
        CHECK(!names.take_turn(now + wait - 1ms, minute));
        now += wait;
    }
    names.learned(something(), names.ask(), now, minute);
    CHECK(names.patience() == 1s);
    names.changed(now);
    CHECK(names.due() == now + names_reread_soon);
}

TEST_CASE("database_names: one that asks and is never heard of again does not stop the others") {
    database_names names;
    CHECK(names.take_turn(start, minute));
    CHECK(!names.take_turn(start + 19s, minute));
    CHECK(names.take_turn(start + 20s, minute));
}

TEST_CASE("database_names: what has changed to less while it was asked is looked at soon") {
    database_names names;
    const auto before = names.ask();
    names.changed(start);
    names.learned(something(), before, start + 1ms, minute);
    CHECK(names.known());
    CHECK(names.due() == start + 1ms + names_reread_soon);
    names.learned(something(), names.ask(), start + 2s, minute);
    CHECK(names.due() == start + 2s + minute);
}

TEST_CASE("database_names: an answer that comes late does not undo a later one") {
    database_names names;
    const auto first = names.ask(), second = names.ask();
    names.learned(something(), second, start, minute);
    names.learned(std::make_shared<const name_effects>(), first, start, minute);
    CHECK(names.known());
    CHECK(*names.latest() == *something());
    names.hide_more();
    CHECK(names.answers(second));
    CHECK(!names.answers(names.ask()));
    names.learned(something(), names.ask(), start, minute);
    CHECK(names.answers(names.ask()));
}

TEST_CASE("database_names: no two databases have a version in common") {
    database_names one(1), two(2);
    for (int i = 0; i < 10; ++i) {
        CHECK(one.version() != two.version());
        one.hide_more();
    }
}
