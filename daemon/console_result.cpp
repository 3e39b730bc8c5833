#include "daemon/console_result.hpp"

#include "daemon/utf8.hpp"
#include "protocol/sqlstate.hpp"

#include <algorithm>
#include <limits>

namespace pgweir::daemon {

namespace {

constexpr std::size_t longest_quote_bytes = 100;

std::string decimal(numeric number) {
    auto digits = std::to_string(number.units);
    if (number.decimals != 0) {
        if (digits.size() <= number.decimals) {
            digits.insert(0, number.decimals + 1 - digits.size(), '0');
        }
        digits.insert(digits.size() - number.decimals, 1, '.');
    }
    return digits;
}

std::string hex(std::string_view bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text = "\\x";
    for (const char c : bytes) {
        const auto value = static_cast<unsigned char>(c);
        text += digits[value >> 4];
        text += digits[value & 15];
    }
    return text;
}

/// The size of a type as RowDescription gives it: pg_type.typlen.
std::uint16_t size_of(column_type type) {
    switch (type) {
    case column_type::int4:
        return 4;
    case column_type::int8:
        return 8;
    case column_type::bytea:
    case column_type::text:
    case column_type::numeric:
        break;
    }
    return 0xffff; // it varies
}

} // namespace

std::string_view to_string(column_type type) {
    switch (type) {
    case column_type::bytea:
        return "bytea";
    case column_type::int8:
        return "int8";
    case column_type::int4:
        return "int4";
    case column_type::text:
        return "text";
    case column_type::numeric:
        return "numeric";
    }
    return "?";
}

// Names come from clients in any encoding, and the console has promised UTF-8.
cell::cell(std::string_view text)
    : text_(to_valid_utf8(text)) {}
cell::cell(const optional_text& text) {
    if (text) {
        text_ = to_valid_utf8(*text);
    }
}
cell::cell(int4 number)
    : text_(std::to_string(std::clamp<std::int64_t>(number.value,
                                                    std::numeric_limits<std::int32_t>::min(),
                                                    std::numeric_limits<std::int32_t>::max()))) {}
cell::cell(int8 number)
    : text_(std::to_string(
          std::min<std::uint64_t>(number.value, std::numeric_limits<std::int64_t>::max()))) {}
cell::cell(numeric number)
    : text_(decimal(number)) {}
cell::cell(const bytea& bytes)
    : text_(hex(bytes.bytes)) {}

void console_answer::begin_description(std::size_t columns) {
    writer_.begin(protocol::backend::row_description).u16(static_cast<std::uint16_t>(columns));
}

void console_answer::describe(std::string_view name, column_type type) {
    writer_.c_string(name)
        .u32(0) // of no table
        .u16(0) // … and none of its columns
        .u32(static_cast<std::uint32_t>(type))
        .u16(size_of(type))
        .u32(0xffff'ffff) // no type modifier
        .u16(0);          // text format
}

void console_answer::begin_row(std::size_t columns) {
    writer_.begin(protocol::backend::data_row).u16(static_cast<std::uint16_t>(columns));
}

void console_answer::add(const cell& value) {
    if (const auto& text = value.text()) {
        writer_.u32(static_cast<std::uint32_t>(text->size())).raw(*text);
    } else {
        writer_.u32(0xffff'ffff); // NULL
    }
}

std::string console_answer::complete(std::string_view tag) && {
    writer_.begin(protocol::backend::command_complete).c_string(tag).end();
    return std::move(*this).ready();
}

std::string console_answer::ready() && {
    protocol::append_ready_for_query(bytes_, protocol::transaction_status::idle);
    return std::move(bytes_);
}

std::string console_answer::value(std::string_view name, std::string_view value,
                                  std::string_view tag) {
    console_answer answer;
    answer.begin_description(1);
    answer.describe(name, column_type::text);
    answer.writer_.end();
    answer.begin_row(1);
    answer.add(cell(value));
    answer.writer_.end();
    return std::move(answer).complete(tag);
}

std::string console_answer::done(std::string_view tag) { return console_answer().complete(tag); }

std::string console_answer::notice(std::string_view message, std::string_view detail,
                                   std::string_view tag) {
    console_answer answer;
    answer.writer_.begin(protocol::backend::notice_response);
    const std::pair<char, std::string_view> fields[] = {
        {'S', "NOTICE"},
        {'V', "NOTICE"},
        {'C', protocol::sqlstate::successful_completion},
        {'M', message},
        {'D', detail}};
    for (const auto& [code, words] : fields) {
        answer.writer_.u8(static_cast<std::uint8_t>(code)).c_string(words);
    }
    answer.writer_.u8(0).end();
    return std::move(answer).complete(tag);
}

std::string console_answer::failed(protocol::error code, const protocol::error_words& words) {
    console_answer answer;
    protocol::append_error(answer.bytes_, code, words);
    return std::move(answer).ready();
}

std::string console_answer::empty_query() {
    console_answer answer;
    answer.writer_.begin(protocol::backend::empty_query_response).end();
    return std::move(answer).ready();
}

std::string quotable(std::string_view text) {
    auto quote = protocol::printable(text, longest_quote_bytes);
    if (text.size() > longest_quote_bytes) {
        quote += "…";
    }
    return quote;
}

} // namespace pgweir::daemon
