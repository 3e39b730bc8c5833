// Settings that may not be set elsewhere: which are tried, and how.
#include "protocol/setting_trial.hpp"

#include "protocol/setting_question.hpp"
#include "tests/support/message_types.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;
using pgweir::test::types_of;

TEST_CASE("setting_trial: only what may be somebody else's") {
    const setting_map carried = {{"app.user", "u"},   {"deadlock_timeout", "2s"},
                                 {"role", "boss"},    {"session_authorization", "a"},
                                 {"timezone", "UTC"}, {"work_mem", "5MB"}};
    CHECK(settings_to_try(carried, {}) ==
          setting_map{{"app.user", "u"}, {"deadlock_timeout", "2s"}});
    CHECK(settings_to_try(carried, {"app.user"}) == setting_map{{"deadlock_timeout", "2s"}});
    CHECK(settings_to_try(carried, {"app.user", "deadlock_timeout"}).empty());
}

TEST_CASE("setting_trial: whoever has logged in sets it to what it is, in a batch of its own") {
    std::string out;
    reply_queue owed;
    append_setting_trial(out, owed, {{"deadlock_timeout", "2s"}, {"role", "boss"}},
                         {{"deadlock_timeout", "2s"}});
    CHECK(types_of(out) == "CPBECCS");
    CHECK(out.find("SELECT pg_catalog.set_config($1, $2, true), "
                   "pg_catalog.set_config($3, $4, true)") != std::string::npos);
    CHECK(out.find("role") < out.find("deadlock_timeout")); // given up first
    CHECK(out.find("boss") == std::string::npos);
    CHECK(owed.owed_ready(fate::swallow) == 1);
    CHECK(owed.owed_ready(fate::forward) == 0);
}

TEST_CASE("setting_trial: what cannot be tried stays") {
    const setting_map one = {{"a", "1"}};
    CHECK(may_try_settings({}, {}));
    CHECK(may_try_settings(one, one));
    CHECK_FALSE(may_try_settings({{"a", "1"}, {"exit_on_error", "on"}}, one)); // it would end
    setting_map many;
    for (int i = 0; i != 2'000; ++i) {
        many.emplace("app.s" + std::to_string(i), "");
    }
    CHECK_FALSE(may_try_settings(many, many));
}

TEST_CASE("setting_question: tries what has been told, once") {
    const login_identity login{.user = "login"};
    setting_question question(read_setting_changes("SET deadlock_timeout = '2s'"), {}, {}, login);
    question.expect_trial({"deadlock_timeout"});
    CHECK_FALSE(question.withholds());
    question.expect_trial({});
    CHECK(question.withholds()); // the client may be quick
    std::string out;
    reply_queue owed;
    question.append(out, owed);
    std::string value;
    message_writer(value).u32(2).raw("2s");
    question.take(backend::function_call_response, as_bytes(value));
    REQUIRE(question.ready_came());
    const setting_map carried = question.result()->carried;

    SUBCASE("known already") {
        CHECK_FALSE(question.may_try_elsewhere(carried, {"deadlock_timeout"}));
        CHECK_FALSE(question.stays());
    }
    SUBCASE("permitted") {
        REQUIRE(question.may_try_elsewhere(carried, {}));
        question.try_elsewhere(carried, out, owed);
        CHECK(question.ready_came());
        CHECK_FALSE(question.may_try_elsewhere(carried, {}));
        CHECK(question.tried() == carried);
        CHECK_FALSE(question.stays());
    }
    SUBCASE("refused") {
        REQUIRE(question.may_try_elsewhere(carried, {}));
        question.try_elsewhere(carried, out, owed);
        question.fail();
        CHECK(question.ready_came());
        CHECK(question.stays());
    }
    CHECK(question.result()->session == carried); // as it was told
}
