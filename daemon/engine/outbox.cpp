#include "daemon/engine/outbox.hpp"

#include <algorithm>
#include <array>

namespace pgweir::daemon {

// What has been appended to own_ since the last time becomes a part.
void outbox::seal() {
    if (const auto fresh = own_.size() - sealed_; fresh != 0) {
        if (!parts_.empty() && parts_.back().data == nullptr) {
            parts_.back().size += fresh;
        } else {
            parts_.push_back({nullptr, fresh});
        }
        sealed_ = own_.size();
    }
}

void outbox::pass(protocol::bytes what) {
    seal();
    if (!parts_.empty() && parts_.back().data != nullptr &&
        parts_.back().data + parts_.back().size == what.data()) {
        parts_.back().size += what.size();
    } else {
        parts_.push_back({what.data(), what.size()});
        ++pieces_;
    }
}

template <std::size_t Most>
connection::send_result outbox::send(connection& to, std::size_t count) const {
    std::array<protocol::bytes, Most> all; // is filled with nothing first: no larger than need be
    auto own = protocol::as_bytes(own_).subspan(own_head_);
    for (std::size_t i = 0; i < count; ++i) {
        const auto& next = parts_[i];
        if (next.data != nullptr) {
            all[i] = {next.data, next.size};
        } else {
            all[i] = own.first(next.size);
            own = own.subspan(next.size);
        }
    }
    return to.send(std::span(all).first(count));
}

outbox::flushed outbox::flush(connection& to) {
    seal();
    if (parts_.empty()) {
        return {};
    }
    if (parts_.size() == 1 && parts_[0].data != nullptr) { // nearly always
        const protocol::bytes piece(parts_[0].data, parts_[0].size);
        const auto result = to.send({&piece, 1});
        if (result.sent == piece.size()) {
            pieces_ = 0;
            parts_.clear();
            if (!own_.empty()) {
                emptied();
            }
            return {true, result.sent, {}};
        }
        return taken(result);
    }
    const auto count = std::min(parts_.size(), max_parts);
    const auto result =
        count <= few_parts ? send<few_parts>(to, count) : send<max_parts>(to, count);
    return taken(result);
}

outbox::flushed outbox::taken(const connection::send_result& result) {
    if (result.error) {
        return {false, 0, result.error};
    }
    drop(result.sent);
    return {empty(), result.sent, {}};
}

void outbox::copy_pieces() {
    if (pieces_ == 0) {
        return;
    }
    seal();
    std::string all;
    for (const auto& next : parts_) {
        if (next.data != nullptr) {
            all += protocol::as_text({next.data, next.size});
        } else {
            all.append(own_, own_head_, next.size);
            own_head_ += next.size;
        }
    }
    own_ = std::move(all);
    own_head_ = sealed_ = pieces_ = 0;
    parts_.clear();
}

void outbox::drop(std::size_t count) {
    std::size_t gone = 0;
    while (gone < parts_.size() && count >= parts_[gone].size) {
        count -= parts_[gone].size;
        if (parts_[gone].data != nullptr) {
            --pieces_;
        } else {
            own_head_ += parts_[gone].size;
        }
        ++gone;
    }
    if (gone == parts_.size()) {
        emptied();
        return;
    }
    auto& first = parts_[gone];
    if (first.data != nullptr) {
        first.data += count;
    } else {
        own_head_ += count;
    }
    first.size -= count;
    parts_.erase(parts_.begin(), parts_.begin() + static_cast<std::ptrdiff_t>(gone));
}

// A rare large message of ours must not keep its memory for ever.
void outbox::emptied() {
    constexpr std::size_t worth_keeping_bytes = 1024;
    parts_.clear();
    if (parts_.capacity() > kept_parts) {
        parts_.shrink_to_fit();
    }
    own_.clear();
    if (own_.capacity() > worth_keeping_bytes) {
        own_.shrink_to_fit();
    }
    own_head_ = sealed_ = 0;
}

} // namespace pgweir::daemon
