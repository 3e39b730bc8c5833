#include "protocol/reading_context.hpp"

#include "protocol/sql_lexer.hpp"

#include <algorithm>
#include <array>

namespace pgweir::protocol {

bool matters_to_reading(std::string_view setting) {
    constexpr std::array<std::string_view, 9> others = {
        "application_name",     "statement_timeout",
        "lock_timeout",         "work_mem",
        "maintenance_work_mem", "client_min_messages",
        "idle_session_timeout", "idle_in_transaction_session_timeout",
        "synchronous_commit"};
    return setting.find('.') == std::string_view::npos &&
           std::none_of(others.begin(), others.end(),
                        [setting](std::string_view other) { return same_word(setting, other); });
}

reading_context context_of(const setting_map& settings) {
    reading_context context;
    for (const auto& [name, value] : settings) {
        if (matters_to_reading(name)) {
            context.key.append(name).append(1, '\0').append(value).append(1, '\0');
        }
    }
    return context;
}

reading_context context_of(std::uint64_t client, std::string_view name) {
    // No setting has an empty name.
    return {std::string(1, '\0') + std::to_string(client) + '\0' + std::string(name), true};
}

} // namespace pgweir::protocol
