// Who may log in from where, and how they prove it: PostgreSQL's pg_hba.conf, as of version 15,
// with the regular expressions and includes of 16. The first line that matches counts; where none
// does, nobody comes in. What PostgreSQL would refuse, and methods that pgweir does not have, are
// errors, and a file with an error is no file.
//
// Pure: files come through a function, facts about a client are passed in. Any thread.
// Tests: tests/config/hba_test.cpp, hba_match_test.cpp; integration/hba_test.py (against
// PostgreSQL's own pg_hba_file_rules); tests/fuzz/hba.
#pragma once

#include "config/access_lines.hpp"
#include "config/address.hpp"
#include "config/name_pattern.hpp"
#include "config/problem.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pgweir::config {

enum class hba_connection : std::uint8_t {
    local, // a Unix socket
    host,  // the rest: TCP
    hostssl,
    hostnossl,
    hostgssenc,   // matches nobody: nothing is encrypted by GSSAPI here
    hostnogssenc, // therefore as host
};
enum class hba_method : std::uint8_t {
    trust,
    reject,
    password,
    md5, // asks for SCRAM where a verifier is all that is known, as PostgreSQL does
    scram_sha_256,
    cert, // hostssl only; implies verify_full
    peer, // local only
};
enum class client_certificate : std::uint8_t {
    not_asked,
    verify_ca,   // one that the CA has signed
    verify_full, // and whose name is the user, by way of `map`
};
/// What of a client's certificate is its name.
enum class certificate_name : std::uint8_t {
    common_name,
    subject, // all of it, as RFC 2253 writes it: CN=ann,OU=staff,O=club
};

/// One word of the columns for databases and users.
struct hba_name {
    enum class kind : std::uint8_t {
        all,
        same_user,   // databases: named as the user
        same_role,   // databases: named as a group the user is in
        replication, // databases: physical replication
        group,       // users: whoever is in it
        name,
        pattern,
    };
    kind is = kind::name;
    std::string text; // of name and group
    std::optional<name_pattern> pattern;
    bool operator==(const hba_name&) const = default;
};

struct any_address {
    bool operator==(const any_address&) const = default;
};
struct same_host { // one of this machine's own addresses
    bool operator==(const same_host&) const = default;
};
struct same_network { // a network this machine is in
    bool operator==(const same_network&) const = default;
};
struct named_host {
    std::string name; // `.example.com` stands for all hosts below it
    bool operator==(const named_host&) const = default;
};
using hba_address = std::variant<any_address, same_host, same_network, network, named_host>;

struct hba_rule {
    hba_connection connection = hba_connection::local;
    std::vector<hba_name> databases;
    std::vector<hba_name> users;
    hba_address address; // not of local
    hba_method method = hba_method::reject;
    std::string map; // of cert and peer; empty: the system's name must be the user's
    client_certificate certificate = client_certificate::not_asked;
    certificate_name name = certificate_name::common_name;

    std::string file; // empty: inline
    std::size_t line = 0;
    std::string text; // as it was written
    /// Not whether both stand in the same line.
    [[nodiscard]] bool same_meaning(const hba_rule& other) const;
    bool operator==(const hba_rule&) const = default;
};

struct hba_result {
    std::vector<hba_rule> rules; // of no use where there are problems
    std::vector<problem> problems;
};
[[nodiscard]] hba_result parse_hba(std::string_view text, const std::string& file,
                                   const access_files& files);

// Matching --------------------------------------------------------------------------------------

struct hba_request {
    std::string_view database;
    std::string_view user;
    bool physical_replication = false; // `replication=true`; `=database` is an ordinary connection
    std::optional<ip_address> address; // nothing: a Unix socket
    bool tls = false;
};

/// What cannot be seen from the connection. Nothing: not known (yet).
struct hba_facts {
    /// Is the user in this group, itself or by way of another? Not by being superuser.
    std::function<std::optional<bool>(std::string_view group)> is_member;
    /// The name that the client's address has, if that name has this address; empty: it has none.
    std::optional<std::string> host_name;
    /// Of this machine's own addresses, each with its network.
    std::vector<network> own_networks;
};

struct hba_decision {
    const hba_rule* rule = nullptr;  // of the list that was given; null: nobody is let in
    std::vector<std::string> groups; // that have to be known before it can be decided
    bool host_name = false;          // the same
    /// One of the lines that it may come to says `peer`: the name of the system's user at the other
    /// end will have to be known, though not for the decision.
    bool peer_name = false;
    /// If not: find out what is asked for and decide again, or let nobody in.
    [[nodiscard]] bool decided() const { return groups.empty() && !host_name; }
};

/// The first rule that matches. Asks for all facts that are needed at once, and only for those: a
/// line behind one that matches in any case asks for nothing.
[[nodiscard]] hba_decision decide(const std::vector<hba_rule>& rules, const hba_request& request,
                                  const hba_facts& facts);

[[nodiscard]] std::string_view to_string(hba_method method);

} // namespace pgweir::config
