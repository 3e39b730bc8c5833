// pgweir: the command line. Each sub-command is a function; `run` is the default.
#include "daemon/console_client.hpp"
#include "daemon/load_configuration.hpp"
#include "daemon/metrics.hpp"
#include "daemon/ops_snapshot.hpp"
#include "daemon/service.hpp"
#include "protocol/scram.hpp"

#include <CLI/CLI.hpp>
#include <openssl/rand.h>

#include <cstdio>
#include <iostream>

namespace {

using namespace pgweir;

bool report(const daemon::loaded_configuration& loaded) {
    for (const auto& error : loaded.errors) {
        std::cerr << error << '\n';
    }
    return loaded.config != nullptr;
}

int run(const std::string& path, daemon::service::options opts) {
    auto loaded = daemon::load_configuration(path);
    if (!report(loaded)) {
        return 1;
    }
    try {
        return daemon::service(path, std::move(loaded), opts).run();
    } catch (const std::exception& e) {
        std::cerr << "pgweir: " << e.what() << '\n';
        return 1;
    }
}

int check(const std::string& path) {
    const auto loaded = daemon::load_configuration(path);
    for (const auto& warning : loaded.warnings) {
        std::cerr << warning << " (warning)\n";
    }
    if (!report(loaded)) {
        return 1;
    }
    std::cout << path << ": ok\n";
    return 0;
}

int show(const std::string& path, daemon::console_access access,
         const std::vector<std::string>& words) {
    daemon::loaded_configuration loaded;
    if (access.host.empty() || access.port.empty() || access.user.empty()) {
        loaded = daemon::load_configuration(path);
        if (!report(loaded)) {
            return 1;
        }
    }
    auto error = daemon::complete(access, loaded.config.get());
    if (error.empty()) {
        error = daemon::show(access, words);
    }
    if (!error.empty()) {
        std::cerr << "pgweir show: " << error << '\n';
        return 1;
    }
    return 0;
}

/// A SCRAM verifier of the password on standard input, for `users:` or userlist.txt.
int passwd() {
    std::string password;
    std::getline(std::cin, password);
    std::string salt(16, '\0');
    if (password.empty() || RAND_bytes(reinterpret_cast<unsigned char*>(salt.data()),
                                       static_cast<int>(salt.size())) != 1) {
        std::cerr << "pgweir passwd: give the password on standard input\n";
        return 1;
    }
    const auto key = protocol::derive_salted_password(protocol::secret(std::move(password)), salt,
                                                      protocol::default_scram_iterations);
    std::cout << protocol::format_scram_verifier(
                     protocol::make_verifier(key, salt, protocol::default_scram_iterations))
              << '\n';
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app{"pgweir, a PostgreSQL connection pooler"};
    std::string path = "/etc/pgweir/pgweir.yaml";
    app.require_subcommand(0, 1);
    app.add_option("--config", path, "configuration file")->capture_default_str();
    auto* const run_command = app.add_subcommand("run", "serve (the default)");
    run_command->add_option("--config", path, "configuration file");
    daemon::service::options opts;
    // Hidden: for tests and benchmarks.
    run_command->add_flag("--rotate-servers", opts.rotate_servers)->group("");
    run_command->add_flag("!--without-tracking", opts.track_sessions)->group("");
    auto* const check_command =
        app.add_subcommand("check", "print every error of a configuration file");
    check_command->add_option("--config", path, "configuration file");
    auto* const show_command = app.add_subcommand(
        "show", "ask the console of a running pgweir: show pools, show pins, show help");
    daemon::console_access access;
    std::vector<std::string> words;
    show_command->add_option("what", words, "what to show")->required();
    show_command->add_option("--config", path, "configuration file of the daemon");
    show_command->add_option("--host", access.host, "address of the daemon");
    show_command->add_option("--port", access.port, "port of the daemon");
    show_command->add_option("--user", access.user, "one of console.admin_users or stats_users");
    auto* const passwd_command =
        app.add_subcommand("passwd", "turn the password on standard input into a SCRAM verifier");
    auto* const version_command = app.add_subcommand("version", "print the version");
    CLI11_PARSE(app, argc, argv);

    if (*version_command) {
        std::cout << "pgweir " << daemon::build_version() << '\n';
        return 0;
    }
    if (*check_command) {
        return check(path);
    }
    if (*show_command) {
        return show(path, access, words);
    }
    if (*passwd_command) {
        return passwd();
    }
    return run(path, opts);
}
