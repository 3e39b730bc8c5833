#include "protocol/accepted_settings.hpp"

#include "protocol/prepared_statement.hpp"
#include "protocol/sql_lexer.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::protocol {

namespace {

constexpr std::size_t most_values = 200; // copied with whatever is new

bool decides_who_one_is(const setting_map& settings) {
    return settings.contains("role") || settings.contains("session_authorization");
}

std::string key_of(std::string_view name, std::string_view value) {
    return std::string(name).append(1, '\0').append(value);
}

// PostgreSQL takes any, and changes what is longer or has other characters in it.
bool is_plain_name(std::string_view value) {
    return value.size() <= significant_name_bytes &&
           std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

template <typename Map>
auto find_parameter(Map& reported, std::string_view setting) {
    return std::find_if(reported.begin(), reported.end(), [setting](const auto& parameter) {
        return lower_case(parameter.first) == setting;
    });
}

} // namespace

bool accepted_settings::learn(const setting_map& settings, const reported_parameters& reported) {
    if (decides_who_one_is(settings)) {
        return false;
    }
    bool news = false;
    for (const auto& [name, value] : settings) {
        if (name == "application_name" && is_plain_name(value)) {
            continue;
        }
        if (values_.size() >= most_values) {
            values_.clear();
        }
        const auto parameter = find_parameter(reported, name);
        auto is = parameter != reported.end() ? parameter->second : std::string();
        const auto [at, added] = values_.try_emplace(key_of(name, value));
        news = news || added || at->second != is;
        at->second = std::move(is);
    }
    return news;
}

std::shared_ptr<const accepted_settings>
learn(const std::shared_ptr<const accepted_settings>& known, const setting_map& settings,
      const reported_parameters& reported) {
    auto more = std::make_shared<accepted_settings>(*known);
    return more->learn(settings, reported) ? more : known;
}

std::optional<reported_parameters>
accepted_settings::welcome_with(const setting_map& settings,
                                const reported_parameters& plain) const {
    if (decides_who_one_is(settings)) {
        return std::nullopt;
    }
    auto expected = plain;
    for (const auto& [name, value] : settings) {
        const auto parameter = find_parameter(expected, name);
        const bool is_reported = parameter != expected.end();
        const bool as_it_is = is_reported && (parameter->second == value ||
                                              (name == "application_name" && is_plain_name(value)));
        const auto known = values_.find(key_of(name, value));
        if (!as_it_is && known == values_.end()) {
            return std::nullopt;
        }
        if (is_reported) {
            parameter->second = as_it_is ? value : known->second;
        }
    }
    return expected;
}

} // namespace pgweir::protocol
