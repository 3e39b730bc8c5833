// One raw connection: sends bytes as they are, keeps every message that comes. It reads while it
// writes, so that two full sockets are no deadlock, and it never interprets more than it must to
// know when to stop waiting.
//
// Owner: the player of a script, one per client of it. One thread; blocks, with a deadline.
#pragma once

#include "integration/differential/transcript.hpp"

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgweir::differential {

struct address {
    std::string host; // an IPv4 address
    std::string port;
};

class wire_client {
public:
    using deadline = std::chrono::steady_clock::time_point;
    using settings = std::vector<std::pair<std::string, std::string>>;

    wire_client() = default;
    wire_client(const wire_client&) = delete;
    wire_client& operator=(const wire_client&) = delete;
    ~wire_client();

    /// What became of something that takes time.
    enum class outcome : char { done, closed, timed_out };

    /// Connects and sends the start-up packet. Throws when nobody listens there.
    void connect(const address& to, std::string_view startup_packet);
    [[nodiscard]] bool connected() const { return socket_ >= 0; }

    outcome send(std::string_view bytes, deadline until);
    /// Until `count` more messages of these types have come, counted from where the last wait
    /// ended.
    outcome wait_for(std::string_view types, std::size_t count, deadline until);
    /// … or an error has, whichever is first: the end of a login.
    outcome wait_for_login(deadline until);
    outcome wait_for_close(deadline until);
    /// Takes what is there without waiting.
    void look();
    /// Drops all messages, but not the key.
    void forget_everything() {
        received_.clear();
        waited_to_ = 0;
    }
    /// Drops all messages behind the one where the last wait ended.
    void forget_what_was_not_waited_for() { received_.resize(waited_to_); }

    void close();      // FIN
    void reset();      // RST
    void half_close(); // FIN, but goes on reading

    /// A CancelRequest with this client's key on a connection of its own, until that is closed.
    outcome cancel(deadline until) const;

    [[nodiscard]] const std::vector<backend_message>& received() const { return received_; }
    /// The other side has closed, in whatever way.
    [[nodiscard]] bool ended() const { return ended_; }

private:
    void read_some();
    void take_messages();
    [[nodiscard]] bool wait_readable(deadline until) const;

    address to_;
    int socket_ = -1;
    std::string input_; // less than a message
    std::vector<backend_message> received_;
    std::string key_;           // BackendKeyData
    std::size_t waited_to_ = 0; // index in received_
    bool ended_ = false;
};

} // namespace pgweir::differential
