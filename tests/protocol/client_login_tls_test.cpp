// Tests of protocol/client_login.hpp: TLS, from the request for it to the first packet inside.
#include "tests/protocol/login_script.hpp"

#include <algorithm>

using namespace login_script;
using namespace std::string_literals;

namespace {

const auto ssl = untyped(ssl_request_code);
const auto gss = untyped(gssenc_request_code);
const auto ann = startup({{"user", "ann"}, {"database", "club"}});
const auto hello = "\x16"s; // all that is seen here of a ClientHello

client_login::options offering(auth_method method = auth_method::trust) {
    auto opts = client_options(method);
    opts.tls_offered = true;
    return opts;
}

client_side side_of(client_login::options opts) { return {std::move(opts), {{"ann", "pencil"}}}; }

/// A client that has been through a handshake.
client_side secured(client_login::options opts = offering(), bool direct = false,
                    const tls_facts& facts = plain_facts("postgresql")) {
    auto side = side_of(std::move(opts));
    REQUIRE(side.feed(direct ? hello : ssl));
    REQUIRE(side.tls);
    REQUIRE(side.tls->direct == direct);
    side.secure(facts);
    return side;
}

void check_silent(const client_side& side) {
    REQUIRE(side.refused);
    CHECK(side.refused->data.empty());
    CHECK_FALSE(side.refused->log_reason.empty());
    CHECK(side.looked_up.empty());
}

error_fields error_of(const client_side& side) {
    REQUIRE(side.refused);
    const auto wire = as_bytes(side.refused->data);
    REQUIRE(wire.size() > header_bytes);
    return read_error_fields(wire.subspan(header_bytes));
}

} // namespace

TEST_CASE("SSLRequest is answered S, then TLS begins, then the startup message") {
    for (const bool gss_first : {false, true}) {
        auto side = side_of(offering());
        if (gss_first) {
            CHECK(side.feed(gss));
        }
        CHECK(side.feed(ssl));
        CHECK(side.sent == (gss_first ? "NS" : "S"));
        REQUIRE(side.tls);
        CHECK_FALSE(side.tls->direct);
        CHECK(side.login().facts() == nullptr);
        CHECK(side.secure(plain_facts()));
        REQUIRE(side.login().facts() != nullptr);
        CHECK_FALSE(side.login().facts()->direct);
        side.feed(ann);
        CHECK(side.done);
        REQUIRE(side.asked_about.size() == 1);
        CHECK(side.asked_about[0].tls);
    }
}

TEST_CASE("direct TLS: a ClientHello first, left where it is") {
    auto side = side_of(offering());
    CHECK(side.feed(hello + ann));
    REQUIRE(side.tls);
    CHECK(side.tls->direct);
    CHECK(side.sent.empty());
    CHECK(side.unread() == hello + ann);
    side.secure(plain_facts("postgresql"));
    CHECK(side.login().facts()->direct);
    CHECK(side.done);
}

TEST_CASE("who is looked up is said to come in the clear, or not, and what for") {
    auto side = side_of(offering());
    side.feed(startup({{"user", "ann"}, {"replication", "true"}}));
    REQUIRE(side.asked_about.size() == 1);
    CHECK_FALSE(side.asked_about[0].tls);
    CHECK(side.asked_about[0].replication == replication_kind::physical);
    CHECK(side.login().facts() == nullptr);
}

TEST_CASE("without TLS on offer: N, and a ClientHello is nobody's") {
    auto side = side_of(client_options(auth_method::trust));
    side.feed(ssl);
    CHECK(side.sent == "N");
    auto direct = side_of(client_options(auth_method::trust));
    direct.feed("\x16\x03\x01\x02\x00\x01\x00\x01"s);
    check_silent(direct);
}

TEST_CASE("a ClientHello in the clear is one as the very first byte only") {
    auto side = side_of(offering());
    CHECK(side.feed(gss));
    CHECK(side.sent == "N");
    side.feed("\x16\x03\x01\x02\x00\x01\x00\x01"s);
    check_silent(side);
    auto within = secured();
    within.feed("\x16\x03\x01\x02\x00\x01\x00\x01"s);
    check_silent(within);
}

TEST_CASE("PG 2026-14681, 2026-6479: inside TLS there is no request for encryption of any kind") {
    for (const bool direct : {false, true}) {
        for (const auto& request : {ssl, gss}) {
            CAPTURE(direct);
            auto side = secured(offering(), direct);
            side.feed(request);
            const auto fields = error_of(side);
            CHECK(fields.sqlstate == "0A000");
            CHECK(fields.message.find("unsupported frontend protocol 1234.56") == 0);
            CHECK(side.looked_up.empty());
        }
    }
    // Nor does GSSENCRequest, SSLRequest, TLS leave room for another of either.
    for (const auto& request : {ssl, gss}) {
        auto side = side_of(offering());
        side.feed(gss);
        side.feed(ssl);
        side.secure(plain_facts());
        side.feed(request);
        CHECK(error_of(side).sqlstate == "0A000");
    }
}

TEST_CASE("PG 2026-14681: ALPN is PostgreSQL's, or nobody's where an SSLRequest went before") {
    struct row {
        std::string alpn;
        bool direct, taken;
    };
    for (const auto& each :
         {row{"", false, true}, row{"postgresql", false, true}, row{"postgresql", true, true},
          row{"", true, false}, row{"http/1.1", false, false}, row{"http/1.1", true, false},
          row{"h2", true, false}, row{"PostgreSQL", true, false}, row{"postgresql2", true, false},
          row{"postgresq", false, false}, row{"postgresql\0"s, true, false},
          row{"\x1b[2J", false, false}}) {
        CAPTURE(each.alpn);
        CAPTURE(each.direct);
        auto side = secured(offering(), each.direct, plain_facts(each.alpn));
        CHECK(side.over() == !each.taken);
        if (each.taken) {
            side.feed(ann);
            CHECK(side.done);
        } else {
            check_silent(side);
            CHECK(printable(side.refused->log_reason) == side.refused->log_reason);
            CHECK_FALSE(side.feed(ann));
            CHECK(side.looked_up.empty());
        }
    }
}

TEST_CASE(
    "2021-3935, 2021-43766, 2021-23214: bytes behind an SSLRequest, also where TLS is on offer") {
    for (const auto& smuggled :
         {message('Q', "SELECT 1\0"s), ann, hello, "x"s, ssl, gss, password_message("pencil")}) {
        CAPTURE(smuggled);
        auto side = side_of(offering());
        side.feed(ssl + smuggled);
        const auto fields = error_of(side);
        CHECK(fields.sqlstate == "08P01");
        CHECK(fields.message == "received unencrypted data after SSL request");
        CHECK_FALSE(side.tls);
        CHECK(side.looked_up.empty());
    }
}

TEST_CASE("2021-3935: bytes that came while S was being sent do not get behind TLS either") {
    client_login login(offering());
    auto in = as_bytes(ssl);
    REQUIRE(std::holds_alternative<login_write>(login.resume(in)));
    REQUIRE(in.empty());
    in = as_bytes(ann);
    const auto action = login.resume(in);
    REQUIRE(std::holds_alternative<login_refuse>(action));
    CHECK(std::get<login_refuse>(action).data.empty());
    CHECK(in.size() == ann.size());
}

TEST_CASE("2021-3935: while the handshake runs, nothing of the buffer is used") {
    for (const bool direct : {false, true}) {
        auto side = side_of(offering());
        side.feed(direct ? hello : ssl);
        const auto before = side.unread().size();
        CHECK(side.feed(ann));
        CHECK(side.unread().size() == before + ann.size());
        CHECK(side.looked_up.empty());
    }
}

TEST_CASE("TLS is required: nobody logs in without, but anybody may cancel") {
    auto opts = offering();
    opts.tls_required = true;
    auto clear = side_of(opts);
    clear.feed(ann);
    const auto fields = error_of(clear);
    CHECK(fields.sqlstate == "28000");
    CHECK(fields.message == "connection requires TLS");
    CHECK(clear.looked_up.empty());

    auto safe = secured(opts);
    safe.feed(ann);
    CHECK(safe.done);

    auto cancel = side_of(opts);
    cancel.feed(untyped(cancel_request_code, "\0\0\1\2key!"s));
    CHECK(cancel.cancelled);
}

TEST_CASE("a cancel request comes through TLS as well") {
    for (const bool direct : {false, true}) {
        auto side = secured(offering(), direct);
        side.feed(untyped(cancel_request_code, "\0\0\1\2key!"s));
        REQUIRE(side.cancelled);
        CHECK(side.cancelled->request.target.key == "key!");
    }
}

TEST_CASE("a login through TLS, split at every byte, comes out the same") {
    for (const auto method : {auth_method::trust, auth_method::password}) {
        const std::vector<std::string> script =
            method == auth_method::trust ? std::vector{gss, ssl, ann}
                                         : std::vector{ssl, ann, password_message("pencil")};
        split_at_every_byte(
            script,
            [&] {
                auto side = side_of(offering(method));
                side.handshake = plain_facts();
                return side;
            },
            [](const client_side& side) {
                REQUIRE(side.done);
                REQUIRE(side.tls);
            });
    }
}

TEST_CASE("2015-4054: any other message as the first one, in the clear or inside TLS") {
    for (const bool tls : {false, true}) {
        for (int type = 0; type < 256; ++type) {
            if (type == 0 || type == 0x16) {
                continue; // a length, a ClientHello
            }
            CAPTURE(tls);
            CAPTURE(type);
            auto side = tls ? secured() : side_of(offering());
            side.feed(message(static_cast<char>(type), "pencil\0"s));
            check_silent(side);
        }
    }
}

TEST_CASE("the deadline passes in silence before and during the handshake, and inside TLS") {
    auto asked = side_of(offering());
    asked.feed(ssl);
    CHECK_FALSE(asked.time_out());
    check_silent(asked);
    auto direct = side_of(offering());
    direct.feed(hello);
    CHECK_FALSE(direct.time_out());
    check_silent(direct);
    auto inside = secured();
    inside.feed(ann.substr(0, 9));
    CHECK_FALSE(inside.time_out());
    check_silent(inside);
    CHECK(inside.refused->code == error::login_timeout);
}

TEST_CASE("a handshake that nobody asked for is refused, not believed") {
    const auto refused = [](client_login& login) {
        return std::holds_alternative<login_refuse>(login.secured(plain_facts("postgresql")));
    };
    client_login early(offering());
    CHECK(refused(early));
    client_login before_the_answer(offering()); // S is on its way
    auto in = as_bytes(ssl);
    REQUIRE(std::holds_alternative<login_write>(before_the_answer.resume(in)));
    CHECK(refused(before_the_answer));
    client_login in_the_clear(offering());
    in = as_bytes(ann);
    REQUIRE(std::holds_alternative<login_find_user>(in_the_clear.resume(in)));
    CHECK(refused(in_the_clear));
    client_login twice(offering());
    in = as_bytes(hello);
    REQUIRE(std::holds_alternative<login_start_tls>(twice.resume(in)));
    REQUIRE(std::holds_alternative<login_read>(twice.secured(plain_facts("postgresql"))));
    CHECK(refused(twice));
}
