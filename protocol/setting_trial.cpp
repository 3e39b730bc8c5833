#include "protocol/setting_trial.hpp"

#include "protocol/prepared_statement.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

namespace pgweir::protocol {

namespace {

constexpr std::array<std::string_view, 2> identities = {"session_authorization", "role"};
constexpr std::size_t most_tried = 1'000; // PostgreSQL takes 1664 columns

using step = std::pair<std::string_view, std::optional<std::string_view>>; // no value: its default

} // namespace

bool needs_trial(std::string_view name, const permitted_settings& permitted) {
    return !is_everybodys(name) && !permitted.contains(name) &&
           std::find(identities.begin(), identities.end(), name) == identities.end();
}

setting_map settings_to_try(const setting_map& carried, const permitted_settings& permitted) {
    setting_map to_try;
    std::copy_if(
        carried.begin(), carried.end(), std::inserter(to_try, to_try.end()),
        [&permitted](const auto& setting) { return needs_trial(setting.first, permitted); });
    return to_try;
}

bool may_try_settings(const setting_map& carried, const setting_map& to_try) {
    return to_try.empty() || (to_try.size() <= most_tried && !carried.contains("exit_on_error"));
}

void append_setting_trial(std::string& out, reply_queue& owed, const setting_map& carried,
                          const setting_map& to_try) {
    std::vector<step> steps;
    for (const auto name : identities) {
        if (carried.contains(name)) {
            steps.emplace_back(name, std::nullopt);
        }
    }
    steps.insert(steps.end(), to_try.begin(), to_try.end());
    std::string sql = "SELECT";
    for (std::size_t i = 0; i < steps.size(); ++i) {
        sql += (i == 0 ? " " : ", ") + ("pg_catalog.set_config($" + std::to_string(2 * i + 1)) +
               ", $" + std::to_string(2 * i + 2) + ", true)";
    }
    append_close_statement(out, trial_name);
    message_writer to(out);
    to.begin(frontend::parse).c_string(trial_name).c_string(sql).u16(0).end();
    to.begin(frontend::bind).c_string(trial_name).c_string(trial_name).u16(0);
    to.u16(static_cast<std::uint16_t>(2 * steps.size()));
    for (const auto& [name, value] : steps) {
        to.u32(static_cast<std::uint32_t>(name.size())).raw(name);
        to.u32(value ? static_cast<std::uint32_t>(value->size()) : 0xffffffff);
        to.raw(value.value_or(""));
    }
    to.u16(0).end();
    to.begin(frontend::execute).c_string(trial_name).u32(0).end();
    to.begin(frontend::close).u8('P').c_string(trial_name).end();
    append_close_statement(out, trial_name);
    message_writer(out).begin(frontend::sync).end();
    for (const auto type : {frontend::close, frontend::parse, frontend::bind, frontend::execute,
                            frontend::close, frontend::close, frontend::sync}) {
        owed.sent(type, fate::swallow);
    }
}

} // namespace pgweir::protocol
