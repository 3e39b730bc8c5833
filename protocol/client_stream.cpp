// client_stream: what a client sends. See relay.hpp.
#include "protocol/relay.hpp"

#include <algorithm>
#include <array>

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
    bool is_statement = false; // its text decides what it leaves in the session
};

constexpr auto frontend_rows = [] {
    std::array<frontend_row, 128> rows{};
    const auto row = [&rows](frontend type) -> frontend_row& {
        return rows[static_cast<unsigned char>(type)];
    };
    row(frontend::query) = {4, max_length_field, false, true};
    row(frontend::parse) = {4, max_length_field, false, true};
    row(frontend::bind) = {4, max_length_field};
    row(frontend::function_call) = {4, max_length_field};
    row(frontend::describe) = {4, small_length_field};
    row(frontend::close) = {4, small_length_field};
    row(frontend::execute) = {4, small_length_field};
    row(frontend::flush) = {4, small_length_field};
    row(frontend::sync) = {4, small_length_field};
    row(frontend::terminate) = {4, small_length_field};
    row(frontend::copy_data) = {4, max_length_field, true};
    row(frontend::copy_done) = {4, small_length_field, true};
    row(frontend::copy_fail) = {4, small_length_field, true};
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

    [[nodiscard]] std::size_t there(bytes in) const { return std::min(frame_bytes, in.size()); }
    [[nodiscard]] bool complete(bytes in) const { return frame_bytes <= in.size(); }
};

front_frame front_of(bytes in, bool buffer_full) {
    if (in.size() < header_bytes) {
        return {};
    }
    const auto head = read_header(in);
    const auto type = static_cast<unsigned char>(head.type);
    const auto row = type < frontend_rows.size() ? frontend_rows[type] : frontend_row{};
    if (row.min_length == 0 || head.length_field < row.min_length ||
        head.length_field > row.max_length) {
        return {front_frame::state::violation};
    }
    const auto frame_bytes = head.frame_bytes();
    const auto shown = row.is_statement ? statement_seen_bytes : front_seen_bytes;
    const bool usable =
        in.size() >= frame_bytes || row.streams || buffer_full || in.size() >= shown;
    return {usable ? front_frame::state::usable : front_frame::state::incomplete,
            static_cast<frontend>(head.type), frame_bytes};
}

// A string at the front of a body that may have been cut off. `found` says that its end was there.
struct leading_string {
    std::string_view text;
    bool found;
};

leading_string take_string(bytes& body) {
    const auto text = as_text(body);
    const auto zero = text.find('\0');
    if (zero == std::string_view::npos) {
        body = {};
        return {text, false};
    }
    body = body.subspan(zero + 1);
    return {text.substr(0, zero), true};
}

bool is_request(frontend type) {
    return type == frontend::query || type == frontend::execute || type == frontend::function_call;
}

// Why a message is not passed on now; `exhausted` where it is.
client_step::stop stop_for(const routing& way) {
    switch (way.is) {
    case routing::how::wait:
        return client_step::stop::awaiting_answer;
    case routing::how::too_long:
        return client_step::stop::violation;
    case routing::how::as_is:
    case routing::how::rewritten:
        break;
    }
    return client_step::stop::exhausted;
}

// Messages that make, use or destroy a prepared statement (a Query destroys the unnamed one).
bool is_about_statements(frontend type) {
    return type == frontend::parse || type == frontend::bind || type == frontend::describe ||
           type == frontend::close || type == frontend::query;
}

// Built-in functions with an effect on the session, called by number
// (src/include/catalog/pg_proc.dat; the numbers of built-in functions never change).
void look_at_function_call(bytes body, session_state& state) {
    if (body.size() < 4) {
        return;
    }
    switch (read_u32(body)) {
    case 2'078: // set_config
        return state.unseen_setting();
    case 2'880: // pg_advisory_lock(bigint)
    case 2'881: // pg_advisory_lock_shared(bigint)
    case 2'882: // pg_try_advisory_lock(bigint)
    case 2'883: // pg_try_advisory_lock_shared(bigint)
    case 2'886: // …(integer, integer), in the same order
    case 2'887:
    case 2'888:
    case 2'889:
        return state.pin(pin_reason::advisory_lock);
    case 1'575: // currval
    case 1'599: // setseed
    case 2'559: // lastval
        return state.pin(pin_reason::sequence_value);
    default:
        return;
    }
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
    std::size_t passed = 0; // of `in`, to the sink
    step.taken_bytes = take_body(in.size());
    const auto pass_on = [&] {
        if (passed != step.taken_bytes) {
            to.pass(in.subspan(passed, step.taken_bytes - passed));
            passed = step.taken_bytes;
        }
    };
    while (step.taken_bytes < in.size()) {
        if (owed.full()) {
            step.why = client_step::stop::queue_full;
            break;
        }
        if (!to.has_room()) {
            step.why = client_step::stop::sink_full;
            break;
        }
        const auto rest = in.subspan(step.taken_bytes);
        // Once what was taken has left the buffer, there is room for more.
        const auto frame = front_of(rest, buffer_full && step.taken_bytes == 0);
        if (frame.is == front_frame::state::incomplete) {
            break;
        }
        if (frame.is == front_frame::state::violation) {
            step.why = client_step::stop::violation;
            break;
        }
        if (frame.type == frontend::terminate) {
            step.why = client_step::stop::terminate;
            break;
        }
        const auto there = frame.there(rest);
        const bool about_statements = statements != nullptr && is_about_statements(frame.type);
        if (about_statements) {
            pass_on();
            const auto way = route_statement_message(
                frame.type, rest.first(there), frame.complete(rest), *statements, owed, state, to);
            if (const auto stop = stop_for(way); stop != client_step::stop::exhausted) {
                step.why = stop;
                break;
            }
            passed += way.skip_bytes;
        } else if (statements != nullptr && frame.type == frontend::execute) {
            note_execute(*statements, owed);
        }
        const auto body = rest.subspan(header_bytes, there - header_bytes);
        const bool leaves = look_at(frame.type, body, frame.complete(rest),
                                    about_statements ? nullptr : &owed, state);
        if (leaves && about_statements && frame.type == frontend::parse && body[0] == std::byte{}) {
            statements->mine.unnamed_leaves_something(true);
        }
        step.queries += is_request(frame.type) ? 1U : 0U;
        body_left_ = frame.frame_bytes - there;
        step.taken_bytes += there;
        if (statements != nullptr && body_left_ == 0 && frame.type == frontend::sync &&
            statements->mine.anything_lent()) {
            pass_on();
            take_back_lent(statements->mine, owed, to.own());
        }
    }
    pass_on();
    return step;
}

// A message is going to the server: what it will be answered with (unless that has been noted), and
// what it does to the session. False: its text leaves nothing there.
bool client_stream::look_at(frontend type, bytes body, bool complete, reply_queue* owed,
                            session_state& state) {
    bool describes_statement = false;
    bool leaves = false;
    switch (type) {
    case frontend::query: {
        const auto sql = take_string(body);
        leaves = state.statement(sql.text, complete);
        break;
    }
    case frontend::parse: {
        take_string(body); // its name
        const auto sql = take_string(body);
        leaves = state.statement(sql.text, complete || sql.found);
        break;
    }
    case frontend::describe:
        describes_statement = !body.empty() && body[0] == std::byte{'S'};
        break;
    case frontend::function_call:
        look_at_function_call(body, state);
        break;
    case frontend::flush:
        if (!body.empty() && owed != nullptr) {
            // Answered by an error, as any bad message of the extended protocol.
            owed->sent(frontend::close);
        }
        break;
    case frontend::bind:
    case frontend::close:
    case frontend::copy_data:
    case frontend::copy_done:
    case frontend::copy_fail:
    case frontend::execute:
    case frontend::password:
    case frontend::sync:
    case frontend::terminate:
        break;
    }
    if (owed != nullptr) {
        owed->sent(type, fate::forward, {.describes_statement = describes_statement});
    }
    return leaves;
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
