// DEALLOCATE that has been sent, and of which PostgreSQL has not said yet that it was carried out.
// It says so in the order in which they were sent, and without a name. Clients may send any number
// of them ahead: looking for a name does not look through the others.
//
// Owner: client_statements. Sans-io. Tests: tests/protocol/deallocations_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace pgweir::protocol {

struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
        return std::hash<std::string_view>{}(text);
    }
};

class deallocations {
public:
    struct place {
        std::uint64_t batch = 0;
        std::uint64_t changed = 0; // later ones have larger ones; 0: there is none
    };
    /// What there is of one name: the last, and the last in another batch than that.
    struct found {
        place last, before;
        /// `changed` of the last that was not sent in batch `now`; 0: there is none.
        [[nodiscard]] std::uint64_t elsewhere(std::uint64_t now) const {
            return last.batch != now ? last.changed : before.changed;
        }
    };

    [[nodiscard]] bool empty() const { return names_.empty() && all_.empty(); }
    /// None was sent in another batch than this one.
    [[nodiscard]] bool all_in(std::uint64_t batch) const;
    [[nodiscard]] found of(std::string_view name) const;

    /// No name: of all. `at` is later than any before.
    void add(std::string_view name, place at);
    /// The first of one name has been carried out. Nothing: there is none.
    std::optional<std::string> take_name();
    /// … or of all, where that is the first.
    void all_done();

private:
    struct one {
        std::string name;
        place at;
    };
    void forget(const one& which);

    // In the order in which they were sent.
    std::list<one> names_, all_;
    struct entry {
        found places;
        std::size_t count = 0;
    };
    std::unordered_map<std::string, entry, text_hash, std::equal_to<>> by_name_;
    std::unordered_map<std::uint64_t, std::size_t> by_batch_; // how many
};

} // namespace pgweir::protocol
