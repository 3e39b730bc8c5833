// See random_runs.hpp.
#include "integration/differential/random_runs.hpp"

#include "tests/support/conversation_generator.hpp"

#include <algorithm>
#include <iostream>

namespace pgweir::differential {

namespace {

constexpr std::size_t most_clients = 3;
constexpr auto longest_shortening = std::chrono::seconds(60);

// Of each line that differs first, the kind of message: "ErrorResponse" instead of "DataRow". While
// a conversation gets shorter this must stay, or it ends up showing something else.
std::string kind_of(const std::string& what) {
    std::string kinds;
    for (const std::string_view mark : {"    - direct   ", "    + through  "}) {
        const auto at = what.find(mark);
        const auto word = at == std::string::npos ? at : at + mark.size();
        kinds += word == std::string::npos
                     ? "/"
                     : what.substr(word, what.find_first_of(" \n", word) - word) + "/";
    }
    return kinds;
}

// Drops steps while it still differs: long stretches first, then ever shorter ones.
script shortened(script s, runner& run, const place& where, const std::string& kind) {
    const auto still = [&](const script& shorter) {
        return !shorter.steps.empty() && kind_of(run.differs(shorter, where)) == kind;
    };
    const auto enough = std::chrono::steady_clock::now() + longest_shortening;
    for (auto stretch = s.steps.size() / 2; stretch != 0;) {
        const auto before = s.steps.size();
        for (std::size_t at = 0; at < s.steps.size();) {
            auto shorter = s;
            const auto begin = shorter.steps.begin() + static_cast<std::ptrdiff_t>(at);
            const auto count = std::min(stretch, shorter.steps.size() - at);
            shorter.steps.erase(begin, begin + static_cast<std::ptrdiff_t>(count));
            if (std::chrono::steady_clock::now() > enough) {
                return s;
            }
            if (still(shorter)) {
                s = std::move(shorter);
            } else {
                at += stretch;
            }
        }
        // Single steps until none can go: one that had to stay may go when a later one has gone.
        if (stretch != 1 || s.steps.size() == before) {
            stretch /= 2;
        }
    }
    return s;
}

void report(const script& s, const std::string& what, runner& run, const through& place,
            std::chrono::milliseconds patience) {
    std::cout << "== " << s.name << " differs through " << place.where.name << "\n"
              << what << std::endl;
    // What takes a hang to be seen takes long enough with a short patience.
    run.patience(std::chrono::milliseconds(1'500));
    if (const auto itself = run.undetermined(s); !itself.empty()) {
        std::cout << "it differs from itself, played direct:\n"
                  << itself << to_text(s) << std::endl;
    } else if (run.differs(s, place.where).empty()) {
        std::cout << "it did not do so again; the whole of it:\n" << to_text(s) << std::endl;
    } else {
        const auto shorter = shortened(s, run, place.where, kind_of(what));
        std::cout << "shortened:\n"
                  << to_text(shorter) << run.differs(shorter, place.where) << std::endl;
    }
    run.patience(patience);
}

} // namespace

script random_script(std::uint64_t seed, bool doubtful) {
    const auto& language = test::postgres_dialect();
    test::generator_options options;
    options.most_clients = most_clients;
    options.doubtful_copies = doubtful;
    auto made = test::generate(seed, language, options);
    script s;
    s.name = "seed_" + std::to_string(seed);
    s.guards = "seed " + std::to_string(seed) + " of the generator";
    s.servers = static_cast<std::uint32_t>(made.clients);
    s.setup = {test::for_clients(language.create + language.empty, made.clients)};
    s.teardown = {test::for_clients(language.drop, made.clients)};
    s.steps = std::move(made.steps);
    return s;
}

bool run_random(runner& run, admin& outside, std::vector<through>& places,
                const random_options& options) {
    const auto& language = test::postgres_dialect();
    const auto began = std::chrono::steady_clock::now();
    std::size_t failures = 0, played = 0;
    outside.run(test::for_clients(language.create, most_clients));
    auto seed = options.first_seed;
    for (; seed < options.first_seed + options.seeds && failures < options.most_failures &&
           std::chrono::steady_clock::now() - began < options.at_most;
         ++seed) {
        auto s = random_script(seed, options.doubtful);
        // The tables stay from one conversation to the next, only their rows go.
        auto again = s;
        again.setup = {test::for_clients(language.empty, s.servers)};
        again.teardown.clear();
        std::vector<through*> able;
        for (auto& place : places) {
            if (place.servers >= s.servers) {
                able.push_back(&place);
            }
        }
        if (able.empty()) {
            continue;
        }
        auto& place = *able[seed % able.size()];
        ++played;
        const auto what = run.differs(again, place.where);
        if (run.direct_hung()) {
            ++failures;
            std::cout << "== " << s.name << " waits for what does not come:\n"
                      << to_text(s) << std::endl;
        } else if (what.empty()) {
            ++place.alike;
        } else {
            ++place.different;
            ++failures;
            // From here on it is a script of its own, which makes its tables.
            outside.run(test::for_clients(language.drop, most_clients));
            report(s, what, run, place, options.patience);
            outside.run(test::for_clients(language.create, most_clients));
        }
    }
    outside.run(test::for_clients(language.drop, most_clients));
    const auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began);
    std::cout << "random conversations " << options.first_seed << " to " << seed - 1 << ": "
              << played << " played, " << failures << " different, " << took.count() << " s"
              << std::endl;
    return failures == 0 && played != 0;
}

} // namespace pgweir::differential
