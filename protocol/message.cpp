#include "protocol/message.hpp"

#include <array>
#include <cstring>

namespace pgweir::protocol {

char body_reader::character() {
    const auto got = raw(1);
    return got.empty() ? '\0' : static_cast<char>(got[0]);
}

std::uint16_t body_reader::u16() {
    const auto got = raw(2);
    return got.empty() ? std::uint16_t{0} : read_u16(got);
}

std::uint32_t body_reader::u32() {
    const auto got = raw(4);
    return got.empty() ? 0 : read_u32(got);
}

std::string_view body_reader::c_string() {
    const auto text = as_text(rest_);
    const auto length = text.find('\0');
    if (!ok_ || length == text.npos) {
        ok_ = false;
        return {};
    }
    rest_ = rest_.subspan(length + 1);
    return text.substr(0, length);
}

bytes body_reader::raw(std::size_t count) {
    if (!ok_ || count > rest_.size()) {
        ok_ = false;
        return {};
    }
    const auto got = rest_.first(count);
    rest_ = rest_.subspan(count);
    return got;
}

message_writer& message_writer::begin(char type) {
    out_.push_back(type);
    return begin_untyped();
}

message_writer& message_writer::begin_untyped() {
    length_at_ = out_.size();
    out_.append(4, '\0');
    return *this;
}

message_writer& message_writer::u8(std::uint8_t value) {
    out_.push_back(static_cast<char>(value));
    return *this;
}

message_writer& message_writer::u16(std::uint16_t value) {
    const std::array octets = {static_cast<char>(value >> 8), static_cast<char>(value)};
    out_.append(octets.data(), octets.size());
    return *this;
}

message_writer& message_writer::u32(std::uint32_t value) {
    const std::array octets = {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
                               static_cast<char>(value >> 8), static_cast<char>(value)};
    out_.append(octets.data(), octets.size());
    return *this;
}

message_writer& message_writer::raw(std::string_view value) {
    out_.append(value);
    return *this;
}

message_writer& message_writer::c_string(std::string_view value) {
    out_.append(value.substr(0, value.find('\0')));
    out_.push_back('\0');
    return *this;
}

message_writer& message_writer::end() {
    const auto length = static_cast<std::uint32_t>(out_.size() - length_at_);
    for (unsigned i = 0; i < 4; ++i) {
        out_[length_at_ + i] = static_cast<char>(length >> (24 - 8 * i));
    }
    return *this;
}

void append_query(std::string& out, std::string_view sql) {
    message_writer(out).begin(frontend::query).c_string(sql).end();
}

void append_ready_for_query(std::string& out, transaction_status status) {
    message_writer(out).begin(backend::ready_for_query).u8(static_cast<std::uint8_t>(status)).end();
}

void append_parameter_status(std::string& out, std::string_view name, std::string_view value) {
    message_writer(out).begin(backend::parameter_status).c_string(name).c_string(value).end();
}

} // namespace pgweir::protocol
