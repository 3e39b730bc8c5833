// Strangers: connections by the hundred thousand that send one packet each, malformed or a cancel
// request with a guessed key, and wait for the end. For integration/strangers_test.py.
//
//   pgweir_strangers --port P --what startup|cancel [--count N] [--at-once M] [--seed S]
//   [--process-id I]...
//
// With `cancel`, half of the guesses are for one of the process ids given. Prints one line of JSON:
// how many were answered by what (the first byte; "" for none), how many connections failed,
// seconds.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace std::string_literals;

struct options {
    std::uint16_t port = 0;
    std::string what = "startup";
    std::size_t count = 1000;
    std::size_t at_once = 200;
    std::uint64_t seed = 1;
    std::vector<std::uint32_t> process_ids;
};

std::string int32(std::uint32_t value) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) {
        bytes += static_cast<char>((value >> shift) & 0xff);
    }
    return bytes;
}

constexpr std::uint32_t cancel_request = 80877102, ssl_request = 80877103,
                        gssenc_request = 80877104, protocol_3_0 = 196608;

class packets {
public:
    explicit packets(const options& from)
        : from_(from)
        , chance_(from.seed) {}

    std::string next() { return from_.what == "cancel" ? guess() : mutated(); }

private:
    std::uint32_t below(std::size_t bound) { return static_cast<std::uint32_t>(chance_() % bound); }

    std::string guess() {
        const auto any = static_cast<std::uint32_t>(chance_());
        const auto& known = from_.process_ids;
        const auto whose = known.empty() || below(2) == 0 ? any : known[below(known.size())];
        return int32(16) + int32(cancel_request) + int32(whose) +
               int32(static_cast<std::uint32_t>(chance_()));
    }

    std::string noise(std::size_t most) {
        std::string bytes(below(most), '\0');
        std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<char>(chance_()); });
        return bytes;
    }

    std::string startup() {
        std::string pairs;
        const std::array names{
            "user"s,   "database"s, "options"s,         "replication"s, "client_encoding"s,
            "_pq_.x"s, ""s,         "application_name"s};
        const std::array values{"fitness"s,
                                "fitness_club"s,
                                "-c x=y"s,
                                "true"s,
                                "-c="s,
                                ""s,
                                std::string(below(9000), 'x'),
                                noise(40)};
        for (auto left = below(6); left > 0; --left) {
            pairs += names[below(names.size())] + '\0' + values[below(values.size())] + '\0';
        }
        return int32(protocol_3_0) + pairs + '\0';
    }

    /// Something that is nearly right, then made wrong in one way or several.
    std::string mutated() {
        std::string body;
        switch (below(8)) {
        case 0:
            return noise(300);
        case 1:
            body = int32(ssl_request + below(2)) + noise(8);
            break;
        case 2:
            body = int32(cancel_request) + noise(20);
            break;
        case 3:
            body = int32(static_cast<std::uint32_t>(chance_())) + noise(100);
            break;
        case 4:
            return "\x16\x03\x01"s + noise(200); // TLS, up to a point
        default:
            body = startup();
        }
        auto length = static_cast<std::uint32_t>(body.size() + 4);
        switch (below(5)) {
        case 0:
            length += below(9) - 4;
            break;
        case 1:
            length = static_cast<std::uint32_t>(chance_());
            break;
        default:
            break;
        }
        auto packet = int32(length) + body;
        for (auto flips = below(4); flips > 0; --flips) {
            packet[below(packet.size())] = static_cast<char>(chance_());
        }
        if (below(6) == 0) {
            packet.resize(below(packet.size()));
        }
        if (below(8) == 0) {
            const auto request = int32(8) + int32(below(2) == 0 ? ssl_request : gssenc_request);
            packet.insert(0, request);
        }
        return packet;
    }

    const options& from_;
    std::mt19937_64 chance_;
};

class strangers {
public:
    explicit strangers(const options& from)
        : from_(from)
        , packets_(from)
        , epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

    void run() {
        const auto began = std::chrono::steady_clock::now();
        while (opened_ < from_.count || open_ > 0) {
            while (opened_ < from_.count && open_ < from_.at_once) {
                open();
            }
            std::array<epoll_event, 256> events{};
            const int ready =
                ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 60'000);
            if (ready <= 0) {
                throw std::runtime_error("nobody was answered for a minute");
            }
            for (int i = 0; i < ready; ++i) {
                read(events[static_cast<std::size_t>(i)].data.fd);
            }
        }
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
        std::printf("{\"count\": %zu, \"failed\": %zu, \"seconds\": %.2f, \"answers\": {", opened_,
                    failed_, took.count());
        const char* separator = "";
        for (const auto& [answer, count] : answers_) {
            std::printf("%s\"%s\": %zu", separator, answer.c_str(), count);
            separator = ", ";
        }
        std::puts("}}");
    }

private:
    void open() {
        ++opened_;
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(from_.port);
        // Spread over addresses: their ports are not used up so soon.
        sockaddr_in own{};
        own.sin_family = AF_INET;
        own.sin_addr.s_addr = htonl(0x7f000002 + static_cast<std::uint32_t>(opened_ % 64));
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::bind(fd, reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 ||
            ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
            ++failed_;
            ::close(fd);
            return;
        }
        const auto packet = packets_.next();
        // It may have been refused before all of it has gone.
        (void)::send(fd, packet.data(), packet.size(), MSG_NOSIGNAL);
        (void)::shutdown(fd, SHUT_WR);
        epoll_event interest{};
        interest.events = EPOLLIN;
        interest.data.fd = fd;
        if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &interest) != 0) {
            throw std::runtime_error("epoll_ctl");
        }
        if (first_.size() <= static_cast<std::size_t>(fd)) {
            first_.resize(static_cast<std::size_t>(fd) + 1);
        }
        first_[static_cast<std::size_t>(fd)].clear();
        ++open_;
    }

    void read(int fd) {
        std::array<char, 4096> bytes{};
        const auto got = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
        auto& first = first_[static_cast<std::size_t>(fd)];
        if (got > 0) {
            const bool letter = bytes[0] >= 'A' && bytes[0] <= 'Z';
            first = first.empty() ? (letter ? std::string(1, bytes[0]) : "other") : first;
        } else if (got == 0 || errno != EAGAIN) {
            ++answers_[first];
            ::close(fd);
            --open_;
        }
    }

    const options& from_;
    packets packets_;
    int epoll_;
    std::size_t opened_ = 0, open_ = 0, failed_ = 0;
    std::vector<std::string> first_; // by descriptor
    std::map<std::string, std::size_t> answers_;
};

options read_options(const std::vector<std::string_view>& words) {
    options result;
    for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
        const auto name = words[i];
        const std::string value(words[i + 1]);
        if (name == "--what") {
            result.what = value;
            continue;
        }
        const auto number = std::stoull(value);
        if (name == "--port") {
            result.port = static_cast<std::uint16_t>(number);
        } else if (name == "--count") {
            result.count = number;
        } else if (name == "--at-once") {
            result.at_once = number;
        } else if (name == "--seed") {
            result.seed = number;
        } else if (name == "--process-id") {
            result.process_ids.push_back(static_cast<std::uint32_t>(number));
        } else {
            throw std::runtime_error("what is " + std::string(name) + "?");
        }
    }
    return result;
}

} // namespace

int main(int count, char** words) {
    try {
        const auto from = read_options({words + 1, words + count});
        strangers(from).run();
    } catch (const std::exception& problem) {
        std::fprintf(stderr, "pgweir_strangers: %s\n", problem.what());
        return 1;
    }
    return 0;
}
