// The prepared statements a server has, the least recently used first, and the journal of those
// changes to them (and to what its client believes) that are on their way and not answered yet.
//
// Owner: a server connection; goes with it from client to client. Thread: its worker's. Sans-io.
// Tests: tests/protocol/statement_router_test.cpp.
#pragma once

#include "protocol/client_statements.hpp"
#include "protocol/prepared_statement.hpp"
#include "protocol/reply_queue.hpp"

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pgweir::protocol {

/// What a client needs of a server's statement beside its id.
struct statement_needs {
    parse_time not_before = {};            // tables have changed since
    statement_shape shape = unknown_shape; // it must have been described as this, if anything
};

class server_statements {
public:
    enum class presence : std::uint8_t {
        absent,
        present,
        unsettled, // only an answer to an earlier batch will tell
    };
    /// What does not have what is needed counts as absent.
    [[nodiscard]] presence of(const statement_id& id, std::uint64_t batch,
                              const statement_needs& what = {}) const;
    /// It was parsed earlier than that.
    [[nodiscard]] bool is_older(const statement_id& id, std::uint64_t count) const;
    [[nodiscard]] std::size_t size() const { return items_.size(); }
    /// Nothing that was sent in another batch than this one is on its way.
    [[nodiscard]] bool settled_for(std::uint64_t batch) const;
    /// It is being used.
    void touch(const statement_id& id);

    /// What is on its way, in the order in which it is sent; each has a noted entry in the server's
    /// reply queue.
    struct change {
        enum class kind : std::uint8_t {
            parse,             // the client's Parse of `what` under `name`
            provide,           // ours, because the server lacks `what`
            evict,             // our Close of the statement `id`
            close,             // the client's Close of `name`
            unnamed_parse,     // the client's; `serial` is its number
            unnamed_provide,   // ours of the same
            unnamed_destroyed, // by the client's Close or Query, or by our Close
            describe,          // our Describe of `what`
        };
        // Of those that are about a statement with a name. Apart, so that a journal of unnamed
        // ones, which are the many, is small.
        struct named {
            statement_id id{};
            std::string name = {};
            statement_ref what = {};
            statement_ref before = {}; // what `name` stood for (parse, close)
            bool was_present = false;
        };
        kind is;
        client_statements::serial serial = 0;
        std::unique_ptr<named> of = {};
        [[nodiscard]] static change about(kind is, named&& of) {
            return {.is = is, .of = std::make_unique<named>(std::move(of))};
        }
    };
    void sent(change what, std::uint64_t batch, const parse_time& when = {});
    /// The outcomes that the reply queue has noted. `mine`: of the client that holds the server,
    /// if it is still there.
    void apply(std::span<const outcome> outcomes, client_statements* mine);
    [[nodiscard]] bool anything_in_flight() const { return head_ != journal_.size(); }

    /// What a Describe of ours has been answered with; its outcome comes behind. First the body of
    /// ParameterDescription, empty where it is too long, then that of RowDescription.
    void told_parameters(bytes description) { parameters_ = as_text(description); }
    void told_rows(bytes description, bool too_long);

    /// Which to give up so that one more fits into `limit`. Nothing: it fits, or none can be
    /// spared.
    [[nodiscard]] const statement_id* victim(std::size_t limit, std::uint64_t batch) const;

    /// SQL has deallocated all of them, or nobody knows what is left.
    void all_deallocated();
    /// SQL has deallocated what the client's `name` (none: any) stood for; what is under way was
    /// sent behind that.
    void deallocated(std::string_view name);
    /// This one is not, or no longer, what it should be.
    void doubt(const statement_id& id);

    // The server's unnamed statement: whose is it?
    // -------------------------------------------------

    /// A client takes the server over; its next message about its unnamed statement is number
    /// `next`.
    void taken_over(client_statements::serial next) { unnamed_from_ = next; }
    /// The server's unnamed statement is what the client's messages, as far as sent in this lease,
    /// have made of it. False: it is somebody else's, or there is none.
    [[nodiscard]] bool unnamed_is_of(const client_statements& mine) const {
        return mine.unnamed_in_flight() ? mine.unnamed_last() >= unnamed_from_
                                        : mine.unnamed_truth() >= unnamed_from_;
    }

    /// For a server on its way to another worker.
    struct held {
        statement_id id;
        std::uint64_t epoch;
        statement_shape shape;
    };
    [[nodiscard]] std::vector<held> contents() const;
    void restore(std::span<const held> contents);

private:
    struct item {
        statement_id id;
        bool present = false;
        std::uint32_t in_flight = 0;
        std::uint64_t batch = 0;
        parse_time when = {};                  // it was last parsed
        statement_shape shape = unknown_shape; // as it was described since
    };
    using item_list = std::list<item>;
    using position = item_list::iterator;

    position get(const statement_id& id);
    void set(position at, bool present);
    void settle(const statement_id& id, bool present);
    void undo(const change& what, client_statements* mine, bool failed);
    void carry_out(const change& what, client_statements* mine);
    [[nodiscard]] described_statement next_description();
    void describe(const statement_id& id, statement_shape shape);
    void drop_applied();

    item_list items_;   // present; the least recently used first
    item_list leaving_; // not present, but something is in flight: nobody looks through these
    std::unordered_map<statement_id, position, statement_id_hash> by_id_;
    std::vector<change> journal_; // those before head_ are done with
    std::size_t head_ = 0;
    // Of Describe messages whose outcomes have not been applied.
    std::vector<described_statement> descriptions_;
    std::string parameters_; // the first half of the next
    client_statements::serial unnamed_from_ = 1;
};

} // namespace pgweir::protocol
