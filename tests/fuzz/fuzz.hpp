// What the fuzz targets share: an input that is taken apart from its front, cuts that depend on
// nothing but the input, and a check that ends the process where doctest's would only count.
//
// Each target is one file with one LLVMFuzzerTestOneInput(); under the `fuzz` preset libFuzzer
// calls it, in every other build replay_main.cpp, with the files in corpus/TARGET. Tests only.
#pragma once

#include "protocol/message.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace pgweir::test {

[[noreturn]] inline void broken(const char* what, const char* file, int line) {
    std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    std::abort();
}

#define PGWEIR_MUST(condition)                                                                     \
    ((condition) ? void() : pgweir::test::broken(#condition, __FILE__, __LINE__))

class fuzz_input {
public:
    fuzz_input(const std::uint8_t* data, std::size_t size)
        : rest_(reinterpret_cast<const char*>(data), size) {}

    [[nodiscard]] bool empty() const { return rest_.empty(); }
    /// Zero behind the end.
    std::uint8_t byte() {
        const auto text = take(1);
        return text.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(text[0]);
    }
    /// As much of it as is there.
    std::string_view take(std::size_t count) {
        const auto front = rest_.substr(0, count);
        rest_.remove_prefix(front.size());
        return front;
    }
    [[nodiscard]] std::string_view rest() const { return rest_; }

private:
    std::string_view rest_;
};

/// Numbers that look like chance, the same for the same seed. They are not taken from the input, so
/// that a byte more or less in the middle of a conversation does not change how the rest is cut.
class cuts {
public:
    explicit cuts(std::uint8_t seed)
        : state_(seed * 2'654'435'761U + 1) {}

    std::uint32_t below(std::size_t bound) {
        state_ = state_ * 1'664'525U + 1'013'904'223U;
        return static_cast<std::uint32_t>((state_ >> 8) % bound);
    }
    /// How much of so many bytes arrives next: mostly little.
    std::size_t piece(std::size_t of) {
        return std::min<std::size_t>(of, 1 + below(below(4) == 0 ? 6 : below(3) == 0 ? 9'000 : 60));
    }

private:
    std::uint32_t state_;
};

/// Watches a stream of messages: where they begin, and what they are.
class frame_walker {
public:
    /// `allowed`: the types that may come.
    explicit frame_walker(std::string_view allowed)
        : allowed_(allowed) {}

    void see(std::string_view text) {
        while (!text.empty()) {
            if (body_left_ == 0 || head_.size() < protocol::header_bytes) {
                const auto front = text.substr(0, protocol::header_bytes - head_.size());
                head_ += front;
                text.remove_prefix(front.size());
                if (head_.size() < protocol::header_bytes) {
                    return;
                }
                const auto head = protocol::read_header(protocol::as_bytes(head_));
                PGWEIR_MUST(head.plausible());
                PGWEIR_MUST(allowed_.find(head.type) != std::string_view::npos);
                types_ += head.type;
                body_left_ = head.body_bytes();
            }
            const auto count = std::min(body_left_, text.size());
            body_left_ -= count;
            text.remove_prefix(count);
            if (body_left_ == 0) {
                head_.clear();
            }
        }
    }
    [[nodiscard]] bool between_messages() const { return body_left_ == 0 && head_.empty(); }
    /// Of all messages that have begun.
    [[nodiscard]] const std::string& types() const { return types_; }
    [[nodiscard]] std::size_t count(std::string_view of) const {
        return static_cast<std::size_t>(std::count_if(
            types_.begin(), types_.end(), [&](char type) { return of.find(type) != of.npos; }));
    }
    void forget() { types_.clear(); }

private:
    std::string_view allowed_;
    std::string head_, types_;
    std::size_t body_left_ = 0;
};

/// What a logged-in client may send that goes on to a server, and what a server may answer.
inline constexpr std::string_view to_server_types = "QPBDCEFSHdcf";
inline constexpr std::string_view to_client_types = "123CdcWGHDIEVnNAtSsTZ";

} // namespace pgweir::test
