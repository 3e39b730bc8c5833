// What our patterns of names find: reads lines of a pattern, a tab and a name, and answers each
// with `refused`, `no`, `yes` (matched, but \1 may not be used) or `yes:` and what \1 is. Run by
// integration/name_pattern_test.py, which asks PostgreSQL the same.
#include "config/name_pattern.hpp"

#include <iostream>
#include <string>

using pgweir::config::name_pattern;

namespace {

std::string answer(const std::string& line) {
    const auto tab = line.find('\t');
    std::string refused;
    const auto pattern = name_pattern::make(line.substr(0, tab), refused);
    const auto name = line.substr(tab + 1);
    if (!pattern) {
        return "refused";
    }
    if (!pattern->matches(name)) {
        return "no";
    }
    return pattern->why_no_reference().empty() ? "yes:" + pattern->first_group_in(name).value()
                                               : "yes";
}

} // namespace

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        std::cout << answer(line) << '\n';
    }
}
