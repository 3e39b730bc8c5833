#include "protocol/client_statements.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::protocol {

namespace {

// Texts of this size and less cost what a client costs anyhow; larger ones count against the
// table's bound.
constexpr std::size_t free_bytes = 1'024;
// What a name costs beside what it stands for.
constexpr std::size_t name_overhead_bytes = 128;
// One client's statements may take this part of the table: a quarter.
constexpr std::size_t largest_share = 4;
// So many names that are gone are remembered while errors may still name them.
constexpr std::size_t most_departed = 64;

} // namespace

client_statements::~client_statements() {
    table_->release(text_.reserved_bytes);
    table_->release(previous_.reserved_bytes);
}

statement_ref client_statements::intern(const reading_context& context, bytes definition,
                                        bool by_sql) {
    const bool modest = names_.size() < most_names &&
                        named_bytes_ + definition.size() <= table_->max_bytes() / largest_share;
    return modest ? table_->intern(context, definition, by_sql) : nullptr;
}

const client_statements::named* client_statements::find(std::string_view name) const {
    const auto at = names_.find(significant(name));
    return at == names_.end() ? nullptr : &at->second;
}

client_statements::named* client_statements::find(std::string_view name) {
    const auto at = names_.find(significant(name));
    return at == names_.end() ? nullptr : &at->second;
}

client_statements::name_map::iterator client_statements::forget(name_map::iterator at) {
    bound_ = bound_ == &at->second ? nullptr : bound_;
    alone_ = alone_ == &at->second ? nullptr : alone_;
    return names_.erase(at);
}

std::vector<std::string> client_statements::names() const {
    std::vector<std::string> all;
    for (const auto& [name, is] : names_) {
        all.push_back(name);
    }
    return all;
}

bool client_statements::settled_for(std::uint64_t now) const {
    return std::all_of(names_.begin(), names_.end(),
                       [now](const auto& one) { return one.second.settled_for(now); }) &&
           (!is_deallocating() || deallocating_->all_in(now));
}

std::optional<std::string_view> client_statements::name_of(std::string_view server_name) const {
    for (const auto& [name, is] : names_) {
        if (is.what != nullptr && is.what->name == server_name) {
            return name;
        }
    }
    for (const auto& gone : departed_) {
        if (gone.server_name == server_name) {
            return gone.name;
        }
    }
    return std::nullopt;
}

client_statements::deallocation client_statements::look_for_deallocation(std::string_view name,
                                                                         std::uint64_t now) const {
    const auto* const known = find(name);
    // Made anew behind it, in this batch: then it does not matter.
    const bool in_this_batch =
        known != nullptr && known->what != nullptr && known->in_flight != 0 && known->batch == now;
    const auto made = in_this_batch ? known->changed : 0;
    bool any = false;
    for (const auto of : {significant(name), std::string_view()}) { // it, and all
        const auto found = deallocating_->of(of);
        if (found.elsewhere(now) >= made && found.elsewhere(now) != 0) {
            return deallocation::unsettled;
        }
        any = any || (found.last.changed >= made && found.last.changed != 0);
    }
    return any ? deallocation::done : deallocation::none;
}

void client_statements::sent(std::string_view name, statement_ref what, std::uint64_t batch,
                             const parse_time& when) {
    auto at = names_.find(significant(name));
    if (at == names_.end()) {
        at = names_.emplace(significant(name), named{}).first;
    }
    if (what != nullptr) {
        at->second.when = when;
        at->second.described = at->second.asked = false;
        at->second.types.clear();
        at->second.forget_description();
    }
    assign(*at, std::move(what));
    at->second.batch = batch;
    at->second.changed = ++changes_;
    ++at->second.in_flight;
}

void client_statements::assign(name_map::value_type& to, statement_ref what) {
    const auto cost = [](const statement_ref& of) {
        return of ? of->definition.size() + name_overhead_bytes : 0;
    };
    auto& is = to.second.what;
    if (is != nullptr && is != what) {
        if (departed_.size() == most_departed) {
            departed_.erase(departed_.begin());
        }
        departed_.push_back({to.first, is->name});
    }
    named_bytes_ -= cost(is);
    is = std::move(what);
    named_bytes_ += cost(is);
}

void client_statements::executes(std::uint64_t batch) {
    for (const auto& name : armed_) {
        if (armed_in_ == batch) {
            deallocating(name, batch);
        }
    }
    armed_.clear();
}

void client_statements::said_prepared() {
    if (!is_preparing()) {
        return; // another that SQL has prepared
    }
    const auto at = names_.try_emplace(std::string(significant(preparing_.name))).first;
    assign(*at, std::move(preparing_.what));
    at->second.changed = ++changes_;
    preparing_ = {};
}

void client_statements::at_rest() {
    preparing_ = {};
    deallocating_ = nullptr;
    departed_.clear();
}

// One change less is in flight. A name that stands for nothing is forgotten.
void client_statements::settle(name_map::iterator at) {
    if (at->second.in_flight == 0 && at->second.what == nullptr) {
        forget(at);
    }
}

void client_statements::done(std::string_view name, const statement_ref& what) {
    const auto at = names_.find(significant(name));
    if (at == names_.end()) {
        return;
    }
    --at->second.in_flight;
    if (at->second.in_flight == 0) {
        assign(*at, what); // DEALLOCATE ALL may have been seen in between
    }
    settle(at);
}

void client_statements::undone(std::string_view name, statement_ref before) {
    const auto at = names_.find(significant(name));
    if (at == names_.end()) {
        return;
    }
    --at->second.in_flight;
    assign(*at, std::move(before));
    settle(at);
}

void client_statements::told(const statement_ref& what, const described_statement& as) {
    checking_ = false;
    for (auto& [name, known] : names_) {
        if (known.what != what || !known.asked) {
            continue;
        }
        known.asked = known.unchecked = false;
        if (known.shape == unknown_shape) {
            known.shape = as.shape;
            const bool declared =
                std::string_view(what->definition).substr(what->text().size() + 1) == as.types;
            known.types = declared ? std::string() : as.types;
        } else if (as.shape != known.shape) {
            known.stale = true;
        }
    }
}

void client_statements::not_told(const statement_ref& what, bool failed) {
    checking_ = false;
    for (auto& [name, known] : names_) {
        if (known.what == what && known.asked) {
            known.asked = false;
            known.unchecked = known.unchecked || failed;
        }
    }
}

std::optional<std::string> client_statements::said_deallocated() {
    auto name = is_deallocating() ? deallocating_->take_name() : std::nullopt;
    if (!name) {
        return std::nullopt; // of one that SQL has prepared
    }
    const auto at = names_.find(significant(*name));
    if (at != names_.end() && at->second.in_flight == 0) {
        assign(*at, nullptr);
        forget(at);
    }
    return name;
}

void client_statements::all_deallocated() {
    if (is_deallocating()) {
        deallocating_->all_done();
    }
    for (auto at = names_.begin(); at != names_.end();) {
        if (at->second.in_flight == 0) {
            assign(*at, nullptr);
            at = forget(at);
        } else {
            ++at;
        }
    }
}

// The unnamed statement --------------------------------------------------------------------------

client_statements::serial client_statements::next_unnamed(std::uint64_t batch) {
    ++unnamed_in_flight_;
    unnamed_batch_ = batch;
    return ++last_;
}

void client_statements::keep(bytes definition) {
    table_->release(std::exchange(text_.reserved_bytes, 0));
    auto& kept = text_.definition;
    const auto larger = definition.size() > free_bytes ? definition.size() : 0;
    text_.kept = !definition.empty() && (larger == 0 || table_->reserve(larger));
    text_.reserved_bytes = text_.kept ? larger : 0;
    if (text_.kept) {
        kept.assign(as_text(definition));
    }
    if (!text_.kept || (larger == 0 && kept.capacity() > 2 * free_bytes)) {
        kept = std::string(text_.kept ? as_text(definition) : std::string_view{});
    }
}

// Nothing comes back to it. What it takes where it is small is left to the next.
void client_statements::forget_previous() {
    if (previous_.reserved_bytes != 0) {
        table_->release(previous_.reserved_bytes);
        previous_ = unnamed_text{};
    }
}

client_statements::serial client_statements::unnamed_sent(bytes definition, std::uint64_t batch,
                                                          bool names_statements,
                                                          std::uint64_t version) {
    if (truth_ >= text_.from) {
        // What there is comes back if this message, and all that is in flight, is skipped.
        std::swap(previous_, text_);
        previous_to_ = last_;
    }
    const auto which = next_unnamed(batch);
    keep(definition);
    text_.names = names_statements;
    text_.leaves = text_.plain = false;
    text_.batch = batch;
    text_.version = version;
    text_.from = which;
    unnamed_exists_ = true;
    known_ = text_.kept;
    return which;
}

client_statements::serial client_statements::unnamed_sent_the_same(std::uint64_t batch) {
    text_.batch = batch;
    unnamed_exists_ = known_ = true;
    return next_unnamed(batch);
}

client_statements::serial client_statements::unnamed_sent_again(std::uint64_t batch) {
    return next_unnamed(batch);
}

client_statements::serial client_statements::unnamed_destroyed(std::uint64_t batch) {
    unnamed_exists_ = false;
    return next_unnamed(batch);
}

void client_statements::unnamed_refused() {
    const auto which = unnamed_destroyed(unnamed_batch_);
    unnamed_settled(which, false);
}

void client_statements::unnamed_settled(serial which, bool exists) {
    truth_ = which;
    truth_exists_ = exists;
    --unnamed_in_flight_;
    unnamed_decided();
}

void client_statements::unnamed_skipped(serial) {
    --unnamed_in_flight_;
    unnamed_decided();
}

// When nothing is in flight, the last message that was carried out is what counts.
void client_statements::unnamed_decided() {
    if (unnamed_in_flight_ != 0) {
        return;
    }
    unnamed_exists_ = truth_exists_;
    if (truth_ >= text_.from) {
        known_ = text_.kept;
    } else if (truth_ >= previous_.from && truth_ <= previous_to_) {
        std::swap(text_, previous_);
        text_.batch = 0;
        known_ = text_.kept;
    } else {
        known_ = false;
    }
    forget_previous();
}

} // namespace pgweir::protocol
