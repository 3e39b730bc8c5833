// Seeded random bytes, and valid conversations with random damage, against everything that reads
// what strangers send: no crash, no loop, and nobody let in. The sanitizer build runs it too.
#include "tests/protocol/login_script.hpp"

#include <algorithm>
#include <random>

using namespace login_script;
using namespace std::string_literals;

namespace {

constexpr int inputs = 20'000;

class noise {
public:
    explicit noise(std::uint64_t seed)
        : engine_(seed) {}
    std::uint32_t below(std::size_t bound) { return static_cast<std::uint32_t>(engine_() % bound); }
    std::string bytes_of(std::size_t most) {
        std::string out(below(most + 1), '\0');
        std::generate(out.begin(), out.end(), [this] { return static_cast<char>(below(256)); });
        return out;
    }
    /// Cuts, repeats, overwrites or inserts something, mostly near the lengths in front.
    std::string damaged(std::string text) {
        for (auto times = 1 + below(3); times > 0 && !text.empty(); --times) {
            const auto at =
                below(below(2) == 0 ? std::min<std::size_t>(text.size(), 12) : text.size());
            switch (below(5)) {
            case 0:
                text[at] = static_cast<char>(below(256));
                break;
            case 1:
                text[at] = "\0\x7f\x80\xff"[below(4)];
                break;
            case 2:
                text.erase(at, 1 + below(4));
                break;
            case 3:
                text.insert(at, bytes_of(6));
                break;
            default:
                text.resize(at);
                break;
            }
        }
        return text;
    }

private:
    std::mt19937_64 engine_;
};

/// Feeds `data` in random pieces.
template <typename Side>
void trickle(Side& side, const std::string& data, noise& random) {
    for (std::size_t at = 0; at < data.size() && !side.over();) {
        const auto piece = 1 + random.below(random.below(4) == 0 ? 3 : data.size());
        side.feed(std::string_view(data).substr(at, piece));
        at += piece;
    }
}

constexpr std::array methods{auth_method::password, auth_method::md5, auth_method::scram_sha_256};

} // namespace

TEST_CASE("random and damaged first packets") {
    noise random(1);
    const std::vector<std::string> good{
        startup({{"user", "ann"}, {"database", "club"}, {"options", "-c a=b"}}),
        untyped(ssl_request_code), untyped(gssenc_request_code),
        untyped(cancel_request_code, "\0\0\0\1key!"s)};
    for (int i = 0; i < inputs; ++i) {
        auto wire = random.below(3) == 0 ? random.bytes_of(64)
                                         : random.damaged(good[random.below(good.size())]);
        if (random.below(2) == 0 &&
            wire.size() >= 4) { // a length that can be, so that more is read
            wire[0] = wire[1] = '\0';
            wire[2] = static_cast<char>(wire.size() >> 8);
            wire[3] = static_cast<char>(wire.size());
        }
        auto in = as_bytes(wire);
        const auto packet = read_startup_packet(in);
        REQUIRE(in.size() <= wire.size());
        if (const auto* const message = std::get_if<startup_message>(&packet)) {
            REQUIRE_FALSE(message->user.empty());
            REQUIRE(message->user.size() <= 63);
            REQUIRE(message->database.size() <= 63);
        }
    }
}

TEST_CASE("a client that sends random or damaged messages never gets in") {
    noise random(2);
    for (int i = 0; i < inputs; ++i) {
        CAPTURE(i);
        const auto method = methods[random.below(methods.size())];
        const auto stored = random.below(2) == 0 ? "pencil"s : md5_stored_form("pencil", "ann");
        client_side side(client_options(method), {{"ann", stored}});
        if (random.below(8) == 0) {
            trickle(side, random.bytes_of(200), random);
            REQUIRE_FALSE(side.done);
            continue;
        }
        side.feed(startup({{"user", "ann"}}));
        for (int step = 0; step < 3 && !side.over(); ++step) {
            // A client that does not know the password, so that even undamaged it stays out.
            auto next = method != auth_method::scram_sha_256 ? password_message("guess")
                        : step == 0                          ? sasl_initial("n,,n=,r=abc")
                                    : message('p', "c=biws,r=abc" + random.bytes_of(40) +
                                                       ",p=" + base64_encode(std::string(32, 'p')));
            if (random.below(4) != 0) {
                next = random.below(3) == 0 ? message('p', random.bytes_of(100))
                                            : random.damaged(std::move(next));
            }
            trickle(side, next, random);
        }
        REQUIRE_FALSE(side.done);
        if (side.refused && !side.refused->data.empty()) {
            REQUIRE(frames_in(side.refused->data).size() == 1);
        }
    }
}

TEST_CASE("a server that sends random or damaged messages harms nobody") {
    noise random(3);
    const auto parameter = message('S', "TimeZone\0UTC\0"s);
    const auto key = message('K', "\0\0\0\1key!"s);
    const auto ready = message('Z', "I");
    const auto row = message('D', "\0\1\0\0\0\1x"s);
    const std::vector<std::string> good{authentication(0),
                                        authentication(3),
                                        authentication(5, "salt"),
                                        authentication(10, "SCRAM-SHA-256\0\0"s),
                                        authentication(11, "r=x,s=c2FsdA==,i=4"),
                                        authentication(12, "v=AAAA"),
                                        parameter,
                                        key,
                                        ready,
                                        row,
                                        error_message("28P01", "no"),
                                        message('N', "Mhello\0\0"s),
                                        message('C', "SELECT 1\0"s)};
    int logins = 0;
    for (int i = 0; i < inputs; ++i) {
        CAPTURE(i);
        server_login::options opts;
        opts.user = "ann";
        opts.password = secret("pencil");
        opts.probe_sql = "SELECT 1";
        opts.max_scram_iterations = 16;
        opts.min_scram_iterations = 1;
        server_side side(std::move(opts));
        REQUIRE(side.start());
        if (random.below(8) == 0) {
            trickle(side, random.bytes_of(200), random);
            REQUIRE_FALSE(side.ready);
            continue;
        }
        const bool scram = random.below(2) == 0;
        if (scram) {
            side.feed(authentication(10, "SCRAM-SHA-256\0\0"s));
            const auto at = side.sent.rfind("r=");
            REQUIRE(at != std::string::npos);
            trickle(side,
                    random.damaged(
                        authentication(11, "r=" + side.sent.substr(at + 2) + "x,s=c2FsdA==,i=4")),
                    random);
        }
        for (int step = 0; step < 12 && !side.over(); ++step) {
            auto next = good[random.below(good.size())];
            if (random.below(4) == 0) {
                next = random.damaged(std::move(next));
            }
            trickle(side, next, random);
        }
        // Once SCRAM has begun, only the password's owner ends it: not chance.
        REQUIRE_FALSE((scram && side.ready));
        logins += side.ready ? 1 : 0;
        if (side.refused) {
            REQUIRE(printable(side.refused->message, 10'000) == side.refused->message);
        }
    }
    CHECK(logins > 0); // the noise is not so loud that nothing gets through
}

TEST_CASE("random SCRAM messages, verifiers and base64") {
    noise random(4);
    const auto verifier = stored_scram("pencil");
    for (int i = 0; i < inputs; ++i) {
        scram_server_exchange server("server");
        static_cast<void>(server.read_client_first(random.damaged("n,,n=,r=abc,x=y")));
        static_cast<void>(server.server_first("salt", 4));
        static_cast<void>(server.read_client_final(
            random.damaged("c=biws,r=abcserver,p=" + base64_encode(std::string(32, 'p')))));
        scram_client_exchange client("abc");
        static_cast<void>(client.read_server_first(random.damaged("r=abcx,s=c2FsdA==,i=4096")));
        REQUIRE(client.read_server_final(random.damaged("v=" + base64_encode("x"))));
        const auto parsed = parse_scram_verifier(random.damaged(verifier));
        if (parsed) {
            REQUIRE(parsed->stored_key.size() == scram_key_bytes);
        }
        const auto text = random.bytes_of(16);
        const auto decoded = base64_decode(text);
        if (decoded) {
            REQUIRE(base64_encode(*decoded) == text);
        }
    }
}
