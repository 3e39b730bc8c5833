// Texts that speak of channels, or notify, from a client whose channels are listened to elsewhere.
#include "protocol/channel_use.hpp"

#include "protocol/relay.hpp"
#include "tests/support/text_sink.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace pgweir::protocol;
using namespace pgweir::test;
using stop = client_step::stop;

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
std::string bind(std::string_view name = {}) {
    return message('B', z("") + z(name) + std::string(6, '\0'));
}
const std::string execute = message('E', z("") + std::string(4, '\0'));
const std::string sync_message = message('S');

struct listener {
    client_step send(std::string_view bytes) {
        statement_link link{.mine = mine,
                            .there = there,
                            .table = table,
                            .settings = settings,
                            .per_server = 10,
                            .counted = counted};
        link.channels = listens ? &use : nullptr;
        const auto step = stream.forward(as_bytes(bytes), false, sink, owed, session, &link);
        sink.text.clear();
        return step;
    }
    void answer(std::string_view types) {
        for (const char type : types) {
            CHECK(owed.received(static_cast<backend>(type)).what != reply::kind::unexpected);
        }
        there.apply(owed.outcomes(), &mine);
        owed.clear_outcomes();
    }

    statement_table table{"key", 1'000'000};
    client_statements mine{table};
    server_statements there;
    reply_queue owed;
    session_state session;
    setting_map settings;
    statement_link::counts counted;
    client_stream stream;
    text_sink sink;
    channel_use use;
    bool listens = true;
};

} // namespace

TEST_CASE("channel_use: nothing is sent behind a text that speaks of channels") {
    listener client;
    const auto first = query("UNLISTEN a");
    const auto both = first + query("ROLLBACK TO s");
    const auto step = client.send(both);
    CHECK(step.taken_bytes == first.size());
    CHECK(step.why == stop::awaiting_answer);
    CHECK(client.use.spoken_of);
    CHECK(client.use.unlistens == std::vector<unlisten>{{"a"}});
    CHECK_FALSE(client.session.pinned()); // that is its user's to decide
}

TEST_CASE("channel_use: … of the extended protocol, before its Sync") {
    listener client;
    const auto batch = parse("NOTIFY a") + bind() + execute + sync_message;
    for (std::size_t cut = 0; cut < batch.size(); ++cut) {
        CAPTURE(cut);
        listener one;
        auto taken = one.send(std::string_view(batch).substr(0, cut)).taken_bytes;
        const auto step = one.send((batch + query("SELECT 1")).substr(taken));
        CHECK(taken + step.taken_bytes == batch.size());
        CHECK(one.use.notified);
        CHECK_FALSE(one.use.spoken_of);
    }
}

TEST_CASE("channel_use: it is sent when all before it has been answered") {
    listener client;
    const auto before = query("SELECT 1");
    const auto step = client.send(before + query("UNLISTEN *"));
    CHECK(step.taken_bytes == before.size());
    CHECK(step.why == stop::awaiting_answer);
    CHECK_FALSE(client.use.spoken_of);
    client.answer("TDCZ");
    CHECK(client.send(query("UNLISTEN *")).why == stop::awaiting_answer);
    CHECK(client.use.unlistens == std::vector<unlisten>{{}});
}

TEST_CASE("channel_use: the server is to listen to the client's channels first") {
    for (const auto* sql : {"UNLISTEN a", "SELECT pg_listening_channels()"}) {
        CAPTURE(sql);
        listener client;
        client.use.missing = true;
        CHECK(client.send(query(sql)).why == stop::channels_first);
        CHECK(client.send(query(sql)).taken_bytes == 0);
        CHECK(client.send(parse(sql)).why == stop::channels_first);
        client.use.missing = false;
        CHECK(client.send(query(sql)).taken_bytes == query(sql).size());
    }
    listener client;
    client.use.missing = true;
    CHECK(client.send(query("NOTIFY a")).taken_bytes != 0);
    // Code that puts together what it carries out may say UNLISTEN.
    CHECK(client.send(query("DO $$ BEGIN EXECUTE current_setting('a.b'); END $$")).taken_bytes ==
          0);
}

TEST_CASE("channel_use: what a named statement says is carried out when it is bound") {
    listener client;
    const auto prepare = parse("UNLISTEN a", "s") + sync_message;
    CHECK(client.send(prepare).taken_bytes == prepare.size());
    CHECK_FALSE(client.use.spoken_of);
    client.answer("31Z");
    const auto use = bind("s") + execute + sync_message;
    CHECK(client.send(use).taken_bytes == use.size());
    CHECK(client.use.unlistens == std::vector<unlisten>{{"a"}});
}

TEST_CASE("channel_use: a client that listens to nothing is not concerned") {
    listener client;
    client.listens = false;
    const auto all = query("UNLISTEN *") + query("NOTIFY a") + query("SELECT 1");
    CHECK(client.send(all).taken_bytes == all.size());
    CHECK_FALSE(client.session.pinned());

    // Nor does it pay for a text that has been seen before.
    client.answer("CZCZTDCZ");
    const auto batch = parse("SELECT pg_notify($1, $2)") + bind() + execute + sync_message;
    CHECK(client.send(batch).taken_bytes == batch.size());
    client.answer("12DCZ");
    const auto body = as_bytes(batch).subspan(header_bytes + 1);
    CHECK(client.mine.unnamed_was_plain(
        body.first(parse("SELECT pg_notify($1, $2)").size() - header_bytes - 1), 0));
    client.mine.unnamed_is_to_be_read(); // now it listens
    client.listens = true;
    CHECK(client.send(batch).taken_bytes == batch.size());
    CHECK(client.use.notified);
}
