// See difference.hpp.
#include "config/difference.hpp"
#include "config/text.hpp"

#include <algorithm>
#include <map>

namespace pgweir::config {
namespace {

/// Rows of the whole configuration; `listen`, databases and users are compared entry by entry.
bool is_of_the_whole(const setting& row) {
    return !row.key.starts_with(listen_prefix) && !row.key.starts_with(database_prefix) &&
           !row.key.starts_with(user_prefix);
}

setting_owner whole_or_pool(const setting& row, configuration& of) {
    return is_in_pool(row) ? setting_owner(&of.pool) : setting_owner(&of);
}

setting_owner database_or_pool(const setting& row, database& of) {
    return is_in_pool(row) ? setting_owner(&of.pool) : setting_owner(&of);
}

std::string listen_text(const configuration& of) {
    std::string result;
    for (const auto& each : of.listen) {
        const bool v6 = each.address.find(':') != std::string::npos;
        result += concat({result.empty() ? "" : ", ", v6 ? "[" : "", each.address, v6 ? "]" : "",
                          ":", std::to_string(each.port)});
    }
    return result;
}

template <typename Named>
auto by_name(const std::vector<Named>& list) {
    std::map<std::string_view, const Named*> result;
    for (const auto& each : list) {
        result.emplace(each.name, &each);
    }
    return result;
}

/// Sorts names into added and removed, and calls `both` for those on both sides.
template <typename Named, typename Both>
void match(const std::vector<Named>& running, const std::vector<Named>& wanted,
           std::vector<std::string>& added, std::vector<std::string>& removed, Both&& both) {
    const auto before = by_name(running);
    const auto after = by_name(wanted);
    for (const auto& [name, old] : before) {
        if (const auto now = after.find(name); now != after.end()) {
            both(*old, *now->second);
        } else {
            removed.emplace_back(name);
        }
    }
    for (const auto& each : after) {
        if (!before.contains(each.first)) {
            added.emplace_back(each.first);
        }
    }
}

std::vector<setting_change> compare_databases(database before, database after) {
    std::vector<setting_change> result;
    for (const auto& row : settings()) {
        if (!is_in_pool(row) && !row.key.starts_with(database_prefix)) {
            continue;
        }
        const auto old = database_or_pool(row, before);
        const auto now = database_or_pool(row, after);
        if (!same(row, old, now)) {
            const auto key = is_in_pool(row) ? row.key.substr(pool_prefix.size()) : row.short_key();
            result.push_back({.key = concat({"databases.", after.name, ".", key}),
                              .before = text_of(row, old),
                              .after = text_of(row, now),
                              .needs = row.needs});
        }
    }
    return result;
}

std::string line_of(const setting_change& change) {
    const auto shown = [](const std::string& text) -> std::string_view {
        return text.empty() ? "(none)" : std::string_view(text);
    };
    const bool unseen = change.before == change.after; // secrets, the number of a file's rules
    const auto what = unseen ? std::string("changed")
                             : concat({shown(change.before), " -> ", shown(change.after)});
    return concat({change.key, ": ", what,
                   change.needs == change_needs::restart ? " (needs a restart)" : ""});
}

void tell_names(std::vector<std::string>& lines, std::string_view one, std::string_view many,
                const std::vector<std::string>& names) {
    constexpr std::size_t few = 5;
    if (names.size() > few) {
        lines.push_back(concat({many, ": ", std::to_string(names.size())}));
        return;
    }
    for (const auto& name : names) {
        lines.push_back(concat({one, ": ", name}));
    }
}

/// A file with access rules may have changed although its path has not.
void compare_access(const configuration& running, const configuration& wanted,
                    std::vector<setting_change>& into) {
    const auto tell = [&](std::string_view key, bool same, std::size_t before, std::size_t after) {
        if (!same) {
            into.push_back({.key = concat({key, " (its content)"}),
                            .before = concat({std::to_string(before), " lines"}),
                            .after = concat({std::to_string(after), " lines"})});
        }
    };
    const auto& old_rules = running.hba_rules;
    const auto& rules = wanted.hba_rules;
    tell("auth.hba_file",
         running.hba_file != wanted.hba_file || running.hba != wanted.hba ||
             std::equal(old_rules.begin(), old_rules.end(), rules.begin(), rules.end(),
                        [](const auto& a, const auto& b) { return a.same_meaning(b); }),
         old_rules.size(), rules.size());
    tell("auth.ident_file",
         running.ident_file != wanted.ident_file || running.ident != wanted.ident ||
             running.ident_lines == wanted.ident_lines,
         running.ident_lines.size(), wanted.ident_lines.size());
}

} // namespace

difference compare(const configuration& running, const configuration& wanted) {
    auto before = running; // rows want owners they could write to
    auto after = wanted;
    difference result;
    if (before.listen != after.listen) {
        result.settings.push_back({.key = "listen",
                                   .before = listen_text(before),
                                   .after = listen_text(after),
                                   .needs = find_setting("listen.port")->needs});
    }
    for (const auto& row : settings()) {
        if (!is_of_the_whole(row)) {
            continue;
        }
        const auto old = whole_or_pool(row, before);
        const auto now = whole_or_pool(row, after);
        if (!same(row, old, now)) {
            result.settings.push_back({.key = std::string(row.key),
                                       .before = text_of(row, old),
                                       .after = text_of(row, now),
                                       .needs = row.needs});
        }
    }
    compare_access(running, wanted, result.settings);
    match(running.databases, wanted.databases, result.databases_added, result.databases_removed,
          [&](const database& old, const database& now) {
              if (auto changes = compare_databases(old, now); !changes.empty()) {
                  result.databases_changed.push_back(
                      {.name = now.name, .settings = std::move(changes)});
              }
          });
    match(running.users, wanted.users, result.users_added, result.users_removed,
          [&](const user& old, const user& now) {
              // from_file is where the secret came from: moving a user changes nothing.
              if (!(old.password == now.password) || old.session_state != now.session_state) {
                  result.users_changed.push_back(now.name);
              }
          });
    return result;
}

bool difference::needs_restart() const {
    const auto restarts = [](const setting_change& change) {
        return change.needs == change_needs::restart;
    };
    return std::any_of(settings.begin(), settings.end(), restarts) ||
           std::any_of(databases_changed.begin(), databases_changed.end(),
                       [&](const database_change& each) {
                           return std::any_of(each.settings.begin(), each.settings.end(), restarts);
                       });
}

std::vector<std::string> difference::lines() const {
    std::vector<std::string> result;
    for (const auto& change : settings) {
        result.push_back(line_of(change));
    }
    tell_names(result, "database added", "databases added", databases_added);
    tell_names(result, "database removed", "databases removed", databases_removed);
    const auto taken_over = [&](const setting_change& of_database) {
        return std::any_of(settings.begin(), settings.end(), [&](const setting_change& each) {
            return each.key.starts_with(pool_prefix) &&
                   of_database.key.ends_with(concat({".", each.key.substr(pool_prefix.size())})) &&
                   each.before == of_database.before && each.after == of_database.after;
        });
    };
    for (const auto& each : databases_changed) {
        for (const auto& change : each.settings) {
            if (!taken_over(change)) {
                result.push_back(line_of(change));
            }
        }
    }
    tell_names(result, "user added", "users added", users_added);
    tell_names(result, "user removed", "users removed", users_removed);
    tell_names(result, "user changed", "users changed", users_changed);
    return result;
}

configuration after_reload(const configuration& running, const configuration& wanted) {
    auto before = running;
    auto result = wanted;
    result.listen = before.listen; // each of its rows needs a restart; a test sees to that
    const auto old_databases = by_name(running.databases);
    for (const auto& row : settings()) {
        if (row.needs != change_needs::restart) {
            continue;
        }
        if (is_of_the_whole(row)) {
            copy(row, whole_or_pool(row, before), whole_or_pool(row, result));
        }
        if (!is_in_pool(row) && !row.key.starts_with(database_prefix)) {
            continue;
        }
        for (auto& each : result.databases) {
            if (const auto old = old_databases.find(each.name); old != old_databases.end()) {
                auto was = *old->second;
                copy(row, database_or_pool(row, was), database_or_pool(row, each));
            }
        }
    }
    result.index();
    return result;
}

} // namespace pgweir::config
