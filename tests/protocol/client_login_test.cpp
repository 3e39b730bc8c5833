// Tests of protocol/client_login.hpp: every way in, and every way not in.
//
// A script is what one client sends, message by message. Each is run whole, one byte at a time,
// split at every byte, and broken at every step.
#include "tests/protocol/login_script.hpp"

#include <algorithm>

using namespace login_script;
using namespace std::string_literals;

namespace {

const std::string client_nonce = "client-nonce";

/// The client's SCRAM messages against what `login` said last, with this password.
std::string scram_final(const std::string& server_first, std::string_view password) {
    scram_client_exchange client(client_nonce);
    REQUIRE_FALSE(client.read_server_first(server_first));
    return client.client_final(
        derive_salted_password(secret(std::string(password)), client.salt(), client.iterations()));
}

std::string last_request(const client_side& side) {
    const auto frames = frames_in(side.sent);
    REQUIRE_FALSE(frames.empty());
    REQUIRE(frames.back().type == 'R');
    return frames.back().body;
}

/// Answers the request `side` has sent last, as a client that knows `password`.
std::string answer(const client_side& side, std::string_view user, std::string_view password) {
    const auto request = last_request(side);
    const auto kind = read_u32(as_bytes(request));
    const auto rest = request.substr(4);
    switch (kind) {
    case 3:
        return password_message(password);
    case 5:
        return password_message(md5_response(password, user, rest));
    case 10:
        return sasl_initial("n,,n=,r=" + client_nonce);
    case 11:
        return rest.empty() ? message('p', "n,,n=,r=" + client_nonce)
                            : message('p', scram_final(rest, password));
    default:
        FAIL("no request: " << kind);
    }
    return {};
}

const std::vector<std::pair<std::string, std::string>> ann{{"user", "ann"}, {"database", "club"}};

/// Logs in as ann. The client's messages are left in `script`.
client_side log_in(auth_method method, const client_side::credentials& known,
                   std::string_view password, std::vector<std::string>* script = nullptr,
                   const std::string& first = startup(ann)) {
    client_side side(client_options(method), known);
    auto next = first;
    while (true) {
        if (script != nullptr) {
            script->push_back(next);
        }
        side.feed(next);
        if (side.over()) {
            return side;
        }
        next = answer(side, "ann", password);
    }
}

error_fields error_of(const client_side& side) {
    REQUIRE(side.refused);
    const auto wire = as_bytes(side.refused->data);
    // NegotiateProtocolVersion may stand before it.
    REQUIRE(wire.size() > header_bytes);
    const auto skip = static_cast<char>(wire[0]) == 'v' ? read_header(wire).frame_bytes() : 0;
    REQUIRE(static_cast<char>(wire[skip]) == 'E');
    return read_error_fields(wire.subspan(skip + header_bytes));
}

void check_refused(const client_side& side, std::string_view sqlstate, std::string_view text = {}) {
    const auto fields = error_of(side);
    CHECK(fields.fatal());
    CHECK(fields.sqlstate == sqlstate);
    if (!text.empty()) {
        CHECK(fields.message == text);
    }
    CHECK_FALSE(side.done);
    CHECK_FALSE(side.refused->log_reason.empty());
}

struct way_in {
    std::string_view name;
    auth_method method;
    std::string stored;
    bool works;
};

const std::string md5_of_pencil = md5_stored_form("pencil", "ann");

std::vector<way_in> ways_in() {
    return {
        {"trust", auth_method::trust, "pencil", true},
        {"trust, nothing stored", auth_method::trust, "", true},
        {"password, plaintext", auth_method::password, "pencil", true},
        {"password, md5", auth_method::password, md5_of_pencil, true},
        {"password, SCRAM", auth_method::password, stored_scram("pencil"), true},
        {"password, nothing stored", auth_method::password, "", false},
        {"password, broken verifier", auth_method::password, "SCRAM-SHA-256$1:x", false},
        {"md5, plaintext", auth_method::md5, "pencil", true},
        {"md5, md5", auth_method::md5, md5_of_pencil, true},
        {"md5, SCRAM", auth_method::md5, stored_scram("pencil"), true},
        {"md5, nothing stored", auth_method::md5, "", false},
        {"md5, broken verifier", auth_method::md5, "SCRAM-SHA-256$1:x", false},
        {"SCRAM, plaintext", auth_method::scram_sha_256, "pencil", true},
        {"SCRAM, SCRAM", auth_method::scram_sha_256, stored_scram("pencil"), true},
        {"SCRAM, md5", auth_method::scram_sha_256, md5_of_pencil, false},
        {"SCRAM, nothing stored", auth_method::scram_sha_256, "", false},
        {"SCRAM, broken verifier", auth_method::scram_sha_256, "SCRAM-SHA-256$1:x", false},
    };
}

constexpr std::string_view failed = "password authentication failed for user \"ann\"";

} // namespace

TEST_CASE("the right password gets in, wherever the stored secret can tell") {
    for (const auto& way : ways_in()) {
        CAPTURE(way.name);
        const auto side = log_in(way.method, {{"ann", way.stored}}, "pencil");
        CHECK(side.looked_up == std::vector<std::string>{"ann"});
        if (!way.works) {
            check_refused(side, "28P01", failed);
            continue;
        }
        REQUIRE(side.done);
        CHECK(side.done->startup.user == "ann");
        CHECK(side.done->startup.database == "club");
        CHECK(side.done->password.reveal() ==
              (way.method == auth_method::password ? "pencil" : ""));
        const auto frames = frames_in(side.done->data);
        CHECK(frames.back().type == 'R');
        CHECK(frames.back().body == "\0\0\0\0"s);
    }
}

TEST_CASE("a stored verifier does not make us compute for as long as a user likes") {
    for (const auto iterations : {max_scram_iterations, max_scram_iterations + 1}) {
        auto verifier = *parse_scram_verifier(stored_scram("pencil"));
        verifier.iterations = iterations;
        const auto side =
            log_in(auth_method::password, {{"ann", format_scram_verifier(verifier)}}, "pencil");
        check_refused(side, "28P01", failed);
        CHECK((side.refused->log_reason.find("too many iterations") != std::string::npos) ==
              (iterations > max_scram_iterations));
    }
}

TEST_CASE("Pgpool 2025-46801: a wrong password never gets in, and all failures look the same") {
    for (const auto& way : ways_in()) {
        if (way.method == auth_method::trust) {
            continue;
        }
        for (const std::string_view wrong : {"pencil ", "Pencil", "penci", "x", "md5", "SCRAM"}) {
            CAPTURE(way.name);
            CAPTURE(wrong);
            const auto side = log_in(way.method, {{"ann", way.stored}}, wrong);
            check_refused(side, "28P01", failed);
            CHECK(side.refused->unproven);
        }
        // Knowing what is stored is not knowing the password.
        if (!way.stored.empty() && way.stored != "pencil" &&
            !(way.method == auth_method::md5 && way.stored == md5_of_pencil)) {
            CAPTURE(way.name);
            check_refused(log_in(way.method, {{"ann", way.stored}}, way.stored), "28P01", failed);
        }
    }
}

TEST_CASE("2015-6817: an unknown user never gets in, by any method") {
    for (const auto method : {auth_method::trust, auth_method::password, auth_method::md5,
                              auth_method::scram_sha_256}) {
        CAPTURE(static_cast<int>(method));
        for (const std::string_view password : {"pencil", "x"}) {
            const auto side = log_in(method, {{"bob", "pencil"}, {"", "pencil"}}, password);
            if (method == auth_method::trust) { // no password was asked for
                check_refused(side, "28000", "\"trust\" authentication failed for user \"ann\"");
            } else {
                check_refused(side, "28P01", failed);
            }
            CHECK(side.login().user() == "ann");
        }
    }
}

TEST_CASE("no enumeration: an unknown user sees the bytes that a known one sees") {
    struct row {
        std::string_view name;
        auth_method method;
        std::string stored;
    };
    for (const auto& each :
         {row{"password", auth_method::password, "pencil"}, row{"md5", auth_method::md5, "pencil"},
          row{"SCRAM, plaintext", auth_method::scram_sha_256, "pencil"},
          row{"SCRAM, md5", auth_method::scram_sha_256, md5_of_pencil}}) {
        const auto& name = each.name;
        const auto& method = each.method;
        const auto& stored = each.stored;
        CAPTURE(name);
        const auto known = log_in(method, {{"ann", stored}}, "wrong");
        const auto unknown = log_in(method, {}, "wrong");
        CHECK(known.sent == unknown.sent);
    }
}

TEST_CASE("no enumeration: the salt of a mock exchange stays, is the user's own and the secret's") {
    const auto salt_for = [](const std::string& user, const std::string& mock_secret,
                             unsigned char seed) {
        auto opts = client_options(auth_method::scram_sha_256, seed);
        opts.mock_secret = mock_secret;
        client_side side(std::move(opts), {});
        side.feed(startup({{"user", user}}));
        side.feed(sasl_initial("n,,n=,r=" + client_nonce));
        scram_client_exchange client(client_nonce);
        REQUIRE_FALSE(client.read_server_first(last_request(side).substr(4)));
        return client.salt();
    };
    const auto salt = salt_for("ann", "a", 1);
    CHECK(salt_for("ann", "a", 2) == salt);
    CHECK(salt_for("bob", "a", 1) != salt);
    CHECK(salt_for("ann", "b", 1) != salt);
}

TEST_CASE("nonce and md5 salt are fresh for each login") {
    const auto request = [](auth_method method, unsigned char seed) {
        client_side side(client_options(method, seed), {{"ann", "pencil"}});
        side.feed(startup(ann));
        if (method == auth_method::scram_sha_256) {
            side.feed(sasl_initial("n,,n=,r=" + client_nonce));
        }
        return last_request(side);
    };
    for (const auto method : {auth_method::md5, auth_method::scram_sha_256}) {
        CHECK(request(method, 1) != request(method, 2));
    }
}

TEST_CASE("only a plaintext secret costs a key derivation, and only after a well-formed proof") {
    CHECK(log_in(auth_method::scram_sha_256, {{"ann", "pencil"}}, "x").derivations == 1);
    CHECK(log_in(auth_method::scram_sha_256, {{"ann", stored_scram("pencil")}}, "x").derivations ==
          0);
    CHECK(log_in(auth_method::scram_sha_256, {}, "x").derivations == 0);
    CHECK(log_in(auth_method::password, {{"ann", stored_scram("pencil")}}, "x").derivations == 1);
}

TEST_CASE("a key that could not be derived lets nobody in") {
    for (const auto method : {auth_method::password, auth_method::scram_sha_256}) {
        client_login login(client_options(method));
        const auto stored = method == auth_method::password ? stored_scram("pencil") : "pencil";
        std::string input = startup(ann);
        auto in = as_bytes(input);
        REQUIRE(std::holds_alternative<login_find_user>(login.resume(in)));
        auto action = login.found_user(stored_credential{secret(stored)});
        if (method == auth_method::password) {
            input = password_message("pencil");
        } else {
            input = sasl_initial("n,,n=,r=" + client_nonce);
            in = as_bytes(input);
            action = login.resume(in);
            REQUIRE(std::holds_alternative<login_write>(action));
            const auto first = frames_in(std::get<login_write>(action).data)[0].body.substr(4);
            // A client that bets on the key being made of nothing.
            scram_client_exchange client(client_nonce);
            REQUIRE_FALSE(client.read_server_first(first));
            input = message('p', client.client_final(secret()));
        }
        in = as_bytes(input);
        REQUIRE(std::holds_alternative<login_derive>(login.resume(in)));
        CHECK(std::holds_alternative<login_refuse>(login.derived_key(secret())));
    }
}

TEST_CASE("a script split at every byte comes out the same") {
    for (const auto& way : ways_in()) {
        CAPTURE(way.name);
        std::vector<std::string> script;
        const auto whole = log_in(way.method, {{"ann", way.stored}}, "pencil", &script);
        split_at_every_byte(
            script,
            [&] {
                return client_side(client_options(way.method), {{"ann", way.stored}});
            },
            [&](const client_side& side) {
                REQUIRE(side.sent == whole.sent);
                REQUIRE(side.done.has_value() == whole.done.has_value());
            });
        client_side trickle(client_options(way.method), {{"ann", way.stored}});
        for (const auto& part : script) {
            for (const char c : part) {
                trickle.feed({&c, 1});
            }
        }
        CHECK(trickle.sent == whole.sent);
        CHECK(trickle.done.has_value() == whole.done.has_value());
    }
}

TEST_CASE("queries pipelined behind the login stay in the buffer") {
    for (const auto& way : ways_in()) {
        if (!way.works) {
            continue;
        }
        CAPTURE(way.name);
        std::vector<std::string> script;
        static_cast<void>(log_in(way.method, {{"ann", way.stored}}, "pencil", &script));
        const auto query = message('Q', "SELECT 1\0"s);
        client_side side(client_options(way.method), {{"ann", way.stored}});
        std::string all;
        for (const auto& part : script) {
            all += part;
        }
        side.feed(all + query);
        CHECK(side.done);
        CHECK(side.unread() == query);
    }
}

TEST_CASE("2015-4054, 2026-107350: any other message, at any step, ends the login") {
    std::vector<std::string> others;
    for (const char type : "BCdcfDEHFPQSXRK\x16"s) {
        others.push_back(message(type, "x\0"s));
    }
    others.push_back(startup({{"user", "admin"}})); // a second startup message
    others.push_back(untyped(ssl_request_code));
    others.push_back(untyped(gssenc_request_code));
    others.push_back(untyped(cancel_request_code, "\0\0\0\1key!"s));
    for (const auto& way : ways_in()) {
        std::vector<std::string> script;
        static_cast<void>(log_in(way.method, {{"ann", way.stored}}, "pencil", &script));
        for (std::size_t step = 1; step < script.size(); ++step) {
            for (const auto& other : others) {
                CAPTURE(way.name);
                CAPTURE(step);
                CAPTURE(other);
                client_side side(client_options(way.method),
                                 {{"ann", way.stored}, {"admin", "pencil"}});
                for (std::size_t i = 0; i < step; ++i) {
                    side.feed(script[i]);
                }
                const auto kind = read_u32(as_bytes(last_request(side)));
                side.feed(other.substr(0, 1)); // its type is enough
                check_refused(side, "08P01",
                              (kind >= 10 ? "expected SASL response, got message type "
                                          : "expected password response, got message type ") +
                                  std::to_string(static_cast<unsigned char>(other[0])));
                CHECK(side.login().user() == "ann"); // an identity never changes
                CHECK(side.looked_up == std::vector<std::string>{"ann"});
                CHECK_FALSE(side.feed(script[step])); // and it is over for good
            }
        }
    }
}

TEST_CASE("lengths that cannot be are refused by their header, before anything is buffered") {
    for (const auto& way : ways_in()) {
        std::vector<std::string> script;
        static_cast<void>(log_in(way.method, {{"ann", way.stored}}, "pencil", &script));
        for (std::size_t step = 1; step < script.size(); ++step) {
            for (const std::uint32_t length :
                 {0U, 1U, 3U, 0x10005U, 0x3ffffffeU, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
                CAPTURE(way.name);
                CAPTURE(step);
                CAPTURE(length);
                client_side side(client_options(way.method), {{"ann", way.stored}});
                for (std::size_t i = 0; i < step; ++i) {
                    side.feed(script[i]);
                }
                side.feed(header_only('p', length));
                check_refused(side, "08P01", "invalid message length");
            }
        }
    }
}

TEST_CASE("the bounds: 64 KiB for a password, 1,024 bytes for MD5 and SASL") {
    struct row {
        auth_method method;
        std::uint32_t body_bytes;
        bool waits;
    };
    for (const auto& each :
         {row{auth_method::password, 65'536, true}, row{auth_method::password, 65'537, false},
          row{auth_method::md5, 1'024, true}, row{auth_method::md5, 1'025, false},
          row{auth_method::scram_sha_256, 1'024, true},
          row{auth_method::scram_sha_256, 1'025, false}}) {
        const auto& method = each.method;
        const auto& body_bytes = each.body_bytes;
        const auto& waits = each.waits;
        CAPTURE(body_bytes);
        client_side side(client_options(method), {{"ann", "pencil"}});
        side.feed(startup(ann));
        CHECK(side.feed(header_only('p', body_bytes + 4)) == waits);
    }
    // The largest password there may be works.
    const std::string longest(65'535, 'p');
    CHECK(log_in(auth_method::password, {{"ann", longest}}, longest).done);
}

TEST_CASE("passwords: empty, unterminated, cut by a zero") {
    for (const auto method : {auth_method::password, auth_method::md5}) {
        CAPTURE(static_cast<int>(method));
        for (const std::string& stored : {"pencil"s, ""s}) {
            client_side side(client_options(method), {{"ann", stored}});
            side.feed(startup(ann));
            SUBCASE("empty") {
                side.feed(password_message(""));
                check_refused(side, "28P01");
            }
            SUBCASE("nothing") {
                side.feed(message('p', ""));
                check_refused(side, "08P01", "invalid password packet size");
            }
            SUBCASE("no zero") {
                side.feed(message('p', "pencil"));
                check_refused(side, "08P01", "invalid password packet size");
            }
            SUBCASE("more after the zero") {
                side.feed(message('p', "pencil\0x\0"s));
                check_refused(side, "08P01", "invalid password packet size");
            }
        }
    }
}

TEST_CASE("an empty password is refused even where it is the right one") {
    for (const auto& stored : {stored_scram(""), md5_stored_form("", "ann")}) {
        const auto side = log_in(auth_method::password, {{"ann", stored}}, "");
        check_refused(side, "28P01", failed);
        CHECK(side.derivations == 0);
    }
}

TEST_CASE("2026-6664: inner lengths of SASLInitialResponse") {
    const std::string first = "n,,n=,r=" + client_nonce;
    const auto size = static_cast<std::uint32_t>(first.size());
    struct row {
        std::uint32_t length;
        std::string_view message;
    };
    for (const auto& each :
         {row{0, "invalid message format"}, row{1, "invalid message format"},
          row{size - 1, "invalid message format"},
          row{size + 1, "insufficient data left in message"},
          row{0x7fffffff, "insufficient data left in message"},
          row{0x80000000, "insufficient data left in message"},
          row{0xfffffff0, "insufficient data left in message"},
          row{0xfffffffe, "insufficient data left in message"},
          row{0xffffffff, "invalid message format"}}) { // -1, and data all the same
        const auto& length = each.length;
        const auto& text = each.message;
        CAPTURE(length);
        client_side side(client_options(auth_method::scram_sha_256), {{"ann", "pencil"}});
        side.feed(startup(ann));
        side.feed(sasl_initial("SCRAM-SHA-256", first, length));
        check_refused(side, "08P01", text);
    }
    struct body_row {
        std::string body;
        std::string_view message;
    };
    for (const auto& each :
         {body_row{"", "invalid string in message"},
          body_row{"SCRAM-SHA-256", "invalid string in message"},
          body_row{"SCRAM-SHA-256\0"s, "insufficient data left in message"},
          body_row{"SCRAM-SHA-256\0\0\0\0"s, "insufficient data left in message"},
          body_row{"SCRAM-SHA-256\0\0\0\0\0"s, "malformed SCRAM message"},
          body_row{"SCRAM-SHA-256-PLUS\0\377\377\377\377"s,
                   "client selected an invalid SASL authentication mechanism"},
          body_row{"SCRAM-SHA-1\0\377\377\377\377"s,
                   "client selected an invalid SASL authentication mechanism"},
          body_row{"\0\377\377\377\377"s,
                   "client selected an invalid SASL authentication mechanism"}}) {
        const auto& body = each.body;
        const auto& text = each.message;
        CAPTURE(body);
        client_side side(client_options(auth_method::scram_sha_256), {{"ann", "pencil"}});
        side.feed(startup(ann));
        side.feed(message('p', body));
        check_refused(side, "08P01", text);
    }
}

TEST_CASE("a client may begin SASL without a word (length -1), once") {
    client_side side(client_options(auth_method::scram_sha_256), {{"ann", "pencil"}});
    side.feed(startup(ann));
    side.feed(sasl_initial("SCRAM-SHA-256", "", 0xffffffff));
    CHECK(last_request(side) == "\0\0\0\13"s);
    SUBCASE("then speak") {
        while (!side.over()) {
            side.feed(answer(side, "ann", "pencil"));
        }
        CHECK(side.done);
    }
    SUBCASE("but not stay silent") {
        side.feed(message('p', ""));
        check_refused(side, "08P01", "malformed SCRAM message");
    }
}

TEST_CASE("SCRAM messages that are malformed or ask for too much") {
    struct row {
        std::string first;
        std::string_view sqlstate;
    };
    for (const auto& each :
         {row{"p=tls-server-end-point,,n=,r=x", "08P01"}, row{"n,a=admin,n=,r=x", "0A000"},
          row{"n,,m=x,n=,r=x", "0A000"}, row{"n,,r=x", "08P01"}, row{"junk", "08P01"}}) {
        const auto& first = each.first;
        const auto& sqlstate = each.sqlstate;
        CAPTURE(first);
        client_side side(client_options(auth_method::scram_sha_256), {{"ann", "pencil"}});
        side.feed(startup(ann));
        side.feed(sasl_initial(first));
        check_refused(side, sqlstate);
    }
    for (const auto& tampered : {"c=eSws"s, "c=biws,r=client-nonce"s, "junk"s, ""s}) {
        CAPTURE(tampered);
        client_side side(client_options(auth_method::scram_sha_256), {{"ann", "pencil"}});
        side.feed(startup(ann));
        side.feed(sasl_initial("n,,n=,r=" + client_nonce));
        side.feed(message('p', tampered));
        check_refused(side, "08P01");
    }
}

TEST_CASE("a client that could bind channels (y) is let in") {
    client_side side(client_options(auth_method::scram_sha_256), {{"ann", stored_scram("pencil")}});
    side.feed(startup(ann));
    const std::string bare = "n=,r=" + client_nonce;
    side.feed(sasl_initial("y,," + bare));
    const auto server_first = last_request(side).substr(4);
    scram_client_exchange client(client_nonce);
    REQUIRE_FALSE(client.read_server_first(server_first));
    const auto key = derive_salted_password(secret("pencil"), client.salt(), client.iterations());
    const auto nonce = server_first.substr(2, server_first.find(',') - 2);
    const auto without_proof = "c=eSws,r=" + nonce;
    const auto client_key = hmac_sha256(key.reveal(), "Client Key");
    const auto proof =
        exclusive_or(client_key, hmac_sha256(sha256(client_key),
                                             bare + "," + server_first + "," + without_proof));
    side.feed(message('p', without_proof + ",p=" + base64_encode(proof)));
    CHECK(side.done);
}

TEST_CASE("SSLRequest and GSSENCRequest are answered N, in any order, then the login goes on") {
    const auto ssl = untyped(ssl_request_code);
    const auto gss = untyped(gssenc_request_code);
    for (const auto& asked :
         {std::vector{ssl}, std::vector{gss}, std::vector{ssl, gss}, std::vector{gss, ssl}}) {
        client_side side(client_options(auth_method::trust), {{"ann", ""}});
        for (const auto& request : asked) {
            CHECK(side.feed(request));
        }
        CHECK(side.sent == std::string(asked.size(), 'N'));
        side.feed(startup(ann));
        CHECK(side.done);
    }
}

TEST_CASE("PG 2026-6479: at most one SSLRequest and one GSSENCRequest") {
    const auto ssl = untyped(ssl_request_code);
    const auto gss = untyped(gssenc_request_code);
    struct row {
        std::vector<std::string> asked;
        std::string_view text;
    };
    for (const auto& [asked, text] :
         {row{{ssl, ssl}, "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2"},
          row{{ssl, gss, ssl},
              "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2"},
          row{{gss, gss}, "unsupported frontend protocol 1234.5680: server supports 3.0 to 3.2"},
          row{{gss, ssl, gss},
              "unsupported frontend protocol 1234.5680: server supports 3.0 to 3.2"}}) {
        client_side side(client_options(auth_method::trust), {{"ann", ""}});
        for (const auto& request : asked) {
            side.feed(request);
        }
        check_refused(side, "0A000", text);
    }
}

TEST_CASE("2021-3935: bytes buffered behind a request for encryption are never used") {
    for (const auto& each : {std::pair{ssl_request_code, "SSL request"s},
                             std::pair{gssenc_request_code, "GSSAPI encryption request"s}}) {
        const auto& code = each.first;
        const auto& name = each.second;
        for (const auto& smuggled : {message('Q', "SELECT 1\0"s), startup(ann), "x"s,
                                     untyped(ssl_request_code), untyped(gssenc_request_code)}) {
            CAPTURE(name);
            client_side side(client_options(auth_method::trust), {{"ann", ""}});
            side.feed(untyped(code) + smuggled);
            check_refused(side, "08P01", "received unencrypted data after " + name);
            CHECK(side.looked_up.empty());
        }
    }
}

TEST_CASE("a cancel request is handed over and ends the connection") {
    for (const auto& before : {""s, untyped(ssl_request_code)}) {
        client_side side(client_options(auth_method::scram_sha_256), {});
        side.feed(before);
        side.feed(untyped(cancel_request_code, "\0\0\1\2key!"s));
        REQUIRE(side.cancelled);
        CHECK(side.cancelled->request.target.process_id == 258);
        CHECK(side.cancelled->request.target.key == "key!");
        CHECK(side.sent.size() == (before.empty() ? 0 : 1));
    }
}

TEST_CASE("the startup message is refused as PostgreSQL refuses it") {
    struct row {
        std::string first;
        std::string_view sqlstate;
    };
    for (const auto& [first, sqlstate] :
         {row{startup({{"database", "club"}}), "28000"},
          row{untyped(protocol_3_0, "user\0ann\0"s), "08P01"},
          row{startup(ann, 0x00020000), "0A000"}, row{startup(ann, 0x00040000), "0A000"},
          row{startup({{"user", "ann"}, {"replication", "what"}}), "22023"},
          row{startup({{"user", std::string(10'000, 'n')}}), "08P01"}}) {
        client_side side(client_options(auth_method::trust), {{"ann", ""}});
        side.feed(first);
        check_refused(side, sqlstate);
        CHECK(side.looked_up.empty());
    }
}

TEST_CASE("what is no PostgreSQL client gets no answer") {
    for (const auto& first :
         {"GET / HTTP/1.1\r\nHost: x\r\n\r\n"s, "\x16\x03\x01\x02\x00\x01\x00\x01"s,
          password_message("pencil"), message('Q', "SELECT 1\0"s), std::string(64, '\xff')}) {
        client_side side(client_options(auth_method::trust), {{"ann", ""}});
        side.feed(first);
        REQUIRE(side.refused);
        CHECK(side.refused->data.empty());
        CHECK(side.sent.empty());
        CHECK_FALSE(side.refused->log_reason.empty());
    }
}

TEST_CASE("2012-4575: an overlong name is an identity of 63 bytes, in every place") {
    const std::string name(64, 'n');
    const std::string cut(63, 'n');
    for (const auto method : {auth_method::password, auth_method::md5}) {
        client_side side(client_options(method), {{cut, "pencil"}});
        side.feed(startup({{"user", name}}));
        CHECK(side.looked_up == std::vector{cut});
        side.feed(answer(side, cut, "pencil"));
        REQUIRE(side.done);
        CHECK(side.done->startup.user == cut);
    }
}

TEST_CASE("NegotiateProtocolVersion: when, and byte for byte") {
    const auto asking = [](std::uint32_t version, std::vector<std::string> options = {}) {
        auto parameters = ann;
        for (auto& name : options) {
            parameters.emplace_back(std::move(name), "1");
        }
        return startup(parameters, version);
    };
    struct row {
        std::string_view story;
        std::string first;
        std::string expected; // nothing: none is sent
    };
    // Byte1('v') Int32(length) Int32(version) Int32(number of options) and the options' names.
    for (const auto& [story, first, expected] :
         {row{"3.0", asking(0x00030000), ""}, row{"3.2", asking(0x00030002), ""},
          row{"3.1, reserved: what PostgreSQL 18 says", asking(0x00030001), ""},
          row{"3.3", asking(0x00030003), "v\0\0\0\14\0\3\0\2\0\0\0\0"s},
          row{"3.9999, asked by libpq to see", asking(0x0003270f), "v\0\0\0\14\0\3\0\2\0\0\0\0"s},
          row{"3.65535", asking(0x0003ffff), "v\0\0\0\14\0\3\0\2\0\0\0\0"s},
          row{"3.0 with an option", asking(0x00030000, {"_pq_.x"}),
              "v\0\0\0\23\0\3\0\0\0\0\0\1_pq_.x\0"s},
          row{"3.2 with options", asking(0x00030002, {"_pq_.b", "_pq_.a", "_pq_."}),
              "v\0\0\0\40\0\3\0\2\0\0\0\3_pq_.b\0_pq_.a\0_pq_.\0"s},
          row{"3.7 with an option", asking(0x00030007, {"_pq_.x"}),
              "v\0\0\0\23\0\3\0\2\0\0\0\1_pq_.x\0"s}}) {
        CAPTURE(story);
        for (const auto method : {auth_method::trust, auth_method::password, auth_method::md5,
                                  auth_method::scram_sha_256}) {
            for (const std::string_view password : {"pencil", "wrong"}) {
                const auto side = log_in(method, {{"ann", "pencil"}}, password, nullptr, first);
                CHECK(side.sent.substr(0, expected.size()) == expected);
                const auto frames = frames_in(side.sent);
                CHECK(std::count_if(frames.begin(), frames.end(), [](const framed& f) {
                          return f.type == 'v';
                      }) == (expected.empty() ? 0 : 1));
            }
        }
        // Before the refusal of an unknown user, too.
        const auto side = log_in(auth_method::trust, {}, "", nullptr, first);
        CHECK(side.sent.substr(0, expected.size()) == expected);
        check_refused(side, "28000");
    }
}

TEST_CASE("keys are as long as the protocol that is spoken has them") {
    CHECK(own_cancel_key_bytes(spoken_minor_version(0)) == 4);
    CHECK(own_cancel_key_bytes(spoken_minor_version(1)) == 4);
    CHECK(own_cancel_key_bytes(spoken_minor_version(2)) == 32);
    CHECK(own_cancel_key_bytes(spoken_minor_version(3)) == 32);
    CHECK(own_cancel_key_bytes(spoken_minor_version(0xffff)) == 32);
}

TEST_CASE("the deadline: silence before the startup message, 57014 after it") {
    for (const auto& way : ways_in()) {
        CAPTURE(way.name);
        std::vector<std::string> script;
        static_cast<void>(log_in(way.method, {{"ann", way.stored}}, "pencil", &script));
        for (std::size_t step = 0; step < script.size(); ++step) {
            client_side side(client_options(way.method), {{"ann", way.stored}});
            for (std::size_t i = 0; i < step; ++i) {
                side.feed(script[i]);
            }
            side.feed(script[step].substr(0, script[step].size() / 2));
            CHECK_FALSE(side.time_out());
            if (step == 0) {
                REQUIRE(side.refused);
                CHECK(side.refused->data.empty());
            } else {
                check_refused(side, "57014", "canceling authentication due to timeout");
            }
        }
    }
}

TEST_CASE("answers that nobody asked for are refused, not believed") {
    client_login login(client_options(auth_method::trust));
    SUBCASE("a user before the startup message") {
        CHECK(std::holds_alternative<login_refuse>(
            login.found_user(stored_credential{secret("pencil")})));
    }
    SUBCASE("a key before anything") {
        CHECK(
            std::holds_alternative<login_refuse>(login.derived_key(secret(std::string(32, 'k')))));
    }
    bytes nothing;
    CHECK(std::holds_alternative<login_refuse>(login.resume(nothing)));
}

TEST_CASE("bytes that come while the user is looked up are not touched") {
    client_login login(client_options(auth_method::password));
    const auto input = startup(ann) + password_message("pencil");
    auto in = as_bytes(input);
    REQUIRE(std::holds_alternative<login_find_user>(login.resume(in)));
    const auto left = in.size();
    CHECK(std::holds_alternative<login_read>(login.resume(in)));
    CHECK(in.size() == left);
    CHECK(
        std::holds_alternative<login_write>(login.found_user(stored_credential{secret("pencil")})));
    CHECK(std::holds_alternative<login_authenticated>(login.resume(in)));
    CHECK(in.empty());
}

TEST_CASE("what is logged of a refusal holds neither the password nor control bytes") {
    client_side side(client_options(auth_method::password), {{"ann", "pencil"}});
    side.feed(startup(ann));
    side.feed(password_message("hunter2"));
    REQUIRE(side.refused);
    CHECK(side.refused->log_reason.find("hunter2") == std::string::npos);
    CHECK(side.refused->data.find("hunter2") == std::string::npos);
    CHECK(side.refused->data.find("pencil") == std::string::npos);

    client_side odd(client_options(auth_method::trust), {});
    odd.feed(startup({{"user", "a\x1b[2Jb"}}));
    CHECK(error_of(odd).message == "\"trust\" authentication failed for user \"a?[2Jb\"");
}
