// Who listens to which channel: a count of references, so that PostgreSQL is told LISTEN for the
// first one and UNLISTEN for the last. Used twice: a worker keeps its clients in one, the worker
// that has the listening connection keeps the workers in another.
//
// Owner: a worker's engine. Thread: that worker's. Tests: tests/pool/channel_registry_test.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::pool {

template <typename Who>
class channel_registry {
public:
    /// True: it is the first that listens to this channel. Twice is once.
    bool add(std::string_view channel, const Who& who) {
        auto found = channels_.find(channel);
        if (found == channels_.end()) {
            found = channels_.emplace(channel, std::vector<Who>{}).first;
        }
        auto& all = found->second;
        if (std::find(all.begin(), all.end(), who) != all.end()) {
            return false;
        }
        all.push_back(who);
        return all.size() == 1;
    }
    /// True: it was the last, nobody listens to the channel any more.
    bool remove(std::string_view channel, const Who& who) {
        const auto found = channels_.find(channel);
        if (found == channels_.end()) {
            return false;
        }
        auto& all = found->second;
        const auto at = std::find(all.begin(), all.end(), who);
        if (at == all.end()) {
            return false;
        }
        *at = all.back(); // their order means nothing
        all.pop_back();
        if (!all.empty()) {
            return false;
        }
        channels_.erase(found);
        return true;
    }
    /// Everybody who listens to it. A copy: who is told something may leave.
    [[nodiscard]] std::vector<Who> listeners(std::string_view channel) const {
        const auto found = channels_.find(channel);
        return found == channels_.end() ? std::vector<Who>{} : found->second;
    }
    [[nodiscard]] std::vector<std::string> channels() const {
        std::vector<std::string> all;
        all.reserve(channels_.size());
        for (const auto& [channel, who] : channels_) {
            all.push_back(channel);
        }
        return all;
    }
    [[nodiscard]] bool empty() const { return channels_.empty(); }
    [[nodiscard]] std::size_t size() const { return channels_.size(); }

private:
    std::map<std::string, std::vector<Who>, std::less<>> channels_;
};

} // namespace pgweir::pool
