#include "daemon/socket_connection.hpp"

#include "daemon/worker.hpp"

#include <boost/asio.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>

#include <array>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

namespace pgweir::daemon {

namespace asio = boost::asio;

namespace {

using socket_type =
    asio::basic_stream_socket<asio::generic::stream_protocol, asio::io_context::executor_type>;

/// Memory for one outstanding operation, so that reading and waiting never allocate.
class operation_memory {
public:
    void* take(std::size_t size) {
        if (!taken_ && size <= sizeof block_) {
            taken_ = true;
            return block_;
        }
        return ::operator new(size);
    }
    void give_back(void* what) {
        if (what == block_) {
            taken_ = false;
        } else {
            ::operator delete(what);
        }
    }

private:
    alignas(std::max_align_t) std::byte block_[192];
    bool taken_ = false;
};

template <typename T>
struct operation_allocator {
    using value_type = T;
    operation_memory* memory;
    explicit operation_allocator(operation_memory& from)
        : memory(&from) {}
    template <typename U>
    operation_allocator(const operation_allocator<U>& other)
        : memory(other.memory) {}
    T* allocate(std::size_t n) { return static_cast<T*>(memory->take(sizeof(T) * n)); }
    void deallocate(T* what, std::size_t) { memory->give_back(what); }
    template <typename U>
    bool operator==(const operation_allocator<U>& other) const {
        return memory == other.memory;
    }
};

/// What the socket needs, alive until its last operation has ended. Counted without atomics: all
/// of it happens on one thread.
struct socket_state {
    socket_state(worker& on_, socket_type socket_)
        : on(on_)
        , socket(std::move(socket_)) {}

    worker& on;
    socket_type socket;
    connection_events* events = nullptr;
    operation_memory read_memory, write_memory;
    std::vector<endpoint> candidates;
    std::size_t next_candidate = 0;
    unsigned references = 0;
    std::shared_ptr<connection_watch> watched;
};
void intrusive_ptr_add_ref(socket_state* s) { ++s->references; }
void intrusive_ptr_release(socket_state* s) {
    if (--s->references == 0) {
        delete s;
    }
}
using state_ptr = boost::intrusive_ptr<socket_state>;

/// Ends of operations: nothing is reported once the owner has let go.
struct operation_end {
    state_ptr state;
    operation_memory* memory;
    using allocator_type = operation_allocator<void>;
    [[nodiscard]] allocator_type get_allocator() const { return allocator_type(*memory); }
};
struct read_end : operation_end {
    void operator()(boost::system::error_code error, std::size_t count) const {
        if (auto* const who = state->events) {
            if (error == asio::error::eof) {
                who->on_read(state->on.now(), 0, {});
            } else {
                who->on_read(state->on.now(), count, error);
            }
            state->on.after_event();
        }
    }
};
struct readable_end : operation_end {
    void operator()(boost::system::error_code error) const {
        if (auto* const who = state->events; who != nullptr && !error) {
            who->on_readable(state->on.now());
            state->on.after_event();
        }
    }
};
struct writable_end : operation_end {
    void operator()(boost::system::error_code error) const {
        if (auto* const who = state->events; who != nullptr && !error) {
            who->on_writable(state->on.now());
            state->on.after_event();
        }
    }
};

void try_next(const state_ptr& state, boost::system::error_code last);

struct connect_end : operation_end {
    void operator()(boost::system::error_code error) const {
        if (state->events == nullptr) {
            return;
        }
        if (error) {
            try_next(state, error);
        } else {
            const int on = 1;
            (void)::setsockopt(state->socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on,
                               sizeof on); // fails on a Unix socket, which needs none
            state->events->on_connected(state->on.now(), {});
            state->on.after_event();
        }
    }
};

/// Connects to the next candidate. The end is never reported from inside the call.
void try_next(const state_ptr& state, boost::system::error_code last) {
    boost::system::error_code error = last;
    while (state->next_candidate < state->candidates.size()) {
        const auto& where = state->candidates[state->next_candidate++];
        state->socket.close(error);
        state->socket.open(where.protocol(), error);
        if (!error) {
            state->socket.async_connect(where, connect_end{{state, &state->write_memory}});
            return;
        }
    }
    asio::post(state->socket.get_executor(), [state, error] {
        if (state->events != nullptr) {
            state->events->on_connected(state->on.now(), error);
            state->on.after_event();
        }
    });
}

std::pair<std::string, std::uint16_t> name_of(const sockaddr_storage& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (address.ss_family == AF_INET) {
        sockaddr_in in{};
        std::memcpy(&in, &address, sizeof in);
        ::inet_ntop(AF_INET, &in.sin_addr, text.data(), text.size());
        return {text.data(), ntohs(in.sin_port)};
    }
    if (address.ss_family == AF_INET6) {
        sockaddr_in6 in{};
        std::memcpy(&in, &address, sizeof in);
        ::inet_ntop(AF_INET6, &in.sin6_addr, text.data(), text.size());
        return {text.data(), ntohs(in.sin6_port)};
    }
    return {"unix", 0};
}

class socket_connection final : public connection {
public:
    explicit socket_connection(state_ptr state)
        : state_(std::move(state)) {}
    ~socket_connection() override {
        state_->events = nullptr;
        if (state_->watched) {
            state_->watched->what = nullptr;
        }
        boost::system::error_code ignored;
        state_->socket.close(ignored);
    }

    void set_events(connection_events* who) override { state_->events = who; }
    send_result send(std::span<const protocol::bytes> pieces) override;
    void read(std::span<std::byte> into) override {
        state_->socket.async_read_some(asio::buffer(into.data(), into.size()),
                                       read_end{{state_, &state_->read_memory}});
    }
    void withdraw_read() override {
        boost::system::error_code ignored;
        state_->socket.cancel(ignored);
    }
    void wait_readable() override {
        state_->socket.async_wait(socket_type::wait_read,
                                  readable_end{{state_, &state_->read_memory}});
    }
    void wait_writable() override {
        state_->socket.async_wait(socket_type::wait_write,
                                  writable_end{{state_, &state_->write_memory}});
    }
    void shutdown_send() override {
        boost::system::error_code ignored;
        state_->socket.shutdown(socket_type::shutdown_send, ignored);
    }
    std::unique_ptr<detached_connection> detach() override {
        state_->events = nullptr;
        boost::system::error_code error;
        const int fd = state_->socket.release(error);
        return std::make_unique<detached_socket>(error ? -1 : fd);
    }
    bool stirs() override {
        std::byte one{};
        const auto got =
            ::recv(state_->socket.native_handle(), &one, 1, MSG_PEEK | MSG_DONTWAIT | MSG_NOSIGNAL);
        return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    }
    addresses names() const override;

    [[nodiscard]] const state_ptr& state() const { return state_; }

private:
    state_ptr state_;
};

connection::send_result socket_connection::send(std::span<const protocol::bytes> pieces) {
    std::array<iovec, 16> vectors;
    const auto count = std::min(pieces.size(), vectors.size());
    for (std::size_t i = 0; i < count; ++i) {
        vectors[i] = {const_cast<std::byte*>(pieces[i].data()), pieces[i].size()};
    }
    const int fd = state_->socket.native_handle();
    ssize_t sent = -1;
    do {
        if (count == 1) {
            sent = ::send(fd, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        } else {
            msghdr message{};
            message.msg_iov = vectors.data();
            message.msg_iovlen = count;
            sent = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        return {static_cast<std::size_t>(sent), {}};
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
        return {};
    }
    return {0, {errno, boost::system::system_category()}};
}

connection::addresses socket_connection::names() const {
    addresses result;
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    const int fd = state_->socket.native_handle();
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) == 0) {
        std::tie(result.peer, result.peer_port) = name_of(storage);
    }
    length = sizeof storage;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) == 0) {
        std::tie(result.local, result.local_port) = name_of(storage);
    }
    return result;
}

} // namespace

detached_socket::~detached_socket() {
    if (fd >= 0) {
        ::close(fd);
    }
}

std::unique_ptr<connection> make_connection(worker& on, int fd) {
    state_ptr state(new socket_state(on, socket_type(on.loop().get_executor())));
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
    boost::system::error_code error;
    state->socket.assign({storage.ss_family == AF_UNSPEC ? AF_INET : storage.ss_family, 0}, fd,
                         error);
    if (error) {
        ::close(fd); // the first read will say so
    }
    return std::make_unique<socket_connection>(std::move(state));
}

std::unique_ptr<connection> make_connection(worker& on, connection_events& who) {
    state_ptr state(new socket_state(on, socket_type(on.loop().get_executor())));
    state->events = &who;
    return std::make_unique<socket_connection>(std::move(state));
}

void connect_to(connection& what, std::vector<endpoint> where) {
    const auto& state = static_cast<socket_connection&>(what).state();
    state->candidates = std::move(where);
    try_next(state, asio::error::host_not_found);
}

void connect_failed(connection& what, boost::system::error_code why) {
    try_next(static_cast<socket_connection&>(what).state(), why);
}

std::shared_ptr<connection_watch> watch(connection& what) {
    const auto& state = static_cast<socket_connection&>(what).state();
    if (!state->watched) {
        state->watched = std::make_shared<connection_watch>();
        state->watched->what = &what;
    }
    return state->watched;
}

std::vector<endpoint> literal_endpoints(const server_address& where) {
    if (where.host.starts_with('/')) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const auto path = where.host + "/.s.PGSQL." + std::to_string(where.port);
        if (path.size() >= sizeof address.sun_path) {
            return {};
        }
        path.copy(address.sun_path, path.size());
        return {endpoint(&address, sizeof address)};
    }
    boost::system::error_code error;
    const auto address = asio::ip::make_address(where.host, error);
    if (error) {
        return {};
    }
    return {asio::ip::tcp::endpoint(address, where.port)};
}

} // namespace pgweir::daemon
