#include "protocol/setting_question.hpp"

#include "protocol/session_sql.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace pgweir::protocol {

namespace {

constexpr std::string_view role = "role", session_authorization = "session_authorization";

bool is_custom(std::string_view name) { return name.find('.') != std::string_view::npos; }

bool is_identity(std::string_view name) { return name == role || name == session_authorization; }

// In a batch of its own that touches no statement of the client's.
void append_list_question(std::string& out, reply_queue& owed) {
    constexpr std::string_view name = "pgw_settings"; // no client's name begins like that
    // As current_setting() spells it, with its unit, since it is compared with what that has told.
    std::string sql = "SELECT pg_catalog.lower(name), pg_catalog.current_setting(name) ";
    sql += session_sql::settings;
    message_writer to(out);
    to.begin(frontend::parse).c_string(name).c_string(sql).u16(0).end();
    to.begin(frontend::bind).c_string("").c_string(name).u16(0).u16(0).u16(0).end();
    to.begin(frontend::execute).c_string("").u32(0).end();
    to.begin(frontend::close).u8('S').c_string(name).end();
    to.begin(frontend::sync).end();
    for (const auto type :
         {frontend::parse, frontend::bind, frontend::execute, frontend::close, frontend::sync}) {
        owed.sent(type, fate::swallow);
    }
}

} // namespace

setting_question::setting_question(const setting_changes& changes, const setting_map& before,
                                   const setting_map& at_start, const login_identity& own)
    : changes_(changes)
    , before_(before)
    , at_start_(at_start)
    , own_user_(own.user)
    , own_role_(own.role)
    , everything_(changes.some_listed || changes.all_reset || resets_start_up()) {
    if (!everything_) {
        if (changes.hidden_reset) {
            for (const auto& [name, value] : at_start) {
                changes_.names.try_emplace(name, setting_changes::how::set);
            }
        }
        for (const auto& [name, what] : changes_.names) {
            asked_.push_back(name);
        }
        ready_missing_ = asked_.size();
        return;
    }
    asked_ = {std::string(session_authorization), std::string(role)};
    const auto ask = [&](const std::string& name) {
        if (is_custom(name) && std::find(asked_.begin(), asked_.end(), name) == asked_.end()) {
            asked_.push_back(name);
        }
    };
    for (const auto& [name, what] : changes_.names) {
        ask(name);
    }
    for (const auto& [name, value] : before) {
        ask(name);
    }
    std::copy_if(asked_.begin(), asked_.end(), std::back_inserter(reset_asked_),
                 [&](const std::string& name) {
                     return is_custom(name) && (was_reset(name) || changes.hidden_reset) &&
                            at_start.contains(name);
                 });
    ready_missing_ = asked_.size() + reset_asked_.size() + 1;
}

void setting_question::expect_trial(const permitted_settings& permitted) {
    const auto untried = [&permitted](const auto& setting) {
        return needs_trial(setting.first, permitted);
    };
    expects_trial_ = everything_ ||
                     std::any_of(changes_.names.begin(), changes_.names.end(), untried) ||
                     std::any_of(before_.begin(), before_.end(), untried);
}

bool setting_question::withholds() const {
    return expects_trial_ || resets_start_up() || (changes_.hidden_reset && !at_start_.empty());
}

bool setting_question::resets_start_up() const {
    return std::any_of(at_start_.begin(), at_start_.end(),
                       [&](const auto& setting) { return was_reset(setting.first); });
}

void setting_question::append(std::string& out, reply_queue& owed) const {
    for (const auto& name : asked_) {
        append_setting_question(out, owed, name);
    }
    for (const auto& name : reset_asked_) {
        append_reset_reading(out, owed, name);
    }
    if (everything_) {
        append_list_question(out, owed);
    }
}

bool setting_question::ready_came() {
    if (ready_missing_ != 0) {
        --ready_missing_;
    }
    return ready_missing_ == 0;
}

bool setting_question::may_try_elsewhere(const setting_map& carried,
                                         const permitted_settings& permitted) {
    if (stays_ || !tried_.empty()) {
        return false;
    }
    tried_ = settings_to_try(carried, permitted);
    stays_ = !may_try_settings(carried, tried_);
    return !stays_ && !tried_.empty();
}

void setting_question::try_elsewhere(const setting_map& carried, std::string& out,
                                     reply_queue& owed) {
    append_setting_trial(out, owed, carried, tried_);
    ready_missing_ = 1;
}

void setting_question::take(backend type, bytes body) {
    if (!tried_.empty()) {
        return; // what has been set is as it was
    }
    if (body.empty()) {
        return fail();
    }
    if (type == backend::function_call_response) {
        const auto value = function_result(body);
        told_.push_back(value ? std::optional(std::string(*value)) : std::nullopt);
        return;
    }
    body_reader row(body);
    std::array<std::string, 2> columns;
    row.u16();
    for (auto& column : columns) {
        const auto length = row.u32();
        column = as_text(row.raw(length));
    }
    row.finished() ? void(listed_.insert_or_assign(columns[0], columns[1])) : fail();
}

bool setting_question::was_reset(std::string_view name) const {
    const auto found = changes_.names.find(name);
    if (found != changes_.names.end()) {
        return found->second != setting_changes::how::set;
    }
    return changes_.all_reset && !is_identity(name); // RESET ALL leaves these
}

bool setting_question::was_only_reset(std::string_view name) const {
    const auto found = changes_.names.find(name);
    return found == changes_.names.end() ? was_reset(name)
                                         : found->second == setting_changes::how::reset;
}

// Of what an application has made up: it does not cease to exist, it is empty, unless the role has
// one of its own.
std::string_view setting_question::reset_value(std::string_view name) const {
    const auto at = std::find(reset_asked_.begin(), reset_asked_.end(), name);
    if (at == reset_asked_.end()) {
        return {};
    }
    const auto place = asked_.size() + static_cast<std::size_t>(at - reset_asked_.begin());
    return told_[place] ? std::string_view(*told_[place]) : std::string_view();
}

bool setting_question::is_login_user() const {
    const auto at = std::find(asked_.begin(), asked_.end(), session_authorization);
    if (at != asked_.end()) {
        return told_[static_cast<std::size_t>(at - asked_.begin())] == own_user_;
    }
    const auto known = before_.find(session_authorization);
    return known == before_.end() || known->second == own_user_;
}

// Has the server gone back to what it was logged in with?
bool setting_question::is_default(std::string_view name,
                                  const std::optional<std::string>& value) const {
    if (!value) {
        return true;
    }
    if (name == session_authorization) {
        return *value == own_user_;
    }
    if (name == role) {
        // Another session authorization ends it, wherever that is set.
        return *value == own_role_ && (own_role_ == "none" || is_login_user());
    }
    if (!everything_) {
        return was_only_reset(name);
    }
    return (was_reset(name) || all_went_back()) && *value == reset_value(name);
}

// … with all that PostgreSQL lists: RESET ALL.
bool setting_question::all_went_back() const {
    const auto is_listed = [](const auto& setting) {
        return !is_custom(setting.first) && !is_identity(setting.first);
    };
    return everything_ && changes_.hidden_reset &&
           std::any_of(before_.begin(), before_.end(), is_listed) &&
           std::none_of(before_.begin(), before_.end(),
                        [&](const auto& setting) { return listed_.contains(setting.first); });
}

bool setting_question::start_up_in_doubt() const {
    if (everything_ || !changes_.hidden_reset || failed_ || told_.size() < asked_.size()) {
        return false;
    }
    for (std::size_t i = 0; i < asked_.size(); ++i) {
        const auto known = before_.find(asked_[i]);
        if (at_start_.contains(asked_[i]) &&
            (known == before_.end() || !told_[i] || known->second != *told_[i])) {
            return true;
        }
    }
    return false;
}

// What has become of one: of the value PostgreSQL tells, and of what was done to it. A value that
// is as it was says that it was not changed, or has been rolled back; unless it is what the server
// has of itself, which the client may have set in place of what it asked for: that RESET goes back
// to.
void setting_question::settle(answer& into, const std::string& name,
                              const std::optional<std::string>& value, bool has_gone_back) const {
    const auto before = before_.find(name);
    const bool reset_unseen =
        has_gone_back && was_reset(name) && !changes_.failed && at_start_.contains(name);
    if (before != before_.end() && value && before->second == *value && !reset_unseen) {
        return;
    }
    into.session.erase(name);
    into.carried.erase(name);
    if (has_gone_back) {
        // The server has gone back to nothing; the client is to go back to what it asked for.
        const auto start = at_start_.find(name);
        if (start != at_start_.end() && is_identity(name) && !was_reset(name)) {
            into.session.emplace(name, value.value_or("none")); // SET ROLE NONE is no RESET ROLE
        } else if (start != at_start_.end()) {
            into.session.insert(*start);
        }
        return;
    }
    into.session.emplace(name, *value);
    into.carried.emplace(name, *value);
}

std::optional<setting_question::answer> setting_question::result() const {
    if (failed_ || told_.size() != asked_.size() + reset_asked_.size()) {
        return std::nullopt;
    }
    answer result{before_, before_};
    if (everything_) {
        for (const auto& [name, value] : before_) {
            if (!is_custom(name) && !is_identity(name) && !listed_.contains(name)) {
                settle(result, name, std::nullopt, true);
            }
        }
        for (const auto& [name, value] : listed_) {
            settle(result, name, value, false);
        }
    }
    for (std::size_t i = 0; i < asked_.size(); ++i) {
        settle(result, asked_[i], told_[i], is_default(asked_[i], told_[i]));
    }
    return result;
}

} // namespace pgweir::protocol
