// What is on its way to one peer and has not been taken by its socket yet: bytes of our own before
// and after, and between them pieces of the other side's read buffer, which are never copied.
//
// Nothing new is relayed while it is not empty: that is the back-pressure. So memory is bounded by
// one read buffer per direction, and no peer is ever closed for being slow.
//
// Owner: a client or server. Thread: the worker's. Tests: tests/daemon/outbox_test.cpp.
#pragma once

#include "daemon/engine/buffer.hpp"
#include "daemon/engine/ports.hpp"

#include <array>
#include <string>
#include <string_view>

namespace pgweir::daemon {

class outbox {
public:
    static constexpr std::size_t max_pieces = 14;

    [[nodiscard]] bool empty() const { return empty_; }
    /// Bytes that still lie in the other side's buffer.
    [[nodiscard]] bool has_pieces() const { return piece_count_ != 0; }
    [[nodiscard]] bool room_for_piece() const { return piece_count_ < max_pieces; }

    /// Bytes of our own, behind everything that is here already.
    std::string& own() {
        empty_ = false;
        return piece_count_ == 0 && after_.empty() ? before_ : after_;
    }
    /// Bytes of the other side's buffer. They must stay until the outbox is empty (or adopt()).
    void piece(protocol::bytes what) {
        if (piece_count_ != 0 &&
            pieces_[piece_count_ - 1].data() + pieces_[piece_count_ - 1].size() == what.data()) {
            auto& last = pieces_[piece_count_ - 1];
            last = {last.data(), last.size() + what.size()};
        } else {
            pieces_[piece_count_++] = what;
        }
        empty_ = false;
    }
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

private:
    void drop(std::size_t count);

    std::string before_, after_;
    std::size_t before_sent_ = 0, after_sent_ = 0;
    std::array<protocol::bytes, max_pieces> pieces_;
    std::size_t piece_count_ = 0;
    buffer adopted_;
    bool empty_ = true;
};

} // namespace pgweir::daemon
