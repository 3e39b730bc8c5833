// server_stream: what a server sends. See relay.hpp.
#include "protocol/relay.hpp"

#include <algorithm>
#include <array>

namespace pgweir::protocol {

namespace {

// How much of a frame must be there before it can be taken.
enum class need : std::uint8_t {
    header, // only its header: the body streams
    whole,  // all of it
    front,  // all of it, or at least its first front_bytes
};

// PostgreSQL reports no setting anywhere near as long as this.
constexpr std::uint32_t max_parameter_length = 64 * 1'024;
// A payload is shorter than one of PostgreSQL's pages, of which the largest are 32 KiB.
constexpr std::uint32_t max_notification_length = 64 * 1'024;
// An ErrorResponse up to this size is seen whole; of a longer one (a long statement in its CONTEXT)
// the first part is enough, since severity and SQLSTATE come first.
constexpr std::size_t whole_front_bytes = 4'096;
constexpr std::size_t front_bytes = 1'024;
// An answer to a question of ours is seen whole up to this size.
constexpr std::size_t longest_result_bytes = 4'096;
// No read buffer is smaller. All but a parameter fits into it.
constexpr std::size_t min_buffer_bytes = 8'192;

// One row per message a server may send once its login is complete: the length fields it may have
// and how much of it must be there.
struct backend_row {
    std::uint32_t min_length = 1; // 1 to 0: not a message of a logged-in server
    std::uint32_t max_length = 0;
    need needs = need::header;
};

constexpr auto backend_rows = [] {
    std::array<backend_row, 128> rows{};
    const auto row = [&rows](backend type) -> backend_row& {
        return rows[static_cast<unsigned char>(type)];
    };
    for (const auto bare : {backend::bind_complete, backend::close_complete, backend::copy_done,
                            backend::empty_query_response, backend::no_data,
                            backend::parse_complete, backend::portal_suspended}) {
        row(bare) = {4, 4, need::header};
    }
    row(backend::ready_for_query) = {5, 5, need::whole};
    row(backend::parameter_status) = {6, max_parameter_length, need::whole};
    row(backend::error_response) = {5, max_length_field, need::front};
    row(backend::command_complete) = {5, max_length_field, need::front};
    row(backend::copy_data) = {4, max_length_field, need::header};
    row(backend::notice_response) = {5, max_length_field, need::header};
    for (const auto counted :
         {backend::data_row, backend::row_description, backend::parameter_description}) {
        row(counted) = {6, max_length_field, need::header};
    }
    for (const auto copy :
         {backend::copy_in_response, backend::copy_out_response, backend::copy_both_response}) {
        row(copy) = {7, max_length_field, need::header};
    }
    row(backend::function_call_response) = {8, max_length_field, need::header};
    row(backend::notification_response) = {10, max_notification_length, need::whole};
    return rows;
}();

// Its row, or none: not a message of a server, or not with that length.
const backend_row* row_for(const header& head) {
    const auto type = static_cast<unsigned char>(head.type);
    if (type >= backend_rows.size()) {
        return nullptr;
    }
    const auto& row = backend_rows[type];
    const bool plausible =
        head.length_field >= row.min_length && head.length_field <= row.max_length;
    return plausible ? &row : nullptr;
}

bool enough_there(need needs, std::size_t frame_bytes, std::size_t available) {
    switch (needs) {
    case need::header:
        return true;
    case need::whole:
        return available >= frame_bytes;
    case need::front:
        return available >= frame_bytes ||
               (frame_bytes > whole_front_bytes && available >= front_bytes);
    }
    return true;
}

// Severity (V where there is one, it is never translated) and SQLSTATE of an ErrorResponse, of
// which only the beginning may be there.
void read_error(bytes body, server_step& step) {
    std::string_view severity;
    std::string_view severity_nonlocalized;
    auto rest = as_text(body);
    step.error = rest;
    while (!rest.empty() && rest[0] != '\0') {
        const auto field = rest[0];
        const auto value = rest.substr(1, rest.find('\0') - 1);
        if (value.size() + 1 == rest.size()) {
            break; // its end is not there
        }
        rest.remove_prefix(value.size() + 2);
        if (field == 'V' && severity_nonlocalized.empty()) {
            severity_nonlocalized = value;
        } else if (field == 'S' && severity.empty()) {
            severity = value;
        } else if (field == 'C' && step.sqlstate.empty() && value.size() == 5) {
            step.sqlstate = value;
        }
    }
    if (!severity_nonlocalized.empty()) {
        severity = severity_nonlocalized;
    }
    step.fatal = severity == "FATAL" || severity == "PANIC";
}

bool read_parameter(bytes body, server_step& step) {
    body_reader reader(body);
    step.name = reader.c_string();
    step.value = reader.c_string();
    return reader.finished();
}

// Do other sessions, or those who share this one, have to know of what was carried out? ALTER,
// CREATE, DROP; DEALLOCATE, DISCARD, PREPARE; DO, which may have been any of them.
bool is_of_interest(std::string_view tag) {
    if (tag.size() < 3 || tag[0] < 'A' || (tag[0] > 'D' && tag[0] != 'P')) {
        return false;
    }
    const auto start = tag.substr(0, 3);
    return start == "ALT" || start == "CRE" || start == "DRO" || start == "DEA" || start == "DIS" ||
           start == "PRE" || start == "CAL" || start == std::string_view("DO\0", 3);
}

bool read_status(std::byte from, transaction_status& status) {
    status = static_cast<transaction_status>(from);
    return status == transaction_status::idle || status == transaction_status::in_transaction ||
           status == transaction_status::failed;
}

// A frame of a type that next() stops at. False: it makes no sense.
bool read_stop(backend type, bytes body, server_step& step) {
    switch (type) {
    case backend::ready_for_query:
        step.why = server_step::stop::ready;
        return read_status(body[0], step.status);
    case backend::parameter_status:
        step.why = server_step::stop::parameter;
        return read_parameter(body, step);
    case backend::error_response:
        step.why = server_step::stop::error;
        read_error(body, step);
        return true;
    case backend::notification_response:
        step.why = server_step::stop::notification;
        return true;
    default: {
        step.why = server_step::stop::command;
        const auto text = as_text(body);
        step.tag = text.substr(0, text.find('\0'));
        return true;
    }
    }
}

} // namespace

server_step server_stream::next(bytes in, bool buffer_full, reply_queue& owed) {
    server_step step;
    const auto stop = [&step](server_step::stop why) {
        step.why = why;
        return step;
    };
    if (body_left_ != 0) {
        step.where = body_fate_;
        step.taken_bytes = std::min(body_left_, in.size());
        body_left_ -= step.taken_bytes;
    }
    while (in.size() - step.taken_bytes >= header_bytes) {
        const auto rest = in.subspan(step.taken_bytes);
        const auto head = read_header(rest);
        const auto* const row = row_for(head);
        if (row == nullptr) {
            return stop(server_step::stop::desync);
        }
        if (!enough_there(row->needs, head.frame_bytes(), rest.size())) {
            // Where it stands at the front of a full buffer, the rest of it will never come: it is
            // longer than PostgreSQL makes a parameter. (For a notification there is a larger one.)
            const bool never = buffer_full && rest.size() >= min_buffer_bytes &&
                               static_cast<backend>(head.type) != backend::notification_response;
            return stop(never ? server_step::stop::desync : server_step::stop::exhausted);
        }
        const auto type = static_cast<backend>(head.type);
        const auto where = owed.where(type);
        const bool describes = where == fate::swallow &&
                               (type == backend::parameter_description ||
                                type == backend::row_description || type == backend::no_data) &&
                               owed.describes_for_us();
        const bool answers_us =
            describes || (where == fate::swallow &&
                          (type == backend::data_row || type == backend::function_call_response));
        if (answers_us && rest.size() < std::min(head.frame_bytes(), longest_result_bytes)) {
            return stop(server_step::stop::exhausted);
        }
        if (where != step.where && step.taken_bytes != 0) {
            return stop(server_step::stop::fate_changed);
        }
        const auto there = std::min(head.frame_bytes(), rest.size());
        const auto body = rest.subspan(header_bytes, there - header_bytes);
        const bool stops = row->needs != need::header &&
                           (type != backend::command_complete || is_of_interest(as_text(body)));
        if (stops && !read_stop(type, body, step)) {
            return stop(server_step::stop::desync);
        }
        if (owed.received(type, step.sqlstate).what == reply::kind::unexpected) {
            return stop(server_step::stop::desync);
        }
        step.where = where;
        step.taken_bytes += there;
        step.last_frame_bytes = there;
        body_left_ = head.frame_bytes() - there;
        body_fate_ = where;
        if (answers_us) {
            step.result = body_left_ == 0 ? body : bytes{};
            step.describes = describes;
            return stop(server_step::stop::result);
        }
        if (stops) {
            return step;
        }
        if (type == backend::data_row || type == backend::copy_data) {
            step.taken_bytes += take_more_of(head.type, in.subspan(step.taken_bytes));
        }
    }
    return step;
}

// A row behind a row, CopyData behind CopyData: the first told the queue all there is to tell, so
// that the others need only be counted. This is where the bulk of all traffic goes.
std::size_t server_stream::take_more_of(char type, bytes in) {
    std::size_t taken = 0;
    while (in.size() - taken >= header_bytes) {
        const auto rest = in.subspan(taken);
        const auto head = read_header(rest);
        if (head.type != type || row_for(head) == nullptr) {
            break;
        }
        const auto there = std::min(head.frame_bytes(), rest.size());
        taken += there;
        body_left_ = head.frame_bytes() - there;
    }
    return taken;
}

} // namespace pgweir::protocol
