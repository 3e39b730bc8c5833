// On what terms a client may log in: what the configuration's users and access rules say of it, and
// what has to be asked elsewhere (PostgreSQL for users that no file names, the system for names of
// addresses and of peers). The login itself is protocol::client_login's.
//
// Tests: integration/auth_query_test.py, access_test.py, tls_test.py.
#include "daemon/engine/engine.hpp"

#include <utility>

namespace pgweir::daemon {

namespace {

protocol::auth_method method_of(config::hba_method method) {
    switch (method) {
    case config::hba_method::trust:
        return protocol::auth_method::trust;
    case config::hba_method::reject:
        return protocol::auth_method::reject;
    case config::hba_method::password:
        return protocol::auth_method::password;
    case config::hba_method::md5:
        return protocol::auth_method::md5;
    case config::hba_method::scram_sha_256:
        return protocol::auth_method::scram_sha_256;
    case config::hba_method::cert:
        return protocol::auth_method::cert;
    case config::hba_method::peer:
        return protocol::auth_method::peer;
    }
    return protocol::auth_method::reject;
}

bool is_in(const std::vector<std::string>& groups, std::string_view group) {
    return std::find(groups.begin(), groups.end(), group) != groups.end();
}

} // namespace

protocol::login_action engine::look_up_user(client& c, protocol::login_find_user ask) {
    if (c.over_limit) {
        std::string data;
        protocol::append_error(data, protocol::error::too_many_clients);
        return protocol::login_refuse{std::move(data), protocol::error::too_many_clients,
                                      "max_clients reached"};
    }
    c.info->user = ask.user;
    c.info->database = ask.database;
    c.info->wants = std::make_unique<protocol::login_find_user>(std::move(ask));
    return admit(c, nullptr);
}

/// What those who do not exist are asked for by the method md5: what most others are. PostgreSQL's
/// own users have SCRAM verifiers unless it was told otherwise.
void engine::choose_mock_method() {
    std::size_t by_scram = 0, by_md5 = 0;
    for (const auto& user : config_->users) {
        const auto stored = user.password.reveal();
        if (!stored.empty()) {
            ++(protocol::begins_like_verifier(stored) ? by_scram : by_md5);
        }
    }
    mock_scram_ = !config_->query_user.empty() || by_scram >= by_md5;
}

/// The first rule for this client. It may depend on what is not known yet.
config::hba_decision engine::rule_for(const client& c, const config::user* listed,
                                      const login_answer* known) const {
    const auto& ask = *c.info->wants;
    const config::hba_request request{.database = ask.database,
                                      .user = ask.user,
                                      .physical_replication =
                                          ask.replication == protocol::replication_kind::physical,
                                      .address = c.info->where.peer_ip,
                                      .tls = ask.tls};
    config::hba_facts facts;
    facts.own_networks = options_.own_networks;
    if (known != nullptr) {
        facts.host_name = known->host_name;
    }
    // Who is known to nobody gets in by no line, and is in no group. Of anybody else it has to be
    // known: a line that may be about it is not stepped over.
    facts.is_member = [known, listed](std::string_view group) -> std::optional<bool> {
        if (known != nullptr && known->user == nullptr && listed == nullptr &&
            known->failure.empty()) {
            return false;
        }
        return known != nullptr && known->user != nullptr && known->user->groups
                   ? std::optional(is_in(*known->user->groups, group))
                   : std::nullopt;
    };
    return config::decide(config_->hba_rules, request, facts);
}

/// As long as it would wait for a server, and the end of its login is still to be told why.
time_point engine::patience_of(const client& c, const protocol::login_find_user& ask) const {
    const duration whole = config_->login_timeout;
    const duration wait = config_->find_pool(ask.database, ask.user).wait_timeout;
    return c.info->connected_at + std::min(wait, whole - whole / 10);
}

void engine::look_again_later(const client& c, time_point now) {
    constexpr auto interval = std::chrono::seconds(1);
    look_up_deadlines_.emplace_back(now + interval, c.id);
    wake_by(now + interval);
}

/// While PostgreSQL is away this may take long, and nobody reads what comes from the client: one
/// that has gone is not to keep a place among those who have not logged in.
void engine::leave_look_up(client& c, time_point now) {
    if (c.state != client_state::deriving || c.info->asked == nullptr) {
        return;
    }
    if (c.socket->has_ended()) {
        end(c, pool::client_close::eof, now);
    } else {
        look_again_later(c, now);
    }
}

/// `known`: what has been looked up; nothing: nothing yet. Below, `listed` is what the
/// configuration has of the user, found once here.
protocol::login_action engine::admit(client& c, const login_answer* known) {
    const auto& ask = *c.info->wants;
    const bool local = c.info->where.peer == local_peer;
    const auto* const listed = config_->find_user(ask.user);
    const bool by_query = !config_->query_user.empty();
    auto decision =
        config_->hba_rules.empty() ? config::hba_decision{} : rule_for(c, listed, known);
    if (known == nullptr) {
        login_question question{.database = ask.database,
                                .user = ask.user,
                                .about_user =
                                    by_query && (listed == nullptr || !decision.groups.empty()),
                                .in_the_file = by_query && listed != nullptr,
                                .host_name = decision.host_name,
                                .peer_name = decision.peer_name && local,
                                .address = c.info->where.peer_ip.value_or(config::ip_address{}),
                                .peer_uid = c.info->where.peer_uid,
                                .patient_until = patience_of(c, ask)};
        if (question.about_user || question.in_the_file || question.host_name ||
            question.peer_name) {
            set_state(c, client_state::deriving, c.state_since);
            c.info->asked = std::make_shared<char>();
            question.asker = c.info->asked;
            look_again_later(c, c.state_since);
            ports_.look_up(c.id.value, std::move(question));
            return protocol::login_read{};
        }
        static const login_answer nothing;
        known = &nothing;
        if (!decision.decided()) {
            decision = rule_for(c, listed, known);
        }
    }
    return is_in_the_dark(listed, decision, *known) ? refuse_in_the_dark(c, *known)
                                                    : terms_for(c, listed, decision.rule, *known);
}

/// Is something not known that this login depends on, because it could not be found out?
bool engine::is_in_the_dark(const config::user* listed, const config::hba_decision& decision,
                            const login_answer& known) const {
    if (known.failure.empty()) {
        return false;
    }
    if (config_->hba_rules.empty() || !decision.decided()) {
        return !decision.decided() || listed == nullptr;
    }
    const auto* const rule = decision.rule;
    if (rule == nullptr || rule->method == config::hba_method::reject) {
        return false; // whoever it is
    }
    return listed == nullptr || (rule->method == config::hba_method::peer && !known.peer_name);
}

/// Says nothing of whether there is such a user, and the client is not to think of its password.
protocol::login_action engine::refuse_in_the_dark(client& c, const login_answer& known) {
    c.info->wants = nullptr;
    protocol::admission terms;
    terms.refusal = protocol::admission_refusal{
        .code = protocol::error::server_unreachable,
        .words = {.message = "it cannot be found out at present who may log in",
                  .detail = known.postgresql_is_away ? "PostgreSQL, which is asked for users, "
                                                       "cannot be reached or takes no connections."
                                                     : ""},
        .log_reason = known.failure};
    return c.login->found_user(std::move(terms));
}

/// … all that it depends on being known.
protocol::login_action engine::terms_for(client& c, const config::user* listed,
                                         const config::hba_rule* rule, const login_answer& known) {
    const auto ask = std::move(*std::exchange(c.info->wants, nullptr));
    const std::string_view peer = c.info->where.peer;
    protocol::admission terms;
    terms.mock_scram = mock_scram_;
    terms.mock_shape = ports_.common_verifier();
    const protocol::admission_subject subject{.host = peer == local_peer ? "[local]" : peer,
                                              .user = ask.user,
                                              .database = ask.database,
                                              .replication = ask.replication,
                                              .tls = ask.tls};
    if (config_->hba_rules.empty()) {
        terms.method = static_cast<protocol::auth_method>(config_->auth);
    } else if (rule == nullptr) {
        terms.refusal = protocol::no_entry_for(subject);
    } else {
        using certificate = config::client_certificate;
        terms.method = method_of(rule->method);
        if (rule->method == config::hba_method::reject) {
            terms.refusal = protocol::rejected_by_entry(subject);
        }
        terms.require_client_certificate = rule->certificate != certificate::not_asked;
        terms.certificate_names_user = rule->certificate == certificate::verify_full;
        // Who has no name is nobody, whatever a map's pattern matches.
        const auto is_user = [&](std::string_view system_name) {
            return !system_name.empty() &&
                   config::may_be(config_->ident_lines, rule->map, system_name, ask.user);
        };
        const auto* const tls = c.login->facts();
        terms.certificate_is_user =
            tls != nullptr &&
            is_user(rule->name == config::certificate_name::subject ? tls->client_subject
                                                                    : tls->client_common_name);
        terms.peer_is_user = known.peer_name && is_user(*known.peer_name);
    }
    c.info->looked_up = listed == nullptr && !config_->query_user.empty();
    if (listed != nullptr) {
        terms.credential = {protocol::secret(std::string(listed->password.reveal()))};
    } else if (known.user != nullptr) {
        const auto& until = known.user->valid_until;
        // As PostgreSQL: whose password has expired has none.
        terms.credential = {!until || *until > ports_.wall_clock() ? known.user->secret
                                                                   : protocol::secret()};
    }
    return c.login->found_user(std::move(terms));
}

void engine::on_looked_up(time_point now, std::uint64_t ticket, const login_answer& answer) {
    auto* const c = find(client_id{ticket});
    if (c != nullptr && c->state == client_state::deriving && c->login && c->info->wants) {
        c->info->asked = nullptr;
        set_state(*c, client_state::login, now);
        login_step(*c, admit(*c, &answer), now);
        pump_login(*c, now);
    }
    reap();
}

} // namespace pgweir::daemon
