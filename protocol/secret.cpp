#include "protocol/secret.hpp"

#include <openssl/crypto.h>

#include <utility>

namespace pgweir::protocol {

// A moved-from std::string may keep its characters (short ones live inside the object), so the
// source is wiped as well, not just left empty.
secret::secret(secret&& other) noexcept
    : value_(std::move(other.value_)) {
    other.wipe();
}

secret& secret::operator=(const secret& other) {
    if (this != &other) {
        // Into a fresh string: assigning in place might reallocate and free the old value unwiped.
        std::string copy = other.value_;
        wipe();
        value_.swap(copy);
        if (!copy.empty()) {
            OPENSSL_cleanse(copy.data(), copy.size());
        }
    }
    return *this;
}

secret& secret::operator=(secret&& other) noexcept {
    if (this != &other) {
        wipe();
        value_ = std::move(other.value_);
        other.wipe();
    }
    return *this;
}

secret::~secret() { wipe(); }

bool secret::equals(std::string_view other) const { return equal_in_constant_time(value_, other); }

void secret::wipe() noexcept {
    // Up to the capacity: what an earlier, longer value left behind it goes too. Growing to the
    // capacity allocates nothing, so this cannot throw.
    value_.resize(value_.capacity());
    OPENSSL_cleanse(value_.data(), value_.size());
    value_.clear();
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

} // namespace pgweir::protocol
