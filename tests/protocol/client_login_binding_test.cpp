// Tests of protocol/client_login.hpp: SCRAM-SHA-256-PLUS, and the keys that a proof leaves.
#include "tests/protocol/login_script.hpp"

#include <algorithm>

using namespace login_script;
using namespace std::string_literals;

namespace {

constexpr auto plus = "SCRAM-SHA-256-PLUS";
constexpr auto plain = "SCRAM-SHA-256";
const auto ann = startup({{"user", "ann"}});
const std::string our_hash(32, 'h'); // plain_facts()

/// A client with SCRAM as its method, through TLS if `facts`, that has been asked for SASL.
client_side asked(const std::optional<tls_facts>& facts = plain_facts(),
                  std::string stored = stored_scram("pencil"), std::string_view user = "ann") {
    auto opts = client_options(auth_method::scram_sha_256);
    opts.tls_offered = true;
    client_side side(std::move(opts), {{"ann", std::move(stored)}});
    if (facts) {
        side.handshake = facts;
        side.feed(untyped(ssl_request_code));
        side.sent.clear(); // the S
    }
    side.feed(startup({{"user", std::string(user)}}));
    REQUIRE_FALSE(side.over());
    return side;
}

std::string last_body(const client_side& side) {
    const auto frames = frames_in(side.sent);
    REQUIRE_FALSE(frames.empty());
    return frames.back().body;
}

/// The rest of the exchange, as `client` has it.
void finish(client_side& side, scram_client_exchange client, const char* mechanism,
            std::string_view password = "pencil") {
    const auto first = client.client_first();
    side.feed(sasl_initial(mechanism, first, static_cast<std::uint32_t>(first.size())));
    if (side.over()) {
        return;
    }
    REQUIRE_FALSE(client.read_server_first(last_body(side).substr(4)));
    side.feed(
        message('p', client.client_final(derive_salted_password(
                         secret(std::string(password)), client.salt(), client.iterations()))));
    if (side.done) { // we have proven ourselves as well, for the same binding
        const auto frames = frames_in(side.sent);
        REQUIRE(frames.size() >= 2);
        CHECK_FALSE(client.read_server_final(frames[frames.size() - 2].body.substr(4)));
    }
}

scram_client_exchange speaking(scram_binding::flag flag, std::string hash = {}) {
    return scram_client_exchange("client-nonce", {flag, std::move(hash)});
}

void check_refused(const client_side& side, std::string_view sqlstate, std::string_view text,
                   std::string_view detail = {}) {
    REQUIRE(side.refused);
    CHECK_FALSE(side.done);
    const auto fields = read_error_fields(as_bytes(side.refused->data).subspan(header_bytes));
    CHECK(fields.fatal());
    CHECK(fields.sqlstate == sqlstate);
    CHECK(fields.message == text);
    CHECK(fields.detail == detail);
}

} // namespace

TEST_CASE("-PLUS is offered first, through TLS, where the certificate has a hash") {
    CHECK(last_body(asked()) == "\0\0\0\12SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"s);
    CHECK(last_body(asked(std::nullopt)) == "\0\0\0\12SCRAM-SHA-256\0\0"s);
    auto ed25519 = plain_facts();
    ed25519.end_point_hash.clear();
    CHECK(last_body(asked(ed25519)) == "\0\0\0\12SCRAM-SHA-256\0\0"s);
}

TEST_CASE("a login that is bound, or says that it cannot be, gets in") {
    for (const auto& stored : {stored_scram("pencil"), "pencil"s}) {
        auto bound = asked(plain_facts(), stored);
        finish(bound, speaking(scram_binding::flag::bound, our_hash), plus);
        CHECK(bound.done);
        auto cannot = asked(plain_facts(), stored);
        finish(cannot, speaking(scram_binding::flag::none), plain);
        CHECK(cannot.done);
    }
    // Any length of hash: it is that of the certificate's signature.
    for (const std::size_t length : {1U, 20U, 48U, 64U}) {
        auto facts = plain_facts();
        facts.end_point_hash.assign(length, '\xff');
        auto side = asked(facts);
        finish(side, speaking(scram_binding::flag::bound, facts.end_point_hash), plus);
        CHECK(side.done);
    }
}

TEST_CASE("a bound login with a wrong password fails as any") {
    auto side = asked();
    finish(side, speaking(scram_binding::flag::bound, our_hash), plus, "pencils");
    check_refused(side, "28P01", "password authentication failed for user \"ann\"");
}

TEST_CASE("no enumeration: -PLUS shows an unknown user what it shows a known one") {
    auto known = asked(plain_facts(), md5_stored_form("pencil", "ann"));
    finish(known, speaking(scram_binding::flag::bound, our_hash), plus, "wrong");
    client_side unknown(
        [] {
            auto opts = client_options(auth_method::scram_sha_256);
            opts.tls_offered = true;
            return opts;
        }(),
        {});
    unknown.handshake = plain_facts();
    unknown.feed(untyped(ssl_request_code));
    unknown.sent.clear();
    unknown.feed(ann);
    finish(unknown, speaking(scram_binding::flag::bound, our_hash), plus, "wrong");
    CHECK(known.sent == unknown.sent);
    CHECK(unknown.refused);
}

TEST_CASE("pgjdbc 2025-49146: a client that was told of no -PLUS (y) is told that there is one") {
    auto side = asked();
    finish(side, speaking(scram_binding::flag::not_offered), plain);
    check_refused(side, "28000", "SCRAM channel binding negotiation error",
                  "The client supports SCRAM channel binding but thinks the server does not.  "
                  "However, this server does support channel binding.");
    CHECK(side.refused->unproven);
    // … and let in where there is none.
    auto ed25519 = plain_facts();
    ed25519.end_point_hash.clear();
    for (const auto& facts : {std::optional<tls_facts>{}, std::optional(ed25519)}) {
        auto without = asked(facts);
        finish(without, speaking(scram_binding::flag::not_offered), plain);
        CHECK(without.done);
    }
}

TEST_CASE("a login bound to another certificate is somebody in between") {
    for (const auto& other : {""s, std::string(31, 'h'), std::string(33, 'h'),
                              std::string(31, 'h') + "g", "tls-server-end-point"s}) {
        CAPTURE(other);
        auto side = asked();
        finish(side, speaking(scram_binding::flag::bound, other), plus);
        check_refused(side, "28000", "SCRAM channel binding check failed");
        CHECK(side.refused->unproven);
    }
}

TEST_CASE("mechanism and flag have to agree") {
    constexpr std::string_view malformed = "malformed SCRAM message";
    for (const auto flag : {scram_binding::flag::none, scram_binding::flag::not_offered}) {
        auto side = asked();
        finish(side, speaking(flag), plus);
        check_refused(side, "08P01", malformed,
                      "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not "
                      "include channel binding data.");
    }
    for (const auto& facts : {std::optional<tls_facts>{}, std::optional(plain_facts())}) {
        auto side = asked(facts);
        finish(side, speaking(scram_binding::flag::bound, our_hash), plain);
        check_refused(side, "08P01", malformed,
                      "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM "
                      "message includes channel binding data.");
    }
    auto clear = asked(std::nullopt);
    finish(clear, speaking(scram_binding::flag::bound, our_hash), plus);
    check_refused(clear, "08P01", "client selected an invalid SASL authentication mechanism");
}

TEST_CASE("client-first-messages of -PLUS: what is taken and what is not") {
    struct row {
        std::string first;
        std::string_view sqlstate; // empty: taken
    };
    for (const auto& each :
         {row{"p=tls-server-end-point,,n=,r=abc", ""},
          row{"p=tls-server-end-point,,n=,r=abc,x=y", ""},
          row{"p=tls-server-end-point,a=admin,n=,r=abc", "0A000"},
          row{"p=tls-unique,,n=,r=abc", "08P01"}, row{"p=tls-exporter,,n=,r=abc", "08P01"},
          row{"p=,,n=,r=abc", "08P01"}, row{"p,,n=,r=abc", "08P01"}, row{"p", "08P01"},
          row{"p=tls-server-end-point", "08P01"}, row{"p=tls-server-end-point,", "08P01"},
          row{"p=tls-server-end-point,n=,r=abc", "08P01"},
          row{"p=tls-server-end-pointx,,n=,r=abc", "08P01"},
          row{"p=tls-server-end-point,,r=abc", "08P01"},
          row{"p=tls-server-end-point\0,,n="s, "08P01"}, row{"n,,n=,r=abc", "08P01"},
          row{"x,,n=,r=abc", "08P01"}}) {
        CAPTURE(each.first);
        auto side = asked();
        side.feed(sasl_initial(plus, each.first, static_cast<std::uint32_t>(each.first.size())));
        CHECK(side.over() == !each.sqlstate.empty());
        if (side.refused) {
            const auto fields =
                read_error_fields(as_bytes(side.refused->data).subspan(header_bytes));
            CHECK(fields.sqlstate == each.sqlstate);
        }
    }
}

TEST_CASE("-PLUS without a first message, then with one") {
    auto side = asked();
    side.feed(sasl_initial(plus, "", 0xffffffff));
    CHECK(last_body(side) == "\0\0\0\13"s);
    auto client = speaking(scram_binding::flag::bound, our_hash);
    side.feed(message('p', client.client_first()));
    REQUIRE_FALSE(client.read_server_first(last_body(side).substr(4)));
    side.feed(message('p', client.client_final(derive_salted_password(
                               secret("pencil"), client.salt(), client.iterations()))));
    CHECK(side.done);
}

TEST_CASE("a proof leaves the keys that log in to PostgreSQL, where a verifier is stored") {
    const auto verifier = *parse_scram_verifier(stored_scram("pencil"));
    const auto expected = make_scram_keys(
        derive_salted_password(secret("pencil"), verifier.salt, verifier.iterations), verifier.salt,
        verifier.iterations);
    for (const bool bound : {false, true}) {
        auto side = asked();
        finish(side,
               bound ? speaking(scram_binding::flag::bound, our_hash)
                     : speaking(scram_binding::flag::none),
               bound ? plus : plain);
        REQUIRE(side.done);
        REQUIRE(side.done->keys);
        CHECK(side.done->keys->client_key.equals(expected.client_key.reveal()));
        CHECK(side.done->keys->server_key.equals(expected.server_key.reveal()));
        CHECK(side.done->keys->salt == verifier.salt);
        CHECK(side.done->keys->iterations == verifier.iterations);
        CHECK(side.done->password.empty());
        CHECK(side.derivations == 0);
    }
    // From a plaintext secret, the salt is ours: no server has it.
    auto plaintext = asked(plain_facts(), "pencil");
    finish(plaintext, speaking(scram_binding::flag::none), plain);
    REQUIRE(plaintext.done);
    CHECK_FALSE(plaintext.done->keys);
}
