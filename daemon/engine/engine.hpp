// The brain of one worker: every client, server and pool part it owns, and all that happens between
// them. Sans-io: the outside calls in with what happened and when (`now`), the engine answers
// through its ports. The daemon's worker runs it over sockets, tests/simulation over a made-up
// network with virtual time; it cannot tell the difference.
//
// Thread: the worker's, for every call. Engines of different workers share pool entries (atomics)
// and exchange values (engine_message), nothing else.
//
// The parts: engine.cpp (entry points, time, messages), client_*.cpp (login, requests, leaving),
// server_*.cpp (opening, relaying, giving back, cleaning), making_room.cpp, own_server.cpp,
// settings.cpp, names.cpp, pins.cpp, idle_limits.cpp, statements.cpp, sequences.cpp, audit.cpp,
// listening.cpp, listening_connection.cpp, cancel.cpp, snapshot.cpp.
#pragma once

#include "daemon/engine/client.hpp"
#include "daemon/engine/engine_message.hpp"
#include "daemon/engine/pool_entry.hpp"
#include "daemon/engine/pool_limits.hpp"
#include "daemon/engine/pool_part.hpp"
#include "daemon/engine/ports.hpp"
#include "daemon/engine/server.hpp"
#include "daemon/engine/snapshot.hpp"
#include "protocol/may_go_back.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace pgweir::daemon {

/// Counted per worker, not per pool. Relaxed, one writer.
struct engine_counters {
    pool::counter accepted;
    pool::counter clients;
    pool::counter statements;      // distinct prepared statements that clients refer to
    pool::counter statement_bytes; // … and what is held of their texts
    std::array<pool::counter, pool::client_close_count> closes;
    std::array<pool::counter, pool::client_close_count> login_failures; // ended before the welcome
};

class engine {
public:
    struct options {
        worker_index self;
        std::uint32_t workers = 1;
        std::string mock_secret;                            // protocol::client_login::options
        std::string statement_key = {};                     // protocol::statement_table's
        std::shared_ptr<const tls_context> client_tls = {}; // nothing: TLS is not offered
        std::vector<config::network> own_networks = {};     // this machine's
        /// Test-only: pool::limits::rotate.
        bool rotate_servers = false;
        /// For benchmarks: what clients do to their sessions is not looked at.
        bool track_sessions = true;
        /// Test-only: a bug for tests/simulation to find.
        enum class planted : std::uint8_t {
            none,
            released_too_early,
            settings_not_replayed,
            sequences_not_forgotten,
            unpinned_unseen,
            names_not_read,
        };
        planted bug = planted::none;
    };

    engine(options opts, engine_ports& ports, std::shared_ptr<const config::configuration> config);
    ~engine();
    engine(const engine&) = delete;
    engine& operator=(const engine&) = delete;

    // What happens outside ----------------------------------------------------------------------

    /// A client has connected.
    void accept(time_point now, std::unique_ptr<connection> socket, arrival how);
    void on_message(time_point now, engine_message message);
    void on_derived(time_point now, std::uint64_t ticket, protocol::secret salted_password);
    /// The answer of `asked` has been read (engine_ports::read_names).
    void on_names_read(time_point now, server_id asked, const names_outcome& what);
    /// What ports.look_up() was asked for.
    void on_looked_up(time_point now, std::uint64_t ticket, const login_answer& answer);
    /// What the console has to say: whole messages, ReadyForQuery among them.
    void on_console(time_point now, client_id who, std::string reply);
    void reconfigure(time_point now, std::shared_ptr<const config::configuration> config);
    /// For clients that come from now on.
    void use(std::shared_ptr<const tls_context> client_tls,
             std::vector<config::network> own_networks, std::string mock_secret) {
        options_.client_tls = std::move(client_tls);
        options_.own_networks = std::move(own_networks);
        options_.mock_secret = std::move(mock_secret);
    }
    /// Keep this pool's minimum open (told to every worker at start).
    void warm(time_point now, const std::shared_ptr<pool_entry>& entry);

    /// Time has passed. Call at next_deadline() or later.
    void sweep(time_point now);
    [[nodiscard]] time_point next_deadline() const { return deadline_; }

    /// Stop serving: clients between transactions are told 57P01, the others when they get there.
    void begin_shutdown(time_point now);
    /// … now: everybody is told.
    void finish_shutdown(time_point now);
    /// After begin_shutdown(): no clients and no servers are left.
    [[nodiscard]] bool empty() const { return clients_.empty() && servers_.empty(); }

    // What can be asked -------------------------------------------------------------------------

    [[nodiscard]] const engine_counters& counters() const { return counters_; }
    [[nodiscard]] const protocol::statement_table& statements() const { return statements_; }
    [[nodiscard]] std::vector<client_row> client_rows(time_point now) const;
    [[nodiscard]] std::vector<server_row> server_rows(time_point now) const;
    [[nodiscard]] std::vector<lease_row> lease_rows(time_point now, const pool_entry* only,
                                                    bool with_statements = true) const;
    [[nodiscard]] std::vector<pool_row> pool_rows(time_point now) const;
    [[nodiscard]] std::vector<pin_row> pin_rows(time_point now) const { return pins_.rows(now); }
    /// Invariants that hold between any two calls; a sentence for each that does not.
    [[nodiscard]] std::vector<std::string> broken_invariants() const;

private:
    friend struct client;
    friend struct server;
    struct cancel_attempt;

    // client_login.cpp: from the first byte to the welcome
    void pump_login(client& c, time_point now);
    void login_step(client& c, protocol::login_action action, time_point now);
    void begin_tls(client& c, bool direct);
    void refuse_login(client& c, protocol::login_refuse refuse, time_point now);
    void tell_refusal(client& c, const protocol::login_refuse& refuse, time_point now);
    void tell_late_refusals(time_point now);
    bool take_proxy_header(client& c, time_point now);
    void leave_login(client& c);
    bool count_login(client& c, time_point now);
    void choose_mock_method();
    protocol::login_action admit(client& c, const login_answer* known);
    config::hba_decision rule_for(const client& c, const config::user* listed,
                                  const login_answer* known) const;
    [[nodiscard]] bool is_in_the_dark(const config::user* listed,
                                      const config::hba_decision& decision,
                                      const login_answer& known) const;
    protocol::login_action refuse_in_the_dark(client& c, const login_answer& known);
    void look_again_later(const client& c, time_point now);
    void leave_look_up(client& c, time_point now);
    [[nodiscard]] time_point patience_of(const client& c,
                                         const protocol::login_find_user& ask) const;
    protocol::login_action terms_for(client& c, const config::user* listed,
                                     const config::hba_rule* rule, const login_answer& known);
    [[nodiscard]] protocol::login_action look_up_user(client& c, protocol::login_find_user ask);
    void authenticated(client& c, protocol::login_authenticated& done, time_point now);
    [[nodiscard]] std::optional<config::database>
    database_for(const protocol::startup_message& startup) const;
    [[nodiscard]] bool take_settings(client& c, protocol::startup_message& startup, time_point now);
    void welcome(client& c, time_point now);
    [[nodiscard]] std::shared_ptr<const protocol::server_welcome> latest_welcome(pool_part& part);
    void finish_welcome(client& c, server& s, time_point now);
    void send_welcome(client& c, const std::map<std::string, std::string>& parameters,
                      time_point now);
    [[nodiscard]] std::uint32_t unused_process_id();
    void send_console_welcome(client& c, time_point now);

    // client_requests.cpp: what a logged-in client sends
    void client_read(client& c, std::size_t count, boost::system::error_code error, time_point now);
    void pump(client& c, time_point now);
    [[nodiscard]] bool pump_idle(client& c, time_point now);
    [[nodiscard]] static bool waits_for_answer(const client& c, const server& s);
    void pump_active(client& c, time_point now);

    void pump_console(client& c, time_point now);
    [[nodiscard]] bool pump_discarding(client& c, time_point now);
    void ask_for_server(client& c, time_point now);
    void grant(client& c, server& s, time_point now);
    void refuse_request(client& c, protocol::error code, protocol::error_words words,
                        time_point now);
    void arm_read(client& c);

    // client_leaving.cpp: every way a client ends
    bool flush(client& c, time_point now);
    void set_state(client& c, client_state to, time_point now);
    void tell_and_close(client& c, pool::client_close reason, protocol::error code,
                        protocol::error_words words, time_point now);
    void close_when_sent(client& c, pool::client_close reason, time_point now);
    void end(client& c, pool::client_close reason, time_point now);
    [[nodiscard]] bool still_answering(client& c, pool::client_close reason, time_point now);
    [[nodiscard]] bool owes_last_answers(client& c);
    void leave_later(client& c, time_point now);
    void leave_unless_taking(client& c, time_point now);
    void leave_pool(client& c, pool::client_close reason, time_point now);
    void last_client_left(pool_part& part);
    void wait_timed_out(client& c, time_point now);
    void answer_exhausted(client& c, time_point now);
    [[nodiscard]] holders holders_of(const pool_entry& entry, time_point now) const;

    // server_opening.cpp
    server& open_server(pool_part& part, time_point now, client_id only_for = {});
    [[nodiscard]] protocol::server_login::options login_options(const server& s);
    void open_again(server& s, protocol::tls_mode mode);
    void server_login_step(server& s, protocol::server_login_action action, time_point now);
    void server_logged_in(server& s, protocol::server_ready& ready, time_point now);
    void report_reachable(pool_entry& entry);
    duration report_unreachable(pool_part& part, const connect_failure& why, time_point now);
    /// `gone`: there is no connection any more.
    void open_failed(server& s, pool::server_close reason, connect_failure why, time_point now,
                     bool gone = false);
    void fail_waiters(pool_part& part, time_point now);
    [[nodiscard]] server* take_server(client& c, time_point now);
    void grow(pool_part& part, time_point now);
    void wake_others(pool_part& part);

    // making_room.cpp: PostgreSQL has no connection left, and other pools' servers are idle
    void ask_for_room(pool_part& part, time_point now);
    [[nodiscard]] bool give_up_idle(const make_room& asked, time_point now);
    void room_made(const std::shared_ptr<pool_entry>& entry, time_point now);
    [[nodiscard]] std::uint32_t idle_of_others(const pool_entry& entry,
                                               protocol::server_refused::why reason) const;

    // own_server.cpp: servers opened for one client
    [[nodiscard]] static bool opens_for_clients(const pool_part& part);
    [[nodiscard]] static bool fits(const server& s, const client& c);
    [[nodiscard]] std::shared_ptr<const protocol::setting_map>
    without_application_name(protocol::setting_map settings);
    [[nodiscard]] static server* idle_for(const client& c);
    void replace_server(server& s, client& c, time_point now);
    [[nodiscard]] bool replace_idle(pool_part& part, time_point now);
    [[nodiscard]] client* take_successor(server& s);
    void ask_again(client& c, time_point now);
    void open_own_server(pool_part& part, time_point now);
    void own_server_ready(server& s, const protocol::server_welcome& welcome, time_point now);
    void own_server_failed(server& s, const connect_failure& why, time_point now);
    void stop_opening(client& c, time_point now);
    void refuse_beyond_bound(client& c, time_point now);

    // server_relay.cpp
    void server_read(server& s, std::size_t count, boost::system::error_code error, time_point now);
    void relay(server& s, time_point now);
    [[nodiscard]] bool relay_step(server& s, const protocol::server_step& step,
                                  protocol::bytes taken, time_point now);
    [[nodiscard]] bool done_with(const server& s) const;
    [[nodiscard]] bool relay_error(server& s, const protocol::server_step& step, bool ours,
                                   bool leaves_alone, time_point now);
    [[nodiscard]] bool relay_ready(server& s, const protocol::server_step& step, bool ours,
                                   time_point now);
    [[nodiscard]] bool replay_answered(server& s, time_point now);
    void server_ready_for_query(server& s, time_point now);
    bool flush(server& s);
    void arm_read(server& s);
    void server_gone(server& s, pool::server_close reason, boost::system::error_code error,
                     time_point now);

    // statements.cpp: prepared statements
    protocol::client_step forward(client& c, server& s, protocol::bytes in);
    void settle_statements(server& s);
    static void description_told(server& s, const protocol::server_step& step,
                                 protocol::bytes taken);
    void note_results_changed(client& c, server& s);
    [[nodiscard]] bool send_once_more(client& c, server& s, const protocol::server_step& step,
                                      protocol::bytes taken);
    void command_done(server& s, std::string_view tag, bool ours, time_point now);
    void pass_answer(client& c, server& s, const protocol::server_step& step, protocol::bytes taken,
                     time_point now);
    [[nodiscard]] static bool parameter_reported(server& s, const protocol::server_step& step,
                                                 bool ours, bool reported_later);
    static void take_result(server& s, const protocol::server_step& step, protocol::bytes taken);
    void pass_error(client& c, const protocol::server_step& step, protocol::bytes taken);

    // settings.cpp
    void give_settings(client& c, server& s);
    void owe_reports(const client& c, server& s);
    void replay_settings(client& c, server& s, protocol::refused_setting refused);
    [[nodiscard]] bool settings_refused(server& s, const protocol::server_step& step,
                                        time_point now);
    static protocol::bytes report_before_ready(client& c, server& s,
                                               const protocol::server_step& step,
                                               protocol::bytes taken);
    static void replays(server& s);
    void notice_parameters(client& c, server& s);
    void ask_about_settings(client& c, server& s);
    void settings_told(server& s);
    [[nodiscard]] bool try_elsewhere(server& s, const protocol::setting_map& carried);
    void report_restored(client& c, const server& s);
    void remember_reported(client& c, const std::map<std::string, std::string>& parameters);

    // library_settings.cpp: settings that a library refuses
    static void sent_behind_settings(server& s, protocol::bytes sent);
    [[nodiscard]] bool replay_again(client& c, server& s, const protocol::server_step& step);
    [[nodiscard]] bool each_setting_tried(client& c, server& s);
    void drop_settings(client& c, server& s, const protocol::lenient_replay& replay);
    [[nodiscard]] bool send_batch_again(client& c, server& s);

    // others_timeout.cpp: a statement_timeout that a client before has left
    [[nodiscard]] static bool struck_by_others_timeout(const client& c, const server& s,
                                                       const protocol::server_step& step);
    static void lift_timeout(server& s);
    [[nodiscard]] bool timeout_lifted(client& c, server& s);

    // pins.cpp
    [[nodiscard]] static bool may_be_asked(const client& c, const server& s);
    void ask_about_pins(client& c, server& s);
    void pins_told(server& s);
    void count_pins(client& c, server& s, std::uint16_t pins, time_point now);
    void stays_pinned(client& c, server& s, time_point now);
    void sweep_pins(pool_part& part, time_point now);

    // idle_limits.cpp: idle_session_timeout
    static void note_idle_limit(client& c);
    void idle_begins(client& c, time_point now);
    void forget_idle_limit(client& c);
    void sweep_idle_clients(time_point now);
    [[nodiscard]] bool lift_limit_first(server& s, time_point now);
    void sweep_idle_servers(pool_part& part, time_point now);

    // role_settings.cpp: ALTER ROLE … SET while servers are open
    void take_role_settings(server& s, std::string_view told);
    [[nodiscard]] bool close_outdated(server& s, time_point now);
    void close_outdated(pool_part& part, time_point now);

    // names.cpp: what the names in a database hide
    /// One look at an atomic while nothing has changed.
    [[nodiscard]] protocol::known_names names_of(pool_part& part) const {
        const auto version = part.entry->names->version();
        if (version != part.names_version) [[unlikely]] {
            look_at_names(part, version);
        }
        return {part.names.get(), version};
    }
    void look_at_names(pool_part& part, std::uint64_t version) const;
    [[nodiscard]] bool looks_at_texts(const pool_part& part) const;
    void learn_names(server& s, bool due, time_point now);
    void put_names_question(server& s, bool due);
    /// The server is free. Before what is known to have changed has been read, nobody gets one.
    [[nodiscard]] bool must_learn_names(const server& s) const {
        return s.pool->entry->names->awaited() && looks_at_texts(*s.pool);
    }
    [[nodiscard]] bool learn_first(server& s, time_point now);
    void learn_when_due(pool_part& part, time_point now);
    void note_hidden(const client& c, const server& s) const;
    void ask_about_names(client& c, server& s);
    void names_told(server& s, time_point now);
    void names_given_up(server& s, std::string_view why, time_point now);
    void names_late(server& s, time_point now);
    void names_failed(pool_part& part, std::string_view why, time_point now);
    void names_changed(server& s, std::string_view tag, time_point now);

    // audit.cpp: is a server's session what it is believed to be?
    void choose_next_audit(pool_part& part);
    [[nodiscard]] static bool audits_closely(const pool_part& part);
    void audit_due(server& s);
    [[nodiscard]] bool audit_first(server& s, time_point now);
    void put_audit_question(server& s);
    [[nodiscard]] protocol::client_step forward_and_record(client& c, server& s,
                                                           protocol::bytes in);
    void audit_told(server& s, time_point now);
    void tell_leaks(const server& s, const std::vector<protocol::session_audit::leak>& leaks);

    // listening.cpp: clients that listen
    [[nodiscard]] bool see_to_channels(client& c, server& s, time_point now) {
        return (!c.listening && !c.session.channels_to_ask()) || speak_of_channels(c, s, now);
    }
    [[nodiscard]] bool speak_of_channels(client& c, server& s, time_point now);
    void next_errand(client& c, server& s);
    void run_errand(server& s, channel_errand what);
    void errand_done(server& s, time_point now);
    void channels_told(client& c, server& s);
    void join(client& c, std::vector<std::string> channels);
    void leave(client& c, const std::vector<std::string>& channels);
    void stop_listening(client& c);
    void discard_channels(client& c);
    void count_listening(client& c);
    [[nodiscard]] static bool may_send_behind(const client& c, const server& s);
    [[nodiscard]] bool channels_first(client& c, server& s);
    [[nodiscard]] static protocol::channel_use* channel_use_of(client& c);
    void take_channel_use(client& c);
    void pass_ready(client& c, server& s, const protocol::server_step& step, protocol::bytes taken,
                    time_point now);
    static void pass_notification(client& c, const protocol::server_step& step,
                                  protocol::bytes taken);
    void release_ready(client& c, time_point now);
    [[nodiscard]] static bool settling(const client& c);
    [[nodiscard]] static bool may_be_told(const client& c);
    void tell_waiting(client& c);
    void deliver(client& c, time_point now);
    void keep_for(client& c, const shared_notification& what, time_point now);
    void on(time_point now, channels_joined& message);
    void on(time_point now, notified& message);
    void on(time_point now, fence_passed& message);
    void on(time_point now, listening_state& message);

    // listening_connection.cpp
    [[nodiscard]] pool_part& listening_part(const std::shared_ptr<pool_entry>& entry);
    void on(time_point now, join_channels& message);
    void on(time_point now, leave_channels& message);
    void say(pool_part& part, server& s, std::string_view sql);
    void listener_connected(server& s);
    void listener_told(server& s, const protocol::server_step& step, protocol::bytes taken);
    [[nodiscard]] bool listener_answered(server& s, time_point now);
    void listener_lost(server& s, time_point now);
    void settle_joins(pool_part& part);
    void tell_workers(pool_part& part, bool again);
    void sweep_listening(pool_part& part, time_point now);

    // sequences.cpp
    [[nodiscard]] server* idle_for_sequences(const client& c);
    [[nodiscard]] bool is_awaited(const server& s, const client& c);
    [[nodiscard]] server* unawaited(const client& c, server* next);
    void take_over_sequences(client& c, server& s);
    static void append_discard_sequences(server& s);
    void leave_sequences(client& c, server& s);
    void sequences_read(client& c, server& s, const protocol::statement_link::counts& seen);
    void sequences_forgotten(server& s);

    // server_giving_back.cpp
    [[nodiscard]] protocol::return_verdict verdict(const server& s) const;
    bool settle_doubt(const client& c, server& s);
    [[nodiscard]] bool take_back_lent(client& c, server& s, time_point now);
    void go_on_alone(server& s, time_point now);
    void maybe_give_back(server& s, time_point now);
    void give_back(client& c, server& s, time_point now);
    void detach(client& c, server& s, time_point now);
    void place(server& s, time_point now);
    void place_now(server& s, time_point now);
    void settle(server& s, time_point now);
    void carry_out(server& s, const pool::shard::placement& where, time_point now);
    void send_to_other(server& s, worker_index to);
    void abandon(server& s, time_point now);
    void fail_copy(server& s);
    void clean(server& s, time_point now);
    void close_server(server& s, pool::server_close reason, time_point now);
    void forget_server(server& s, time_point now);

    // cancel.cpp
    void route(client& c, protocol::cancel_key key, time_point now);
    bool cancel_session(const route_cancel& request, time_point now);
    void open_cancel(server& s, std::vector<route_cancel> for_whom, time_point now);
    void cancel_finished(cancel_attempt& attempt, bool certain, time_point now);
    void answer_cancel(const route_cancel& request, time_point now);
    void cancel_answered(client_id on_behalf, time_point now);
    void sweep_cancels(time_point now);

    // engine.cpp
    void on(time_point now, server_in_transit& message);
    void on(time_point now, ask_idle& message);
    void on(time_point now, wake& message);
    void on(time_point now, make_room& message);
    void on(time_point now, route_cancel& message);
    void on(time_point now, cancel_done& message);
    void on(time_point now, ask_holders& message);
    void on(time_point now, holders_answer& message);
    void sweep_clients(time_point now);
    void sweep_servers(time_point now);
    void sweep_pools(time_point now);
    void wake_by(time_point when) { deadline_ = std::min(deadline_, when); }
    // Ends are collected while events are handled and carried out behind them, so that no code
    // further up the stack holds a reference to something deleted.
    void reap() {
        if (!ended_clients_.empty() || !ended_servers_.empty() ||
            statements_.held_bytes() != counters_.statement_bytes.load()) {
            bury();
        }
    }
    void bury();
    [[nodiscard]] client* find(client_id id);
    [[nodiscard]] server* find(server_id id);
    [[nodiscard]] std::uint64_t next_id();
    [[nodiscard]] pool_part& part_of(const std::shared_ptr<pool_entry>& entry);
    [[nodiscard]] pool::limits limits_for(const pool_entry& entry) const;
    [[nodiscard]] double random_fraction();
    [[nodiscard]] std::shared_ptr<const protocol::setting_map> intern(protocol::setting_map map);
    void log_client_end(const client& c, pool::client_close reason, time_point now);
    void log_server_end(const server& s, pool::server_close reason, time_point now);
    void log_wait_timeout(pool_part& part, const protocol::error_words& told, time_point now);
    void log_slow(const server& s, const client& c, std::string_view what, duration took);

    options options_;
    engine_ports& ports_;
    std::shared_ptr<const config::configuration> config_;
    engine_counters counters_;
    std::uint64_t last_id_ = 0;
    time_point deadline_ = time_point::max();
    bool shutting_down_ = false;
    bool mock_scram_ = true; // protocol::admission's

    protocol::statement_table statements_; // outlives those who refer to what is in it
    std::unordered_map<client_id, std::unique_ptr<client>> clients_;
    std::unordered_map<server_id, std::unique_ptr<server>> servers_;
    std::unordered_map<const pool_entry*, std::unique_ptr<pool_part>> pools_;
    std::unordered_multimap<std::uint32_t, client_id> by_process_id_;
    std::map<protocol::setting_map, std::weak_ptr<const protocol::setting_map>> interned_;
    std::shared_ptr<const protocol::setting_map> no_settings_;
    std::size_t intern_limit_ = 64; // when sets that nobody carries any more are looked for
    std::multimap<time_point, client_id> login_deadlines_;
    std::multimap<time_point, client_id> late_refusals_;
    std::deque<std::pair<time_point, client_id>> closing_deadlines_;
    std::deque<std::pair<time_point, client_id>> leaving_deadlines_;
    std::deque<std::pair<time_point, client_id>> look_up_deadlines_;
    std::deque<std::pair<time_point, client_id>> fence_deadlines_;
    std::set<std::pair<time_point, client_id>> idle_deadlines_; // each client's once at most
    struct pending_refusal {
        std::uint32_t answers_missing = 0;
        time_point deadline{};
        holders who;
    };
    std::unordered_map<client_id, pending_refusal> refusals_;
    std::unordered_map<client_id, std::uint32_t> cancels_missing_; // answers still to come
    std::vector<std::unique_ptr<cancel_attempt>> cancels_;
    buffer_pool buffers_;
    pin_log pins_;
    std::vector<client_id> ended_clients_;
    std::vector<server_id> ended_servers_;
    std::vector<server_id> to_place_;
    bool placing_ = false;
};

} // namespace pgweir::daemon
