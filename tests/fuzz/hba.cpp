// Fuzz target: access rules and maps. Whatever the file, it is read or refused with places; a rule
// that was read says the same when its line is read alone; and a decision that is made without
// knowing something is the one that is made knowing it, whatever that is.
//
// Input: the database, user and host name of a client, a flag byte, then the text, and further
// files (a, b, c), all separated by zero bytes. Seeds: make_corpus.py.
#include "config/hba.hpp"
#include "config/ident_map.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <array>
#include <vector>

using namespace pgweir::config;

namespace {

std::string_view until_zero(std::string_view& rest) {
    const auto end = std::min(rest.find('\0'), rest.size());
    const auto front = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return front;
}

void expect_places(const std::vector<problem>& problems) {
    PGWEIR_MUST(problems.size() <= 100);
    for (const auto& each : problems) {
        PGWEIR_MUST(!each.message.empty());
        PGWEIR_MUST(each.at.line >= 1 && each.at.column >= 1);
    }
}

hba_facts facts_where_all_is(bool member, std::string_view host_name) {
    hba_facts facts;
    facts.is_member = [member](std::string_view) { return std::optional(member); };
    facts.host_name = host_name;
    return facts;
}

void expect_same_alone(const hba_rule& rule, const access_files& files) {
    if (rule.text.find('\\') != std::string::npos) {
        return; // at the end it would continue the line
    }
    const auto alone = parse_hba(rule.text, rule.file, files);
    PGWEIR_MUST(alone.problems.empty());
    PGWEIR_MUST(alone.rules.size() == 1);
    PGWEIR_MUST(alone.rules[0].same_meaning(rule));
}

void decide_for(const std::vector<hba_rule>& rules, const hba_request& request,
                std::string_view host_name) {
    const auto knowing_nothing = decide(rules, request, {});
    PGWEIR_MUST(knowing_nothing.decided() || knowing_nothing.rule == nullptr);
    for (const bool member : {false, true}) {
        const auto facts = facts_where_all_is(member, host_name);
        const auto made = decide(rules, request, facts);
        PGWEIR_MUST(made.decided());
        PGWEIR_MUST(!knowing_nothing.decided() || made.rule == knowing_nothing.rule);
        // It is the first that matches by itself.
        for (const auto& rule : rules) {
            const auto by_itself = decide({rule}, request, facts).rule != nullptr;
            PGWEIR_MUST(by_itself == (made.rule == &rule));
            if (by_itself) {
                break;
            }
        }
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t most_bytes = 20'000;
    std::string_view rest(reinterpret_cast<const char*>(data), std::min(size, most_bytes));
    const auto database = until_zero(rest);
    const auto user = until_zero(rest);
    const auto host_name = until_zero(rest);
    const auto flags = rest.empty() ? 0U : static_cast<unsigned char>(rest[0]);
    rest.remove_prefix(rest.empty() ? 0 : 1);
    const auto text = until_zero(rest);
    std::array<std::string_view, 3> others;
    for (auto& each : others) {
        each = until_zero(rest);
    }
    const access_files files = [&](const std::string& path) -> std::optional<std::string> {
        const bool known = path.size() == 1 && path[0] >= 'a' && path[0] <= 'c';
        return known ? std::optional(std::string(others[static_cast<std::size_t>(path[0] - 'a')]))
                     : std::nullopt;
    };

    const auto made = parse_hba(text, "hba", files);
    expect_places(made.problems);
    if (made.problems.empty() && made.rules.size() < 100) {
        constexpr std::array<std::string_view, 4> addresses{"10.1.2.3", "::1", "::ffff:10.1.2.3",
                                                            "local"};
        for (const auto& rule : made.rules) {
            expect_same_alone(rule, files);
        }
        decide_for(made.rules,
                   {.database = database,
                    .user = user,
                    .physical_replication = (flags & 4) != 0,
                    .address = read_address(addresses[flags & 3]),
                    .tls = (flags & 8) != 0},
                   host_name);
    }

    const auto maps = parse_ident(text, "ident", files);
    expect_places(maps.problems);
    PGWEIR_MUST(may_be(maps.lines, "", database, user) == (database == user));
    for (const auto& line : maps.lines) {
        PGWEIR_MUST(!line.any_user || line.pattern ||
                    may_be(maps.lines, line.map, line.system_name, user));
        (void)may_be(maps.lines, line.map, database, user);
    }
    return 0;
}
