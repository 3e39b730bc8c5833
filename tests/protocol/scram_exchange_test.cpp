// Tests of protocol/scram_exchange.hpp: RFC 7677's example word for word, and peers that do not
// keep to the grammar.
#include "protocol/scram_exchange.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::protocol;
using namespace std::string_literals;
using why = scram_failure::why;

namespace {

// RFC 7677, section 3: user "user", password "pencil".
const std::string rfc_client_nonce = "rOprNGfwEbeRWgbNEkqO";
const std::string rfc_server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const std::string rfc_nonce = rfc_client_nonce + rfc_server_nonce;
const std::string rfc_salt = *base64_decode("W22ZaJ0SNY7soEsUEjb6gQ==");
const std::string rfc_client_first = "n,,n=user,r=" + rfc_client_nonce;
const std::string rfc_server_first = "r=" + rfc_nonce + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const std::string rfc_client_final =
    "c=biws,r=" + rfc_nonce + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const std::string rfc_server_final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

scram_verifier verifier_of(const std::string& password) {
    return make_verifier(derive_salted_password(secret(password), rfc_salt, 4096), rfc_salt, 4096);
}

/// The server's end after the first two messages of RFC 7677.
scram_server_exchange begun() {
    scram_server_exchange server(rfc_server_nonce);
    REQUIRE_FALSE(server.read_client_first(rfc_client_first));
    REQUIRE(server.server_first(rfc_salt, 4096) == rfc_server_first);
    return server;
}

} // namespace

TEST_CASE("RFC 7677's example, from the server's end") {
    auto server = begun();
    CHECK_FALSE(server.read_client_final(rfc_client_final));
    CHECK(server.proven(verifier_of("pencil")));
    CHECK(server.server_final(verifier_of("pencil")) == rfc_server_final);
    CHECK_FALSE(server.proven(verifier_of("pencil ")));
    CHECK_FALSE(server.proven({}));
}

TEST_CASE("our client's end and our server's end agree, and only with the same password") {
    for (const std::string password : {"pencil", "", "p,=a\"s's", "пароль"}) {
        CAPTURE(password);
        scram_client_exchange client("client-nonce");
        scram_server_exchange server("server-nonce");
        REQUIRE_FALSE(server.read_client_first(client.client_first()));
        REQUIRE_FALSE(client.read_server_first(server.server_first("salt", 7)));
        CHECK(client.salt() == "salt");
        CHECK(client.iterations() == 7);
        const auto key = derive_salted_password(secret(password), "salt", 7);
        REQUIRE_FALSE(server.read_client_final(client.client_final(key)));
        const auto verifier = make_verifier(key, "salt", 7);
        CHECK(server.proven(verifier));
        CHECK_FALSE(client.read_server_final(server.server_final(verifier)));

        const auto other =
            make_verifier(derive_salted_password(secret(password + "x"), "salt", 7), "salt", 7);
        CHECK_FALSE(server.proven(other));
        const auto failure = client.read_server_final(server.server_final(other));
        REQUIRE(failure);
        CHECK(failure->reason == why::unproven);
    }
}

TEST_CASE("client-first-messages: what is taken and what is not") {
    struct row {
        std::string message;
        std::optional<why> expected;
    };
    const std::vector<row> rows{
        {"n,,n=,r=abc", {}},
        {"y,,n=,r=abc", {}}, // could bind, but we offer no -PLUS
        {"n,,n=any=2Cname,r=abc", {}},
        {"n,,n=,r=abc,x=extension", {}},
        {"p=tls-server-end-point,,n=,r=abc", why::malformed},
        {"p,,n=,r=abc", why::malformed},
        {"n,a=other,n=,r=abc", why::unsupported}, // 2015-6817: no other identity
        {"n,,m=ext,n=,r=abc", why::unsupported},
        {"", why::malformed},
        {"n", why::malformed},
        {"n,", why::malformed},
        {"n,,", why::malformed},
        {"n,,n=", why::malformed},
        {"n,,n=,", why::malformed},
        {"n,,r=abc", why::malformed},
        {"n,,n=,r=", why::malformed},
        {"n,,n=,r=abc,", why::malformed},
        {"n,,n=,r=abc,garbage", why::malformed},
        {"n,,n=,r=abc,1=x", why::malformed},
        {"n,,n=,r=a bc", why::malformed},
        {"n,,n=,r=a\x7f"
         "bc",
         why::malformed},
        {"n,,n=,r=\xc3\xa9", why::malformed},
        {"n,,n=,r=abc\0"s, why::malformed},
        {"N,,n=,r=abc", why::malformed},
        {"nn,n=,r=abc", why::malformed},
        {",,n=,r=abc", why::malformed},
    };
    for (const auto& each : rows) {
        const auto& message = each.message;
        const auto& expected = each.expected;
        CAPTURE(message);
        scram_server_exchange server("s");
        const auto failure = server.read_client_first(message);
        CHECK(failure.has_value() == expected.has_value());
        if (failure && expected) {
            CHECK(failure->reason == *expected);
        }
    }
}

TEST_CASE("client-final-messages: what is taken and what is not") {
    const std::string proof = ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    struct row {
        std::string message;
        std::optional<why> expected;
    };
    const std::vector<row> rows{
        {rfc_client_final, {}},
        {"c=biws,r=" + rfc_nonce + ",x=extension" + proof, {}},
        {"c=eSws,r=" + rfc_nonce + proof, why::malformed}, // "y,," where "n,," was said
        {"c=,r=" + rfc_nonce + proof, why::malformed},
        {"c=biws" + proof, why::malformed},
        {"r=" + rfc_nonce + proof, why::malformed},
        {"c=biws,r=" + rfc_client_nonce + proof, why::nonce},
        {"c=biws,r=" + rfc_nonce + "x" + proof, why::nonce},
        {"c=biws,r=" + proof, why::nonce},
        {"c=biws,r=" + rfc_nonce, why::malformed},
        {"c=biws,r=" + rfc_nonce + ",", why::malformed},
        {"c=biws,r=" + rfc_nonce + ",p=", why::malformed},
        {"c=biws,r=" + rfc_nonce + ",p=AAAA", why::malformed},
        {"c=biws,r=" + rfc_nonce + ",p=!!!!", why::malformed},
        {rfc_client_final + ",x=after", why::malformed},
        {rfc_client_final + ",", why::malformed},
        {rfc_client_final + "\0"s, why::malformed},
        {"", why::malformed},
    };
    for (const auto& each : rows) {
        const auto& message = each.message;
        const auto& expected = each.expected;
        CAPTURE(message);
        auto server = begun();
        const auto failure = server.read_client_final(message);
        CHECK(failure.has_value() == expected.has_value());
        if (failure && expected) {
            CHECK(failure->reason == *expected);
        }
    }
    // An extension changes what is signed, so the old proof no longer fits.
    auto server = begun();
    REQUIRE_FALSE(server.read_client_final("c=biws,r=" + rfc_nonce + ",x=extension" + proof));
    CHECK_FALSE(server.proven(verifier_of("pencil")));
}

TEST_CASE("server-first-messages: what is taken and what is not") {
    struct row {
        std::string message;
        std::optional<why> expected;
    };
    const std::vector<row> rows{
        {"r=oursX,s=c2FsdA==,i=1", {}}, // 2026-6665: one byte of nonce is enough
        {"r=ours" + std::string(50'000, 'x') + ",s=c2FsdA==,i=4096", {}},
        {"r=oursX,s=c2FsdA==,i=2147483647", {}}, // bounded by server_login
        {"r=oursX,s=c2FsdA==,i=4096,x=extension", {}},
        {"r=ours,s=c2FsdA==,i=4096", why::nonce},
        {"r=our,s=c2FsdA==,i=4096", why::nonce},
        {"r=X,s=c2FsdA==,i=4096", why::nonce},
        {"r=Xours,s=c2FsdA==,i=4096", why::nonce},
        {"r=,s=c2FsdA==,i=4096", why::malformed},
        {"r=ours X,s=c2FsdA==,i=4096", why::malformed},
        {"r=oursX", why::malformed},
        {"r=oursX,s=,i=4096", why::malformed},
        {"r=oursX,s=?,i=4096", why::malformed},
        {"r=oursX,s=c2FsdA==", why::malformed},
        {"r=oursX,s=c2FsdA==,i=", why::malformed},
        {"r=oursX,s=c2FsdA==,i=0", why::malformed}, // 2026-6669
        {"r=oursX,s=c2FsdA==,i=-1", why::malformed},
        {"r=oursX,s=c2FsdA==,i=2147483648", why::malformed},
        {"r=oursX,s=c2FsdA==,i=4294967297", why::malformed},
        {"r=oursX,s=c2FsdA==,i=1e3", why::malformed},
        {"r=oursX,s=c2FsdA==,i=4096,", why::malformed},
        {"r=oursX,s=c2FsdA==,i=4096,junk", why::malformed},
        {"s=c2FsdA==,i=4096,r=oursX", why::malformed},
        {"m=ext,r=oursX,s=c2FsdA==,i=4096", why::unsupported},
        {"", why::malformed},
    };
    for (const auto& each : rows) {
        const auto& message = each.message;
        const auto& expected = each.expected;
        CAPTURE(message.substr(0, 60));
        scram_client_exchange client("ours");
        const auto failure = client.read_server_first(message);
        CHECK(failure.has_value() == expected.has_value());
        if (failure && expected) {
            CHECK(failure->reason == *expected);
        }
    }
}

TEST_CASE("server-final-messages: only the right signature is taken") {
    scram_client_exchange client("ours");
    REQUIRE_FALSE(client.read_server_first("r=oursX,s=c2FsdA==,i=1"));
    SUBCASE("before the key is known, no signature fits") {
        for (const auto& message : {"v="s, "v=" + base64_encode(hmac_sha256("", "")), "v=AAAA"s}) {
            CHECK(client.read_server_final(message));
        }
    }
    SUBCASE("after") {
        const auto key = derive_salted_password(secret("pencil"), "salt", 1);
        static_cast<void>(client.client_final(key));
        for (const auto& message :
             {""s, "v"s, "v="s, "v=AAAA"s, "v=!"s, "v=" + base64_encode(std::string(32, 'x')),
              "e=other-error"s, "e="s, "x=y"s}) {
            CAPTURE(message);
            const auto failure = client.read_server_final(message);
            REQUIRE(failure);
            CHECK((failure->reason == why::refused_by_peer) == message.starts_with("e="));
        }
    }
}
