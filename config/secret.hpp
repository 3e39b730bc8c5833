// A secret read from configuration: wiped when it goes, never formatted, never part of a diff's
// text. (protocol/ has a type of its own for secrets on the wire; siblings do not share.)
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace pgweir::config {

class secret {
public:
    secret() = default;
    explicit secret(std::string value)
        : value_(std::move(value)) {}
    secret(const secret&) = default;
    secret(secret&& other) noexcept { *this = std::move(other); }
    secret& operator=(const secret& other);
    secret& operator=(secret&& other) noexcept;
    ~secret() { wipe(); }

    [[nodiscard]] std::string_view reveal() const { return value_; }
    [[nodiscard]] bool empty() const { return value_.empty(); }
    bool operator==(const secret&) const = default;

    template <typename Stream>
    friend Stream& operator<<(Stream&, const secret&) = delete;

private:
    void wipe() noexcept;
    std::string value_;
};

} // namespace pgweir::config
