#include "daemon/tls_contexts.hpp"

#include <filesystem>

namespace pgweir::daemon {

namespace {

using config::tls_mode;

tls_version version_of(config::tls_version least) {
    return least == config::tls_version::tls_1_3 ? tls_version::tls_1_3 : tls_version::tls_1_2;
}

accepting_tls for_clients(const config::configuration& from, const std::string& directory) {
    accepting_tls made;
    made.certificate = absolute(directory, from.tls_certificate);
    made.key = absolute(directory, from.tls_key);
    made.authorities = absolute(directory, from.tls_ca);
    made.revoked = absolute(directory, from.tls_crl);
    using certificate_is = accepting_tls::client_certificate;
    made.clients = from.tls >= tls_mode::verify_ca ? certificate_is::required
                   : from.tls_ca.empty()           ? certificate_is::none
                                                   : certificate_is::optional;
    made.least = version_of(from.tls_least);
    return made;
}

connecting_tls for_servers(const config::database& of, const std::string& directory) {
    connecting_tls made;
    if (!of.trusts_the_system()) {
        made.authorities = absolute(directory, of.sslrootcert);
    }
    made.revoked = absolute(directory, of.sslcrl);
    made.certificate = absolute(directory, of.sslcert);
    made.key = absolute(directory, of.sslkey);
    using verify = connecting_tls::verify;
    made.what = of.sslmode == tls_mode::verify_full ? verify::authority_and_name
                : of.checks_certificate()           ? verify::authority
                                                    : verify::nothing;
    return made;
}

std::shared_ptr<const tls_context> kept_or(std::shared_ptr<const tls_context> made,
                                           const std::shared_ptr<const tls_context>& running) {
    return running != nullptr && running->identity() == made->identity() ? running : made;
}

} // namespace

std::shared_ptr<const tls_context> tls_contexts::for_database(std::string_view name) const {
    auto found = servers.find(name);
    if (found == servers.end()) {
        found = servers.find("*");
    }
    return found == servers.end() ? nullptr : found->second;
}

std::string absolute(const std::string& directory, const std::string& path) {
    return path.empty() ? path : (std::filesystem::path(directory) / path).string();
}

std::shared_ptr<const tls_contexts> make_tls_contexts(const config::configuration& from,
                                                      const std::string& directory,
                                                      const tls_contexts* running,
                                                      std::vector<std::string>& errors) {
    auto made = std::make_shared<tls_contexts>();
    try {
        if (from.tls != tls_mode::disable && !from.tls_certificate.empty()) {
            made->clients = kept_or(tls_context::make(for_clients(from, directory)),
                                    running != nullptr ? running->clients : nullptr);
        }
    } catch (const tls_error& e) {
        errors.emplace_back(e.what());
    }
    tls_authorities authorities;
    for (const auto& database : from.databases) {
        // A Unix socket is nobody else's to listen to.
        if (database.sslmode == tls_mode::disable || database.has_unix_socket()) {
            continue;
        }
        try {
            made->servers[database.name] =
                kept_or(tls_context::make(for_servers(database, directory), authorities),
                        running != nullptr ? running->for_database(database.name) : nullptr);
        } catch (const tls_error& e) {
            errors.emplace_back("databases." + database.name + ": " + e.what());
        }
    }
    return made;
}

} // namespace pgweir::daemon
