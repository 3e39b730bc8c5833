// A server connection as the engine knows it. Its place in the pool (idle, leased, …) is
// pool::server's `state`; what it is busy with on its own account is `task`.
//
// Owner: the engine's table of servers, keyed by id; moves to another engine as a value
// (server_in_transit). Thread: the worker's. Tests: tests/simulation, integration.
#pragma once

#include "daemon/engine/audit_trail.hpp"
#include "daemon/engine/buffer.hpp"
#include "daemon/engine/listening.hpp"
#include "daemon/engine/names_reading.hpp"
#include "daemon/engine/outbox.hpp"
#include "daemon/engine/pool_entry.hpp"
#include "daemon/engine/ports.hpp"
#include "pool/close_reason.hpp"
#include "pool/shard.hpp"
#include "protocol/lenient_replay.hpp"
#include "protocol/own_statement.hpp"
#include "protocol/pin_question.hpp"
#include "protocol/relay.hpp"
#include "protocol/reply_queue.hpp"
#include "protocol/sequence_memory.hpp"
#include "protocol/server_login.hpp"
#include "protocol/session_audit.hpp"
#include "protocol/setting_question.hpp"
#include "protocol/setting_replay.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace pgweir::daemon {

class engine;
struct client;
struct pool_part;

enum class server_task : std::uint8_t {
    none,     // serves, or is free
    connect,  // the socket is being opened
    login,    // logging in
    drain,    // its client is gone; what it still owes is read and dropped
    clean,    // ROLLBACK or DISCARD ALL is under way
    settle,   // free but for a cancel request not closed yet, or half a message
    learn,    // is asked what names hide, or waits until that has been read
    audit,    // is asked what its session has
    farewell, // Terminate was sent; waits for PostgreSQL to close
};
[[nodiscard]] std::string_view to_string(server_task task);

/// A client's settings that have been sent ahead of its first message (append_settings_ahead), and
/// are not known to be in effect.
enum class settings_ahead : std::uint8_t {
    none,
    batch_open,  // the batch that they are in has not been ended by the client
    batch_ended, // … has: nothing more may be sent before they are answered
};

/// What a client has sent behind its settings while a library may still refuse those, or another's
/// statement_timeout end them, and what the server carried before (library_settings.cpp). A copy:
/// it may come in several reads, and goes behind messages of ours when it is sent again.
class sent_behind {
public:
    /// Nothing yet; what comes is kept.
    void keep(std::shared_ptr<const protocol::setting_map> carried_before) {
        carried_before_ = std::move(carried_before);
        keeps_ = true;
    }
    /// More than fits: all of it is forgotten, and nothing is kept any more.
    void append(protocol::bytes sent) {
        constexpr std::size_t most_bytes = 64 * 1024;
        if (!keeps_) {
            return;
        }
        if (bytes_.size() + sent.size() > most_bytes) {
            forget();
            return;
        }
        bytes_.append(protocol::as_text(sent));
    }
    void forget() {
        keeps_ = goes_again_ = false;
        bytes_.clear();
        if (bytes_.capacity() > small_buffer_bytes) {
            bytes_ = {};
        }
        carried_before_.reset();
    }
    /// The settings have been refused: all that has been kept is to be sent again. What the server
    /// carries instead of them.
    [[nodiscard]] std::shared_ptr<const protocol::setting_map> send_again() {
        keeps_ = false;
        goes_again_ = true;
        return std::exchange(carried_before_, nullptr);
    }
    /// So much of it has been.
    void sent_again(std::size_t size_bytes) {
        bytes_.erase(0, size_bytes);
        if (bytes_.empty()) {
            forget();
        }
    }

    /// While it keeps.
    [[nodiscard]] const protocol::setting_map& carried_before() const { return *carried_before_; }
    /// All that has been sent behind the settings is here.
    [[nodiscard]] bool keeps() const { return keeps_; }
    /// Some of it is to be sent again, in front of all else.
    [[nodiscard]] bool goes_again() const { return goes_again_; }
    [[nodiscard]] protocol::bytes unsent() const { return protocol::as_bytes(bytes_); }

private:
    std::shared_ptr<const protocol::setting_map> carried_before_;
    std::string bytes_;
    bool keeps_ = false;
    bool goes_again_ = false;
};

/// The front of what a client has asked for, for the log of slow statements; the text is looked
/// for, and literals are removed, when it is written, never before.
class statement_note {
public:
    void set(protocol::bytes messages) {
        size_ = static_cast<std::uint16_t>(std::min(messages.size(), front_.size()));
        std::copy_n(messages.begin(), size_, front_.begin());
    }
    void clear() { size_ = 0; }
    [[nodiscard]] protocol::bytes front() const { return {front_.data(), size_}; }
    [[nodiscard]] std::string_view text() const {
        return protocol::statement_at({front_.data(), size_});
    }

private:
    std::array<std::byte, 510> front_;
    std::uint16_t size_ = 0;
};

struct server final : pool::server, connection_events {
    explicit server(engine& home_)
        : home(home_) {}

    void on_read(time_point now, std::size_t count, boost::system::error_code error) override;
    void on_readable(time_point now) override;
    void on_writable(time_point now) override;
    void on_connected(time_point now, boost::system::error_code error) override;
    void on_secured(time_point now, const protocol::tls_facts* facts,
                    const protocol::tls_failure& failure) override;

    engine& home;
    std::unique_ptr<connection> socket;
    pool_part* pool = nullptr;
    std::shared_ptr<const server_access> access; // it was opened with
    std::uint32_t generation = 0;                // … and of the pool then
    client* user = nullptr;                      // who holds it
    client_id only_for;  // opened for that client alone (own_server.cpp); or the pool's
    client_id successor; // farewell: its slot is for a server of that client's
    server_task task = server_task::connect;
    bool reading = false;
    bool gone = false;           // about to be deleted
    bool bulk = false;           // its last read filled the buffer: the next one is larger
    bool blocked = false;        // its socket is full, wait_writable() is outstanding
    bool ready_current = false;  // the last thing sent was answered by ReadyForQuery
    bool secured = false;        // by TLS
    bool opened_again = false;   // with TLS after a try without, or the other way round
    bool told_to_end = false;    // Terminate has been sent, for a client that still listens
    bool tables_changed = false; // by the transaction that runs
    bool retryable_next = false; // what is being sent is `retryable` once it has been
    bool retries = false;        // that is going to be sent once more
    bool replaying = false;      // a client's settings are being applied, or others'
                                 // sequences forgotten
    bool replay_failed = false;  // … and PostgreSQL refused one
    settings_ahead ahead = settings_ahead::none;
    bool cancel_asked = false;       // by the client, since it was given this server
    bool discards_sequences = false; // DISCARD SEQUENCES is among what makes it the client's
    bool apart = false;              // a transaction of ours runs (apart.hpp)
    std::uint8_t apart_unheard = 0;  // so many ReadyForQuery of it say nothing
    bool reports_due = false;        // the client is told of parameters with its ReadyForQuery
    bool restoring = false;          // … to what RESET should have gone back to
    bool dirty = false;              // carries something of a client's that must be cleaned
    bool spoiled = false;            // … that cannot be cleaned
    bool copy_failed = false;        // CopyFail was sent for a client that is gone
    bool parameters_touched = false; // PostgreSQL reported a change while a client held it
    bool cut_off = false;            // its last client left in the middle of a message
    bool drain_cancelled = false;    // what it still runs for nobody has been cancelled
    bool leaving = false;            // PostgreSQL has said that it ends
    bool said_fatal = false;         // a FATAL of its own has been passed on to the client
    protocol::transaction_status status = protocol::transaction_status::idle;
    time_point ready_at{}; // its latest ReadyForQuery, whoever was answered
    std::uint32_t cancels_in_flight = 0;
    std::uint8_t timeout_lifts = 0;    // tries to lift another's statement_timeout; 0: it is not
    std::size_t replay_ready_owed = 0; // while replaying: so many ReadyForQuery end that
    std::size_t pinned_bytes = 0;      // at the front of `in`, in the client's outbox
    buffer in;
    buffer retryable; // a batch that was sent and uses a shared statement, until the first answer
    outbox out;
    protocol::server_stream stream;
    protocol::reply_queue owed;
    protocol::server_statements statements;
    std::shared_ptr<const protocol::setting_map> opened_with; // what RESET goes back to; of a
                                                              // client's own: nothing
    std::shared_ptr<const protocol::setting_map> carried;
    sent_behind behind;                                // the settings that are ahead
    std::unique_ptr<protocol::lenient_replay> lenient; // while replaying: nothing of the client's
                                                       // is sent
    // What is being answered: one of these at most.
    std::unique_ptr<protocol::setting_question> question;
    std::unique_ptr<protocol::pin_question> pin_question;
    protocol::kept_statements kept_statements;
    std::unique_ptr<names_question> names;
    std::unique_ptr<protocol::session_audit> audit;
    std::unique_ptr<audit_trail> trail; // of one that is going to be audited
    channel_errand errand = channel_errand::none;
    bool errand_failed = false;
    protocol::channel_set channels_told; // the answer to the errand so far
    client_id sequences_of; // whose nextval() it remembers, unless `sequences` says of several's;
                            // nothing: nobody's
    protocol::sequence_memory sequences;
    statement_note running;
    time_point deadline{};                // of the task, or of waiting for what names hide
    std::shared_ptr<pool_entry> room_for; // whose clients wait for PostgreSQL to have closed it
    /// It is being made the client's: nothing of the client's is sent before that is answered.
    [[nodiscard]] bool withholds() const { return lenient || timeout_lifts != 0; }
    /// PostgreSQL is answering what names hide.
    [[nodiscard]] bool asked_about_names() const {
        return names && names->at == names_question::step::asked;
    }
    /// It has, and that is being read.
    [[nodiscard]] bool waits_for_names() const {
        return names && names->at == names_question::step::being_read;
    }

    protocol::tls_mode sslmode = protocol::tls_mode::disable; // of this try
    std::unique_ptr<connection> left_socket;                  // … of the one before
    std::unique_ptr<protocol::server_login> login;
    protocol::cancel_key key; // PostgreSQL's own
    std::map<std::string, std::string> parameters;
    /// The same, interned; nullptr: since it was, one has changed.
    std::shared_ptr<const protocol::setting_map> reported;
    /// Its idle_session_timeout, where nobody has set one; 0: none.
    std::chrono::milliseconds own_idle_limit{};
    /// The role that whoever logs in begins with (ALTER ROLE … SET role).
    std::string own_role = "none";
    [[nodiscard]] protocol::login_identity own_identity() const { return {access->user, own_role}; }
    /// A hash of what its role and database had set when it logged in; 0: it is not known.
    std::int64_t role_settings = 0;
    protocol::error_words replay_error; // what PostgreSQL said of a setting
    connection::addresses where;
};

} // namespace pgweir::daemon
