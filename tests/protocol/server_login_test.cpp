// Tests of protocol/server_login.hpp: a fake server, honest first, then failing at every step and
// hostile in every value.
#include "tests/protocol/login_script.hpp"

#include <algorithm>

using namespace login_script;
using namespace std::string_literals;
using why = server_refused::why;

namespace {

server_login::options options_for(std::string password, std::string probe = {}) {
    server_login::options opts;
    opts.user = "ann";
    opts.database = "club";
    opts.password = secret(std::move(password));
    opts.settings = {{"application_name", "bot"}};
    opts.nonce.fill(std::byte{9});
    opts.probe_sql = std::move(probe);
    opts.min_scram_iterations = 1; // so that tests are quick
    return opts;
}

constexpr std::uint32_t newest = protocol_3_0 | newest_minor_version;

const std::string ok = authentication(0);
/// NegotiateProtocolVersion of a server that knows 3.0 only, as PostgreSQL 15 sends it.
const std::string only_3_0 = "v\0\0\0\14\0\3\0\0\0\0\0\0"s;
const std::string scram_offer = authentication(10, "SCRAM-SHA-256\0\0"s);

std::string parameter(std::string_view name, std::string_view value) {
    return message('S', std::string(name) + '\0' + std::string(value) + '\0');
}
std::string key_data(std::string_view key = "key!") {
    return message('K', "\0\0\1\2"s + std::string(key));
}
std::string ready(char status = 'I') { return message('Z', std::string(1, status)); }
std::string row(const std::vector<std::optional<std::string>>& columns) {
    std::string body;
    message_writer writer(body);
    writer.u16(static_cast<std::uint16_t>(columns.size()));
    for (const auto& column : columns) {
        writer.u32(column ? static_cast<std::uint32_t>(column->size()) : 0xffffffff);
        writer.raw(column.value_or(""));
    }
    return message('D', body);
}
const std::string notice = message('N', "SNOTICE\0VNOTICE\0C00000\0Mhello\0\0"s);

/// What a server says after AuthenticationOk.
const std::string welcome = parameter("server_version", "15.8") + parameter("TimeZone", "UTC") +
                            notice + parameter("TimeZone", "Europe/Vienna") + key_data() + ready();
const std::string probe_answer = message('T', "\0\0"s) + row({"1"}) + row({"two", "x"}) +
                                 row({std::nullopt}) + message('C', "SELECT 3\0"s) + ready();

/// The server's SCRAM messages, made from what the client has said so far.
class fake_scram {
public:
    explicit fake_scram(std::string password, std::uint32_t iterations = 16)
        : password_(std::move(password))
        , iterations_(iterations) {}

    std::string first(const std::string& client_initial) {
        body_reader reader(as_bytes(client_initial));
        CHECK(reader.c_string() == "SCRAM-SHA-256");
        const auto length = reader.u32();
        CHECK(length == reader.rest().size());
        REQUIRE_FALSE(exchange_.read_client_first(as_text(reader.rest())));
        return authentication(11, exchange_.server_first("salt", iterations_));
    }
    std::string last(const std::string& client_final) {
        REQUIRE_FALSE(exchange_.read_client_final(client_final));
        const auto verifier = make_verifier(
            derive_salted_password(secret(password_), "salt", iterations_), "salt", iterations_);
        proven = exchange_.proven(verifier);
        return authentication(12, exchange_.server_final(verifier));
    }
    bool proven = false;

private:
    std::string password_;
    std::uint32_t iterations_;
    scram_server_exchange exchange_{"server-nonce"};
};

/// The body of the last message our side has sent.
std::string last_sent(const server_side& side) {
    const auto startup_bytes = read_u32(as_bytes(side.sent));
    const auto frames = frames_in(side.sent, startup_bytes);
    REQUIRE_FALSE(frames.empty());
    return frames.back().body;
}

server_side started(server_login::options opts) {
    server_side side(std::move(opts));
    REQUIRE(side.start());
    return side;
}

/// What an honest server sends, step by step, for one method of authentication.
struct way_in {
    std::string_view name;
    std::string password;
    std::string request; // the authentication request; empty: none
};
std::vector<way_in> ways_in() {
    return {{"trust", "", ""},
            {"password", "pencil", authentication(3)},
            {"md5", "pencil", authentication(5, "salt")},
            {"md5, stored as md5", md5_stored_form("pencil", "ann"), authentication(5, "salt")},
            {"SCRAM", "pencil", scram_offer},
            {"trust, 3.0", "", only_3_0},
            {"password, 3.0", "pencil", only_3_0 + authentication(3)},
            {"SCRAM, 3.0", "pencil", only_3_0 + scram_offer}};
}

/// Runs an honest server against `side`; what it sends is left in `script`.
void run_honest(server_side& side, const way_in& way, bool probing,
                std::vector<std::string>* script = nullptr) {
    const auto send = [&](const std::string& data) {
        if (script != nullptr) {
            script->push_back(data);
        }
        side.feed(data);
    };
    if (!way.request.empty()) {
        send(way.request);
    }
    if (way.name.starts_with("SCRAM")) {
        fake_scram scram("pencil");
        send(scram.first(last_sent(side)));
        send(scram.last(last_sent(side)));
        CHECK(scram.proven);
    }
    send(ok + welcome);
    if (probing) {
        send(probe_answer);
    }
}

/// A side that has come as far as the server's first SCRAM message.
server_side in_scram(server_login::options opts = options_for("pencil")) {
    auto side = started(std::move(opts));
    side.feed(scram_offer);
    REQUIRE_FALSE(side.over());
    return side;
}
std::string our_nonce(const server_side& side) {
    const auto sent = last_sent(side);
    return sent.substr(sent.find("r=") + 2);
}

void check_refused(const server_side& side, why reason) {
    REQUIRE(side.refused);
    CHECK(side.refused->reason == reason);
    CHECK_FALSE(side.ready);
    CHECK_FALSE(side.refused->message.empty());
    CHECK(printable(side.refused->message, 10'000) == side.refused->message);
}

} // namespace

TEST_CASE("the startup packet says who we are and what the session shall be") {
    const auto side = started(options_for("pencil"));
    CHECK(side.sent ==
          startup({{"user", "ann"}, {"database", "club"}, {"application_name", "bot"}}, newest));
    CHECK(side.sent.substr(0, 8) == "\0\0\0\65\0\3\0\2"s);
}

TEST_CASE("a replication connection says so, of either kind") {
    struct row_ {
        replication_kind kind;
        std::string_view value;
    };
    for (const auto& each :
         {row_{replication_kind::physical, "true"}, row_{replication_kind::logical, "database"}}) {
        auto opts = options_for("pencil");
        opts.replication = each.kind;
        CHECK(started(std::move(opts)).sent == startup({{"user", "ann"},
                                                        {"database", "club"},
                                                        {"replication", std::string(each.value)},
                                                        {"application_name", "bot"}},
                                                       newest));
    }
}

TEST_CASE("settings are sent as they are, in their order") {
    auto opts = options_for("pencil");
    opts.settings = {{"zz", "1"}, {"options", "-c a=b\\ c --d=e"}, {"", "cut"}, {"AA", ""}};
    CHECK(started(std::move(opts)).sent == startup({{"user", "ann"},
                                                    {"database", "club"},
                                                    {"zz", "1"},
                                                    {"options", "-c a=b\\ c --d=e"},
                                                    {"AA", ""}},
                                                   newest));
}

TEST_CASE("each method of authentication leads to a server that is ready") {
    for (const auto& way : ways_in()) {
        for (const bool probing : {false, true}) {
            CAPTURE(way.name);
            CAPTURE(probing);
            auto side = started(options_for(way.password, probing ? "SELECT probe" : ""));
            run_honest(side, way, probing);
            REQUIRE(side.ready);
            const auto& found = side.ready->welcome;
            CHECK(found.parameters ==
                  std::map<std::string, std::string>{{"server_version", "15.8"},
                                                     {"TimeZone", "Europe/Vienna"}});
            CHECK(found.key.process_id == 258);
            CHECK(found.key.key == "key!");
            CHECK(found.probe_answers == (probing ? std::vector<std::string>{"1", "two", ""}
                                                  : std::vector<std::string>{}));
            CHECK(found.notices == notice);
            CHECK(side.unread().empty());
        }
    }
}

TEST_CASE("an error is passed on word for word only once the server has let us in") {
    const auto refusal = error_message("22023", "invalid value\xfc for \n it");
    for (const auto& way : ways_in()) {
        CAPTURE(way.name);
        std::vector<std::string> script;
        auto whole = started(options_for(way.password));
        run_honest(whole, way, false, &script);
        for (std::size_t step = 0; step < script.size(); ++step) {
            auto side = started(options_for(way.password));
            for (std::size_t i = 0; i < step; ++i) {
                side.feed(script[i]);
            }
            side.feed((step + 1 == script.size() ? ok : ""s) + refusal);
            check_refused(side, why::other_error);
            CHECK(side.refused->response == (step + 1 == script.size() ? refusal : ""));
        }
    }
}

TEST_CASE("what is sent for password and md5 is what PostgreSQL expects") {
    auto side = started(options_for("pencil"));
    side.feed(authentication(3));
    CHECK(last_sent(side) == "pencil\0"s);
    side = started(options_for("pencil"));
    side.feed(authentication(5, "salt"));
    CHECK(last_sent(side) == md5_response("pencil", "ann", "salt") + '\0');
}

TEST_CASE("a server split at every byte comes out the same") {
    for (const auto& way : ways_in()) {
        CAPTURE(way.name);
        std::vector<std::string> script;
        auto whole = started(options_for(way.password, "SELECT probe"));
        run_honest(whole, way, true, &script);
        REQUIRE(whole.ready);
        split_at_every_byte(
            script, [&] { return started(options_for(way.password, "SELECT probe")); },
            [&](const server_side& side) {
                REQUIRE(side.ready);
                REQUIRE(side.sent == whole.sent);
                REQUIRE(side.ready->welcome.parameters == whole.ready->welcome.parameters);
                REQUIRE(side.ready->welcome.probe_answers == whole.ready->welcome.probe_answers);
            });
    }
}

TEST_CASE("an ErrorResponse at any step refuses, by its SQLSTATE") {
    struct row_ {
        std::string_view sqlstate;
        why reason;
    };
    for (const auto& each :
         {row_{"53300", why::too_many_connections}, row_{"57P03", why::starting_up},
          row_{"57P01", why::starting_up}, row_{"57P02", why::starting_up},
          row_{"28P01", why::authentication}, row_{"28000", why::authentication},
          row_{"3D000", why::no_such_database}, row_{"42501", why::other_error},
          row_{"53200", why::other_error}, row_{"", why::other_error}}) {
        const auto& sqlstate = each.sqlstate;
        const auto& reason = each.reason;
        for (const auto& way : ways_in()) {
            std::vector<std::string> script;
            auto whole = started(options_for(way.password, "SELECT probe"));
            run_honest(whole, way, true, &script);
            for (std::size_t step = 0; step < script.size(); ++step) {
                CAPTURE(sqlstate);
                CAPTURE(way.name);
                CAPTURE(step);
                auto side = started(options_for(way.password, "SELECT probe"));
                for (std::size_t i = 0; i < step; ++i) {
                    side.feed(script[i]);
                }
                side.feed(error_message(sqlstate, "no\n\x1b[31mway"));
                check_refused(side, reason);
                CHECK(side.refused->sqlstate == sqlstate);
                CHECK(side.refused->message == "no??[31mway");
            }
        }
    }
}

TEST_CASE("which limit was reached is told by the place in PostgreSQL's source, in any language") {
    for (const auto& [routine, reason] :
         {std::pair{"InitializeSessionUserId", why::too_many_of_role},
          std::pair{"CheckMyDatabase", why::too_many_to_database},
          std::pair{"InitProcess", why::too_many_connections},
          std::pair{"", why::too_many_connections}}) {
        CAPTURE(routine);
        auto side = started(options_for("pencil"));
        side.feed(message('E', "SFATAL\0C53300\0Mzu viele Verbindungen\0R"s + routine + "\0\0"s));
        check_refused(side, reason);
        CHECK(server_refused::is_too_many(side.refused->reason));
    }
    CHECK_FALSE(server_refused::is_too_many(why::other_error));
}

TEST_CASE("2026-6666: an ErrorResponse without any of its fields is an ErrorResponse") {
    for (const auto& body : {""s, "\0"s, "C"s, "C28P01"s, "Mno\0"s, "C28P01\0C3D000\0\0"s,
                             "C\x1b[2J\0Mx\0\0"s, std::string(300, 'M')}) {
        CAPTURE(body);
        auto side = started(options_for("pencil"));
        side.feed(message('E', body));
        REQUIRE(side.refused);
        CHECK(side.refused->reason != why::protocol);
        CHECK_FALSE(side.refused->message.empty());
        CHECK(side.refused->sqlstate.find('\x1b') == std::string::npos);
    }
}

TEST_CASE("an error as PostgreSQL 7 wrote it (no process could be started) is read") {
    auto side = started(options_for("pencil"));
    side.feed("Ecould not fork new process for connection: Resource temporarily unavailable\n\0"s);
    check_refused(side, why::other_error);
    CHECK(side.refused->message ==
          "could not fork new process for connection: Resource temporarily unavailable");
    auto other = started(options_for("pencil"));
    other.feed("E\x40\0\0\0S"s); // a length that cannot be
    check_refused(other, why::protocol);
}

TEST_CASE("what a server says during login is kept up to a bound, empty messages as well") {
    for (const auto kind : {'N', 'S'}) {
        CAPTURE(kind);
        auto side = started(options_for("pencil"));
        side.feed(only_3_0 + ok);
        std::size_t said_bytes = 0;
        for (int i = 0; !side.over() && said_bytes < 10'000'000; ++i) {
            const auto next = message(kind, kind == 'N' ? ""s : std::to_string(i) + "\0\0"s);
            side.feed(next);
            said_bytes += next.size();
        }
        check_refused(side, why::protocol);
        CHECK(said_bytes < (kind == 'N' ? 1'100'000 : 11'000)); // 1,000 parameters
    }
}

TEST_CASE("every other message, at every step, is refused") {
    const std::string tolerated = "ENR";
    for (const auto& way : ways_in()) {
        std::vector<std::string> script;
        auto whole = started(options_for(way.password, "SELECT probe"));
        run_honest(whole, way, true, &script);
        for (std::size_t step = 0; step < script.size(); ++step) {
            const bool probing = step + 1 == script.size();
            for (int type = 0; type < 256; ++type) {
                const auto letter = static_cast<char>(type);
                if ((tolerated + (probing ? "TCIASDZ" : "")).find(letter) != std::string::npos) {
                    continue;
                }
                CAPTURE(way.name);
                CAPTURE(step);
                CAPTURE(type);
                auto side = started(options_for(way.password, "SELECT probe"));
                for (std::size_t i = 0; i < step; ++i) {
                    side.feed(script[i]);
                }
                side.feed(message(letter, "I"));
                check_refused(side, why::protocol);
                CHECK_FALSE(side.feed("more"));
            }
        }
    }
}

TEST_CASE("impossible lengths are refused by their header") {
    for (const std::uint32_t length :
         {0U, 3U, 0x10005U, 0x100005U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
        for (const char type : "RSKZDNvT"s) {
            if (type == 'N' && length == 0x10005U) {
                continue; // a notice may be that long
            }
            CAPTURE(length);
            CAPTURE(type);
            auto side = started(options_for("pencil"));
            side.feed(header_only(type, length));
            check_refused(side, why::protocol);
        }
    }
    SUBCASE("an error may be 1 MiB") {
        auto side = started(options_for("pencil"));
        CHECK(side.feed(header_only('E', 0x100004)));
        CHECK(side.feed("C53300\0M"s + std::string(0x100000 - 10, 'm')));
        side.feed("\0\0"s);
        check_refused(side, why::too_many_connections);
        CHECK(side.refused->message.size() == 500);
    }
    SUBCASE("not more, once the server has spoken the protocol") {
        auto side = started(options_for("pencil"));
        side.feed(notice);
        side.feed(header_only('E', 0x100005));
        check_refused(side, why::protocol);
    }
}

TEST_CASE("a server that asks for what our password cannot answer is refused") {
    struct row_ {
        std::string_view name;
        std::string password;
        std::string request;
    };
    for (const auto& each :
         {row_{"no password", "", authentication(3)},
          row_{"no password", "", authentication(5, "salt")}, row_{"no password", "", scram_offer},
          row_{"md5 for password", md5_stored_form("pencil", "ann"), authentication(3)},
          row_{"md5 for SCRAM", md5_stored_form("pencil", "ann"), scram_offer},
          row_{"verifier for password", stored_scram("pencil"), authentication(3)},
          row_{"verifier for md5", stored_scram("pencil"), authentication(5, "salt")},
          row_{"verifier for SCRAM", stored_scram("pencil"), scram_offer},
          row_{"another", "pencil", authentication(10, "SCRAM-SHA-1\0\0"s)},
          row_{"other mechanisms", "pencil", authentication(10, "SCRAM-SHA-1\0OAUTHBEARER\0\0"s)},
          row_{"no mechanism", "pencil", authentication(10, "\0"s)}}) {
        const auto& name = each.name;
        const auto& password = each.password;
        const auto& request = each.request;
        CAPTURE(name);
        auto side = started(options_for(password));
        const auto before = side.sent;
        side.feed(request);
        check_refused(side, why::authentication);
        CHECK(side.sent == before); // nothing of the secret went out
    }
}

TEST_CASE("methods we do not speak are refused by name") {
    struct row_ {
        std::uint32_t kind;
        std::string_view name;
    };
    for (const auto& each :
         {row_{2, "Kerberos V5"}, row_{4, "crypt"}, row_{6, "SCM credential"}, row_{7, "GSSAPI"},
          row_{9, "SSPI"}, row_{13, "number 13"}, row_{0xffffffff, "number 4294967295"}}) {
        const auto& kind = each.kind;
        const auto& name = each.name;
        CAPTURE(kind);
        auto side = started(options_for("pencil"));
        side.feed(authentication(kind));
        check_refused(side, why::authentication);
        CHECK(side.refused->message.find(name) != std::string::npos);
    }
}

TEST_CASE("authentication requests that are malformed") {
    for (const auto& request :
         {message('R', ""), message('R', "\0\0\0"s), authentication(0, "x"), authentication(5),
          authentication(5, "sal"), authentication(5, "salt5"), authentication(10),
          authentication(10, "SCRAM-SHA-256"), authentication(10, "SCRAM-SHA-256\0"s),
          authentication(10, "SCRAM-SHA-256\0\0x"s), authentication(11), authentication(12)}) {
        CAPTURE(request);
        auto side = started(options_for("pencil"));
        side.feed(request);
        REQUIRE(side.refused);
        CHECK_FALSE(side.ready);
    }
}

TEST_CASE("ponylang #209: a server that skips, repeats or reorders SASL steps is refused") {
    // The position in the honest exchange, and what comes there instead.
    fake_scram scram("pencil");
    SUBCASE("Ok instead of SASLContinue") {
        auto side = in_scram();
        side.feed(ok);
        check_refused(side, why::protocol);
    }
    SUBCASE("SASLFinal instead of SASLContinue") {
        auto side = in_scram();
        side.feed(authentication(12, "v=AAAA"));
        check_refused(side, why::protocol);
    }
    SUBCASE("another request instead of SASLContinue: no downgrade") {
        for (const auto& request : {authentication(3), authentication(5, "salt"), scram_offer}) {
            auto side = in_scram();
            const auto before = side.sent;
            side.feed(request);
            check_refused(side, why::protocol);
            CHECK(side.sent == before);
        }
    }
    SUBCASE("Ok instead of SASLFinal") {
        auto side = in_scram();
        side.feed(scram.first(last_sent(side)));
        side.feed(ok + welcome);
        check_refused(side, why::protocol);
    }
    SUBCASE("SASLContinue twice") {
        auto side = in_scram();
        const auto first = scram.first(last_sent(side));
        side.feed(first);
        side.feed(first);
        check_refused(side, why::protocol);
        CHECK(side.derivations == 1);
    }
    SUBCASE("SASLFinal twice") {
        auto side = in_scram();
        side.feed(scram.first(last_sent(side)));
        const auto last = scram.last(last_sent(side));
        side.feed(last);
        side.feed(last);
        check_refused(side, why::protocol);
    }
    SUBCASE("a new request after SASLFinal") {
        auto side = in_scram();
        side.feed(scram.first(last_sent(side)));
        side.feed(scram.last(last_sent(side)));
        side.feed(authentication(3));
        check_refused(side, why::protocol);
    }
    SUBCASE("the welcome without Ok") {
        auto side = in_scram();
        side.feed(scram.first(last_sent(side)));
        side.feed(scram.last(last_sent(side)));
        side.feed(welcome);
        check_refused(side, why::protocol);
    }
    SUBCASE("a second request after Ok") {
        auto side = started(options_for("pencil"));
        side.feed(ok);
        side.feed(authentication(3));
        check_refused(side, why::protocol);
    }
    SUBCASE("a second request after the password") {
        auto side = started(options_for("pencil"));
        side.feed(authentication(5, "salt"));
        side.feed(authentication(3));
        check_refused(side, why::protocol);
    }
}

TEST_CASE("a server that does not know the password is no server of ours") {
    auto side = in_scram();
    fake_scram scram("another");
    side.feed(scram.first(last_sent(side)));
    side.feed(scram.last(last_sent(side)) + ok + welcome);
    CHECK_FALSE(scram.proven);
    check_refused(side, why::authentication);
}

TEST_CASE("the server's verdict on our proof is told") {
    auto side = in_scram();
    fake_scram scram("pencil");
    side.feed(scram.first(last_sent(side)));
    side.feed(authentication(12, "e=invalid-proof"));
    check_refused(side, why::authentication);
}

TEST_CASE("2026-6665: server nonces from 1 byte to 1 MB") {
    const auto first_with = [](const std::string& nonce) {
        return authentication(11, "r=" + nonce + ",s=c2FsdA==,i=16");
    };
    SUBCASE("that extend ours are used while they fit a message") {
        for (const std::size_t length : {1U, 18U, 1'000U, 60'000U}) {
            CAPTURE(length);
            auto side = in_scram();
            const auto nonce = our_nonce(side) + std::string(length, 'n');
            side.feed(first_with(nonce));
            REQUIRE_FALSE(side.over());
            CHECK(last_sent(side).starts_with("c=biws,r=" + nonce + ",p="));
        }
    }
    SUBCASE("that do not extend ours are refused") {
        for (const std::size_t length : {1U, 24U, 1'000U, 60'000U}) {
            CAPTURE(length);
            auto side = in_scram();
            side.feed(first_with(std::string(length, 'n')));
            check_refused(side, why::protocol);
        }
        auto side = in_scram();
        side.feed(first_with(our_nonce(side)));
        check_refused(side, why::protocol);
    }
    SUBCASE("of more than a message are refused by the header") {
        for (const std::size_t length : {65'536U, 1'000'000U}) {
            auto side = in_scram();
            side.feed(first_with(our_nonce(side) + std::string(length, 'n')).substr(0, 5));
            check_refused(side, why::protocol);
        }
    }
}

TEST_CASE("2026-6669, 2026-42198: a server cannot buy our CPU with SCRAM iterations") {
    struct row_ {
        std::string count;
        bool taken;
    };
    for (const auto& each :
         {row_{"1", true}, row_{"1000", true}, row_{"1001", false}, row_{"2147483647", false},
          row_{"2147483648", false}, row_{"4294967296", false}, row_{"4294967297", false},
          row_{"99999999999999999999", false}, row_{"0", false}, row_{"-1", false},
          row_{"", false}}) {
        const auto& count = each.count;
        const auto& taken = each.taken;
        CAPTURE(count);
        auto opts = options_for("pencil");
        opts.max_scram_iterations = 1000;
        auto side = in_scram(std::move(opts));
        side.feed(authentication(11, "r=" + our_nonce(side) + "n,s=c2FsdA==,i=" + count));
        CHECK(side.over() == !taken);
        CHECK(side.derivations == (taken ? 1 : 0));
    }
}

TEST_CASE("a key that could not be derived ends the login") {
    server_login login(options_for("pencil"));
    static_cast<void>(login.start());
    auto in = as_bytes(scram_offer);
    const auto action = login.resume(in);
    REQUIRE(std::holds_alternative<login_write>(action));
    const auto sent = std::get<login_write>(action).data;
    const auto first =
        authentication(11, "r=" + sent.substr(sent.find("r=") + 2) + "n,s=c2FsdA==,i=1");
    in = as_bytes(first);
    REQUIRE(std::holds_alternative<login_derive>(login.resume(in)));
    bytes nothing;
    CHECK(std::holds_alternative<login_read>(login.resume(nothing))); // it is still our turn
    CHECK(std::holds_alternative<server_refused>(login.derived_key(secret())));
}

TEST_CASE("the welcome: notices are passed over, a key is optional") {
    auto side = started(options_for("pencil"));
    side.feed(notice + only_3_0 + notice);
    side.feed(ok + notice + ready());
    REQUIRE(side.ready);
    CHECK(side.ready->welcome.key.key.empty());
    CHECK(side.ready->welcome.parameters.empty());
    CHECK(side.ready->welcome.notices == notice); // what it says before it knows us is not kept
}

TEST_CASE("NegotiateProtocolVersion: down to 3.0, once, before anything else") {
    const auto negotiation = [](std::uint32_t version, std::uint32_t options = 0,
                                std::string_view rest = {}) {
        std::string body;
        message_writer(body).u32(version).u32(options).raw(rest);
        return message('v', body);
    };
    REQUIRE(negotiation(protocol_3_0) == only_3_0);
    SUBCASE("accepted, and without it the version is ours") {
        for (const bool old : {false, true}) {
            auto side = started(options_for("pencil"));
            const auto before = side.sent.size();
            side.feed((old ? only_3_0 : ""s) + ok + key_data() + ready());
            REQUIRE(side.ready);
            CHECK(side.ready->welcome.minor_version == (old ? 0 : 2));
            CHECK(side.sent.size() == before); // no further word of ours, no further round trip
        }
    }
    SUBCASE("anything else is refused") {
        for (const auto& bad :
             {negotiation(newest), negotiation(0x00030001), negotiation(0x00030003),
              negotiation(0x00020000), negotiation(0x00040000), negotiation(0),
              negotiation(0xffffffff), negotiation(protocol_3_0, 1, "_pq_.x\0"s),
              negotiation(protocol_3_0, 1), negotiation(protocol_3_0, 0xffffffff),
              negotiation(protocol_3_0, 0, "x"), message('v', ""), message('v', "\0\3\0\0"s),
              message('v', "\0\3\0\0\0\0\0"s), only_3_0 + only_3_0}) {
            CAPTURE(bad);
            auto side = started(options_for("pencil"));
            side.feed(bad);
            check_refused(side, why::protocol);
        }
    }
    SUBCASE("refused at every later step") {
        for (const auto& way : ways_in()) {
            std::vector<std::string> script;
            auto whole = started(options_for(way.password, "SELECT probe"));
            run_honest(whole, way, true, &script);
            for (std::size_t step = 1; step < script.size(); ++step) {
                if (script[step - 1] == only_3_0) {
                    continue; // that is the second one, see above
                }
                CAPTURE(way.name);
                CAPTURE(step);
                auto side = started(options_for(way.password, "SELECT probe"));
                for (std::size_t i = 0; i < step; ++i) {
                    side.feed(script[i]);
                }
                side.feed(only_3_0);
                check_refused(side, why::protocol);
            }
        }
    }
}

TEST_CASE("cancel keys: 4 bytes in protocol 3.0, 4 to 256 in 3.2") {
    for (const bool old : {false, true}) {
        for (const std::size_t length : {0U, 1U, 3U, 4U, 5U, 8U, 31U, 32U, 255U, 256U, 257U}) {
            CAPTURE(old);
            CAPTURE(length);
            auto side = started(options_for("pencil"));
            side.feed((old ? only_3_0 : ""s) + ok + key_data(std::string(length, 'k')) + ready());
            if (old ? length == 4 : length >= 4 && length <= 256) {
                REQUIRE(side.ready);
                CHECK(side.ready->welcome.key.key == std::string(length, 'k'));
            } else {
                check_refused(side, why::protocol);
            }
        }
        for (const auto& body : {""s, "\0\0\1"s}) {
            auto side = started(options_for("pencil"));
            side.feed((old ? only_3_0 : ""s) + ok + message('K', body) + ready());
            check_refused(side, why::protocol);
        }
    }
}

TEST_CASE("malformed words of welcome are refused") {
    for (const auto& bad :
         {message('S', ""), message('S', "name"), message('S', "name\0"s),
          message('S', "name\0value"s), message('S', "name\0value\0x"s), message('Z', ""),
          message('Z', "II"), ready('T'), ready('E'), ready('x')}) {
        CAPTURE(bad);
        auto side = started(options_for("pencil"));
        side.feed(ok + bad);
        check_refused(side, why::protocol);
    }
}

TEST_CASE("a server that never stops talking is refused") {
    auto side = started(options_for("pencil"));
    side.feed(ok);
    for (int i = 0; i < 100 && !side.over(); ++i) {
        side.feed(parameter("p" + std::to_string(i), std::string(60'000, 'v')));
    }
    check_refused(side, why::protocol);
}

TEST_CASE("the probe: an error in it answers nothing and ends nothing") {
    auto side = started(options_for("pencil", "SELECT probe"));
    side.feed(ok + welcome);
    CHECK(last_sent(side) == "SELECT probe\0"s);
    side.feed(row({"half"}) + error_message("42501", "permission denied", "ERROR") + ready());
    REQUIRE(side.ready);
    CHECK(side.ready->welcome.probe_answers.empty());
    CHECK(side.ready->welcome.key.process_id == 258);
}

TEST_CASE("the probe: what a server may say in it") {
    struct row_ {
        std::string said;
        bool fine;
    };
    for (const auto& each :
         {row_{probe_answer, true}, row_{message('I', "") + ready(), true}, row_{ready(), true},
          row_{notice + parameter("a", "b") + message('A', "\0\0\0\1c\0p\0"s) + ready(), true},
          row_{ready('T'), false}, row_{ready('E'), false}, row_{message('D', ""), false},
          row_{message('D', "\0\0"s), false}, row_{message('D', "\0\1\0\0\0\5abcd"s), false},
          row_{message('D', "\0\1\200\0\0\0"s), false},
          row_{message('D', "\0\1\377\377\377\376"s), false}, row_{message('G', "\0\0\0"s), false},
          row_{message('H', "\0\0\0"s), false}, row_{message('W', "\0\0\0"s), false},
          row_{message('d', "x"), false}, row_{ok, false}, row_{key_data(), false}}) {
        const auto& said = each.said;
        const auto& fine = each.fine;
        CAPTURE(said);
        auto side = started(options_for("pencil", "SELECT probe"));
        side.feed(ok + welcome);
        side.feed(said);
        CHECK(side.ready.has_value() == fine);
        CHECK(side.over());
    }
}

TEST_CASE("what comes after the login stays in the buffer") {
    auto side = started(options_for("pencil"));
    side.feed(ok + ready() + notice);
    CHECK(side.ready);
    CHECK(side.unread() == notice);
}

TEST_CASE("driven out of turn, it refuses") {
    server_login login(options_for("pencil"));
    bytes nothing;
    SUBCASE("bytes before start") {
        CHECK(std::holds_alternative<server_refused>(login.resume(nothing)));
    }
    SUBCASE("a key before anything") {
        CHECK(std::holds_alternative<server_refused>(
            login.derived_key(secret(std::string(32, 'k')))));
    }
    SUBCASE("started twice") {
        static_cast<void>(login.start());
        CHECK(std::holds_alternative<server_refused>(login.start()));
    }
}
