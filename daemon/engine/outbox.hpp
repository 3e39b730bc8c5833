// What is on its way to one peer and has not been taken by its socket yet: pieces of the other
// side's read buffer, which are never copied, and bytes of our own between them, in the order in
// which they were put in. All of it leaves in one gathered send.
//
// Nothing new is relayed while it is not empty: that is the back-pressure. So memory is bounded by
// one read buffer per direction, and no peer is ever closed for being slow.
//
// Owner: a client or server. Thread: the worker's. Tests: tests/daemon/outbox_test.cpp.
#pragma once

#include "daemon/engine/buffer.hpp"
#include "daemon/engine/ports.hpp"
#include "protocol/statement_router.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace pgweir::daemon {

class outbox final : public protocol::relay_sink {
public:
    [[nodiscard]] bool empty() const { return parts_.empty() && sealed_ == own_.size(); }
    /// Bytes that still lie in the other side's buffer.
    [[nodiscard]] bool has_pieces() const { return pieces_ != 0; }
    [[nodiscard]] bool has_room() const override { return parts_.size() + spare_parts < max_parts; }

    /// Bytes of our own, behind everything that is here already.
    std::string& own() override { return own_; }
    /// Bytes of the other side's buffer. They must stay until the outbox is empty (or adopt()).
    void pass(protocol::bytes what) override;
    /// Copies the pieces, so that the buffer they lie in may be used for something else.
    void copy_pieces();
    /// The buffer that the pieces lie in now belongs here, so that its server can go on.
    void adopt(buffer&& holding) { adopted_ = std::move(holding); }
    [[nodiscard]] buffer& adopted() { return adopted_; }

    /// One gathered send. Drops what was taken; true when the outbox is empty then.
    struct flushed {
        bool done = true;
        std::size_t sent = 0;
        boost::system::error_code error;
    };
    [[nodiscard]] flushed flush(connection& to);

    /// More would not fit into one system call's list.
    static constexpr std::size_t max_parts = 64;

private:
    // One message may need so many: something of our own, itself, its rest, something behind it.
    static constexpr std::size_t spare_parts = 4;
    // More than these are seldom needed and not kept.
    static constexpr std::size_t kept_parts = 16;
    // Nearly all that is sent has no more.
    static constexpr std::size_t few_parts = 4;

    // A piece, or (no data) the next `size` bytes of own_.
    struct part {
        const std::byte* data;
        std::size_t size;
    };
    void seal();
    // Sends the first `count` parts, Most at most.
    template <std::size_t Most>
    connection::send_result send(connection& to, std::size_t count) const;
    [[nodiscard]] flushed taken(const connection::send_result& result);
    void drop(std::size_t count);
    void emptied();

    std::vector<part> parts_;
    std::string own_;
    std::size_t own_head_ = 0; // of own_, so many have been sent
    std::size_t sealed_ = 0;   // of own_, so many are in parts_ or sent
    std::size_t pieces_ = 0;   // parts that are pieces
    buffer adopted_;
};

} // namespace pgweir::daemon
