// What a client's welcome says where no server is asked.
#include "protocol/accepted_settings.hpp"

#include <doctest/doctest.h>

using namespace pgweir::protocol;

namespace {

const reported_parameters plain = {{"application_name", ""},
                                   {"DateStyle", "ISO, MDY"},
                                   {"TimeZone", "Europe/Berlin"},
                                   {"client_encoding", "UTF8"}};

} // namespace

TEST_CASE("accepted_settings: what was accepted once is known in any company") {
    accepted_settings accepted;
    const setting_map dutch = {{"datestyle", "dmy"}, {"statement_timeout", "5s"}};
    CHECK(!accepted.welcome_with(dutch, plain));

    auto reported = plain;
    reported["DateStyle"] = "ISO, DMY";
    CHECK(accepted.learn(dutch, reported));
    CHECK(accepted.welcome_with(dutch, plain) == reported);
    CHECK(accepted.welcome_with({{"datestyle", "dmy"}}, plain) == reported);
    CHECK(accepted.welcome_with({{"statement_timeout", "5s"}}, plain) == plain);
    CHECK(!accepted.welcome_with({{"statement_timeout", "6s"}}, plain));
    CHECK(!accepted.welcome_with({{"datestyle", "dmy"}, {"timezone", "UTC"}}, plain));

    CHECK(!accepted.learn(dutch, reported));
    reported["DateStyle"] = "German, DMY"; // it has been configured otherwise
    CHECK(accepted.learn(dutch, reported));
    CHECK(accepted.welcome_with(dutch, plain) == reported);
}

TEST_CASE("accepted_settings: an application's name is whatever it says") {
    const accepted_settings accepted;
    auto expected = plain;
    expected["application_name"] = "psql";
    CHECK(accepted.welcome_with({{"application_name", "psql"}}, plain) == expected);
    CHECK(!accepted.welcome_with({{"application_name", "caf\xc3\xa9"}}, plain));
    CHECK(!accepted.welcome_with({{"application_name", std::string(64, 'x')}}, plain));
    CHECK(!accepted.welcome_with({{"application_name", "psql"}}, {})); // an old PostgreSQL
}

TEST_CASE("accepted_settings: what is in effect anyway is accepted") {
    const accepted_settings accepted;
    CHECK(accepted.welcome_with({{"client_encoding", "UTF8"}, {"datestyle", "ISO, MDY"}}, plain) ==
          plain);
    CHECK(!accepted.welcome_with({{"client_encoding", "utf8"}}, plain));
}

TEST_CASE("accepted_settings: who one is decides what may be set") {
    accepted_settings accepted;
    const setting_map as_admin = {{"role", "admin"}, {"log_statement", "all"}};
    CHECK(!accepted.learn(as_admin, plain));
    CHECK(!accepted.welcome_with(as_admin, plain));
    CHECK(!accepted.welcome_with({{"log_statement", "all"}}, plain));
    CHECK(accepted.learn({{"log_statement", "none"}}, plain));
    CHECK(accepted.welcome_with({{"log_statement", "none"}}, plain) == plain);
    CHECK(!accepted.welcome_with({{"log_statement", "none"}, {"role", "admin"}}, plain));
}
