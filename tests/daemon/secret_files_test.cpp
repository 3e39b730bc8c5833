// Who may own and read a file with secrets.
#include "daemon/secret_files.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

using namespace pgweir::daemon;

namespace {

/// A folder with one file in it, both gone with it.
class folder {
public:
    folder() {
        std::string name = (std::filesystem::temp_directory_path() / "pgweir-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    ~folder() { std::filesystem::remove_all(path_); }
    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;

    [[nodiscard]] std::string path(const std::string& name) const { return path_ + "/" + name; }
    [[nodiscard]] const std::string& path() const { return path_; }
    std::string file(const std::string& name, const std::string& content, mode_t mode) {
        std::ofstream(path(name), std::ios::binary) << content;
        REQUIRE(::chmod(path(name).c_str(), mode) == 0);
        return path(name);
    }

private:
    std::string path_;
};

} // namespace

TEST_CASE("a file with secrets is this user's, and closed to others") {
    folder in;
    struct row {
        mode_t mode;
        bool read;
    };
    const bool root = ::geteuid() == 0; // what is root's may be its group's
    for (const auto& each :
         {row{0600, true}, row{0400, true}, row{0700, true}, row{0640, root}, row{0440, root},
          row{0604, false}, row{0660, false}, row{0644, false}, row{0620, false}, row{0602, false},
          row{0610, false}, row{0666, false}}) {
        CAPTURE(each.mode);
        const auto path = in.file("secret", "x\n", each.mode);
        CHECK(read_secret_file(path).has_value() == each.read);
        CHECK(read_whole_file(path) == "x\n"); // not a secret: whatever its mode
    }
    const auto path = in.file("secret", "x", 0600);
    if (::chown(path.c_str(), 1, static_cast<gid_t>(-1)) == 0) { // only root can
        CHECK(!read_secret_file(path));
        CHECK(read_whole_file(path));
    }
}

TEST_CASE("one rule for all secrets: whose they are, and whose to read") {
    struct row {
        uid_t owner;
        mode_t mode;
        secret_file expected;
    };
    using enum secret_file;
    constexpr uid_t self = 1000, other = 1001;
    for (const auto& each :
         {row{self, 0600, good}, row{self, 0400, good}, row{self, 0640, open_to_others},
          row{self, 0604, open_to_others}, row{self, 0620, open_to_others}, row{0, 0600, good},
          row{0, 0640, good}, row{0, 0440, good}, row{0, 0644, open_to_others},
          row{0, 0660, open_to_others}, row{0, 0650, open_to_others}, row{0, 0601, open_to_others},
          row{other, 0600, of_another_user}, row{other, 0644, of_another_user}}) {
        CAPTURE(each.owner);
        CAPTURE(each.mode);
        struct stat what {};
        what.st_uid = each.owner;
        what.st_mode = S_IFREG | each.mode;
        CHECK(judge_secret_file(what, self) == each.expected);
        what.st_uid = each.owner == self ? 0 : each.owner; // root itself keeps root's rule
        CHECK((judge_secret_file(what, 0) == good) ==
              (each.owner != other && (each.mode & 0037) == 0));
    }
}

TEST_CASE("what root alone reads, and what others read as well") {
    folder in;
    struct row {
        mode_t mode;
        bool open;
    };
    const bool root = ::geteuid() == 0;
    for (const auto& each :
         {row{0600, false}, row{0640, !root}, row{0644, true}, row{0660, true}}) {
        CAPTURE(each.mode);
        const auto path = in.file("secret", "x", each.mode);
        CHECK(opened_file(path).is_open_to_others() == each.open);
        CHECK(only_root_reads(path) == (root && each.mode == 0600));
    }
    CHECK(!opened_file(in.path("missing")).is_open_to_others());
    CHECK(!only_root_reads(in.path("missing")));
}

TEST_CASE("what is no file") {
    folder in;
    CHECK(!read_secret_file(in.path("missing")));
    CHECK(!read_whole_file(in.path("missing")));
    CHECK(!read_whole_file(in.path()));
    CHECK(!read_whole_file("/dev/zero"));
    REQUIRE(::mkfifo(in.path("pipe").c_str(), 0600) == 0);
    CHECK(!read_secret_file(in.path("pipe"))); // and does not wait for somebody to write
    (void)in.file("target", "x", 0644);
    REQUIRE(::symlink(in.path("target").c_str(), in.path("link").c_str()) == 0);
    CHECK(!read_secret_file(in.path("link"))); // the file counts, not the link
}

TEST_CASE("why a file with secrets is not read") {
    folder in;
    using enum secret_file;
    const auto why = [](const std::string& path) { return opened_file(path).judge(); };
    const auto path = in.file("secret", "x", 0600);
    CHECK(why(path) == good);
    CHECK(why(in.file("open", "x", 0644)) == open_to_others);
    CHECK(why(in.path("missing")) == none);
    CHECK(why(path + "/below") == none);
    CHECK(why(in.path()) == none);
    CHECK(why("/dev/zero") == none);
    REQUIRE(::mkfifo(in.path("pipe").c_str(), 0600) == 0);
    CHECK(why(in.path("pipe")) == none);
    REQUIRE(::symlink("round", in.path("round").c_str()) == 0);
    CHECK(why(in.path("round")) == unreadable);
    CHECK(opened_file(in.path("round")).error() == ELOOP);
    if (::chown(path.c_str(), 1, static_cast<gid_t>(-1)) == 0) { // only root can
        CHECK(why(path) == of_another_user);
    }
}

TEST_CASE("what is read is the file that was judged, whatever its path names by then") {
    folder in;
    const opened_file file(in.file("secret", "judged", 0600));
    REQUIRE(file.judge() == secret_file::good);
    REQUIRE(::rename(in.file("other", "another", 0644).c_str(), in.path("secret").c_str()) == 0);
    CHECK(file.judge() == secret_file::good);
    CHECK(file.read() == "judged");
}

TEST_CASE("whatever the size") {
    folder in;
    for (const std::size_t size : {0, 1, 4095, 4096, 300'000}) {
        CAPTURE(size);
        const std::string text(size, 'x');
        CHECK(read_secret_file(in.file("secret", text, 0600)) == text);
    }
    CHECK(!read_whole_file("/proc/self/status")->empty()); // tells no size
}

TEST_CASE("a file is read up to the size it may have, and no memory is taken for more") {
    folder in;
    const auto path = in.file("big", std::string(1000, 'x'), 0600);
    CHECK(read_whole_file(path, 1000)->size() == 1000);
    CHECK(!read_whole_file(path, 999));
    CHECK(!read_whole_file("/proc/self/status", 10)); // tells no size
    CHECK(read_whole_file("/proc/self/status", 100'000));
    for (const std::uintmax_t size :
         {std::uintmax_t{largest_file_bytes} + 1, std::uintmax_t{15} << 40}) {
        CAPTURE(size);
        if (::truncate(path.c_str(), static_cast<off_t>(size)) == 0) { // not all systems can
            CHECK_NOTHROW(CHECK(!read_whole_file(path)));
            CHECK_NOTHROW(CHECK(!read_secret_file(path)));
        }
    }
}

TEST_CASE("systemd's credentials") {
    folder in;
    ::unsetenv("CREDENTIALS_DIRECTORY");
    CHECK(!read_credential("password"));
    ::setenv("CREDENTIALS_DIRECTORY", in.path().c_str(), 1);
    CHECK(!read_credential("password"));
    (void)in.file("password", "x", 0400);
    CHECK(read_credential("password") == "x");
    (void)in.file("password2", "x", 0440); // an access control list looks like this
    CHECK(read_credential("password2") == "x");
    (void)in.file("password3", "x", 0444);
    CHECK(!read_credential("password3"));
    ::unsetenv("CREDENTIALS_DIRECTORY");
}
