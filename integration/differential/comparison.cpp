// See comparison.hpp.
#include "integration/differential/comparison.hpp"

#include <algorithm>
#include <set>
#include <string_view>

namespace pgweir::differential {

namespace {

constexpr std::size_t lines_before = 4, lines_after = 8;

using lines = std::vector<std::string>;

void append(std::string& out, std::string_view mark, const lines& from, std::size_t begin) {
    const auto end = std::min(begin + lines_after, from.size());
    for (auto i = begin; i < end; ++i) {
        out.append(mark).append(from[i]).append("\n");
    }
    if (end < from.size()) {
        out.append(mark).append("… ").append(std::to_string(from.size() - end)).append(" more\n");
    }
}

// But for where in PostgreSQL's source an error comes from.
std::string_view without_place(std::string_view error) {
    return error.substr(0, error.find(" F='"));
}

bool alike(const std::string& direct, const std::string& through) {
    if (direct == through) {
        return true;
    }
    // Allowed difference 4: a FATAL that pgweir itself reports has no place.
    const bool own = through.starts_with("ErrorResponse S='FATAL'") &&
                     without_place(through).size() == through.size();
    // Allowed difference 5: a failed transaction refuses what is sent in front of Bind or Describe.
    const bool refused = through.starts_with("ErrorResponse S='ERROR' V='ERROR' C='25P02'");
    return (own || refused) && without_place(direct) == without_place(through);
}

std::string difference_of(char client, const lines& direct, const lines& through) {
    const auto [d, t] =
        std::mismatch(direct.begin(), direct.end(), through.begin(), through.end(), alike);
    if (d == direct.end() && t == through.end()) {
        return {};
    }
    const auto at = static_cast<std::size_t>(d - direct.begin());
    std::string out = client == '-' ? "  seen from outside" : std::string("  client ") + client;
    out += ", message " + std::to_string(at + 1) + ":\n";
    for (auto i = at > lines_before ? at - lines_before : 0; i < at; ++i) {
        out += "      both     " + direct[i] + "\n";
    }
    append(out, "    - direct   ", direct, at);
    append(out, "    + through  ", through, at);
    return out;
}

} // namespace

std::string difference(const transcripts& direct, const transcripts& through) {
    std::set<char> everybody;
    for (const auto* each : {&direct, &through}) {
        for (const auto& [client, unused] : each->of) {
            everybody.insert(client);
        }
    }
    std::string out;
    for (const char client : everybody) {
        const auto of = [client](const transcripts& t) {
            const auto at = t.of.find(client);
            return at == t.of.end() ? lines() : at->second;
        };
        out += difference_of(client, of(direct), of(through));
    }
    return out;
}

} // namespace pgweir::differential
