// A prepared statement that any server can carry: what it is known by, and the table that makes
// equal ones one. Clients name statements as they like; on servers each distinct statement has one
// name, made from what it says, so that clients can share it and a server that lacks it can be
// given it.
//
// Owner: the engine has the table, clients hold references. Thread: the worker's. Sans-io.
// Tests: tests/protocol/prepared_statement_test.cpp.
// Source: PostgreSQL documentation, "Extended Query" and Parse in "Message Formats".
#pragma once

#include "protocol/message.hpp"
#include "protocol/name_effects.hpp"
#include "protocol/reading_context.hpp"

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace pgweir::protocol {

/// A keyed digest (128 bits) of all that makes two statements the same: text, parameter types, and
/// the settings under which PostgreSQL reads the text. The same on every worker.
struct statement_id {
    std::array<std::uint64_t, 2> words{};
    bool operator==(const statement_id&) const = default;
};
struct statement_id_hash {
    std::size_t operator()(const statement_id& id) const {
        return static_cast<std::size_t>(id.words[0]);
    }
};

/// Names that servers know statements by begin with this. A client's own never travel under such a
/// name.
inline constexpr std::string_view server_name_prefix = "pgw_";

/// PostgreSQL tells statement names apart by so many bytes (NAMEDATALEN - 1).
inline constexpr std::size_t significant_name_bytes = 63;
[[nodiscard]] inline std::string_view significant(std::string_view name) {
    return name.substr(0, significant_name_bytes);
}

/// What a statement is called on every server.
[[nodiscard]] std::string server_name(const statement_id& id);

struct prepared_statement {
    statement_id id;
    std::string name; // server_name(id)
    /// The body of Parse behind the name: text, zero, count and types of the parameters.
    std::string definition;
    bool names_statements = false; // its text is PREPARE, EXECUTE or DEALLOCATE of one, or of all
    /// Its text is SQL's PREPARE, which makes it under the client's name: no Parse does.
    bool by_sql = false;
    /// What it was read under is not known: a server's must not be older than the client's Parse.
    bool of_one_client = false;

    /// What scan() says of its text. Found out once for all who read it under the same names.
    [[nodiscard]] effect_bits effects(const known_names& under) const;
    /// It is to be read when it is executed: it leaves something in the session, or, where the
    /// client listens to `channels`, has to do with those.
    [[nodiscard]] bool matters(const known_names& under, bool channels) const {
        const auto found = effects(under);
        return (channels ? found : found & ~only_about_channels) != 0;
    }

    [[nodiscard]] std::string_view text() const {
        return std::string_view(definition).substr(0, definition.find('\0'));
    }

    struct reading {
        std::uint64_t version = 0; // known_names
        effect_bits effects = 0;
    };
    mutable std::optional<reading> read = std::nullopt; // what effects() has found
    /// Its results were last found to have changed then: a server's that was parsed before is out
    /// of date.
    mutable std::uint64_t changed = 0;
};
using statement_ref = std::shared_ptr<const prepared_statement>;

/// When something was parsed.
struct parse_time {
    std::uint64_t epoch = 0; // how often tables had been seen to change
    std::uint64_t count = 0; // statement_table::next_parse()
};

/// A digest of what a statement is described as: the types of its parameters, and what its rows
/// look like.
using statement_shape = std::uint64_t;
inline constexpr statement_shape unknown_shape = 0;
/// What PostgreSQL has described a statement as.
struct described_statement {
    statement_shape shape = unknown_shape;
    std::string types =
        {}; // of its parameters: the body of ParameterDescription, where it is short
};

/// A whole Parse of `definition` (as in prepared_statement) under `name`.
void append_parse(std::string& out, std::string_view name, std::string_view definition);
/// … of this text, with these types of its parameters (their count and numbers, as in the message).
void append_parse(std::string& out, std::string_view name, std::string_view text,
                  std::string_view types);
/// Close of the statement with this name.
void append_close_statement(std::string& out, std::string_view name);

/// Is this what the body of a Parse may have behind the name? (Else PostgreSQL is to say why not.)
[[nodiscard]] bool is_definition(bytes definition);

/// Each distinct statement once, for as long as somebody refers to it.
class statement_table {
public:
    /// `key`: what the digests are made with; nobody outside may know it, all workers have the
    /// same. `max_bytes`: of all statements together.
    statement_table(std::string key, std::size_t max_bytes);
    ~statement_table();
    statement_table(const statement_table&) = delete;
    statement_table& operator=(const statement_table&) = delete;

    /// Nothing when the table is full. `context`: what the reading of the text depends on.
    /// `by_sql`: the text is PREPARE.
    [[nodiscard]] statement_ref intern(const reading_context& context, bytes definition,
                                       bool by_sql = false);

    /// Room for a copy that is kept elsewhere (a client's unnamed statement). False: there is none.
    [[nodiscard]] bool reserve(std::size_t count);
    void release(std::size_t count) { bytes_ -= count; }

    /// Counts what is parsed, and what is found to have changed: the later, the larger.
    [[nodiscard]] std::uint64_t next_parse() { return ++parses_; }

    void set_max_bytes(std::size_t max_bytes) { max_bytes_ = max_bytes; }
    [[nodiscard]] std::size_t max_bytes() const { return max_bytes_; }
    [[nodiscard]] std::size_t size() const { return statements_.size(); }
    /// Of all statements, and of what has been reserved.
    [[nodiscard]] std::size_t held_bytes() const { return bytes_; }

private:
    [[nodiscard]] statement_id identify(std::string_view context, bytes definition,
                                        bool by_sql) const;
    void forget(const prepared_statement* what);

    std::string key_;
    std::size_t max_bytes_;
    std::size_t bytes_ = 0;
    std::uint64_t parses_ = 0;
    std::unordered_map<statement_id, std::weak_ptr<const prepared_statement>, statement_id_hash>
        statements_;
};

} // namespace pgweir::protocol
