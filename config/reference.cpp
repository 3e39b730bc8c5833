// See reference.hpp.
#include "config/reference.hpp"
#include "config/settings.hpp"
#include "config/text.hpp"

namespace pgweir::config {
namespace {

constexpr std::string_view preamble = R"(# Settings

<!-- Made from the table in config/settings.cpp. To write it anew: config_tests -ns -tc="write docs/settings.md" -->

One YAML file, given to `pgweir run --config FILE`. `pgweir check --config FILE` tells everything that
is wrong with it, with line and column. [config/example.yaml](../config/example.yaml) has every
setting with its default.

**Signals.** SIGTERM and SIGINT let open transactions finish (`shutdown_timeout`), a second one ends
at once; SIGHUP reloads; SIGUSR1 and SIGUSR2, by which other poolers pause and go on, are logged and
do nothing.

**Reload.** On SIGHUP or the console's `RELOAD` the file is checked as a whole. With an error nothing
changes. Otherwise what is marked *reload* counts at once, and what is marked *restart* is named in
the log and waits for the next start.

**Durations** are a whole number with its unit: `500ms`, `5s`, `10m`, `1h`, `2d`; 0 needs none.

**Secrets** are better kept elsewhere: `env:NAME` takes the value of an environment variable,
`file:PATH` the content of a file (a relative path begins at the folder of the configuration), and
`credential:NAME` what systemd's `LoadCredential=` has put into `$CREDENTIALS_DIRECTORY`. The newline at
the end is not part of it, where it comes from a file or from systemd; other control characters are an
error, wherever a secret comes from. For all files with secrets, `auth.userlist`, `tls.key` and `sslkey` among them,
PostgreSQL's rule of `ssl_key_file` counts: a file that belongs to the user whom pgweir runs as is nobody
else's to read (`chmod 600`); one that belongs to root, who is somebody else by then, may be read by its group,
of which that user has to be (`chown root:pgweir`, `chmod 640`). `pgweir check` warns of a configuration that
has secrets itself and is more open than that; run by root, it reads the files as pgweir's user with `--run-as
USER`. A password that itself begins with `env:`, `file:` or `credential:` has to be kept that way. `pgweir passwd` turns a password into a verifier, with
which clients can log in and nobody can log in elsewhere. Secrets appear in no log, error message or
console answer, are wiped from memory, and pgweir writes no core dumps.

**YAML.** Anchors, aliases and tags are not supported. A key given twice is an error. Values that
begin with one of `* & ! @ % # { [` or hold `: ` or ` #` need quotes.
)";

struct section {
    std::string_view title, prefix, text;
};
// `prefix` ends in a dot, but for the settings at the top level.
constexpr section sections[] = {
    {"listen", listen_prefix,
     "A list: `listen: [{ address: 0.0.0.0, port: 6432 }]`. One entry per address, up to 64."},
    {"databases", database_prefix,
     "A map by the name that clients ask for. The name `*` stands for any that is not listed. "
     "Every "
     "setting of [pool](#pool) can be given here too and then counts for this database. At least "
     "one database is needed; `pgbouncer` and `pgweir` are the console's names."},
    {"users", user_prefix,
     "A map by name. More of them can come from `auth.userlist`. A user may have a "
     "`session_state` of its own (see [pool](#pool)), which counts before that of the database, "
     "but for databases that have a `user`."},
    {"pool", pool_prefix, "Counts for every database that does not say otherwise."},
    {"auth", "auth.", ""},
    {"tls", "tls.",
     "With clients. Towards PostgreSQL: `sslmode` and its kin of each database. Relative paths "
     "begin at the folder of the configuration."},
    {"console", "console.", ""},
    {"metrics", "metrics.", ""},
    {"log", "log.", ""},
    {"Others", "", "At the top level of the file."},
};

bool belongs(const setting& row, std::string_view prefix) {
    return prefix.empty() ? row.key.find('.') == std::string_view::npos
                          : row.key.starts_with(prefix);
}

std::string fallback_of(const setting& row) {
    if (row.required) {
        return "*required*";
    }
    return row.fallback.empty() ? "*none*" : concat({"`", row.fallback, "`"});
}

} // namespace

std::string settings_reference() {
    std::string result(preamble);
    for (const auto& each : sections) {
        result += concat({"\n## ", each.title, "\n"});
        if (!each.text.empty()) {
            result += concat({"\n", each.text, "\n"});
        }
        result += "\n| setting | default | type and bounds | changes by | meaning |\n"
                  "|---|---|---|---|---|\n";
        for (const auto& row : settings()) {
            if (!belongs(row, each.prefix)) {
                continue;
            }
            const auto bounds = bounds_of(row);
            result += concat({"| `", row.key, "` | ", fallback_of(row), " | ", type_of(row),
                              bounds.empty() ? "" : ": ", bounds, " | ",
                              row.needs == change_needs::reload ? "reload" : "restart", " | ",
                              row.doc, " |\n"});
        }
    }
    return result;
}

} // namespace pgweir::config
