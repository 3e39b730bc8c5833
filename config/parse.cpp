// See parse.hpp. Goes through the tree with the table in its hand; what the table cannot say
// (bounds between settings, what must be there) is in the check_ functions at the end.
#include "config/parse.hpp"
#include "config/access_settings.hpp"
#include "config/console_names.hpp"
#include "config/document.hpp"
#include "config/reader.hpp"
#include "config/settings.hpp"
#include "config/text.hpp"
#include "config/userlist.hpp"

#include <algorithm>
#include <unordered_map>

namespace pgweir::config {
namespace {

class parser {
public:
    explicit parser(const parse_options& options)
        : options_(options)
        , in_(options) {}
    parse_result run(std::string_view text);

private:
    void read_root(const node& root);
    void read_section(const node& map, std::string_view section);
    std::vector<state_rule> read_state(const node& map, const std::string& name);
    void read_listen(const node& list);
    void read_database(const entry& each);
    void read_user(const entry& each);
    void read_userlist();
    void check_tls(const node& root);

    void check_reuse(const pool_settings& pool, const given_keys& given, const std::string& prefix);
    void check_bounds(pool_settings& pool, const given_keys& given, const std::string& prefix);
    void check_authorities(const database& of, const given_keys& given, const std::string& prefix);
    void check_password(const database& of, const given_keys& given, const std::string& prefix);
    void check_users();
    void check_whole(const node& root);

    const parse_options& options_;
    reader in_;
    configuration out_;
    bool bound_refused_ = false; // pool.minconn or pool.maxconn: nothing to compare
    position userlist_at_, method_at_;
    access_nodes access_;
    std::unordered_map<std::string, problem> user_at_; // file and position of each user
};

constexpr auto state_section = state_prefix.substr(0, state_prefix.size() - 1);

bool is_bound(std::string_view key) { return key == "minconn" || key == "maxconn"; }

// Parts of the file -----------------------------------------------------------------------------

void parser::read_root(const node& root) {
    const auto read = [&](std::string_view key, const entry& each) {
        if (key == "pool") {
            return; // has been read: databases begin with it
        }
        if (key == "listen") {
            read_listen(each.value);
        } else if (key == "databases") {
            in_.each_named(each.value, key, "{ fitness_club: { host: 127.0.0.1 } }",
                           [&](const entry& one) { read_database(one); });
        } else if (key == "users") {
            in_.each_named(each.value, key, "{ alice: { password: env:ALICE_PASSWORD } }",
                           [&](const entry& one) { read_user(one); });
        } else if (const auto* row = find_setting(key)) {
            (void)in_.read_value(*row, &out_, each.value, std::string(key));
        } else {
            read_section(each.value, key);
        }
    };
    for (const auto& each : root.entries) {
        if (each.key == "pool") {
            read_section(each.value, each.key);
            break;
        }
    }
    (void)in_.each_key(root, keys_under(""), read);
}

void parser::read_section(const node& map, std::string_view section) {
    if (map.is == node::kind::nothing) {
        return; // `pool:` with nothing in it: all defaults
    }
    const auto prefix = concat({section, "."});
    const auto known = keys_under(prefix);
    if (!in_.is_a(node::kind::map, map, section, concat({"{ ", known[0], ": … }"}))) {
        return;
    }
    const auto given = in_.each_key(map, known, [&](std::string_view key, const entry& each) {
        const auto name = concat({prefix, key});
        if (name == state_section) {
            lay_over(out_.pool, read_state(each.value, name));
            return;
        }
        const auto& row = *find_setting(name);
        if (name == "auth.userlist") {
            userlist_at_ = each.value.at;
        }
        if (row.form == text_form::line || name == "auth.hba_file" || name == "auth.ident_file") {
            access_.emplace(row.key, &each.value);
        }
        if (name == "auth.method") {
            method_at_ = each.value.at;
        }
        if (!is_in_pool(row)) {
            (void)in_.read_value(row, &out_, each.value, name);
        } else if (!in_.read_value(row, &out_.pool, each.value, name)) {
            bound_refused_ |= is_bound(key);
        }
    });
    if (prefix == pool_prefix) {
        check_reuse(out_.pool, given, prefix);
        if (!bound_refused_) {
            check_bounds(out_.pool, given, prefix);
        }
    }
}

/// `session_state:`, found under that name.
std::vector<state_rule> parser::read_state(const node& map, const std::string& name) {
    std::vector<state_rule> rules;
    if (!in_.is_a(node::kind::map, map, name, "{ temporary_objects: reject }")) {
        return rules;
    }
    (void)in_.each_key(map, keys_under(state_prefix), [&](std::string_view key, const entry& each) {
        const auto& row = *find_setting(concat({state_prefix, key}));
        pool_settings one;
        if (in_.read_value(row, &one, each.value, concat({name, ".", key}))) {
            if (const auto* kind = std::get_if<state_policy pool_settings::*>(&row.where)) {
                rules.emplace_back(rule_of<state_policy>{*kind, one.**kind});
            } else if (const auto* virtual_kind =
                           std::get_if<virtual_policy pool_settings::*>(&row.where)) {
                rules.emplace_back(rule_of<virtual_policy>{*virtual_kind, one.**virtual_kind});
            }
        }
    });
    return rules;
}

void parser::read_listen(const node& list) {
    if (!in_.is_a(node::kind::list, list, "listen", "[{ address: 127.0.0.1, port: 6432 }]")) {
        return;
    }
    constexpr std::size_t most_addresses = 64;
    if (list.items.empty() || list.items.size() > most_addresses) {
        in_.complain(list.at, concat({"listen must have 1 to ", std::to_string(most_addresses),
                                      " entries"}));
        return;
    }
    out_.listen.clear();
    const auto known = keys_under(listen_prefix);
    for (const auto& item : list.items) {
        if (!in_.is_a(node::kind::map, item, "an entry of listen",
                      "{ address: 127.0.0.1, port: 6432 }")) {
            continue;
        }
        listen_address where;
        (void)in_.each_key(item, known, [&](std::string_view key, const entry& each) {
            const auto name = concat({listen_prefix, key});
            (void)in_.read_value(*find_setting(name), &where, each.value, name);
        });
        const bool twice = where.port != 0 && std::find(out_.listen.begin(), out_.listen.end(),
                                                        where) != out_.listen.end();
        if (twice) {
            in_.complain(item.at, concat({"listen has ", where.address, " port ",
                                          std::to_string(where.port), " twice"}));
        }
        out_.listen.push_back(std::move(where));
    }
}

void parser::read_database(const entry& each) {
    if (is_console(each.key)) {
        in_.complain(each.at, concat({"databases must not have '", each.key,
                                      "': that is the name of the console"}));
        return;
    }
    database made;
    made.name = each.key;
    made.pool = out_.pool;
    const auto prefix = concat({"databases.", each.key, "."});
    given_keys given;
    bool refused = bound_refused_;
    if (each.value.is != node::kind::nothing) {
        if (!in_.is_a(node::kind::map, each.value, concat({"databases.", each.key}),
                      "{ host: 127.0.0.1, port: 5432 }")) {
            return;
        }
        auto known = keys_under(database_prefix);
        const auto pool_keys = keys_under(pool_prefix);
        known.insert(known.end(), pool_keys.begin(), pool_keys.end());
        given = in_.each_key(each.value, known, [&](std::string_view key, const entry& value) {
            if (concat({pool_prefix, key}) == state_section) {
                lay_over(made.pool, read_state(value.value, concat({prefix, key})));
                return;
            }
            const auto* row = find_setting(concat({database_prefix, key}));
            const bool own = row != nullptr;
            row = own ? row : find_setting(concat({pool_prefix, key}));
            const auto owner = own ? setting_owner(&made) : setting_owner(&made.pool);
            if (!in_.read_value(*row, owner, value.value, concat({prefix, key}))) {
                refused |= is_bound(key);
            }
        });
    }
    if (!refused) {
        check_bounds(made.pool, given, prefix);
    }
    check_reuse(made.pool, given, prefix);
    check_password(made, given, prefix);
    check_authorities(made, given, prefix);
    if (made.dbname.empty() && made.name != "*") {
        made.dbname = made.name;
    }
    out_.databases.push_back(std::move(made));
}

void parser::read_user(const entry& each) {
    user made{.name = each.key, .password = {}, .from_file = false, .session_state = {}};
    const auto name = concat({"users.", each.key});
    if (each.value.is == node::kind::map) {
        auto known = keys_under(user_prefix);
        known.push_back(state_section.substr(pool_prefix.size()));
        const auto given =
            in_.each_key(each.value, known, [&](std::string_view key, const entry& value) {
                if (concat({pool_prefix, key}) == state_section) {
                    made.session_state = read_state(value.value, concat({name, ".", key}));
                    return;
                }
                const auto& row = *find_setting(concat({user_prefix, key}));
                (void)in_.read_value(row, &made, value.value, concat({name, ".", key}));
            });
        for (const auto& row : settings()) {
            if (row.required && row.key.starts_with(user_prefix) &&
                !given.contains(row.short_key())) {
                in_.complain(each.at, concat({name, " needs a ", row.short_key()}));
            }
        }
    } else if (each.value.is == node::kind::nothing) {
        in_.complain(each.at, concat({name, " needs a password"}));
    } else {
        (void)in_.is_a(node::kind::map, each.value, name, "{ password: env:NAME }");
    }
    user_at_.emplace(made.name, problem{.at = each.at});
    out_.users.push_back(std::move(made));
}

void parser::read_userlist() {
    if (out_.userlist.empty()) {
        return;
    }
    auto text = in_.read_secret_file(out_.userlist);
    if (!text) {
        in_.complain(userlist_at_, concat({"auth.userlist is the file '", out_.userlist,
                                           "', which ", not_for_us}));
        return;
    }
    const secret kept(std::move(*text)); // wiped at the end
    auto list = parse_userlist(kept.reveal());
    for (auto& each : list.problems) {
        in_.complain(each.at, std::move(each.message), out_.userlist);
    }
    for (auto& each : list.users) {
        const auto [known, is_new] =
            user_at_.emplace(each.who.name, problem{.file = out_.userlist, .at = each.at});
        if (!is_new) {
            in_.complain(each.at,
                         concat({"user '", each.who.name, "' is in users as well, on line ",
                                 std::to_string(known->second.at.line), " of the configuration"}),
                         out_.userlist);
            continue;
        }
        out_.users.push_back(std::move(each.who));
    }
}

// What one row cannot say -----------------------------------------------------------------------

/// Between two transactions of a session, a server of transaction mode is somebody else's.
/// `prefix`: of the map that was read. Where neither is given, `pool:` has been told off already.
void parser::check_reuse(const pool_settings& pool, const given_keys& given,
                         const std::string& prefix) {
    if (pool.reuse == server_reuse::always || pool.mode == pool_mode::session) {
        return;
    }
    const auto reuse = given.find("reuse");
    const auto mode = given.find("mode");
    if (reuse != given.end()) {
        in_.complain(reuse->second, concat({prefix, "reuse never needs ", prefix, "mode session"}));
    } else if (mode != given.end()) {
        in_.complain(mode->second, concat({prefix, "mode must be session where reuse is never",
                                           prefix == pool_prefix ? "" : ", as pool says"}));
    }
}

/// `prefix`: of the map that was read. Where neither is given, `pool:` has been told off already. A
/// minimum that was not given here gives way to a maximum that was: `pool: { maxconn: 3 }` is all
/// that a small pool takes.
void parser::check_bounds(pool_settings& pool, const given_keys& given, const std::string& prefix) {
    const auto least = given.find("minconn");
    const auto most = given.find("maxconn");
    if (pool.minconn <= pool.maxconn || (least == given.end() && most == given.end())) {
        return;
    }
    if (least == given.end()) {
        pool.minconn = pool.maxconn;
        return;
    }
    const auto* const origin = most != given.end()     ? ""
                               : prefix == pool_prefix ? ", the default"
                                                       : ", from pool";
    in_.complain(least->second,
                 concat({prefix, "minconn (", std::to_string(pool.minconn), ") must not be above ",
                         prefix, "maxconn (", std::to_string(pool.maxconn), origin, ")"}));
}

/// The authorities that a system trusts have signed for everybody who owns a name: without looking
/// at the name, that says nothing. `given`, `prefix`: of the database that was read.
void parser::check_authorities(const database& of, const given_keys& given,
                               const std::string& prefix) {
    const auto mode = given.find("sslmode");
    const auto file = given.find("sslrootcert");
    if (of.sslrootcert == system_authorities && of.sslmode != tls_mode::verify_full) {
        in_.complain(file->second,
                     concat({prefix, "sslrootcert system needs ", prefix, "sslmode verify-full"}));
    } else if (of.sslmode == tls_mode::verify_ca && of.sslrootcert.empty()) {
        in_.complain(mode->second, concat({prefix, "sslmode verify-ca needs ", prefix,
                                           "sslrootcert, the file of an authority"}));
    } else if (!of.sslcrl.empty() && !of.checks_certificate()) {
        in_.warn(given.find("sslcrl")->second,
                 concat({prefix, "sslcrl is not looked at: this sslmode checks no certificate"}));
    }
}

/// `given`, `prefix`: of the database that was read.
void parser::check_password(const database& of, const given_keys& given,
                            const std::string& prefix) {
    const auto password = given.find("password");
    if (password == given.end()) {
        return;
    }
    if (!given.contains("user")) {
        in_.complain(password->second, concat({prefix, "password needs ", prefix, "user"}));
    }
    if (form_of(of.password.reveal()) == secret_form::scram) {
        in_.complain(password->second,
                     concat({prefix, "password is a SCRAM verifier, which proves a password but "
                                     "cannot stand for one"}));
    }
}

void parser::check_users() {
    for (const auto& each : out_.users) {
        const auto form = form_of(each.password.reveal());
        const auto& at = user_at_.at(each.name);
        if (each.name == out_.query_user &&
            (form == secret_form::scram || form == secret_form::md5)) {
            in_.complain(at.at,
                         concat({"user '", each.name, "' is auth.query_user and has ",
                                 form == secret_form::scram ? "a SCRAM verifier" : "an md5 secret",
                                 ", which proves a password but cannot stand for one"}),
                         at.file);
            continue;
        }
        if (out_.auth == auth_method::scram_sha_256 && out_.hba_rules.empty() &&
            form == secret_form::md5) {
            in_.warn(
                at.at,
                concat({"user '", each.name,
                        "' has an md5 secret and cannot log in with auth.method scram-sha-256"}),
                at.file);
        }
    }
}

/// What goes together: a certificate and its key, and what cannot be had without them.
void parser::check_tls(const node& root) {
    const auto at = [](const node& map, std::string_view key) {
        const auto found = std::find_if(map.entries.begin(), map.entries.end(),
                                        [&](const entry& each) { return each.key == key; });
        return found == map.entries.end() ? nullptr : &found->value;
    };
    if (out_.tls_certificate.empty() != out_.tls_key.empty()) {
        const auto* const section = at(root, "tls");
        in_.complain(section != nullptr ? section->at : position{},
                     "tls.certificate and tls.key need each other");
    } else if (out_.tls >= tls_mode::require && out_.tls_certificate.empty()) {
        const auto* const section = at(root, "tls");
        in_.complain(section != nullptr ? section->at : position{},
                     "this tls.mode needs tls.certificate and tls.key");
    } else if (out_.tls >= tls_mode::verify_ca && out_.tls_ca.empty()) {
        const auto* const section = at(root, "tls");
        in_.complain(section != nullptr ? section->at : position{}, "this tls.mode needs tls.ca");
    } else if (!out_.tls_crl.empty() && out_.tls_ca.empty()) {
        const auto* const section = at(root, "tls");
        in_.complain(section != nullptr ? section->at : position{}, "tls.crl needs tls.ca");
    }
    const auto* const databases = at(root, "databases");
    for (const auto& each : out_.databases) {
        const auto* const where = databases != nullptr ? at(*databases, each.name) : nullptr;
        const auto spot = where != nullptr ? where->at : position{};
        if (each.sslcert.empty() != each.sslkey.empty()) {
            in_.complain(spot,
                         concat({"databases.", each.name, ": sslcert and sslkey need each other"}));
        }
        if (each.sslnegotiation == tls_negotiation::direct && each.sslmode < tls_mode::require) {
            in_.complain(spot,
                         concat({"databases.", each.name,
                                 ": sslnegotiation 'direct' needs sslmode 'require' or more"}));
        }
    }
}

void parser::check_whole(const node& root) {
    const auto databases = std::find_if(root.entries.begin(), root.entries.end(),
                                        [](const entry& each) { return each.key == "databases"; });
    if (databases == root.entries.end()) {
        in_.complain({}, "databases is missing: name at least one");
    } else if (databases->value.is == node::kind::map && databases->value.entries.empty()) {
        in_.complain(databases->value.at, "databases must name at least one");
    }
    const bool without_secrets =
        out_.hba_rules.empty()
            ? out_.auth == auth_method::trust
            : std::any_of(out_.hba_rules.begin(), out_.hba_rules.end(), [](const hba_rule& rule) {
                  return rule.method == hba_method::trust || rule.method == hba_method::cert ||
                         rule.method == hba_method::peer;
              });
    if (!without_secrets && out_.users.empty() && out_.userlist.empty() &&
        out_.query_user.empty() && !in_.has_errors()) {
        in_.complain(method_at_,
                     "nobody could log in: give users, auth.userlist or auth.query_user");
    }
    check_tls(root);
    if (out_.auth == auth_method::trust && out_.hba_rules.empty()) {
        for (const auto& each : out_.listen) {
            if (!is_loopback(each.address) && !each.address.starts_with('/')) {
                in_.warn(method_at_, concat({"auth.method trust lets in everybody who reaches ",
                                             each.address, " as whoever they say they are"}));
            }
        }
    }
}

parse_result parser::run(std::string_view text) {
    const auto document = read_document(text);
    if (const auto* bad = std::get_if<problem>(&document)) {
        return parse_result(std::vector<problem>{*bad}, {});
    }
    const auto& root = std::get<node>(document);
    if (root.is == node::kind::nothing ||
        in_.is_a(node::kind::map, root, "the file", "pool: { … }")) {
        read_root(root);
        read_userlist();
        read_access(access_, in_, out_);
        check_whole(root);
        check_users();
        if (options_.open_to_others && in_.first_secret()) {
            in_.warn(*in_.first_secret(),
                     "secrets stand in this file, which others may read: it should belong to root "
                     "(mode 0640 or less) or pgweir's user (0600 or less)");
        }
    }
    auto warnings = in_.take_warnings();
    if (in_.has_errors()) {
        return parse_result(in_.take_errors(), std::move(warnings));
    }
    out_.index();
    return parse_result(std::move(out_), std::move(warnings));
}

} // namespace

parse_result parse(std::string_view text, const parse_options& options) {
    return parser(options).run(text);
}

} // namespace pgweir::config
