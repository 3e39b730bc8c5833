// What a server still owes: one entry per message sent to it that will be answered, in order, each
// marked with where its answer goes. This is the one place that knows PostgreSQL's rules about
// which messages are answered at all: skip-until-Sync after an error in the extended protocol,
// messages that COPY FROM STDIN eats, CopyDone and CopyFail ignored when no COPY runs.
//
// Owner: a server connection. Thread: its worker's. Life: as long as the connection. Sans-io.
// Tests: tests/protocol/reply_queue_test.cpp (scripts) and conversation_test.cpp (against a model
// of the server, tests/support/postgres_model.hpp). Source: PostgreSQL documentation, "Message
// Flow"; SocketBackend() and PostgresMain() in src/backend/tcop/postgres.c, CopyGetData() in
// src/backend/commands/copyfromparse.c.
#pragma once

#include "protocol/message.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

/// Where the answer to a message goes.
enum class fate : std::uint8_t {
    forward, // to the client that holds the server
    swallow, // nowhere: the message was one of ours
};

/// What a message from the server means to whoever waits for it.
struct reply {
    enum class kind : std::uint8_t {
        asynchronous, // notice, notification, parameter status, the FATAL of a server that leaves
                      // while it owes nothing: belongs to no request
        partial,      // more of this answer is to come
        completes,    // the last message of the answer to one of our messages
        ready,        // ReadyForQuery, and it was owed
        unexpected,   // nothing owed this: the two sides have lost step, the server must be closed
    };
    kind what;
    fate where = fate::forward;
};

/// What became of a message whose outcome somebody wants to know (`ask::noted`).
enum class outcome : std::uint8_t {
    done,    // answered without an error
    failed,  // answered by an error
    skipped, // never looked at: an error came before it, in the same batch
};

/// How a message is asked, where that is not plain from its type.
struct ask {
    bool describes_statement = false; // Describe: of a statement, not of a portal
    bool errors_to_client = false; // swallowed when it succeeds; an error is for the client, as if
                                   // the message behind it had failed
    bool noted = false;            // its outcome is kept for outcomes()
};

class reply_queue {
public:
    /// The server is for replication: a Query may be answered by CopyBothResponse.
    void expect_copy_both() { copy_both_expected_ = true; }

    /// A message is being forwarded to the server. CopyData, Flush and Terminate are owed nothing
    /// and need not be told (but may be).
    void sent(frontend type, fate where = fate::forward, ask how = {}) {
        const auto what = extended_request(type, how);
        if (what == no_request || skipping_) {
            other_sent(type, where, how);
            return;
        }
        push(marked(what, where, how));
        unsynced_ = batch_open_ = true;
    }

    /// A message of ours, of the extended protocol, goes in front of the client's next, into the
    /// same batch. Should it fail, nothing of what stands behind it is carried out, and the server
    /// is closed: so whatever is sent behind it may take it for done.
    void sent_ahead(frontend type) { push(marked(extended_request(type, {}), fate::swallow, {})); }

    /// A message has come from the server. `sqlstate` matters for ErrorResponse only.
    [[nodiscard]] reply received(backend type, std::string_view sqlstate = {});

    /// Where received() would say that a message of this type belongs, without taking it.
    [[nodiscard]] fate where(backend type) const {
        if (settling_doubt_ && type == backend::close_complete) [[unlikely]] {
            return fate::swallow;
        }
        if (type == backend::notification_response || !next_is_swallowed()) {
            return fate::forward;
        }
        const bool error_of_theirs =
            type == backend::error_response && (entries_[head_] & errors_to_client_bit) != 0;
        return error_of_theirs ? fate::forward : fate::swallow;
    }

    /// What has become of the noted messages since clear_outcomes(), in the order they were sent.
    [[nodiscard]] std::span<const outcome> outcomes() const { return outcomes_; }
    void clear_outcomes() { outcomes_.clear(); }

    /// How many Syncs have been sent: messages sent under the same number fail together.
    [[nodiscard]] std::uint64_t batch() const { return batch_; }

    /// An error has come whose batch is going to be sent once more: the ReadyForQuery that ends it
    /// is not for the client. False (and nothing changes) if that is not what is owed next.
    [[nodiscard]] bool swallow_ready();

    /// Nothing is owed: every message sent has been answered or is known not to be answered.
    [[nodiscard]] bool empty() const { return head_ == tail_; }
    [[nodiscard]] std::size_t size() const { return tail_ - head_; }

    /// ReadyForQuery messages still owed to the client, and those owed to ourselves.
    [[nodiscard]] std::size_t owed_ready(fate where) const;

    /// COPY FROM STDIN runs: the server reads CopyData now and answers nothing until it ends.
    [[nodiscard]] bool in_copy_in() const { return phase_ == phase::copy_in; }

    /// An extended-protocol message failed and no Sync has been sent since: the server discards
    /// everything until one comes.
    [[nodiscard]] bool skipping_until_sync() const { return skipping_; }

    /// A message of the extended protocol was sent after the last Sync, Query or FunctionCall that
    /// the server heeds, so that it may be inside a batch although nothing is owed (Flush).
    [[nodiscard]] bool batch_open() const { return batch_open_; }

    /// A Sync has been sent behind CopyData that may belong to a COPY, which would eat it: should
    /// the COPY fail, nobody will know whether it has (in_doubt()).
    [[nodiscard]] bool doubt_ahead() const { return sync_behind_copy_data_; }
    /// CopyDone or CopyFail has been sent and may be what ends the COPY that runs.
    [[nodiscard]] bool copy_end_sent() const { return copy_end_sent_; }

    /// A Query sent now might be skipped because of something sent before it: messages of the
    /// extended protocol have been sent after the last Sync, and not all is known to be well.
    [[nodiscard]] bool may_skip() const { return skipping_ || (unsynced_ && !empty()); }

    /// A batch sent now is one of its own: no Sync of ours would end what the client has begun and
    /// not ended, nor a skipping, and no failure before it would have it skipped.
    [[nodiscard]] bool between_batches() const { return !batch_open() && !may_skip(); }

    /// How many ReadyForQuery will come cannot be known: a Sync was sent that a failed COPY may or
    /// may not have eaten, or an error came in an idle moment of an open batch. From here on
    /// every reply is taken as the client's, until it is settled.
    [[nodiscard]] bool in_doubt() const { return in_doubt_; }

    /// A ReadyForQuery has come since, and nothing else can come for what has been sent: a message
    /// of ours that is answered by anything else will tell where that ends.
    [[nodiscard]] bool may_settle_doubt() const;
    /// … has been sent: Close of a statement that there is not, and Sync (append_doubt_settling()).
    /// Nothing of the client's is to be sent before it has been answered. An error meanwhile is
    /// `unexpected`.
    void settle_doubt();
    [[nodiscard]] bool is_settling_doubt() const { return settling_doubt_; }

    /// The server will answer without being asked for more: waiting has an end.
    [[nodiscard]] bool answers_will_come() const {
        return !in_doubt_ && owed_ready(fate::forward) + owed_ready(fate::swallow) != 0;
    }
    /// A message of ours may be put in front of the client's next. Not into a COPY, where it would
    /// be read as a part of it, nor where it may become impossible to tell whose the answers are.
    /// Most often an answer will tell; behind the end of a COPY with no Sync none will come, and
    /// there it is safe.
    [[nodiscard]] bool ours_may_go() const {
        const bool in_copy = in_copy_in() && (!copy_end_sent() || answers_will_come());
        return !(doubt_ahead() && answers_will_come()) && !in_copy && !in_doubt();
    }
    /// … may not now, but when an answer has come.
    [[nodiscard]] bool ours_may_go_soon() const {
        return !ours_may_go() && answers_will_come() && (!in_copy_in() || copy_end_sent());
    }

    /// More entries than a server could hold back answers for: stop reading from the client until
    /// `size()` has halved. PostgreSQL flushes its 8 KiB of answers long before.
    static constexpr std::size_t high_water = 65'536;
    [[nodiscard]] bool full() const { return size() >= high_water; }

    /// The reply expected next belongs to a message of ours (false when nothing is owed).
    [[nodiscard]] bool next_is_swallowed() const {
        return !empty() && !in_doubt_ && (entries_[head_] & swallow_bit) != 0;
    }

    /// … and it is the Describe of a statement.
    [[nodiscard]] bool describes_for_us() const {
        return next_is_swallowed() && request_of(entries_[head_]) == request::describe_statement;
    }

private:
    // What an entry waits for. CopyDone and CopyFail are answered by nothing themselves; they are
    // kept as the place where a COPY before them ends.
    enum class request : std::uint8_t {
        parse,
        bind,
        describe_statement,
        describe_portal,
        execute,
        close,
        query,
        function_call,
        sync,
        copy_done,
        copy_fail,
    };
    // How far the answer to the front entry has come.
    enum class phase : std::uint8_t {
        fresh,
        described, // ParameterDescription has come, RowDescription or NoData is next
        copy_in,   // CopyInResponse has come
        copy_out,  // CopyOutResponse has come
        copy_both, // CopyBothResponse has come (replication): it ends with CommandComplete or rows
        answered,  // a statement of this Query, or this FunctionCall, has been answered
        failed,    // ErrorResponse has come, only ReadyForQuery can follow
    };
    enum class meaning : std::uint8_t { misfit, partial, completes, ready };
    struct judgement {
        meaning what;
        phase next = phase::fresh;
    };

    // An entry is one byte: what it waits for, and four marks.
    using entry = std::uint8_t;
    static constexpr entry request_mask = 0x0f;
    static constexpr entry swallow_bit = 0x10;
    // The server was idle inside an open batch when this was sent (see failed()).
    static constexpr entry into_idle_batch_bit = 0x20;
    static constexpr entry errors_to_client_bit = 0x40;
    static constexpr entry noted_bit = 0x80;

    [[nodiscard]] static request request_of(entry e) {
        return static_cast<request>(e & request_mask);
    }
    [[nodiscard]] static fate fate_of(entry e) {
        return (e & swallow_bit) != 0 ? fate::swallow : fate::forward;
    }
    // What a message of the extended protocol other than Sync waits for; of others: no_request.
    static constexpr auto no_request = request::copy_fail;
    [[nodiscard]] static constexpr request extended_request(frontend type, ask how) {
        switch (type) {
        case frontend::parse:
            return request::parse;
        case frontend::bind:
            return request::bind;
        case frontend::describe:
            return how.describes_statement ? request::describe_statement : request::describe_portal;
        case frontend::execute:
            return request::execute;
        case frontend::close:
            return request::close;
        default:
            return no_request;
        }
    }
    [[nodiscard]] static constexpr entry marked(request what, fate where, ask how) {
        return static_cast<entry>(static_cast<unsigned>(what) |
                                  (where == fate::swallow ? unsigned{swallow_bit} : 0U) |
                                  (how.errors_to_client ? unsigned{errors_to_client_bit} : 0U) |
                                  (how.noted ? unsigned{noted_bit} : 0U));
    }
    [[nodiscard]] static bool owes_ready(request what) {
        return what == request::sync || what == request::query || what == request::function_call;
    }
    [[nodiscard]] judgement judge(request what, phase now, backend type) const;
    [[nodiscard]] judgement judge_statement(request what, phase now, backend type) const;

    void other_sent(frontend type, fate where, ask how);
    void push(entry e) {
        if (tail_ == entries_.size()) [[unlikely]] {
            make_room();
        }
        if (batch_open_ && empty()) {
            e |= into_idle_batch_bit;
        }
        entries_[tail_++] = e;
    }
    void make_room();
    void pop(outcome how);
    void read_over_copy_ends();
    void look_for_copy_ends(std::size_t from);
    void note(outcome how) { outcomes_.push_back(how); }
    void forget(entry e);
    void skip_to_sync();
    [[nodiscard]] std::size_t syncs_copy_reads() const;
    bool finish_copy();
    [[nodiscard]] reply failed(std::string_view sqlstate);
    [[nodiscard]] reply take(judgement verdict);
    [[nodiscard]] reply received_in_doubt(backend type, std::string_view sqlstate);
    [[nodiscard]] reply received_settling(backend type);

    // From head_ to tail_. Those before are done with, what is behind is room for more.
    std::vector<entry> entries_;
    std::size_t head_ = 0, tail_ = 0;
    std::array<std::size_t, 2> ready_{}; // entries that owe a ReadyForQuery, by fate
    std::vector<outcome> outcomes_;
    std::uint64_t batch_ = 1;
    phase phase_ = phase::fresh;
    bool skipping_ = false;
    bool batch_open_ = false;
    bool copy_data_sent_ = false; // behind something that has not been answered yet
    bool sync_behind_copy_data_ = false;
    bool copy_end_sent_ = false;
    bool copy_data_behind_end_ = false; // behind the last CopyDone or CopyFail, too
    bool sync_behind_that_ = false;
    bool copy_both_expected_ = false;
    bool unsynced_ = false; // as batch_open_, but only a Sync ends it
    bool in_doubt_ = false;
    bool ready_in_doubt_ = false; // and no error since
    bool astray_ = false;         // so far that nobody can tell what has been answered
    bool settling_doubt_ = false;
};

} // namespace pgweir::protocol
