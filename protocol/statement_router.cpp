#include "protocol/statement_router.hpp"

#include "protocol/executed_statement.hpp"
#include "protocol/lent_statements.hpp"
#include "protocol/naming_sql.hpp"
#include "protocol/own_statement.hpp"
#include "protocol/providing.hpp"
#include "protocol/stale_statement.hpp"
#include "protocol/start_up_settings.hpp"
#include "protocol/statement_names.hpp"
#include "protocol/statement_scan.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>
#include <vector>

namespace pgweir::protocol {

namespace {

using change = server_statements::change;
using presence = server_statements::presence;
using deallocation = naming_sql::deallocation;
using lent = naming_sql::lent;

// Longer names are PostgreSQL's to know: the client stays where it has used them.
constexpr std::size_t longest_shared_name = 1'024;

class router {
public:
    router(bytes frame, bool complete, const statement_link& link, reply_queue& owed,
           session_state& state, relay_sink& to)
        : frame_(frame)
        , complete_(complete)
        , link_(link)
        , owed_(owed)
        , state_(state)
        , to_(to)
        , batch_(owed.batch()) {}

    routing parse();
    routing bind();
    routing describe();
    routing close();
    routing query();

private:
    [[nodiscard]] routing named_parse(std::string_view name, bytes definition);
    [[nodiscard]] routing pinning_parse(std::string_view name);
    [[nodiscard]] routing pass_under(frontend type, std::size_t name_at, std::string_view name,
                                     ask how);
    [[nodiscard]] routing repeated_parse(std::string_view name);
    [[nodiscard]] routing unnamed_parse(bytes definition);
    [[nodiscard]] routing use(frontend type, std::size_t name_at, std::string_view name, ask how);
    [[nodiscard]] routing is_bound(const prepared_statement& what);
    [[nodiscard]] bool is_to_wait_for_answers(frontend type, const prepared_statement& what) const;
    [[nodiscard]] routing use_unnamed(frontend type, std::size_t name_at, ask how);
    [[nodiscard]] routing pass(frontend type, ask how = {});
    [[nodiscard]] routing rename(std::size_t name_at, std::string_view name, std::string_view to);
    [[nodiscard]] bool ours_may_go() const { return owed_.ours_may_go(); }
    [[nodiscard]] bool ours_may_go_soon() const { return owed_.ours_may_go_soon(); }
    // Where no answers will come, waiting would never end; nor is anything left that they could
    // tell.
    [[nodiscard]] bool answers_will_come() const { return owed_.answers_will_come(); }
    [[nodiscard]] naming_sql naming() const { return {link_, owed_, to_}; }
    [[nodiscard]] bool renamed_fits(std::string_view name, std::string_view to) const;
    [[nodiscard]] providing provided() const { return {link_, owed_, to_}; }
    [[nodiscard]] routing unnamed_is_used(frontend type);
    [[nodiscard]] routing is_executed(const prepared_statement& what);
    [[nodiscard]] routing has_effects(scanned_statement what);
    [[nodiscard]] routing executes_by_name(std::string_view sql);
    [[nodiscard]] routing use_by_sql(frontend type, std::size_t name_at, std::string_view name,
                                     ask how, const prepared_statement& what);

    bytes frame_;
    bool complete_;
    const statement_link& link_;
    reply_queue& owed_;
    session_state& state_;
    relay_sink& to_;
    std::uint64_t batch_;
    bool only_own_there_ = false; // of statements: it lists them
};

routing router::pass(frontend type, ask how) {
    owed_.sent(type, fate::forward, how);
    return {};
}

bool router::renamed_fits(std::string_view name, std::string_view to) const {
    const auto length = std::uint64_t{read_header(frame_).length_field} - name.size() + to.size();
    return length <= max_length_field;
}

// The frame with another name at that place, up to and with the name. What follows stays.
routing router::rename(std::size_t name_at, std::string_view name, std::string_view to) {
    const auto head = read_header(frame_);
    auto& out = to_.own();
    const auto before = as_text(frame_).substr(header_bytes, name_at - header_bytes);
    message_writer(out)
        .u8(static_cast<std::uint8_t>(head.type))
        .u32(static_cast<std::uint32_t>(head.length_field - name.size() + to.size()))
        .raw(before)
        .c_string(to);
    return {routing::how::rewritten, name_at + name.size() + 1};
}

// Parse ------------------------------------------------------------------------------------------

routing router::parse() {
    const auto name = string_at(frame_, header_bytes);
    if (!name.found) {
        state_.pin(pin_reason::named_statement);
        return pass(frontend::parse);
    }
    const auto definition = frame_.subspan(header_bytes + name.text.size() + 1);
    const bool whole = complete_ && is_definition(definition);
    if (whole && ours_may_go() && link_.mine.has_names() &&
        !naming().settled(string_at(definition, 0).text)) {
        return {routing::how::wait};
    }
    if (name.text.empty()) {
        return unnamed_parse(whole ? definition : bytes{});
    }
    const bool sharable = whole && name.text.size() <= longest_shared_name;
    if (sharable && ours_may_go_soon()) {
        return {routing::how::wait};
    }
    if (!sharable || !ours_may_go()) {
        return pinning_parse(name.text);
    }
    return named_parse(name.text, definition);
}

// Only this server knows it, under the client's own name.
routing router::pinning_parse(std::string_view name) {
    state_.pin(pin_reason::named_statement);
    link_.mine.keeps(harmless_name(name)); // it may have been lent to the server, and closed since
    return pass_under(frontend::parse, header_bytes, name, {});
}

routing router::pass_under(frontend type, std::size_t name_at, std::string_view name, ask how) {
    if (!name.starts_with(server_name_prefix)) {
        return pass(type, how);
    }
    const auto instead = harmless_name(name);
    if (!renamed_fits(name, instead)) {
        return {routing::how::too_long};
    }
    (void)pass(type, how);
    return rename(name_at, name, instead);
}

routing router::named_parse(std::string_view name, bytes definition) {
    if (const auto* const known = link_.mine.find(name); known != nullptr) {
        const auto taken = naming().gone(name);
        if (naming().unsettled(known) || taken == deallocation::unsettled) {
            return {routing::how::wait};
        }
        if (known->what != nullptr && taken == deallocation::none) {
            return repeated_parse(name);
        }
    }
    // What has been prepared by SQL, or under the client's own names, is known to the server alone
    // (it may be this very name): so it will be with this one.
    if (link_.per_server == 0 || state_.has(pin_reason::sql_statement) ||
        state_.has(pin_reason::named_statement)) {
        return pinning_parse(name);
    }
    const auto what = link_.mine.intern(context_now(link_, state_, name), definition);
    if (what == nullptr) {
        return pinning_parse(name);
    }
    const auto there = link_.there.of(what->id, batch_);
    if (there == presence::unsettled && answers_will_come()) {
        return {routing::how::wait};
    }
    if (!renamed_fits(name, what->name)) {
        return {routing::how::too_long};
    }
    if (there == presence::absent) {
        provided().make_room();
    }
    append_close_statement(to_.own(), what->name);
    owed_.sent(frontend::close, fate::swallow);
    const auto when = parsed_now(link_);
    link_.there.sent(change::about(change::kind::parse, {.id = what->id,
                                                         .name = std::string(name),
                                                         .what = what,
                                                         .before = link_.mine.stands_for(name)}),
                     batch_, when);
    link_.mine.sent(name, what, batch_, when);
    owed_.sent(frontend::parse, fate::forward, {.noted = true});
    return rename(header_bytes, name, what->name);
}

// PostgreSQL is to refuse it, with the words and in the order it has for that: so there has to be a
// statement under the client's own name, for so long. What it says does not matter.
routing router::repeated_parse(std::string_view name) {
    naming().lend_any(name, lent::in_batch);
    return pass(frontend::parse);
}

routing router::unnamed_parse(bytes definition) {
    const auto text = string_at(definition, 0).text;
    const bool may_name = may_name_statements(text);
    if (may_name) {
        if (const auto way = executes_by_name(text); way.is != routing::how::as_is) {
            return way;
        }
    }
    const bool names = may_name && naming().lend(frontend::parse, text, lent::in_batch);
    const auto serial = link_.mine.unnamed_sent(definition, batch_, names, link_.names.version);
    link_.there.sent({.is = change::kind::unnamed_parse, .serial = serial}, batch_);
    owed_.sent(frontend::parse, fate::forward, {.noted = true});
    return {.is_unnamed_naming_nothing = !may_name};
}

// Uses -------------------------------------------------------------------------------------------

routing router::bind() {
    const auto portal = string_at(frame_, header_bytes);
    const auto name_at = header_bytes + portal.text.size() + 1;
    const auto name = string_at(frame_, name_at);
    link_.mine.binds(nullptr, batch_);
    link_.mine.restores(nullptr);
    if (!portal.found || !name.found) {
        return pass(frontend::bind); // too long to be a name we know, or no Bind at all
    }
    return use(frontend::bind, name_at, name.text, {});
}

routing router::describe() {
    const bool statement = frame_.size() > header_bytes && frame_[header_bytes] == std::byte{'S'};
    const auto name = string_at(frame_, header_bytes + 1);
    const ask how{.describes_statement = statement};
    if (!statement) {
        link_.mine.describes_portal();
    }
    if (!statement || !name.found) {
        return pass(frontend::describe, how);
    }
    return use(frontend::describe, header_bytes + 1, name.text, how);
}

// Whether it still is what the client was told, or what has become of the statements it names.
bool router::is_to_wait_for_answers(frontend type, const prepared_statement& what) const {
    return (link_.mine.is_checking() && !owed_.in_doubt()) ||
           (type == frontend::bind && what.names_statements && ours_may_go() &&
            !naming().settled(what.text()));
}

routing router::use(frontend type, std::size_t name_at, std::string_view name, ask how) {
    if (name.empty()) {
        return use_unnamed(type, name_at, how);
    }
    auto* const known = link_.mine.find(name);
    const auto taken = naming().gone(name);
    if (naming().unsettled(known) || taken == deallocation::unsettled) {
        return {routing::how::wait};
    }
    if (known == nullptr || known->what == nullptr || taken == deallocation::done) {
        return pass_under(type, name_at, name, how);
    }
    const auto& what = known->what;
    if (what->by_sql) {
        return use_by_sql(type, name_at, name, how, *what);
    }
    if (!renamed_fits(name, what->name)) {
        return {routing::how::too_long};
    }
    if (is_to_wait_for_answers(type, *what)) {
        return {routing::how::wait};
    }
    if (is_stale(*known) && link_.status != transaction_status::failed) {
        (void)pass(type, how);
        return rename(name_at, name, stale_name);
    }
    switch (link_.there.of(what->id, batch_, needs_of(*known))) {
    case presence::unsettled:
        if (answers_will_come()) {
            return {routing::how::wait};
        }
        [[fallthrough]];
    case presence::absent:
        if (ours_may_go_soon()) {
            return {routing::how::wait};
        }
        if (!ours_may_go()) {
            return pass_under(type, name_at, name, how); // PostgreSQL says that there is none
        }
        if (const auto way = provided().provide_for(*known); way.is == routing::how::wait) {
            return way;
        }
        break;
    case presence::present:
        link_.there.touch(what->id);
        ++link_.counted.found;
        break;
    }
    if (type == frontend::bind) {
        if (const auto way = is_bound(*what); way.is != routing::how::as_is) {
            return way;
        }
        link_.mine.binds(known, batch_);
    } else {
        provided().describe_first(*known);
        link_.mine.describes_statement(*known);
    }
    if (only_own_there_) {
        return pass_under(type, name_at, name, how); // it is one of those
    }
    (void)pass(type, how);
    return rename(name_at, name, what->name);
}

// It is going to be executed.
routing router::is_bound(const prepared_statement& what) {
    if (what.names_statements) { // and to know statements by the client's names
        if (const auto way = executes_by_name(what.text()); way.is != routing::how::as_is) {
            return way;
        }
        naming().lend(frontend::bind, what.text(), lent::in_batch);
    }
    if (what.matters(link_.names, link_.channels != nullptr)) {
        if (const auto way = is_executed(what); way.is != routing::how::as_is) {
            return way;
        }
        prepare_restoring(string_at(frame_, header_bytes).text, what.text(), link_);
    }
    return {};
}

// It is made under the client's own name, which it keeps.
routing router::use_by_sql(frontend type, std::size_t name_at, std::string_view name, ask how,
                           const prepared_statement& what) {
    if (ours_may_go_soon()) {
        return {routing::how::wait};
    }
    if (ours_may_go()) {
        if (type == frontend::bind && what.matters(link_.names, link_.channels != nullptr)) {
            if (const auto way = is_executed(what); way.is != routing::how::as_is) {
                return way;
            }
        }
        lend_statement(link_.mine, owed_, to_.own(), name, what, {.errors_to_client = true});
    }
    return pass_under(type, name_at, name, how);
}

routing router::use_unnamed(frontend type, std::size_t name_at, ask how) {
    auto& mine = link_.mine;
    if (!mine.unnamed_settled_for(batch_) && answers_will_come()) {
        return {routing::how::wait};
    }
    const bool is_there = link_.there.unnamed_is_of(mine);
    if (!is_there && ours_may_go_soon()) {
        return {routing::how::wait};
    }
    if (const auto way = unnamed_is_used(type); way.is != routing::how::as_is) {
        return way;
    }
    if (is_there) {
        return pass(type, how);
    }
    if (!ours_may_go()) {
        // What the server has may be another client's; PostgreSQL says that there is none.
        (void)pass(type, how);
        return rename(name_at, "", "?");
    }
    if (mine.has_unnamed() && mine.unnamed_known()) {
        append_parse(to_.own(), "", mine.unnamed_definition());
        link_.there.sent(
            {.is = change::kind::unnamed_provide, .serial = mine.unnamed_sent_again(batch_)},
            batch_);
        owed_.sent(frontend::parse, fate::swallow, {.errors_to_client = true, .noted = true});
        ++link_.counted.provided;
    } else {
        // It has none; what the server has is another client's.
        append_close_statement(to_.own(), "");
        link_.there.sent(
            {.is = change::kind::unnamed_destroyed, .serial = mine.unnamed_destroyed(batch_)},
            batch_);
        owed_.sent(frontend::close, fate::swallow, {.noted = true});
    }
    return pass(type, how);
}

// It is going to be executed, long after it was parsed.
routing router::unnamed_is_used(frontend type) {
    if (type != frontend::bind) {
        return {};
    }
    const auto definition = link_.mine.unnamed_definition();
    const auto text = [&] { return definition.substr(0, definition.find('\0')); };
    if (link_.mine.unnamed_names_statements(batch_)) {
        if (ours_may_go() && !naming().settled(text())) {
            return {routing::how::wait};
        }
        if (const auto way = executes_by_name(text()); way.is != routing::how::as_is) {
            return way;
        }
        naming().lend(frontend::bind, text(), lent::in_batch);
    }
    if (link_.mine.unnamed_leaves_something_known()) {
        prepare_restoring(string_at(frame_, header_bytes).text, text(), link_);
    }
    if (link_.mine.unnamed_leaves_something_when_bound(batch_, link_.names.version)) {
        return has_effects({text(), scan(text(), true, link_.names.names)});
    }
    if (!link_.mine.unnamed_known()) {
        state_.pin(pin_reason::large_statement); // nobody has seen what it says
    }
    return {};
}

// A prepared statement that has to do with the session's state is going to be executed.
routing router::is_executed(const prepared_statement& what) {
    return has_effects({what.text(), what.effects(link_.names)});
}

routing router::has_effects(scanned_statement what) {
    if (only_own_there_) { // by another that the message executes
        what.effects &= ~effect_bits{lists_statements};
    }
    const auto found =
        statement_is_executed(static_cast<frontend>(frame_[0]), what, link_, owed_, state_, to_);
    batch_ = owed_.batch();
    only_own_there_ = only_own_there_ || found.only_own_there;
    return found.way;
}

// What is going to be executed may be EXECUTE, of statements that have to do with the session's
// state.
routing router::executes_by_name(std::string_view sql) {
    if (!link_.mine.has_names()) {
        return {};
    }
    // Each once, however often it is named: in the order in which they are named last, for that is
    // what counts of settings.
    std::unordered_set<const prepared_statement*> seen;
    std::vector<const prepared_statement*> last_first;
    const auto used = statement_names(sql);
    for (auto use = used.rbegin(); use != used.rend(); ++use) {
        const auto* const known =
            use->is == sql_statement_name::use::deallocate ? nullptr : link_.mine.find(use->name);
        if (known != nullptr && known->what != nullptr && seen.insert(known->what.get()).second &&
            known->what->matters(link_.names, link_.channels != nullptr)) {
            last_first.push_back(known->what.get());
        }
    }
    while (!last_first.empty()) {
        if (const auto way = is_executed(*last_first.back()); way.is != routing::how::as_is) {
            return way;
        }
        last_first.pop_back();
    }
    return {};
}

// Close ------------------------------------------------------------------------------------------

routing router::close() {
    const bool statement = frame_.size() > header_bytes && frame_[header_bytes] == std::byte{'S'};
    const auto name = string_at(frame_, header_bytes + 1);
    if (!statement || !name.found) {
        return pass(frontend::close);
    }
    if (name.text.empty()) {
        if (!link_.mine.has_unnamed() && !link_.mine.unnamed_in_flight()) {
            return pass(frontend::close);
        }
        link_.there.sent(
            {.is = change::kind::unnamed_destroyed, .serial = link_.mine.unnamed_destroyed(batch_)},
            batch_);
        return pass(frontend::close, {.noted = true});
    }
    const auto* const known = link_.mine.find(name.text);
    if (naming().unsettled(known)) {
        return {routing::how::wait};
    }
    ask how;
    if (known != nullptr && known->what != nullptr) {
        link_.there.sent(change::about(change::kind::close,
                                       {.name = std::string(name.text), .before = known->what}),
                         batch_);
        link_.mine.sent(name.text, nullptr, batch_);
        how.noted = true;
    }
    return pass_under(frontend::close, header_bytes + 1, name.text, how);
}

// SQL that names statements ----------------------------------------------------------------------

routing router::query() {
    auto& mine = link_.mine;
    mine.portals_go();
    if (mine.has_names() && complete_ && ours_may_go()) {
        const auto sql = string_at(frame_, header_bytes).text;
        if (!naming().settled(sql)) {
            return {routing::how::wait};
        }
        if (const auto way = executes_by_name(sql); way.is != routing::how::as_is) {
            return way;
        }
        const bool apart = owed_.between_batches();
        naming().lend(frontend::query, sql, apart ? lent::apart : lent::in_front);
        if (apart && owed_.batch_open()) {
            // In a batch of its own, so that its failure is not the Query's.
            append_own_sync(to_.own(), owed_);
            batch_ = owed_.batch();
        }
    }
    if (!mine.has_unnamed() && !mine.unnamed_in_flight()) {
        return pass(frontend::query);
    }
    link_.there.sent(
        {.is = change::kind::unnamed_destroyed, .serial = mine.unnamed_destroyed(batch_)}, batch_);
    return pass(frontend::query, {.noted = true});
}

} // namespace

routing route_statement_message(frontend type, bytes frame, bool complete,
                                const statement_link& link, reply_queue& owed, session_state& state,
                                relay_sink& to) {
    router way(frame, complete, link, owed, state, to);
    switch (type) {
    case frontend::parse:
        return way.parse();
    case frontend::bind:
        return way.bind();
    case frontend::describe:
        return way.describe();
    case frontend::close:
        return way.close();
    default:
        return way.query();
    }
}

} // namespace pgweir::protocol
