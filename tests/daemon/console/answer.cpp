#include "tests/daemon/console/answer.hpp"

#include "daemon/utf8.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace pgweir::daemon {

namespace {

void read_description(answer& to, protocol::body_reader& body) {
    REQUIRE(to.columns.empty());
    for (auto left = body.u16(); left != 0; --left) {
        answer::described column;
        column.name = body.c_string();
        CHECK(body.u32() == 0); // table
        CHECK(body.u16() == 0); // its column
        column.type = body.u32();
        const auto size = body.u16();
        CHECK(size == (column.type == 23 ? 4 : column.type == 20 ? 8 : 0xffff));
        CHECK(body.u32() == 0xffff'ffff);
        CHECK(body.u16() == 0); // text
        to.columns.push_back(std::move(column));
    }
}

void read_row(answer& to, protocol::body_reader& body) {
    answer::row row;
    for (auto left = body.u16(); left != 0; --left) {
        const auto size = body.u32();
        if (size == 0xffff'ffff) {
            row.emplace_back();
            continue;
        }
        row.emplace_back(protocol::as_text(body.raw(size)));
        CHECK(to_valid_utf8(*row.back()) == *row.back());
    }
    REQUIRE(row.size() == to.columns.size());
    to.rows.push_back(std::move(row));
}

void read_fields(answer& to, protocol::body_reader& body) {
    for (auto code = body.character(); code != '\0' && body.ok(); code = body.character()) {
        const auto text = body.c_string();
        CHECK(to_valid_utf8(text) == text);
        CHECK(to.fields.emplace(code, text).second);
    }
}

} // namespace

answer answer::read(const std::string& bytes) {
    answer result;
    auto rest = protocol::as_bytes(bytes);
    while (!rest.empty()) {
        REQUIRE(rest.size() >= protocol::header_bytes);
        const auto head = protocol::read_header(rest);
        REQUIRE(head.plausible());
        REQUIRE(head.frame_bytes() <= rest.size());
        REQUIRE(!result.kinds.ends_with('Z'));
        protocol::body_reader body(rest.subspan(protocol::header_bytes, head.body_bytes()));
        if (head.type != 'D' || !result.kinds.ends_with('D')) {
            result.kinds += head.type;
        }
        switch (head.type) {
        case 'T':
            read_description(result, body);
            break;
        case 'D':
            read_row(result, body);
            break;
        case 'C':
            result.tag = body.c_string();
            break;
        case 'E':
        case 'N':
            read_fields(result, body);
            break;
        case 'Z':
            CHECK(body.character() == 'I');
            break;
        case 'I':
            break;
        default:
            FAIL("unexpected message " << head.type);
        }
        REQUIRE(body.finished());
        rest = rest.subspan(head.frame_bytes());
    }
    REQUIRE(result.kinds.ends_with('Z'));
    return result;
}

std::string answer::field(char code) const {
    const auto found = fields.find(code);
    return found == fields.end() ? std::string() : found->second;
}

std::string answer::at(std::size_t which, std::string_view column) const {
    const auto found = std::ranges::find(columns, column, &described::name);
    CAPTURE(column);
    REQUIRE(found != columns.end());
    REQUIRE(which < rows.size());
    return rows[which][static_cast<std::size_t>(found - columns.begin())].value_or("NULL");
}

std::size_t answer::row_of(std::string_view key) const {
    const auto found =
        std::ranges::find_if(rows, [&](const row& each) { return each.front() == key; });
    CAPTURE(key);
    REQUIRE(found != rows.end());
    return static_cast<std::size_t>(found - rows.begin());
}

} // namespace pgweir::daemon
