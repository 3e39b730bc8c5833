// Certificates for tests, made on the spot: an authority, and what it signs.
#pragma once

#include "daemon/tls_context.hpp"

#include <filesystem>
#include <string>

namespace pgweir::test {

/// A directory of PEM files, gone with this.
class certificates {
public:
    certificates();
    ~certificates();
    certificates(const certificates&) = delete;
    certificates& operator=(const certificates&) = delete;

    /// The authority that signs all of them.
    [[nodiscard]] std::string authority() const { return path("authority.pem"); }
    /// A certificate for `common_name`, also as DNS name, with `name`.pem and `name`.key (0600).
    /// `algorithm`: of the key, "EC" or "ED25519".
    void make(const std::string& name, const std::string& common_name,
              const std::string& algorithm = "EC");
    [[nodiscard]] std::string path(const std::string& file) const {
        return (directory_ / file).string();
    }
    /// What a server that has the certificate `name` offers.
    [[nodiscard]] daemon::accepting_tls accepting_as(const std::string& name) const {
        daemon::accepting_tls made;
        made.certificate = path(name + ".pem");
        made.key = path(name + ".key");
        return made;
    }

private:
    struct pair;
    std::filesystem::path directory_;
    pair* root_;
};

} // namespace pgweir::test
