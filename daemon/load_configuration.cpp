#include "daemon/load_configuration.hpp"

#include "config/parse.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace pgweir::daemon {

namespace {

std::optional<std::string> read_whole(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in || std::filesystem::is_directory(path)) {
        return std::nullopt;
    }
    std::ostringstream text;
    text << in.rdbuf();
    return std::move(text).str();
}

} // namespace

loaded_configuration load_configuration(const std::string& path, const tls_contexts* running) {
    loaded_configuration loaded;
    const auto text = read_whole(path);
    if (!text) {
        loaded.errors.push_back(path + ": cannot be read");
        return loaded;
    }
    config::parse_options options;
    options.directory = std::filesystem::path(path).parent_path().string();
    options.read_environment = [](const std::string& name) -> std::optional<std::string> {
        const char* const value = std::getenv(name.c_str());
        return value == nullptr ? std::nullopt : std::optional<std::string>(value);
    };
    options.read_file = read_whole;
    const auto result = config::parse(*text, options);
    for (const auto& warning : result.warnings()) {
        loaded.warnings.push_back(config::to_string(warning, path));
    }
    if (result) {
        loaded.tls = make_tls_contexts(result.value(), options.directory, running, loaded.errors);
        if (loaded.errors.empty()) {
            loaded.config = std::make_shared<const config::configuration>(result.value());
        }
    } else {
        for (const auto& error : result.errors()) {
            loaded.errors.push_back(config::to_string(error, path));
        }
    }
    return loaded;
}

} // namespace pgweir::daemon
