#include "protocol/naming_sql.hpp"

#include "protocol/lent_statements.hpp"

#include <algorithm>

namespace pgweir::protocol {

namespace {

using use = sql_statement_name::use;

// What a statement says where that does not matter. It is parsed in a failed transaction, too.
constexpr std::string_view any_definition("ROLLBACK\0\0\0", 11);

} // namespace

// Where no answers will come, waiting would never end; nor is anything left that they could tell.
bool naming_sql::unsettled(const client_statements::named* known) const {
    return known != nullptr && !known->settled_for(owed_.batch()) && owed_.answers_will_come();
}

naming_sql::deallocation naming_sql::gone(std::string_view name) const {
    const auto known = link_.mine.deallocation_of(name, owed_.batch());
    return known == deallocation::unsettled && !owed_.answers_will_come() ? deallocation::none
                                                                          : known;
}

bool naming_sql::settled(std::string_view sql) const {
    const auto used = statement_names(sql);
    return std::all_of(used.begin(), used.end(), [&](const sql_statement_name& each) {
        return !unsettled(link_.mine.find(each.name)) && gone(each.name) != deallocation::unsettled;
    });
}

bool naming_sql::is_there(std::string_view name) const {
    return !name.empty() && link_.mine.stands_for(name) != nullptr &&
           gone(name) == deallocation::none;
}

bool naming_sql::lend(frontend type, std::string_view sql, lent how) {
    const bool one_statement = how == lent::in_batch;
    if (!owed_.ours_may_go() || (one_statement && !may_name_statements(sql))) {
        return false;
    }
    const auto used = statement_names(sql);
    for (const auto& each : used) {
        const bool there = is_there(each.name);
        const bool only_deallocated = std::all_of(used.begin(), used.end(), [&](const auto& other) {
            return other.is == use::deallocate || other.name != each.name;
        });
        if (there && only_deallocated) {
            lend_any(each.name, how);
        } else if (there && how != lent::in_front) {
            lend_statement(link_.mine, owed_, to_.own(), each.name,
                           *link_.mine.stands_for(each.name),
                           {.errors_to_client = how == lent::in_batch});
        }
        if (each.is == use::deallocate && (there || each.name.empty())) {
            note_deallocation(type, each.name);
        }
    }
    keep_what_is_prepared(used);
    return !used.empty();
}

// What the client prepares under a name that was lent to the server, and that it has closed or
// deallocated first, is its own: it is not taken back.
void naming_sql::keep_what_is_prepared(std::span<const sql_statement_name> used) {
    for (std::size_t i = 0; i < used.size(); ++i) {
        const auto& each = used[i];
        const auto deallocates = [&](const sql_statement_name& earlier) {
            return earlier.is == use::deallocate &&
                   (earlier.name.empty() || earlier.name == each.name);
        };
        if (each.is == use::prepare &&
            (!is_there(each.name) || std::ranges::any_of(used.first(i), deallocates))) {
            link_.mine.keeps(each.name);
        }
    }
}

void naming_sql::lend_any(std::string_view name, lent how) {
    lend_statement(link_.mine, owed_, to_.own(), name, any_definition,
                   {.errors_to_client = how == lent::in_batch});
}

void naming_sql::note_deallocation(frontend type, std::string_view name) {
    if (type == frontend::query) {
        link_.mine.deallocating(name, client_statements::outside);
    } else {
        link_.mine.may_deallocate(name, owed_.batch()); // when it is executed
    }
}

} // namespace pgweir::protocol
