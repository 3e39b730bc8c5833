// A client that exists only in the simulation. It logs in, sends requests of all kinds, and
// compares every answer with what a direct connection would have answered (its own
// postgres_session). It may be slow, fragment what it sends, ask for cancels, vanish at any byte,
// or send garbage.
//
// Some play a conversation of tests/support/conversation_generator instead of making up their own
// requests.
//
// fake_client.cpp: connection and login. client_requests.cpp: what it sends.
// client_conversation.cpp: how it plays a conversation. client_answers.cpp: what it accepts as an
// answer, and as an excuse for none.
#pragma once

#include "tests/simulation/fake_postgres.hpp"
#include "tests/simulation/network.hpp"
#include "tests/simulation/postgres_session.hpp"
#include "tests/support/conversation.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace pgweir::simulation {

/// What is true for all clients of a simulation.
struct client_rules {
    std::function<void(network::end_ptr)> accept;         // hands a connection to some worker
    const std::map<std::string, unsigned>* log = nullptr; // committed writes, and how often
    bool statement_mode = false;
    bool shutting_down = false;
    duration wait_timeout{};
    duration login_timeout{};
    duration connect_timeout{};
    bool own_servers = false; // pool.reuse: never. What a server says at its login, clients hear.
    settings own_settings;    // of PostgreSQL's, where a client sets none
    bool bulk = false;        // large answers
    std::uint64_t slow_statement_ms = 0; // some statements take up to so long
    unsigned slow_percent = 15;          // … so many of them
};

/// What one client is like.
struct client_plan {
    std::uint32_t number = 0;
    std::string database = "shop";
    std::string user = "app";
    std::string password;
    settings at_start;
    bool settings_as_options = false;
    bool asks_for_tls = false;
    std::uint16_t minor_version = 0; // of the protocol
    bool console = false;
    bool over_limit = false;
    unsigned requests = 5;
    std::size_t pipeline = 1; // requests under way at once
    duration thinks = milliseconds(5);
    bool converses = false;             // plays a conversation; `requests` and `pipeline` are moot
    bool fragments = false;             // sends in pieces, with pauses
    bool single_bytes = false;          // … of one byte each
    duration reads_after = duration(0); // slow reader
    unsigned cancel_percent = 0;
    unsigned session_state_percent = 5; // of requests: SET, LISTEN, named statements, …
    std::size_t vanishes_after_bytes = SIZE_MAX;
    bool sends_garbage = false;
    enum class refusal : std::uint8_t {
        none,
        password,
        database,
        setting
    } provokes = refusal::none;
};

class fake_client final : public socket_user {
public:
    fake_client(world& shared, network& net, client_rules& rules, client_plan plan);
    ~fake_client();

    void start();
    /// Nothing more is to be expected of it or for it.
    [[nodiscard]] bool done() const { return phase_ == phase::done; }
    /// It wants nothing more from now on than to end properly.
    void hurry();
    /// The network loses its connection.
    void cut();
    [[nodiscard]] bool wants_cancel() const { return cancel_asked_; }
    [[nodiscard]] const std::string& tag() const { return tag_; }
    [[nodiscard]] std::string describe() const;
    void check_aborted_writes() const;

    void on_arrival() override;
    void on_room() override;

private:
    enum class phase : std::uint8_t { before, tls, login, ready, leaving, done };
    struct unit {
        message m;
        time_point sent_at;
    };

    // fake_client.cpp
    void read_some();
    void receive(message m);
    void login_message(const message& m);
    void answer_authentication(const message& m);
    void check_welcome();
    void send_startup();
    void put(std::string bytes);
    void pump_out();
    void think();
    void leave();
    void vanish();
    void finished();
    void ended();
    void after(duration delay, void (fake_client::*what)());

    // client_requests.cpp
    void send_request();
    void send_session_state();
    void send_named_statements();
    void send_extended();
    void send_extended_variant(std::uint64_t which);
    void send_copy_in();
    void send_garbage();
    void send_cancel(bool right_key);
    void maybe_cancel();
    void add(char type, std::string body);
    void query(std::string_view sql);
    void parse(std::string_view name, std::string_view sql);
    void bind(std::string_view portal, std::string_view statement);
    void execute(std::uint32_t limit = 0);
    void sync();
    [[nodiscard]] std::string select();
    [[nodiscard]] std::string select_row();
    [[nodiscard]] std::string insert();
    [[nodiscard]] std::string failing();
    [[nodiscard]] std::string ids();

    // client_conversation.cpp
    void make_up_conversation();
    void go_on();
    void perform(const test::conversation_step& step);
    void wait_for(const test::conversation_step& step);
    [[nodiscard]] bool wait_is_over();

    // client_answers.cpp
    void answer(const message& m);
    void compare(const message& m);
    void compare_console(const message& m);
    void look_ahead();
    void note_copy(const std::vector<message>& replies);
    void unit_done();
    void fatal(std::string_view sqlstate);
    [[nodiscard]] bool excusable(std::string_view sqlstate) const;
    [[nodiscard]] bool fatal_excusable(std::string_view sqlstate) const;
    [[nodiscard]] bool may_end() const;
    [[nodiscard]] bool misses_only_unflushed() const;
    [[nodiscard]] bool leaves_a_copy_open() const;
    [[nodiscard]] bool known_difference(const message& m) const;
    [[nodiscard]] bool may_be_nonsense(const message& m) const;
    [[nodiscard]] bool server_trouble() const;
    [[nodiscard]] bool outstanding() const {
        return !units_.empty() || !expected_.empty() || (model_.in_copy_in() && !model_.closed());
    }
    void wrong(std::string what);

    world& shared_;
    network& network_;
    client_rules& rules_;
    client_plan plan_;
    std::string tag_;
    network::end_ptr end_;
    std::shared_ptr<fake_client*> self_; // nothing once it is gone
    phase phase_ = phase::before;

    std::string out_, in_;
    std::size_t sent_bytes_ = 0;
    bool sending_paused_ = false;
    bool reading_later_ = false;
    time_point started_at_{};

    postgres_session model_, snapshot_;
    std::deque<unit> units_; // sent, and behind what is being answered
    unit current_;           // being answered
    std::deque<message> expected_;
    settings seen_; // ParameterStatus
    std::vector<std::string> never_written_;
    std::map<std::string, unsigned> acknowledged_; // writes without a number: how many of them
    std::string scram_first_, scram_nonce_;
    std::string key_; // process id and key, from BackendKeyData
    std::string fatal_;
    unsigned requests_left_;

    test::conversation steps_;
    std::size_t next_step_ = 0;
    std::string heard_;         // types of all messages since the welcome
    std::size_t waited_to_ = 0; // in heard_
    std::string wait_types_;    // goes on when so many of these have come
    std::uint32_t wait_count_ = 0;
    bool waits_for_end_ = false;
    bool half_close_when_sent_ = false;
    bool half_closed_ = false;
    bool said_goodbye_ = false; // sent a Terminate
    // The COPY FROM STDIN that runs, or has failed before its end was sent.
    enum class copy_so_far : std::uint8_t { none, plain, muddled } copy_ = copy_so_far::none;
    // A COPY that could eat a Sync has failed, or a cancel has struck in an open batch, which might
    // have been a statement_timeout before the message: nobody but PostgreSQL knows what has been
    // read, so that the engine is less exact from now on (reply_queue::in_doubt(),
    // integration/differential/allowed_differences.md).
    bool doubt_ = false;
    bool heard_everything_ = false; // … when it ended

    std::uint64_t nonce_ = 0;
    unsigned console_owed_ = 0;
    bool negotiated_ = false; // was told which protocol is spoken
    bool thinking_ = false;
    bool limited_ = false; // has had an idle_session_timeout
    bool cancel_asked_ = false;
    bool cut_ = false;
    bool vanished_ = false;
    bool closes_when_sent_ = false;
    bool garbage_sent_ = false;
    bool began_ = false;     // a transaction in statement mode
    bool must_sync_ = false; // a batch is open
    bool unnamed_ = false;   // has an unnamed statement
    bool copy_to_end_ = false;
    std::vector<std::shared_ptr<void>> carriers_; // its cancel requests
};

} // namespace pgweir::simulation
