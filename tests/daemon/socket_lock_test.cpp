// Who may bind a Unix socket's path, when several start at the same moment.
#include "daemon/socket_lock.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

using pgweir::daemon::socket_lock;

namespace {

namespace fs = std::filesystem;

struct folder {
    fs::path path;
    folder() {
        std::string name = (fs::temp_directory_path() / "pgweir-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~folder() { fs::remove_all(path); }
    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;
    [[nodiscard]] std::string socket() const { return path / ".s.PGSQL.6432"; }
    [[nodiscard]] std::string lock() const { return socket() + ".lock"; }
};

std::string content(const std::string& path) {
    std::ifstream in(path);
    std::string line;
    std::getline(in, line);
    return line;
}

} // namespace

TEST_CASE("socket_lock: one has it until it lets go, and leaves nothing") {
    const folder in;
    socket_lock one, other;
    CHECK(one.take(in.socket()));
    CHECK_FALSE(other.take(in.socket()));
    one.sign();
    CHECK(content(in.lock()) == std::to_string(::getpid()));
    CHECK_FALSE(other.take(in.socket()));
    one.release();
    CHECK_FALSE(fs::exists(in.lock()));
    CHECK(other.take(in.socket()));
    CHECK_FALSE(one.take(in.socket()));
    one.release(); // it is not his
    CHECK(fs::exists(in.lock()));
}

TEST_CASE("socket_lock: one that a crash has left is taken over") {
    const folder in;
    std::ofstream(in.lock()) << "123456789\nand more of PostgreSQL's\n";
    socket_lock one;
    CHECK(one.take(in.socket()));
    one.release(); // the socket was a PostgreSQL's that runs, say
    CHECK(content(in.lock()) == "123456789");
    CHECK(one.take(in.socket()));
    one.sign();
    CHECK(content(in.lock()) == std::to_string(::getpid()));
}

TEST_CASE("socket_lock: what is no file is left alone, and is no obstacle") {
    const folder in;
    SUBCASE("a link") {
        std::ofstream(in.path / "precious") << "content";
        fs::create_symlink(in.path / "precious", in.lock());
        socket_lock one;
        CHECK(one.take(in.socket()));
        one.sign();
        CHECK(content(in.path / "precious") == "content");
    }
    SUBCASE("a directory") {
        fs::create_directory(in.lock());
        socket_lock one;
        CHECK(one.take(in.socket()));
    }
    CHECK(fs::symlink_status(in.lock()).type() != fs::file_type::not_found);
}
