// See conversation_generator.hpp.
#include "tests/support/conversation_generator.hpp"

#include <array>
#include <map>
#include <string_view>
#include <utility>

namespace pgweir::test {

namespace {

using kind = statement_text::kind;

// splitmix64: the same numbers with every compiler and library. It begins at a hash of the seed:
// from the seed itself, neighbours would get the same numbers one throw later.
class dice {
public:
    explicit dice(std::uint64_t seed)
        : state_(mixed(seed ^ 0x632be59bd9b4e019U)) {}

    std::size_t below(std::size_t bound) {
        state_ += 0x9e3779b97f4a7c15U;
        return static_cast<std::size_t>(mixed(state_) % bound);
    }
    bool once_in(std::size_t times) { return below(times) == 0; }
    template <typename Range>
    const auto& one_of(const Range& range) {
        return range[below(std::size(range))];
    }

private:
    static std::uint64_t mixed(std::uint64_t z) {
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31U);
    }

    std::uint64_t state_;
};

std::string with_letter(std::string text, char letter) {
    for (auto at = text.find("%c"); at != std::string::npos; at = text.find("%c", at)) {
        text.replace(at, 2, 1, letter);
    }
    return text;
}

// Statements that copy from the client go by this name only, and their portals by that one:
// whatever the client has been told about them, executing anything else never eats a Sync.
constexpr std::string_view copying_statement = "s3", copying_portal = "p2";

// What the generator remembers of a client. Some of it is a belief (whether a Parse will succeed
// only the server knows): beliefs make likely what is interesting, nothing is wrong when they are.
struct speaker {
    char letter = 'a';
    std::map<std::string, const statement_text*> statements; // belief
    std::map<std::string, const statement_text*> portals;    // belief
    // How many ReadyForQuery are owed, as far as that is certain whatever fails.
    std::uint32_t owed = 0;
    bool certain = true;
    bool batch_clean = true; // no message of the extended protocol since the last Sync
    bool gone = false;
};

class generator {
public:
    generator(std::uint64_t seed, const dialect& language, const generator_options& options)
        : dice_(seed)
        , language_(language)
        , options_(options) {
        for (const auto& s : language.statements) {
            total_weight_ += s.weight;
        }
    }

    generated_conversation run();

private:
    conversation_step& say(const speaker& who, step_kind what) {
        steps_.emplace_back();
        steps_.back().what = what;
        steps_.back().client = who.letter;
        return steps_.back();
    }
    const statement_text& any_statement();
    std::string statement_name();
    std::string portal_name();

    void burst(speaker& who);
    void query(speaker& who);
    void function_call(speaker& who);
    void round(speaker& who);
    void lone_message(speaker& who);
    // Both may choose another name than the one they are given.
    void parse(speaker& who, std::string& name, const statement_text& what);
    void bind(speaker& who, std::string& portal, const std::string& name);
    void execute(speaker& who, const std::string& portal);
    void extended(speaker& who, step_kind what, std::string name);
    void end_batch(speaker& who);
    void sync(speaker& who);
    void copy_stream(speaker& who);
    void flush_and_wait(speaker& who);
    void stray_message(speaker& who);
    void maybe_wait(speaker& who);
    void wait_owed(speaker& who);
    void settle(speaker& who);
    void leave_in_the_middle(speaker& who);
    void finish(std::vector<speaker>& everybody);

    dice dice_;
    const dialect& language_;
    const generator_options& options_;
    std::size_t total_weight_ = 0;
    conversation steps_;
};

const statement_text& generator::any_statement() {
    auto at = dice_.below(total_weight_);
    for (const auto& s : language_.statements) {
        if (at < s.weight) {
            return s;
        }
        at -= s.weight;
    }
    return language_.statements.front();
}

// Few, so that they collide.
std::string generator::statement_name() {
    static const std::array<std::string, 6> names = {"", "", "s1", "s1", "s2", "s3"};
    return dice_.one_of(names);
}

std::string generator::portal_name() {
    static const std::array<std::string, 5> names = {"", "", "", "p1", "p2"};
    return dice_.one_of(names);
}

void generator::query(speaker& who) {
    const auto* first = &any_statement();
    auto text = with_letter(first->text, who.letter);
    bool copies = first->does == kind::copies_in;
    for (auto more = dice_.once_in(5) ? 1 + dice_.below(3) : 0; more != 0; --more) {
        const auto& next = any_statement();
        copies = copies || next.does == kind::copies_in;
        text += "; " + with_letter(next.text, who.letter);
    }
    say(who, step_kind::query).text = std::move(text);
    who.statements.erase("");
    who.portals.clear();
    // Behind an error in a batch a Query is skipped, too.
    who.certain = who.certain && who.batch_clean;
    ++who.owed;
    if (copies) {
        copy_stream(who);
    }
}

void generator::function_call(speaker& who) {
    auto& step = say(who, step_kind::function_call);
    step.number = dice_.one_of(language_.functions);
    step.values = {std::to_string(dice_.below(9)), std::to_string(dice_.below(3))};
    if (dice_.once_in(8)) {
        step.values.pop_back();
    }
    step.results = {0};
    who.certain = who.certain && who.batch_clean;
    ++who.owed;
}

void generator::extended(speaker& who, step_kind what, std::string name) {
    say(who, what).name = std::move(name);
    who.batch_clean = false;
}

void generator::parse(speaker& who, std::string& name, const statement_text& what) {
    if (what.does == kind::copies_in) {
        name = copying_statement;
    }
    extended(who, step_kind::parse, name);
    auto& step = steps_.back();
    step.text = with_letter(what.text, who.letter);
    if (dice_.once_in(3)) {
        step.types.assign(what.parameters, 23); // int4
    }
    if (name.empty() || !who.statements.contains(name)) {
        who.statements[name] = &what;
    }
}

void generator::bind(speaker& who, std::string& portal, const std::string& name) {
    if (name == copying_statement) {
        portal = copying_portal;
    }
    extended(who, step_kind::bind, portal);
    auto& step = steps_.back();
    step.statement = name;
    const auto known = who.statements.find(name);
    const auto* what = known == who.statements.end() ? nullptr : known->second;
    auto count = what != nullptr ? what->parameters : dice_.below(2);
    count += dice_.once_in(25) ? 1 : 0;
    for (; count != 0; --count) {
        step.values.emplace_back(dice_.once_in(10)   ? std::nullopt
                                 : dice_.once_in(25) ? std::optional<std::string>("x")
                                                     : std::to_string(dice_.below(7)));
    }
    if (dice_.once_in(6)) {
        step.results = {static_cast<std::uint16_t>(dice_.below(2))};
    }
    who.portals[portal] = what;
}

void generator::execute(speaker& who, const std::string& portal) {
    extended(who, step_kind::execute, portal);
    steps_.back().number = dice_.once_in(3) ? static_cast<std::uint32_t>(1 + dice_.below(3)) : 0;
    const auto known = who.portals.find(portal);
    if (known != who.portals.end() && known->second != nullptr &&
        known->second->does == kind::copies_in) {
        copy_stream(who);
    }
    who.certain = who.certain && portal != copying_portal;
}

void generator::copy_stream(speaker& who) {
    who.certain = false;
    for (auto lines = dice_.below(4); lines != 0; --lines) {
        say(who, step_kind::copy_data).text = dice_.one_of(language_.copy_lines);
        if (dice_.once_in(6)) {
            const bool eaten = dice_.once_in(2) && options_.doubtful_copies;
            say(who, eaten ? step_kind::sync : step_kind::flush);
        }
    }
    if (dice_.once_in(12) && options_.doubtful_copies) {
        return; // settle() or the next message ends it
    }
    if (dice_.once_in(4)) {
        say(who, step_kind::copy_fail).text = "as the dice say";
    } else {
        say(who, step_kind::copy_done);
    }
    if (!options_.doubtful_copies) {
        settle(who);
    }
}

void generator::sync(speaker& who) {
    say(who, step_kind::sync);
    ++who.owed;
    who.batch_clean = true;
}

void generator::end_batch(speaker& who) {
    if (dice_.once_in(12)) {
        say(who, step_kind::flush);
        return;
    }
    sync(who);
    if (dice_.once_in(10)) {
        sync(who);
    }
}

// The round of a driver, with something left out or doubled now and then.
void generator::round(speaker& who) {
    const auto repetitions = dice_.once_in(3) ? 1 + dice_.below(4) : 1;
    for (std::size_t i = 0; i < repetitions; ++i) {
        auto name = statement_name();
        if (!who.statements.contains(name) || dice_.once_in(3)) {
            parse(who, name, any_statement());
        }
        if (dice_.once_in(5)) {
            extended(who, step_kind::describe_statement, name);
        }
        auto portal = portal_name();
        bind(who, portal, name);
        if (dice_.once_in(3)) {
            extended(who, step_kind::describe_portal, portal);
        }
        execute(who, portal);
        if (dice_.once_in(5)) {
            execute(who, portal);
        }
        if (dice_.once_in(6)) {
            extended(who, step_kind::close_statement, name);
            who.statements.erase(name);
        }
        if (dice_.once_in(8)) {
            extended(who, step_kind::close_portal, portal);
            who.portals.erase(portal);
        }
    }
    end_batch(who);
}

void generator::lone_message(speaker& who) {
    auto name = statement_name();
    auto portal = portal_name();
    switch (dice_.below(7)) {
    case 0:
        parse(who, name, any_statement());
        break;
    case 1:
        bind(who, portal, name);
        break;
    case 2:
        extended(who, step_kind::describe_statement, name);
        break;
    case 3:
        extended(who, step_kind::describe_portal, portal);
        break;
    case 4:
        execute(who, portal);
        break;
    case 5:
        extended(who, step_kind::close_statement, name);
        who.statements.erase(name);
        break;
    default:
        extended(who, step_kind::close_portal, portal);
    }
    if (!dice_.once_in(4)) {
        end_batch(who);
    }
}

// Waits in an open batch. That its first message is answered is certain, and that the answer comes
// at a Flush.
void generator::flush_and_wait(speaker& who) {
    if (!who.certain || !who.batch_clean) {
        return;
    }
    wait_owed(who);
    auto name = statement_name();
    if (dice_.once_in(2) && who.statements.contains(name) && name != copying_statement) {
        std::string portal;
        bind(who, portal, name);
        extended(who, step_kind::execute, portal);
        say(who, step_kind::flush);
        say(who, step_kind::wait_message).name = "CommandComplete|ErrorResponse";
    } else {
        parse(who, name, any_statement());
        say(who, step_kind::flush);
        say(who, step_kind::wait_message).name = "ParseComplete|ErrorResponse";
    }
    steps_.back().number = 1;
}

// What belongs to a COPY when there is none is dropped.
void generator::stray_message(speaker& who) {
    switch (dice_.below(3)) {
    case 0:
        say(who, step_kind::copy_data).text = dice_.one_of(language_.copy_lines);
        break;
    case 1:
        say(who, step_kind::copy_done);
        break;
    default:
        say(who, step_kind::flush);
    }
}

void generator::wait_owed(speaker& who) {
    if (who.certain && who.owed != 0) {
        say(who, step_kind::wait_ready).number = std::exchange(who.owed, 0);
    }
}

void generator::maybe_wait(speaker& who) {
    if (dice_.once_in(2)) {
        wait_owed(who);
    } else if (!who.certain && dice_.once_in(3)) {
        settle(who);
    }
}

// Brings a client to a point where it is certain what will come, whatever has happened: a COPY
// fails (nobody minds a CopyFail without one), a skipped batch ends, and the empty query, which is
// used for nothing else, is answered in every state of a transaction.
void generator::settle(speaker& who) {
    say(who, step_kind::copy_fail).text = "settle";
    say(who, step_kind::sync);
    say(who, step_kind::query);
    auto& answer = say(who, step_kind::wait_message);
    answer.name = "EmptyQueryResponse";
    answer.number = 1;
    say(who, step_kind::wait_ready).number = 1;
    who.owed = 0;
    who.certain = who.batch_clean = true;
    who.statements.erase("");
}

void generator::burst(speaker& who) {
    switch (dice_.below(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        query(who);
        break;
    case 4:
        function_call(who);
        break;
    case 5:
    case 6:
        lone_message(who);
        break;
    case 7:
        flush_and_wait(who);
        break;
    case 8:
        stray_message(who);
        break;
    default:
        round(who);
    }
    maybe_wait(who);
}

void generator::leave_in_the_middle(speaker& who) {
    static constexpr std::array ways = {step_kind::terminate,  step_kind::terminate,
                                        step_kind::half_close, step_kind::half_close,
                                        step_kind::hang_up,    step_kind::reset};
    const auto how = dice_.one_of(ways);
    say(who, how);
    if (how == step_kind::terminate || how == step_kind::half_close) {
        say(who, step_kind::wait_close);
    }
    who.gone = true;
}

// Everybody comes to rest; some say Terminate, some just leave. Then the tables are looked at.
void generator::finish(std::vector<speaker>& everybody) {
    for (auto& who : everybody) {
        if (options_.leave_in_the_middle && dice_.once_in(2)) {
            leave_in_the_middle(who);
        } else {
            settle(who);
        }
    }
    for (auto& who : everybody) {
        if (who.gone) {
            continue;
        }
        if (dice_.once_in(4)) {
            say(who, dice_.once_in(2) ? step_kind::hang_up : step_kind::reset);
        } else {
            say(who, step_kind::terminate);
            say(who, step_kind::wait_close);
        }
    }
    if (options_.looks_from_outside) {
        say(everybody.front(), step_kind::admin_until).text = "quiet";
        for (const auto& who : everybody) {
            say(who, step_kind::admin_check).text = with_letter(language_.contents, who.letter);
        }
    }
}

generated_conversation generator::run() {
    const auto clients = 1 + dice_.below(options_.most_clients);
    std::vector<speaker> everybody(clients);
    for (std::size_t i = 0; i < clients; ++i) {
        everybody[i].letter = static_cast<char>('a' + i);
    }
    const auto bursts = 1 + dice_.below(options_.bursts);
    for (std::size_t i = 0; i < bursts; ++i) {
        burst(everybody[dice_.below(clients)]);
    }
    finish(everybody);
    return {clients, std::move(steps_)};
}

} // namespace

generated_conversation generate(std::uint64_t seed, const dialect& language,
                                const generator_options& options) {
    return generator(seed, language, options).run();
}

std::string for_clients(const std::string& sql, std::size_t clients) {
    std::string out;
    for (std::size_t i = 0; i < clients; ++i) {
        out += with_letter(sql, static_cast<char>('a' + i));
    }
    return out;
}

const dialect& postgres_dialect() {
    static const dialect language = {
        .statements =
            {
                {"select 1, 'one'", 0, kind::ordinary, 3},
                {"select $1::int + 1", 1, kind::ordinary, 4},
                {"select $1::text, $2::int", 2, kind::ordinary, 2},
                {"select i, 'row ' || i from generate_series(1, 5) i", 0, kind::ordinary, 3},
                {"select repeat('long', 3000)", 0, kind::ordinary, 1},
                {"select a from t_%c order by a", 0, kind::ordinary, 4},
                {"select count(*) from t_%c where a > $1", 1, kind::ordinary, 2},
                {"insert into t_%c values ($1)", 1, kind::ordinary, 5},
                {"insert into t_%c values (7)", 0, kind::ordinary, 3},
                {"insert into t_%c select generate_series(1, 3) returning a", 0, kind::ordinary, 2},
                {"update t_%c set a = a + 1 where a < 100", 0, kind::ordinary, 1},
                {"delete from t_%c where a = $1", 1, kind::ordinary, 1},
                {"insert into d_%c values ($1)", 1, kind::ordinary, 2},
                {"insert into d_%c values (1)", 0, kind::ordinary, 1},
                {"begin", 0, kind::begins, 5},
                {"begin isolation level repeatable read", 0, kind::begins, 1},
                {"commit", 0, kind::ends, 4},
                {"rollback", 0, kind::ends, 3},
                {"commit and chain", 0, kind::ends, 1},
                {"savepoint s", 0, kind::ordinary, 2},
                {"rollback to s", 0, kind::ordinary, 2},
                {"release s", 0, kind::ordinary, 1},
                {"select 1/0", 0, kind::ordinary, 2},
                {"select 1 / $1::int", 1, kind::ordinary, 2},
                {"selec", 0, kind::ordinary, 1},
                {"select * from there_is_none", 0, kind::ordinary, 1},
                {"copy t_%c from stdin", 0, kind::copies_in, 3},
                {"copy d_%c from stdin", 0, kind::copies_in, 1},
                {"copy t_%c (no_column) from stdin", 0, kind::copies_in, 1},
                {"copy (select generate_series(1, 3)) to stdout", 0, kind::ordinary, 1},
                {"copy (select 4 / (2 - i) from generate_series(1, 3) i) to stdout", 0,
                 kind::ordinary, 1},
                {"do $$ begin raise notice 'a notice for %c'; end $$", 0, kind::ordinary, 1},
                {"declare cursor_%c cursor for select generate_series(1, 4)", 0, kind::ordinary, 1},
                {"fetch 2 from cursor_%c", 0, kind::ordinary, 1},
                {"set local application_name = 'local %c'", 0, kind::ordinary, 1},
                {"set application_name = 'own %c'", 0, kind::ordinary, 1},
                {"reset application_name", 0, kind::ordinary, 1},
                {"show application_name", 0, kind::ordinary, 2},
                {"deallocate s1", 0, kind::ordinary, 1},
                {"deallocate all", 0, kind::ordinary, 1},
                {"discard all", 0, kind::ordinary, 1},
                {"vacuum t_%c", 0, kind::ordinary, 1},
            },
        .functions = {177, 154, 0}, // int4pl, int4div, none
        .copy_lines = {"1\n", "2\n3\n", "4", "\n", "no number\n", ""},
        .create = "create table if not exists t_%c (a int);"
                  "create table if not exists d_%c (a int unique deferrable initially deferred);",
        .empty = "delete from t_%c; delete from d_%c;",
        .contents = "select a, count(*) from (select a from t_%c union all select -a from d_%c)"
                    " both group by a order by a",
        .drop = "drop table if exists t_%c, d_%c;",
    };
    return language;
}

const dialect& model_dialect() {
    static const dialect language = {
        .statements =
            {
                {"SELECT %c", 0, kind::ordinary, 6},
                {"ROWS 5 %c", 0, kind::ordinary, 4},
                {"INSERT %c", 0, kind::ordinary, 6},
                {"BEGIN", 0, kind::begins, 4},
                {"COMMIT", 0, kind::ends, 4},
                {"ROLLBACK", 0, kind::ends, 3},
                {"FAIL", 0, kind::ordinary, 3},
                {"FAIL PARSE", 0, kind::ordinary, 1},
                {"FAIL AT COMMIT", 0, kind::ordinary, 2},
                {"COPY %c FROM STDIN", 0, kind::copies_in, 2},
                {"COPY %c FROM STDIN FAIL AT 0", 0, kind::copies_in, 1},
                {"COPY %c FROM STDIN FAIL AT 2", 0, kind::copies_in, 1},
                {"COPY %c FROM STDIN FAIL AT END", 0, kind::copies_in, 1},
                {"COPY %c TO STDOUT", 0, kind::ordinary, 2},
            },
        .functions = {1, 0},
        .copy_lines = {"1\n", "2\n", ""},
        .create = {},
        .empty = {},
        .contents = {},
        .drop = {},
    };
    return language;
}

} // namespace pgweir::test
