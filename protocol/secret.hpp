// A password, key or verifier in memory: wiped when it goes, never formatted, compared in constant
// time. Owner: whoever holds it. Tests: tests/protocol/secret_test.cpp.
#pragma once

#include <string>
#include <string_view>

namespace pgweir::protocol {

class secret {
public:
    secret() = default;
    explicit secret(std::string value)
        : value_(std::move(value)) {}
    secret(const secret&) = default;
    secret(secret&& other) noexcept;
    secret& operator=(const secret& other);
    secret& operator=(secret&& other) noexcept;
    ~secret();

    /// The value itself. Named so that every use stands out in review.
    [[nodiscard]] std::string_view reveal() const { return value_; }
    [[nodiscard]] bool empty() const { return value_.empty(); }
    /// Constant time in the length of both.
    [[nodiscard]] bool equals(std::string_view other) const;

    template <typename Stream>
    friend Stream& operator<<(Stream&, const secret&) = delete;

private:
    void wipe() noexcept;
    std::string value_;
};

/// Compares without telling by its duration where the two differ (lengths may be told).
[[nodiscard]] bool equal_in_constant_time(std::string_view a, std::string_view b);

} // namespace pgweir::protocol
