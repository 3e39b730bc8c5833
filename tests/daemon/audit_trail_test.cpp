// What is remembered of a server between two audits.
#include "daemon/engine/audit_trail.hpp"

#include <doctest/doctest.h>

#include <string>

using pgweir::daemon::audit_trail;

TEST_CASE("audit_trail: each statement once, the latest last, without literals") {
    audit_trail trail(true);
    trail.record("select 1");
    trail.record("set app.user = 'hunter2'");
    trail.record("select 2");
    trail.record("select f('hunter2')");
    trail.record("select 1");
    CHECK(trail.statements() == "set app.user = ? | select f(?) | select ?");
    trail.record("");
    CHECK(trail.statements() == "set app.user = ? | select f(?) | select ?");
}

TEST_CASE("audit_trail: it is bounded, and says what it has left out") {
    audit_trail trail(true);
    for (std::size_t i = 0; i < audit_trail::most_statements + 3; ++i) {
        trail.record("select " + std::string(i + 1, 'a'));
    }
    const auto text = trail.statements();
    CHECK(text.starts_with("3 before these | select aaaa | "));
    CHECK(text.find("select aaa |") == std::string::npos);
    // Cut anywhere, a literal is not shown.
    audit_trail other(true);
    other.record("select '" + std::string(2 * audit_trail::front_bytes, 'x'));
    CHECK(other.statements().find('x') == std::string::npos);
}

TEST_CASE("audit_trail: due after a lease, until it has been audited") {
    audit_trail trail(true);
    CHECK_FALSE(trail.due());
    trail.lease_ended();
    trail.postponed();
    CHECK(trail.due());
    trail.lease_ended();
    CHECK(trail.leases() == 2);
    CHECK(trail.times_postponed() == 1);
    trail.record("select f()");
    trail.begin_anew();
    CHECK_FALSE(trail.due());
    CHECK(trail.clean());
    CHECK(trail.leases() == 0);
    CHECK(trail.times_postponed() == 0);
    CHECK(trail.statements().empty());
}

TEST_CASE("audit_trail: of a server that may be unclean already, no statement is to blame") {
    audit_trail trail(false);
    trail.record("select f()");
    CHECK(trail.statements().empty());
    trail.begin_anew();
    trail.record("select f()");
    CHECK(trail.statements() == "select f()");
}
