// What servers are logged in to with: the configuration's password, or what a login has shown last.
#include "daemon/pool_directory.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>

namespace {

using namespace pgweir;
using daemon::shown_secrets;

shown_secrets password(const std::string& text) { return {protocol::secret(text)}; }

shown_secrets keys(const std::string& of) {
    return {{}, protocol::scram_keys{protocol::secret(of), protocol::secret(of), "salt", 4096}};
}

/// One database, and its user ann of whom the configuration knows `password`.
std::shared_ptr<config::configuration> configured(const std::string& password) {
    auto made = std::make_shared<config::configuration>();
    config::database shop;
    shop.name = "shop";
    made->databases.push_back(shop);
    config::user ann;
    ann.name = "ann";
    ann.password = config::secret(password);
    made->users.push_back(std::move(ann));
    made->index();
    return made;
}

struct bench {
    explicit bench(const std::string& password)
        : config(configured(password))
        , pools(1, config) {}

    daemon::pool_entry& log_in(const shown_secrets& shown) {
        return *pools.find_or_make(config->databases.front(), "ann", shown);
    }
    /// What servers are logged in to with after that login.
    std::string after(const shown_secrets& shown) {
        const auto access = log_in(shown).access.load();
        const auto known = access->password.reveal();
        return known.empty() && access->keys
                   ? "keys of " + std::string(access->keys->client_key.reveal())
                   : std::string(known);
    }
    void reload(const std::string& password) {
        config = configured(password);
        pools.reconfigure(config, std::make_shared<const daemon::tls_contexts>());
    }

    std::shared_ptr<config::configuration> config;
    daemon::pool_directory pools;
};

TEST_CASE("pool_directory: what a login shows replaces what one has shown before") {
    bench b("");
    CHECK(b.after({}).empty());
    CHECK(b.after(password("old")) == "old");
    const auto generation = b.log_in({}).generation.load();
    CHECK(b.after(password("old")) == "old");
    CHECK(b.after({}) == "old"); // by md5, a certificate …: it shows nothing
    CHECK(b.log_in({}).generation == generation);
    CHECK(b.after(password("new")) == "new");
    CHECK(b.log_in({}).generation == generation + 1);
    CHECK(b.after(keys("newer")) == "keys of newer");
    CHECK(b.after(keys("newest")) == "keys of newest");
}

TEST_CASE("pool_directory: those who log in by password and by keys do not replace each other's") {
    bench b("");
    b.log_in(password("p"));
    b.log_in(keys("k"));
    b.log_in(password("p"));
    const auto generation = b.log_in({}).generation.load();
    for (const auto& shown : {keys("k"), password("p"), keys("k"), password("p")}) {
        CHECK(b.after(shown) == "p");
    }
    CHECK(b.log_in({}).generation == generation);
}

TEST_CASE("pool_directory: the configuration's password is final") {
    bench b("configured");
    CHECK(b.after(password("shown")) == "configured");
    CHECK(b.after(keys("shown")) == "configured");
}

TEST_CASE("pool_directory: localhost is reached by its Unix socket when asked to") {
    bench b("configured");
    auto& shop = b.config->databases.front();
    shop.host = "localhost";
    shop.sslmode = config::tls_mode::require;
    const auto where = [&] { return b.log_in({}).access.load()->where; };
    CHECK(where() == daemon::server_address{"localhost", 5432});
    b.reload("configured");
    auto& after = b.config->databases.front();
    after.host = "LOCALHOST";
    after.unix_socket_directory = "/run/postgresql";
    b.pools.reconfigure(b.config, std::make_shared<const daemon::tls_contexts>());
    CHECK(where() == daemon::server_address{"/run/postgresql", 5432});
}

TEST_CASE("pool_directory: a reload keeps what was shown, and no password that it has taken out") {
    bench b("configured");
    CHECK(b.after({}) == "configured");
    b.reload("");
    CHECK(b.after({}).empty());
    CHECK(b.after(password("shown")) == "shown");
    b.reload("");
    CHECK(b.after({}) == "shown");
    b.reload("shown");
    CHECK(b.after(password("other")) == "shown"); // it is the configuration's now
    b.reload("another");
    CHECK(b.after({}) == "another");
    b.reload("SCRAM-SHA-256$4096:c2FsdA==$a2V5:a2V5"); // proves clients, logs in nowhere
    CHECK(b.after({}).empty());
}

} // namespace
