// Finding databases and users by name. See configuration.hpp.
// Tests: tests/config/configuration_test.cpp.
#include "config/configuration.hpp"

#include <algorithm>
#include <numeric>

namespace pgweir::config {
namespace {

template <typename Named>
void sort_by_name(const std::vector<Named>& list, name_index& into) {
    into.order.resize(list.size());
    std::iota(into.order.begin(), into.order.end(), 0U);
    std::sort(into.order.begin(), into.order.end(), [&](std::uint32_t left, std::uint32_t right) {
        return list[left].name < list[right].name;
    });
}

template <typename Named>
const Named* find_named(const std::vector<Named>& list, const name_index& index,
                        std::string_view name) {
    if (index.order.size() != list.size()) { // put together by hand, not indexed
        const auto found = std::find_if(list.begin(), list.end(),
                                        [&](const Named& each) { return each.name == name; });
        return found == list.end() ? nullptr : &*found;
    }
    const auto found = std::lower_bound(
        index.order.begin(), index.order.end(), name,
        [&](std::uint32_t at, std::string_view wanted) { return list[at].name < wanted; });
    return found == index.order.end() || list[*found].name != name ? nullptr : &list[*found];
}

/// The entry for a database name, its own or `*`; nothing: nullptr.
const database* find_entry(const configuration& in, std::string_view name) {
    const auto* const own = find_named(in.databases, in.database_index, name);
    return own != nullptr ? own : find_named(in.databases, in.database_index, "*");
}

bool is_localhost(std::string_view host) {
    constexpr std::string_view name = "localhost";
    return std::equal(host.begin(), host.end(), name.begin(), name.end(),
                      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

} // namespace

const std::string& database::connects_to() const {
    return !unix_socket_directory.empty() && is_localhost(host) ? unix_socket_directory : host;
}

void configuration::index() {
    sort_by_name(databases, database_index);
    sort_by_name(users, user_index);
}

std::optional<database> configuration::find_database(std::string_view name) const {
    const auto* const found = find_entry(*this, name);
    if (found == nullptr) {
        return std::nullopt;
    }
    database result = *found;
    result.name = name;
    if (result.dbname.empty()) {
        result.dbname = name;
    }
    return result;
}

const user* configuration::find_user(std::string_view name) const {
    return find_named(users, user_index, name);
}

pool_settings configuration::find_pool(std::string_view database, std::string_view user) const {
    const auto* const where = find_entry(*this, database);
    auto result = where != nullptr ? where->pool : pool;
    const auto* const who = find_user(user);
    if (who != nullptr && (where == nullptr || where->user.empty())) {
        lay_over(result, who->session_state);
    }
    return result;
}

void lay_over(pool_settings& pool, const std::vector<state_rule>& rules) {
    for (const auto& each : rules) {
        std::visit([&](const auto& rule) { pool.*rule.kind = rule.policy; }, each);
    }
}

} // namespace pgweir::config
