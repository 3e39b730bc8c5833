// Fuzz target: what comes in front of a client's first byte from a trusted load balancer. Whatever
// it is, it is decided upon within its bound and the same way however it was cut; what is taken off
// is there; and nobody is given an address that the header does not hold.
//
// Input: what the balancer sends. Seeds: make_corpus.py.
#include "protocol/proxy_header.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace pgweir::protocol;
using namespace pgweir::test;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto sent = fuzz_input(data, size).rest();
    const auto whole = read_proxy_header(as_bytes(sent));
    const auto* const header = std::get_if<proxy_header>(&whole);
    if (header != nullptr) {
        PGWEIR_MUST(header->size_bytes > 0 && header->size_bytes <= sent.size());
        PGWEIR_MUST(header->size_bytes <= most_proxy_header_bytes);
    }
    if (sent.size() >= most_proxy_header_bytes) {
        PGWEIR_MUST(!std::holds_alternative<proxy_header_incomplete>(whole));
    }
    if (const auto* const refused = std::get_if<proxy_header_refused>(&whole)) {
        PGWEIR_MUST(!std::string_view(refused->why).empty());
    }
    for (std::size_t cut = 0; cut < std::min(sent.size(), most_proxy_header_bytes); ++cut) {
        const auto part = read_proxy_header(as_bytes(sent.substr(0, cut)));
        const auto* const early = std::get_if<proxy_header>(&part);
        // Before its end it is not decided upon; behind it, always the same.
        PGWEIR_MUST((early != nullptr) == (header != nullptr && cut >= header->size_bytes));
        if (early != nullptr) {
            PGWEIR_MUST(early->size_bytes == header->size_bytes);
            PGWEIR_MUST(early->source == header->source);
        }
        if (std::holds_alternative<proxy_header_refused>(part)) {
            PGWEIR_MUST(std::holds_alternative<proxy_header_refused>(whole));
        }
    }
    return 0;
}
