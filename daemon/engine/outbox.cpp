#include "daemon/engine/outbox.hpp"

#include <algorithm>

namespace pgweir::daemon {

outbox::flushed outbox::flush(connection& to) {
    if (empty_) {
        return {};
    }
    std::array<protocol::bytes, max_pieces + 2> all;
    std::size_t count = 0;
    std::size_t total = 0;
    const auto add = [&](protocol::bytes what) {
        if (!what.empty()) {
            all[count++] = what;
            total += what.size();
        }
    };
    add(protocol::as_bytes(before_).subspan(before_sent_));
    for (std::size_t i = 0; i < piece_count_; ++i) {
        add(pieces_[i]);
    }
    add(protocol::as_bytes(after_).subspan(after_sent_));
    if (total == 0) {
        drop(0);
        return {};
    }
    const auto result = to.send(std::span(all).first(count));
    if (result.error) {
        return {false, 0, result.error};
    }
    drop(result.sent);
    return {empty_, result.sent, {}};
}

void outbox::copy_pieces() {
    before_.erase(0, before_sent_);
    before_sent_ = 0;
    for (std::size_t i = 0; i < piece_count_; ++i) {
        before_ += protocol::as_text(pieces_[i]);
    }
    piece_count_ = 0;
}

void outbox::drop(std::size_t count) {
    const auto from_own = [&](const std::string& text, std::size_t& sent) {
        const auto part = std::min(count, text.size() - sent);
        sent += part;
        count -= part;
        return sent == text.size();
    };
    bool done = from_own(before_, before_sent_);
    std::size_t gone = 0;
    while (done && gone < piece_count_) {
        auto& first = pieces_[gone];
        const auto part = std::min(count, first.size());
        first = first.subspan(part);
        count -= part;
        if (!first.empty()) {
            done = false;
        } else {
            ++gone;
        }
    }
    std::copy(pieces_.begin() + static_cast<std::ptrdiff_t>(gone),
              pieces_.begin() + static_cast<std::ptrdiff_t>(piece_count_), pieces_.begin());
    piece_count_ -= gone;
    if (done && from_own(after_, after_sent_)) {
        // A rare large message of ours must not keep its memory for ever.
        constexpr std::size_t worth_keeping_bytes = 1024;
        for (auto* text : {&before_, &after_}) {
            text->clear();
            if (text->capacity() > worth_keeping_bytes) {
                text->shrink_to_fit();
            }
        }
        before_sent_ = after_sent_ = 0;
        empty_ = true;
    }
}

} // namespace pgweir::daemon
