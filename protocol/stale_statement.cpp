#include "protocol/stale_statement.hpp"

#include "protocol/error_response.hpp"

#include <algorithm>
#include <functional>
#include <optional>
#include <string>

namespace pgweir::protocol {

namespace {

constexpr std::string_view refusing_routine = "RevalidateCachedQuery";

// The name that a Bind or Describe of a statement says. Nothing: it is another message.
std::optional<std::string_view> name_used(bytes frame) {
    if (frame.size() <= header_bytes) {
        return std::nullopt;
    }
    const auto type = static_cast<frontend>(frame[0]);
    if (type == frontend::bind) {
        const auto portal = string_at(frame, header_bytes).text;
        return string_at(frame, header_bytes + portal.size() + 1).text;
    }
    if (type == frontend::describe && frame[header_bytes] == std::byte{'S'}) {
        return string_at(frame, header_bytes + 1).text;
    }
    return std::nullopt;
}

} // namespace

statement_shape shape_of(bytes parameter_description, bytes row_description) {
    statement_shape shape = std::hash<std::string_view>{}(as_text(parameter_description));
    if (row_description.empty()) {
        return std::max(shape, unknown_shape + 1);
    }
    const auto add = [&shape](std::uint64_t value) {
        shape = (shape ^ value) * 0x9e3779b97f4a7c15; // as hashes are put together
        shape ^= shape >> 32;
    };
    body_reader reader(row_description);
    add(1); // rows without columns are not NoData
    for (auto columns = reader.u16(); columns != 0 && reader.ok(); --columns) {
        add(std::hash<std::string_view>{}(reader.c_string()));
        reader.u32(); // table …
        reader.u16(); // … and column that it comes from
        add(reader.u32());
        add(reader.u16());
        add(reader.u32());
        reader.u16(); // format
    }
    return reader.finished() ? std::max(shape, unknown_shape + 1) : unknown_shape;
}

bool says_results_changed(bytes error) {
    const auto fields = read_error_fields(error);
    return fields.sqlstate == sqlstate::feature_not_supported && fields.routine == refusing_routine;
}

void append_results_changed(std::string& out) {
    message_writer to(out);
    to.begin(backend::error_response);
    to.u8('S').c_string("ERROR").u8('V').c_string("ERROR").u8('C').c_string(
        sqlstate::feature_not_supported);
    to.u8('M').c_string("cached plan must not change result type");
    to.u8('F').c_string("plancache.c").u8('R').c_string(refusing_routine).u8(0).end();
}

bool says_nothing_is_stale_name(bytes error) {
    const auto fields = read_error_fields(error);
    return fields.sqlstate == sqlstate::invalid_sql_statement_name &&
           fields.message.find("\"" + std::string(stale_name) + "\"") != std::string_view::npos;
}

client_statements::named* statement_used(bytes batch, client_statements& mine) {
    const auto name = name_used(batch);
    auto* const known = name ? mine.find(*name) : nullptr;
    return known != nullptr && known->what != nullptr ? known : nullptr;
}

bool describes_something(bytes batch) {
    while (batch.size() >= header_bytes) {
        if (static_cast<frontend>(batch[0]) == frontend::describe) {
            return true;
        }
        batch = batch.subspan(static_cast<std::size_t>(
            std::min<std::uint64_t>(read_header(batch).frame_bytes(), batch.size())));
    }
    return false;
}

} // namespace pgweir::protocol
