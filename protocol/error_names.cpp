#include "protocol/error_names.hpp"

namespace pgweir::protocol {

namespace {

// All names that server_name() makes have the same length.
std::size_t server_name_bytes() {
    static const std::size_t length = server_name({}).size();
    return length;
}

std::string with_client_names(std::string_view text, const client_statements& names) {
    std::string out;
    for (;;) {
        const auto at = text.find(server_name_prefix);
        out += text.substr(0, at);
        if (at == std::string_view::npos) {
            return out;
        }
        const auto found = text.substr(at, server_name_bytes());
        out += names.name_of(found).value_or(found);
        text.remove_prefix(at + found.size());
    }
}

} // namespace

bool names_shared_statement(bytes error_response) {
    return as_text(error_response).find(server_name_prefix) != std::string_view::npos;
}

void append_with_client_names(std::string& out, bytes error_response,
                              const client_statements& names) {
    body_reader reader(error_response.subspan(header_bytes));
    message_writer writer(out);
    writer.begin(backend::error_response);
    while (reader.ok() && !reader.rest().empty()) {
        const auto field = reader.character();
        if (field == '\0') {
            break;
        }
        writer.u8(static_cast<std::uint8_t>(field))
            .c_string(with_client_names(reader.c_string(), names));
    }
    writer.u8(0).end();
}

} // namespace pgweir::protocol
