#include "protocol/naming_sql.hpp"

#include "protocol/lent_statements.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_set>

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
    std::unordered_set<std::string_view> executed; // or prepared: not only deallocated
    for (const auto& each : used) {
        if (each.is != use::deallocate) {
            executed.insert(each.name);
        }
    }
    std::unordered_set<std::string_view> seen; // it is lent once, however often it is named
    for (const auto& each : used) {
        const bool there = is_there(each.name);
        const bool first = there && seen.insert(each.name).second;
        if (first && !executed.contains(each.name)) {
            lend_any(each.name, how);
        } else if (first && how != lent::in_front) {
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
    std::unordered_set<std::string_view> deallocated; // so far; no name: all
    for (const auto& each : used) {
        if (each.is == use::deallocate) {
            deallocated.insert(each.name);
        } else if (each.is == use::prepare &&
                   (!is_there(each.name) || deallocated.contains(each.name) ||
                    deallocated.contains({}))) {
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
