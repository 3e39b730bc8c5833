// The load generator of ./dev bench: any number of users on one thread, each with a connection of
// its own, speaking the wire protocol itself. A user sends a message (a transaction of one or more
// simple queries, each sent when the answer to the one before is there), waits for its end, thinks,
// and so on.
//
//   pgweir_load --port P --user U --database D [--host A] [--users N] [--active M] [--think MS]
//               [--seconds S] [--query SQL]... [--greeting SQL]
//
// N users log in (trust only: what a login costs is not what is measured here) and ask one query
// each, the greeting, in which {} stands for the user's number; then M of them talk for S seconds
// and the others stay connected and idle. Prints `ready` when all are in, and at the end one line
// of JSON. Lives for one measurement; single-threaded.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <queue>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;
using time_point = clock_type::time_point;
using namespace std::chrono_literals;

struct options {
    std::string host = "127.0.0.1";
    std::uint16_t port = 6432;
    std::string user;
    std::string database;
    std::size_t users = 1;
    std::size_t active = 0; // 0: all
    std::chrono::milliseconds think{0};
    std::chrono::milliseconds duration{5000};
    std::vector<std::string> queries;
    std::string greeting = "select 1";
};

void append_int32(std::string& to, std::size_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        to += static_cast<char>((value >> shift) & 0xff);
    }
}

std::string query_message(std::string_view sql) {
    std::string message = "Q";
    append_int32(message, sql.size() + 5);
    message += sql;
    message += '\0';
    return message;
}

std::string startup_message(const options& with) {
    std::string body;
    append_int32(body, 196608); // protocol 3.0
    for (const auto& [name, value] :
         {std::pair<std::string_view, std::string_view>{"user", with.user},
          {"database", with.database}}) {
        body.append(name).append(1, '\0').append(value).append(1, '\0');
    }
    body += '\0';
    std::string message;
    append_int32(message, body.size() + 4);
    return message + body;
}

/// Finds the ReadyForQuery and errors in a stream of messages, whatever the pieces it comes in.
class reader {
public:
    struct found {
        unsigned ready = 0;
        unsigned errors = 0;
    };
    found feed(std::string_view bytes) {
        found result;
        while (!bytes.empty()) {
            if (body_left_ > 0) {
                const auto skipped = std::min(body_left_, bytes.size());
                bytes.remove_prefix(skipped);
                body_left_ -= skipped;
                continue;
            }
            const auto taken = std::min(sizeof(header_) - header_size_, bytes.size());
            std::memcpy(header_ + header_size_, bytes.data(), taken);
            header_size_ += taken;
            bytes.remove_prefix(taken);
            if (header_size_ == sizeof(header_)) {
                std::uint32_t length = 0;
                std::memcpy(&length, header_ + 1, sizeof(length));
                body_left_ = ntohl(length) - 4;
                header_size_ = 0;
                result.errors += header_[0] == 'E' ? 1U : 0U;
                result.ready += header_[0] == 'Z' ? 1U : 0U;
            }
        }
        return result;
    }

private:
    char header_[5] = {};
    std::size_t header_size_ = 0;
    std::size_t body_left_ = 0;
};

struct user {
    enum class doing : std::uint8_t { connecting, greeting, idle, talking, gone };
    int socket = -1;
    doing now = doing::connecting;
    std::size_t next_query = 0; // of the message it is in
    time_point message_began;
    reader in;
};

class load {
public:
    explicit load(options what)
        : options_(std::move(what))
        , users_(options_.users) {
        for (const auto& sql : options_.queries) {
            messages_.push_back(query_message(sql));
        }
        epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    }

    void run() {
        log_in_everybody();
        std::puts("ready");
        std::fflush(stdout);
        talk();
        report();
    }

private:
    // Logging in: a bounded number at a time, so that no listen queue overflows.
    static constexpr std::size_t logins_at_once = 100;

    void log_in_everybody() {
        std::size_t started = 0;
        while (logged_in_ < users_.size()) {
            while (started < users_.size() && started - logged_in_ < logins_at_once) {
                start_login(started);
                ++started;
            }
            wait(std::chrono::seconds(30));
        }
    }

    void start_login(std::size_t index) {
        auto& who = users_[index];
        who.socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (who.socket < 0) {
            throw std::runtime_error(std::string("socket: ") + std::strerror(errno));
        }
        const int one = 1;
        ::setsockopt(who.socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        // Several source addresses: one has fewer ports than a day of measurements takes.
        ::setsockopt(who.socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        auto address = make_address("127.0.0." + std::to_string(2 + index % 16), 0);
        ::bind(who.socket, reinterpret_cast<sockaddr*>(&address), sizeof(address));
        address = make_address(options_.host, options_.port);
        if (::connect(who.socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
            throw std::runtime_error(std::string("connect: ") + std::strerror(errno));
        }
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = index;
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, who.socket, &event);
        send(who, startup_message(options_));
    }

    static sockaddr_in make_address(const std::string& host, std::uint16_t port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
            throw std::runtime_error("not an IPv4 address: " + host);
        }
        return address;
    }

    void talk() {
        const auto active = options_.active == 0 ? users_.size() : options_.active;
        const auto began = clock_type::now();
        ends_at_ = began + options_.duration;
        talking_ = true;
        // Everybody's first message comes at a moment of its own within one thinking time.
        for (std::size_t i = 0; i < std::min(active, users_.size()); ++i) {
            wake_.push({began + ticks(think() * uniform_(random_)), i});
        }
        while (clock_type::now() < ends_at_) {
            auto until = ends_at_;
            while (!wake_.empty() && wake_.top().first <= clock_type::now()) {
                const auto index = wake_.top().second;
                wake_.pop();
                begin_message(users_[index], clock_type::now());
            }
            if (!wake_.empty()) {
                until = std::min(until, wake_.top().first);
            }
            wait(until - clock_type::now());
        }
        took_ = std::chrono::duration<double>(clock_type::now() - began).count();
    }

    [[nodiscard]] std::chrono::duration<double> think() const { return options_.think; }

    static clock_type::duration ticks(std::chrono::duration<double> of) {
        return std::chrono::duration_cast<clock_type::duration>(of);
    }

    void begin_message(user& who, time_point now) {
        if (who.now != user::doing::idle) {
            return;
        }
        who.now = user::doing::talking;
        who.next_query = 0;
        who.message_began = now;
        send_next_query(who);
    }

    void send_next_query(user& who) { send(who, messages_[who.next_query++]); }

    void send(user& who, std::string_view bytes) {
        if (::send(who.socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(bytes.size())) {
            lose(who);
        }
    }

    void lose(user& who) {
        if (who.now == user::doing::gone) {
            return;
        }
        if (!talking_) {
            throw std::runtime_error("a user was refused while logging in");
        }
        ++lost_;
        who.now = user::doing::gone;
        ::close(who.socket);
    }

    void wait(clock_type::duration at_most) {
        epoll_event events[256];
        const auto left = std::max(at_most, clock_type::duration::zero());
        timespec timeout{};
        timeout.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(left).count();
        timeout.tv_nsec = std::chrono::nanoseconds(left % std::chrono::seconds(1)).count();
        const auto count = ::epoll_pwait2(epoll_, events, 256, &timeout, nullptr);
        if (count == 0 && !talking_) {
            throw std::runtime_error("logging in has come to a standstill");
        }
        for (int i = 0; i < count; ++i) {
            receive(events[i].data.u64);
        }
    }

    void receive(std::size_t index) {
        auto& who = users_[index];
        if (who.now == user::doing::gone) {
            return;
        }
        const auto count = ::recv(who.socket, buffer_, sizeof(buffer_), 0);
        if (count <= 0) {
            lose(who);
            return;
        }
        const auto found = who.in.feed({buffer_, static_cast<std::size_t>(count)});
        errors_ += found.errors;
        for (unsigned i = 0; i < found.ready; ++i) {
            on_ready(who, index);
        }
    }

    void on_ready(user& who, std::size_t index) {
        switch (who.now) {
        case user::doing::connecting:
            // One query each, so that an idle user is one that has been served before.
            who.now = user::doing::greeting;
            send(who, query_message(greeting_of(index)));
            break;
        case user::doing::greeting:
            who.now = user::doing::idle;
            ++logged_in_;
            break;
        case user::doing::talking:
            if (who.next_query < messages_.size()) {
                send_next_query(who);
            } else {
                end_message(who, index);
            }
            break;
        case user::doing::idle:
        case user::doing::gone:
            break;
        }
    }

    [[nodiscard]] std::string greeting_of(std::size_t index) const {
        auto sql = options_.greeting;
        for (std::size_t at = 0; (at = sql.find("{}", at)) != std::string::npos;) {
            sql.replace(at, 2, std::to_string(index));
        }
        return sql;
    }

    void end_message(user& who, std::size_t index) {
        const auto now = clock_type::now();
        latencies_ms_.push_back(
            std::chrono::duration<double, std::milli>(now - who.message_began).count());
        who.now = user::doing::idle;
        if (options_.think == 0ms) {
            begin_message(who, now);
            return;
        }
        const auto pause = think() * std::exponential_distribution<>()(random_);
        wake_.push({now + ticks(pause), index});
    }

    [[nodiscard]] double percentile(double part) const {
        if (latencies_ms_.empty()) {
            return 0;
        }
        const auto last = static_cast<double>(latencies_ms_.size() - 1);
        return latencies_ms_[static_cast<std::size_t>(last * part)];
    }

    void report() {
        std::sort(latencies_ms_.begin(), latencies_ms_.end());
        std::printf("{\"messages\": %zu, \"seconds\": %.3f, \"p50\": %.3f, \"p95\": %.3f, "
                    "\"p99\": %.3f, \"errors\": %llu, \"lost\": %llu}\n",
                    latencies_ms_.size(), took_, percentile(0.5), percentile(0.95),
                    percentile(0.99), static_cast<unsigned long long>(errors_),
                    static_cast<unsigned long long>(lost_));
    }

    using wake_up = std::pair<time_point, std::size_t>;

    options options_;
    std::vector<user> users_;
    std::vector<std::string> messages_;
    int epoll_ = -1;
    std::size_t logged_in_ = 0;
    bool talking_ = false;
    time_point ends_at_;
    double took_ = 0;
    std::uint64_t errors_ = 0;
    std::uint64_t lost_ = 0;
    std::vector<double> latencies_ms_;
    std::priority_queue<wake_up, std::vector<wake_up>, std::greater<>> wake_;
    std::mt19937_64 random_{20260118}; // the same thoughts for everybody who is measured
    std::uniform_real_distribution<> uniform_;
    char buffer_[65536];
};

options parse(int count, char** arguments) {
    options result;
    for (int i = 1; i + 1 < count; i += 2) {
        const std::string_view name = arguments[i];
        const std::string value = arguments[i + 1];
        if (name == "--host") {
            result.host = value;
        } else if (name == "--port") {
            result.port = static_cast<std::uint16_t>(std::stoul(value));
        } else if (name == "--user") {
            result.user = value;
        } else if (name == "--database") {
            result.database = value;
        } else if (name == "--users") {
            result.users = std::stoul(value);
        } else if (name == "--active") {
            result.active = std::stoul(value);
        } else if (name == "--think") {
            result.think = std::chrono::milliseconds(std::stol(value));
        } else if (name == "--seconds") {
            result.duration = std::chrono::milliseconds(static_cast<long>(std::stod(value) * 1000));
        } else if (name == "--greeting") {
            result.greeting = value;
        } else if (name == "--query") {
            result.queries.push_back(value);
        } else {
            throw std::runtime_error("unknown argument " + std::string(name));
        }
    }
    if (result.queries.empty()) {
        result.queries.emplace_back("select 1");
    }
    return result;
}

/// As many descriptors as users, and a few.
void raise_descriptor_limit(std::size_t users) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const auto wanted = static_cast<rlim_t>(users + 64);
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted;
        limit.rlim_max = std::max(limit.rlim_max, wanted);
        if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            throw std::runtime_error("cannot have that many descriptors (ulimit -n)");
        }
    }
}

} // namespace

int main(int count, char** arguments) {
    try {
        auto what = parse(count, arguments);
        raise_descriptor_limit(what.users);
        load(std::move(what)).run();
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pgweir_load: %s\n", error.what());
        return 1;
    }
}
