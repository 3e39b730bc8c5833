// The console's answers as bytes: rows described column by column, one table per SHOW. A column is
// its name and a function from a row to a value; its type on the wire follows from what that
// function returns, so a name, a type and a value cannot come apart, and no row can have a cell
// too many.
//
// Owner: whoever answers. Thread: any. Sans-io. Tests: tests/daemon/console/result_test.cpp.
// Source: PostgreSQL documentation, "Message Formats" (RowDescription, DataRow, CommandComplete).
#pragma once

#include "protocol/error_response.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace pgweir::daemon {

/// Types on the wire, by their OIDs in pg_type.
enum class column_type : std::uint32_t {
    bytea = 17,
    int8 = 20,
    int4 = 23,
    text = 25,
    numeric = 1700
};
[[nodiscard]] std::string_view to_string(column_type type);

/// A value too large for the type becomes the largest there is: a driver that was promised an int4
/// must not fail on it.
struct int4 {
    std::int64_t value;
};
struct int8 {
    std::uint64_t value;
};
/// `units` of 10^-decimals.
struct numeric {
    std::uint64_t units;
    std::uint32_t decimals = 0;
};
struct bytea {
    std::string bytes;
};
using optional_text = std::optional<std::string>;

/// A value in text format; nothing is NULL.
class cell {
public:
    cell(std::string_view text);
    cell(const std::string& text)
        : cell(std::string_view(text)) {}
    cell(const optional_text& text);
    cell(int4 number);
    cell(int8 number);
    cell(numeric number);
    cell(const bytea& bytes);
    [[nodiscard]] const optional_text& text() const { return text_; }

private:
    optional_text text_;
};

/// A column of a table whose rows are `Row`s.
template <typename Row>
struct column {
    std::string_view name;
    /// What gives the value. A lambda fits the one alternative that returns exactly its type.
    std::variant<std::string (*)(const Row&), std::string_view (*)(const Row&),
                 optional_text (*)(const Row&), int4 (*)(const Row&), int8 (*)(const Row&),
                 numeric (*)(const Row&), bytea (*)(const Row&)>
        value;

    [[nodiscard]] column_type type() const {
        return std::visit(
            [](auto* get) {
                using result = std::remove_cvref_t<decltype(get(std::declval<const Row&>()))>;
                if constexpr (std::is_same_v<result, int4>) {
                    return column_type::int4;
                } else if constexpr (std::is_same_v<result, int8>) {
                    return column_type::int8;
                } else if constexpr (std::is_same_v<result, numeric>) {
                    return column_type::numeric;
                } else if constexpr (std::is_same_v<result, bytea>) {
                    return column_type::bytea;
                } else {
                    return column_type::text;
                }
            },
            value);
    }
    [[nodiscard]] cell of(const Row& row) const {
        return std::visit([&](auto* get) { return cell(get(row)); }, value);
    }
};

/// Appends the messages of an answer, one after the other. Ends with ReadyForQuery, always 'I': the
/// console knows no transactions.
class console_answer {
public:
    console_answer(const console_answer&) = delete; // writer_ points into it
    console_answer& operator=(const console_answer&) = delete;

    /// RowDescription, a DataRow for each of `rows`, CommandComplete, ReadyForQuery.
    template <typename Row, std::size_t count, std::ranges::input_range Rows>
    [[nodiscard]] static std::string table(const column<Row> (&columns)[count], const Rows& rows,
                                           std::string_view tag = "SHOW") {
        console_answer answer;
        answer.begin_description(count);
        for (const auto& each : columns) {
            answer.describe(each.name, each.type());
        }
        answer.writer_.end();
        for (const auto& row : rows) {
            answer.begin_row(count);
            for (const auto& each : columns) {
                answer.add(each.of(row));
            }
            answer.writer_.end();
        }
        return std::move(answer).complete(tag);
    }

    /// One row, one column whose name is not known beforehand.
    [[nodiscard]] static std::string value(std::string_view name, std::string_view value,
                                           std::string_view tag = "SHOW");
    /// A command that has no rows.
    [[nodiscard]] static std::string done(std::string_view tag);
    /// A NoticeResponse, then as above.
    [[nodiscard]] static std::string notice(std::string_view message, std::string_view detail,
                                            std::string_view tag);
    [[nodiscard]] static std::string failed(protocol::error code,
                                            const protocol::error_words& words);
    [[nodiscard]] static std::string empty_query();

private:
    console_answer() = default;
    void begin_description(std::size_t columns);
    void describe(std::string_view name, column_type type);
    void begin_row(std::size_t columns);
    void add(const cell& value);
    [[nodiscard]] std::string complete(std::string_view tag) &&;
    [[nodiscard]] std::string ready() &&;

    std::string bytes_;
    protocol::message_writer writer_{bytes_};
};

/// Something a client typed or is called, fit to be quoted in an answer: valid UTF-8, no control
/// characters, not long.
[[nodiscard]] std::string quotable(std::string_view text);

} // namespace pgweir::daemon
