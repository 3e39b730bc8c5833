#include "daemon/load_configuration.hpp"

#include "config/parse.hpp"
#include "config/secret.hpp"
#include "daemon/secret_files.hpp"

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>

namespace pgweir::daemon {

namespace {

void add_key_files(const config::configuration& of, const std::string& directory,
                   std::vector<std::string>& into) {
    const auto add = [&](const std::string& path) {
        if (!path.empty()) {
            into.push_back(absolute(directory, path));
        }
    };
    add(of.tls_key);
    for (const auto& each : of.databases) {
        add(each.sslkey);
    }
}

loaded_configuration load(const std::string& path, const tls_contexts* running) {
    loaded_configuration loaded;
    const opened_file file(path);
    auto read = file.read();
    if (!read) {
        loaded.errors.push_back(path + ": cannot be read");
        return loaded;
    }
    const config::secret text(std::move(*read)); // passwords may stand in it
    config::parse_options options;
    options.directory = std::filesystem::path(path).parent_path().string();
    options.read_environment = [](const std::string& name) -> std::optional<std::string> {
        const char* const value = std::getenv(name.c_str());
        return value == nullptr ? std::nullopt : std::optional<std::string>(value);
    };
    options.read_file = [](const std::string& name) { return read_whole_file(name); };
    options.read_secret_file = [&loaded](const std::string& name) {
        loaded.secret_files.push_back(name);
        return read_secret_file(name);
    };
    options.open_to_others = file.is_open_to_others();
    options.read_credential = read_credential;
    const auto result = config::parse(text.reveal(), options);
    for (const auto& warning : result.warnings()) {
        loaded.warnings.push_back(config::to_string(warning, path));
    }
    if (result) {
        add_key_files(result.value(), options.directory, loaded.secret_files);
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

} // namespace

loaded_configuration load_configuration(const std::string& path, const tls_contexts* running) {
    try {
        return load(path, running);
    } catch (const std::exception& e) { // no memory, say: who serves goes on with what there is
        loaded_configuration none;
        none.errors.push_back(path + ": cannot be loaded: " + e.what());
        return none;
    }
}

} // namespace pgweir::daemon
