#include "protocol/proxy_header.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

namespace {

using result = std::variant<proxy_header_incomplete, proxy_header, proxy_header_refused>;

constexpr std::string_view signature_1 = "PROXY ";
constexpr std::string_view signature_2{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t most_line_bytes = 107; // with its end

/// Does it look like an address of that family? Whoever uses it reads it for good.
bool may_be_address(std::string_view text, bool v4) {
    const auto allowed =
        v4 ? std::string_view("0123456789.") : std::string_view("0123456789abcdefABCDEF:.");
    return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos &&
           text.find(v4 ? '.' : ':') != std::string_view::npos;
}

std::optional<std::uint16_t> port_in(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    const bool zeros = text.size() > 1 && text.front() == '0';
    return error == std::errc() && end == text.data() + text.size() && !zeros ? std::optional(port)
                                                                              : std::nullopt;
}

result read_line(std::string_view text) {
    const auto end = text.substr(0, most_line_bytes).find("\r\n");
    if (end == std::string_view::npos) {
        return text.size() < most_line_bytes ? result(proxy_header_incomplete{})
                                             : result(proxy_header_refused{"the line is too long"});
    }
    proxy_header header{.size_bytes = end + 2, .source = {}};
    auto rest = text.substr(signature_1.size(), end - signature_1.size());
    if (rest == "UNKNOWN" || rest.starts_with("UNKNOWN ")) {
        return header; // whatever follows is not to be believed
    }
    std::vector<std::string_view> words;
    for (bool more = true; more;) {
        const auto space = rest.find(' ');
        words.push_back(rest.substr(0, space));
        more = space != std::string_view::npos;
        rest = more ? rest.substr(space + 1) : std::string_view();
    }
    if (words.size() != 5 || (words[0] != "TCP4" && words[0] != "TCP6")) {
        return proxy_header_refused{"the line is malformed"};
    }
    const bool v4 = words[0] == "TCP4";
    const auto port = port_in(words[3]);
    if (!port || !port_in(words[4]) || !may_be_address(words[1], v4) ||
        !may_be_address(words[2], v4)) {
        return proxy_header_refused{"an address is malformed"};
    }
    header.source = {
        .address = std::string(words[1]), .destination = std::string(words[2]), .port = *port};
    return header;
}

std::string spelled_v4(bytes raw) {
    std::string text;
    for (const auto one : raw) {
        text += (text.empty() ? "" : ".") + std::to_string(std::to_integer<unsigned>(one));
    }
    return text;
}

std::string spelled_v6(bytes raw) {
    std::string text;
    for (std::size_t i = 0; i < raw.size(); i += 2) {
        const auto group =
            std::to_integer<unsigned>(raw[i]) << 8 | std::to_integer<unsigned>(raw[i + 1]);
        std::array<char, 4> digits{};
        const auto [end, error] =
            std::to_chars(digits.data(), digits.data() + digits.size(), group, 16);
        text.append(text.empty() ? "" : ":").append(digits.data(), end);
    }
    return text;
}

result read_binary(bytes in) {
    constexpr std::size_t head_bytes = 16;
    if (in.size() < head_bytes) {
        return proxy_header_incomplete{};
    }
    const auto at = [in](std::size_t where) { return std::to_integer<unsigned>(in[where]); };
    const auto version = at(12) >> 4, command = at(12) & 0xf, family = at(13);
    const std::size_t length = at(14) << 8 | at(15);
    if (version != 2 || command > 1) {
        return proxy_header_refused{"the version or command is unknown"};
    }
    if (head_bytes + length > most_proxy_header_bytes) {
        return proxy_header_refused{"it is too long"};
    }
    if (in.size() < head_bytes + length) {
        return proxy_header_incomplete{};
    }
    proxy_header header{.size_bytes = head_bytes + length, .source = {}};
    constexpr unsigned tcp_4 = 0x11, tcp_6 = 0x21;
    const std::size_t address_bytes = family == tcp_4 ? 4 : 16;
    if (command == 0 || (family != tcp_4 && family != tcp_6)) {
        return header;
    }
    if (length < 2 * address_bytes + 4) {
        return proxy_header_refused{"an address is cut off"};
    }
    const auto port = head_bytes + 2 * address_bytes;
    const auto spelled = [&](std::size_t begin) {
        const auto address = in.subspan(begin, address_bytes);
        return family == tcp_4 ? spelled_v4(address) : spelled_v6(address);
    };
    header.source = {.address = spelled(head_bytes),
                     .destination = spelled(head_bytes + address_bytes),
                     .port = static_cast<std::uint16_t>(at(port) << 8 | at(port + 1))};
    return header;
}

/// Is it the beginning of that one, as far as it goes?
bool begins(std::string_view in, std::string_view signature) {
    const auto size = std::min(in.size(), signature.size());
    return in.substr(0, size) == signature.substr(0, size);
}

} // namespace

result read_proxy_header(bytes in) {
    const auto text = as_text(in);
    if (begins(text, signature_1)) {
        return text.size() < signature_1.size() ? result(proxy_header_incomplete{})
                                                : read_line(text);
    }
    if (begins(text, signature_2)) {
        return read_binary(in);
    }
    return proxy_header_refused{"there is none"};
}

} // namespace pgweir::protocol
