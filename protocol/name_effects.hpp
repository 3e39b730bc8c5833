// What the names in a database hide: a function whose body sets a role, a view that calls it, a
// table whose trigger takes an advisory lock. The text that mentions the name does all that, and
// does not show it. So the scan of a text looks names up here and adds what they hide.
//
// A name stands for everything that is called so, in whatever schema and with whatever arguments,
// and upper case is not told from lower: that errs to the side of noticing.
//
// Made by hidden_effects.hpp from what PostgreSQL tells. Immutable then.
// Owner: shared by all pools of a database and their workers. Thread: any.
// Tests: tests/protocol/hidden_effects_test.cpp.
#pragma once

#include "protocol/setting_changes.hpp"
#include "protocol/statement_scan.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

namespace pgweir::protocol {

/// What scan() and read_setting_changes() say of a text.
struct statement_effects {
    effect_bits bits = 0;
    setting_changes settings;

    [[nodiscard]] bool empty() const { return bits == 0; }
    void add(const statement_effects& more) {
        bits |= more.bits;
        settings.add(more.settings);
    }
    bool operator==(const statement_effects&) const = default;
};

struct hidden_effects {
    statement_effects always;
    statement_effects on_write; // by triggers, defaults, checks: when rows are written

    [[nodiscard]] bool empty() const { return always.empty() && on_write.empty(); }
    bool operator==(const hidden_effects&) const = default;
};

class name_effects {
public:
    /// `name` in any case, as it is. Empty effects are not kept.
    void add(std::string_view name, const hidden_effects& what);
    /// A function's, by its number: for FunctionCall.
    void add(std::uint32_t function, const statement_effects& what);
    /// What no name shows, as an operator or a cast does: any statement may do it.
    void add_to_all(const statement_effects& what) { of_all_.add(what); }

    [[nodiscard]] bool empty() const {
        return by_name_.empty() && by_number_.empty() && of_all_.empty();
    }
    [[nodiscard]] std::size_t size() const { return by_name_.size(); }
    /// Nothing where the name hides nothing. `name` as it stands in a text, between its quotes.
    [[nodiscard]] const hidden_effects* find(std::string_view name) const;
    [[nodiscard]] const statement_effects* find(std::uint32_t function) const;
    [[nodiscard]] const statement_effects& of_all() const { return of_all_; }

    /// False: none of the names is in the text. Cheap; it looks at letters, not at tokens.
    [[nodiscard]] bool may_be_in(std::string_view sql) const;

    /// The same, where there may be more that is not known (`may_hide`).
    [[nodiscard]] name_effects with_more_unknown() const {
        auto more = *this;
        more.of_all_.bits |= may_hide;
        return more;
    }

    bool operator==(const name_effects&) const = default;

private:
    [[nodiscard]] bool may_be(std::string_view word) const;

    std::map<std::string, hidden_effects, std::less<>> by_name_; // in lower case
    std::unordered_map<std::uint32_t, statement_effects> by_number_;
    statement_effects of_all_;
    // By a word's length: one bit for each first letter. Nearly every word can be told by that.
    std::array<std::uint32_t, 64> letters_{};
    bool odd_names_ = false; // some are no words, and can only be found between quotes
};

/// What a text is read under, beside itself. Texts that have been read are looked at again when the
/// version is another one.
struct known_names {
    const name_effects* names = nullptr; // nothing: none hides anything
    std::uint64_t version = 0;           // two that differ have different versions, in any database
};

} // namespace pgweir::protocol
