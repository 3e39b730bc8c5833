#include "protocol/client_channels.hpp"

#include <iterator>
#include <utility>

namespace pgweir::protocol {

std::string client_channels::trace_name(std::uint64_t number) {
    return std::string(own_channel_prefix) + "unlistened_" + std::to_string(number);
}

void client_channels::sent(const std::vector<unlisten>& texts) {
    pending_.insert(pending_.end(), texts.begin(), texts.end());
}

void client_channels::failed() { pending_.clear(); }

std::optional<std::string> client_channels::trace() {
    if (pending_.empty() || carried_) {
        pending_.clear();
        return std::nullopt;
    }
    ++last_trace_;
    for (auto& one : pending_) {
        changes_.push_back({std::move(one), last_trace_});
    }
    pending_.clear();
    auto name = trace_name(last_trace_);
    ours_.insert(name);
    server_listens_ = true;
    return name;
}

void client_channels::transaction_ended() {
    for (auto& one : pending_) {
        changes_.push_back({std::move(one), 0});
    }
    pending_.clear();
}

void client_channels::carried_by_server() {
    carried_ = server_listens_ = true;
    ours_.clear();
}

void client_channels::asked() {
    in_answer_.insert(in_answer_.end(), std::make_move_iterator(changes_.begin()),
                      std::make_move_iterator(changes_.end()));
    changes_.clear();
}

client_channels::changes client_channels::told(const channel_set& there) {
    changes result;
    channel_set gone;
    const auto drop = [&](const std::string& channel) {
        if (!there.contains(channel)) { // else it has been listened to again since
            gone.insert(channel);
        }
    };
    for (const auto& [what, number] : in_answer_) {
        if (carried_ || (number != 0 && !there.contains(trace_name(number)))) {
            continue;
        }
        if (what.channel) {
            drop(*what.channel);
            continue;
        }
        for (const auto& channel : served_) {
            drop(channel);
        }
    }
    in_answer_.clear();
    if (carried_) {
        for (const auto& channel : served_) {
            drop(channel);
        }
    }
    for (const auto& channel : gone) {
        if (served_.erase(channel) != 0) {
            awaited_.erase(channel);
            result.gone.push_back(channel);
        }
    }
    channel_set moving;
    for (const auto& channel : there) {
        if (!ours_.contains(channel) && !served_.contains(channel)) {
            moving.insert(channel);
        }
    }
    for (const auto& channel : moving_) {
        if (!moving.contains(channel)) {
            result.gone.push_back(channel);
        }
    }
    moving_ = std::move(moving);
    result.fresh.assign(moving_.begin(), moving_.end());
    server_listens_ = carried_ || !there.empty();
    stage_ = moving_.empty() ? stage::settled : stage::joining;
    arrived_early_ = false;
    ++serial_;
    return result;
}

void client_channels::server_unlistens() {
    carried_ = server_listens_ = false;
    ours_.clear();
}

std::vector<std::string> client_channels::all_gone() {
    std::vector<std::string> gone(served_.begin(), served_.end());
    gone.insert(gone.end(), moving_.begin(), moving_.end());
    served_.clear();
    moving_.clear();
    awaited_.clear();
    pending_.clear();
    changes_.clear();
    in_answer_.clear();
    stage_ = stage::settled;
    server_unlistens();
    arrived_early_ = false;
    ++serial_; // what is under way concerns nobody
    return gone;
}

bool client_channels::joined(std::uint64_t serial) {
    if (stage_ != stage::joining || serial != serial_) {
        return false;
    }
    stage_ = stage::joined;
    return true;
}

void client_channels::fence_sent(std::string_view fence) {
    stage_ = stage::fenced;
    ours_.emplace(fence);
    server_listens_ = true;
}

void client_channels::left_server() {
    for (const auto& channel : moving_) {
        served_.insert(channel);
        if (!arrived_early_) {
            awaited_.insert_or_assign(channel, serial_);
        }
    }
    moving_.clear();
    arrived_early_ = false;
    stage_ = stage::settled;
}

void client_channels::arrived(std::uint64_t serial) {
    // The server may be slower to tell. What the listening connection tells meanwhile comes behind
    // what the server has still to say.
    arrived_early_ = arrived_early_ || (stage_ == stage::fenced && serial == serial_);
    std::erase_if(awaited_, [&](const auto& one) { return one.second <= serial; });
}

void client_channels::all_arrived() {
    awaited_.clear();
    arrived_early_ = stage_ == stage::fenced;
}

std::vector<std::string> client_channels::stay() {
    std::vector<std::string> left(moving_.begin(), moving_.end());
    moving_.clear();
    stage_ = stage::settled;
    ++serial_;
    return left;
}

} // namespace pgweir::protocol
