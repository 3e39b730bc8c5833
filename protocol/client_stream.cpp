// client_stream: what a client sends. See relay.hpp.
#include "protocol/builtin_functions.hpp"
#include "protocol/channel_use.hpp"
#include "protocol/lent_statements.hpp"
#include "protocol/rejected_state.hpp"
#include "protocol/relay.hpp"
#include "protocol/sequence_memory.hpp"
#include "protocol/start_up_settings.hpp"
#include "protocol/statement_scan.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgweir::protocol {

namespace {

// PostgreSQL reads messages that have no business being large only up to PQ_SMALL_MESSAGE_LIMIT
// (src/include/libpq/libpq.h), and takes a longer one for lost synchronisation.
constexpr std::uint32_t small_length_field = 10'000;

// One row per message a logged-in client may send: the length fields it may have, and whether it
// is looked at (then it is seen whole where it can be) or streams. A body too short for its type is
// no violation: PostgreSQL answers it with an ordinary ERROR.
struct frontend_row {
    std::uint32_t min_length = 0; // 0: not a message a client may send
    std::uint32_t max_length = 0;
    bool streams = false;
    bool is_statement = false;        // its text decides what it leaves in the session
    bool is_about_statements = false; // makes, uses or destroys a prepared one
    bool is_request = false;          // asks for something to be carried out
};

constexpr auto frontend_rows = [] {
    std::array<frontend_row, 128> rows{};
    const auto row = [&rows](frontend type) -> frontend_row& {
        return rows[static_cast<unsigned char>(type)];
    };
    for (const auto large : {frontend::query, frontend::parse, frontend::bind,
                             frontend::function_call, frontend::copy_data}) {
        row(large) = {4, max_length_field};
    }
    for (const auto small :
         {frontend::describe, frontend::close, frontend::execute, frontend::flush, frontend::sync,
          frontend::terminate, frontend::copy_done, frontend::copy_fail}) {
        row(small) = {4, small_length_field};
    }
    for (const auto part : {frontend::copy_data, frontend::copy_done, frontend::copy_fail}) {
        row(part).streams = true;
    }
    for (const auto text : {frontend::query, frontend::parse}) {
        row(text).is_statement = true;
    }
    // A Query destroys the unnamed one.
    for (const auto about :
         {frontend::parse, frontend::bind, frontend::describe, frontend::close, frontend::query}) {
        row(about).is_about_statements = true;
    }
    for (const auto request : {frontend::query, frontend::execute, frontend::function_call}) {
        row(request).is_request = true;
    }
    return rows;
}();

// The frame at the front of some bytes.
struct front_frame {
    enum class state : std::uint8_t {
        incomplete, // less than can be judged
        violation,  // nothing a client may send
        usable,     // whole, or all that will be seen of it, or one that streams
    };
    state is = state::incomplete;
    frontend type{};
    std::size_t frame_bytes = 0;
    const frontend_row* row = nullptr; // where usable

    [[nodiscard]] std::size_t there(bytes in) const { return std::min(frame_bytes, in.size()); }
    [[nodiscard]] bool complete(bytes in) const { return frame_bytes <= in.size(); }
};

[[gnu::always_inline]] inline front_frame front_of(bytes in, bool buffer_full) {
    if (in.size() < header_bytes) {
        return {};
    }
    const auto head = read_header(in);
    const auto type = static_cast<unsigned char>(head.type);
    const auto& row = frontend_rows[type < frontend_rows.size() ? type : 0];
    if (row.min_length == 0 || head.length_field < row.min_length ||
        head.length_field > row.max_length) {
        return {front_frame::state::violation};
    }
    const auto frame_bytes = head.frame_bytes();
    const auto shown = row.is_statement ? statement_seen_bytes : front_seen_bytes;
    const bool usable =
        in.size() >= frame_bytes || row.streams || buffer_full || in.size() >= shown;
    return {usable ? front_frame::state::usable : front_frame::state::incomplete,
            static_cast<frontend>(head.type), frame_bytes, &row};
}

// The string at the front of a body that may have been cut off, which is taken off it.
string_in take_string(bytes& body) {
    const auto string = string_at(body, 0);
    body = string.found ? body.subspan(string.text.size() + 1) : bytes{};
    return string;
}

// Why a message is not passed on now; `exhausted` where it is.
client_step::stop stop_for(const routing& way) {
    switch (way.is) {
    case routing::how::wait:
        return client_step::stop::awaiting_answer;
    case routing::how::too_long:
        return client_step::stop::violation;
    case routing::how::not_to_be_run:
        return client_step::stop::others_sequences;
    case routing::how::channels_first:
        return client_step::stop::channels_first;
    case routing::how::as_is:
    case routing::how::rewritten:
        break;
    }
    return client_step::stop::exhausted;
}

// Why no message at all is passed on now; `exhausted` where it is.
client_step::stop held_back(const reply_queue& owed, const statement_link* statements) {
    if (owed.full()) {
        return client_step::stop::queue_full;
    }
    const bool ahead = statements != nullptr && statements->settings_ahead;
    if (ahead && owed.owed_ready(fate::forward) != 0) [[unlikely]] {
        return client_step::stop::awaiting_answer; // should they fail, this would be carried out
    }
    return client_step::stop::exhausted;
}

// Passes stretches of the input on as late as can be: at the end, or when something of our own is
// to stand behind what has been taken so far. Most often that is one stretch, and nobody else is
// asked.
class late_sink final : public relay_sink {
public:
    late_sink(bytes in, const std::size_t& taken_bytes, relay_sink& to)
        : in_(in)
        , taken_bytes_(taken_bytes)
        , to_(to) {}

    void pass(bytes piece) override {
        pass_on();
        to_.pass(piece);
    }
    std::string& own() override {
        pass_on();
        return to_.own();
    }
    [[nodiscard]] bool has_room() const override { return to_.has_room(); }

    void pass_on() {
        if (passed_ != taken_bytes_) {
            to_.pass(in_.subspan(passed_, taken_bytes_ - passed_));
            passed_ = taken_bytes_;
        }
        touched_ = true;
    }
    // These have been replaced by something of our own.
    void skip(std::size_t count) { passed_ += count; }
    // Something has gone into the other sink since the last time.
    [[nodiscard]] bool take_touched() { return std::exchange(touched_, false); }

private:
    bytes in_;
    const std::size_t& taken_bytes_;
    relay_sink& to_;
    std::size_t passed_ = 0; // of in_, to the other sink
    bool touched_ = true;
};

// Why no message is passed on from here.
client_step::stop stop_at(const front_frame& frame) {
    switch (frame.is) {
    case front_frame::state::incomplete:
        return client_step::stop::exhausted;
    case front_frame::state::violation:
        return client_step::stop::violation;
    case front_frame::state::usable:
        break;
    }
    return client_step::stop::terminate;
}

// A FunctionCall. As scan().
effect_bits effects_of_call(bytes body, const name_effects* names) {
    if (body.size() < 4) {
        return 0;
    }
    const auto function = read_u32(body);
    if (names == nullptr) {
        return effects_of_builtin(function);
    }
    const auto* const hidden = names->find(function);
    return (hidden != nullptr ? hidden->bits : effects_of_builtin(function)) | names->of_all().bits;
}

// The text in a message, or its function, and what that has to do with the session's state.
scanned_statement read_statement(frontend type, bytes body, bool complete,
                                 const name_effects* names) {
    switch (type) {
    case frontend::parse:
        take_string(body); // its name
        [[fallthrough]];
    case frontend::query: {
        const auto text = take_string(body);
        const bool whole = complete || (type == frontend::parse && text.found);
        return {text.text, scan(text.text, whole, names)};
    }
    case frontend::function_call:
        return {{}, effects_of_call(body, names)};
    default:
        return {};
    }
}

// PostgreSQL is to refuse it: something else goes out in its place.
routing send_rejected(const front_frame& frame, bytes rest, std::uint16_t why,
                      const statement_link& link, reply_queue& owed, session_state& state,
                      relay_sink& to) {
    const auto message = rest.first(frame.there(rest));
    const auto instead = rejected_message(message, why);
    auto way = route_statement_message(frame.type, as_bytes(instead), true, link, owed, state, to);
    if (stop_for(way) == client_step::stop::exhausted) {
        to.own().append(instead, way.skip_bytes);
        way.skip_bytes = message.size();
    }
    return way;
}

// Whatever it names from here on, this server alone will know.
bool knows_server_alone(const session_state& state) {
    return state.has(pin_reason::named_statement) || state.has(pin_reason::sql_statement);
}

// What stands in front of a message, or in its place: because others use the server as well, or
// because the client is not to have what the statement leaves behind.
routing route(const front_frame& frame, bytes rest, scanned_statement& statement,
              const statement_link& link, reply_queue& owed, session_state& state, relay_sink& to) {
    statement.effects &= ~effect_bits{link.ignored};
    const auto why = static_cast<std::uint16_t>(statement.effects & link.rejected);
    if (why != 0 && frame.row->is_statement && frame.complete(rest)) [[unlikely]] {
        statement = {}; // it does nothing to the session
        return send_rejected(frame, rest, why, link, owed, state, to);
    }
    if (may_read_sequences(statement.effects)) [[unlikely]] {
        const auto way = forget_others_sequences(frame.type, statement, link, owed, to);
        if (way.is != routing::how::as_is) {
            return way;
        }
    }
    if (!frame.row->is_about_statements) {
        return {};
    }
    if (link.mine.is_preparing() && owed.answers_will_come()) [[unlikely]] {
        return {routing::how::wait};
    }
    if (frame.type == frontend::query && statement.effects != 0 && frame.complete(rest))
        [[unlikely]] {
        const auto way = prepare_restoring(statement, link, owed);
        if (way.is != routing::how::as_is) {
            return way;
        }
    }
    // A named one does so when it is bound; but those that only this server knows are not known
    // then.
    const bool lists = (statement.effects & lists_statements) != 0 &&
                       (destroys_unnamed_statement(rest) || knows_server_alone(state));
    if (lists) [[unlikely]] {
        const auto way = have_only_own_statements(frame.type, link, owed, to);
        if (way.is != routing::how::as_is) {
            return way;
        }
    }
    if (link.channels != nullptr && destroys_unnamed_statement(rest) &&
        channel_use::concerns(statement.effects)) [[unlikely]] {
        const auto way = link.channels->before(statement.effects, owed);
        if (way.is != routing::how::as_is) {
            return way;
        }
    }
    const auto message = rest.first(frame.there(rest));
    if (statement.effects == bit_of(pin_reason::sql_statement) && frame.type == frontend::query &&
        frame.complete(rest)) [[unlikely]] {
        return route_prepare(message, statement, link, owed, state, to);
    }
    return route_statement_message(frame.type, message, frame.complete(rest), link, owed, state,
                                   to);
}

// What a message does to the session's state, now that it is going to be sent.
void take_effects(frontend type, bytes body, const scanned_statement& what, session_state& state,
                  const name_effects* names) {
    if (type != frontend::function_call) {
        state.statement(what.sql, what.effects, names);
        return;
    }
    const auto* const hidden = names != nullptr ? names->find(read_u32(body)) : nullptr;
    if (names != nullptr) {
        state.call(names->of_all());
    }
    if (hidden != nullptr) {
        state.call(*hidden);
    } else if (read_u32(body) == set_config_function) {
        state.unseen_setting();
    } else {
        state.statement(what.sql, what.effects);
    }
}

// … and of those that know its text: the client's unnamed statement, its channels.
void note_effects(bytes frame, const scanned_statement& what, const routing& way,
                  const statement_link* link) {
    if (link == nullptr || !destroys_unnamed_statement(frame)) {
        return;
    }
    if (link->channels != nullptr && channel_use::concerns(what.effects)) {
        link->channels->sent(what);
    }
    if (static_cast<frontend>(frame[0]) == frontend::parse) {
        link->mine.unnamed_leaves_something();
        const bool channels_only = (what.effects & ~unsigned{only_about_channels}) == 0;
        if (channels_only && link->channels == nullptr && way.is_unnamed_naming_nothing) {
            link->mine.unnamed_is_plain(); // until the client listens to something
        }
    }
}

// All of a message has been taken. True: nothing is to be sent behind it.
bool ends_step(frontend type, bytes frame, const statement_link* link, reply_queue& owed,
               session_state& state, relay_sink& to) {
    if (link == nullptr) {
        return false;
    }
    if (link->mine.to_restore() != nullptr) [[unlikely]] {
        restore_behind(type, frame, *link, owed, state, to);
    }
    if (type == frontend::sync && link->mine.anything_lent()) {
        take_back_lent(link->mine, owed, to.own());
    }
    return link->channels != nullptr && link->channels->ends_step(type);
}

// A message is going to the server: what it will be answered with.
void note_owed(frontend type, bytes body, reply_queue& owed) {
    if (type == frontend::flush) {
        if (!body.empty()) {
            // Answered by an error, as any bad message of the extended protocol.
            owed.sent(frontend::close);
        }
        return;
    }
    const bool describes_statement =
        type == frontend::describe && !body.empty() && body[0] == std::byte{'S'};
    owed.sent(type, fate::forward, {.describes_statement = describes_statement});
}

} // namespace

std::string violation_text(bytes in) {
    if (in.empty()) {
        return {};
    }
    const auto type = std::to_integer<unsigned>(in[0]);
    const bool known = type < frontend_rows.size() && frontend_rows[type].min_length != 0;
    return known ? std::string() : "invalid frontend message type " + std::to_string(type);
}

std::string_view statement_at(bytes in) {
    if (in.size() <= header_bytes) {
        return {};
    }
    const auto type = static_cast<frontend>(in[0]);
    auto text = as_text(in.subspan(header_bytes));
    if (type == frontend::parse) {
        text.remove_prefix(std::min(text.size(), text.find('\0') + 1)); // its name
    } else if (type != frontend::query) {
        return {};
    }
    return text.substr(0, text.find('\0'));
}

std::string_view statement_bound(bytes in, const client_statements& mine) {
    const auto portal = string_at(in, header_bytes).text;
    const auto name = string_at(in, header_bytes + portal.size() + 1).text;
    if (!name.empty()) {
        const auto known = mine.stands_for(name);
        return known != nullptr ? known->text() : std::string_view(); // the client keeps it
    }
    const auto text = mine.unnamed_definition();
    return text.substr(0, text.find('\0'));
}

// Takes what has come of the current message's body.
std::size_t client_stream::take_body(std::size_t available) {
    const auto taken = std::min(body_left_, available);
    body_left_ -= taken;
    if (body_left_ == 0) {
        discarding_body_ = false;
    }
    return taken;
}

void client_stream::abandon_message() { discarding_body_ = body_left_ != 0; }

client_peek client_stream::peek(bytes in, bool buffer_full) {
    std::size_t dropped = 0;
    if (body_left_ != 0) {
        abandon_message(); // its server is gone, or it was dropped from its beginning
        dropped = take_body(in.size());
    }
    for (;;) {
        const auto rest = in.subspan(dropped);
        // Once what was dropped has left the buffer, there is room for more.
        const auto frame = front_of(rest, buffer_full && dropped == 0);
        // One with something in it is an error, and PostgreSQL's to answer.
        const bool bare = frame.frame_bytes == header_bytes;
        const bool droppable =
            frame.is == front_frame::state::usable &&
            (frame.type == frontend::copy_data || frame.type == frontend::copy_done ||
             frame.type == frontend::copy_fail || (frame.type == frontend::flush && bare));
        if (droppable) {
            body_left_ = frame.frame_bytes;
            discarding_body_ = true;
            dropped += take_body(rest.size());
            continue;
        }
        if (dropped != 0) {
            return {client_wants::nothing, dropped};
        }
        switch (frame.is) {
        case front_frame::state::incomplete:
            return {client_wants::more};
        case front_frame::state::violation:
            return {client_wants::violation};
        case front_frame::state::usable:
            break;
        }
        if (frame.type == frontend::terminate) {
            return {client_wants::terminate, frame.there(rest)};
        }
        if (frame.type == frontend::sync && bare) {
            return {client_wants::ready, frame.frame_bytes};
        }
        return {client_wants::server};
    }
}

client_step client_stream::forward(bytes in, bool buffer_full, relay_sink& to, reply_queue& owed,
                                   session_state& state, const statement_link* statements) {
    client_step step;
    if (discarding_body_) {
        return step; // peek() drops it
    }
    step.taken_bytes = take_body(in.size());
    late_sink late(in, step.taken_bytes, to);
    const auto* const names = statements != nullptr ? statements->names.names : nullptr;
    while (step.taken_bytes < in.size()) {
        if (const auto stop = held_back(owed, statements); stop != client_step::stop::exhausted) {
            step.why = stop;
            break;
        }
        if (late.take_touched() && !to.has_room()) {
            step.why = client_step::stop::sink_full;
            break;
        }
        const auto rest = in.subspan(step.taken_bytes);
        // Once what was taken has left the buffer, there is room for more.
        const auto frame = front_of(rest, buffer_full && step.taken_bytes == 0);
        if (frame.is != front_frame::state::usable || frame.type == frontend::terminate) {
            step.why = stop_at(frame);
            break;
        }
        const auto there = frame.there(rest);
        const auto body = rest.subspan(header_bytes, there - header_bytes);
        const bool about_statements = statements != nullptr && frame.row->is_about_statements;
        if (about_statements && frame.type == frontend::parse && frame.complete(rest) &&
            repeats_unnamed_parse(body, *statements)) {
            repeat_unnamed_parse(*statements, owed);
            step.taken_bytes += there;
            continue;
        }
        auto statement = state.tracked()
                             ? read_statement(frame.type, body, frame.complete(rest), names)
                             : scanned_statement{};
        routing way;
        if (about_statements || (statements != nullptr && may_read_sequences(statement.effects))) {
            way = route(frame, rest, statement, *statements, owed, state, late);
        } else if (statements != nullptr && frame.type == frontend::execute) {
            note_execute(*statements, owed, late);
        }
        if (const auto stop = stop_for(way); stop != client_step::stop::exhausted) {
            step.why = stop;
            break;
        }
        late.skip(way.skip_bytes);
        if (statement.effects != 0) [[unlikely]] {
            take_effects(frame.type, body, statement, state, names);
            note_effects(rest, statement, way, statements);
        } else if (way.is_unnamed_naming_nothing) {
            statements->mine.unnamed_is_plain();
        }
        if (!about_statements) {
            note_owed(frame.type, body, owed);
        }
        step.queries += frame.row->is_request ? 1U : 0U;
        body_left_ = frame.frame_bytes - there;
        step.taken_bytes += there;
        if (body_left_ == 0 &&
            ends_step(frame.type, rest.first(there), statements, owed, state, late)) {
            step.why = client_step::stop::awaiting_answer;
            break;
        }
    }
    late.pass_on();
    return step;
}

client_stream::discarded client_stream::discard_request(bytes in) {
    std::size_t taken = 0;
    for (;;) {
        if (body_left_ != 0) {
            abandon_message();
            taken += take_body(in.size() - taken);
            if (body_left_ != 0) {
                return {taken, false};
            }
            if (discarding_last_) {
                discarding_last_ = false;
                return {taken, true, true};
            }
        }
        // The message is dropped whatever is in it: its header is enough.
        const auto frame = front_of(in.subspan(taken), true);
        if (frame.is == front_frame::state::incomplete) {
            return {taken, false};
        }
        if (frame.is == front_frame::state::violation || frame.type == frontend::terminate) {
            discarding_request_ = false;
            return {taken, true};
        }
        if (frame.type == frontend::query || frame.type == frontend::function_call) {
            // Inside a failed batch PostgreSQL skips these too.
            discarding_last_ = !discarding_request_;
        } else if (frame.type == frontend::sync) {
            discarding_request_ = false;
            discarding_last_ = true;
        } else if (frame.type != frontend::copy_data && frame.type != frontend::copy_done &&
                   frame.type != frontend::copy_fail && frame.type != frontend::flush) {
            discarding_request_ = true;
        }
        body_left_ = frame.frame_bytes;
    }
}

} // namespace pgweir::protocol
