"""Where things are, ports nobody else uses, and child processes that never outlive us."""

import atexit
import ctypes
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("PGWEIR_BUILD_DIR", os.path.join(ROOT, "build", "dev"))
BINARY = os.environ.get("PGWEIR_BINARY", os.path.join(BUILD, "daemon", "pgweir"))
POSTGRES_BIN = "/usr/lib/postgresql/15/bin"
AS_ROOT = os.geteuid() == 0
# A build with sanitizers, or a machine shared with others, is slower than the deadlines of tests.
PATIENCE = float(os.environ.get("PGWEIR_TEST_PATIENCE", "1"))

_PORT_LOCKS = []
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def reserve_port():
    """A TCP port of our own until this process ends.

    Not one the kernel gives out by itself: those serve as source ports of thousands of connections
    in these tests, and a PostgreSQL that is restarted must find its port free again."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first_ephemeral = int(file.read().split()[0])
    candidates = range(10000, first_ephemeral) if first_ephemeral > 12000 else range(10000, 65000)
    folder = os.path.join(tempfile.gettempdir(), "pgweir-ports-%d" % os.geteuid())
    os.makedirs(folder, exist_ok=True)
    for _ in range(1000):
        port = random.choice(candidates)
        lock = open(os.path.join(folder, str(port)), "w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _PORT_LOCKS.append(lock)
        return port
    raise RuntimeError("no free port")


def temporary_directory(purpose):
    """A directory that anybody may enter (PostgreSQL runs as another user), removed at the end."""
    path = tempfile.mkdtemp(prefix="pgweir-%s-" % purpose)
    os.chmod(path, 0o755)
    atexit.register(shutil.rmtree, path, True)
    return path


def start_process(command, output, user=None, ends_by=signal.SIGKILL, **options):
    """Starts `command` with its output in the file `output`. The kernel sends it `ends_by` when we
    end, in whatever way. Call it on the main thread: the kernel means the thread, not the process.
    """
    def tie_to_us():
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(ends_by), 0, 0, 0)

    as_user = {}
    if user is not None and AS_ROOT:
        as_user = {"user": user, "group": user, "extra_groups": []}
    with open(output, "ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                stderr=subprocess.STDOUT, start_new_session=True,
                                preexec_fn=tie_to_us, **as_user, **options)


def end_process(process, how=signal.SIGTERM, seconds=30):
    """Ends a process that we started and waits for it; SIGKILL when it does not go."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
