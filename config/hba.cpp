// Lines to rules, in the order of PostgreSQL's parse_hba_line(). See hba.hpp.
#include "config/hba.hpp"
#include "config/text.hpp"
#include "config/userlist.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgweir::config {
namespace {

constexpr std::array<std::string_view, 6> connection_words{
    "local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"};
constexpr std::array<std::string_view, 7> method_words{"trust",         "reject", "password", "md5",
                                                       "scram-sha-256", "cert",   "peer"};
/// PostgreSQL's, which are not there.
constexpr std::array<std::string_view, 8> other_methods{"ident", "gss",  "sspi",   "pam",
                                                        "bsd",   "ldap", "radius", "oauth"};

/// What is wrong with a line; the first thing ends it.
struct refusal {
    position at;
    std::string message;
};

template <typename Words>
std::optional<std::size_t> index_in(const Words& words, std::string_view text) {
    const auto found = std::find(words.begin(), words.end(), text);
    return found == words.end() ? std::nullopt
                                : std::optional(static_cast<std::size_t>(found - words.begin()));
}

class line_parser {
public:
    explicit line_parser(const access_line& line)
        : line_(line) {
        rule_.file = line.file;
        rule_.line = line.at.line;
        rule_.text = line.text;
    }

    /// Throws refusal: what it is thrown through is this class.
    hba_rule run() {
        read_connection();
        const auto& databases = next_field("a database");
        for (const auto& token : databases.tokens) {
            rule_.databases.push_back(database_of(token));
        }
        const auto& users = next_field("a user");
        for (const auto& token : users.tokens) {
            rule_.users.push_back(user_of(token));
        }
        if (rule_.connection != hba_connection::local) {
            read_address();
        }
        read_method();
        while (next_ < line_.fields.size()) {
            for (const auto& token : line_.fields[next_].tokens) {
                read_option(token);
            }
            ++next_;
        }
        if (rule_.method == hba_method::cert) {
            rule_.certificate = client_certificate::verify_full;
        }
        return std::move(rule_);
    }

private:
    [[noreturn]] static void refuse(position at, std::string message) {
        throw refusal{.at = at, .message = std::move(message)};
    }

    const access_field& next_field(std::string_view what) {
        if (next_ == line_.fields.size()) {
            refuse(line_.end, concat({"the line ends where ", what, " should follow"}));
        }
        return line_.fields[next_++];
    }
    const access_token& next_word(std::string_view what) {
        const auto& field = next_field(what);
        if (field.tokens.size() != 1) {
            refuse(field.at, concat({what, " must be one word, not a list"}));
        }
        return field.tokens.front();
    }

    void read_connection() {
        const auto& word = next_word("the type of connection");
        const auto index = index_in(connection_words, word.text);
        if (!index) {
            refuse(word.at, concat({"the type of connection must be one of ",
                                    join(connection_words, ", "), not_this(word.text)}));
        }
        rule_.connection = static_cast<hba_connection>(*index);
    }

    static hba_name name_of(const access_token& token, std::string_view what) {
        if (token.text.starts_with('/')) { // in quotes as well: a pattern may need a comma
            std::string refused;
            auto pattern = name_pattern::make(token.text.substr(1), refused);
            if (!pattern) {
                refuse(token.at, concat({"the pattern of ", what, " is refused: ", refused}));
            }
            return {.is = hba_name::kind::pattern, .text = {}, .pattern = std::move(pattern)};
        }
        return {.is = hba_name::kind::name, .text = token.text, .pattern = {}};
    }
    static hba_name keyword(hba_name::kind which) {
        return {.is = which, .text = {}, .pattern = {}};
    }

    static hba_name database_of(const access_token& token) {
        using kind = hba_name::kind;
        if (token.is("all")) {
            return keyword(kind::all);
        }
        if (token.is("sameuser")) {
            return keyword(kind::same_user);
        }
        if (token.is("samerole") || token.is("samegroup")) {
            return keyword(kind::same_role);
        }
        return token.is("replication") ? keyword(kind::replication) : name_of(token, "a database");
    }

    static hba_name user_of(const access_token& token) {
        if (token.is("all")) {
            return keyword(hba_name::kind::all);
        }
        if (!token.quoted && token.text.starts_with('+')) {
            return {.is = hba_name::kind::group, .text = token.text.substr(1), .pattern = {}};
        }
        return name_of(token, "a user");
    }

    void read_address() {
        const auto& word = next_word("an address");
        if (word.is("all")) {
            rule_.address = any_address{};
        } else if (word.is("samehost")) {
            rule_.address = same_host{};
        } else if (word.is("samenet")) {
            rule_.address = same_network{};
        } else {
            read_network(word);
        }
    }

    void read_network(const access_token& word) {
        const auto slash = word.text.find('/');
        const auto front = std::string_view(word.text).substr(0, slash);
        const auto address = read_address_text(front, word.at);
        if (!address) {
            if (slash != std::string::npos) {
                refuse(word.at, concat({"a host name takes no mask", not_this(word.text)}));
            }
            rule_.address = named_host{.name = word.text};
            return;
        }
        if (slash != std::string::npos) {
            const auto bits = read_bits(std::string_view(word.text).substr(slash + 1));
            if (!bits || *bits < 0 || *bits > 8 * address->size_bytes) {
                refuse(word.at,
                       concat({"a number from 0 to ", std::to_string(8 * address->size_bytes),
                               " must follow the / of the address", not_this(word.text)}));
            }
            rule_.address =
                network{.address = *address,
                        .mask = mask_of(static_cast<std::size_t>(*bits), address->size_bytes)};
            return;
        }
        const auto& mask_word = next_word("the mask of the address");
        const auto mask = config::read_address(mask_word.text);
        if (!mask) {
            refuse(mask_word.at, concat({"the address needs a mask behind it, or /32 or so",
                                         not_this(mask_word.text)}));
        }
        if (mask->size_bytes != address->size_bytes) {
            refuse(mask_word.at, "the mask is not of the same family as the address");
        }
        rule_.address = network{.address = *address, .mask = *mask};
    }

    /// As strtol() does, which PostgreSQL takes: blanks and a sign may stand in front.
    static std::optional<std::int64_t> read_bits(std::string_view text) {
        const auto begin = text.find_first_not_of(" \t\n\v\f\r");
        return begin == std::string_view::npos ? std::nullopt : read_number(text.substr(begin));
    }

    /// Nothing: a host name.
    static std::optional<ip_address> read_address_text(std::string_view text, position at) {
        if (auto address = config::read_address(text)) {
            return address;
        }
        const auto name = text.starts_with('.') ? text.substr(1) : text;
        // "10.0.0" is an address to some, and a misspelt one to most.
        const bool numbers = text.find_first_not_of("0123456789.") == std::string_view::npos;
        if (numbers || name.starts_with('/') || !is_host(name)) {
            refuse(at, concat({"neither an address, nor all, samehost, samenet, nor a host name",
                               not_this(text)}));
        }
        return std::nullopt;
    }

    void read_method() {
        const auto& word = next_word("the method");
        auto name = std::string_view(word.text);
        if (name == "ident" && rule_.connection == hba_connection::local) {
            name = "peer"; // as PostgreSQL takes it
        }
        const auto index = index_in(method_words, name);
        if (!index) {
            const bool known = index_in(other_methods, name).has_value();
            refuse(word.at, concat({known ? "pgweir does not have the method '" : "'", word.text,
                                    known ? "'; it has " : "' is no method; there are ",
                                    join(method_words, ", ")}));
        }
        rule_.method = static_cast<hba_method>(*index);
        if (rule_.method == hba_method::peer && rule_.connection != hba_connection::local) {
            refuse(word.at, "the method peer is for local only");
        }
        if (rule_.method == hba_method::cert && rule_.connection != hba_connection::hostssl) {
            refuse(word.at, "the method cert is for hostssl only");
        }
    }

    void read_option(const access_token& token) {
        const auto equals = token.text.find('=');
        const auto name = token.text.substr(0, equals);
        if (equals == std::string::npos) {
            refuse(token.at, concat({"an option is name=value", not_this(token.text)}));
        }
        const auto value = token.text.substr(equals + 1);
        if (name == "map") {
            if (rule_.method != hba_method::cert && rule_.method != hba_method::peer) {
                refuse(token.at, "map is for the methods cert and peer");
            }
            rule_.map = value;
        } else if (name == "clientcert") {
            read_clientcert(token.at, value);
        } else if (name == "clientname") {
            if (rule_.connection != hba_connection::hostssl) {
                refuse(token.at, "clientname is for hostssl only");
            }
            if (value != "CN" && value != "DN") {
                refuse(token.at, concat({"clientname must be CN or DN", not_this(value)}));
            }
            rule_.name = value == "DN" ? certificate_name::subject : certificate_name::common_name;
        } else {
            refuse(token.at, concat({"unknown option; there are map, clientcert and clientname",
                                     not_this(name)}));
        }
    }

    void read_clientcert(position at, std::string_view value) {
        if (rule_.connection != hba_connection::hostssl) {
            refuse(at, "clientcert is for hostssl only");
        }
        if (value == "verify-full") {
            rule_.certificate = client_certificate::verify_full;
        } else if (value == "verify-ca" && rule_.method != hba_method::cert) {
            rule_.certificate = client_certificate::verify_ca;
        } else if (value == "verify-ca") {
            refuse(at, "clientcert must be verify-full with the method cert");
        } else {
            refuse(at, concat({"clientcert must be verify-ca or verify-full", not_this(value)}));
        }
    }

    const access_line& line_;
    std::size_t next_ = 0;
    hba_rule rule_;
};

} // namespace

hba_result parse_hba(std::string_view text, const std::string& file, const access_files& files) {
    auto read = read_access_lines(text, file, files);
    hba_result result{.rules = {}, .problems = std::move(read.problems)};
    for (const auto& line : read.lines) {
        if (result.problems.size() >= most_problems) {
            break;
        }
        try {
            result.rules.push_back(line_parser(line).run());
        } catch (refusal& refused) {
            result.problems.push_back(
                {.file = line.file, .at = refused.at, .message = std::move(refused.message)});
        }
    }
    return result;
}

bool hba_rule::same_meaning(const hba_rule& other) const {
    return connection == other.connection && databases == other.databases && users == other.users &&
           address == other.address && method == other.method && map == other.map &&
           certificate == other.certificate && name == other.name;
}

std::string_view to_string(hba_method method) {
    return method_words[static_cast<std::size_t>(method)];
}

} // namespace pgweir::config
