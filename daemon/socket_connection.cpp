#include "daemon/socket_connection.hpp"

#include "daemon/control_plane.hpp"
#include "daemon/socket_calls.hpp"
#include "daemon/tls_stream.hpp"
#include "daemon/worker.hpp"

#include <boost/system/errc.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <tuple>
#include <unistd.h>

namespace pgweir::daemon {

namespace {

boost::system::error_code system_error(int number) {
    return {number, boost::system::system_category()};
}

/// What the loop sees of a connection; outlives it by as long as an event may be in hand.
class socket_state final : public event_source {
public:
    socket_state(worker& on, connection_events* events)
        : on_(on)
        , events_(events) {}
    ~socket_state() override { close(); }

    void adopt(int fd);
    void close();
    /// Its socket, and what has been read from that and not been reported.
    [[nodiscard]] std::unique_ptr<detached_socket> release();
    void take_first(std::string unread);
    void take_tls(std::unique_ptr<tls_stream> tls);
    void connect_to(std::vector<endpoint> where);
    void fail_to_connect(boost::system::error_code why);

    void set_events(connection_events* who) { events_ = who; }
    void read(std::span<std::byte> into);
    void wait_readable();
    void wait_writable();
    [[nodiscard]] bool sends_later();
    void secure(const tls_start& how);
    void handshake_went(detached_socket& with, tls_stream::outcome how);
    [[nodiscard]] connection::send_result send(std::span<const protocol::bytes> pieces);
    void shutdown_send();
    [[nodiscard]] bool has_ended() const { return ended_; }
    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] bool has_received() const {
        return received_ || !unread_.empty() || (tls_ && tls_->has_more());
    }

    void on_events(std::uint32_t events) override;
    void on_turn() override;

    std::shared_ptr<connection_watch> watched;

private:
    enum class reading : std::uint8_t { nothing, bytes, readiness };

    void try_next_candidate();
    void connect_ended();
    void take_bytes();
    void report();
    void read_now();
    [[nodiscard]] bool read_tls();
    void handshake();

    worker& on_;
    connection_events* events_;
    int fd_ = -1;
    reading reading_ = reading::nothing;
    bool readable_ = false; // there may be something to read
    bool ended_ = false;    // the peer has closed: there is always something to read
    bool writable_ = false; // has become writable since wait_writable() was last answered
    bool waits_writable_ = false;
    bool connecting_ = false;
    bool securing_ = false;           // the handshake is under way
    bool elsewhere_ = false;          // … a step of it, on a thread that has the socket
    bool stirred_ = false;            // … and something has come meanwhile
    bool reading_wants_room_ = false; // TLS has something to send before it can read
    bool reads_at_once_ = false;      // inside on_readable(): no turn is needed
    bool received_ = false;           // the read has ended, which is to be reported:
    std::size_t received_bytes_ = 0;
    boost::system::error_code received_error_;
    std::string unread_; // came with it from another worker, and is to be read first
    std::unique_ptr<tls_stream> tls_;
    boost::system::error_code connect_error_;
    std::span<std::byte> into_;
    std::vector<endpoint> candidates_;
    std::size_t next_candidate_ = 0;
};
using state_ptr = boost::intrusive_ptr<socket_state>;
socket_state& state_of(connection& what);

void socket_state::adopt(int fd) {
    fd_ = fd;
    if (!on_.loop().add(fd_, *this)) {
        ended_ = readable_ = true; // the first read will say why
    }
}

void socket_state::close() {
    events_ = nullptr;
    if (fd_ >= 0 && elsewhere_) {
        on_.loop().remove(std::exchange(fd_, -1)); // whoever has it closes it
    } else if (fd_ >= 0) {
        if (tls_) {
            tls_->say_goodbye();
        }
        ::close(std::exchange(fd_, -1)); // leaves epoll by itself
    }
}

std::unique_ptr<detached_socket> socket_state::release() {
    events_ = nullptr;
    if (fd_ >= 0) {
        on_.loop().remove(fd_);
    }
    if (std::exchange(received_, false)) {
        unread_.insert(0, reinterpret_cast<const char*>(into_.data()), received_bytes_);
    }
    return std::make_unique<detached_socket>(std::exchange(fd_, -1), std::move(unread_),
                                             std::move(tls_));
}

void socket_state::take_first(std::string unread) {
    unread_ = std::move(unread);
    readable_ = readable_ || !unread_.empty();
}

void socket_state::take_tls(std::unique_ptr<tls_stream> tls) {
    tls_ = std::move(tls);
    readable_ = readable_ || tls_; // it may hold some that no edge will tell of
}

// Reading and writing --------------------------------------------------------------------------

void socket_state::read(std::span<std::byte> into) {
    into_ = into;
    reading_ = reading::bytes;
    if (readable_ && !reads_at_once_) {
        on_.loop().run_soon(*this);
    }
}

void socket_state::wait_readable() {
    reading_ = reading::readiness;
    if (readable_) {
        on_.loop().run_soon(*this);
    }
}

void socket_state::wait_writable() {
    // Asked for after a send that was cut short: the edge is still to come.
    writable_ = false;
    waits_writable_ = true;
}

bool socket_state::sends_later() {
    if (!on_.loop().crowded()) {
        return false;
    }
    writable_ = waits_writable_ = true;
    on_.loop().run_soon(*this);
    return true;
}

void socket_state::on_events(std::uint32_t events) {
    if (fd_ < 0) {
        return;
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        ended_ = true;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        readable_ = true;
    }
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
        writable_ = true;
    }
    if (connecting_) {
        if (writable_) {
            connect_ended();
        }
        return;
    }
    if (securing_) {
        handshake();
        return;
    }
    if (reading_wants_room_ && writable_) {
        readable_ = true;
    }
    take_bytes();
    if (!on_.loop().crowded() || !received_) {
        report();
    } else {
        on_.loop().run_soon(*this); // when the others have read as well
    }
}

void socket_state::on_turn() {
    if (connect_error_ && events_ != nullptr) {
        events_->on_connected(on_.now(), std::exchange(connect_error_, {}));
        on_.after_event();
        return;
    }
    if (securing_) {
        handshake();
        return;
    }
    take_bytes();
    report();
}

void socket_state::take_bytes() {
    if (events_ == nullptr || fd_ < 0 || !readable_ || received_) {
        return;
    }
    if (reading_ == reading::readiness) {
        reading_ = reading::nothing;
        reads_at_once_ = true;
        events_->on_readable(on_.now()); // usually asks to read
        reads_at_once_ = false;
    }
    if (reading_ == reading::bytes) {
        read_now();
    }
}

void socket_state::report() {
    if (received_ && events_ != nullptr) {
        received_ = false;
        events_->on_read(on_.now(), received_bytes_, received_error_);
        on_.after_event();
    }
    if (!writable_ || !waits_writable_ || events_ == nullptr) {
        return;
    }
    if (on_.loop().crowded()) {
        on_.loop().run_soon(*this); // when it is no longer
    } else {
        waits_writable_ = false;
        events_->on_writable(on_.now());
        on_.after_event();
    }
}

void socket_state::read_now() {
    if (!unread_.empty()) [[unlikely]] {
        received_bytes_ = std::min(into_.size(), unread_.size());
        std::memcpy(into_.data(), unread_.data(), received_bytes_);
        unread_.erase(0, received_bytes_);
        received_error_ = {};
    } else if (tls_) [[unlikely]] {
        if (!read_tls()) {
            return;
        }
    } else {
        const auto got = receive(fd_, into_);
        if (got < 0 && would_block()) {
            readable_ = false;
            return;
        }
        received_bytes_ = got > 0 ? static_cast<std::size_t>(got) : 0;
        received_error_ = got < 0 ? system_error(errno) : boost::system::error_code();
        // A short read has emptied the socket: what comes later comes with an edge of its own.
        readable_ = ended_ || received_bytes_ == into_.size();
    }
    reading_ = reading::nothing;
    received_ = true;
}

/// False: there is nothing yet.
bool socket_state::read_tls() {
    const auto got = tls_->read(into_);
    if (got.what == tls_stream::outcome::again) {
        on_.loop().run_soon(*this);
        return false;
    }
    reading_wants_room_ = got.what == tls_stream::outcome::wants_write;
    if (reading_wants_room_ || got.what == tls_stream::outcome::wants_read) {
        readable_ = false;
        return false;
    }
    received_bytes_ = got.count;
    received_error_ = got.error != 0 ? system_error(got.error) : boost::system::error_code();
    readable_ = ended_ || tls_->has_more();
    return true;
}

connection::send_result socket_state::send(std::span<const protocol::bytes> pieces) {
    if (elsewhere_) [[unlikely]] {
        return {};
    }
    if (tls_) [[unlikely]] {
        const auto sent = tls_->send(pieces);
        return {sent.count,
                sent.error != 0 ? system_error(sent.error) : boost::system::error_code()};
    }
    const auto sent = send_pieces(fd_, pieces);
    if (sent >= 0) {
        return {static_cast<std::size_t>(sent), {}};
    }
    return would_block() ? connection::send_result{}
                         : connection::send_result{0, system_error(errno)};
}

void socket_state::shutdown_send() {
    if (tls_) {
        tls_->say_goodbye();
    }
    (void)::shutdown(fd_, SHUT_WR);
}

// Securing ---------------------------------------------------------------------------------------

/// How it ends is never reported from inside the call.
void socket_state::secure(const tls_start& how) {
    tls_ = std::make_unique<tls_stream>(fd_, how);
    securing_ = true;
    on_.loop().run_soon(*this);
}

/// The next step, where nobody else waits for its end.
void socket_state::handshake() {
    if (elsewhere_) {
        stirred_ = true;
        return;
    }
    if (events_ == nullptr || tls_->awaits_hello()) {
        return; // an edge will tell
    }
    elsewhere_ = true;
    stirred_ = readable_ = false;
    const auto socket = std::make_shared<detached_socket>(fd_, std::string(), std::move(tls_));
    const std::weak_ptr<connection_watch> ticket = watched;
    on_.control().handshake(*socket->tls, ticket,
                            [&on = on_, socket, ticket](tls_stream::outcome how) {
                                on.run([socket, ticket, how](engine&, time_point) {
                                    const auto still = ticket.lock();
                                    if (still != nullptr && still->what != nullptr) {
                                        state_of(*still->what).handshake_went(*socket, how);
                                    }
                                });
                            });
}

void socket_state::handshake_went(detached_socket& with, tls_stream::outcome how) {
    elsewhere_ = false;
    with.fd = -1; // it has been ours all the time
    tls_ = std::move(with.tls);
    if (how == tls_stream::outcome::wants_read || how == tls_stream::outcome::wants_write) {
        if (stirred_) {
            handshake();
        }
        return; // an edge will tell
    }
    securing_ = false;
    // Behind the last of the handshake may be more, or have come since. A read in vain would keep a
    // buffer.
    readable_ = readable_ || ended_ || tls_->has_more();
    if (events_ == nullptr) {
        return;
    }
    if (how == tls_stream::outcome::done) {
        const auto facts = tls_->facts();
        events_->on_secured(on_.now(), &facts, {});
    } else {
        events_->on_secured(on_.now(), nullptr, {tls_->failure(), tls_->is_lost()});
    }
    on_.after_event();
}

// Connecting -----------------------------------------------------------------------------------

void socket_state::connect_to(std::vector<endpoint> where) {
    candidates_ = std::move(where);
    connect_error_ = make_error_code(boost::system::errc::host_unreachable);
    try_next_candidate();
}

void socket_state::fail_to_connect(boost::system::error_code why) {
    connect_error_ = why ? why : make_error_code(boost::system::errc::host_unreachable);
    on_.loop().run_soon(*this);
}

/// Connects to the next candidate. The end is never reported from inside the call.
void socket_state::try_next_candidate() {
    while (next_candidate_ < candidates_.size()) {
        const auto& where = candidates_[next_candidate_++];
        if (fd_ >= 0) {
            ::close(std::exchange(fd_, -1));
        }
        readable_ = writable_ = ended_ = false;
        fd_ = ::socket(where.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd_ < 0) {
            connect_error_ = system_error(errno);
            continue;
        }
        const int on = 1;
        (void)::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); // not on a Unix socket
        (void)::setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        const int result =
            ::connect(fd_, reinterpret_cast<const sockaddr*>(&where.address), where.length);
        if (result != 0 && errno != EINPROGRESS) {
            connect_error_ = system_error(errno);
            continue;
        }
        if (!on_.loop().add(fd_, *this)) {
            connect_error_ = system_error(errno);
            continue;
        }
        connecting_ = true; // the first edge says how it ended
        connect_error_ = {};
        return;
    }
    on_.loop().run_soon(*this);
}

void socket_state::connect_ended() {
    int error = 0;
    socklen_t length = sizeof error;
    if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length) != 0) {
        error = errno;
    }
    sockaddr_storage peer{};
    socklen_t peer_length = sizeof peer;
    if (error == 0 && ::getpeername(fd_, reinterpret_cast<sockaddr*>(&peer), &peer_length) != 0) {
        if (!ended_) {
            return; // an edge from before it was connected
        }
        error = errno;
    }
    connecting_ = false;
    if (error != 0) {
        connect_error_ = system_error(error);
        try_next_candidate();
    } else if (events_ != nullptr) {
        events_->on_connected(on_.now(), {});
        on_.after_event();
    }
}

// The connection ---------------------------------------------------------------------------------

class socket_connection final : public connection {
public:
    socket_connection(worker& on, state_ptr state)
        : on_(on)
        , state_(std::move(state)) {}
    ~socket_connection() override {
        if (state_->watched) {
            state_->watched->what = nullptr;
        }
        state_->close();
        on_.loop().retire(std::move(state_));
    }

    void set_events(connection_events* who) override { state_->set_events(who); }
    send_result send(std::span<const protocol::bytes> pieces) override {
        return state_->send(pieces);
    }
    void read(std::span<std::byte> into) override { state_->read(into); }
    void wait_readable() override { state_->wait_readable(); }
    void wait_writable() override { state_->wait_writable(); }
    void secure(const tls_start& how) override {
        (void)watch(*this);
        state_->secure(how);
    }
    void shutdown_send() override { state_->shutdown_send(); }
    std::unique_ptr<detached_connection> detach() override { return state_->release(); }
    bool sends_later() override { return state_->sends_later(); }
    bool stirs() override;
    bool has_ended() const override { return state_->has_ended(); }
    addresses names() const override;

    [[nodiscard]] socket_state& state() const { return *state_; }

private:
    worker& on_;
    state_ptr state_;
};

socket_state& state_of(connection& what) { return static_cast<socket_connection&>(what).state(); }

bool socket_connection::stirs() {
    if (state_->has_received()) {
        return true;
    }
    std::byte one{};
    const auto got = ::recv(state_->fd(), &one, 1, MSG_PEEK | MSG_DONTWAIT);
    return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

connection::addresses socket_connection::names() const {
    addresses result;
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (::getpeername(state_->fd(), reinterpret_cast<sockaddr*>(&storage), &length) == 0) {
        std::tie(result.peer, result.peer_port) = name_of(storage);
        result.peer_ip = ip_of(storage);
    }
    if (storage.ss_family == AF_UNIX) {
        ucred peer{};
        socklen_t size = sizeof peer;
        if (::getsockopt(state_->fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
            result.peer_uid = peer.uid;
        }
    }
    length = sizeof storage;
    if (::getsockname(state_->fd(), reinterpret_cast<sockaddr*>(&storage), &length) == 0) {
        std::tie(result.local, result.local_port) = name_of(storage);
    }
    return result;
}

} // namespace

detached_socket::detached_socket(int fd_, std::string unread_, std::unique_ptr<tls_stream> tls_)
    : fd(fd_)
    , unread(std::move(unread_))
    , tls(std::move(tls_)) {}

detached_socket::~detached_socket() {
    if (fd >= 0) {
        ::close(fd);
    }
}

std::unique_ptr<connection> make_connection(worker& on, int fd) {
    const state_ptr state(new socket_state(on, nullptr));
    state->adopt(fd);
    return std::make_unique<socket_connection>(on, state);
}

std::unique_ptr<connection> make_connection(worker& on, detached_socket& from) {
    const state_ptr state(new socket_state(on, nullptr));
    state->adopt(std::exchange(from.fd, -1));
    state->take_first(std::move(from.unread));
    state->take_tls(std::move(from.tls));
    return std::make_unique<socket_connection>(on, state);
}

std::unique_ptr<connection> make_connection(worker& on, connection_events& who) {
    return std::make_unique<socket_connection>(on, state_ptr(new socket_state(on, &who)));
}

void connect_to(connection& what, std::vector<endpoint> where) {
    state_of(what).connect_to(std::move(where));
}

void connect_failed(connection& what, boost::system::error_code why) {
    state_of(what).fail_to_connect(why);
}

std::shared_ptr<connection_watch> watch(connection& what) {
    auto& state = state_of(what);
    if (!state.watched) {
        state.watched = std::make_shared<connection_watch>();
        state.watched->what = &what;
    }
    return state.watched;
}

} // namespace pgweir::daemon
