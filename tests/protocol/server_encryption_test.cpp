// Tests of protocol/server_encryption.hpp and server_cancel.hpp: every mode against every answer.
#include "protocol/server_cancel.hpp"
#include "protocol/server_encryption.hpp"
#include "tests/protocol/login_script.hpp"

using namespace login_script;
using namespace std::string_literals;
using why = server_refused::why;
using retry = server_refused::retry;

namespace {

constexpr std::array modes{tls_mode::disable, tls_mode::allow,     tls_mode::prefer,
                           tls_mode::require, tls_mode::verify_ca, tls_mode::verify_full};
const auto request = untyped(ssl_request_code);

/// One that has asked for TLS.
server_encryption asking(tls_mode mode) {
    server_encryption encryption(mode, false);
    const auto action = encryption.start();
    REQUIRE(std::holds_alternative<login_write>(action));
    REQUIRE(std::get<login_write>(action).data == request);
    return encryption;
}

encryption_action answer(server_encryption& encryption, const std::string& data,
                         std::size_t unread = 0) {
    auto in = as_bytes(data);
    auto action = encryption.resume(in);
    CHECK(in.size() == unread);
    return action;
}

void check_refused(const encryption_action& action, why reason) {
    REQUIRE(std::holds_alternative<server_refused>(action));
    const auto& refused = std::get<server_refused>(action);
    CHECK(refused.reason == reason);
    CHECK(refused.sqlstate.empty());
    CHECK(refused.response.empty());
    CHECK_FALSE(refused.message.empty());
}

} // namespace

TEST_CASE("disable and allow: the first packet follows at once, in the clear") {
    for (const auto mode : {tls_mode::disable, tls_mode::allow}) {
        for (const bool direct : {false, true}) {
            server_encryption encryption(mode, direct);
            const auto action = encryption.start();
            REQUIRE(std::holds_alternative<encryption_settled>(action));
            CHECK_FALSE(std::get<encryption_settled>(action).tls);
        }
    }
}

TEST_CASE("the other modes ask first: S begins TLS, N is enough for prefer only") {
    for (const auto mode : modes) {
        if (mode < tls_mode::prefer) {
            continue;
        }
        CAPTURE(static_cast<int>(mode));
        auto yes = asking(mode);
        CHECK(std::holds_alternative<login_read>(answer(yes, "")));
        const auto start = answer(yes, "S");
        REQUIRE(std::holds_alternative<login_start_tls>(start));
        CHECK_FALSE(std::get<login_start_tls>(start).direct);
        const auto settled = yes.secured(plain_facts());
        REQUIRE(std::holds_alternative<encryption_settled>(settled));
        REQUIRE(std::get<encryption_settled>(settled).tls);
        CHECK_FALSE(std::get<encryption_settled>(settled).tls->direct);

        auto no = asking(mode);
        const auto clear = answer(no, "N");
        if (mode == tls_mode::prefer) {
            REQUIRE(std::holds_alternative<encryption_settled>(clear));
            CHECK_FALSE(std::get<encryption_settled>(clear).tls);
        } else {
            check_refused(clear, why::encryption);
        }
    }
}

TEST_CASE("direct TLS: with require and stricter modes, and for PostgreSQL only") {
    for (const auto mode : modes) {
        CAPTURE(static_cast<int>(mode));
        server_encryption encryption(mode, true);
        const auto action = encryption.start();
        if (mode < tls_mode::require) {
            CHECK(std::holds_alternative<login_write>(action) == (mode == tls_mode::prefer));
            continue;
        }
        REQUIRE(std::holds_alternative<login_start_tls>(action));
        CHECK(std::get<login_start_tls>(action).direct);
        CHECK(std::holds_alternative<login_read>(answer(encryption, "not ours", 8)));
        const auto settled = encryption.secured(plain_facts("postgresql"));
        REQUIRE(std::holds_alternative<encryption_settled>(settled));
        CHECK(std::get<encryption_settled>(settled).tls->direct);
        for (const auto& alpn : {""s, "http/1.1"s, "postgresql2"s}) {
            server_encryption other(mode, true);
            static_cast<void>(other.start());
            check_refused(other.secured(plain_facts(alpn)), why::encryption);
        }
    }
}

TEST_CASE("PG 2026-14681: an ALPN that is not PostgreSQL's is refused behind an SSLRequest too") {
    for (const auto& alpn : {"http/1.1"s, "postgresq"s, "\x1b[2J"s}) {
        auto encryption = asking(tls_mode::require);
        static_cast<void>(answer(encryption, "S"));
        check_refused(encryption.secured(plain_facts(alpn)), why::encryption);
    }
    auto encryption = asking(tls_mode::require);
    static_cast<void>(answer(encryption, "S"));
    CHECK(
        std::holds_alternative<encryption_settled>(encryption.secured(plain_facts("postgresql"))));
}

TEST_CASE(
    "Odyssey 2021-43767, PG 2021-23222, 2021-3935: bytes behind the answer to an SSLRequest") {
    for (const auto mode : {tls_mode::prefer, tls_mode::require, tls_mode::verify_full}) {
        for (const auto& smuggled : {"x"s, authentication(0), "\x16\x03\x03"s, "S"s, "N"s,
                                     error_message("28000", "pg_hba.conf rejects you")}) {
            for (const auto& first : {"S"s, "N"s}) {
                CAPTURE(smuggled);
                CAPTURE(first);
                auto encryption = asking(mode);
                check_refused(answer(encryption, first + smuggled, 1 + smuggled.size()),
                              why::protocol);
            }
        }
    }
}

TEST_CASE("PG 2024-10977: nothing of an error that comes before TLS is shown or believed") {
    for (const auto mode : {tls_mode::prefer, tls_mode::require}) {
        for (const auto& text : {error_message("53300", "visit http://evil.example/"),
                                 "EFATAL: visit http://evil.example/\n\0"s, "E"s}) {
            auto encryption = asking(mode);
            const auto action = answer(encryption, text, text.size());
            check_refused(action, why::protocol);
            const auto& refused = std::get<server_refused>(action);
            CHECK(refused.message == "the server sent an error in answer to a request for TLS");
            CHECK(refused.again == retry::none);
        }
    }
}

TEST_CASE("any other answer to an SSLRequest is refused") {
    for (int octet = 0; octet < 256; ++octet) {
        const auto letter = static_cast<char>(octet);
        if (letter == 'S' || letter == 'N') {
            continue;
        }
        CAPTURE(octet);
        auto encryption = asking(tls_mode::prefer);
        check_refused(answer(encryption, std::string(1, letter), 1), why::protocol);
    }
}

TEST_CASE("a failed handshake: prefer goes on without TLS, on another connection; nobody else") {
    for (const auto mode : modes) {
        if (mode < tls_mode::prefer) {
            continue;
        }
        CAPTURE(static_cast<int>(mode));
        auto encryption = asking(mode);
        static_cast<void>(answer(encryption, "S"));
        const auto refused = encryption.handshake_failed({"certificate\n\x1b[2J has expired"});
        CHECK(refused.reason == why::encryption);
        CHECK(refused.message == "TLS: certificate??[2J has expired");
        CHECK(refused.again == (mode == tls_mode::prefer ? retry::without_tls : retry::none));
        auto broken = asking(mode);
        static_cast<void>(answer(broken, "S"));
        const auto lost = broken.handshake_failed({.words = "connection closed", .lost = true});
        CHECK(lost.reason == why::lost); // it may be another matter in a moment
        CHECK(lost.message == "TLS: connection closed");
        CHECK(lost.again == refused.again);
    }
}

TEST_CASE("encryption driven out of turn is refused") {
    server_encryption early(tls_mode::require, false);
    check_refused(answer(early, "S", 1), why::protocol);
    server_encryption unasked(tls_mode::require, false);
    check_refused(unasked.secured(plain_facts()), why::protocol);
    auto unanswered = asking(tls_mode::require);
    check_refused(unanswered.secured(plain_facts()), why::protocol);
    auto twice = asking(tls_mode::require);
    check_refused(twice.start(), why::protocol);
    auto over = asking(tls_mode::require);
    static_cast<void>(answer(over, "N"));
    check_refused(answer(over, "S", 1), why::protocol);
    check_refused(over.secured(plain_facts()), why::protocol);
}

TEST_CASE("PG 2020-25694: a cancel request goes the way its connection went") {
    const cancel_key key{258, "a key of 3.2"};
    const auto cancel = untyped(cancel_request_code, "\0\0\1\2a key of 3.2"s);
    const auto sent = [](const server_cancel_action& action) {
        const auto* const send = std::get_if<cancel_send>(&action);
        return send == nullptr ? ""s : send->data;
    };
    bytes nothing;
    SUBCASE("in the clear") {
        server_cancel request_(key, tls_mode::disable, false);
        CHECK(sent(request_.start()) == cancel);
    }
    SUBCASE("after an SSLRequest") {
        server_cancel request_(key, tls_mode::verify_full, false);
        const auto asked = request_.start();
        REQUIRE(std::holds_alternative<login_write>(asked));
        CHECK(std::get<login_write>(asked).data == request);
        CHECK(std::holds_alternative<login_read>(request_.resume(nothing)));
        auto in = as_bytes("S");
        CHECK(std::holds_alternative<login_start_tls>(request_.resume(in)));
        CHECK(sent(request_.secured(plain_facts())) == cancel);
    }
    SUBCASE("through direct TLS") {
        server_cancel request_(key, tls_mode::require, true);
        CHECK(std::holds_alternative<login_start_tls>(request_.start()));
        CHECK(sent(request_.secured(plain_facts("postgresql"))) == cancel);
    }
    SUBCASE("its key is never shown in the clear where TLS is required") {
        for (const auto& said : {"N"s, "E"s, "Sx"s, "x"s}) {
            server_cancel request_(key, tls_mode::require, false);
            static_cast<void>(request_.start());
            auto in = as_bytes(said);
            CHECK(std::holds_alternative<server_refused>(request_.resume(in)));
        }
        server_cancel request_(key, tls_mode::require, true);
        static_cast<void>(request_.start());
        CHECK(std::holds_alternative<server_refused>(request_.handshake_failed({"no"})));
    }
    SUBCASE("prefer: in the clear where there is no TLS") {
        server_cancel request_(key, tls_mode::prefer, false);
        static_cast<void>(request_.start());
        auto in = as_bytes("N");
        CHECK(sent(request_.resume(in)) == cancel);
    }
}
