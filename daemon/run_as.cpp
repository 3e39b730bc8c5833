#include "daemon/run_as.hpp"

#include <cerrno>
#include <cstring>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

namespace pgweir::daemon {

std::string run_as(const std::string& user) {
    const bool root = ::geteuid() == 0;
    if (user.empty()) {
        return root ? "will not run as root: name the user to become with --user" : "";
    }
    const auto* const entry = ::getpwnam(user.c_str());
    if (entry == nullptr) {
        return "there is no user '" + user + "'";
    }
    if (!root) {
        return entry->pw_uid == ::geteuid() ? "" : "only root can become '" + user + "'";
    }
    if (::initgroups(user.c_str(), entry->pw_gid) != 0 || ::setgid(entry->pw_gid) != 0 ||
        ::setuid(entry->pw_uid) != 0) {
        return "cannot become '" + user + "': " + std::strerror(errno);
    }
    return entry->pw_uid != 0 && ::setuid(0) == 0 ? "could become root again" : "";
}

} // namespace pgweir::daemon
