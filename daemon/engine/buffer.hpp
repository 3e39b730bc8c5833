// Read buffers: blocks from a free list, grown when traffic is heavy, given back when it stops. The
// bytes between begin and end have been read and not yet used.
//
// Owner: a client or server while it has bytes to read; the free list belongs to the engine.
// Thread: the worker's. Tests: tests/daemon/buffer_test.cpp.
#pragma once

#include "protocol/message.hpp"

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace pgweir::daemon {

inline constexpr std::size_t small_buffer_bytes = 8 * 1024;
inline constexpr std::size_t large_buffer_bytes = 256 * 1024;

class buffer_pool;

class buffer {
public:
    buffer() = default;
    buffer(buffer&& other) noexcept { swap(other); }
    buffer& operator=(buffer&& other) noexcept {
        swap(other);
        return *this;
    }

    [[nodiscard]] bool held() const { return block_ != nullptr; }
    [[nodiscard]] bool empty() const { return begin_ == end_; }
    [[nodiscard]] std::size_t size() const { return end_ - begin_; }
    [[nodiscard]] std::size_t capacity() const { return capacity_; }
    /// Bytes that have come and not been used.
    [[nodiscard]] protocol::bytes unused() const { return {block_.get() + begin_, end_ - begin_}; }
    /// Where more can be read to.
    [[nodiscard]] std::span<std::byte> room() { return {block_.get() + end_, capacity_ - end_}; }
    /// No more can be read before some are used.
    [[nodiscard]] bool full() const { return size() == capacity_; }

    void filled(std::size_t count) { end_ += count; }
    void use(std::size_t count) {
        begin_ += count;
        if (begin_ == end_) {
            begin_ = end_ = 0;
        }
    }
    /// As use(), while a read into room() is outstanding: positions must not move.
    void use_in_place(std::size_t count) { begin_ += count; }
    /// Moves what is unused to the front, so that there is room behind it. Only while no read is
    /// outstanding and nothing refers to the bytes.
    void compact() {
        if (begin_ != 0) {
            std::memmove(block_.get(), block_.get() + begin_, size());
            end_ -= begin_;
            begin_ = 0;
        }
    }

    void swap(buffer& other) noexcept {
        std::swap(block_, other.block_);
        std::swap(capacity_, other.capacity_);
        std::swap(begin_, other.begin_);
        std::swap(end_, other.end_);
    }

private:
    friend class buffer_pool;
    std::unique_ptr<std::byte[]> block_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

/// Keeps a bounded number of free blocks of either size.
class buffer_pool {
public:
    /// Makes `what` hold an empty block, if it holds none.
    void provide(buffer& what, bool large = false) {
        if (!what.held()) {
            take(what, large ? large_ : small_, large ? large_buffer_bytes : small_buffer_bytes);
        }
    }
    /// Gives a small block that is full of what cannot be used yet more room.
    void grow(buffer& what) {
        if (what.capacity() < large_buffer_bytes) {
            buffer larger;
            take(larger, large_, large_buffer_bytes);
            const auto old = what.unused();
            std::memcpy(larger.block_.get(), old.data(), old.size());
            larger.end_ = old.size();
            what.swap(larger);
            give_back(larger);
        }
    }
    void give_back(buffer& what) {
        if (what.held()) [[unlikely]] {
            take_back(what);
        }
    }

private:
    using blocks = std::vector<std::unique_ptr<std::byte[]>>;
    [[gnu::noinline]] void take_back(buffer& what) {
        auto& list = what.capacity_ == small_buffer_bytes ? small_ : large_;
        const std::size_t keep = what.capacity_ == small_buffer_bytes ? 1024 : 8;
        if (list.size() < keep) {
            list.push_back(std::move(what.block_));
        }
        what.block_.reset();
        what.capacity_ = what.begin_ = what.end_ = 0;
    }
    static void take(buffer& what, blocks& from, std::size_t size) {
        if (from.empty()) {
            what.block_ = std::make_unique_for_overwrite<std::byte[]>(size);
        } else {
            what.block_ = std::move(from.back());
            from.pop_back();
        }
        what.capacity_ = size;
        what.begin_ = what.end_ = 0;
    }
    blocks small_, large_;
};

} // namespace pgweir::daemon
