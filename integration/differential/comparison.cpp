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
    if (own && without_place(direct) == through) {
        return true;
    }
    // Allowed difference 6: what ends a COPY is the Close in front of the Parse.
    constexpr std::string_view ours = "unexpected message type 0x43 during COPY",
                               theirs = "unexpected message type 0x50 during COPY";
    const auto at = through.find(ours);
    return at != std::string::npos &&
           std::string(through).replace(at, ours.size(), theirs) == direct;
}

// Allowed difference 5: a failed transaction refuses the Parse in front of a message, and the batch
// is over; PostgreSQL refuses that message, for whatever reason, or one behind it. Where that is
// so: how many lines of either to pass over, up to the ReadyForQuery.
struct refused_lines {
    std::size_t direct = 0, through = 0;
};

refused_lines refused_in_front(const lines& direct, const lines& through, std::size_t d,
                               std::size_t t) {
    const auto to_ready = [](const lines& all, std::size_t from,
                             bool (*may_be)(const std::string&)) {
        auto at = from;
        while (at < all.size() && may_be(all[at])) {
            ++at;
        }
        const bool ready = at < all.size() && all[at] == "ReadyForQuery E";
        return ready ? at - from : 0;
    };
    const auto through_count = to_ready(through, t, [](const std::string& line) {
        return line.starts_with("ErrorResponse S='ERROR' V='ERROR' C='25P02'") &&
               line.ends_with("R='exec_parse_message'");
    });
    const auto direct_count = to_ready(direct, d, [](const std::string& line) {
        return line.starts_with("ErrorResponse S='ERROR'") || line == "NoData" ||
               line.starts_with("ParameterDescription");
    });
    return through_count == 1 && direct_count != 0 ? refused_lines{direct_count, through_count}
                                                   : refused_lines{};
}

std::string difference_of(char client, const lines& direct, const lines& through) {
    std::size_t at = 0, in_through = 0;
    while (at != direct.size() || in_through != through.size()) {
        const bool both = at != direct.size() && in_through != through.size();
        if (both && alike(direct[at], through[in_through])) {
            ++at;
            ++in_through;
            continue;
        }
        const auto over = refused_in_front(direct, through, at, in_through);
        if (over.direct == 0) {
            break;
        }
        at += over.direct;
        in_through += over.through;
    }
    if (at == direct.size() && in_through == through.size()) {
        return {};
    }
    std::string out = client == '-' ? "  seen from outside" : std::string("  client ") + client;
    out += ", message " + std::to_string(at + 1) + ":\n";
    for (auto i = at > lines_before ? at - lines_before : 0; i < at; ++i) {
        out += "      both     " + direct[i] + "\n";
    }
    append(out, "    - direct   ", direct, at);
    append(out, "    + through  ", through, in_through);
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
