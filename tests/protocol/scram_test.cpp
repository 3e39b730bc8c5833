// Tests of protocol/scram.hpp: known answers of the mathematics, and the stored forms.
#include "protocol/scram.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::protocol;
using namespace std::string_literals;

namespace {

struct stored_row {
    std::string password;
    std::string text;
};
// Written by PostgreSQL 15 itself: CREATE ROLE … PASSWORD '…', read from pg_authid.
const std::vector<stored_row> made_by_postgresql{
    {"pencil", "SCRAM-SHA-256$4096:42SOgYVtTfZT515IALjgbQ==$qGDvY3liXyQN0HUoeyuNI2dwq755c674xhdXi8q"
               "dYO8=:HlmUWfIOYxQ2pInd89uzjvfeNjXylCHjpJU3YCnn8kY="},
    {"пароль", "SCRAM-SHA-256$4096:eIOPQ4TMo/dwXxpC15nWhw==$ge91RxHT4R78Yb7z/0Ga+029zD54+tGhPnv3Ug0"
               "FJEg=:UKI1ATCWQpO4NTD8oD/ekmdOUBIExUu//cEC4YuT+w0="},
};

std::string hex(std::string_view raw) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    for (const char c : raw) {
        out += digits[static_cast<unsigned char>(c) >> 4U];
        out += digits[static_cast<unsigned char>(c) & 15U];
    }
    return out;
}

} // namespace

TEST_CASE("hashes give the answers of their standards") {
    CHECK(hex(sha256("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    // RFC 4231, test case 2
    CHECK(hex(hmac_sha256("Jefe", "what do ya want for nothing?")) ==
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    CHECK(hmac_sha256("", "").size() == 32);
    // RFC 7914, section 11, the first 32 bytes
    CHECK(hex(derive_salted_password(secret("passwd"), "salt", 1).reveal()) ==
          "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
}

TEST_CASE("PostgreSQL's verifiers are read, verified and written back the same") {
    for (const auto& each : made_by_postgresql) {
        const auto& password = each.password;
        const auto& text = each.text;
        CAPTURE(password);
        const auto verifier = parse_scram_verifier(text);
        REQUIRE(verifier);
        CHECK(verifier->iterations == 4096);
        CHECK(verifier->salt.size() == 16);
        CHECK(format_scram_verifier(*verifier) == text);
        const auto made = make_verifier(
            derive_salted_password(secret(password), verifier->salt, 4096), verifier->salt, 4096);
        CHECK(format_scram_verifier(made) == text);
    }
}

TEST_CASE("what is not a verifier is not taken for one") {
    const auto good = made_by_postgresql[0].text;
    REQUIRE(parse_scram_verifier(good));
    for (std::size_t length = 0; length < good.size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(parse_scram_verifier(good.substr(0, length)));
    }
    const auto key = base64_encode(std::string(32, 'k'));
    for (const std::string& text :
         {good + "x", good + "=", "scram-sha-256" + good.substr(13),
          "SCRAM-SHA-256$0:c2FsdA==$" + key + ":" + key,
          "SCRAM-SHA-256$-1:c2FsdA==$" + key + ":" + key,
          "SCRAM-SHA-256$+1:c2FsdA==$" + key + ":" + key,
          "SCRAM-SHA-256$ 1:c2FsdA==$" + key + ":" + key,
          "SCRAM-SHA-256$2147483648:c2FsdA==$" + key + ":" + key,
          "SCRAM-SHA-256$99999999999999999999:c2FsdA==$" + key + ":" + key,
          "SCRAM-SHA-256$4096:$" + key + ":" + key, "SCRAM-SHA-256$4096:c2FsdA==$short:" + key,
          "SCRAM-SHA-256$4096:c2FsdA==$" + base64_encode(std::string(31, 'k')) + ":" + key,
          "SCRAM-SHA-256$4096:c2FsdA==$" + key + ":" + base64_encode(std::string(33, 'k'))}) {
        CAPTURE(text);
        CHECK_FALSE(parse_scram_verifier(text));
    }
    CHECK(parse_scram_verifier("SCRAM-SHA-256$2147483647:c2FsdA==$" + key + ":" + key));
}

TEST_CASE("stored secrets are told apart by their form") {
    struct row {
        std::string text;
        credential_form form;
    };
    for (const auto& each :
         {row{"", credential_form::none}, row{"pencil", credential_form::plaintext},
          row{"md5", credential_form::plaintext},
          row{"md525dacfe74dce8d3098122097addc8819", credential_form::md5},
          row{"md525DACFE74DCE8D3098122097ADDC8819", credential_form::plaintext},
          row{"md525dacfe74dce8d3098122097addc881", credential_form::plaintext},
          row{"md525dacfe74dce8d3098122097addc88190", credential_form::plaintext},
          row{made_by_postgresql[0].text, credential_form::scram},
          row{"SCRAM-SHA-256$4096:oops", credential_form::unusable},
          row{"SCRAM-SHA-256", credential_form::plaintext}}) {
        const auto& text = each.text;
        const auto& form = each.form;
        CAPTURE(text);
        CHECK(form_of(text) == form);
    }
}

TEST_CASE("md5 as PostgreSQL stores and answers it") {
    // Written by PostgreSQL 15: CREATE ROLE m5 PASSWORD 'pencil'.
    const auto stored = "md525dacfe74dce8d3098122097addc8819"s;
    CHECK(md5_stored_form("pencil", "m5") == stored);
    const auto salt = "\1\2\3\4"s;
    const auto response = md5_response("pencil", "m5", salt);
    CHECK(response.size() == 35);
    CHECK(response.starts_with("md5"));
    CHECK(md5_response(stored, "m5", salt) == response);
    CHECK(md5_response(stored, "m5", "\1\2\3\5"s) != response);
    CHECK(md5_response("pencil", "m6", salt) != response);
}

TEST_CASE("no key comes of a count that is none") {
    CHECK(derive_salted_password(secret("pencil"), "salt", 0).empty());
    CHECK(derive_salted_password(secret("pencil"), "salt", 0x80000000).empty());
}

TEST_CASE("base64 as RFC 4648 gives it, both ways") {
    struct row {
        std::string raw;
        std::string text;
    };
    for (const auto& each : {row{"", ""}, row{"f", "Zg=="}, row{"fo", "Zm8="}, row{"foo", "Zm9v"},
                             row{"foob", "Zm9vYg=="}, row{"fooba", "Zm9vYmE="},
                             row{"foobar", "Zm9vYmFy"}, row{"\xff\xfe\0"s, "//4A"}}) {
        const auto& raw = each.raw;
        const auto& text = each.text;
        CAPTURE(text);
        CHECK(base64_encode(raw) == text);
        CHECK(base64_decode(text) == raw);
    }
    std::string every;
    for (int i = 0; i < 256; ++i) {
        every += static_cast<char>(i);
        CHECK(base64_decode(base64_encode(every)) == every);
    }
}

TEST_CASE("base64 that is not whole, not canonical or not base64 is refused") {
    for (const auto& text :
         {"Z"s, "Zg"s, "Zg="s, "Zm9"s, "===="s, "Z==="s, "Zg==Zg=="s, "Zm9v\n"s, "Zm 9"s, "Zm9-"s,
          "Zm9_"s, "Zh=="s, "Zm9="s, "=Zm9"s, "Zm\0v"s, "Zm9\xc3"s}) {
        CAPTURE(text);
        CHECK_FALSE(base64_decode(text));
    }
}

TEST_CASE("what a verifier shows of itself, if anybody can get in with it") {
    auto verifier = *parse_scram_verifier(made_by_postgresql[0].text);
    CHECK(shape_of_verifier(made_by_postgresql[0].text) == scram_shape{});
    verifier.iterations = max_scram_iterations;
    CHECK(shape_of_verifier(format_scram_verifier(verifier)) == scram_shape{max_scram_iterations});
    ++verifier.iterations;
    CHECK_FALSE(shape_of_verifier(format_scram_verifier(verifier)));
    for (const std::string_view none : {"", "pencil", "SCRAM-SHA-256$1:x"}) {
        CHECK_FALSE(shape_of_verifier(none));
    }
}
