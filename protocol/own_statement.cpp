#include "protocol/own_statement.hpp"

#include "protocol/message.hpp"
#include "protocol/prepared_statement.hpp"

namespace pgweir::protocol {

void append_own_statement(std::string& out, reply_queue& owed, std::string_view name,
                          std::string_view sql, ask how) {
    append_close_statement(out, name); // it is there still where it has failed before
    owed.sent(frontend::close, fate::swallow);
    message_writer to(out);
    to.begin(frontend::parse).c_string(name).c_string(sql).u16(0).end();
    owed.sent(frontend::parse, fate::swallow, how);
    to.begin(frontend::bind).c_string(name).c_string(name).u16(0).u16(0).u16(0).end();
    owed.sent(frontend::bind, fate::swallow, how);
    to.begin(frontend::execute).c_string(name).u32(0).end();
    owed.sent(frontend::execute, fate::swallow, how);
    to.begin(frontend::close).u8('P').c_string(name).end();
    owed.sent(frontend::close, fate::swallow);
    append_close_statement(out, name);
    owed.sent(frontend::close, fate::swallow);
}

void append_apart_begin(std::string& out, reply_queue& owed) {
    append_own_statement(out, owed, apart_name, "BEGIN ISOLATION LEVEL READ COMMITTED");
    append_own_sync(out, owed);
}

void append_apart_end(std::string& out, reply_queue& owed) {
    append_own_statement(out, owed, apart_name, "COMMIT");
    append_own_sync(out, owed);
}

void append_own_sync(std::string& out, reply_queue& owed) {
    message_writer(out).begin(frontend::sync).end();
    owed.sent(frontend::sync, fate::swallow);
}

void append_doubt_settling(std::string& out, reply_queue& owed) {
    constexpr std::string_view nothing = "pgw_doubt"; // no client's name begins like that
    append_close_statement(out, nothing);
    message_writer(out).begin(frontend::sync).end();
    owed.settle_doubt();
}

} // namespace pgweir::protocol
