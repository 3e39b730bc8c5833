// See runner.hpp.
#include "integration/differential/runner.hpp"

#include "integration/differential/comparison.hpp"

#include <iostream>
#include <stdexcept>

namespace pgweir::differential {

transcripts runner::play(const script& s, const place& where) {
    transcripts told;
    try {
        told = player_.play(s, where);
    } catch (const std::exception& error) {
        told.hung = true;
        told.of['-'].push_back(std::string("(the script failed: ") + error.what() + ")");
    }
    if (told.hung) {
        clean_up();
    }
    return told;
}

// After a script that did not come to its end: the next one starts from nothing.
void runner::clean_up() {
    static_cast<void>(
        admin_.check("select count(pg_terminate_backend(pid)) from pg_stat_activity"
                     " where datname = current_database() and backend_type = 'client backend'"
                     " and pid <> pg_backend_pid() and state <> 'idle' and query not like '%" +
                     std::string(admin::disturbance_mark) + "%'"));
    try {
        admin_.run("drop schema public cascade; create schema public");
    } catch (const std::exception& error) {
        std::cout << "cleaning up: " << error.what() << std::endl;
    }
}

std::string runner::differs(const script& s, const place& where) {
    const auto direct = play(s, direct_);
    direct_hung_ = direct.hung;
    return direct.hung ? std::string() : difference(direct, play(s, where));
}

std::string runner::undetermined(const script& s) {
    const auto once = play(s, direct_);
    if (once.hung) {
        return difference({}, once);
    }
    const auto left = admin_.check("select relname from pg_class"
                                   " where relnamespace = 'public'::regnamespace order by 1");
    if (!left.empty()) {
        clean_up();
        return "    it leaves behind: " + left.front() + "\n";
    }
    return difference(once, play(s, direct_));
}

bool runner::run(const script& s, std::vector<through*> places, bool twice) {
    if (twice) {
        if (const auto what = undetermined(s); !what.empty()) {
            std::cout << "== " << s.name << " is no use: " << s.guards << "\n" << what << std::endl;
            return false;
        }
    }
    const auto direct = play(s, direct_);
    if (verbose_) {
        std::cout << "== " << s.name << ": " << s.guards << "\n";
        for (const auto& [client, lines] : direct.of) {
            for (const auto& line : lines) {
                std::cout << client << "  " << line << "\n";
            }
        }
    }
    bool alike = !direct.hung;
    if (direct.hung) {
        std::cout << "== " << s.name << " fails without a pooler: " << s.guards << "\n"
                  << difference({}, direct) << std::endl;
    }
    for (auto* const each : places) {
        if (each->servers < s.servers) {
            ++each->skipped;
            continue;
        }
        const auto what = difference(direct, play(s, each->where));
        if (what.empty()) {
            ++each->alike;
            continue;
        }
        ++each->different;
        alike = false;
        std::cout << "== " << s.name << " differs through " << each->where.name << ": " << s.guards
                  << "\n"
                  << what << std::endl;
    }
    return alike;
}

} // namespace pgweir::differential
