#include "protocol/startup_options.hpp"

#include <algorithm>

namespace pgweir::protocol {

namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> words;
    std::size_t i = 0;
    while (true) {
        while (i < text.size() && is_space(text[i])) {
            ++i;
        }
        if (i == text.size()) {
            return words;
        }
        auto& word = words.emplace_back();
        while (i < text.size() && !is_space(text[i])) {
            if (text[i] == '\\' && i + 1 < text.size()) {
                ++i;
            }
            word.push_back(text[i++]);
        }
    }
}

} // namespace

parsed_options parse_startup_options(std::string_view options) {
    parsed_options result;
    const auto words = split(options);
    for (std::size_t i = 0; i < words.size(); ++i) {
        std::string assignment;
        if (words[i] == "-c" && i + 1 < words.size()) {
            assignment = words[++i];
        } else if (words[i].starts_with("--") || words[i].starts_with("-c")) {
            assignment = words[i].substr(2);
        }
        const auto equals = assignment.find('=');
        auto name = assignment.substr(0, equals);
        std::replace(name.begin(), name.end(), '-', '_');
        if (equals == std::string::npos || !valid_setting_name(name)) {
            result.refused = words[i];
            return result;
        }
        result.settings.emplace_back(std::move(name), assignment.substr(equals + 1));
    }
    return result;
}

bool valid_setting_name(std::string_view name) {
    if (name.empty() || name.size() > 127) {
        return false;
    }
    return std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '.' || c == '$';
    });
}

} // namespace pgweir::protocol
