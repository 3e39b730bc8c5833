#include "protocol/proxy_header.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

namespace {

using result = std::variant<proxy_header_incomplete, proxy_header, proxy_header_refused>;

constexpr std::string_view signature_1 = "PROXY ";
constexpr std::string_view signature_2{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t most_line_bytes = 107; // with its end

using address_family = ip_endpoint::address_family;
using address = std::array<std::uint8_t, 16>;

/// All of `digits`, and no more of them than `most`.
std::optional<unsigned> number_in(std::string_view digits, std::size_t most, int base) {
    unsigned value = 0;
    const auto* const last = digits.data() + digits.size();
    const auto [end, error] = std::from_chars(digits.data(), last, value, base);
    return error == std::errc() && end == last && digits.size() <= most ? std::optional(value)
                                                                        : std::nullopt;
}

/// A leading zero is octal to some and decimal to others: to nobody here.
bool read_v4(std::string_view text, std::uint8_t* into) {
    for (int i = 0; i < 4; ++i) {
        const auto end = i < 3 ? text.find('.') : text.size();
        const auto digits = text.substr(0, end);
        const auto value = number_in(digits, 3, 10);
        if (end == std::string_view::npos || !value || *value > 255 ||
            (digits.size() > 1 && digits[0] == '0')) {
            return false;
        }
        *into++ = static_cast<std::uint8_t>(*value);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return true;
}

/// As RFC 4291 has it: one "::" stands for one group or more, the last two may be an IPv4 address.
bool read_v6(std::string_view text, address& into) {
    std::size_t filled = 0;
    std::optional<std::size_t> gap;
    if (text.starts_with("::")) {
        gap = 0;
        text.remove_prefix(2);
    }
    while (!text.empty()) {
        const auto end = std::min(text.find(':'), text.size());
        const auto group = text.substr(0, end);
        text.remove_prefix(end);
        if (text.empty() && group.find('.') != std::string_view::npos) {
            if (filled + 4 > into.size() || !read_v4(group, into.data() + filled)) {
                return false;
            }
            filled += 4;
            break;
        }
        const auto value = number_in(group, 4, 16);
        if (!value || filled == into.size()) {
            return false;
        }
        into[filled++] = static_cast<std::uint8_t>(*value >> 8);
        into[filled++] = static_cast<std::uint8_t>(*value & 0xff);
        if (text.starts_with("::")) {
            if (gap) {
                return false;
            }
            gap = filled;
            text.remove_prefix(2);
        } else if (!text.empty()) {
            text.remove_prefix(1);
            if (text.empty()) {
                return false; // it ends in a colon
            }
        }
    }
    if (!gap) {
        return filled == into.size();
    }
    const auto at = [&into](std::size_t where) {
        return into.begin() + static_cast<std::ptrdiff_t>(where);
    };
    std::rotate(at(*gap), at(filled), into.end()); // behind it, all are zeros yet
    return filled < into.size();
}

std::optional<ip_endpoint> endpoint_in(std::string_view text, std::uint16_t port,
                                       address_family family) {
    ip_endpoint made{.family = family, .address = {}, .port = port};
    const bool good = family == address_family::ipv4 ? read_v4(text, made.address.data())
                                                     : read_v6(text, made.address);
    return good ? std::optional(made) : std::nullopt;
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
    const auto family = words[0] == "TCP4" ? address_family::ipv4 : address_family::ipv6;
    const auto port = port_in(words[3]), own_port = port_in(words[4]);
    if (port && own_port && endpoint_in(words[2], *own_port, family)) { // the balancer's own end
        header.source = endpoint_in(words[1], *port, family);
    }
    return header.source ? result(header) : proxy_header_refused{"an address is malformed"};
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
    ip_endpoint source{.family = family == tcp_4 ? address_family::ipv4 : address_family::ipv6,
                       .address = {},
                       .port = 0};
    const std::size_t address_bytes = source.address_bytes();
    if (command == 0 || (family != tcp_4 && family != tcp_6)) {
        return header;
    }
    if (length < 2 * address_bytes + 4) {
        return proxy_header_refused{"an address is cut off"};
    }
    const auto port = head_bytes + 2 * address_bytes;
    source.port = static_cast<std::uint16_t>(at(port) << 8 | at(port + 1));
    std::memcpy(source.address.data(), in.data() + head_bytes, address_bytes);
    header.source = source;
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
