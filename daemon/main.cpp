// pgweir: the command line. Each sub-command is a function; `run` is the default.
#include "daemon/access_check.hpp"
#include "daemon/console_client.hpp"
#include "daemon/load_configuration.hpp"
#include "daemon/metrics.hpp"
#include "daemon/ops_snapshot.hpp"
#include "daemon/read_password.hpp"
#include "daemon/run_as.hpp"
#include "daemon/secret_files.hpp"
#include "daemon/service.hpp"
#include "protocol/scram.hpp"

#include <CLI/CLI.hpp>
#include <openssl/rand.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace {

using namespace pgweir;

bool report(const daemon::loaded_configuration& loaded) {
    for (const auto& error : loaded.errors) {
        std::cerr << error << '\n';
    }
    return loaded.config != nullptr;
}

/// The status of a command that has printed what it was asked for: not 0 where nobody has got it (a
/// full disk, a closed descriptor).
int printed(int status) {
    std::cout.flush();
    if (std::cout.good() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0) {
        return status;
    }
    std::cerr << "pgweir: cannot write to standard output: " << std::strerror(errno) << '\n';
    return status == 0 ? 1 : status;
}

int run(const std::string& path, daemon::service::options opts) {
    std::signal(SIGHUP, SIG_IGN); // until the service waits for it: what is there is being read
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

/// Root reads everything; whoever pgweir will run as does not.
void warn_of_what_root_alone_reads(const std::string& path,
                                   const std::vector<std::string>& secret_files) {
    auto files = secret_files;
    files.push_back(path);
    for (const auto& file : files) {
        if (daemon::only_root_reads(file)) {
            std::cerr << file
                      << ": only root can read it. If pgweir runs as another user, it should be "
                         "that user's (0600), or root's and its group's (0640); --run-as USER "
                         "checks as that user (warning)\n";
        }
    }
}

int check(const std::string& path, const daemon::access_question& question, bool as_root) {
    const auto loaded = daemon::load_configuration(path);
    for (const auto& warning : loaded.warnings) {
        std::cerr << warning << " (warning)\n";
    }
    if (as_root) {
        warn_of_what_root_alone_reads(path, loaded.secret_files);
    }
    if (!report(loaded)) {
        return 1;
    }
    if (question.user.empty()) {
        std::cout << path << ": ok\n";
        return printed(0);
    }
    const auto made = daemon::explain_access(*loaded.config, path, question);
    (made.answer == daemon::access_answer::error ? std::cerr : std::cout) << made.text;
    return printed(static_cast<int>(made.answer));
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
    return printed(0);
}

constexpr std::size_t salt_bytes = 16;

/// A SCRAM verifier of a password, for `users:` or userlist.txt.
int passwd(std::uint32_t iterations) {
    const auto password = daemon::read_password();
    if (!password) {
        return 1;
    }
    std::string salt(salt_bytes, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(salt.data()), static_cast<int>(salt.size())) !=
        1) {
        std::cerr << "pgweir passwd: there is no randomness\n";
        return 1;
    }
    const auto key = protocol::derive_salted_password(*password, salt, iterations);
    if (key.empty()) {
        std::cerr << "pgweir passwd: the key cannot be derived\n";
        return 1;
    }
    std::cout << protocol::format_scram_verifier(protocol::make_verifier(key, salt, iterations))
              << '\n';
    return printed(0);
}

/// Whatever is opened gets the lowest free number: where standard output or error is closed, that
/// would be a connection, and what is printed or logged would go to whoever is at its other end.
/// Opened the wrong way round, such a write fails, as it would have.
void occupy_standard_descriptors() {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::fcntl(fd, F_GETFD) < 0) {
            (void)!::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}

/// Memory that holds secrets is written to no core dump, and read by no debugger but root's.
void keep_memory_to_ourselves() {
    const rlimit none{.rlim_cur = 0, .rlim_max = 0};
    (void)::setrlimit(RLIMIT_CORE, &none);
    (void)::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); // a kernel that pipes core dumps minds no limit
}

/// `check` and what may be asked of it.
CLI::App* add_check(CLI::App& app, std::string& path, std::string& run_as,
                    daemon::access_question& question) {
    auto* const command = app.add_subcommand(
        "check", "print every error of a configuration file, or what its access rules say of a "
                 "client");
    command->add_option("--config", path, "configuration file");
    command->add_option("--run-as", run_as, "read all files as this user, if started by root");
    auto* const user = command->add_option("--user", question.user, "user the client asks for");
    command->add_option("--database", question.database, "database it asks for")->needs(user);
    command->add_option("--address", question.address, "where it is: an address, or local")
        ->needs(user)
        ->capture_default_str();
    command->add_flag("--tls,!--no-tls", question.tls, "it has TLS")->needs(user);
    command->add_flag("--replication", question.replication, "it asks for physical replication")
        ->needs(user);
    command
        ->add_option_function<std::vector<std::string>>(
            "--member-of",
            [&question](const std::vector<std::string>& groups) { question.groups = groups; },
            "a group the user is in; \"\" where there is none")
        ->needs(user);
    command
        ->add_option_function<std::string>(
            "--host-name", [&question](const std::string& name) { question.host_name = name; },
            "the name of the address, instead of looking it up")
        ->needs(user);
    return command;
}

} // namespace

int main(int argc, char** argv) {
    occupy_standard_descriptors();
    CLI::App app{"pgweir, a PostgreSQL connection pooler"};
    std::string path = "/etc/pgweir/pgweir.yaml";
    app.require_subcommand(0, 1);
    app.add_option("--config", path, "configuration file")->capture_default_str();
    auto* const run_command = app.add_subcommand("run", "serve (the default)");
    run_command->add_option("--config", path, "configuration file");
    std::string user;
    run_command->add_option("--user", user, "whom to run as, if started by root");
    daemon::service::options opts;
    // Hidden: for tests and benchmarks.
    run_command->add_flag("--rotate-servers", opts.rotate_servers)->group("");
    run_command->add_flag("!--without-tracking", opts.track_sessions)->group("");
    daemon::access_question question;
    auto* const check_command = add_check(app, path, user, question);
    auto* const show_command = app.add_subcommand(
        "show", "ask the console of a running pgweir: show pools, show pins, show help");
    daemon::console_access access;
    std::vector<std::string> words;
    show_command->add_option("what", words, "what to show")->required();
    show_command->add_option("--config", path, "configuration file of the daemon");
    show_command->add_option("--host", access.host, "address of the daemon");
    show_command->add_option("--port", access.port, "port of the daemon");
    show_command->add_option("--user", access.user, "one of console.admin_users or stats_users");
    auto* const passwd_command = app.add_subcommand(
        "passwd", "turn a password, typed or on standard input, into a SCRAM verifier");
    std::uint32_t iterations = protocol::default_scram_iterations;
    passwd_command->add_option("--iterations", iterations, "how much work a guess of it is to be")
        ->check(CLI::Range(protocol::default_scram_iterations, protocol::max_scram_iterations))
        ->capture_default_str();
    auto* const version_command = app.add_subcommand("version", "print the version");
    CLI11_PARSE(app, argc, argv);

    if (*version_command) {
        std::cout << "pgweir " << daemon::build_version() << '\n';
        return printed(0);
    }
    keep_memory_to_ourselves();
    if (*check_command) {
        const bool as_root = ::geteuid() == 0 && user.empty();
        if (const auto wrong = user.empty() ? "" : daemon::run_as(user); !wrong.empty()) {
            std::cerr << "pgweir check: " << wrong << '\n';
            return static_cast<int>(daemon::access_answer::error);
        }
        keep_memory_to_ourselves(); // as below
        return check(path, question, as_root);
    }
    if (*show_command) {
        return show(path, access, words);
    }
    if (*passwd_command) {
        return passwd(iterations);
    }
    if (const auto wrong = daemon::run_as(user); !wrong.empty()) {
        std::cerr << "pgweir: " << wrong << '\n';
        return 1;
    }
    keep_memory_to_ourselves(); // whoever becomes somebody else is dumpable again
    return run(path, opts);
}
