#include "protocol/reported_parameters.hpp"

#include <numeric>

namespace pgweir::protocol {

namespace {

// As many of these as there may be are within the bound: only longer ones are added up.
constexpr std::size_t short_bytes = most_parameter_bytes / most_parameters / 2;

} // namespace

bool note_parameter(reported_parameters& known, std::string_view name, std::string_view value) {
    const auto at = known.try_emplace(std::string(name)).first;
    at->second = value;
    if (known.size() > most_parameters) {
        return false;
    }
    if (name.size() + value.size() <= short_bytes) {
        return true;
    }
    const auto held = std::accumulate(known.begin(), known.end(), std::size_t{0},
                                      [](std::size_t sum, const auto& each) {
                                          return sum + each.first.size() + each.second.size();
                                      });
    return held <= most_parameter_bytes;
}

} // namespace pgweir::protocol
