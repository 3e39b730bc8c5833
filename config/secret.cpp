// A secret that wipes itself. See secret.hpp. Tests: tests/config/secret_test.cpp.
#include "config/secret.hpp"

namespace pgweir::config {

void secret::wipe() noexcept {
    // Through a volatile pointer: the compiler may not drop the writes although nobody reads them.
    // The whole capacity: a longer value may have been there before.
    value_.resize(value_.capacity());
    volatile char* const bytes = value_.data();
    for (std::size_t i = 0; i < value_.size(); ++i) {
        bytes[i] = '\0';
    }
    value_.clear();
}

secret& secret::operator=(const secret& other) {
    if (this != &other) {
        wipe(); // before assign() may give the old buffer back
        value_ = other.value_;
    }
    return *this;
}

secret& secret::operator=(secret&& other) noexcept {
    if (this != &other) {
        wipe();
        value_.swap(other.value_); // no allocation
        other.wipe();              // a short value is copied by swap(), its bytes stay behind
    }
    return *this;
}

} // namespace pgweir::config
