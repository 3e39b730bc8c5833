// Fuzz target: a userlist file. Whatever is in it, it is read or refused with places; names are
// bound and there is one user for each; and what was read, written down again, is read as the same.
//
// Input: the file. Seeds: make_corpus.py.
#include "config/userlist.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <set>

using namespace pgweir::config;

namespace {

std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
        result += c;
        if (c == '"') {
            result += c;
        }
    }
    return result + '"';
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto made = parse_userlist({reinterpret_cast<const char*>(data), size});
    PGWEIR_MUST(made.problems.size() <= most_problems);
    for (const auto& each : made.problems) {
        PGWEIR_MUST(!each.message.empty());
        PGWEIR_MUST(each.at.line >= 1 && each.at.column >= 1);
    }
    std::set<std::string> names;
    std::string again;
    for (const auto& each : made.users) {
        PGWEIR_MUST(!each.who.name.empty() && each.who.name.size() <= 63);
        PGWEIR_MUST(!each.who.password.empty());
        PGWEIR_MUST(each.who.from_file);
        PGWEIR_MUST(names.insert(each.who.name).second);
        again += quoted(each.who.name) + " " + quoted(each.who.password.reveal()) + "\n";
    }
    const auto second = parse_userlist(again);
    PGWEIR_MUST(second.problems.empty());
    PGWEIR_MUST(second.users.size() == made.users.size());
    for (std::size_t i = 0; i < made.users.size(); ++i) {
        PGWEIR_MUST(second.users[i].who == made.users[i].who);
    }
    return 0;
}
