// Which connections there is TLS for, and what a reload keeps.
#include "daemon/tls_contexts.hpp"
#include "tests/daemon/certificates.hpp"

#include <doctest/doctest.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
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
    config.databases[1].host = "localhost";
    CHECK(make()->for_database("socket") != nullptr);
    config.databases[1].unix_socket_directory = "/run/postgresql";
    CHECK(make()->for_database("socket") == nullptr);
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
    config.databases[1].sslrootcert = "system"; // as where none is given
    config.databases[3].sslmode = config::tls_mode::verify_ca;
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

// Whoever may write to the key's folder puts others' keys there and takes them away, all the while.
TEST_CASE_FIXTURE(configured, "tls_contexts: the key that is read is the one that was judged") {
    files.make("other", "db.example");
    config.databases.clear();
    REQUIRE(::chmod(files.path("other.key").c_str(), 0644) == 0);
    std::filesystem::rename(files.path("server.key"), files.path("own.key"));
    const auto becomes = [this](const char* name) {
        return ::link(files.path(name).c_str(), files.path("next").c_str()) == 0 &&
               ::rename(files.path("next").c_str(), files.path("server.key").c_str()) == 0;
    };
    REQUIRE(becomes("own.key"));
    std::atomic<bool> over{false}, failed{false};
    std::thread changing([&] {
        while (!over) {
            failed = failed || !becomes("other.key") || !becomes("own.key");
        }
    });
    const auto refused = files.path("server.key") + ": others may read the private key";
    int others = 0;
    for (int i = 0; i < 1000 && others == 0; ++i) {
        (void)make();
        others += !errors.empty() && !errors[0].starts_with(refused) ? 1 : 0;
    }
    over = true;
    changing.join();
    CHECK(!failed);
    CAPTURE(errors.empty() ? std::string() : errors[0]);
    CHECK(others == 0);
}

TEST_CASE_FIXTURE(configured, "tls_contexts: what is no file is an error, whoever names it") {
    REQUIRE(::mkfifo(files.path("pipe").c_str(), 0600) == 0);
    std::ofstream(files.path("huge")).close();
    REQUIRE(::truncate(files.path("huge").c_str(), 100'000'000) == 0);
    REQUIRE(::chmod(files.path("huge").c_str(), 0600) == 0);
    config.databases.resize(1);
    const auto good = config;
    struct place {
        const char* name;
        void (*put)(config::configuration& into, const std::string& path);
    };
    const std::initializer_list<place> places{
        {"tls.certificate", [](auto& into, const auto& path) { into.tls_certificate = path; }},
        {"tls.key", [](auto& into, const auto& path) { into.tls_key = path; }},
        {"tls.ca", [](auto& into, const auto& path) { into.tls_ca = path; }},
        {"sslrootcert",
         [](auto& into, const auto& path) {
             into.databases[0].sslmode = config::tls_mode::verify_ca;
             into.databases[0].sslrootcert = path;
         }},
        {"sslcert",
         [](auto& into, const auto& path) {
             into.databases[0].sslcert = path;
             into.databases[0].sslkey = "server.key";
         }},
        {"sslkey", [](auto& into, const auto& path) {
             into.databases[0].sslcert = "server.pem";
             into.databases[0].sslkey = path;
         }}};
    for (const std::string bad : {".", "pipe", "huge", "/dev/zero"}) {
        for (const auto& each : places) {
            CAPTURE(bad);
            CAPTURE(each.name);
            const auto path = bad.front() == '/' ? bad : files.path(bad);
            config = good;
            each.put(config, path);
            (void)make(); // and does not wait for somebody to write
            REQUIRE(errors.size() == 1);
            CHECK(errors[0].find(path + ": ") != std::string::npos);
        }
    }
}

TEST_CASE_FIXTURE(configured, "tls_contexts: a bundle of many authorities, one of them twice") {
    std::string bundle;
    for (int i = 0; i < 300; ++i) {
        const auto name = "authority" + std::to_string(i % 299);
        if (i < 299) {
            files.make(name, name);
        }
        std::ifstream in(files.path(name + ".pem"));
        bundle.append(std::istreambuf_iterator<char>(in), {});
        bundle += "a comment\n";
    }
    std::ofstream(files.path("bundle.pem")) << bundle;
    config.databases.resize(1);
    config.tls_ca = "bundle.pem";
    config.databases[0].sslmode = config::tls_mode::verify_ca;
    config.databases[0].sslrootcert = "bundle.pem";
    const auto made = make();
    REQUIRE(errors.empty());
    CHECK(sk_X509_NAME_num(SSL_CTX_get_client_CA_list(made->clients->get())) == 299);
    const auto known = [](const daemon::tls_context& of) {
        return sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(of.get())));
    };
    CHECK(known(*made->clients) == 299);
    CHECK(known(*made->for_database("shop")) == 299);
    config.tls_ca = "server.key"; // PEM, and no certificate
    (void)make();
    REQUIRE(errors.size() == 1);
    CHECK(errors[0].starts_with(files.path("server.key") + ": the authorities cannot be used: "));
}

TEST_CASE_FIXTURE(configured, "tls_contexts: a certificate's chain comes with it") {
    const auto content = [this](const std::string& name) {
        std::ifstream in(files.path(name));
        return std::string(std::istreambuf_iterator<char>(in), {});
    };
    config.databases.clear();
    const auto chain_of = [this](const std::string& text) {
        std::ofstream(files.path("chain.pem")) << text;
        config.tls_certificate = "chain.pem";
        const auto made = make();
        STACK_OF(X509)* chain = nullptr;
        if (made->clients != nullptr) {
            SSL_CTX_get0_chain_certs(made->clients->get(), &chain);
        }
        return sk_X509_num(chain);
    };
    CHECK(chain_of(content("server.pem")) <= 0);
    CHECK(chain_of(content("server.pem") + "words\n" + content("authority.pem")) == 1);
    CHECK(chain_of(content("server.pem") + content("authority.pem") + content("server.pem")) == 2);
    CHECK(errors.empty());
    // One that is cut short is told of, and not left out.
    const auto all = content("server.pem") + content("authority.pem");
    (void)chain_of(all.substr(0, all.size() - 40));
    CHECK(errors.size() == 1);
}
