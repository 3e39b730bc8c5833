// The running daemon: builds the graph of its parts, runs the ops thread (signals, reload, HTTP,
// accepting, watchdog), and brings everything down in order.
//
// Owner: main. Thread: the one that calls run() becomes the ops thread. Tests: integration.
#pragma once

#include "config/configuration.hpp"
#include "daemon/load_configuration.hpp"

#include <memory>
#include <string>

namespace pgweir::daemon {

class service {
public:
    /// For tests and benchmarks.
    struct options {
        /// The server that has been idle longest is used next, so that a client gets another one
        /// where it can.
        bool rotate_servers = false;
        /// False: what clients do to their sessions is not looked at, and lost.
        bool track_sessions = true;
    };
    /// `path`: the file `config` was read from, for reloads.
    service(std::string path, loaded_configuration config, options opts);
    ~service();
    service(const service&) = delete;
    service& operator=(const service&) = delete;

    /// Until told to stop. The process's exit status.
    [[nodiscard]] int run();

private:
    struct state;
    std::unique_ptr<state> state_;
};

} // namespace pgweir::daemon
