// TLS over one socket, by OpenSSL on the socket itself: what is read is decrypted on its way into
// the caller's buffer, what is sent is encrypted on its way to the kernel. Between two messages it
// holds no buffers. Before a handshake OpenSSL takes 50 kB, for whoever comes: with a client it is
// begun when the whole ClientHello is there.
//
// It never waits: where the socket has no more, or takes no more, it says so, and is called again
// when that has changed. May go to another worker together with its socket.
//
// Owner: a socket's state. Thread: that one's worker's. Tests: tests/daemon/tls_stream_test.cpp.
#pragma once

#include "daemon/engine/ports.hpp"
#include "daemon/tls_context.hpp"
#include "protocol/tls_facts.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct ssl_st;
struct bio_st;

namespace pgweir::daemon {

class tls_stream {
public:
    /// A client's ClientHello is no longer, nor is a start-up packet.
    static constexpr std::size_t longest_hello_bytes = 10'000;

    /// On this socket, as `how` says.
    tls_stream(int fd, const tls_start& how);
    ~tls_stream();
    tls_stream(const tls_stream&) = delete;
    tls_stream& operator=(const tls_stream&) = delete;

    enum class outcome : std::uint8_t {
        done,
        wants_read,  // call again when the socket can be read
        wants_write, // … or written
        again, // … when others have had their turn: there may be more, and no edge will tell
        ended, // the peer has said goodbye, or has just gone
        cut,   // the connection is broken, or what came is no TLS: failure() says which
    };
    struct result {
        outcome what = outcome::done;
        std::size_t count = 0; // bytes
        int error = 0;         // errno's, with `cut`; none where the peer has just gone
    };

    /// A handshake reads no more than that: certificates have a chain and the authorities' names.
    static constexpr std::size_t longest_handshake_bytes = 256 * 1'024;

    /// The next step, as far as what has come allows. Until it is done, nothing else. May be called
    /// on any thread, and should not be on one that serves others: it may sign.
    [[nodiscard]] outcome handshake();
    /// A client has not sent all of its ClientHello yet, without which there is nothing to do.
    [[nodiscard]] bool awaits_hello();
    /// With a client; else with a server.
    [[nodiscard]] bool accepts() const { return context_->accepts(); }
    /// What the handshake has told.
    [[nodiscard]] protocol::tls_facts facts() const;
    /// For people; after `cut`.
    [[nodiscard]] const std::string& failure() const { return failure_; }
    /// … was it the connection that broke, or the peer that went? Else one has refused the other.
    [[nodiscard]] bool is_lost() const { return error_ != EPROTO; }

    /// Takes little more from the socket than `into` holds, whatever that comes to.
    [[nodiscard]] result read(std::span<std::byte> into);
    /// All pieces in order, as far as the socket takes them. What has not been taken must come
    /// again first, unchanged: some of it may be encrypted already.
    [[nodiscard]] result send(std::span<const protocol::bytes> pieces);
    /// Reading again will give something, without an edge of the socket's: bytes, or an end.
    [[nodiscard]] bool has_more() const;
    /// Says goodbye, if that is possible at once.
    void say_goodbye();

    /// The socket as OpenSSL sees it.
    struct wire {
        int fd = -1;
        std::string first;      // comes before what is in the socket
        bool was_short = false; // the last read has emptied it
        bool has_ended = false; // … and there will be no more
        std::string unsent;     // encrypted, and not taken by the socket yet
        std::size_t may_read_bytes = std::numeric_limits<std::size_t>::max();
    };

private:
    bool begin();
    [[nodiscard]] bool hello_is_there();
    [[nodiscard]] outcome outcome_of(int returned);
    [[nodiscard]] bool socket_is_empty() const { return wire_.was_short && wire_.first.empty(); }

    wire wire_;
    ssl_st* ssl_ = nullptr;
    std::size_t held_bytes_ = 0; // of what comes to send() first, those in `unsent`
    std::size_t owed_bytes_ = 0; // of data, for messages that were none
    bool retry_asked_ = false;   // the client is to send its ClientHello once more
    bool broken_ = false;        // nothing more may be done with it
    int error_ = 0;              // … because of this
    bool direct_;
    std::shared_ptr<const tls_context> context_;
    std::string failure_;
};

} // namespace pgweir::daemon
