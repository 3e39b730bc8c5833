// Fuzz target: the `options` of a start-up message (2026-107349: `-c=` looped for ever). Whatever
// is in it, it is read once from front to end: what comes of it is no longer than what was sent;
// the settings, written down again as switches, are read as the same.
//
// Input: the options. Seeds: make_corpus.py.
#include "protocol/startup_options.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace pgweir::protocol;
using namespace pgweir::test;

namespace {

std::string as_switch(const std::string& name, const std::string& value) {
    std::string text = "-c ";
    for (const char c : name + "=" + value) {
        text += '\\';
        text += c;
    }
    return text;
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto sent = fuzz_input(data, size).rest();
    const auto made = parse_startup_options(sent);
    std::size_t total = 0;
    std::string again;
    for (const auto& [name, value] : made.settings) {
        total += name.size() + value.size();
        PGWEIR_MUST(name.find('=') == std::string::npos);
        PGWEIR_MUST(name.find('-') == std::string::npos);
        again += (again.empty() ? "" : " ") + as_switch(name, value);
    }
    PGWEIR_MUST(total + (made.refused ? made.refused->size() : 0) <= sent.size());
    const auto twice = parse_startup_options(again);
    PGWEIR_MUST(!twice.refused);
    PGWEIR_MUST(twice.settings == made.settings);
    return 0;
}
