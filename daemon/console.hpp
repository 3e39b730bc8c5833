// The admin console: what the database `pgbouncer` (or `pgweir`) answers. A command comes as the
// text of one simple query, the answer goes back as the bytes of all its messages, ReadyForQuery
// included; sockets, logins and framing are the engine's.
//
// Every command is one row in console_commands.cpp: its words, the privilege it needs, what it
// does, its line in SHOW HELP. The privilege is looked at in one place, here, and against the
// configuration that runs now: whoever has been taken off console.admin_users by a reload loses
// the privilege with the next command.
//
// Owner: the daemon, one of it. Thread: ops. Life: the process. Tests: tests/daemon/console.
#pragma once

#include "daemon/console_source.hpp"
#include "daemon/console_stats.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::daemon {

/// What one may do on the console; each includes those before it.
enum class console_privilege : std::uint8_t {
    none,  // may log in to nothing here
    stats, // look
    admin, // change
};

using console_reply = std::function<void(std::string)>;

struct console_command;

/// One command being carried out.
struct console_call {
    const console_command& command;
    console_source& source;
    const stats_history& history;
    console_privilege caller;
    std::vector<std::string> arguments; // the words behind the command's own
    console_reply reply;                // to be called once
};

/// One command.
struct console_command {
    /// A privilege that must be written down: a row without one does not compile.
    class privilege_needed {
    public:
        constexpr privilege_needed(console_privilege which)
            : which_(which) {}
        constexpr operator console_privilege() const { return which_; }

    private:
        console_privilege which_;
    };

    std::string_view words; // in capitals, one blank between them
    privilege_needed needs;
    void (*run)(console_call call);
    std::string_view help;          // what SHOW HELP says; empty: it is not listed there
    std::string_view argument = {}; // what may follow, as SHOW HELP writes it; empty: nothing may
    [[nodiscard]] std::string_view tag() const { return words.substr(0, words.find(' ')); }
};

[[nodiscard]] std::span<const console_command> console_commands();

class console {
public:
    explicit console(console_source& source);

    /// Carries out one query of a console client. `reply` is called once, from inside or later, on
    /// the same thread.
    void execute(std::string_view user, std::string_view query, console_reply reply);
    /// To be called now and then (once a second will do): takes the samples behind the averages.
    void tick();

private:
    console_source& source_;
    stats_history history_;
};

} // namespace pgweir::daemon
