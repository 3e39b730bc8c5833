#include "tests/simulation/network.hpp"

#include <boost/system/errc.hpp>

#include <cstring>

namespace pgweir::simulation {

world& socket_end::shared() const { return home_->shared; }

duration socket_end::delay() {
    auto& random = shared().random;
    const auto& conditions = home_->conditions;
    auto result = random.between(conditions.min_delay, conditions.max_delay);
    if (!shared().faults_stopped && conditions.spike_percent != 0 &&
        random.chance(conditions.spike_percent)) {
        ++shared().faults;
        if (home_->conditions.max_spike >= milliseconds(100)) {
            shared().last_server_fault = shared().time.now(); // looks like one from the other end
        }
        result += random.between(duration(0), conditions.max_spike);
    }
    return result;
}

time_point socket_end::next_arrival() {
    last_arrival_ = std::max(last_arrival_, shared().time.now() + delay());
    return last_arrival_;
}

std::size_t socket_end::short_count(std::size_t count) {
    auto& random = shared().random;
    return count > 1 && random.chance(home_->conditions.short_percent) ? random.between(1, count)
                                                                       : count;
}

bool socket_end::sends_later() { return shared().random.chance(home_->conditions.later_percent); }

std::size_t socket_end::send(std::string_view what) {
    if (broken() || finished_) {
        return 0;
    }
    auto& to = *peer_;
    const auto room = to.capacity_ > to.inbox_.size() ? to.capacity_ - to.inbox_.size() : 0;
    const auto count = short_count(std::min(room, what.size()));
    if (count == 0) {
        return 0;
    }
    to.inbox_.append(what.substr(0, count));
    auto& random = shared().random;
    for (std::size_t left = count; left != 0;) {
        const auto whole = std::min(left, home_->conditions.max_part_bytes);
        const auto part =
            random.chance(home_->conditions.split_percent) ? random.between(1, whole) : whole;
        left -= part;
        shared().time.at(to.next_arrival(),
                         [keep = home_->shared_from_this(), &to, part] { to.deliver(part); });
    }
    return count;
}

void socket_end::deliver(std::size_t count) {
    if (reset_) {
        return;
    }
    if (closed_) {
        inbox_.erase(0, count);
        reset_peer();
        return;
    }
    arrived_ += count;
    if (user_ != nullptr) {
        user_->on_arrival();
    }
}

void socket_end::wait_room() {
    wants_room_ = true;
    // There may be room already (a short send), or an error to be told of.
    if (peer_->inbox_.size() < peer_->capacity_ || broken()) {
        shared().time.after(microseconds(1), [keep = home_->shared_from_this(), this] {
            if (wants_room_ && user_ != nullptr) {
                wants_room_ = false;
                user_->on_room();
            }
        });
    }
}

void socket_end::take(std::size_t count) {
    inbox_.erase(0, count);
    arrived_ -= count;
    if (count != 0 && peer_->wants_room_) {
        shared().time.after(delay(), [keep = home_->shared_from_this(), to = peer_] {
            if (to->wants_room_ && to->user_ != nullptr) {
                to->wants_room_ = false;
                to->user_->on_room();
            }
        });
    }
}

void socket_end::finish() {
    if (finished_ || broken()) {
        return;
    }
    finished_ = true;
    auto& to = *peer_;
    shared().time.at(to.next_arrival(), [keep = home_->shared_from_this(), &to] {
        if (!to.reset_ && !to.closed_) {
            to.fin_ = true;
            if (to.user_ != nullptr) {
                to.user_->on_arrival();
            }
        }
    });
}

void socket_end::close() {
    if (closed_) {
        return;
    }
    const bool unread = arrived_ != 0;
    user_ = nullptr;
    if (!reset_) {
        if (unread) {
            reset_peer();
        } else {
            finish();
        }
    }
    closed_ = true;
    wants_room_ = false;
    inbox_.erase(0, arrived_);
    arrived_ = 0;
}

void socket_end::reset_peer() {
    auto& to = *peer_;
    shared().time.at(to.next_arrival(),
                     [keep = home_->shared_from_this(), &to] { to.reset_arrives(); });
}

void socket_end::reset_arrives() {
    if (reset_ || closed_) {
        return;
    }
    reset_ = true;
    inbox_.resize(arrived_);
    if (user_ != nullptr) {
        user_->on_arrival();
    }
    if (user_ != nullptr && wants_room_) {
        wants_room_ = false;
        user_->on_room();
    }
}

void socket_end::cut() {
    auto& time = shared().time;
    time.after(delay(), [keep = home_->shared_from_this(), this] { reset_arrives(); });
    time.after(delay(), [keep = home_->shared_from_this(), this] { peer_->reset_arrives(); });
}

void socket_end::poke() {
    shared().time.after(microseconds(1), [keep = home_->shared_from_this(), this] {
        if (user_ != nullptr) {
            user_->on_arrival();
        }
    });
}

std::array<network::end_ptr, 2> network::connect() {
    auto made = std::make_shared<link>(shared_, conditions);
    for (std::size_t i = 0; i < 2; ++i) {
        auto& end = made->ends[i];
        end.home_ = made.get();
        end.peer_ = &made->ends[1 - i];
        end.capacity_ =
            shared_.random.between(conditions.min_buffer_bytes, conditions.max_buffer_bytes);
    }
    return {end_ptr(made, &made->ends[0]), end_ptr(made, &made->ends[1])};
}

// The engine's side ------------------------------------------------------------------------------

engine_socket::engine_socket(world& shared, network::end_ptr end, std::size_t& open_sockets)
    : self(std::make_shared<engine_socket*>(this))
    , shared_(shared)
    , end_(std::move(end))
    , open_sockets_(open_sockets) {
    ++open_sockets_;
    if (end_) {
        end_->set_user(this);
    }
}

engine_socket::~engine_socket() {
    *self = nullptr;
    --open_sockets_;
    if (end_) {
        end_->close();
    }
}

void engine_socket::connected(network::end_ptr end, boost::system::error_code error) {
    end_ = std::move(end);
    if (end_) {
        end_->set_user(this);
    }
    if (events_ != nullptr) {
        events_->on_connected(shared_.time.now(), error);
    }
}

daemon::connection::send_result engine_socket::send(std::span<const protocol::bytes> pieces) {
    if (!end_ || end_->broken()) {
        return {0, boost::system::errc::make_error_code(boost::system::errc::broken_pipe)};
    }
    std::string all;
    for (const auto piece : pieces) {
        all += protocol::as_text(piece);
    }
    const auto sent = end_->send(all);
    if (shared_.bug == planted_bug::cancel_to_next_client && to_server && all.size() == 16 &&
        all.compare(4, 4, std::string_view("\x04\xd2\x16\x2e", 4)) == 0) {
        end_faked_ = true; // as if PostgreSQL had closed already
        end_->poke();
    }
    return {sent, {}};
}

void engine_socket::read(std::span<std::byte> into) {
    if (asked_ != asked::nothing) {
        shared_.violation("two reads at once on one connection");
    }
    if (into.empty()) {
        shared_.violation("a read into no buffer");
    }
    asked_ = asked::bytes;
    into_ = into;
    if (!end_->readable().empty() || end_->at_end() || end_faked_) {
        end_->poke();
    }
}

void engine_socket::wait_readable() {
    if (asked_ != asked::nothing) {
        shared_.violation("two reads at once on one connection");
    }
    asked_ = asked::readiness;
    if (!end_->readable().empty() || end_->at_end() || end_faked_) {
        end_->poke();
    }
}

void engine_socket::wait_writable() {
    if (waits_writable_) {
        shared_.violation("two wait_writable() at once on one connection");
    }
    waits_writable_ = true;
    end_->wait_room();
}

bool engine_socket::sends_later() {
    if (waits_writable_ || !end_ || !end_->sends_later()) {
        return false;
    }
    wait_writable();
    return true;
}

void engine_socket::shutdown_send() {
    end_->finish();
    if (shared_.bug == planted_bug::bound_ignored && to_server) {
        end_faked_ = true; // as if PostgreSQL had closed already
        end_->poke();
    }
}

void engine_socket::on_arrival() {
    if (events_ == nullptr || asked_ == asked::nothing) {
        return;
    }
    const auto now = shared_.time.now();
    const auto there = end_->readable();
    const bool nothing = there.empty() && !end_->at_end() && !end_faked_;
    if (asked_ == asked::readiness) {
        if (!nothing) {
            asked_ = asked::nothing;
            events_->on_readable(now);
        }
        return;
    }
    boost::system::error_code error;
    std::size_t count = 0;
    if (!there.empty()) {
        count = end_->short_count(std::min(there.size(), into_.size()));
        std::memcpy(into_.data(), there.data(), count);
        shared_.mix(there.substr(0, std::min<std::size_t>(count, 64)));
        end_->take(count);
    } else if (nothing) {
        return;
    } else if (end_->was_reset()) {
        error = boost::system::errc::make_error_code(boost::system::errc::connection_reset);
    }
    asked_ = asked::nothing;
    events_->on_read(now, count, error);
}

void engine_socket::on_room() {
    if (waits_writable_) {
        waits_writable_ = false;
        if (events_ != nullptr) {
            events_->on_writable(shared_.time.now());
        }
    }
}

namespace {

struct detached final : daemon::detached_connection {
    explicit detached(network::end_ptr end_)
        : end(std::move(end_)) {}
    ~detached() {
        if (end) {
            end->close();
        }
    }
    network::end_ptr end;
};

} // namespace

std::unique_ptr<daemon::detached_connection> engine_socket::detach() {
    if (waits_writable_) {
        shared_.violation("a connection moves while something is still to be sent on it");
    }
    asked_ = asked::nothing;
    end_->set_user(nullptr);
    return std::make_unique<detached>(std::move(end_));
}

network::end_ptr take_end(daemon::detached_connection& from) {
    return std::move(static_cast<detached&>(from).end);
}

} // namespace pgweir::simulation
