// See reader.hpp.
#include "config/reader.hpp"
#include "config/nearest.hpp"
#include "config/text.hpp"
#include "config/userlist.hpp"

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace pgweir::config {
namespace {

constexpr std::string_view indefinite(node::kind kind) {
    switch (kind) {
    case node::kind::nothing:
        return "nothing";
    case node::kind::scalar:
        return "a single value";
    case node::kind::list:
        return "a list";
    case node::kind::map:
        return "a map";
    }
    return "";
}

/// May this be shown as an unknown key? Something else could be a value gone astray.
bool looks_like_a_key(std::string_view text) {
    return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-' || c == '.';
    });
}

/// The newline every editor puts at the end is not part of the secret. One, not all.
void drop_newline(std::string& text) {
    if (text.ends_with('\n')) {
        text.pop_back();
        if (text.ends_with('\r')) {
            text.pop_back();
        }
    }
}

void sort_by_place(std::vector<problem>& list) {
    std::stable_sort(list.begin(), list.end(), [](const problem& left, const problem& right) {
        return std::tie(left.file, left.at) < std::tie(right.file, right.at);
    });
}

} // namespace

void reader::complain(position at, std::string message, std::string file) {
    // A hundred and one: so that the cut can be told.
    if (errors_.size() <= most_problems) {
        errors_.push_back({.file = std::move(file), .at = at, .message = std::move(message)});
    }
}

void reader::warn(position at, std::string message, std::string file) {
    if (warnings_.size() < most_problems) {
        warnings_.push_back({.file = std::move(file), .at = at, .message = std::move(message)});
    }
}

bool reader::is_a(node::kind kind, const node& value, std::string_view name,
                  std::string_view example) {
    if (value.is != kind) {
        complain(value.at, concat({name, " must be ", indefinite(kind), " such as ", example,
                                   ", not ", indefinite(value.is)}));
    }
    return value.is == kind;
}

std::vector<problem> reader::take_errors() {
    sort_by_place(errors_);
    if (errors_.size() > most_problems) {
        errors_.resize(most_problems);
        errors_.back().message = "too many errors: the rest is not shown";
    }
    return std::exchange(errors_, {});
}

std::vector<problem> reader::take_warnings() {
    sort_by_place(warnings_);
    return std::exchange(warnings_, {});
}

// Keys ------------------------------------------------------------------------------------------

void reader::complain_of_key(const entry& unknown, std::span<const std::string_view> known) {
    if (errors_.size() > most_problems) {
        return; // it would not be told: spare the search
    }
    if (!looks_like_a_key(unknown.key) || unknown.value.is == node::kind::nothing) {
        // `{ password:secret }` is a key without a value to YAML: it is not repeated.
        complain(unknown.at, "unknown key without a value here; a space must follow the ':'");
        return;
    }
    if (const auto meant = nearest(unknown.key, known)) {
        complain(unknown.at,
                 concat({"unknown key '", unknown.key, "', did you mean '", *meant, "'?"}));
        return;
    }
    // The right key in the wrong place, alone or with its section.
    for (const auto& row : settings()) {
        const auto section = row.key.substr(0, row.key.find_first_of(".<"));
        if (row.key == unknown.key || row.short_key() == unknown.key) {
            complain(unknown.at, concat({"unknown key '", unknown.key, "', did you mean '",
                                         row.short_key(), "' inside '", section, "'?"}));
            return;
        }
    }
    complain(unknown.at,
             concat({"unknown key '", unknown.key, "'; known here: ", join(known, ", ")}));
}

given_keys reader::each_key(const node& map, std::span<const std::string_view> known,
                            const std::function<void(std::string_view, const entry&)>& take) {
    given_keys given;
    for (const auto& each : map.entries) {
        const auto key = std::find(known.begin(), known.end(), each.key);
        if (key == known.end()) {
            complain_of_key(each, known);
            continue;
        }
        const auto [first, is_new] = given.emplace(*key, each.at);
        if (!is_new) {
            complain(each.at, concat({"duplicate key '", each.key, "', first on line ",
                                      std::to_string(first->second.line)}));
            continue;
        }
        take(*key, each);
    }
    return given;
}

void reader::each_named(const node& map, std::string_view what, std::string_view example,
                        const std::function<void(const entry&)>& take) {
    if (!is_a(node::kind::map, map, what, example)) {
        return;
    }
    std::unordered_map<std::string_view, std::size_t> first_line;
    for (const auto& each : map.entries) {
        if (each.key.empty() || each.key.size() > 63 || has_control_character(each.key)) {
            complain(each.at, concat({"a name in ", what,
                                      " must have 1 to 63 bytes and no control characters"}));
            continue;
        }
        const auto [first, is_new] = first_line.emplace(each.key, each.at.line);
        if (!is_new) {
            complain(each.at, concat({"duplicate key '", each.key, "', first on line ",
                                      std::to_string(first->second)}));
            continue;
        }
        take(each);
    }
}

// Values ----------------------------------------------------------------------------------------

bool reader::read_names(const setting& row, setting_owner owner, const node& value,
                        const std::string& name) {
    const auto* const what = row.form == text_form::line      ? "a line"
                             : row.form == text_form::network ? "a network"
                                                              : "a name";
    const auto* const example = row.form == text_form::line      ? "['local all all peer']"
                                : row.form == text_form::network ? "[10.0.0.0/8]"
                                                                 : "[alice, bob]";
    if (!is_a(node::kind::list, value, name, example)) {
        return false;
    }
    for (const auto& item : value.items) {
        const auto refused = item.is == node::kind::scalar
                                 ? assign(row, owner, item.text)
                                 : std::optional<std::string>("must be a text");
        if (refused) {
            complain(item.at, concat({what, " in ", name, " ", *refused}));
        }
    }
    return true;
}

bool reader::read_value(const setting& row, setting_owner owner, const node& value,
                        const std::string& name) {
    if (value.is == node::kind::nothing) {
        complain(value.at, concat({name, " has no value"}));
        return false;
    }
    if (is_list(row)) {
        return read_names(row, owner, value, name);
    }
    if (value.is != node::kind::scalar) {
        complain(value.at, concat({name, " ", must_be(row), ", not ", indefinite(value.is)}));
        return false;
    }
    if (is_secret(row)) {
        return read_secret(row, owner, value, name);
    }
    if (const auto refused = assign(row, owner, value.text)) {
        complain(value.at, concat({name, " ", *refused}));
        return false;
    }
    return true;
}

std::string reader::from_directory(const std::string& path) const {
    if (path.starts_with('/') || options_.directory.empty()) {
        return path;
    }
    return concat({options_.directory, options_.directory.ends_with('/') ? "" : "/", path});
}

std::optional<std::string> reader::read_file(const std::string& path) const {
    return options_.read_file ? options_.read_file(from_directory(path)) : std::nullopt;
}

std::optional<std::string> reader::read_secret_file(const std::string& path) const {
    return options_.read_secret_file ? options_.read_secret_file(from_directory(path))
                                     : std::nullopt;
}

std::optional<std::string> reader::from_environment(const std::string& variable, position at,
                                                    const std::string& name) {
    const bool good = looks_like_a_key(variable) &&
                      variable.find_first_of("-.") == std::string::npos &&
                      !(variable[0] >= '0' && variable[0] <= '9');
    if (!good) {
        complain(at, concat({name, " must name an environment variable after 'env:'"}));
        return std::nullopt;
    }
    auto value = options_.read_environment ? options_.read_environment(variable) : std::nullopt;
    if (!value) {
        complain(at, concat({name, " is to come from the environment variable '", variable,
                             "', which is not set"}));
    }
    return value;
}

std::optional<std::string> reader::from_file(const std::string& path, position at,
                                             const std::string& name) {
    if (path.empty() || path.size() > 4096 || has_control_character(path)) {
        complain(at, concat({name, " must name a file after 'file:'"}));
        return std::nullopt;
    }
    auto value = read_secret_file(path);
    if (!value) {
        complain(at, concat({name, " is to come from the file '", path, "', which ", not_for_us}));
        return std::nullopt;
    }
    drop_newline(*value);
    return value;
}

std::optional<std::string> reader::from_credential(const std::string& credential, position at,
                                                   const std::string& name) {
    if (!looks_like_a_key(credential) || credential.starts_with('.')) {
        complain(at, concat({name, " must name a credential after 'credential:'"}));
        return std::nullopt;
    }
    auto value = options_.read_credential ? options_.read_credential(credential) : std::nullopt;
    if (!value) {
        complain(at, concat({name, " is to come from the credential '", credential,
                             "', which systemd has not given (LoadCredential=)"}));
        return std::nullopt;
    }
    drop_newline(*value);
    return value;
}

bool reader::read_secret(const setting& row, setting_owner owner, const node& value,
                         const std::string& name) {
    std::optional<std::string> found = value.text;
    if (value.text.starts_with("env:")) {
        found = from_environment(value.text.substr(4), value.at, name);
    } else if (value.text.starts_with("file:")) {
        found = from_file(value.text.substr(5), value.at, name);
    } else if (value.text.starts_with("credential:")) {
        found = from_credential(value.text.substr(11), value.at, name);
    } else if (!first_secret_ || value.at < *first_secret_) {
        first_secret_ = value.at;
    }
    if (!found) {
        return false;
    }
    const secret text(std::move(*found)); // wiped at the end
    auto refused = assign(row, owner, text.reveal());
    if (!refused && form_of(text.reveal()) == secret_form::broken_scram) {
        refused = "begins like a SCRAM verifier but is none";
    }
    if (refused) {
        complain(value.at, concat({name, " ", *refused}));
    }
    return !refused;
}

} // namespace pgweir::config
