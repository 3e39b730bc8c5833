// The right to a Unix socket's path. Between looking whether what is there is alive, taking it away
// and binding, another that starts could do the same: both would run, one of them on a socket that
// has no name any more. PostgreSQL's way: a file next to the socket, `.s.PGSQL.N.lock`, with the
// process id in it. It is flock()ed here: whatever ends the process lets go of it.
//
// Owner: a listener. Thread: the ops thread. Tests: tests/daemon/socket_lock_test.cpp,
// integration/unix_socket_test.py.
#pragma once

#include <string>

namespace pgweir::daemon {

class socket_lock {
public:
    socket_lock() = default;
    ~socket_lock() { release(); }
    socket_lock(const socket_lock&) = delete;
    socket_lock& operator=(const socket_lock&) = delete;

    /// For the socket at `path`. False: a process that runs has it. True also where there can be no
    /// such file (it is another user's, who has crashed): what is at `path` tells, then.
    [[nodiscard]] bool take(const std::string& path);
    /// Says to PostgreSQL, which looks at the file and not at the lock, that this process is here.
    void sign();
    /// … and takes the file away, unless another's name is in it and this has not signed.
    void release();

private:
    std::string path_;
    int file_ = -1;
    bool ours_ = false;
};

} // namespace pgweir::daemon
