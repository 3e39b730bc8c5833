// A configuration file -> a validated configuration, or everything that is wrong with it.
//
// Knows no disk and no environment: the options say how to read them. No message holds a secret.
// Pure apart from those two, any thread. Tests: tests/config/parse_test.cpp, hostile_test.cpp.
#pragma once

#include "config/configuration.hpp"
#include "config/problem.hpp"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pgweir::config {

struct parse_options {
    /// For `env:NAME`; nothing: it is not set.
    std::function<std::optional<std::string>(const std::string& name)> read_environment;
    /// For auth.hba_file and the like; nothing: it is not there, or cannot be read.
    std::function<std::optional<std::string>(const std::string& path)> read_file;
    /// For `file:PATH` and auth.userlist; nothing: as above, or others could read it (whoever
    /// implements this looks at owner and mode).
    std::function<std::optional<std::string>(const std::string& path)> read_secret_file;
    /// For `credential:NAME`; nothing: systemd has given none of that name.
    std::function<std::optional<std::string>(const std::string& name)> read_credential;
    /// Others than root and pgweir's user may read the text.
    bool open_to_others = false;
    /// The configuration file's folder: relative paths begin there. Empty: they stay as they are.
    std::string directory;
};

class [[nodiscard]] parse_result {
public:
    parse_result(configuration good, std::vector<problem> warnings)
        : outcome_(std::move(good))
        , warnings_(std::move(warnings)) {}
    parse_result(std::vector<problem> errors, std::vector<problem> warnings)
        : outcome_(std::move(errors))
        , warnings_(std::move(warnings)) {}

    explicit operator bool() const { return outcome_.index() == 0; }
    /// Only where it is true.
    [[nodiscard]] const configuration& value() const { return std::get<0>(outcome_); }
    /// In the order of the file, the userlist's after it; at most a hundred. Empty where it is
    /// true.
    [[nodiscard]] const std::vector<problem>& errors() const {
        static const std::vector<problem> none;
        const auto* list = std::get_if<1>(&outcome_);
        return list == nullptr ? none : *list;
    }
    /// What will work, but probably not as it was meant.
    [[nodiscard]] const std::vector<problem>& warnings() const { return warnings_; }

private:
    std::variant<configuration, std::vector<problem>> outcome_;
    std::vector<problem> warnings_;
};

parse_result parse(std::string_view text, const parse_options& options);

} // namespace pgweir::config
