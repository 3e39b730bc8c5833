#include "protocol/idle_session.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

namespace pgweir::protocol {

namespace {

struct unit {
    std::string_view name;
    double milliseconds;
};
// The next smaller one stands behind each: what is not a whole number is rounded to a multiple of
// that.
constexpr std::array units = {unit{"d", 86'400'000}, unit{"h", 3'600'000}, unit{"min", 60'000},
                              unit{"s", 1'000},      unit{"ms", 1},        unit{"us", 0.001}};

constexpr std::string_view spaces = " \t\n\v\f\r";

/// A number at the front of `text`, as C reads one; `end` is what follows it.
std::optional<double> read_number(const char* text, const char*& end) {
    char* stop = nullptr;
    errno = 0;
    double number = static_cast<double>(std::strtol(text, &stop, 0)); // 0x…, 0… as well
    if (*stop == '.' || *stop == 'e' || *stop == 'E' || errno == ERANGE) {
        errno = 0;
        number = std::strtod(text, &stop);
    }
    end = stop;
    return stop == text || errno == ERANGE || std::isnan(number) ? std::nullopt
                                                                 : std::optional(number);
}

std::optional<double> in_milliseconds(double number, std::string_view name) {
    for (std::size_t i = 0; i < units.size(); ++i) {
        if (units[i].name == name) {
            const double value = number * units[i].milliseconds;
            const double step = i + 1 < units.size() ? units[i + 1].milliseconds : 0;
            return step == 0 ? value : std::rint(value / step) * step;
        }
    }
    return std::nullopt;
}

} // namespace

std::optional<std::chrono::milliseconds> read_milliseconds(const std::string& value) {
    const char* end = nullptr;
    auto number = read_number(value.c_str(), end);
    if (!number) {
        return std::nullopt;
    }
    std::string_view rest(end);
    rest.remove_prefix(std::min(rest.find_first_not_of(spaces), rest.size()));
    if (!rest.empty()) {
        rest = rest.substr(0, rest.find_last_not_of(spaces) + 1);
        number = in_milliseconds(*number, rest);
    }
    constexpr double most = std::numeric_limits<int>::max();
    const double rounded = number ? std::rint(*number) : -1;
    return rounded < 0 || rounded > most
               ? std::nullopt
               : std::optional(std::chrono::milliseconds(static_cast<std::int64_t>(rounded)));
}

std::chrono::milliseconds idle_limit_of(const setting_map& session, std::chrono::milliseconds own) {
    const auto set = session.find(idle_session_timeout);
    return set == session.end()
               ? own
               : read_milliseconds(set->second).value_or(std::chrono::milliseconds(0));
}

setting_map without_idle_limit(setting_map session, std::chrono::milliseconds own) {
    if (own == std::chrono::milliseconds(0)) {
        session.erase(std::string(idle_session_timeout));
    } else {
        session.insert_or_assign(std::string(idle_session_timeout), "0");
    }
    return session;
}

} // namespace pgweir::protocol
