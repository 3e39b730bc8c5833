// Two ends of one socket that speak TLS with each other, in steps.
#include "daemon/tls_stream.hpp"
#include "tests/daemon/certificates.hpp"

#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <array>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace pgweir;
using namespace pgweir::daemon;
using test::certificates;
using outcome = tls_stream::outcome;
using certificate_is = accepting_tls::client_certificate;

namespace {

struct socket_pair {
    std::array<int, 2> ends{};
    socket_pair() {
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) ==
                0);
    }
    ~socket_pair() {
        close(0);
        close(1);
    }
    void close(std::size_t which) {
        if (ends[which] >= 0) {
            ::close(std::exchange(ends[which], -1));
        }
    }
    void write(std::size_t which, std::string_view what) const {
        REQUIRE(::write(ends[which], what.data(), what.size()) ==
                static_cast<ssize_t>(what.size()));
    }
};

/// A client and a server, by what they are given.
struct conversation {
    certificates& files;
    accepting_tls accepting;
    connecting_tls connecting;
    std::string name = "db.example";
    socket_pair sockets;
    std::optional<tls_stream> server, client;

    explicit conversation(certificates& files_)
        : files(files_) {
        accepting = files.accepting_as("server");
        connecting.what = connecting_tls::verify::authority_and_name;
        connecting.authorities = files.authority();
    }

    /// How both handshakes end; nothing: one waits for ever.
    std::optional<std::array<outcome, 2>> begin(bool direct = false) {
        server.emplace(sockets.ends[0],
                       tls_start{.context = tls_context::make(accepting), .direct = direct});
        client.emplace(sockets.ends[1], tls_start{.context = tls_context::make(connecting),
                                                  .direct = direct,
                                                  .server_name = name});
        std::array<outcome, 2> how{outcome::wants_read, outcome::wants_read};
        const auto waits = [](outcome o) {
            return o == outcome::wants_read || o == outcome::wants_write;
        };
        for (int i = 0; i < 20 && (waits(how[0]) || waits(how[1])); ++i) {
            how[1] = waits(how[1]) ? client->handshake() : how[1];
            how[0] = waits(how[0]) ? server->handshake() : how[0];
        }
        return waits(how[0]) && waits(how[1]) ? std::nullopt : std::optional(how);
    }
    void begin_well() {
        const auto how = begin();
        REQUIRE(how);
        CAPTURE(server->failure());
        CAPTURE(client->failure());
        REQUIRE((*how)[0] == outcome::done);
        REQUIRE((*how)[1] == outcome::done);
    }
};

struct with_certificates {
    certificates files;
    with_certificates() {
        files.make("server", "db.example");
        files.make("client", "anna");
    }
};

/// What such a client begins with.
std::string client_hello(const conversation& c, bool direct = false) {
    const socket_pair between;
    tls_stream client(between.ends[1], tls_start{.context = tls_context::make(c.connecting),
                                                 .direct = direct,
                                                 .server_name = c.name});
    CHECK(client.handshake() == outcome::wants_read);
    std::string hello(10'000, '\0');
    const auto got = ::read(between.ends[0], hello.data(), hello.size());
    REQUIRE(got > 0);
    hello.resize(static_cast<std::size_t>(got));
    return hello;
}

std::string read_some(tls_stream& from, std::size_t size, outcome expected = outcome::done) {
    std::string into(size, '\0');
    const auto got = from.read(std::as_writable_bytes(std::span(into)));
    CHECK(got.what == expected);
    into.resize(got.count);
    return into;
}

std::size_t send_all(tls_stream& to, std::initializer_list<std::string_view> pieces) {
    std::vector<protocol::bytes> list;
    for (const auto piece : pieces) {
        list.push_back(protocol::as_bytes(piece));
    }
    return to.send(list).count;
}

} // namespace

TEST_CASE_FIXTURE(with_certificates, "tls: both sides agree, and learn who the other one is") {
    conversation c(files);
    c.accepting.clients = certificate_is::optional;
    c.accepting.authorities = files.authority();
    SUBCASE("with a certificate of the client's") {
        c.connecting.certificate = files.path("client.pem");
        c.connecting.key = files.path("client.key");
        c.begin_well();
        const auto facts = c.server->facts();
        CHECK(facts.client_verified);
        CHECK(facts.client_common_name == "anna");
        CHECK(facts.client_subject == "CN=anna");
    }
    SUBCASE("without") {
        c.begin_well();
        CHECK_FALSE(c.server->facts().client_verified);
        CHECK(c.server->facts().client_common_name.empty());
    }
    CHECK(c.server->facts().alpn == "postgresql");
    CHECK(c.client->facts().alpn == "postgresql");
    CHECK(c.server->facts().end_point_hash.size() == 32);
    CHECK(c.server->facts().end_point_hash == c.client->facts().end_point_hash);
    CHECK(send_all(*c.client, {"SEL", "", "ECT"}) == 6);
    CHECK(read_some(*c.server, 100) == "SELECT");
    CHECK(read_some(*c.server, 100, outcome::wants_read).empty());
    CHECK_FALSE(c.server->has_more());
}

TEST_CASE_FIXTURE(with_certificates, "tls: who is not what it should be is not spoken with") {
    conversation c(files);
    SUBCASE("another name") {
        c.name = "other.example";
        CHECK((*c.begin())[1] == outcome::cut);
        CHECK(c.client->failure() == "certificate verify failed: hostname mismatch");
    }
    SUBCASE("no name") {
        c.name = "/run/postgresql";
        CHECK((*c.begin())[1] == outcome::cut);
    }
    SUBCASE("an address that the certificate does not have") {
        c.name = "127.0.0.1";
        CHECK((*c.begin())[1] == outcome::cut);
        CHECK(c.client->failure() == "certificate verify failed: IP address mismatch");
        CHECK_FALSE(c.client->is_lost());
    }
    SUBCASE("another name, which does not matter") {
        c.name = "other.example";
        c.connecting.what = connecting_tls::verify::authority;
        c.begin_well();
    }
    SUBCASE("another authority") {
        certificates others;
        c.connecting.authorities = others.authority();
        CHECK((*c.begin())[1] == outcome::cut);
        CHECK(c.client->failure().starts_with("certificate verify failed: "));
    }
    SUBCASE("another authority, which does not matter") {
        c.connecting.what = connecting_tls::verify::nothing;
        c.connecting.authorities = {};
        c.begin_well();
    }
    SUBCASE("a client without a certificate") {
        c.accepting.clients = certificate_is::required;
        c.accepting.authorities = files.authority();
        CHECK((*c.begin())[0] == outcome::cut);
    }
    SUBCASE("a client of another authority") {
        certificates others;
        others.make("client", "anna");
        c.accepting.clients = certificate_is::optional;
        c.accepting.authorities = files.authority();
        c.connecting.certificate = others.path("client.pem");
        c.connecting.key = others.path("client.key");
        CHECK((*c.begin())[0] == outcome::cut);
    }
    SUBCASE("a client of TLS 1.2") {
        c.accepting.least = tls_version::tls_1_3;
        c.server.emplace(c.sockets.ends[0], tls_start{.context = tls_context::make(c.accepting)});
        c.sockets.write(1, std::string_view("\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03", 11));
        c.sockets.write(1, std::string(34, '\1') + std::string("\0\2\x00\x2f\1\0", 6));
        CHECK(c.server->handshake() != outcome::done);
    }
}

TEST_CASE_FIXTURE(with_certificates, "tls: a server that goes in the middle has refused nobody") {
    conversation c(files);
    c.client.emplace(c.sockets.ends[1],
                     tls_start{.context = tls_context::make(c.connecting), .server_name = c.name});
    CHECK(c.client->handshake() == outcome::wants_read);
    SUBCASE("with what it was sent unread: a reset") {}
    SUBCASE("with what it was sent read: an end of file") {
        std::string hello(10'000, '\0');
        CHECK(::read(c.sockets.ends[0], hello.data(), hello.size()) > 0);
    }
    c.sockets.close(0);
    const auto how = c.client->handshake();
    CHECK((how == outcome::ended || how == outcome::cut));
    CHECK(c.client->is_lost());
    CHECK_FALSE(c.client->failure().empty());
}

TEST_CASE_FIXTURE(with_certificates, "tls: D(HE)at: a client chooses no group that is dear to us") {
    struct row {
        const char* groups;
        bool good;
    };
    for (const auto& [groups, good] :
         {row{"X25519", true}, row{"P-256", true}, row{"P-384:P-256", true}, row{"P-384", false},
          row{"P-521", false}, row{"X448", false}, row{"ffdhe2048", false},
          row{"ffdhe8192", false}}) {
        CAPTURE(groups);
        conversation c(files);
        c.server.emplace(c.sockets.ends[0], tls_start{.context = tls_context::make(c.accepting)});
        const auto connecting = tls_context::make(c.connecting);
        REQUIRE(SSL_CTX_set1_groups_list(connecting->get(), groups) == 1);
        c.client.emplace(c.sockets.ends[1],
                         tls_start{.context = connecting, .server_name = c.name});
        CHECK(c.client->handshake() == outcome::wants_read);
        const auto how = c.server->handshake();
        CHECK((how == outcome::wants_read) == good);
        CHECK((how == outcome::cut) == !good);
    }
}

TEST_CASE_FIXTURE(with_certificates, "tls: a server has the group that its owner has chosen") {
    for (const char* const groups : {"X25519", "P-256", "P-384", "P-521"}) {
        CAPTURE(groups);
        conversation c(files);
        const auto accepting = tls_context::make(c.accepting);
        REQUIRE(SSL_CTX_set1_groups_list(accepting->get(), groups) == 1);
        c.server.emplace(c.sockets.ends[0], tls_start{.context = accepting});
        c.client.emplace(c.sockets.ends[1], tls_start{.context = tls_context::make(c.connecting),
                                                      .server_name = c.name});
        auto how = outcome::wants_read;
        for (int i = 0; i < 4 && how == outcome::wants_read; ++i) {
            how = c.client->handshake();
            (void)c.server->handshake();
        }
        CHECK(how == outcome::done);
    }
}

TEST_CASE_FIXTURE(with_certificates, "tls: a server cannot make a handshake go on for ever") {
    conversation c(files);
    c.client.emplace(c.sockets.ends[1],
                     tls_start{.context = tls_context::make(c.connecting), .server_name = c.name});
    CHECK(c.client->handshake() == outcome::wants_read);
    std::string requests; // HelloRequest, which is passed over, a byte in each record
    for (int i = 0; i < 1'000; ++i) {
        requests += std::string("\x16\x03\x03\0\1\0", 6);
    }
    auto how = outcome::wants_read;
    std::size_t sent = 0;
    for (; how == outcome::wants_read && sent < 10'000'000; sent += requests.size()) {
        c.sockets.write(0, requests);
        how = c.client->handshake();
    }
    CHECK(how == outcome::cut);
    CHECK(c.client->failure() == "the handshake is too long");
    CHECK(sent <= tls_stream::longest_handshake_bytes + requests.size());
    CHECK(c.client->handshake() == outcome::cut);
}

TEST_CASE_FIXTURE(with_certificates, "tls: nothing is computed for a client that has hung up") {
    conversation c(files);
    c.server.emplace(c.sockets.ends[0], tls_start{.context = tls_context::make(c.accepting)});
    c.sockets.write(1, client_hello(c));
    SUBCASE("altogether") { c.sockets.close(1); }
    SUBCASE("half") { REQUIRE(::shutdown(c.sockets.ends[1], SHUT_WR) == 0); }
    CHECK(c.server->handshake() == outcome::ended);
    CHECK(c.server->is_lost());
    CHECK(c.server->failure() == "connection closed");
    if (c.sockets.ends[1] >= 0) {
        std::array<char, 10> answer{};
        CHECK(::read(c.sockets.ends[1], answer.data(), answer.size()) < 0);
    }
    CHECK(c.server->handshake() == outcome::cut);
}

TEST_CASE_FIXTURE(with_certificates, "tls: what is no TLS ends it") {
    conversation c(files);
    c.server.emplace(c.sockets.ends[0], tls_start{.context = tls_context::make(c.accepting)});
    c.sockets.write(1, "SELECT 1; and something longer than that");
    CHECK(c.server->handshake() == outcome::cut);
    CHECK_FALSE(c.server->failure().empty());
    CHECK(c.server->handshake() == outcome::cut);
}

TEST_CASE_FIXTURE(with_certificates, "tls: the beginning may have been read already") {
    conversation c(files);
    const auto hello = client_hello(c, true);
    for (const auto known : {std::size_t{1}, std::size_t{5}, hello.size() - 1, hello.size()}) {
        socket_pair sockets;
        tls_stream server(sockets.ends[0],
                          tls_start{.context = tls_context::make(c.accepting),
                                    .first = std::string_view(hello).substr(0, known),
                                    .direct = true});
        sockets.write(1, std::string_view(hello).substr(known));
        CHECK(server.handshake() == outcome::wants_read); // it has answered
        std::string answer(10'000, '\0');
        CHECK(::read(sockets.ends[1], answer.data(), answer.size()) > 500);
    }
}

TEST_CASE_FIXTURE(with_certificates, "tls: a ClientHello comes byte by byte, or is too long") {
    conversation c(files);
    const auto hello = client_hello(c);
    const tls_start accepting{.context = tls_context::make(c.accepting)};
    std::string answer(10'000, '\0');

    socket_pair slow;
    tls_stream server(slow.ends[0], accepting);
    for (const auto byte : hello) {
        CHECK(server.handshake() == outcome::wants_read);
        CHECK(::read(slow.ends[1], answer.data(), answer.size()) == -1); // no answer yet
        slow.write(1, {&byte, 1});
    }
    CHECK(server.handshake() == outcome::wants_read);
    CHECK(::read(slow.ends[1], answer.data(), answer.size()) > 500);

    socket_pair endless;
    tls_stream bounded(endless.ends[0], accepting);
    endless.write(1, "\x16\x03\x01\x27\x0c"); // 9,996 bytes, and the header
    CHECK(bounded.handshake() == outcome::cut);
    CHECK(bounded.failure() == "the ClientHello is too long");
    socket_pair just;
    tls_stream within(just.ends[0], accepting);
    just.write(1, "\x16\x03\x01\x27\x0b");
    CHECK(within.handshake() == outcome::wants_read);
    just.close(1); // in the middle of it
    CHECK(within.handshake() != outcome::wants_read);
}

namespace {

/// What comes on the wire, said to be a record of this type.
std::string record(char type, std::string_view payload) {
    return std::string{type, 3, 1, static_cast<char>(payload.size() / 256),
                       static_cast<char>(payload.size() % 256)}
        .append(payload);
}

} // namespace

TEST_CASE_FIXTURE(with_certificates, "tls: a ClientHello in several records") {
    conversation c(files);
    const auto hello = client_hello(c);
    const tls_start accepting{.context = tls_context::make(c.accepting)};
    for (std::size_t size = 1; size < 60; ++size) {
        std::string in_pieces;
        for (std::size_t at = 5; at < hello.size(); at += size) {
            in_pieces += record(22, std::string_view(hello).substr(at, size));
        }
        CAPTURE(size);
        socket_pair sockets;
        tls_stream server(sockets.ends[0], accepting);
        sockets.write(1, std::string_view(in_pieces).substr(0, in_pieces.size() - 1));
        CHECK(server.awaits_hello());
        CHECK(server.failure() == "");
        sockets.write(1, std::string_view(in_pieces).substr(in_pieces.size() - 1));
        CHECK_FALSE(server.awaits_hello());
        CHECK(server.handshake() == outcome::wants_read);
        std::string answer(10'000, '\0');
        CHECK(::read(sockets.ends[1], answer.data(), answer.size()) > 500);
    }
}

// OpenSSL would take so much memory at once: 128 KiB for 17 bytes.
TEST_CASE_FIXTURE(with_certificates, "tls: a ClientHello that only says that it is long") {
    conversation c(files);
    const tls_start accepting{.context = tls_context::make(c.accepting)};
    using namespace std::string_literals;
    for (const auto& words : {record(22, "\1\2\0\0"s), record(22, "\1"s) + record(22, "\2\0\0"s),
                              record(22, "\1"s) + record(21, "\1\0"s) + record(22, "\2\0\0"s),
                              record(22, ""s) + record(22, "\1\0\x27\x10"s)}) {
        socket_pair sockets;
        tls_stream server(sockets.ends[0], accepting);
        sockets.write(1, words);
        CHECK(server.handshake() == outcome::cut);
        CHECK(server.failure() == "the ClientHello is too long");
        CHECK_FALSE(server.is_lost());
    }
    for (const auto& words :
         {record(22, "\2"s), record(21, "\1\0"s), record(23, "\1\0"s), "GET / HTTP/1.1\r\n"s}) {
        socket_pair sockets;
        tls_stream server(sockets.ends[0], accepting);
        sockets.write(1, words);
        CHECK(server.handshake() == outcome::cut);
        CHECK(server.failure() == "what comes first is no ClientHello");
    }
}

TEST_CASE_FIXTURE(with_certificates, "tls: the ClientHello that is asked for once more") {
    conversation c(files);
    // The client has a key for X25519.
    const tls_start accepting{.context = tls_context::make(c.accepting)};
    REQUIRE(SSL_CTX_set1_groups_list(accepting.context->get(), "P-384") == 1);
    const auto hello = client_hello(c);
    using namespace std::string_literals;
    for (const auto& others : {""s, record(20, "\1"s), record(21, "\1\x5a"s),
                               record(20, "\1"s) + record(23, std::string(100, 'x'))}) {
        socket_pair sockets;
        tls_stream server(sockets.ends[0], accepting);
        sockets.write(1, hello);
        CHECK(server.handshake() == outcome::wants_read);
        sockets.write(1, others);
        CHECK(server.awaits_hello());
        sockets.write(1, record(22, "\1\2\0\0"s));
        CHECK(server.handshake() == outcome::cut);
        CHECK(server.failure() == "the ClientHello is too long");
    }
    c.server.emplace(c.sockets.ends[0], accepting);
    c.client.emplace(c.sockets.ends[1],
                     tls_start{.context = tls_context::make(c.connecting), .server_name = c.name});
    CHECK(c.client->handshake() == outcome::wants_read);
    CHECK(c.server->handshake() == outcome::wants_read);
    CHECK(c.server->awaits_hello());
    CHECK(c.client->handshake() == outcome::wants_read);
    CHECK(c.server->handshake() == outcome::wants_read);
    CHECK(c.client->handshake() == outcome::done);
    CHECK(c.server->handshake() == outcome::done);
}

TEST_CASE_FIXTURE(with_certificates, "tls: a lot, through a socket that takes a little") {
    conversation c(files);
    c.begin_well();
    std::string all;
    for (int i = 0; all.size() < 3'000'000; ++i) {
        all += std::to_string(i) + ' ';
    }
    std::string_view rest = all;
    std::string got;
    bool waited = false;
    for (int i = 0; i < 100'000 && got.size() != all.size(); ++i) {
        // Pieces of all sizes: less than a record, more than one, nothing.
        const auto first = rest.substr(0, 7), second = rest.substr(first.size(), 40'000),
                   third = rest.substr(first.size() + second.size());
        const std::array<protocol::bytes, 4> pieces{protocol::as_bytes(first), protocol::bytes{},
                                                    protocol::as_bytes(second),
                                                    protocol::as_bytes(third)};
        const auto sent = c.server->send(pieces);
        waited = waited || sent.what == outcome::wants_write;
        rest.remove_prefix(sent.count);
        got += read_some(*c.client, 100'000 + static_cast<std::size_t>(i) % 7, outcome::done);
    }
    CHECK(waited);
    CHECK(got == all);
}

TEST_CASE_FIXTURE(with_certificates, "tls: a client's name with a zero byte in it is nobody's") {
    using namespace std::string_literals;
    for (const auto& name : {"anna\0x"s, "anna\0"s}) {
        CAPTURE(name.size());
        files.make("ambiguous", name);
        conversation c(files);
        c.accepting.clients = certificate_is::required;
        c.accepting.authorities = files.authority();
        c.connecting.certificate = files.path("ambiguous.pem");
        c.connecting.key = files.path("ambiguous.key");
        const auto how = c.begin();
        REQUIRE(how);
        CHECK((*how)[0] == outcome::cut);
        CHECK(c.server->failure() == "the certificate's common name has a zero byte in it");
        CHECK_FALSE(c.server->is_lost());
        CHECK(read_some(*c.server, 10, outcome::cut).empty());
    }
}

TEST_CASE_FIXTURE(with_certificates, "tls: less than a record is read, the rest is there") {
    conversation c(files);
    c.begin_well();
    CHECK(send_all(*c.server, {"0123456789"}) == 10);
    CHECK(read_some(*c.client, 4) == "0123");
    CHECK(c.client->has_more());
    CHECK(read_some(*c.client, 6) == "456789");
}

TEST_CASE_FIXTURE(with_certificates, "tls: ends") {
    conversation c(files);
    c.begin_well();
    CHECK(send_all(*c.server, {"last"}) == 4);
    SUBCASE("with a goodbye") {
        c.server->say_goodbye();
        CHECK(read_some(*c.client, 100) == "last");
        CHECK(c.client->has_more());
        CHECK(read_some(*c.client, 100, outcome::ended).empty());
    }
    SUBCASE("with a goodbye, and gone: what is sent then has failed") {
        c.server->say_goodbye();
        CHECK(read_some(*c.client, 100) == "last");
        CHECK(read_some(*c.client, 100, outcome::ended).empty());
        c.sockets.close(0);
        const auto piece = protocol::as_bytes("more");
        const auto sent = c.client->send({&piece, 1});
        CHECK(sent.what == outcome::cut);
        CHECK(sent.error == EPIPE);
    }
    SUBCASE("without a word") {
        c.sockets.close(0); // an edge of the socket's tells
        CHECK(read_some(*c.client, 100) == "last");
        CHECK(read_some(*c.client, 100, outcome::ended).empty());
        CHECK(c.client->send({}).what == outcome::done);
    }
    SUBCASE("half, without a word: it may be sent what it has asked for") {
        REQUIRE(::shutdown(c.sockets.ends[0], SHUT_WR) == 0);
        CHECK(read_some(*c.client, 100) == "last");
        CHECK(read_some(*c.client, 100, outcome::ended).empty());
        CHECK(send_all(*c.client, {"answer"}) == 6);
        CHECK(read_some(*c.server, 100) == "answer");
        CHECK(read_some(*c.client, 100, outcome::ended).empty());
    }
    SUBCASE("with bytes that are not its own") {
        c.sockets.write(0, "injected by somebody in between");
        CHECK(read_some(*c.client, 4) == "last");
        std::string into(10, '\0');
        const auto got = c.client->read(std::as_writable_bytes(std::span(into)));
        CHECK(got.what == outcome::cut);
        CHECK(got.error != 0);
        CHECK(c.client->has_more());
    }
}

TEST_CASE_FIXTURE(with_certificates,
                  "tls: files that will not do are refused, and it is said which") {
    auto from = files.accepting_as("server");
    const auto refusal = [&] {
        try {
            (void)tls_context::make(from);
        } catch (const tls_error& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    CHECK(refusal().empty());
    SUBCASE("no certificate") {
        from.certificate = files.path("none.pem");
        CHECK(refusal().starts_with(from.certificate + ": the certificate cannot be used: "));
    }
    SUBCASE("another's key") {
        from.key = files.path("client.key");
        CHECK(refusal().starts_with(from.key + ": the private key "));
    }
    SUBCASE("a key that others may read") {
        REQUIRE(::chmod(from.key.c_str(), 0644) == 0);
        CHECK(refusal() == from.key + ": others may read the private key; chmod it to 0600, or to "
                                      "0640 if it is root's");
    }
    SUBCASE("no authorities") {
        from.clients = certificate_is::optional;
        from.authorities = files.path("none.pem");
        CHECK(refusal().starts_with(from.authorities + ": the authorities cannot be used: "));
    }
}

TEST_CASE_FIXTURE(with_certificates,
                  "tls: a certificate whose signature names no hash binds nothing") {
    files.make("edward", "db.example", "ED25519");
    accepting_tls from;
    from.certificate = files.path("edward.pem");
    from.key = files.path("edward.key");
    CHECK(tls_context::make(from)->end_point_hash().empty());
}
