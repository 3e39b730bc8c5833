// What stands behind a text that resets what the client asked for at its start.
#include "protocol/start_up_settings.hpp"

#include "tests/support/shared_server_client.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace pgweir::protocol;
using namespace pgweir::test;

namespace {

std::string message(char type, std::string_view body = {}) {
    std::string out;
    message_writer(out).begin(type).raw(body).end();
    return out;
}
std::string z(std::string_view text) { return std::string(text) + '\0'; }
std::string query(std::string_view sql) { return message('Q', z(sql)); }
std::string parse(std::string_view sql, std::string_view name = {}) {
    return message('P', z(name) + z(sql) + std::string(2, '\0'));
}
std::string bind(std::string_view name = {}, std::string_view portal = {}) {
    return message('B', z(portal) + z(name) + std::string(6, '\0'));
}
std::string execute(std::string_view portal = {}) {
    return message('E', z(portal) + std::string(4, '\0'));
}
const std::string sync_message = message('S');

std::string behind(std::string_view sql, const setting_map& at_start) {
    std::string out;
    for (const auto& statement : restoring_statements(sql, at_start)) {
        out += (out.empty() ? "" : "; ") + statement;
    }
    return out;
}

const setting_map start = {{"a", "1"}, {"app.user", "u"}, {"role", "r"}};

// A client with start-up settings, on a server that is everybody's.
struct client_of : shared_server_client {
    client_of() {
        settings = {{"a", "1"}};
        link.at_start = &settings;
        status = transaction_status::in_transaction;
    }
};

} // namespace

TEST_CASE("start_up_settings: what a text resets") {
    struct row {
        const char* sql;
        const char* behind;
    };
    constexpr row rows[] = {
        {"RESET a", "SET \"a\" TO '1'"},
        {"set A to default;", "SET \"a\" TO '1'"},
        {"RESET app.user", "SET \"app\".\"user\" TO 'u'"},
        {"RESET ROLE", "SET \"role\" TO 'r'"},
        {"RESET SESSION AUTHORIZATION", "SET \"role\" TO 'r'"},
        {"RESET ALL", "SET \"a\" TO '1'; SET \"app\".\"user\" TO 'u'"},
        {"RESET b; SET c = 1; RESET a", "SET \"a\" TO '1'"},
        {"RESET ALL; SET a = 2", "SET \"app\".\"user\" TO 'u'"},
        {"SET a = 2; RESET a", "SET \"a\" TO '1'"},
        // Nothing of the client's.
        {"RESET b", ""},
        {"SET a = 2", ""},
        {"", ""},
        {"RESET a; SET a = 2", ""},
        // It may do more, or not do it.
        {"RESET a; SELECT 1", ""},
        {"RESET a; COMMIT", ""},
        {"SAVEPOINT s; RESET a; ROLLBACK TO s", ""},
        {"SET LOCAL a = 2; RESET ALL", ""},
        {"DO $$ begin reset a; end $$", ""},
        {"DISCARD ALL", ""},
        {"SELECT set_config('a', null, false)", ""},
    };
    for (const auto& [sql, expected] : rows) {
        CAPTURE(std::string(sql));
        CHECK(behind(sql, start) == expected);
    }
    CHECK(behind("RESET ALL", {}).empty());
}

TEST_CASE("start_up_settings: values are spelled so that SET makes of them what they are") {
    const auto of = [](const char* name, const char* value) {
        return behind("RESET ALL", {{name, value}});
    };
    CHECK(of("a", "it's") == "SET \"a\" TO 'it''s'");
    CHECK(of("a", "\\'") == "SET \"a\" TO E'\\\\'''");
    CHECK(of("datestyle", "SQL, DMY") == "SET \"datestyle\" TO 'SQL, DMY'");
    // Of a list of names SET takes each by itself, and writes it down in its own way.
    CHECK(of("search_path", "\"$user\", public") == "SET \"search_path\" TO '$user', 'public'");
    CHECK(of("search_path", "\"A \"\"b\"\"\"") == "SET \"search_path\" TO 'A \"b\"'");
    for (const char* const other : {"", "a,b", "A", "a ,b", "\"a\"", "\"A", "a, ", "\"A\"b"}) {
        CAPTURE(std::string(other));
        CHECK(of("search_path", other) ==
              "SELECT pg_catalog.set_config('search_path', '" + std::string(other) + "', false)");
    }
}

TEST_CASE("start_up_settings: behind a Query in a transaction block") {
    client_of c;
    c.send(query("RESET a") + query("SELECT 1"));
    CHECK(c.sink.text == query("RESET a") + query("SET \"a\" TO '1';") + query("SELECT 1"));
    CHECK(c.owed.owed_ready(fate::forward) == 2);
    CHECK(c.owed.owed_ready(fate::swallow) == 1);
    c.sent();
    c.answer("CZCZTDCZ");
    CHECK(c.owed.empty());
    // PostgreSQL will tell.
    CHECK(c.session.changed_settings().names.at("a") == setting_changes::how::set);
    // RESET has failed, and so does what is behind it.
    c.send(query("RESET a"));
    c.answer("EZEZ");
    CHECK(c.owed.empty());
}

TEST_CASE("start_up_settings: not where there is no transaction, or it has failed") {
    for (const auto status : {transaction_status::idle, transaction_status::failed}) {
        client_of c;
        c.status = status;
        c.send(query("RESET a"));
        CHECK(c.sent() == "Q");
        CHECK(c.session.changed_settings().names.at("a") == setting_changes::how::reset);
    }
    client_of plain;
    plain.settings.clear();
    plain.send(query("RESET ALL") + parse("RESET ALL") + bind() + execute() + sync_message);
    CHECK(plain.sent() == "QPBES");
}

TEST_CASE("start_up_settings: whether there is a transaction is waited for") {
    client_of c;
    c.status = transaction_status::idle;
    const auto both = query("BEGIN") + query("RESET a");
    auto step = c.send(both);
    CHECK(step.why == client_step::stop::awaiting_answer);
    CHECK(c.sent() == "Q");
    c.answer("CZ");
    c.status = transaction_status::in_transaction;
    c.cancel_under_way = true;
    step = c.send(query("RESET a"));
    CHECK(step.why == client_step::stop::awaiting_answer);
    CHECK(step.taken_bytes == 0);
    c.cancel_under_way = false;
    c.send(query("RESET a"));
    CHECK(c.sent() == "QQ");
    // What waited, and finds no transaction any more, leaves nothing behind for others.
    client_of d;
    d.owed.sent(frontend::query);
    d.send(query("RESET a"));
    d.answer("CZ");
    d.status = transaction_status::idle;
    d.send(query("RESET a"));
    d.answer("CZ");
    d.status = transaction_status::in_transaction;
    d.send(query("SELECT 1"));
    CHECK(d.sent() == "QQ");
    // In a COPY nothing is waited for.
    client_of copying;
    copying.send(query("COPY t FROM STDIN"));
    copying.answer("G");
    CHECK(copying.send(query("RESET a")).taken_bytes != 0);
}

TEST_CASE("start_up_settings: behind an Execute, in its batch") {
    for (const auto status : {transaction_status::idle, transaction_status::in_transaction}) {
        client_of c;
        c.status = status;
        c.send(parse("RESET a") + bind() + message('D', z("P")) + execute() + parse("SHOW a") +
               bind() + execute() + sync_message);
        CHECK(c.sent() == "PBDECPBECCPBES");
        CHECK(c.session.changed_settings().names.at("a") == setting_changes::how::set);
        c.answer("12nC312C3312DCZ");
        CHECK(c.owed.empty());
    }
    client_of c;
    // By name, and by another portal's.
    c.send(parse("RESET a", "n") + sync_message);
    c.sent();
    c.answer("31Z");
    c.send(bind("n", "p") + execute("q") + execute("p") + execute("p") + sync_message);
    CHECK(c.sent() == "BEECPBECCES");
    c.answer("2EZ");
    CHECK(c.owed.empty());
    // Parsed long before.
    c.send(parse("RESET a") + sync_message);
    c.answer("1Z");
    c.sent();
    c.send(bind() + execute() + sync_message);
    CHECK(c.sent() == "BECPBECCS");
    c.answer("2C312C33Z");
    // Something else is bound before it is executed.
    c.send(parse("RESET a") + bind() + parse("SELECT 1") + bind() + execute() + sync_message);
    CHECK(c.sent() == "PBPBES");
}

TEST_CASE("start_up_settings: that it cannot be set is the client's to hear") {
    client_of c;
    c.send(parse("RESET a") + bind() + execute() + sync_message);
    c.answer("12C312");
    CHECK(c.owed.where(backend::error_response) == fate::forward);
    c.answer("EZ");
    CHECK(c.owed.empty());
}
