#include "protocol/deallocations.hpp"

#include <utility>

namespace pgweir::protocol {

bool deallocations::all_in(std::uint64_t batch) const {
    return by_batch_.empty() || (by_batch_.size() == 1 && by_batch_.contains(batch));
}

deallocations::found deallocations::of(std::string_view name) const {
    const auto at = by_name_.find(name);
    return at == by_name_.end() ? found{} : at->second.places;
}

void deallocations::add(std::string_view name, place at) {
    (name.empty() ? all_ : names_).push_back({std::string(name), at});
    auto& known = by_name_[std::string(name)];
    ++known.count;
    if (known.places.last.batch != at.batch) {
        known.places.before = known.places.last;
    }
    known.places.last = at;
    ++by_batch_[at.batch];
}

void deallocations::forget(const one& which) {
    if (const auto at = by_batch_.find(which.at.batch); --at->second == 0) {
        by_batch_.erase(at);
    }
    const auto at = by_name_.find(which.name);
    if (--at->second.count == 0) {
        by_name_.erase(at);
    } else if (at->second.places.before.changed == which.at.changed) {
        at->second.places.before = {}; // those before it are gone as well
    }
}

std::optional<std::string> deallocations::take_name() {
    if (names_.empty()) {
        return std::nullopt;
    }
    auto first = std::move(names_.front());
    names_.pop_front();
    forget(first);
    return std::move(first.name);
}

void deallocations::all_done() {
    const bool first =
        !all_.empty() && (names_.empty() || all_.front().at.changed < names_.front().at.changed);
    if (first) {
        forget(all_.front());
        all_.pop_front();
    }
}

} // namespace pgweir::protocol
