// Which connections there is TLS for, and what a reload keeps.
#include "daemon/tls_contexts.hpp"
#include "tests/daemon/certificates.hpp"

#include <doctest/doctest.h>

#include <openssl/ssl.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

using namespace pgweir;
using daemon::make_tls_contexts;

namespace {

struct configured {
    test::certificates files;
    config::configuration config;
    std::vector<std::string> errors;

    configured() {
        files.make("server", "db.example");
        config.tls_certificate = "server.pem"; // relative to the configuration
        config.tls_key = "server.key";
        for (const auto* const name : {"shop", "socket", "plain", "*"}) {
            config::database made;
            made.name = name;
            config.databases.push_back(made);
        }
        config.databases[1].host = "/run/postgresql";
        config.databases[2].sslmode = config::tls_mode::disable;
    }
    std::shared_ptr<const daemon::tls_contexts>
    make(const daemon::tls_contexts* running = nullptr) {
        errors.clear();
        return make_tls_contexts(config, files.path(""), running, errors);
    }
};

} // namespace

TEST_CASE_FIXTURE(configured, "tls_contexts: for whom there are any") {
    const auto made = make();
    CHECK(errors.empty());
    CHECK(made->clients != nullptr);
    CHECK(made->for_database("shop") != nullptr);
    CHECK(made->for_database("another") == made->for_database("*"));
    config.tls = config::tls_mode::disable;
    CHECK(make()->clients == nullptr);
    config.tls = config::tls_mode::prefer;
    config.tls_certificate.clear();
    CHECK(make()->clients == nullptr);
}

TEST_CASE_FIXTURE(configured, "tls_contexts: neither where it is disabled nor on a Unix socket") {
    config.databases.pop_back(); // the rest of them
    const auto made = make();
    CHECK(made->for_database("plain") == nullptr);
    CHECK(made->for_database("socket") == nullptr);
}

TEST_CASE_FIXTURE(configured, "tls_contexts: what has not changed is kept, down to the bytes") {
    const auto running = make();
    auto again = make(running.get());
    CHECK(again->clients == running->clients);
    CHECK(again->for_database("shop") == running->for_database("shop"));
    files.make("server", "db.example"); // another of the same name
    again = make(running.get());
    CHECK(again->clients != running->clients);
    CHECK(again->for_database("shop") == running->for_database("shop"));
    config.databases[0].sslmode = config::tls_mode::verify_full;
    again = make(running.get());
    CHECK(again->for_database("shop") != running->for_database("shop"));
}

TEST_CASE_FIXTURE(configured, "tls_contexts: authorities are read once for all who use the same") {
    const auto store = [](const daemon::tls_contexts& of, const char* database) {
        return SSL_CTX_get_cert_store(of.for_database(database)->get());
    };
    config.databases.clear();
    for (const auto* const name : {"a", "b", "own", "too"}) {
        config::database made;
        made.name = name;
        made.sslmode = config::tls_mode::verify_full;
        config.databases.push_back(made);
    }
    config.databases[1].sslmode = config::tls_mode::verify_ca;
    config.databases[2].sslrootcert = config.databases[3].sslrootcert = "authority.pem";
    const auto made = make();
    CHECK(errors.empty());
    CHECK(store(*made, "a") == store(*made, "b"));
    CHECK(made->for_database("a") != made->for_database("b"));
    CHECK(store(*made, "own") == store(*made, "too"));
    CHECK(store(*made, "a") != store(*made, "own"));
    CHECK(store(*make(), "a") != store(*made, "a")); // read anew each time
}

TEST_CASE_FIXTURE(configured,
                  "tls_contexts: other authorities of the system count after a reload") {
    files.make("other", "other.example");
    config.databases.resize(1);
    config.databases[0].sslmode = config::tls_mode::verify_full;
    const auto is = [](const std::string& file) { ::setenv("SSL_CERT_FILE", file.c_str(), 1); };
    is(files.authority());
    const auto running = make();
    CHECK(make(running.get())->for_database("shop") == running->for_database("shop"));
    is(files.path("other.pem"));
    CHECK(make(running.get())->for_database("shop") != running->for_database("shop"));
    ::unsetenv("SSL_CERT_FILE");
}

TEST_CASE_FIXTURE(configured, "tls_contexts: every bad file is told of") {
    config.tls_key = "none.key";
    config.databases[0].sslmode = config::tls_mode::verify_ca;
    config.databases[0].sslrootcert = "none.pem";
    (void)make();
    REQUIRE(errors.size() == 2);
    CHECK(errors[0] == files.path("none.key") + ": the private key cannot be read");
    CHECK(errors[1].starts_with("databases.shop: " + files.path("none.pem")));
}

TEST_CASE_FIXTURE(configured, "tls_contexts: what is no file is an error, whoever names it") {
    config.databases.resize(1);
    SUBCASE("tls.certificate") { config.tls_certificate = "."; }
    SUBCASE("tls.key") { config.tls_key = "."; }
    SUBCASE("tls.ca, also where nothing is read from it") { config.tls_ca = "."; }
    SUBCASE("sslrootcert") {
        config.databases[0].sslmode = config::tls_mode::verify_ca;
        config.databases[0].sslrootcert = ".";
    }
    SUBCASE("sslcert") {
        config.databases[0].sslcert = ".";
        config.databases[0].sslkey = "server.key";
    }
    SUBCASE("sslkey") {
        config.databases[0].sslcert = "server.pem";
        config.databases[0].sslkey = ".";
    }
    (void)make();
    REQUIRE(errors.size() == 1);
    CAPTURE(errors[0]);
    CHECK(errors[0].find(files.path(".") + ": ") != std::string::npos);
}
