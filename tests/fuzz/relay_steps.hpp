// The steps of the fuzz target `relay`, and the messages they stand for. Names and texts come from
// small tables, so that two messages often are about the same thing. Tests only.
#pragma once

#include "protocol/message.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace pgweir::test {

enum class step : std::uint8_t {
    query,
    parse,
    bind,
    describe,
    close,
    execute,
    sync,
    flush,
    data,
    end_data, // CopyDone, or CopyFail
    function,
    raw,        // so many bytes of the input, from a client (dishonest servers only)
    answer,     // the server answers with that message (an honest one: so many bytes arrive)
    answer_raw, // … with so many bytes of the input (honest: so many arrive, or all)
    special,
    hold, // so many of the bytes that come next come late
};
inline constexpr std::uint8_t step_count = 16;

/// The second byte of a step.
struct step_argument {
    explicit step_argument(std::uint8_t byte)
        : client(byte & 1U)
        , name((byte >> 1U) & 7U)
        , text(byte >> 4U) {}
    std::uint8_t client, name, text;
};

inline std::string name_of(step_argument argument) {
    switch (argument.name) {
    case 4:
        return std::string(70, 'n');
    case 5:
        return std::string(63, 'm'); // the model does not cut names
    case 6:
        return "pgw_0";
    case 7:
        return std::string(1'100, 'k');
    default:
        return argument.name == 0 ? std::string() : std::string(1, " stu"[argument.name]);
    }
}

// The model would not forget what DEALLOCATE names, and stays honest without it.
inline std::string text_of(step_argument argument, bool honest) {
    constexpr std::array texts{"SELECT 0",
                               "SELECT 1",
                               "BEGIN",
                               "COMMIT",
                               "ROLLBACK",
                               "FAIL",
                               "FAIL PARSE",
                               "COPY x FROM STDIN",
                               "COPY x TO STDOUT",
                               "",
                               "ROWS 3 x",
                               "BEGIN;SELECT 3",
                               "FAIL AT COMMIT",
                               "COPY x FROM STDIN FAIL AT 2",
                               "EXECUTE s"};
    constexpr std::array others{"DEALLOCATE s", "DEALLOCATE ALL", "DISCARD ALL",
                                "PREPARE s AS SELECT 1", "DEALLOCATE t;EXECUTE s"};
    if (argument.text == 15) {
        return "SELECT " + std::string(9'000, 'x');
    }
    return honest || argument.text < 10 ? texts[argument.text] : others[argument.text - 10U];
}

inline std::string client_message(step what, step_argument argument, bool honest) {
    using protocol::frontend;
    std::string out;
    protocol::message_writer to(out);
    const auto name = name_of(argument);
    const char kind = (argument.text & 1U) != 0 ? 'P' : 'S';
    switch (what) {
    case step::query:
        to.begin(frontend::query).c_string(text_of(argument, honest)).end();
        break;
    case step::parse:
        to.begin(frontend::parse).c_string(name).c_string(text_of(argument, honest)).u16(0).end();
        break;
    case step::bind: // the portal is unnamed, or not; the parameter is short, or not
        to.begin(frontend::bind).c_string((argument.text & 1U) != 0 ? "portal" : "").c_string(name);
        to.u16(0).u16(1).u32(argument.text == 14 ? 9'000 : 1);
        to.raw(std::string(argument.text == 14 ? 9'000 : 1, 'x')).u16(0).end();
        break;
    case step::describe:
    case step::close:
        to.begin(what == step::close ? frontend::close : frontend::describe);
        to.u8(static_cast<std::uint8_t>(kind)).c_string(kind == 'P' ? "" : name).end();
        break;
    case step::execute:
        to.begin(frontend::execute).c_string(kind == 'P' ? "portal" : "");
        to.u32(argument.text >> 1U).end();
        break;
    case step::sync:
        to.begin(frontend::sync).end();
        break;
    case step::flush:
        to.begin(frontend::flush).end();
        break;
    case step::data:
        to.begin(frontend::copy_data).raw("1\n").end();
        break;
    case step::end_data:
        kind == 'S' ? to.begin(frontend::copy_done).end()
                    : to.begin(frontend::copy_fail).c_string("no").end();
        break;
    case step::function:
        to.begin(frontend::function_call).u32(argument.text).u16(0).u16(0).u16(0).end();
        break;
    case step::raw:
    case step::answer:
    case step::answer_raw:
    case step::special:
    case step::hold:
        break;
    }
    return out;
}

/// What a server says that answers as it likes.
inline std::string server_message(step_argument argument) {
    constexpr std::array tags{"SELECT 1",     "DEALLOCATE",  "DEALLOCATE ALL", "DISCARD ALL",
                              "CREATE TABLE", "ALTER TABLE", "COPY 1",         ""};
    constexpr std::string_view types = "123CEZnTtsIGHWdc";
    const char type = types[argument.text];
    std::string out;
    protocol::message_writer to(out);
    to.begin(type);
    switch (type) {
    case 'C':
        to.c_string(tags[argument.name]);
        break;
    case 'E':
        to.u8('S').c_string(argument.name == 7 ? "FATAL" : "ERROR");
        to.u8('C').c_string(argument.name == 6 ? "57P01" : "42601").u8(0);
        break;
    case 'Z':
        to.u8(static_cast<std::uint8_t>("ITEIITEI"[argument.name]));
        break;
    case 'T':
    case 't':
        to.u16(0);
        break;
    case 'G':
    case 'H':
    case 'W':
        to.u8(0).u16(0);
        break;
    case 'd':
        to.raw("1\n");
        break;
    default:
        break;
    }
    to.end();
    return out;
}

} // namespace pgweir::test
