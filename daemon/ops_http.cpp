#include "daemon/ops_http.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <list>
#include <optional>
#include <utility>

namespace pgweir::daemon {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using request_parser = http::request_parser<http::empty_body>;
using response = http::response<http::string_body>;

// Errors are values: a peer that goes away is an everyday event.
constexpr auto as_values = asio::as_tuple(asio::use_awaitable);

// How long accepting rests after an error such as "too many open files": long enough not to spin,
// short enough that a scrape does not notice.
constexpr auto accept_pause = std::chrono::milliseconds(50);

struct session {
    explicit session(tcp::socket socket)
        : stream(std::move(socket)) {}
    beast::tcp_stream stream;
    beast::flat_buffer buffer;
    bool awaiting_request = true; // else an answer is on its way
};

response plain(http::status status, std::string text) {
    response answer(status, 11);
    answer.set(http::field::content_type, "text/plain; charset=utf-8");
    answer.body() = std::move(text);
    return answer;
}

/// What to tell a peer whose request could not be read; nothing when it is gone or took too long.
std::optional<response> refusal(const error_code& error) {
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
        return plain(http::status::request_header_fields_too_large, "header too large\n");
    }
    if (error == http::error::end_of_stream || error == http::error::partial_message ||
        error.category() != http::make_error_code(http::error::bad_method).category()) {
        return std::nullopt;
    }
    return plain(http::status::bad_request, "not understood as HTTP\n");
}

response route(const ops_http_handlers& handlers, std::string_view path) {
    if (path == "/metrics") {
        auto answer = plain(http::status::ok, handlers.metrics());
        answer.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
        return answer;
    }
    if (path == "/healthz") {
        return handlers.healthy() ? plain(http::status::ok, "ok\n")
                                  : plain(http::status::service_unavailable, "a worker has hung\n");
    }
    if (path == "/readyz") {
        auto state = handlers.ready();
        return plain(state.ready ? http::status::ok : http::status::service_unavailable,
                     std::move(state.why) + "\n");
    }
    if (path == "/") {
        auto answer = plain(http::status::ok, handlers.status_page());
        answer.set(http::field::content_type, "text/html; charset=utf-8");
        answer.set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
        return answer;
    }
    return plain(http::status::not_found, "no such page\n");
}

response respond(const ops_http_handlers& handlers, const request_parser& parser) {
    const auto& request = parser.get();
    if (request.method() != http::verb::get && request.method() != http::verb::head) {
        auto answer = plain(http::status::method_not_allowed, "GET and HEAD only\n");
        answer.set(http::field::allow, "GET, HEAD");
        answer.keep_alive(false); // whatever body follows is not read
        return answer;
    }
    if (!parser.is_done()) { // more than a header
        auto answer = plain(http::status::payload_too_large, "a body is not expected\n");
        answer.keep_alive(false);
        return answer;
    }
    const std::string_view target(request.target().data(), request.target().size());
    response answer;
    try {
        answer = route(handlers, target.substr(0, target.find('?')));
    } catch (const std::exception&) {
        answer = plain(http::status::internal_server_error, "internal error\n");
    }
    answer.keep_alive(request.keep_alive());
    return answer;
}

} // namespace

struct ops_http::state {
    state(asio::io_context& context, ops_http_handlers what, ops_http_limits bounds)
        : io(context)
        , handlers(std::move(what))
        , limits(bounds)
        , acceptor(context) {}

    asio::io_context& io;
    ops_http_handlers handlers;
    ops_http_limits limits;
    tcp::acceptor acceptor;
    std::list<session*> sessions; // oldest without a request first
    bool stopped = false;

    [[nodiscard]] bool make_room();
    static asio::awaitable<void> accept(std::shared_ptr<state> self);
    static asio::awaitable<void> serve(std::shared_ptr<state> self, tcp::socket socket);
    static asio::awaitable<void> converse(std::shared_ptr<state> self, session& peer);
    static asio::awaitable<bool> send(std::shared_ptr<state> self, session& peer, response answer,
                                      bool head);
};

/// True when one more connection may be served.
bool ops_http::state::make_room() {
    if (sessions.size() < limits.connections) {
        return true;
    }
    for (auto it = sessions.begin(); it != sessions.end(); ++it) {
        if ((*it)->awaiting_request) {
            // Its coroutine ends with an error in a moment; it no longer counts from now on.
            (*it)->stream.close();
            sessions.erase(it);
            return true;
        }
    }
    return false;
}

asio::awaitable<void> ops_http::state::accept(std::shared_ptr<state> self) {
    asio::steady_timer pause(self->io);
    while (!self->stopped) {
        auto [error, socket] = co_await self->acceptor.async_accept(as_values);
        if (self->stopped) {
            co_return;
        }
        if (error) {
            pause.expires_after(accept_pause);
            auto [ignored] = co_await pause.async_wait(as_values);
            (void)ignored;
            continue;
        }
        if (self->make_room()) {
            asio::co_spawn(self->io, serve(self, std::move(socket)), asio::detached);
        }
    }
}

// Nothing may escape: an exception out of a detached coroutine would end the thread's loop. The
// likely one is bad_alloc, and then this connection ends and no other.
asio::awaitable<void> ops_http::state::serve(std::shared_ptr<state> self, tcp::socket socket) {
    session peer(std::move(socket));
    try {
        self->sessions.push_back(&peer);
        co_await converse(self, peer);
    } catch (const std::exception&) {
    }
    self->sessions.remove(&peer);
}

asio::awaitable<void> ops_http::state::converse(std::shared_ptr<state> self, session& peer) {
    auto patience = self->limits.first_request;
    while (!self->stopped) {
        peer.awaiting_request = true;
        peer.buffer.max_size(self->limits.header_bytes + 1024);
        request_parser parser;
        parser.header_limit(static_cast<std::uint32_t>(self->limits.header_bytes));
        peer.stream.expires_after(patience);
        auto [error, count] =
            co_await http::async_read_header(peer.stream, peer.buffer, parser, as_values);
        (void)count;
        peer.awaiting_request = false;
        if (error) {
            auto answer = refusal(error);
            if (answer) {
                answer->keep_alive(false);
                co_await send(self, peer, std::move(*answer), false);
            }
            co_return;
        }
        const bool head = parser.get().method() == http::verb::head;
        const bool keep = co_await send(self, peer, respond(self->handlers, parser), head);
        if (!keep) {
            co_return;
        }
        patience = self->limits.request;
        // Least recently used is first to make room.
        self->sessions.remove(&peer);
        self->sessions.push_back(&peer);
    }
}

/// True when the connection may be used again.
asio::awaitable<bool> ops_http::state::send(std::shared_ptr<state> self, session& peer,
                                            response answer, bool head) {
    answer.set(http::field::cache_control, "no-store");
    answer.set("X-Content-Type-Options", "nosniff");
    answer.prepare_payload();
    peer.stream.expires_after(self->limits.answer);
    http::response_serializer<http::string_body> serializer(answer);
    error_code error;
    if (head) { // the header that GET would get, and no body
        auto [failed, count] =
            co_await http::async_write_header(peer.stream, serializer, as_values);
        (void)count;
        error = failed;
    } else {
        auto [failed, count] = co_await http::async_write(peer.stream, serializer, as_values);
        (void)count;
        error = failed;
    }
    if (error) {
        co_return false;
    }
    if (!answer.keep_alive()) {
        // A close with bytes still unread would reset the connection and could take the answer
        // with it: end our direction and let the peer close, or the timer.
        error_code ignored;
        peer.stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
        peer.awaiting_request = true;
        peer.buffer.clear();
        peer.buffer.max_size(16 * 1024);
        peer.stream.expires_after(
            std::min<std::chrono::nanoseconds>(self->limits.answer, std::chrono::seconds(2)));
        std::size_t drained = 0;
        while (drained < 256 * 1024) {
            auto [ended, count] =
                co_await peer.stream.async_read_some(peer.buffer.prepare(8 * 1024), as_values);
            if (ended) {
                break;
            }
            drained += count;
        }
        co_return false;
    }
    co_return true;
}

ops_http::ops_http(asio::io_context& io, ops_http_handlers handlers, ops_http_limits limits)
    : state_(std::make_shared<state>(io, std::move(handlers), limits)) {}

ops_http::~ops_http() { stop(); }

boost::system::error_code ops_http::listen(const std::string& address, std::uint16_t port) {
    error_code error;
    const auto ip = asio::ip::make_address(address, error);
    if (error) {
        return error;
    }
    const tcp::endpoint where(ip, port);
    auto& acceptor = state_->acceptor;
    if (acceptor.open(where.protocol(), error) ||
        acceptor.set_option(tcp::acceptor::reuse_address(true), error) ||
        acceptor.bind(where, error) ||
        acceptor.listen(asio::socket_base::max_listen_connections, error)) {
        error_code ignored;
        acceptor.close(ignored);
        return error;
    }
    asio::co_spawn(state_->io, state::accept(state_), asio::detached);
    return {};
}

boost::system::error_code ops_http::adopt(int listening_socket) {
    sockaddr_storage name{};
    socklen_t length = sizeof(name);
    if (::getsockname(listening_socket, reinterpret_cast<sockaddr*>(&name), &length) != 0) {
        return {errno, boost::system::system_category()};
    }
    error_code error;
    state_->acceptor.assign(name.ss_family == AF_INET6 ? tcp::v6() : tcp::v4(), listening_socket,
                            error);
    if (!error) {
        asio::co_spawn(state_->io, state::accept(state_), asio::detached);
    }
    return error;
}

std::uint16_t ops_http::port() const {
    error_code error;
    const auto where = state_->acceptor.local_endpoint(error);
    return error ? std::uint16_t{0} : where.port();
}

void ops_http::stop() {
    state_->stopped = true;
    error_code ignored;
    state_->acceptor.close(ignored);
    for (auto* peer : state_->sessions) {
        peer->stream.close();
    }
}

std::size_t ops_http::connections() const { return state_->sessions.size(); }

} // namespace pgweir::daemon
