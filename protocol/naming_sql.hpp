// PREPARE, EXECUTE and DEALLOCATE know statements by the names that the client has given them, and
// so must the server while such a text runs: it is lent them (lent_statements.hpp).
//
// Owner: nobody, it is part of route_statement_message(). Sans-io.
// Tests: tests/protocol/statement_router_test.cpp, integration/differential/scripts/named_*.
#pragma once

#include "protocol/statement_names.hpp"
#include "protocol/statement_router.hpp"

#include <cstdint>
#include <span>
#include <string_view>

namespace pgweir::protocol {

class naming_sql {
public:
    naming_sql(const statement_link& link, reply_queue& owed, relay_sink& to)
        : link_(link)
        , owed_(owed)
        , to_(to) {}

    using deallocation = client_statements::deallocation;
    enum class lent : std::uint8_t {
        in_batch, // for a message of the extended protocol: an error is that batch's
        apart,    // for a Query, in a batch of its own: an error is nobody's
        in_front, // for a Query in an open batch, which an error would skip: none may come
    };

    /// It depends on an earlier batch, of which an answer will tell.
    [[nodiscard]] bool unsettled(const client_statements::named* known) const;
    /// What has become of a DEALLOCATE of it.
    [[nodiscard]] deallocation gone(std::string_view name) const;
    /// False: what became of a name that the text uses is not known yet.
    [[nodiscard]] bool settled(std::string_view sql) const;
    /// The server is lent what a text names that a message of this type carries. What is only
    /// deallocated may say anything. True if the text names any.
    bool lend(frontend type, std::string_view sql, lent how);
    /// … one, of which nothing matters but that it is there.
    void lend_any(std::string_view name, lent how);

private:
    [[nodiscard]] bool is_there(std::string_view name) const;
    void note_deallocation(frontend type, std::string_view name);
    void keep_what_is_prepared(std::span<const sql_statement_name> used);

    const statement_link& link_;
    reply_queue& owed_;
    relay_sink& to_;
};

} // namespace pgweir::protocol
