// A PostgreSQL server that exists only in the simulation: it accepts, authenticates, runs
// statements (postgres_session) that take time, obeys cancel requests, has a bound on its
// connections, dies and comes back. It keeps a log of committed writes, and counts backends as the
// real one does: from accept until the process has ended, which is later than the client's end of
// file.
//
// Owner: a simulation. Tests: it is one.
#pragma once

#include "tests/simulation/network.hpp"
#include "tests/simulation/postgres_session.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pgweir::simulation {

enum class server_auth : std::uint8_t { trust, password, md5, scram };

class fake_postgres;

/// One backend process (or the short-lived one that carries a cancel request).
class backend_process final : public socket_user,
                              public std::enable_shared_from_this<backend_process> {
public:
    backend_process(fake_postgres& home, network::end_ptr end, std::uint32_t process_id);

    void on_arrival() override;
    void on_room() override;

    /// Somebody signalled it: what it runs now is cancelled.
    void cancel();
    /// The administrator, or a crash: FATAL if `says_so`, then gone at once.
    void die(bool says_so);
    /// The network loses its connection.
    void cut();
    /// Now and then something that nobody asked for.
    void notify();
    /// Something that may not come. From then on it only waits for the other side to close.
    void talk_nonsense();
    /// It has, plainly, and the engine has read it.
    [[nodiscard]] bool nonsense_was_read() const {
        return nonsense_ == talk::nonsense && out_.empty() && end_->all_read();
    }
    [[nodiscard]] bool talked_nonsense() const { return nonsense_ != talk::sense; }
    /// The parameters of its pool, once it has read its startup packet.
    [[nodiscard]] const std::string& user() const { return user_; }
    [[nodiscard]] const std::string& database() const { return database_; }
    [[nodiscard]] bool counts() const { return phase_ != phase::gone && phase_ != phase::carrier; }
    [[nodiscard]] bool serving() const { return phase_ == phase::ready; }
    [[nodiscard]] bool busy() const { return busy_; }
    [[nodiscard]] const std::string& last_tag() const { return last_tag_; }

    const std::uint32_t process_id;
    [[nodiscard]] const std::string& secret_key() const { return secret_key_; }

private:
    enum class phase : std::uint8_t { startup, authentication, ready, carrier, exiting, gone };

    void process();
    [[nodiscard]] bool process_startup();
    void start_session(std::string_view parameters);
    void authenticated();
    void check_password(std::string_view body);
    void check_scram(std::string_view body);
    void handle(message m);
    void finish(std::string flushed);
    void take_writes();
    void write(std::string_view bytes);
    void flush();
    void say_fatal(std::string_view sqlstate, std::string_view text);
    void exit(duration after);
    void idle();
    void linger();
    void later(duration delay, void (backend_process::*what)());
    [[nodiscard]] std::string name() const;
    [[nodiscard]] std::string nonsense(bool plain);
    void end_of_nonsense();

    fake_postgres& home_;
    network::end_ptr end_;
    postgres_session session_;
    std::string in_, out_;
    std::string user_, database_, last_tag_, secret_key_;
    std::string scram_nonce_, scram_first_;
    message running_;
    phase phase_ = phase::startup;
    std::uint64_t statement_serial_ = 0;
    bool busy_ = false;
    bool refuses_ = false; // its start-up packet
    enum class talk : std::uint8_t { sense, half, nonsense } nonsense_ = talk::sense;
};

class fake_postgres {
public:
    fake_postgres(world& shared, network& net)
        : shared_(shared)
        , network_(net) {}
    ~fake_postgres();

    enum class state : std::uint8_t { up, starting, refusing, vanishing };

    /// Somebody connects; `connected` is called when it has come to something (never, if the
    /// server has vanished).
    void connect(std::shared_ptr<engine_socket*> who, bool for_session);

    void crash();
    void set_state(state to);
    /// Ends one backend, chosen at random: by signal or by the network; or makes it say what must
    /// end it. False: there is none.
    bool kill_one();
    /// A backend that nobody may want any more.
    [[nodiscard]] const backend_process* talks_nonsense() const;
    void notify_one();
    void shut(backend_process& who); // drops it

    /// Backends of this database and user, and those that have not said yet.
    [[nodiscard]] std::uint32_t backends(std::string_view database, std::string_view user) const;
    [[nodiscard]] std::uint32_t backends() const;
    [[nodiscard]] backend_process* find(std::uint32_t process_id);
    [[nodiscard]] const std::map<std::string, unsigned>& log() const { return log_; }
    /// Backends that have ended because of their idle_session_timeout.
    [[nodiscard]] std::uint64_t idled_too_long() const { return idled_too_long_; }
    void commit(const std::string& write);

    std::uint32_t max_connections = 100;
    server_auth auth = server_auth::trust;
    std::string password = "server secret";
    settings own_settings;                // of the role, or of the database
    duration max_step = microseconds(50); // what any message takes at most
    duration max_exit = milliseconds(50); // from end of file to process end
    unsigned names_refused_percent = 0;   // the question what names hide is an error
    unsigned odd_percent = 0;             // notices and early flushes
    std::uint16_t minor_version = 0;      // the newest it speaks
    bool one_client_each = false;         // pool.reuse is never: no backend may see two
    /// May a cancel of this client's statement be? Asked when one strikes.
    std::function<bool(std::string_view tag)> cancel_wanted;

private:
    friend class backend_process;

    world& shared_;
    network& network_;
    state state_ = state::up;
    std::vector<std::shared_ptr<backend_process>> backends_;
    std::map<std::string, unsigned> log_; // committed writes, and how often
    std::uint32_t last_process_id_ = 100;
    std::uint64_t idled_too_long_ = 0;
};

} // namespace pgweir::simulation
