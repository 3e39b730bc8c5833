#include "protocol/lenient_replay.hpp"

#include "protocol/sql_lexer.hpp"
#include "protocol/sqlstate.hpp"

#include <algorithm>
#include <array>

namespace pgweir::protocol {

namespace {

// What a library can own: identifiers with dots between (valid_custom_variable_name()). Of other
// names PostgreSQL says that they are none, whatever is loaded.
bool is_librarys_name(std::string_view name) {
    bool begins = true, dotted = false;
    for (const char c : name) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
                            static_cast<unsigned char>(c) >= 0x80;
        const bool inside = (c >= '0' && c <= '9') || c == '$';
        if (c == '.' && !begins) {
            begins = dotted = true;
        } else if (letter || (inside && !begins)) {
            begins = false;
        } else {
            return false;
        }
    }
    return dotted && !begins;
}

} // namespace

bool may_be_librarys(const setting_map& carried, const setting_map& wanted) {
    bool any = false;
    for_each_setting_to_replay(carried, wanted, [&any](std::string_view name, bool) {
        any = any || name.find('.') != std::string_view::npos;
    });
    return any;
}

bool may_be_librarys_refusal(std::string_view sqlstate) {
    constexpr std::array<std::string_view, 4> reasons = {
        sqlstate::invalid_parameter_value,   // a value it does not take
        sqlstate::insufficient_privilege,    // a superuser's
        sqlstate::invalid_name,              // its prefix, but none of its names
        sqlstate::cant_change_runtime_param, // not to be changed while the server runs
    };
    return std::find(reasons.begin(), reasons.end(), sqlstate) != reasons.end();
}

lenient_replay::lenient_replay(const setting_map& carried, const setting_map& wanted,
                               std::string& out, reply_queue& owed)
    : before_(owed.owed_ready(fate::swallow)) {
    for_each_setting_to_replay(carried, wanted, [this](std::string_view name, bool sets) {
        calls_.push_back({std::string(name), sets});
    });
    if (may_wait_for_snapshot(carried) || may_wait_for_snapshot(wanted)) {
        ++before_; // BEGIN
    }
    append_setting_replay(out, owed, carried, wanted, refused_setting::is_told);
}

// PostgreSQL names the setting in each of these, in whatever language; an error that does not is
// about something else: set_config() itself may be denied.
bool lenient_replay::take_error(std::string_view sqlstate, std::string_view message) {
    if (answered_ < before_ || answered_ - before_ >= calls_.size()) {
        return false;
    }
    const auto& [name, sets] = calls_[answered_ - before_];
    if (!may_be_librarys_refusal(sqlstate) || !is_librarys_name(name) ||
        lower_case(message).find(name) == std::string::npos) {
        return false;
    }
    sets ? dropped_.push_back(name) : void(left_over_ = true);
    return true;
}

setting_map without(const setting_map& settings, const std::vector<std::string>& names) {
    setting_map left = settings;
    for (const auto& name : names) {
        left.erase(name);
    }
    return left;
}

setting_map left_by_reset_all(const setting_map& settings) {
    setting_map left;
    for (const auto* const name : {"role", "session_authorization"}) {
        if (const auto found = settings.find(std::string_view(name)); found != settings.end()) {
            left.insert(*found);
        }
    }
    return left;
}

} // namespace pgweir::protocol
