// See access_settings.hpp.
#include "config/access_settings.hpp"
#include "config/text.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::config {
namespace {

/// One pair of settings: lines here, or in a file.
struct source {
    std::string_view lines_key, file_key;
    const std::string& path;
};

/// Calls `parse` with each text that is there, complains of its problems, and answers what
/// came of it.
enum class outcome : std::uint8_t { not_given, read, refused };
template <typename Parse>
outcome read_texts(const access_nodes& given, const source& from, reader& in, Parse parse) {
    const auto lines = given.find(from.lines_key);
    const auto file = given.find(from.file_key);
    const bool has_lines = lines != given.end() && !lines->second->items.empty();
    const bool has_file = file != given.end() && !from.path.empty();
    if (has_lines && has_file) {
        in.complain(file->second->at,
                    concat({from.lines_key, " and ", from.file_key, " exclude each other"}));
        return outcome::refused;
    }
    auto result = has_lines || has_file ? outcome::read : outcome::not_given;
    if (has_file) {
        const auto text = in.read_file(from.path);
        if (!text) {
            in.complain(file->second->at, concat({from.file_key, " is the file '", from.path,
                                                  "', which cannot be read"}));
            return outcome::refused;
        }
        for (auto& each : parse(*text, from.path, position{})) {
            result = outcome::refused;
            in.complain(each.at, std::move(each.message), std::move(each.file));
        }
    }
    if (has_lines) {
        for (const auto& item : lines->second->items) {
            for (auto& each : parse(item.text, std::string{}, item.at)) {
                // A column of the line would be one of the item only where it has no quotes. What
                // is wrong in a file that the line names is told with that file's name.
                result = outcome::refused;
                const bool here = each.file.empty();
                in.complain(here ? item.at : each.at,
                            here ? concat({from.lines_key, ": ", each.message}) : each.message,
                            std::move(each.file));
            }
        }
    }
    return result;
}

/// A map that is named but not there lets nobody in.
void warn_of_maps(const configuration& of, position at, reader& in) {
    for (const auto& rule : of.hba_rules) {
        const bool known =
            std::any_of(of.ident_lines.begin(), of.ident_lines.end(),
                        [&](const ident_line& line) { return line.map == rule.map; });
        if (!rule.map.empty() && !known) {
            in.warn(rule.file.empty() ? at : position{.line = rule.line, .column = 1},
                    concat({"no line of auth.ident or auth.ident_file has the map '", rule.map,
                            "': this rule lets nobody in"}),
                    rule.file);
        }
    }
}

/// Lines about what there is not, because `tls` does not say so: they match nobody, or let nobody
/// in.
void warn_of_tls(const configuration& of, const node& from, reader& in) {
    const bool has_tls = of.tls != tls_mode::disable && !of.tls_certificate.empty();
    for (const auto& rule : of.hba_rules) {
        const auto warn = [&](const char* what) {
            auto at = position{.line = rule.line, .column = 1};
            for (const auto& item : from.items) {
                const bool here = rule.file.empty() && item.at.line == rule.line;
                at = here && item.text.find(rule.text) != std::string::npos ? item.at : at;
            }
            in.warn(at, what, rule.file);
        };
        const bool wants_certificate =
            rule.method == hba_method::cert || rule.certificate != client_certificate::not_asked;
        if (rule.connection == hba_connection::hostssl && !has_tls) {
            warn("hostssl matches nobody: there is no TLS (tls.certificate, tls.mode)");
        } else if (wants_certificate && of.tls_ca.empty()) {
            warn(
                "clients' certificates cannot be checked without tls.ca: this rule lets nobody in");
        }
    }
}

} // namespace

void read_access(const access_nodes& given, reader& in, configuration& into) {
    const access_files files = [&](const std::string& path) { return in.read_file(path); };
    const auto take_hba = [&](const std::string& text, const std::string& file, position at) {
        auto made = parse_hba(text, file, files);
        for (auto& rule : made.rules) {
            rule.line = rule.file.empty() ? at.line : rule.line;
            into.hba_rules.push_back(std::move(rule));
        }
        return std::move(made.problems);
    };
    const auto take_ident = [&](const std::string& text, const std::string& file, position) {
        auto made = parse_ident(text, file, files);
        into.ident_lines.insert(into.ident_lines.end(), made.lines.begin(), made.lines.end());
        return std::move(made.problems);
    };
    const source hba{.lines_key = "auth.hba", .file_key = "auth.hba_file", .path = into.hba_file};
    const source ident{
        .lines_key = "auth.ident", .file_key = "auth.ident_file", .path = into.ident_file};
    const auto came_of_it = read_texts(given, hba, in, take_hba);
    (void)read_texts(given, ident, in, take_ident);
    if (came_of_it != outcome::read) {
        return;
    }
    const auto lines = given.find(hba.lines_key);
    const auto* const where = into.hba_file.empty() ? lines->second : given.at(hba.file_key);
    const bool all_taken = lines == given.end() || lines->second->items.size() == into.hba.size();
    if (into.hba_rules.empty() && all_taken) { // else an error has been told already
        in.complain(where->at, "the access rules have no line: nobody could log in");
    }
    warn_of_maps(into, where->at, in);
    warn_of_tls(into, *where, in);
}

} // namespace pgweir::config
