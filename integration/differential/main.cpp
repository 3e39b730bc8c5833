// pgweir_differential: conversations with PostgreSQL, played direct and through a pooler;
// everything that clients are told must be the same. See README.md in this folder.
//
// Run by integration/differential_test.py, which starts what it needs.
#include "integration/differential/disturbance.hpp"
#include "integration/differential/random_runs.hpp"
#include "integration/differential/runner.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

namespace {

using namespace pgweir::differential;

struct arguments {
    std::string direct, outside, user, database;
    std::vector<std::string> through, files, only;
    double patience_seconds = 10;
    bool twice = false, verbose = false, random = false, print = false, doubtful = false;
    std::uint64_t seeds = 1'000, first_seed = 1;
    double minutes = 0;
};

std::chrono::milliseconds patience_of(const arguments& given) {
    return std::chrono::milliseconds(static_cast<int>(given.patience_seconds * 1'000));
}

address to_address(const std::string& text) {
    const auto colon = text.rfind(':');
    return {text.substr(0, colon), colon == std::string::npos ? "" : text.substr(colon + 1)};
}

// NAME,SERVERS,DISTURBERS=HOST:PORT
through to_through(const std::string& text, const arguments& from) {
    const auto equals = text.find('=');
    const auto first = text.find(','), second = text.find(',', first + 1);
    if (second == std::string::npos || equals == std::string::npos) {
        throw std::runtime_error("not NAME,SERVERS,DISTURBERS=HOST:PORT: " + text);
    }
    through t;
    t.where = {text.substr(0, first), to_address(text.substr(equals + 1)), from.user,
               from.database};
    t.servers = static_cast<std::uint32_t>(std::stoul(text.substr(first + 1)));
    t.disturbers = std::stoul(text.substr(second + 1));
    return t;
}

std::vector<script> scripts_of(const arguments& given) {
    std::vector<std::string> paths;
    for (const auto& path : given.files) {
        if (std::filesystem::is_directory(path)) {
            for (const auto& entry : std::filesystem::directory_iterator(path)) {
                if (entry.path().extension() == ".script") {
                    paths.push_back(entry.path());
                }
            }
        } else {
            paths.push_back(path);
        }
    }
    std::sort(paths.begin(), paths.end());
    std::vector<script> scripts;
    for (const auto& path : paths) {
        auto s = read_script_file(path);
        const bool wanted =
            given.only.empty() ||
            std::any_of(given.only.begin(), given.only.end(),
                        [&](const auto& part) { return s.name.find(part) != std::string::npos; });
        // What was read, printed and read again must be the same: the shrinker prints scripts.
        if (read_script(s.name, to_text(s)).steps != s.steps) {
            throw script_error(s.name + ": is another script once it has been printed");
        }
        if (wanted) {
            scripts.push_back(std::move(s));
        }
    }
    return scripts;
}

bool run_scripts(const std::vector<script>& scripts, runner& run, std::vector<through>& places,
                 bool twice) {
    // First those that nobody disturbs.
    std::vector<through*> calm, moving;
    for (auto& place : places) {
        (place.disturbers == 0 ? calm : moving).push_back(&place);
    }
    bool good = true;
    for (const auto& s : scripts) {
        good = run.run(s, calm, twice) && good;
    }
    for (auto* const each : moving) {
        const disturbance others(each->where, each->disturbers);
        for (const auto& s : scripts) {
            good = run.run(s, {each}, false) && good;
        }
        std::cout << each->where.name << ": " << others.transactions()
                  << " transactions of others meanwhile, " << others.complaints()
                  << " complaints\n";
        good = good && others.complaints() == 0 && others.transactions() > 0;
    }
    for (const auto& each : places) {
        std::cout << each.where.name << ": " << each.alike + each.different << " scripts, "
                  << each.alike << " alike, " << each.different << " different, " << each.skipped
                  << " skipped (they need more servers)\n";
    }
    return good;
}

bool run_random_conversations(const arguments& given, runner& run, admin& outside,
                              std::vector<through>& places) {
    random_options options;
    options.first_seed = given.first_seed;
    options.seeds = given.seeds;
    options.doubtful = given.doubtful;
    options.patience = patience_of(given);
    if (given.minutes > 0) {
        options.at_most = std::chrono::duration_cast<std::chrono::steady_clock::duration>(
            std::chrono::duration<double, std::ratio<60>>(given.minutes));
    }
    std::vector<std::unique_ptr<disturbance>> others;
    for (const auto& each : places) {
        if (each.disturbers != 0) {
            others.push_back(std::make_unique<disturbance>(each.where, each.disturbers));
        }
    }
    bool good = run_random(run, outside, places, options);
    for (const auto& each : others) {
        good = good && each->complaints() == 0;
    }
    for (const auto& each : places) {
        std::cout << each.where.name << ": " << each.alike << " alike, " << each.different
                  << " different\n";
    }
    return good;
}

int run(const arguments& given) {
    if (given.print) {
        std::cout << to_text(random_script(given.first_seed, given.doubtful));
        return 0;
    }
    admin outside(given.outside);
    outside.run("set lock_timeout = '10s'; set statement_timeout = '20s'");
    std::vector<through> places;
    for (const auto& text : given.through) {
        places.push_back(to_through(text, given));
    }
    runner play(outside, {"direct", to_address(given.direct), given.user, given.database},
                patience_of(given));
    play.verbose(given.verbose);
    const bool good = given.random ? run_random_conversations(given, play, outside, places)
                                   : run_scripts(scripts_of(given), play, places, given.twice);
    return good ? 0 : 1;
}

} // namespace

int main(int count, char** words) {
    arguments given;
    CLI::App app("Plays conversations direct and through a pooler, and compares what clients hear");
    app.add_option("--direct", given.direct, "PostgreSQL, HOST:PORT");
    app.add_option("--through", given.through, "A pooler, NAME,SERVERS,DISTURBERS=HOST:PORT");
    app.add_option("--admin", given.outside, "PostgreSQL, for looking from outside (conninfo)");
    app.add_option("--user", given.user, "Who clients log in as, without a password");
    app.add_option("--database", given.database, "Where to");
    app.add_option("--patience", given.patience_seconds, "Longest wait for anything, in seconds");
    app.add_option("--only", given.only, "Only scripts with this in their name");
    app.add_flag("--twice", given.twice, "Play each script direct twice, too");
    app.add_flag("--verbose", given.verbose, "Print what direct clients hear");
    app.add_flag("--random", given.random, "Random conversations instead of scripts");
    app.add_option("--seeds", given.seeds, "So many of them");
    app.add_option("--seed", given.first_seed, "The first one's seed");
    app.add_option("--minutes", given.minutes, "At most for so long");
    app.add_flag("--doubtful", given.doubtful,
                 "Also COPYs that are known to lead to differences (allowed_differences.md)");
    app.add_flag("--print", given.print, "Only print the conversation of --seed, as a script");
    app.add_option("scripts", given.files, "Scripts, or folders of them");
    CLI11_PARSE(app, count, words);
    try {
        return run(given);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 2;
    }
}
