"""PostgreSQL's own regression suite, from Debian's source package, built outside the tree and cached.

Nothing of it is in this repository: the sources are fetched with `apt-get source` through an apt
configuration of our own (the machine's is only asked which mirrors it uses), and what the suite
needs is built: pg_regress, regress.so, contrib/spi's two libraries, and psql with its libpq twice,
as it is and with psql_extended.patch. The server under test is Debian's installed one, so neither
the backend nor initdb is built.

The cache is `$XDG_CACHE_HOME/pgweir/regress` (`~/.cache/...`); a build is in a folder named after
the version of the source and the recipe (this file's commands and the patch), so a change of either
builds anew. Deleting the folder is always safe.
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys

PACKAGE = "postgresql-15"
HERE = os.path.dirname(os.path.abspath(__file__))
PATCH = os.path.join(HERE, "psql_extended.patch")
# For a machine whose apt knows no Debian mirror (a derivative, or a repository of packages only).
MIRRORS = [
    "http://deb.debian.org/debian/ bookworm main",
    "http://deb.debian.org/debian-security/ bookworm-security main",
]
# The suite does not look at what psql was built with; what it prints must not depend on a terminal.
CONFIGURE = ["--without-readline", "--without-zlib", "CFLAGS=-O1"]
MAKE = [["-C", "src/test/regress", "all"], ["-C", "src/bin/psql", "all"]]
LONGEST_FETCH_SECONDS = 600
LONGEST_BUILD_SECONDS = 1800


class SourceError(Exception):
    """The suite cannot be had; the text says what was tried."""


def say(text):
    print("regress: " + text, file=sys.stderr, flush=True)


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "pgweir", "regress")


@contextlib.contextmanager
def locked(path):
    """Two runs at once do not fetch or build into the same folder."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command, log, seconds, **options):
    """Runs one command with its output appended to the file `log`, whose end is in the error."""
    with open(log, "a", encoding="utf-8") as output:
        output.write("$ %s\n" % " ".join(command))
        output.flush()
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output,
                                  stderr=subprocess.STDOUT, timeout=seconds, check=False, **options)
        except subprocess.TimeoutExpired:
            raise SourceError("not within %d s: %s (see %s)"
                              % (seconds, " ".join(command), log)) from None
        except FileNotFoundError as error:
            raise SourceError("%s is missing" % error.filename) from None
    if done.returncode != 0:
        with open(log, encoding="utf-8", errors="replace") as output:
            end = "".join(output.readlines()[-15:])
        raise SourceError("%s failed (%d); %s ends with:\n%s"
                          % (" ".join(command), done.returncode, log, end))


# ------------------------------------------------------------------------------------- fetching


class Apt:
    """apt with lists, cache and sources of its own: the machine's configuration stays as it is."""

    def __init__(self, directory):
        self.directory = directory
        self.log = os.path.join(directory, "apt.log")
        for folder in ("state/lists/partial", "cache/archives/partial", "parts"):
            os.makedirs(os.path.join(directory, folder), exist_ok=True)
        sources = os.path.join(directory, "sources.list")
        with open(sources, "w", encoding="ascii") as file:
            file.writelines("deb-src %s\n" % mirror for mirror in self.mirrors())
        self.options = []
        for name, value in {
                "Dir::Etc::SourceList": sources,
                "Dir::Etc::SourceParts": os.path.join(directory, "parts"),
                "Dir::State": os.path.join(directory, "state"),
                "Dir::State::status": "/var/lib/dpkg/status",
                "Dir::Cache": os.path.join(directory, "cache"),
                "APT::Sandbox::User": "root",  # apt's own user cannot enter a home directory
        }.items():
            self.options += ["-o", "%s=%s" % (name, value)]

    @staticmethod
    def mirrors():
        """The Debian repositories that the machine takes its packages from."""
        done = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
             "Created-By: Packages", "Origin: Debian"],
            capture_output=True, text=True, check=False)
        found = sorted(set(line for line in done.stdout.splitlines() if line.endswith(" main")))
        return found or MIRRORS

    def update(self):
        run(["apt-get", *self.options, "update"], self.log, LONGEST_FETCH_SECONDS)

    def versions(self):
        """Those there are: the installed server's own version first, then from new to old."""
        done = subprocess.run(["apt-cache", *self.options, "showsrc", "--only-source", PACKAGE],
                              capture_output=True, text=True, check=False)
        found = set(re.findall(r"^Version: (\S+)$", done.stdout, re.MULTILINE))
        numbers = lambda version: [int(digits) for digits in re.findall(r"\d+", version)]
        return sorted(found, key=lambda one: (one == installed_version(), numbers(one)),
                      reverse=True)

    def fetch(self, version, target):
        os.makedirs(target, exist_ok=True)
        run(["apt-get", *self.options, "source", "--download-only",
             "%s=%s" % (PACKAGE, version)], self.log, LONGEST_FETCH_SECONDS, cwd=target)


def installed_version():
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", PACKAGE], capture_output=True,
                          text=True, check=False)
    return done.stdout.strip()


def fetch_source(cache):
    """Returns (version, path of the .dsc). A mirror may list a version whose files it does not have
    (yet, or any more): then the next older one does, whose suite differs in a line or two."""
    fetched = os.path.join(cache, "source")
    have = {os.path.basename(path)[len(PACKAGE) + 1:-len(".dsc")]: path
            for path in glob.glob(os.path.join(glob.escape(fetched), "*", PACKAGE + "_*.dsc"))
            if os.path.exists(os.path.join(os.path.dirname(path), "complete"))}
    if have:
        version = installed_version() if installed_version() in have else max(have)
        return version, have[version]
    apt = Apt(os.path.join(cache, "apt"))
    say("fetching the source of %s" % PACKAGE)
    apt.update()
    versions = apt.versions()
    if not versions:
        raise SourceError("no source package %s in: %s" % (PACKAGE, "; ".join(apt.mirrors())))
    refused = []
    for version in versions:
        target = os.path.join(fetched, version)
        try:
            apt.fetch(version, target)
        except SourceError as error:
            refused.append(str(error))
            shutil.rmtree(target, ignore_errors=True)
            continue
        with open(os.path.join(target, "complete"), "w", encoding="ascii"):
            pass
        if refused:
            say("%s could not be fetched; using %s" % (", ".join(versions[:len(refused)]), version))
        return version, os.path.join(target, "%s_%s.dsc" % (PACKAGE, version))
    raise SourceError("none of the versions could be fetched:\n" + "\n".join(refused))


# ------------------------------------------------------------------------------------- building


def recipe():
    with open(PATCH, encoding="utf-8") as patch:
        text = repr((CONFIGURE, MAKE, patch.read()))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def make(build, log):
    for arguments in MAKE:
        run(["make", "-j%d" % (os.cpu_count() or 1), *arguments], log, LONGEST_BUILD_SECONDS,
            cwd=build)


def take_psql(build, target):
    os.makedirs(target)
    shutil.copy(os.path.join(build, "src/bin/psql/psql"), target)
    shutil.copy(os.path.join(build, "src/interfaces/libpq/libpq.so.5"), target)


def build_suite(dsc, target):
    """Makes the folder `target`: bin/{simple,extended}/, lib/, suite/{sql,expected,data,...}."""
    work = target + ".work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(work)
    source, build = os.path.join(work, "source"), os.path.join(work, "build")
    log = os.path.join(os.path.dirname(target), "build.log")
    say("building the suite (log: %s)" % log)
    run(["dpkg-source", "--no-check", "-x", dsc, source], log, LONGEST_FETCH_SECONDS)
    os.makedirs(build)
    run([os.path.join(source, "configure"), *CONFIGURE], log, LONGEST_BUILD_SECONDS, cwd=build)
    make(build, log)
    made = os.path.join(work, "made")
    take_psql(build, os.path.join(made, "bin", "simple"))
    libraries = os.path.join(made, "lib")
    os.makedirs(libraries)
    regress = os.path.join(build, "src/test/regress")
    shutil.copy(os.path.join(regress, "pg_regress"), os.path.join(made, "bin"))
    for name in ("regress.so", "refint.so", "autoinc.so"):
        shutil.copy(os.path.join(regress, name), libraries)
    suite = os.path.join(source, "src/test/regress")
    for name in ("sql", "expected", "data"):
        shutil.copytree(os.path.join(suite, name), os.path.join(made, "suite", name))
    for name in ("parallel_schedule", "resultmap"):
        shutil.copy(os.path.join(suite, name), os.path.join(made, "suite"))
    run(["patch", "-p1", "--forward", "-i", PATCH], log, 60, cwd=source)
    make(build, log)
    take_psql(build, os.path.join(made, "bin", "extended"))
    os.rename(made, target)
    shutil.rmtree(work)


class Suite:
    """Where its parts are."""

    def __init__(self, directory, version):
        self.directory = directory
        self.version = version
        self.pg_regress = os.path.join(directory, "bin", "pg_regress")
        self.libraries = os.path.join(directory, "lib")
        self.input = os.path.join(directory, "suite")
        self.schedule = os.path.join(self.input, "parallel_schedule")

    def psql_directory(self, protocol):
        return os.path.join(self.directory, "bin", "simple" if protocol == "simple" else "extended")

    def tests(self):
        with open(self.schedule, encoding="ascii") as file:
            return [name for line in file if line.startswith("test:")
                    for name in line[len("test:"):].split()]


def get_suite():
    cache = cache_directory()
    with locked(os.path.join(cache, "lock")):
        version, dsc = fetch_source(cache)
        target = os.path.join(cache, "built", "%s-%s" % (version, recipe()))
        if not os.path.isdir(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            build_suite(dsc, target)
    return Suite(target, version)


if __name__ == "__main__":
    print(get_suite().directory)
