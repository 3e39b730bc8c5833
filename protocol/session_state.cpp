#include "protocol/session_state.hpp"

namespace pgweir::protocol {

namespace {

constexpr std::size_t longest_shown = 256; // of a text that pins

} // namespace

std::string_view to_string(pin_reason reason) {
    switch (reason) {
    case pin_reason::named_statement:
        return "named_statement";
    case pin_reason::unnamed_statement:
        return "unnamed_statement";
    case pin_reason::setting:
        return "setting";
    case pin_reason::listen:
        return "listen";
    case pin_reason::advisory_lock:
        return "advisory_lock";
    case pin_reason::temporary_object:
        return "temporary_object";
    case pin_reason::held_cursor:
        return "held_cursor";
    case pin_reason::sql_statement:
        return "sql_statement";
    case pin_reason::loaded_library:
        return "loaded_library";
    case pin_reason::random_seed:
        return "random_seed";
    case pin_reason::large_statement:
        return "large_statement";
    }
    return "unknown";
}

void session_state::call(const statement_effects& effects) {
    statement({}, effects.bits & ~static_cast<effect_bits>(pin_reason::setting));
    if ((effects.bits & static_cast<unsigned>(pin_reason::setting)) != 0) {
        pin(pin_reason::setting);
        changed_settings_.add(effects.settings);
        changed_settings_.hidden_reset =
            changed_settings_.hidden_reset ||
            (effects.bits & static_cast<unsigned>(pin_reason::large_statement)) != 0;
    }
}

void session_state::statement(std::string_view sql, effect_bits effects,
                              const name_effects* names) {
    constexpr auto setting = static_cast<unsigned>(pin_reason::setting);
    constexpr auto lock = static_cast<unsigned>(pin_reason::advisory_lock);
    unsigned pins = effects & pin_reasons & ~setting;
    hidden_something_ = hidden_something_ || (effects & changes_names) != 0;
    sets_locally_ = sets_locally_ || (effects & sets_for_transaction) != 0;
    if ((effects & hides_something) != 0) {
        pins |= askable & ~lock & ~unsigned{ignored_}; // until PostgreSQL has said what there is
    }
    if ((effects & may_hide) != 0) [[unlikely]] {
        pins |= askable & ~unsigned{ignored_};
        suspect_settings();
        suspicious_ = true;
    }
    if ((pins & ~unsigned{pins_}) != 0) {
        pinned_by_ = sql.substr(0, longest_shown);
    }
    pins_ = static_cast<std::uint16_t>(pins_ | pins);
    unsigned spoken_of = pins;
    if ((effects & ends_something) != 0) {
        spoken_of |= askable & ~lock;
    }
    if ((effects & gives_up_lock) != 0) {
        spoken_of |= lock;
    }
    to_ask_ = static_cast<std::uint16_t>(to_ask_ | (spoken_of & pins_ & askable));
    if ((effects & (static_cast<unsigned>(pin_reason::listen) | speaks_of_channels)) != 0) {
        channels_changed_ = true;
    }
    if ((effects & prepares_something) != 0) {
        never_asked_ |= static_cast<std::uint16_t>(pin_reason::sql_statement);
    }
    if ((effects & setting) != 0) [[unlikely]] {
        auto changes = read_setting_changes(sql, names);
        // What may do anything may set anything.
        changes.hidden_reset = (effects & static_cast<unsigned>(pin_reason::large_statement)) != 0;
        changes.unknown = changes.unknown || changes.hidden_reset;
        if (!changes.empty()) { // else it is none that lasts (DISCARD PLANS, SET seed)
            pin(pin_reason::setting);
            changed_settings_.add(changes);
            if (changes.unknown) {
                pinned_by_ = sql.substr(0, longest_shown);
            }
        }
    }
}

void session_state::search_path_is(std::string_view path) {
    constexpr auto temporary = static_cast<std::uint16_t>(pin_reason::temporary_object);
    if (path.find("pg_temp") != std::string_view::npos) {
        pins_ |= temporary;
        never_asked_ |= temporary;
    } else if ((never_asked_ & temporary) != 0) {
        never_asked_ = static_cast<std::uint16_t>(never_asked_ & ~unsigned{temporary});
        to_ask_ |= temporary;
    }
}

bool session_state::stays_anyway() const {
    unsigned passing =
        static_cast<unsigned>(pin_reason::unnamed_statement) | (askable & ~unsigned{never_asked_});
    if (!settings_unknowable_ && !changed_settings_.unknown) {
        passing |= static_cast<unsigned>(pin_reason::setting);
    }
    return (pins_ & ~passing) != 0;
}

void session_state::suspect_settings() {
    pin(pin_reason::setting);
    changed_settings_.some_listed = true;
}

void session_state::unseen_setting() {
    pin(pin_reason::setting);
    changed_settings_.unknown = true;
}

void session_state::settings_doubted(const setting_changes& changes) {
    changed_settings_.add(changes);
    suspect_settings();
}

void session_state::start_up_restored(const setting_map& at_start) {
    for (auto& [name, what] : changed_settings_.names) {
        if (at_start.contains(name)) {
            what = setting_changes::how::set;
        }
    }
}

void session_state::settings_known() {
    if (changed_settings_.empty()) {
        unpin(pin_reason::setting);
    }
}

} // namespace pgweir::protocol
