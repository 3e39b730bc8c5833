// pgweir_sim: runs seeds, replays one with its trace, plants bugs.
//
//   pgweir_sim --seeds N [--first S] [--jobs J] [--bug NAME]   runs N seeds, ends with one line
//   pgweir_sim --seed S [--bug NAME]                           replays one, with its trace
//   pgweir_sim --same N [--first S]                            each seed twice: same trace?
//   pgweir_sim --list-bugs
//
// Exit status: 0 no violation, 1 violations, 2 wrong use.
#include "tests/simulation/simulation.hpp"

#include <array>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

namespace {

using pgweir::simulation::planted_bug;
using pgweir::simulation::simulation;

struct bug_row {
    std::string_view name;
    planted_bug bug;
    std::string_view what;
};
constexpr std::array bugs{
    bug_row{"released-too-early", planted_bug::released_too_early,
            "a server goes back although it still owes answers"},
    bug_row{"cancel-to-next-client", planted_bug::cancel_to_next_client,
            "a server is given away before the cancel for it has been carried out"},
    bug_row{"bound-ignored", planted_bug::bound_ignored,
            "a slot is given back when we close, not when PostgreSQL has closed"},
    bug_row{"settings-not-replayed", planted_bug::settings_not_replayed,
            "a client gets a server that carries another client's settings"},
    bug_row{"sequences-not-forgotten", planted_bug::sequences_not_forgotten,
            "a client gets a server that remembers another client's nextval()"},
    bug_row{"unpinned-unseen", planted_bug::unpinned_unseen,
            "a client leaves a server that still has something of its"},
    bug_row{"names-not-read", planted_bug::names_not_read,
            "nobody looks what functions do to a session"},
    bug_row{"lost-wakeup", planted_bug::lost_wakeup,
            "nobody looks for waiters, or for idle servers, on other workers"},
    bug_row{"state-unseen", planted_bug::state_unseen,
            "statements leave something in a session that no text shows, which only audits find"},
};

struct job {
    std::uint64_t first = 1;
    std::uint64_t seeds = 0;
    unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
    planted_bug bug = planted_bug::none;
    bool twice = false;
};

struct totals {
    std::atomic<std::uint64_t> next{0}, steps{0}, faults{0}, violations{0}, differ{0};
    std::mutex printing;
    unsigned printed = 0;
};

void report(totals& sum, std::uint64_t seed, const std::string& sentence) {
    constexpr unsigned shown = 5;
    const std::lock_guard lock(sum.printing);
    if (sum.printed++ < shown) {
        std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), sentence.c_str());
        std::fflush(stdout);
    }
}

void work(const job& what, totals& sum) {
    for (;;) {
        const auto at = sum.next.fetch_add(1);
        if (at >= what.seeds) {
            return;
        }
        const auto seed = what.first + at;
        simulation one(seed, what.bug, false);
        one.run();
        sum.steps += one.steps;
        sum.faults += one.shared.faults;
        if (!one.shared.violations.empty()) {
            ++sum.violations;
            report(sum, seed, one.shared.violations.front());
        }
        if (what.twice) {
            simulation again(seed, what.bug, false);
            again.run();
            if (again.shared.hash != one.shared.hash || again.steps != one.steps) {
                ++sum.differ;
                report(sum, seed, "the second run had another trace");
            }
        }
    }
}

int run_seeds(const job& what) {
    totals sum;
    std::vector<std::thread> threads;
    for (unsigned i = 1; i < what.jobs; ++i) {
        threads.emplace_back([&] { work(what, sum); });
    }
    work(what, sum);
    for (auto& thread : threads) {
        thread.join();
    }
    std::printf("seeds %llu steps %llu faults %llu violations %llu\n",
                static_cast<unsigned long long>(what.seeds),
                static_cast<unsigned long long>(sum.steps),
                static_cast<unsigned long long>(sum.faults),
                static_cast<unsigned long long>(sum.violations + sum.differ));
    return sum.violations + sum.differ == 0 ? 0 : 1;
}

int replay(std::uint64_t seed, planted_bug bug) {
    simulation one(seed, bug, true);
    one.run();
    for (const auto& line : one.shared.lines) {
        std::printf("%s\n", line.c_str());
    }
    std::printf("seed %llu steps %llu faults %llu violations %zu trace %016llx\n",
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(one.steps),
                static_cast<unsigned long long>(one.shared.faults), one.shared.violations.size(),
                static_cast<unsigned long long>(one.shared.hash));
    return one.shared.violations.empty() ? 0 : 1;
}

int usage() {
    std::fprintf(stderr, "usage: pgweir_sim --seeds N [--first S] [--jobs J] [--bug NAME]\n"
                         "       pgweir_sim --seed S [--bug NAME]\n"
                         "       pgweir_sim --same N [--first S]\n"
                         "       pgweir_sim --list-bugs\n");
    return 2;
}

std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    return error == std::errc{} && stopped == end && !text.empty() ? std::optional(value)
                                                                   : std::nullopt;
}

int list_bugs() {
    for (const auto& row : bugs) {
        std::printf("%-22.*s %.*s\n", static_cast<int>(row.name.size()), row.name.data(),
                    static_cast<int>(row.what.size()), row.what.data());
    }
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    job what;
    std::optional<std::uint64_t> only;
    for (int i = 1; i < argc; ++i) {
        const std::string_view option = argv[i];
        if (option == "--list-bugs") {
            return list_bugs();
        }
        if (i + 1 == argc) {
            return usage();
        }
        const std::string_view value = argv[++i];
        const auto parsed = number(value);
        if (option == "--bug") {
            for (const auto& row : bugs) {
                what.bug = row.name == value ? row.bug : what.bug;
            }
            if (what.bug == planted_bug::none) {
                return usage();
            }
        } else if (!parsed) {
            return usage();
        } else if (option == "--seeds" || option == "--same") {
            what.seeds = *parsed;
            what.twice = option == "--same";
        } else if (option == "--first") {
            what.first = *parsed;
        } else if (option == "--jobs") {
            what.jobs = std::max(1U, static_cast<unsigned>(*parsed));
        } else if (option == "--seed") {
            only = parsed;
        } else {
            return usage();
        }
    }
    if (only) {
        return replay(*only, what.bug);
    }
    return what.seeds == 0 ? usage() : run_seeds(what);
}
