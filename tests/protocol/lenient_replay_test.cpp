// A replay that leaves out what PostgreSQL drops when it loads a library.
#include "protocol/lenient_replay.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::protocol;

namespace {

using names = std::vector<std::string>;

/// The first setting that is replayed is refused with this: is it dropped?
bool drops(const std::string& name, std::string_view sqlstate, std::string_view message) {
    std::string out;
    reply_queue owed;
    lenient_replay replay({}, {{name, "x"}}, out, owed);
    const bool taken = replay.take_error(sqlstate, message);
    CHECK(replay.dropped() == (taken ? names{name} : names{}));
    CHECK_FALSE(replay.left_over());
    return taken;
}

} // namespace

TEST_CASE("lenient_replay: what PostgreSQL drops when it loads the library is dropped") {
    CHECK(drops("lib.a", "42501", "permission denied to set parameter \"lib.a\""));
    CHECK(drops("lib.a", "22023", "invalid value for parameter \"lib.a\": \"x\""));
    CHECK(drops("lib.a", "42602", "invalid configuration parameter name \"lib.a\""));
    CHECK(drops("lib.a", "55P02", "parameter \"lib.a\" cannot be changed now"));
    CHECK(drops("lib.a_b.c$1", "22023", "ungültiger Wert für Parameter »Lib.A_b.c$1«"));
}

TEST_CASE("lenient_replay: whatever else is refused is not dropped") {
    CHECK_FALSE(drops("work_mem", "22023", "invalid value for parameter \"work_mem\": \"x\""));
    CHECK_FALSE(drops("role", "22023", "role \"x\" does not exist"));
    CHECK_FALSE(drops("app.tenant", "42501", "permission denied for function set_config"));
    CHECK_FALSE(drops("app.tenant", "57014", "canceling statement due to user request"));
    CHECK_FALSE(drops("app.tenant", "53200", "out of memory: \"app.tenant\""));
    CHECK_FALSE(drops("app.1x", "42602", "invalid configuration parameter name \"app.1x\""));
    CHECK_FALSE(drops("app.", "42602", "invalid configuration parameter name \"app.\""));
    CHECK_FALSE(drops("app..x", "42602", "invalid configuration parameter name \"app..x\""));
}

TEST_CASE("lenient_replay: each error is about the setting whose turn it is") {
    std::string out;
    reply_queue owed;
    owed.sent(frontend::query, fate::swallow); // something of ours comes before
    lenient_replay replay({{"lib.old", "1"}}, {{"lib.a", "1"}, {"lib.b", "2"}, {"lib.c", "3"}}, out,
                          owed);
    CHECK(owed.owed_ready(fate::swallow) == 5);
    CHECK_FALSE(replay.take_error("22023", "invalid value for parameter \"lib.old\""));
    replay.ready_came();
    SUBCASE("of the client's") {
        replay.ready_came(); // lib.old
        replay.ready_came(); // lib.a
        CHECK(replay.take_error("22023", "invalid value for parameter \"lib.b\""));
        replay.ready_came();
        CHECK_FALSE(replay.take_error("22023", "invalid value for parameter \"lib.b\""));
        CHECK(replay.dropped() == names{"lib.b"});
        CHECK_FALSE(replay.left_over());
    }
    SUBCASE("of somebody else's") {
        CHECK(replay.take_error("42501", "permission denied to set parameter \"lib.old\""));
        CHECK(replay.dropped().empty());
        CHECK(replay.left_over());
    }
    SUBCASE("behind all of them") {
        for (int i = 0; i < 4; ++i) {
            replay.ready_came();
        }
        CHECK_FALSE(replay.take_error("22023", "invalid value for parameter \"lib.c\""));
    }
}

TEST_CASE("lenient_replay: behind BEGIN, where it is not to wait for a snapshot") {
    std::string out;
    reply_queue owed;
    lenient_replay replay({{"default_transaction_deferrable", "on"}}, {{"lib.a", "1"}}, out, owed);
    replay.ready_came(); // BEGIN
    replay.ready_came(); // the one that is taken off
    CHECK(replay.take_error("22023", "invalid value for parameter \"lib.a\""));
}

TEST_CASE("lenient_replay: which settings may be a library's, and what is left") {
    CHECK(may_be_librarys({}, {{"lib.a", "1"}}));
    CHECK(may_be_librarys({{"lib.a", "1"}}, {}));
    CHECK_FALSE(may_be_librarys({{"lib.a", "1"}}, {{"lib.a", "1"}, {"work_mem", "1MB"}}));
    CHECK(without({{"lib.a", "1"}, {"lib.b", "2"}}, {"lib.a", "none"}) ==
          setting_map{{"lib.b", "2"}});
    CHECK(left_by_reset_all({{"lib.a", "1"}, {"role", "r"}, {"session_authorization", "s"}}) ==
          setting_map{{"role", "r"}, {"session_authorization", "s"}});
}
