// Tests of protocol/server_login.hpp: TLS, channel binding, keys in place of a password. What
// happens up to the first packet has its own tests (server_encryption_test.cpp).
#include "tests/protocol/login_script.hpp"

using namespace login_script;
using namespace std::string_literals;
using why = server_refused::why;
using retry = server_refused::retry;

namespace {

const std::string hash(32, 'h'); // plain_facts()
const std::string salt = "0123456789abcdef";
constexpr std::uint32_t iterations = 16;
const auto ok = authentication(0);
const auto welcome = message('K', "\0\0\1\2key!"s) + message('Z', "I");
const auto plain_offer = authentication(10, "SCRAM-SHA-256\0\0"s);
const auto both_offers = authentication(10, "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"s);
const auto plus_offer = authentication(10, "SCRAM-SHA-256-PLUS\0\0"s);

server_login::options options_for(tls_mode mode,
                                  channel_binding binding = channel_binding::prefer) {
    server_login::options opts;
    opts.user = "ann";
    opts.database = "club";
    opts.password = secret("pencil");
    opts.nonce.fill(std::byte{9});
    opts.tls = mode;
    opts.binding = binding;
    opts.min_scram_iterations = 1;
    return opts;
}

scram_verifier verifier_of(std::string_view password) {
    return make_verifier(derive_salted_password(secret(std::string(password)), salt, iterations),
                         salt, iterations);
}
scram_keys keys_of(std::string_view password, std::string_view their_salt = salt,
                   std::uint32_t count = iterations) {
    return make_scram_keys(derive_salted_password(secret(std::string(password)), their_salt, count),
                           their_salt, count);
}

/// Our side, past TLS where the mode wants it, up to the startup message.
server_side started(server_login::options opts,
                    const std::optional<tls_facts>& facts = plain_facts()) {
    const bool asks = opts.tls >= tls_mode::prefer && !opts.direct_tls;
    server_side side(std::move(opts));
    side.handshake = facts;
    side.start();
    if (asks) {
        side.feed(facts ? "S" : "N");
    }
    return side;
}

std::string last_sent(const server_side& side) {
    // Everything typed; the untyped packets go first.
    std::size_t at = 0;
    while (at < side.sent.size() && side.sent[at] == '\0') {
        at += read_u32(as_bytes(side.sent).subspan(at));
    }
    const auto frames = frames_in(side.sent, at);
    return frames.empty() ? "" : frames.back().body;
}

/// What the client-first-message said of mechanism and binding.
std::string chosen(const server_side& side) {
    const auto sent = last_sent(side);
    const auto zero = sent.find('\0');
    return zero == std::string::npos
               ? ""
               : sent.substr(0, zero) + " " + sent.substr(zero + 5, sent.find("n=") - zero - 5);
}

/// A server's end of SCRAM from here on, with this verifier; what it makes of our proof.
bool run_scram(server_side& side, const scram_verifier& verifier, const std::string& its_hash) {
    scram_server_exchange exchange("server-nonce", its_hash);
    const auto first = last_sent(side);
    const auto zero = first.find('\0');
    REQUIRE(zero != std::string::npos);
    if (first.substr(0, zero) == "SCRAM-SHA-256-PLUS") {
        exchange.bind();
    }
    if (exchange.read_client_first(std::string_view(first).substr(zero + 5))) {
        return false;
    }
    side.feed(authentication(11, exchange.server_first(verifier.salt, verifier.iterations)));
    if (side.over() || exchange.read_client_final(last_sent(side)) || !exchange.proven(verifier)) {
        return false;
    }
    side.feed(authentication(12, exchange.server_final(verifier)) + ok + welcome);
    return true;
}

void check_refused(const server_side& side, why reason, std::string_view part = {}) {
    REQUIRE(side.refused);
    CHECK_FALSE(side.ready);
    CHECK(side.refused->reason == reason);
    CAPTURE(side.refused->message);
    CHECK(side.refused->message.find(part) != std::string::npos);
}

} // namespace

TEST_CASE("the startup message goes through TLS where the mode says so, never before it") {
    const auto packet =
        startup({{"user", "ann"}, {"database", "club"}}, protocol_3_0 | newest_minor_version);
    for (const auto mode : {tls_mode::disable, tls_mode::allow, tls_mode::prefer, tls_mode::require,
                            tls_mode::verify_ca, tls_mode::verify_full}) {
        CAPTURE(static_cast<int>(mode));
        server_side side(options_for(mode));
        CHECK(side.start());
        if (mode < tls_mode::prefer) {
            CHECK(side.sent == packet);
        } else {
            CHECK(side.sent == untyped(ssl_request_code));
            CHECK(side.feed("S"));
            REQUIRE(side.tls);
            CHECK(side.sent == untyped(ssl_request_code));
            side.feed("whatever is in the buffer");
            CHECK(side.unread() == "whatever is in the buffer");
            CHECK(side.sent == untyped(ssl_request_code));
        }
    }
    auto direct = options_for(tls_mode::require);
    direct.direct_tls = true;
    server_side side(std::move(direct));
    CHECK(side.start());
    REQUIRE(side.tls);
    CHECK(side.tls->direct);
    CHECK(side.sent.empty());
    CHECK(side.secure(plain_facts("postgresql")));
    CHECK(side.sent == packet);
}

TEST_CASE("refusals on the way to TLS end the login") {
    auto no = started(options_for(tls_mode::require), std::nullopt);
    check_refused(no, why::encryption, "does not support TLS");
    auto clear = started(options_for(tls_mode::prefer), std::nullopt);
    clear.feed(ok + welcome);
    CHECK(clear.ready);
    server_side broken(options_for(tls_mode::prefer));
    broken.start();
    broken.feed("S");
    CHECK_FALSE(broken.fail_handshake("no common cipher"));
    check_refused(broken, why::encryption, "TLS: no common cipher");
    CHECK(broken.refused->again == retry::without_tls);
    CHECK_FALSE(broken.feed(ok + welcome));
    server_side error(options_for(tls_mode::require));
    error.start();
    error.feed(error_message("53300", "evil words"));
    check_refused(error, why::protocol);
    CHECK(error.refused->message.find("evil") == std::string::npos);
}

TEST_CASE("which mechanism, and which flag") {
    struct row {
        std::string_view name;
        bool tls, hash;
        channel_binding binding;
        std::string offer;
        std::string chosen; // empty: refused, for `reason`
        why reason = why::authentication;
    };
    constexpr auto off = channel_binding::disable;
    constexpr auto prefer = channel_binding::prefer;
    constexpr auto require = channel_binding::require;
    const auto bound = "SCRAM-SHA-256-PLUS p=tls-server-end-point,,"s;
    for (const auto& each :
         {row{"clear", false, false, prefer, plain_offer, "SCRAM-SHA-256 n,,"},
          row{"clear, off", false, false, off, plain_offer, "SCRAM-SHA-256 n,,"},
          row{"clear, required", false, false, require, plain_offer, ""},
          row{"clear, PLUS", false, false, prefer, both_offers, "", why::protocol},
          row{"clear, PLUS, off", false, false, off, both_offers, "", why::protocol},
          row{"TLS", true, true, prefer, both_offers, bound},
          row{"TLS, required", true, true, require, both_offers, bound},
          row{"TLS, PLUS only", true, true, prefer, plus_offer, bound},
          row{"TLS, off", true, true, off, both_offers, "SCRAM-SHA-256 n,,"},
          row{"TLS, off, PLUS only", true, true, off, plus_offer, ""},
          row{"TLS, PLUS struck out", true, true, prefer, plain_offer, "SCRAM-SHA-256 y,,"},
          row{"TLS, not offered, off", true, true, off, plain_offer, "SCRAM-SHA-256 n,,"},
          row{"TLS, not offered, required", true, true, require, plain_offer, ""},
          row{"no hash", true, false, prefer, both_offers, "SCRAM-SHA-256 n,,"},
          row{"no hash, not offered", true, false, prefer, plain_offer, "SCRAM-SHA-256 n,,"},
          row{"no hash, required", true, false, require, both_offers, ""}}) {
        CAPTURE(each.name);
        auto facts = plain_facts();
        if (!each.hash) {
            facts.end_point_hash.clear();
        }
        auto side = started(options_for(tls_mode::prefer, each.binding),
                            each.tls ? std::optional(facts) : std::nullopt);
        side.feed(each.offer);
        if (each.chosen.empty()) {
            check_refused(side, each.reason);
        } else {
            CHECK(chosen(side) == each.chosen);
        }
    }
}

TEST_CASE("pgjdbc 2025-49146: where binding is required, nothing else will do") {
    for (const auto& request :
         {ok + welcome, authentication(3), authentication(5, "salt"), authentication(7),
          authentication(9), authentication(2), plain_offer, authentication(11, "r=x"),
          authentication(12, "v=x"), authentication(13)}) {
        CAPTURE(request);
        auto side = started(options_for(tls_mode::require, channel_binding::require));
        const auto before = side.sent;
        side.feed(request);
        check_refused(side, why::authentication, "channel binding is required");
        CHECK(side.sent == before);
    }
}

TEST_CASE("pgjdbc 2026-54291: a certificate without a hash does not bind, so is refused") {
    auto facts = plain_facts();
    facts.end_point_hash.clear();
    auto side = started(options_for(tls_mode::verify_full, channel_binding::require), facts);
    side.feed(both_offers);
    check_refused(side, why::authentication, "names no hash");
}

TEST_CASE("a bound login: the right end point gets in, another one is found out") {
    auto right = started(options_for(tls_mode::require, channel_binding::require));
    right.feed(both_offers);
    CHECK(run_scram(right, verifier_of("pencil"), hash));
    CHECK(right.ready);
    auto between = started(options_for(tls_mode::require, channel_binding::require));
    between.feed(both_offers);
    CHECK_FALSE(run_scram(between, verifier_of("pencil"), "another"));
    CHECK_FALSE(between.ready);
    // A server that offers -PLUS hears `y` from a client who was told of none, and refuses.
    auto struck_out = started(options_for(tls_mode::require));
    struck_out.feed(plain_offer);
    CHECK_FALSE(run_scram(struck_out, verifier_of("pencil"), hash));
}

TEST_CASE("ponylang #209: a bound exchange cannot be left either") {
    for (const auto& instead : {ok + welcome, authentication(12, "v=AAAA"), both_offers,
                                authentication(3), authentication(5, "salt")}) {
        auto side = started(options_for(tls_mode::require, channel_binding::require));
        side.feed(both_offers);
        side.feed(instead);
        check_refused(side, why::protocol);
    }
    for (const auto& instead :
         {ok + welcome, authentication(11, "r=x"), authentication(12, "v=AAAA") + ok + welcome}) {
        auto side = started(options_for(tls_mode::require, channel_binding::require));
        side.feed(both_offers);
        scram_server_exchange exchange("server-nonce", hash);
        exchange.bind();
        const auto first = last_sent(side);
        REQUIRE_FALSE(
            exchange.read_client_first(std::string_view(first).substr(first.find('\0') + 5)));
        side.feed(authentication(11, exchange.server_first(salt, iterations)));
        REQUIRE_FALSE(side.over());
        side.feed(instead);
        REQUIRE(side.refused);
        CHECK_FALSE(side.ready);
    }
}

TEST_CASE("keys log in where the server has the verifier they belong to, and derive nothing") {
    for (const bool tls : {false, true}) {
        auto opts = options_for(tls ? tls_mode::require : tls_mode::disable);
        opts.password = {};
        opts.keys = keys_of("pencil");
        opts.min_scram_iterations = 4096; // is no matter: nothing of a password is at stake
        auto side = started(std::move(opts));
        side.feed(tls ? both_offers : plain_offer);
        CHECK(run_scram(side, verifier_of("pencil"), tls ? hash : ""));
        CHECK(side.ready);
        CHECK(side.derivations == 0);
    }
}

TEST_CASE(
    "PgBouncer 1501: keys of another verifier are refused in clear words, or a password used") {
    struct row {
        std::string_view name;
        scram_keys keys;
    };
    for (const auto& each : {row{"salt", keys_of("pencil", "another salt....")},
                             row{"iterations", keys_of("pencil", salt, iterations + 1)}}) {
        for (const bool password : {false, true}) {
            CAPTURE(each.name);
            auto opts = options_for(tls_mode::disable);
            opts.keys = each.keys;
            if (!password) {
                opts.password = {};
            }
            auto side = started(std::move(opts));
            side.feed(plain_offer);
            CHECK(run_scram(side, verifier_of("pencil"), "") == password);
            CHECK(side.derivations == (password ? 1 : 0));
            if (!password) {
                check_refused(side, why::authentication, "another SCRAM verifier");
            }
        }
    }
}

TEST_CASE("keys do not answer a request for a password") {
    for (const auto& request : {authentication(3), authentication(5, "salt")}) {
        auto opts = options_for(tls_mode::disable);
        opts.password = {};
        opts.keys = keys_of("pencil");
        auto side = started(std::move(opts));
        const auto before = side.sent;
        side.feed(request);
        check_refused(side, why::authentication, "plaintext password is needed");
        CHECK(side.sent == before);
    }
}

TEST_CASE("keys prove the server as well: one with another ServerKey is refused") {
    auto opts = options_for(tls_mode::disable);
    opts.password = {};
    opts.keys = keys_of("pencil");
    opts.keys->server_key = secret(std::string(32, 'x'));
    auto side = started(std::move(opts));
    side.feed(plain_offer);
    static_cast<void>(run_scram(side, verifier_of("pencil"), ""));
    check_refused(side, why::authentication, "does not know the password");
}

TEST_CASE("2026-6669: a server cannot make a password cheap to guess by few iterations") {
    for (const std::uint32_t count : {1U, 4095U, 4096U}) {
        CAPTURE(count);
        auto opts = options_for(tls_mode::disable);
        opts.min_scram_iterations = server_login::options{}.min_scram_iterations;
        auto side = started(std::move(opts));
        side.feed(plain_offer);
        const auto sent = last_sent(side);
        const auto nonce = sent.substr(sent.find("r=") + 2);
        side.feed(authentication(11, "r=" + nonce + "n,s=c2FsdA==,i=" + std::to_string(count)));
        CHECK(side.over() == (count < 4096));
        CHECK(side.derivations == (count < 4096 ? 0 : 1));
    }
}

TEST_CASE("a second attempt the other way: allow with TLS, prefer without, for 28000 only") {
    struct row {
        tls_mode mode;
        bool tls;
        std::string_view sqlstate;
        retry again;
        channel_binding binding = channel_binding::prefer;
    };
    for (const auto& each :
         {row{tls_mode::allow, false, "28000", retry::with_tls},
          row{tls_mode::prefer, true, "28000", retry::without_tls},
          row{tls_mode::prefer, true, "28000", retry::none, channel_binding::require},
          row{tls_mode::prefer, false, "28000", retry::none},
          row{tls_mode::disable, false, "28000", retry::none},
          row{tls_mode::require, true, "28000", retry::none},
          row{tls_mode::verify_full, true, "28000", retry::none},
          row{tls_mode::allow, false, "28P01", retry::none},
          row{tls_mode::prefer, true, "53300", retry::none},
          row{tls_mode::allow, false, "", retry::none}}) {
        CAPTURE(static_cast<int>(each.mode));
        CAPTURE(each.sqlstate);
        auto side = started(options_for(each.mode, each.binding),
                            each.tls ? std::optional(plain_facts()) : std::nullopt);
        side.feed(error_message(each.sqlstate, "no pg_hba.conf entry for you"));
        REQUIRE(side.refused);
        CHECK(side.refused->again == each.again);
    }
    // Once it has asked for a password, it has taken us as we came.
    auto side = started(options_for(tls_mode::prefer));
    side.feed(authentication(3));
    side.feed(error_message("28000", "role \"ann\" is not permitted to log in"));
    REQUIRE(side.refused);
    CHECK(side.refused->again == retry::none);
}

TEST_CASE("a login through TLS, split at every byte, comes out the same") {
    scram_server_exchange exchange("server-nonce", hash);
    exchange.bind();
    auto whole = started(options_for(tls_mode::require));
    std::vector<std::string> script{"S", both_offers};
    whole.feed(both_offers);
    const auto first = last_sent(whole);
    REQUIRE_FALSE(exchange.read_client_first(std::string_view(first).substr(first.find('\0') + 5)));
    script.push_back(authentication(11, exchange.server_first(salt, iterations)));
    whole.feed(script.back());
    REQUIRE_FALSE(exchange.read_client_final(last_sent(whole)));
    REQUIRE(exchange.proven(verifier_of("pencil")));
    script.push_back(authentication(12, exchange.server_final(verifier_of("pencil"))) + ok +
                     welcome);
    whole.feed(script.back());
    REQUIRE(whole.ready);
    const auto begun = [] {
        server_side side(options_for(tls_mode::require));
        side.handshake = plain_facts();
        side.start();
        return side;
    };
    split_at_every_byte(script, begun, [&](const server_side& side) {
        REQUIRE(side.ready);
        REQUIRE(side.sent == whole.sent);
    });
    for (std::size_t step = 0; step < script.size(); ++step) {
        // … and an error, or the end of the protocol, at every step is one.
        for (const auto& instead : {error_message("57P01", "going down"), message('x', "")}) {
            auto side = begun();
            for (std::size_t i = 0; i < step; ++i) {
                side.feed(script[i]);
            }
            side.feed(instead);
            REQUIRE(side.refused);
            REQUIRE((side.refused->reason == why::starting_up || step == 0 || instead[0] == 'x'));
            REQUIRE_FALSE(side.feed(script[step]));
        }
    }
}

TEST_CASE("a handshake that nobody asked for is refused, not believed") {
    server_login early(options_for(tls_mode::require));
    CHECK(std::holds_alternative<server_refused>(early.secured(plain_facts())));
    server_login asked(options_for(tls_mode::require));
    static_cast<void>(asked.start());
    CHECK(std::holds_alternative<server_refused>(asked.secured(plain_facts())));
    server_login clear(options_for(tls_mode::disable));
    static_cast<void>(clear.start());
    CHECK(std::holds_alternative<server_refused>(clear.secured(plain_facts())));
    server_login failed(options_for(tls_mode::disable));
    static_cast<void>(failed.start());
    CHECK(std::holds_alternative<server_refused>(failed.handshake_failed({"no"})));
}
