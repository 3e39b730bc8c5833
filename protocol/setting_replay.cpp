#include "protocol/setting_replay.hpp"

#include "protocol/message.hpp"

namespace pgweir::protocol {

namespace {

void append_set_config(std::string& out, reply_queue& owed, const setting_map& wanted) {
    std::string sql = "SELECT ";
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        sql += i == 0 ? "" : ", ";
        sql += "pg_catalog.set_config($" + std::to_string(2 * i + 1) + ", $" +
               std::to_string(2 * i + 2) + ", false)";
    }
    const auto parameters = static_cast<std::uint16_t>(2 * wanted.size());
    message_writer writer(out);
    writer.begin(frontend::parse).c_string("").c_string(sql).u16(parameters);
    constexpr std::uint32_t text_oid = 25;
    for (std::uint16_t i = 0; i < parameters; ++i) {
        writer.u32(text_oid);
    }
    writer.end();
    writer.begin(frontend::bind).c_string("").c_string("").u16(0).u16(parameters);
    for (const auto& [name, value] : wanted) {
        for (const auto& text : {name, value}) {
            writer.u32(static_cast<std::uint32_t>(text.size())).raw(text);
        }
    }
    writer.u16(0).end();
    writer.begin(frontend::execute).c_string("").u32(0).end();
    writer.begin(frontend::sync).end();
    for (const auto type : {frontend::parse, frontend::bind, frontend::execute, frontend::sync}) {
        owed.sent(type, fate::swallow);
    }
}

} // namespace

void append_setting_replay(std::string& out, reply_queue& owed, const setting_map& carried,
                           const setting_map& wanted) {
    if (carried == wanted) {
        return;
    }
    if (!carried.empty()) {
        append_query(out, "RESET ROLE; RESET ALL");
        owed.sent(frontend::query, fate::swallow);
    }
    if (!wanted.empty()) {
        append_set_config(out, owed, wanted);
    }
}

} // namespace pgweir::protocol
