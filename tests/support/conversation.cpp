// See conversation.hpp. Encoding is written out here and not taken from the code under test: a
// mistake there would be made on both sides.
#include "tests/support/conversation.hpp"

namespace pgweir::test {

namespace {

class body {
public:
    body& u8(char value) {
        bytes_ += value;
        return *this;
    }
    body& u16(std::size_t value) { return integer(value, 2); }
    body& u32(std::size_t value) { return integer(value, 4); }
    body& raw(std::string_view value) {
        bytes_ += value;
        return *this;
    }
    // A zero inside stays: what the other side makes of it is its own business.
    body& c_string(std::string_view value) { return raw(value).u8('\0'); }
    body& codes(const std::vector<std::uint16_t>& values) {
        u16(values.size());
        for (const auto value : values) {
            u16(value);
        }
        return *this;
    }
    body& values(const std::vector<std::optional<std::string>>& list) {
        u16(list.size());
        for (const auto& value : list) {
            if (value) {
                u32(value->size()).raw(*value);
            } else {
                u32(0xffffffff);
            }
        }
        return *this;
    }

    [[nodiscard]] std::string as(char type) const {
        return body().u8(type).u32(bytes_.size() + 4).raw(bytes_).bytes_;
    }
    [[nodiscard]] std::string untyped() const {
        return body().u32(bytes_.size() + 4).raw(bytes_).bytes_;
    }

private:
    body& integer(std::size_t value, int count) {
        for (int shift = 8 * (count - 1); shift >= 0; shift -= 8) {
            bytes_ += static_cast<char>((value >> static_cast<unsigned>(shift)) & 0xffU);
        }
        return *this;
    }

    std::string bytes_;
};

std::string encode_parse(const conversation_step& step) {
    body b;
    b.c_string(step.name).c_string(step.text).u16(step.types.size());
    for (const auto type : step.types) {
        b.u32(type);
    }
    return b.as('P');
}

std::string encode_function_call(const conversation_step& step) {
    return body()
        .u32(step.number)
        .codes(step.formats)
        .values(step.values)
        .u16(step.results.empty() ? 0 : step.results.front())
        .as('F');
}

} // namespace

bool is_message(step_kind what) { return what >= step_kind::query && what <= step_kind::raw_bytes; }

std::string encode(const conversation_step& step) {
    switch (step.what) {
    case step_kind::query:
        return body().c_string(step.text).as('Q');
    case step_kind::parse:
        return encode_parse(step);
    case step_kind::bind:
        return body()
            .c_string(step.name)
            .c_string(step.statement)
            .codes(step.formats)
            .values(step.values)
            .codes(step.results)
            .as('B');
    case step_kind::describe_statement:
        return body().u8('S').c_string(step.name).as('D');
    case step_kind::describe_portal:
        return body().u8('P').c_string(step.name).as('D');
    case step_kind::execute:
        return body().c_string(step.name).u32(step.number).as('E');
    case step_kind::close_statement:
        return body().u8('S').c_string(step.name).as('C');
    case step_kind::close_portal:
        return body().u8('P').c_string(step.name).as('C');
    case step_kind::flush:
        return body().as('H');
    case step_kind::sync:
        return body().as('S');
    case step_kind::function_call:
        return encode_function_call(step);
    case step_kind::copy_data:
        return body().raw(step.text).as('d');
    case step_kind::copy_done:
        return body().as('c');
    case step_kind::copy_fail:
        return body().c_string(step.text).as('f');
    case step_kind::terminate:
        return body().as('X');
    case step_kind::raw_message:
        return body().raw(step.text).as(step.name.empty() ? '?' : step.name.front());
    case step_kind::raw_bytes:
        return step.text;
    case step_kind::connect:
    case step_kind::rest:
    case step_kind::wait_ready:
    case step_kind::wait_message:
    case step_kind::wait_close:
    case step_kind::hang_up:
    case step_kind::reset:
    case step_kind::half_close:
    case step_kind::cancel:
    case step_kind::admin_run:
    case step_kind::admin_check:
    case step_kind::admin_until:
    case step_kind::admin_stop:
    case step_kind::admin_go_on:
        break;
    }
    return {};
}

std::string encode_startup(const std::vector<std::pair<std::string, std::string>>& settings) {
    body b;
    b.u32(3 << 16);
    for (const auto& [name, value] : settings) {
        b.c_string(name).c_string(value);
    }
    return b.u8('\0').untyped();
}

} // namespace pgweir::test
