#include "protocol/server_statements.hpp"

#include "protocol/stale_statement.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace pgweir::protocol {

namespace {

// Below this many changes that are done with, moving the rest down is not worth it.
constexpr std::size_t compact_at = 256;

} // namespace

server_statements::presence server_statements::of(const statement_id& id, std::uint64_t batch,
                                                  const statement_needs& what) const {
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) {
        return presence::absent;
    }
    const auto& it = *found->second;
    if (it.in_flight != 0 && it.batch != batch) {
        return presence::unsettled;
    }
    const bool fits = it.present && it.when.epoch >= what.not_before.epoch &&
                      it.when.count >= what.not_before.count &&
                      (what.shape == unknown_shape || what.shape == it.shape);
    return fits ? presence::present : presence::absent;
}

bool server_statements::is_older(const statement_id& id, std::uint64_t count) const {
    const auto found = by_id_.find(id);
    return found != by_id_.end() && found->second->present && found->second->when.count < count;
}

void server_statements::told_rows(bytes description, bool too_long) {
    const auto parameters = std::exchange(parameters_, {});
    descriptions_.push_back(
        too_long || parameters.empty()
            ? described_statement{}
            : described_statement{shape_of(as_bytes(parameters), description), parameters});
}

void server_statements::describe(const statement_id& id, statement_shape shape) {
    const auto found = by_id_.find(id);
    if (found != by_id_.end() && found->second->in_flight == 0) {
        found->second->shape = shape; // else it has been parsed once more behind that
    }
}

bool server_statements::settled_for(std::uint64_t batch) const {
    const auto settled = [batch](const item& it) { return it.in_flight == 0 || it.batch == batch; };
    return std::all_of(items_.begin(), items_.end(), settled) &&
           std::all_of(leaving_.begin(), leaving_.end(), settled);
}

void server_statements::touch(const statement_id& id) {
    const auto found = by_id_.find(id);
    if (found != by_id_.end() && found->second->present) {
        items_.splice(items_.end(), items_, found->second);
    }
}

server_statements::position server_statements::get(const statement_id& id) {
    if (const auto found = by_id_.find(id); found != by_id_.end()) {
        return found->second;
    }
    const auto at = leaving_.insert(leaving_.end(), item{.id = id});
    by_id_.emplace(id, at);
    return at;
}

void server_statements::set(position at, bool present) {
    auto& from = at->present ? items_ : leaving_;
    if (!present && at->in_flight == 0) {
        by_id_.erase(at->id);
        from.erase(at);
        return;
    }
    if (present != at->present) {
        // One that is not evicted after all was the least recently used.
        auto& to = present ? items_ : leaving_;
        to.splice(to.begin(), from, at);
        at->present = present;
    }
}

// One change of this statement less is in flight.
void server_statements::settle(const statement_id& id, bool present) {
    const auto at = get(id);
    --at->in_flight;
    set(at, present);
}

void server_statements::sent(change what, std::uint64_t batch, const parse_time& when) {
    using enum change::kind;
    if (what.is == parse || what.is == provide || what.is == evict) {
        const auto at = get(what.of->id);
        what.of->was_present = at->present;
        ++at->in_flight;
        at->batch = batch;
        set(at, what.is != evict);
        if (what.is != evict) {
            at->when = when;
            at->shape = unknown_shape;
            touch(what.of->id);
        }
    }
    journal_.push_back(std::move(what));
}

void server_statements::carry_out(const change& what, client_statements* mine) {
    const auto assert_presence = [&](bool present) {
        const auto at = get(what.of->id);
        // A later change of the same batch has already been counted as done.
        settle(what.of->id, at->in_flight == 1 ? present : at->present);
    };
    switch (what.is) {
    case change::kind::parse:
        assert_presence(true);
        if (mine != nullptr) {
            mine->done(what.of->name, what.of->what);
        }
        break;
    case change::kind::provide:
        assert_presence(true);
        break;
    case change::kind::evict:
        assert_presence(false);
        break;
    case change::kind::close:
        if (mine != nullptr) {
            mine->done(what.of->name, nullptr);
        }
        break;
    case change::kind::unnamed_parse:
    case change::kind::unnamed_provide:
        if (mine != nullptr) {
            mine->unnamed_settled(what.serial, true);
        }
        break;
    case change::kind::unnamed_destroyed:
        if (mine != nullptr) {
            mine->unnamed_settled(what.serial, false);
        }
        break;
    case change::kind::describe:
        if (const auto as = next_description(); mine != nullptr) {
            describe(what.of->id, as.shape);
            mine->told(what.of->what, as);
        }
        break;
    }
}

described_statement server_statements::next_description() {
    if (descriptions_.empty()) {
        return {};
    }
    auto first = std::move(descriptions_.front());
    descriptions_.erase(descriptions_.begin());
    return first;
}

void server_statements::undo(const change& what, client_statements* mine, bool failed) {
    switch (what.is) {
    case change::kind::parse:
        // Where the server had it, our Close went before the Parse: if that failed, it is gone.
        settle(what.of->id, what.of->was_present && !failed);
        if (mine != nullptr) {
            mine->undone(what.of->name, what.of->before);
        }
        break;
    case change::kind::provide:
    case change::kind::evict:
        settle(what.of->id, what.of->was_present && !failed);
        break;
    case change::kind::close:
        if (mine != nullptr) {
            mine->undone(what.of->name, what.of->before);
        }
        break;
    case change::kind::unnamed_parse:
        if (mine != nullptr && failed) {
            mine->unnamed_settled(what.serial, false); // Parse destroys the old one first
        } else if (mine != nullptr) {
            mine->unnamed_skipped(what.serial);
        }
        break;
    case change::kind::unnamed_provide:
    case change::kind::unnamed_destroyed:
        if (mine != nullptr) {
            mine->unnamed_skipped(what.serial);
        }
        break;
    case change::kind::describe:
        if (mine != nullptr) {
            mine->not_told(what.of->what, failed);
        }
        break;
    }
}

void server_statements::apply(std::span<const outcome> outcomes, client_statements* mine) {
    while (!outcomes.empty() && head_ != journal_.size()) {
        if (outcomes.front() == outcome::done) {
            carry_out(journal_[head_++], mine);
            outcomes = outcomes.subspan(1);
            continue;
        }
        // What did not happen is undone in the opposite order.
        const auto bad = static_cast<std::size_t>(
            std::find(outcomes.begin(), outcomes.end(), outcome::done) - outcomes.begin());
        const auto count = std::min(bad, journal_.size() - head_);
        for (std::size_t i = count; i-- > 0;) {
            undo(journal_[head_ + i], mine, outcomes[i] == outcome::failed);
        }
        head_ += count;
        outcomes = outcomes.subspan(bad);
    }
    drop_applied();
}

void server_statements::drop_applied() {
    if (head_ == journal_.size()) {
        journal_.clear();
        head_ = 0;
    } else if (head_ >= compact_at && head_ * 2 >= journal_.size()) {
        journal_.erase(journal_.begin(), journal_.begin() + static_cast<std::ptrdiff_t>(head_));
        head_ = 0;
    }
}

const statement_id* server_statements::victim(std::size_t limit, std::uint64_t batch) const {
    if (size() < limit) {
        return nullptr;
    }
    const auto spare = std::find_if(items_.begin(), items_.end(), [&](const item& it) {
        return it.in_flight == 0 || it.batch == batch;
    });
    return spare == items_.end() ? nullptr : &spare->id;
}

void server_statements::all_deallocated() {
    for (auto at = items_.begin(); at != items_.end();) {
        const auto next = std::next(at);
        if (at->in_flight == 0) {
            set(at, false);
        }
        at = next;
    }
    for (auto i = head_; i < journal_.size(); ++i) {
        if (journal_[i].of) {
            journal_[i].of->was_present = false;
        }
    }
    deallocated({});
}

void server_statements::deallocated(std::string_view name) {
    // Should what is under way be skipped, there is nothing to go back to but what has itself been
    // made under way.
    std::unordered_set<std::string_view> made;
    for (auto i = head_; i < journal_.size(); ++i) {
        if (!journal_[i].of) {
            continue;
        }
        auto& next = *journal_[i].of;
        if (!name.empty() && significant(next.name) != significant(name)) {
            continue;
        }
        if (!made.contains(significant(next.name))) {
            next.before = nullptr;
        }
        if (journal_[i].is == change::kind::parse) {
            made.insert(significant(next.name));
        }
    }
}

void server_statements::doubt(const statement_id& id) {
    if (const auto found = by_id_.find(id); found != by_id_.end()) {
        found->second->in_flight == 0 ? set(found->second, false) : void();
    }
}

std::vector<server_statements::held> server_statements::contents() const {
    std::vector<held> all;
    for (const auto& it : items_) {
        all.push_back({it.id, it.when.epoch, it.shape});
    }
    return all;
}

void server_statements::restore(std::span<const held> contents) {
    for (const auto& one : contents) {
        const auto at = get(one.id);
        at->when.epoch = one.epoch; // workers count Parse messages on their own
        at->shape = one.shape;
        set(at, true);
        touch(one.id);
    }
}

} // namespace pgweir::protocol
