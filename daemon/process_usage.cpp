#include "daemon/process_usage.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <system_error>

namespace pgweir::daemon {

namespace {

double seconds(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

std::uint64_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::uint64_t total_pages = 0;
    std::uint64_t resident_pages = 0;
    statm >> total_pages >> resident_pages;
    return resident_pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t walk_open_fds() {
    std::uint64_t count = 0;
    std::error_code error;
    for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
         it.increment(error)) {
        ++count;
    }
    return count > 0 ? count - 1 : 0; // less the one that reads the directory
}

// Since Linux 6.2 the directory's size is the number of descriptors, whatever their number. Before,
// the only way is to walk it, which costs with every client: then it is done once in a while.
std::uint64_t open_fds() {
    struct stat info {};
    if (::stat("/proc/self/fd", &info) == 0 && info.st_size > 0) {
        return static_cast<std::uint64_t>(info.st_size);
    }
    using clock = std::chrono::steady_clock;
    constexpr auto keep = std::chrono::duration_cast<clock::duration>(std::chrono::seconds(30));
    static std::atomic<std::uint64_t> known{0};
    static std::atomic<clock::rep> walk_again_at{std::numeric_limits<clock::rep>::min()};
    const auto now = clock::now().time_since_epoch().count();
    if (now >= walk_again_at.load()) {
        walk_again_at.store(now + keep.count());
        known.store(walk_open_fds());
    }
    return known.load();
}

// Start time is in field 22 of /proc/self/stat, in ticks since boot; the command's name in field 2
// may contain anything, so counting begins behind its closing parenthesis.
double read_start_time() {
    std::ifstream file("/proc/self/stat");
    std::string stat;
    std::getline(file, stat);
    const auto name_end = stat.rfind(')');
    if (name_end == std::string::npos) {
        return 0;
    }
    auto at = name_end;
    for (int field = 2; field < 22; ++field) {
        at = stat.find(' ', at + 1);
        if (at == std::string::npos) {
            return 0;
        }
    }
    const double ticks = std::strtod(stat.c_str() + at, nullptr);
    std::ifstream boot("/proc/stat");
    for (std::string line; std::getline(boot, line);) {
        if (line.starts_with("btime ")) {
            const double booted_at = std::strtod(line.c_str() + 6, nullptr);
            return booted_at + ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
        }
    }
    return 0;
}

} // namespace

process_usage read_process_usage() {
    static const double start_time = read_start_time();
    process_usage usage;
    rusage times{};
    if (::getrusage(RUSAGE_SELF, &times) == 0) {
        usage.cpu_seconds = seconds(times.ru_utime) + seconds(times.ru_stime);
    }
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
        usage.max_fds = files.rlim_cur;
    }
    usage.resident_bytes = resident_bytes();
    usage.open_fds = open_fds();
    usage.start_time_seconds = start_time;
    return usage;
}

} // namespace pgweir::daemon
