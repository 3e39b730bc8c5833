// TLS 1.3 lets either side ask for new keys in the middle of everything: an answer to that is owed
// while both sides write and nobody reads. (Odyssey #1459, #1475, Supavisor #993 with KeyUpdate.)
#include "daemon/tls_stream.hpp"
#include "tests/daemon/certificates.hpp"

#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <array>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

using namespace pgweir;
using namespace pgweir::daemon;
using outcome = tls_stream::outcome;

namespace {

/// A client that is OpenSSL alone, which can be told to ask for new keys, and ours as its server.
struct updating_client {
    test::certificates files;
    std::array<int, 2> ends{};
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context{SSL_CTX_new(TLS_client_method()),
                                                              &SSL_CTX_free};
    std::unique_ptr<SSL, decltype(&SSL_free)> client{nullptr, &SSL_free};
    std::unique_ptr<tls_stream> server;

    updating_client() {
        files.make("server", "db.example");
        const auto accepting = files.accepting_as("server");
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) ==
                0);
        server = std::make_unique<tls_stream>(ends[0],
                                              tls_start{.context = tls_context::make(accepting)});
        SSL_CTX_set_mode(context.get(),
                         SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        client.reset(SSL_new(context.get()));
        SSL_set_fd(client.get(), ends[1]);
        SSL_set_connect_state(client.get());
        auto done = outcome::wants_read;
        for (int i = 0; i < 10 && done == outcome::wants_read; ++i) {
            (void)SSL_do_handshake(client.get());
            done = server->handshake();
        }
        REQUIRE(done == outcome::done);
        REQUIRE(SSL_version(client.get()) == TLS1_3_VERSION);
    }
    ~updating_client() {
        client.reset();
        server.reset();
        ::close(ends[0]);
        ::close(ends[1]);
    }

    /// New keys, as often as the socket takes them: so often.
    int update_until_full(int most, std::size_t data_bytes = 0) {
        int updates = 0;
        while (updates < most && SSL_key_update(client.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
               SSL_do_handshake(client.get()) == 1) {
            ++updates;
            (void)write(std::string(data_bytes, 'd'));
        }
        return updates;
    }
    [[nodiscard]] tls_stream::result read_ours(std::size_t size) const {
        std::string into(size, '\0');
        return server->read(std::as_writable_bytes(std::span(into)));
    }

    /// As much as the socket takes.
    std::size_t write(std::string_view text) {
        std::size_t total = 0, sent = 0;
        while (total < text.size() &&
               SSL_write_ex(client.get(), text.data() + total, text.size() - total, &sent) == 1) {
            total += sent;
        }
        return total;
    }
    std::string read() {
        std::string all;
        std::array<char, 20'000> some{};
        std::size_t got = 0;
        while (SSL_read_ex(client.get(), some.data(), some.size(), &got) == 1) {
            all.append(some.data(), got);
        }
        return all;
    }
};

} // namespace

TEST_CASE("tls: Odyssey 1459, 1475, Supavisor 993: new keys are asked for while both sides write") {
    for (const int ask : {SSL_KEY_UPDATE_REQUESTED, SSL_KEY_UPDATE_NOT_REQUESTED}) {
        CAPTURE(ask);
        updating_client c;
        const std::string ours(3'000'000, 'o'), theirs(3'000'000, 't');
        std::size_t ours_sent = 0, theirs_sent = 0;
        std::string got_ours, got_theirs, into(65'536, '\0');
        const auto send_ours = [&] {
            const auto piece = protocol::as_bytes(std::string_view(ours).substr(ours_sent));
            const auto sent = c.server->send({&piece, 1});
            ours_sent += sent.count;
            return sent.what;
        };
        // Our side of the socket is full before the first request comes.
        REQUIRE(send_ours() == outcome::wants_write);
        int updates = 0, blocked_reads = 0;
        for (int i = 0;
             i < 100'000 && (got_ours.size() < ours.size() || theirs_sent < theirs.size() ||
                             got_theirs.size() < theirs.size());
             ++i) {
            if (theirs_sent < theirs.size()) {
                updates += SSL_key_update(c.client.get(), ask) == 1 ? 1 : 0;
                theirs_sent += c.write(std::string_view(theirs).substr(theirs_sent, 50'000));
            }
            // It reads only what the client says until all of that is there: nobody takes what we
            // send.
            const auto got = c.server->read(std::as_writable_bytes(std::span(into)));
            CAPTURE(c.server->failure());
            CAPTURE(updates);
            CAPTURE(got_theirs.size());
            REQUIRE(got.what != outcome::cut);
            blocked_reads += got.what == outcome::wants_write ? 1 : 0;
            got_theirs.append(into, 0, got.count);
            if (got_theirs.size() == theirs.size()) {
                got_ours += c.read();
            }
            REQUIRE(send_ours() != outcome::cut);
        }
        CHECK(updates > 10);
        CHECK(blocked_reads == 0);
        CHECK(got_theirs == theirs);
        CHECK(got_ours == ours);
    }
}

TEST_CASE(
    "tls: who asks for new keys again and again and reads nothing is not listened to for ever") {
    updating_client c;
    const std::string ours(3'000'000, 'o');
    const auto piece = protocol::as_bytes(ours);
    REQUIRE(c.server->send({&piece, 1}).what == outcome::wants_write);
    std::string into(1'000, '\0');
    auto last = outcome::wants_read;
    int asked = 0;
    for (; asked < 20'000 && last == outcome::wants_read; ++asked) {
        REQUIRE(SSL_key_update(c.client.get(), SSL_KEY_UPDATE_REQUESTED) == 1);
        (void)SSL_do_handshake(c.client.get());
        last = c.server->read(std::as_writable_bytes(std::span(into))).what;
    }
    CHECK(asked < 2'000); // each answer takes some twenty bytes of 32 KiB
    CHECK((last == outcome::wants_write || last == outcome::cut));
}

TEST_CASE("tls: who sends new keys without end, and no data or next to none, is cut") {
    for (const std::size_t data_bytes : {0U, 1U}) {
        CAPTURE(data_bytes);
        updating_client c;
        int updates = 0, reads = 0;
        auto last = tls_stream::result{};
        while (updates < 20'000 && last.what != outcome::cut) {
            updates += c.update_until_full(500, data_bytes);
            do {
                last = c.read_ours(8'192);
                CHECK(last.count <= 1); // it is heard once, then others are
                ++reads;
            } while (last.what != outcome::cut && c.server->has_more());
        }
        CHECK(updates <= 500);
        CHECK(reads <= 110);
        CHECK(last.what == outcome::cut);
        CHECK(last.error == EPROTO);
        CHECK(c.server->failure() == "too many messages without data");
        CHECK(c.server->has_more());
        const auto piece = protocol::as_bytes(std::string_view("x"));
        CHECK(c.server->send({&piece, 1}).what == outcome::cut);
    }
}

TEST_CASE("tls: new keys now and then are nobody's concern, with data in between") {
    updating_client c;
    for (int i = 0; i < 1'000; ++i) {
        CAPTURE(i);
        REQUIRE(c.update_until_full(1, 1'024) == 1);
        const auto got = c.read_ours(8'192);
        REQUIRE(got.what == outcome::done);
        REQUIRE(got.count == 1'024);
        CHECK_FALSE(c.server->has_more());
    }
    CHECK(c.update_until_full(100) == 100);
    CHECK(c.read_ours(8'192).what == outcome::wants_read);
}

TEST_CASE("tls: one read takes little more than it was asked for, whatever that comes to") {
    updating_client c;
    SSL_set_block_padding(c.client.get(), SSL3_RT_MAX_PLAIN_LENGTH); // each record is that long
    REQUIRE(c.update_until_full(8) == 8);
    REQUIRE(c.write("data") == 4);
    int again = 0;
    auto got = c.read_ours(100);
    for (; got.what == outcome::again && again < 100; ++again) {
        CHECK(got.count == 0);
        CHECK(c.server->has_more());
        got = c.read_ours(100);
    }
    CHECK(again >= 1);
    CHECK(got.what == outcome::done);
    CHECK(got.count == 4);
    CHECK(c.read_ours(100).what == outcome::wants_read);
}
