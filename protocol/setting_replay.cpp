#include "protocol/setting_replay.hpp"

#include "protocol/own_statement.hpp"
#include "protocol/prepared_statement.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <initializer_list>
#include <span>

namespace pgweir::protocol {

namespace {

// src/include/catalog/pg_proc.dat; the numbers of built-in functions never change.
constexpr std::uint32_t set_config_function = 2'078;      // (text, text, bool)
constexpr std::uint32_t current_setting_function = 3'294; // (text, bool)

using argument = std::optional<std::string_view>; // nothing: null

void append_argument(message_writer& to, argument value) {
    to.u32(value ? static_cast<std::uint32_t>(value->size()) : 0xffffffff);
    to.raw(value.value_or(""));
}

void append_call(std::string& out, reply_queue& owed, std::uint32_t function,
                 std::initializer_list<argument> arguments) {
    message_writer call(out);
    call.begin(frontend::function_call).u32(function).u16(0); // all in text format
    call.u16(static_cast<std::uint16_t>(arguments.size()));
    for (const auto& value : arguments) {
        append_argument(call, value);
    }
    call.u16(0).end();
    owed.sent(frontend::function_call, fate::swallow);
}

constexpr std::string_view role = "role", session_authorization = "session_authorization";
constexpr std::string_view search_path = "search_path";
constexpr std::string_view guard = "exit_on_error";
constexpr std::string_view statement_timeout = "statement_timeout";

// Whoever one is decides what one may set: they are given up first and taken on last.
constexpr std::array<std::string_view, 2> identities = {session_authorization, role};

bool is_identity(std::string_view name) { return name == role || name == session_authorization; }

// … but not for these, which anybody may set to anything, whoever one is: those that are set often.
constexpr std::array<std::string_view, 23> everybodys = {
    "jit",
    "role",
    "timezone",
    "work_mem",
    "datestyle",
    "search_path",
    "bytea_output",
    "lock_timeout",
    "row_security",
    "intervalstyle",
    "client_encoding",
    "application_name",
    "statement_timeout",
    "extra_float_digits",
    "synchronous_commit",
    "client_min_messages",
    "idle_session_timeout",
    "maintenance_work_mem",
    "standard_conforming_strings",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "default_transaction_deferrable",
    "idle_in_transaction_session_timeout",
};
// Short ones first: nearly all compares are of lengths.
constexpr bool comes_before(std::string_view a, std::string_view b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
}
static_assert(std::is_sorted(everybodys.begin(), everybodys.end(), comes_before));

// What differs, by name; `set(name, value)`, no value: back to the server's own.
template <typename Set>
void for_each_difference(const setting_map& carried, const setting_map& wanted, const Set& set) {
    auto has = carried.begin();
    auto want = wanted.begin();
    while (has != carried.end() || want != wanted.end()) {
        const auto order = has == carried.end()   ? 1
                           : want == wanted.end() ? -1
                                                  : has->first.compare(want->first);
        if (order < 0) {
            set(std::string_view(has->first), argument());
        } else if (order > 0 || has->second != want->second) {
            set(std::string_view(want->first), argument(want->second));
        }
        has = order <= 0 ? std::next(has) : has;
        want = order >= 0 ? std::next(want) : want;
    }
}

// The same in the order in which it has to be done. The client's own statement_timeout comes last:
// it is for the client's statements.
template <typename Set>
void in_order(const setting_map& carried, const setting_map& wanted, const Set& set) {
    bool whoever = true; // may do it
    for_each_difference(carried, wanted, [&](std::string_view name, argument) {
        whoever = whoever && is_everybodys(name);
    });
    const auto set_timeout = [&] {
        for_each_difference(carried, wanted, [&](std::string_view name, argument to) {
            if (name == statement_timeout) {
                set(name, to);
            }
        });
    };
    const auto each_identity = [&](const setting_map& of, const auto& take) {
        for (const auto name : identities) {
            if (const auto at = of.find(name); at != of.end()) {
                take(at);
            }
        }
    };
    if (!whoever) {
        each_identity(carried, [&](const auto& had) { set(had->first, argument()); });
    }
    for (const bool value : {false, true}) {
        for_each_difference(carried, wanted, [&](std::string_view name, argument to) {
            if (to.has_value() == value && !is_identity(name) && name != statement_timeout) {
                set(name, to);
            }
        });
    }
    if (!whoever) {
        each_identity(wanted, [&](const auto& want) { set(want->first, argument(want->second)); });
        set_timeout();
        return;
    }
    for_each_difference(carried, wanted, [&](std::string_view name, argument to) {
        if (is_identity(name)) {
            set(name, to);
        }
    });
    set_timeout();
}

// Ahead of the client's messages ------------------------------------------------------------------

struct step {
    std::string_view name;
    argument value;
};

constexpr std::size_t most_steps = 16;

constexpr std::uint32_t bit_of(std::size_t place) { return std::uint32_t{1} << place; }
// Of a statement that sets so many, the bit is as many places above these.
constexpr auto begin_bit = bit_of(0), path_bit = bit_of(1), commit_bit = bit_of(2);
constexpr std::size_t places_below_sets = 2;

// Should the client have made it wait for a snapshot (a serializable, deferrable one), not here.
constexpr std::string_view begin_name = "pgw_begin", path_name = "pgw_path",
                           commit_name = "pgw_commit";
constexpr std::string_view begin_sql = "BEGIN ISOLATION LEVEL READ COMMITTED";
constexpr std::string_view path_sql = "SET search_path TO ''";
constexpr std::string_view commit_sql = "COMMIT";

std::array<char, 9> set_name(std::size_t count) {
    return {'p', 'g', 'w', '_', 's', 'e', 't', '_', static_cast<char>('a' + count - 1)};
}

std::string set_sql(std::size_t count) {
    std::string sql = "SELECT";
    for (std::size_t i = 0; i < count; ++i) {
        sql += (i == 0 ? " " : ", ") + ("pg_catalog.set_config($" + std::to_string(2 * i + 1)) +
               ", $" + std::to_string(2 * i + 2) + ", false)";
    }
    return sql;
}

void append_bind(std::string& out, std::string_view statement, std::span<const step> values) {
    message_writer to(out);
    to.begin(frontend::bind).c_string("").c_string(statement).u16(0);
    to.u16(static_cast<std::uint16_t>(2 * values.size()));
    for (const auto& [name, value] : values) {
        append_argument(to, name);
        append_argument(to, value);
    }
    to.u16(0).end();
}

void append_execute(std::string& out) {
    message_writer(out).begin(frontend::execute).c_string("").u32(0).end();
}

// A statement that servers keep prepared, and what goes out each time it is run.
struct kept_statement {
    kept_statement(std::string_view name_, std::uint32_t bit_, std::string_view sql_)
        : name(name_)
        , sql(sql_)
        , bit(bit_) {
        append_bind(run, name, {});
        append_execute(run);
    }
    std::string name, sql, run = {};
    std::uint32_t bit;
};

// First of all it is prepared where the server lacks it.
class ahead_writer {
public:
    ahead_writer(std::string& out, reply_queue& owed, std::uint32_t& prepared)
        : out_(out)
        , owed_(owed)
        , prepared_(prepared) {}

    void run(const kept_statement& what) {
        prepare(what.name, what.bit, [&what] { return what.sql; });
        out_ += what.run;
        runs();
    }
    void set(std::span<const step> values) {
        const auto name = set_name(values.size());
        const std::string_view statement(name.data(), name.size());
        prepare(statement, bit_of(places_below_sets + values.size()),
                [&values] { return set_sql(values.size()); });
        append_bind(out_, statement, values);
        append_execute(out_);
        runs();
    }

private:
    template <typename Sql>
    void prepare(std::string_view name, std::uint32_t bit, const Sql& sql) {
        if ((prepared_ & bit) != 0) [[likely]] {
            return;
        }
        append_close_statement(out_, name); // should it have it after all
        message_writer(out_).begin(frontend::parse).c_string(name).c_string(sql()).u16(0).end();
        owed_.sent_ahead(frontend::close);
        owed_.sent_ahead(frontend::parse);
        prepared_ |= bit;
    }
    void runs() {
        owed_.sent_ahead(frontend::bind);
        owed_.sent_ahead(frontend::execute);
    }

    std::string& out_;
    reply_queue& owed_;
    std::uint32_t& prepared_;
};

struct step_list {
    std::array<step, most_steps> steps;
    std::size_t count = 0;
    bool sets_path = false;
    bool fits = true;
    bool whoever = true; // may take them

    void add(std::string_view name, argument value) {
        fits = fits && count != most_steps && name != "client_encoding";
        if (fits) {
            sets_path = sets_path || name == search_path;
            whoever = whoever && is_everybodys(name);
            steps[count++] = {name, value};
        }
    }
};

// In one go, where anybody may do all of it: then only what is a role must come last.
void list_steps(step_list& list, const setting_map& carried, const setting_map& wanted) {
    for_each_difference(carried, wanted,
                        [&](std::string_view name, argument value) { list.add(name, value); });
    const auto first = list.steps.begin();
    const auto last = first + static_cast<std::ptrdiff_t>(list.count);
    if (list.whoever) {
        const auto at = std::find_if(first, last, [](const step& s) { return s.name == role; });
        std::rotate(at, at == last ? last : at + 1, last);
        return;
    }
    list = {};
    in_order(carried, wanted,
             [&](std::string_view name, argument value) { list.add(name, value); });
}

} // namespace

bool is_everybodys(std::string_view name) {
    return std::binary_search(everybodys.begin(), everybodys.end(), name, comes_before);
}

bool may_wait_for_snapshot(const setting_map& session) {
    const auto found = session.find("default_transaction_deferrable");
    return found != session.end() && found->second != "off";
}

bool has_others_timeout(const setting_map& carried, const setting_map& wanted) {
    const auto has = carried.find(statement_timeout);
    if (has == carried.end() || has->second == "0") {
        return false;
    }
    const auto own = wanted.find(statement_timeout);
    return own == wanted.end() || own->second != has->second;
}

setting_map with_timeout_lifted(const setting_map& carried) {
    setting_map lifted = carried;
    lifted.insert_or_assign(std::string(statement_timeout), "0");
    return lifted;
}

bool append_settings_ahead(std::string& out, reply_queue& owed, const setting_map& carried,
                           const setting_map& wanted, std::uint32_t& prepared) {
    static const kept_statement begin(begin_name, begin_bit, begin_sql);
    static const kept_statement path(path_name, path_bit, path_sql);
    static const kept_statement commit(commit_name, commit_bit, commit_sql);
    step_list list;
    list_steps(list, carried, wanted);
    if (!list.fits || carried.contains(guard) || wanted.contains(guard)) {
        return false;
    }
    if (list.count == 0) {
        return true;
    }
    ahead_writer to(out, owed, prepared);
    to.run(begin);
    if (list.sets_path) {
        to.run(path);
    }
    to.set({list.steps.data(), list.count});
    to.run(commit);
    return true;
}

void for_each_setting_statement(const std::function<void(std::string_view)>& visit) {
    visit(begin_name);
    visit(path_name);
    visit(commit_name);
    for (std::size_t count = 1; count <= most_steps; ++count) {
        const auto name = set_name(count);
        visit({name.data(), name.size()});
    }
}

// By calls ---------------------------------------------------------------------------------------

void append_setting_replay(std::string& out, reply_queue& owed, const setting_map& carried,
                           const setting_map& wanted, refused_setting refused) {
    if (carried == wanted) {
        return;
    }
    const auto set = [&](std::string_view name, argument value) {
        append_call(out, owed, set_config_function, {name, value, "f"});
    };
    const bool waits = may_wait_for_snapshot(carried) || may_wait_for_snapshot(wanted);
    if (waits) {
        append_apart_begin(out, owed);
    }
    const bool guarded = refused == refused_setting::ends_server;
    if (guarded) {
        set(guard, "on");
    }
    in_order(carried, wanted, [&](std::string_view name, argument value) {
        if (name != guard || !guarded) {
            set(name, value);
        }
    });
    if (guarded) {
        const auto own = wanted.find(guard);
        set(guard, own != wanted.end() ? argument(own->second) : std::nullopt);
    }
    if (waits) {
        append_apart_end(out, owed);
    }
}

void for_each_setting_to_replay(const setting_map& carried, const setting_map& wanted,
                                const std::function<void(std::string_view, bool)>& visit) {
    in_order(carried, wanted,
             [&visit](std::string_view name, argument value) { visit(name, value.has_value()); });
}

void append_setting_question(std::string& out, reply_queue& owed, std::string_view name) {
    append_call(out, owed, current_setting_function, {name, "t"});
}

void append_setting_reading(std::string& out, reply_queue& owed, std::string_view name,
                            std::string_view value) {
    append_call(out, owed, set_config_function, {name, value, "t"}); // for its own transaction
}

void append_reset_reading(std::string& out, reply_queue& owed, std::string_view name) {
    append_call(out, owed, set_config_function, {name, argument(), "t"});
}

std::optional<std::string_view> function_result(bytes body) {
    body_reader reader(body);
    const auto length = reader.u32();
    const auto value = reader.raw(length);
    return reader.finished() ? std::optional(as_text(value)) : std::nullopt;
}

} // namespace pgweir::protocol
