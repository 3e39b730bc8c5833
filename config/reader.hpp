// Reads the pieces every part of a configuration file is made of: a map's keys, a setting's value,
// a secret wherever it is kept. Gathers what is wrong with them.
//
// Owner: parse(), for as long as it runs. Tests: tests/config/parse_test.cpp.
#pragma once

#include "config/document.hpp"
#include "config/parse.hpp"
#include "config/settings.hpp"

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::config {

/// Of a file with secrets.
inline constexpr std::string_view not_for_us = "cannot be read, or does not belong to root (mode "
                                               "0640 or less) or pgweir's user (0600 or less)";

/// The keys of one map that were given, and where. Keys whose value was refused are there too.
using given_keys = std::map<std::string_view, position>;

class reader {
public:
    explicit reader(const parse_options& options)
        : options_(options) {}

    void complain(position at, std::string message, std::string file = {});
    void warn(position at, std::string message, std::string file = {});
    /// Where the first secret stands that is in the file itself, if any does.
    [[nodiscard]] const std::optional<position>& first_secret() const { return first_secret_; }
    /// Is it of that kind? Complains if not.
    bool is_a(node::kind kind, const node& value, std::string_view name, std::string_view example);

    /// A map's keys, one by one; `take` gets each known key once, as it stands in `known`.
    given_keys each_key(const node& map, std::span<const std::string_view> known,
                        const std::function<void(std::string_view, const entry&)>& take);
    /// A map whose keys are names the operator chose; `take` gets each once.
    void each_named(const node& map, std::string_view what, std::string_view example,
                    const std::function<void(const entry&)>& take);
    /// `name`: the setting as the operator knows it. Answers whether the value was taken.
    bool read_value(const setting& row, setting_owner owner, const node& value,
                    const std::string& name);
    /// A file the configuration names, relative to the configuration's own folder.
    [[nodiscard]] std::optional<std::string> read_file(const std::string& path) const;
    [[nodiscard]] std::optional<std::string> read_secret_file(const std::string& path) const;

    /// In the order of the file, at most `most_problems`.
    [[nodiscard]] std::vector<problem> take_errors();
    [[nodiscard]] std::vector<problem> take_warnings();
    [[nodiscard]] bool has_errors() const { return !errors_.empty(); }

private:
    void complain_of_key(const entry& unknown, std::span<const std::string_view> known);
    bool read_names(const setting& row, setting_owner owner, const node& value,
                    const std::string& name);
    bool read_secret(const setting& row, setting_owner owner, const node& value,
                     const std::string& name);
    [[nodiscard]] std::string from_directory(const std::string& path) const;
    std::optional<std::string> from_environment(const std::string& variable, position at,
                                                const std::string& name);
    std::optional<std::string> from_file(const std::string& path, position at,
                                         const std::string& name);

    std::optional<std::string> from_credential(const std::string& credential, position at,
                                               const std::string& name);

    const parse_options& options_;
    std::vector<problem> errors_;
    std::vector<problem> warnings_;
    std::optional<position> first_secret_;
};

} // namespace pgweir::config
