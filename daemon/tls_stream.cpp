#include "daemon/tls_stream.hpp"

#include "config/text.hpp"
#include "daemon/socket_calls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <utility>

namespace pgweir::daemon {

namespace {

// The socket, for OpenSSL: without waiting, without signals, and remembering when it is empty.

tls_stream::wire& wire_of(BIO* bio) { return *static_cast<tls_stream::wire*>(BIO_get_data(bio)); }

int read_wire(BIO* bio, char* into, int size) {
    auto& wire = wire_of(bio);
    BIO_clear_retry_flags(bio);
    if (!wire.first.empty()) {
        const auto count = std::min(wire.first.size(), static_cast<std::size_t>(size));
        std::memcpy(into, wire.first.data(), count);
        wire.first.erase(0, count);
        wire.first.shrink_to_fit();
        return static_cast<int>(count);
    }
    if (wire.may_read_bytes == 0) {
        wire.was_short = false;
        BIO_set_retry_read(bio);
        return -1;
    }
    const auto got =
        receive(wire.fd, {reinterpret_cast<std::byte*>(into), static_cast<std::size_t>(size)});
    wire.was_short = got < size;
    wire.has_ended = got == 0;
    if (got > 0) {
        wire.may_read_bytes -= std::min(wire.may_read_bytes, static_cast<std::size_t>(got));
    } else if (got < 0 && would_block()) {
        BIO_set_retry_read(bio);
    }
    return static_cast<int>(got);
}

/// Sends what is unsent, as far as the socket takes it. False with errno where it is broken.
bool flush_wire(tls_stream::wire& wire) {
    const auto piece = protocol::as_bytes(std::string_view(wire.unsent));
    const auto sent = send_pieces(wire.fd, {&piece, 1});
    if (sent < 0) {
        return would_block();
    }
    wire.unsent.erase(0, static_cast<std::size_t>(sent));
    wire.unsent.shrink_to_fit();
    return true;
}

/// Takes all there is, even if the socket does not: OpenSSL must not be left in the middle of a
/// record, because reading may make it answer (KeyUpdate), which it then cannot.
int write_wire(BIO* bio, const char* from, int size) {
    constexpr std::size_t most_unsent_bytes = 32 * 1024; // of a peer who asks and does not read
    BIO_clear_retry_flags(bio);
    auto& wire = wire_of(bio);
    const std::string_view all(from, static_cast<std::size_t>(size));
    std::size_t sent = 0;
    if (wire.unsent.empty()) {
        const auto piece = protocol::as_bytes(all);
        const auto taken = send_pieces(wire.fd, {&piece, 1});
        if (taken < 0 && !would_block()) {
            return -1;
        }
        sent = taken > 0 ? static_cast<std::size_t>(taken) : 0;
    } else if (wire.unsent.size() > most_unsent_bytes) {
        BIO_set_retry_write(bio);
        return -1;
    }
    if (sent != all.size()) {
        wire.unsent += all.substr(sent);
    }
    return size;
}

long control_wire(BIO* bio, int command, long, void*) {
    return command == BIO_CTRL_FLUSH || (command == BIO_CTRL_EOF && wire_of(bio).has_ended) ? 1 : 0;
}

BIO_METHOD* wire_method() {
    static BIO_METHOD* const method = [] {
        auto* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
        if (made != nullptr) {
            BIO_meth_set_read(made, read_wire);
            BIO_meth_set_write(made, write_wire);
            BIO_meth_set_ctrl(made, control_wire);
            BIO_meth_set_create(made, [](BIO* bio) {
                BIO_set_init(bio, 1);
                return 1;
            });
        }
        return made;
    }();
    return method;
}

/// Nobody is there to whom a handshake would be worth what it costs: it could not be completed.
bool has_hung_up(int fd) {
    pollfd peer{.fd = fd, .events = POLLRDHUP, .revents = 0};
    return ::poll(&peer, 1, 0) > 0 && (peer.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

// The name that a server's certificate must have, and that it is asked for by.
bool expect_server(SSL* ssl, const tls_start& how) {
    const auto& name = how.server_name;
    const bool address = config::is_address(name);
    if (!address && !name.empty() && name.front() != '/' &&
        SSL_set_tlsext_host_name(ssl, name.c_str()) != 1) {
        return false;
    }
    if (!how.context->verifies_name()) {
        return true;
    }
    if (address) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return !name.empty() && SSL_set1_host(ssl, name.c_str()) == 1;
}

/// In RFC 2253's form, as PostgreSQL has it: what is not ASCII is written in hexadecimal.
std::string text_of(const X509_NAME* name) {
    std::string text;
    auto* const memory = BIO_new(BIO_s_mem());
    if (memory != nullptr && X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253) >= 0) {
        char* data = nullptr;
        const auto length = BIO_get_mem_data(memory, &data);
        text.assign(data, static_cast<std::size_t>(length));
    }
    BIO_free(memory);
    return text;
}

/// Empty where there is none.
std::string common_name(const X509_NAME* name) {
    const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    const auto* const entry = at < 0 ? nullptr : X509_NAME_get_entry(name, at);
    unsigned char* utf8 = nullptr;
    const int length =
        entry == nullptr ? -1 : ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
    if (length < 0) {
        return {};
    }
    std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(length));
    OPENSSL_free(utf8);
    return text;
}

std::size_t big_endian(std::string_view bytes) {
    std::size_t value = 0;
    for (const char byte : bytes) {
        value = value << 8U | static_cast<unsigned char>(byte);
    }
    return value;
}

/// It has a zero in it: some would read it to there. PostgreSQL closes the connection.
bool has_ambiguous_name(const X509* certificate) {
    return certificate != nullptr &&
           common_name(X509_get_subject_name(certificate)).find('\0') != std::string::npos;
}

/// So many bytes a ClientHello takes with the headers of its records, as far as can be told by what
/// has come of it (RFC 8446, 4 and 5.1). OpenSSL takes as much memory as the message says that it
/// is long, whatever its first record says. 0: it is something else.
/// `again`: it has been asked for once more, and others that OpenSSL passes over may be in front.
std::size_t hello_bytes(std::string_view wire, bool again) {
    constexpr std::size_t record_header = 5, message_header = 4;
    constexpr char handshake_record = 22, client_hello = 1;
    std::string header;      // of the message: it may go over several records
    std::size_t payload = 0; // of the records so far
    for (std::size_t at = 0;;) {
        const bool other = at < wire.size() && wire[at] != handshake_record;
        if (other && at == 0 && !again) {
            return 0;
        }
        if (wire.size() < at + record_header) {
            return at + record_header;
        }
        const auto length = big_endian(wire.substr(at + 3, 2));
        at += record_header + length;
        if (other) {
            continue; // in the middle of a message OpenSSL finds fault with it
        }
        const auto piece = wire.substr(at - length);
        header += piece.substr(0, std::min(length, message_header - header.size()));
        if (!header.empty() && header.front() != client_hello) {
            return 0;
        }
        payload += length;
        const auto message =
            message_header +
            (header.size() < message_header ? 0 : big_endian(std::string_view(header).substr(1)));
        if (payload >= message) {
            return at;
        }
        if (const auto least = at + record_header + (message - payload); wire.size() < least) {
            return least;
        }
    }
}

/// OpenSSL reports each message of a handshake. A server may ask for the ClientHello once more.
void note_retry(int sent, int, int type, const void* data, std::size_t size, SSL*, void* asked) {
    constexpr unsigned char server_hello = 2;
    constexpr std::size_t random_at = 6; // behind the message's header and a version
    // RFC 8446, 4.1.3
    constexpr std::array<unsigned char, 32> retry_random = {
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
        0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
        0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};
    const auto* const message = static_cast<const unsigned char*>(data);
    if (sent == 1 && type == SSL3_RT_HANDSHAKE && size >= random_at + retry_random.size() &&
        message[0] == server_hello &&
        std::equal(retry_random.begin(), retry_random.end(), message + random_at)) {
        *static_cast<bool*>(asked) = true;
    }
}

// What comes behind a handshake and is no data is worth nothing to anybody, and new keys
// (KeyUpdate) are dear: some 20 µs for 27 bytes. A peer that has a reason for them sends millions
// of bytes in between; every message counts as so many bytes, which data pays for.
constexpr std::size_t message_costs_bytes = 1'024;
constexpr std::size_t most_owed_bytes = 100 * message_costs_bytes;

/// OpenSSL reports each message behind the handshake, and would itself read on until data comes.
void note_message(int sent, int, int type, const void*, std::size_t, SSL* ssl, void* owed) {
    if (sent != 0 || type != SSL3_RT_HANDSHAKE) {
        return;
    }
    auto& owed_bytes = *static_cast<std::size_t*>(owed);
    owed_bytes += message_costs_bytes;
    if (owed_bytes > most_owed_bytes) {
        SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN); // it reads no further
    }
}

} // namespace

tls_stream::tls_stream(int fd, const tls_start& how)
    : wire_{.fd = fd, .first = std::string(how.first), .unsent = {}}
    , direct_(how.direct)
    , context_(how.context) {
    if (!context_->accepts() && begin() && !expect_server(ssl_, how)) {
        broken_ = true;
        error_ = EPROTO;
        failure_ = "the server has no name that a certificate could have";
    }
}

bool tls_stream::begin() {
    wire_.may_read_bytes = longest_handshake_bytes;
    ssl_ = SSL_new(context_->get());
    auto* const bio =
        ssl_ == nullptr || wire_method() == nullptr ? nullptr : BIO_new(wire_method());
    if (bio == nullptr) {
        broken_ = true;
        failure_ = "out of memory";
        return false;
    }
    BIO_set_data(bio, &wire_);
    SSL_set_bio(ssl_, bio, bio);
    if (context_->accepts()) {
        SSL_set_accept_state(ssl_);
        SSL_set_msg_callback(ssl_, note_retry);
        SSL_set_msg_callback_arg(ssl_, &retry_asked_);
    } else {
        SSL_set_connect_state(ssl_);
    }
    return true;
}

/// False: more of the client's ClientHello has to come.
bool tls_stream::hello_is_there() {
    auto& first = wire_.first;
    const auto refuse = [this](const char* why) {
        broken_ = true;
        error_ = EPROTO;
        failure_ = why;
        return true;
    };
    for (;;) {
        const auto wanted = hello_bytes(first, retry_asked_);
        if (wanted == 0) {
            return refuse("what comes first is no ClientHello");
        }
        if (wanted > longest_hello_bytes) {
            return refuse("the ClientHello is too long");
        }
        if (first.size() >= wanted) {
            return true;
        }
        std::array<std::byte, 4096> piece; // what is behind it comes along
        const auto got = receive(wire_.fd, piece);
        if (got <= 0) {
            return got == 0 || !would_block(); // an end, which OpenSSL will find as well
        }
        first.append(reinterpret_cast<const char*>(piece.data()), static_cast<std::size_t>(got));
    }
}

tls_stream::~tls_stream() { SSL_free(ssl_); }

tls_stream::outcome tls_stream::outcome_of(int returned) {
    if (owed_bytes_ > most_owed_bytes) {
        ERR_clear_error();
        broken_ = true;
        error_ = EPROTO;
        failure_ = "too many messages without data";
        return outcome::cut;
    }
    switch (SSL_get_error(ssl_, returned)) {
    case SSL_ERROR_WANT_READ:
        return wire_.may_read_bytes == 0 ? outcome::again : outcome::wants_read;
    case SSL_ERROR_WANT_WRITE:
        return outcome::wants_write;
    // With a goodbye or without: PostgreSQL's own framing tells what has been cut short.
    case SSL_ERROR_ZERO_RETURN:
        failure_ = "connection closed";
        return outcome::ended;
    case SSL_ERROR_SYSCALL:
        broken_ = true;
        error_ = errno;
        failure_ = errno != 0 ? std::strerror(errno) : "connection closed";
        break;
    default: {
        broken_ = true;
        const auto code = ERR_peek_last_error();
        error_ = EPROTO;
        const auto verified = SSL_get_verify_result(ssl_);
        if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK) {
            failure_ = std::string("certificate verify failed: ") +
                       X509_verify_cert_error_string(verified);
        } else {
            const char* const words = ERR_reason_error_string(code);
            failure_ = words != nullptr ? words : "TLS failed";
        }
        break;
    }
    }
    ERR_clear_error();
    return error_ == 0 ? outcome::ended : outcome::cut;
}

bool tls_stream::awaits_hello() {
    return (ssl_ == nullptr || retry_asked_) && !broken_ && !hello_is_there();
}

tls_stream::outcome tls_stream::handshake() {
    if (awaits_hello()) {
        return outcome::wants_read;
    }
    if (ssl_ == nullptr && !broken_) {
        if (has_hung_up(wire_.fd)) {
            broken_ = true;
            failure_ = "connection closed";
            return outcome::ended;
        }
        (void)begin();
    }
    if (broken_) {
        return outcome::cut;
    }
    if (!wire_.unsent.empty()) {
        (void)flush_wire(wire_); // if it is broken, reading will tell
    }
    errno = 0;
    retry_asked_ = false; // what has been asked for is there
    const int returned = SSL_do_handshake(ssl_);
    if (returned == 1) {
        if (context_->accepts() && has_ambiguous_name(SSL_get0_peer_certificate(ssl_))) {
            broken_ = true;
            error_ = EPROTO;
            failure_ = "the certificate's common name has a zero byte in it";
            return outcome::cut;
        }
        SSL_set_msg_callback(ssl_, note_message);
        SSL_set_msg_callback_arg(ssl_, &owed_bytes_);
        return outcome::done;
    }
    if (wire_.may_read_bytes == 0) {
        ERR_clear_error();
        broken_ = true;
        error_ = EPROTO;
        failure_ = "the handshake is too long";
        return outcome::cut;
    }
    return outcome_of(returned);
}

protocol::tls_facts tls_stream::facts() const {
    protocol::tls_facts facts;
    const unsigned char* alpn = nullptr;
    unsigned int length = 0;
    SSL_get0_alpn_selected(ssl_, &alpn, &length);
    facts.alpn.assign(reinterpret_cast<const char*>(alpn), length);
    facts.direct = direct_;
    const auto* const theirs = SSL_get0_peer_certificate(ssl_);
    if (!context_->accepts()) {
        facts.end_point_hash = end_point_hash_of(theirs);
        return facts;
    }
    facts.end_point_hash = context_->end_point_hash();
    if (theirs != nullptr) {
        const auto* const subject = X509_get_subject_name(theirs);
        facts.client_subject = text_of(subject);
        facts.client_common_name = common_name(subject);
        facts.client_verified = SSL_get_verify_result(ssl_) == X509_V_OK;
    }
    return facts;
}

tls_stream::result tls_stream::read(std::span<std::byte> into) {
    constexpr std::size_t most_beside_bytes = 64 * 1'024; // headers, small records, what is no data
    result total;
    wire_.may_read_bytes = into.size() + most_beside_bytes;
    if (!wire_.unsent.empty()) {
        (void)flush_wire(wire_); // the answer to a KeyUpdate; if it is broken, sending will tell
    }
    while (total.count != into.size()) {
        if (broken_) {
            return {outcome::cut, total.count, total.count != 0 ? 0 : error_};
        }
        std::size_t got = 0;
        const auto rest = into.subspan(total.count);
        const auto owed_bytes = owed_bytes_;
        errno = 0;
        const int returned = SSL_read_ex(ssl_, rest.data(), rest.size(), &got);
        if (returned != 1) {
            const auto why = outcome_of(returned);
            // What has come is told first; what is wrong will be found again.
            return {total.count != 0 ? outcome::done : why, total.count,
                    total.count != 0 ? 0 : error_};
        }
        total.count += got;
        const bool worked = owed_bytes_ != owed_bytes; // enough for once: others wait
        owed_bytes_ -= std::min(owed_bytes_, got);
        if (worked || (SSL_has_pending(ssl_) == 0 && socket_is_empty())) {
            break;
        }
    }
    return total;
}

bool tls_stream::has_more() const {
    return broken_ || !socket_is_empty() || ssl_ == nullptr || SSL_has_pending(ssl_) == 1 ||
           (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0;
}

namespace {

// One record holds so much; small pieces share one.
constexpr std::size_t record_bytes = SSL3_RT_MAX_PLAIN_LENGTH;

protocol::bytes gather(std::span<const protocol::bytes> pieces, std::size_t skip,
                       std::span<std::byte, record_bytes> into) {
    std::size_t filled = 0;
    for (const auto& piece : pieces) {
        const auto part = piece.subspan(std::exchange(skip, 0));
        const auto count = std::min(part.size(), record_bytes - filled);
        std::copy_n(part.begin(), count, into.begin() + static_cast<std::ptrdiff_t>(filled));
        filled += count;
        if (filled == record_bytes) {
            break;
        }
    }
    return into.first(filled);
}

} // namespace

tls_stream::result tls_stream::send(std::span<const protocol::bytes> pieces) {
    thread_local std::array<std::byte, record_bytes> gathered;
    result total;
    std::size_t skip = 0; // of the first piece
    const auto advance = [&](std::size_t sent) {
        total.count += sent;
        skip += sent;
        while (!pieces.empty() && skip >= pieces.front().size()) {
            skip -= pieces.front().size();
            pieces = pieces.subspan(1);
        }
    };
    if (!wire_.unsent.empty() && !broken_) {
        if (!flush_wire(wire_)) {
            broken_ = true;
            error_ = errno;
            failure_ = std::strerror(errno);
        } else if (!wire_.unsent.empty()) {
            return {outcome::wants_write, 0, 0};
        }
    }
    if (!broken_) {
        advance(std::exchange(held_bytes_, 0));
    }
    while (!pieces.empty()) {
        if (broken_) {
            return {outcome::cut, total.count, error_ != 0 ? error_ : EPIPE};
        }
        protocol::bytes next = pieces.front().subspan(skip);
        if (next.size() < record_bytes && pieces.size() > 1) {
            next = gather(pieces, skip, gathered);
        }
        std::size_t sent = 0;
        if (!next.empty()) {
            errno = 0;
            const int returned = SSL_write_ex(ssl_, next.data(), next.size(), &sent);
            if (returned != 1) {
                const int error = errno;
                auto why = outcome_of(returned);
                if (why == outcome::ended) { // behind the peer's goodbye all failures are this
                    why = outcome::cut;
                    broken_ = true;
                    error_ = error;
                }
                return {why, total.count, broken_ ? (error_ != 0 ? error_ : EPIPE) : 0};
            }
            if (!wire_.unsent.empty()) {
                held_bytes_ = sent; // it is sent when the socket has taken all of it
                return {outcome::wants_write, total.count, 0};
            }
        }
        advance(sent);
    }
    return total;
}

void tls_stream::say_goodbye() {
    if (!broken_ && ssl_ != nullptr && SSL_is_init_finished(ssl_) == 1) {
        SSL_shutdown(ssl_);
        ERR_clear_error();
    }
}

} // namespace pgweir::daemon
