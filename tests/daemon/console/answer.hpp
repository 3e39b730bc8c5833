// What a client would read from an answer of the console, for tests.
#pragma once

#include "protocol/error_response.hpp"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::daemon {

struct answer {
    struct described {
        std::string name;
        std::uint32_t type = 0;
        bool operator==(const described&) const = default;
    };
    using row = std::vector<std::optional<std::string>>;

    std::string kinds; // type bytes in order, DataRows once
    std::vector<described> columns;
    std::vector<row> rows;
    std::string tag;
    std::map<char, std::string> fields; // of the error or notice

    /// REQUIREs that `bytes` are whole messages, each well formed, ReadyForQuery 'I' the last one.
    static answer read(const std::string& bytes);

    [[nodiscard]] std::string sqlstate() const { return field('C'); }
    [[nodiscard]] std::string message() const { return field('M'); }
    [[nodiscard]] std::string field(char code) const;
    [[nodiscard]] bool failed() const { return kinds == "EZ"; }
    /// By column name; "NULL" is nothing. REQUIREs that there is such a cell.
    [[nodiscard]] std::string at(std::size_t which, std::string_view column) const;
    /// The row whose first column is this.
    [[nodiscard]] std::size_t row_of(std::string_view key) const;
};

} // namespace pgweir::daemon
