// From a client's first byte to its welcome. The exchange itself is protocol::client_login's; here
// its actions are carried out, and the proven client is given what a real server says of itself.
#include "config/console_names.hpp"
#include "daemon/engine/engine.hpp"
#include "protocol/proxy_header.hpp"
#include "protocol/sql_lexer.hpp"
#include "protocol/startup_options.hpp"

#include <algorithm>
#include <cstring>

namespace pgweir::daemon {

namespace {

using config::is_console;

bool may_use_console(const config::configuration& config, std::string_view user) {
    const auto listed = [&](const std::vector<std::string>& list) {
        return std::find(list.begin(), list.end(), user) != list.end();
    };
    return listed(config.admin_users) || listed(config.stats_users);
}

protocol::error_words no_such_database(const protocol::startup_message& startup) {
    const auto name = "\"" + protocol::printable(startup.database) + "\"";
    if (startup.replication != protocol::replication_kind::physical) {
        return {.message = "database " + name + " does not exist", .detail = {}, .hint = {}};
    }
    return {.message = "no database for physical replication: " + name + " is not configured",
            .detail = "A cluster is named by one of its databases; several are configured.",
            .hint = "Connect with dbname= and one of them, or configure a database called "
                    "replication."};
}

/// In the one spelling that the address has, and IPv4 in IPv6's clothes as IPv4, as the address of
/// a socket: each spelling would have places of its own else.
void learn_source(client& c, const protocol::ip_endpoint& source) {
    const auto address =
        config::without_mapping({.bytes = source.address, .size_bytes = source.address_bytes()});
    c.info->where.peer_ip = address;
    c.info->where.peer = config::to_text(address);
    c.info->where.peer_port = source.port;
}

} // namespace

void engine::pump_login(client& c, time_point now) {
    if (c.info->awaits_proxy && !take_proxy_header(c, now)) {
        if (c.state == client_state::login) {
            arm_read(c);
        }
        return;
    }
    while (c.state == client_state::login && c.login && !c.blocked) {
        auto rest = c.in.held() ? c.in.unused() : protocol::bytes{};
        const auto before = rest.size();
        auto action = c.login->resume(rest);
        if (before != rest.size()) {
            c.in.use(before - rest.size());
        }
        const bool wants_more = std::holds_alternative<protocol::login_read>(action);
        login_step(c, std::move(action), now);
        if (wants_more) {
            if (c.in.held() && c.in.full() && c.state == client_state::login) {
                buffers_.grow(c.in);
            }
            break;
        }
    }
    if (c.state == client_state::login && !c.blocked) { // else on_writable() goes on here
        arm_read(c);
    }
}

void engine::login_step(client& c, protocol::login_action action, time_point now) {
    while (auto* const ask = std::get_if<protocol::login_find_user>(&action)) {
        action = look_up_user(c, std::move(*ask));
    }
    if (auto* const write = std::get_if<protocol::login_write>(&action)) {
        c.out.own() += write->data;
        if (flush(c, now) && c.state == client_state::login && !c.reading) {
            pump_login(c, now);
        }
    } else if (const auto* const tls = std::get_if<protocol::login_start_tls>(&action)) {
        begin_tls(c, tls->direct);
    } else if (auto* const derive = std::get_if<protocol::login_derive>(&action)) {
        set_state(c, client_state::deriving, now);
        c.info->asked = std::make_shared<char>();
        ports_.derive(c.id.value, *derive, c.info->asked);
    } else if (auto* const cancel = std::get_if<protocol::login_cancel>(&action)) {
        c.login.reset();
        leave_login(c);
        route(c, std::move(cancel->request.target), now);
    } else if (auto* const done = std::get_if<protocol::login_authenticated>(&action)) {
        authenticated(c, *done, now);
    } else if (auto* const refuse = std::get_if<protocol::login_refuse>(&action)) {
        refuse_login(c, std::move(*refuse), now);
    }
}

/// Who has failed to prove who it is hears of it a moment later, never after exactly as long as
/// anybody else: guessing is slow, and how long a guess took says nothing.
void engine::refuse_login(client& c, protocol::login_refuse refuse, time_point now) {
    if (c.info->looked_up && refuse.code == protocol::error::authentication_failed) {
        ports_.forget_user(c.info->database, c.info->user);
    }
    ports_.log(log_severity::info, "login refused",
               {{"client", static_cast<std::int64_t>(c.id.value)},
                {"user", c.login->user()},
                {"address", c.info->where.peer},
                {"cause", refuse.log_reason}});
    if (!refuse.unproven) {
        tell_refusal(c, refuse, now);
        return;
    }
    constexpr std::chrono::duration<double, std::milli> least(200), spread(200);
    const auto later =
        now + std::chrono::duration_cast<duration>(least + spread * random_fraction());
    c.info->late_refusal = std::make_unique<protocol::login_refuse>(std::move(refuse));
    set_state(c, client_state::deriving, now);
    late_refusals_.emplace(later, c.id);
    wake_by(later);
}

void engine::tell_refusal(client& c, const protocol::login_refuse& refuse, time_point now) {
    c.out.own() += refuse.data;
    const auto reason =
        refuse.code == protocol::error::login_timeout      ? pool::client_close::login_timeout
        : refuse.code == protocol::error::too_many_clients ? pool::client_close::too_many_clients
        : refuse.code == protocol::error::protocol_violation
            ? pool::client_close::protocol_violation
            : pool::client_close::login_refused;
    if (c.blocked && c.out.empty()) {
        end(c, reason, now); // in the middle of the handshake, where nothing can be said
        return;
    }
    close_when_sent(c, reason, now);
}

void engine::tell_late_refusals(time_point now) {
    while (!late_refusals_.empty() && late_refusals_.begin()->first <= now) {
        const auto id = late_refusals_.begin()->second;
        late_refusals_.erase(late_refusals_.begin());
        if (auto* const c = find(id); c != nullptr && c->info->late_refusal) {
            tell_refusal(*c, *std::exchange(c->info->late_refusal, nullptr), now);
        }
    }
    if (!late_refusals_.empty()) {
        wake_by(late_refusals_.begin()->first);
    }
}

/// From a load balancer, the PROXY protocol's header comes first. False: not yet, or never.
bool engine::take_proxy_header(client& c, time_point now) {
    if (!c.in.held() || c.in.empty()) {
        return false;
    }
    const auto got = protocol::read_proxy_header(c.in.unused());
    if (const auto* const header = std::get_if<protocol::proxy_header>(&got)) {
        if (header->source) { // else the socket's own counts
            learn_source(c, *header->source);
        }
        c.in.use(header->size_bytes);
        c.info->awaits_proxy = false;
        return count_login(c, now);
    }
    if (const auto* const refused = std::get_if<protocol::proxy_header_refused>(&got)) {
        ports_.log(log_severity::info, "login refused",
                   {{"client", static_cast<std::int64_t>(c.id.value)},
                    {"address", c.info->where.peer},
                    {"cause", std::string("PROXY header: ") + refused->why}});
        end(c, pool::client_close::protocol_violation, now);
    }
    return false;
}

/// It is known now where it is. False: too many who have not logged in are there already.
bool engine::count_login(client& c, time_point now) {
    if (!ports_.login_from(c.info->where.peer, config_->max_unauthenticated_per_address)) {
        end(c, pool::client_close::too_many_clients, now);
        return false;
    }
    c.info->login_place = c.info->where.peer;
    return true;
}

void engine::leave_login(client& c) {
    if (const auto place = std::exchange(c.info->login_place, std::nullopt)) {
        ports_.login_over(*place);
    }
    c.info->offered_tls = nullptr;
}

/// Nothing is read or sent before the handshake is done. By the certificates of now, unless a
/// reload has left none since it was offered.
void engine::begin_tls(client& c, bool direct) {
    const auto rest = c.in.held() ? c.in.unused() : protocol::bytes{};
    c.blocked = true;
    const auto& newest = options_.client_tls;
    c.socket->secure({.context = newest != nullptr ? newest : c.info->offered_tls,
                      .first = protocol::as_text(rest),
                      .direct = direct});
    c.in.use(rest.size());
    buffers_.give_back(c.in);
}

void client::on_secured(time_point now, const protocol::tls_facts* facts,
                        const protocol::tls_failure& failure) {
    blocked = false;
    if (!login || state != client_state::login) {
        // The login has ended meanwhile; what it had to say cannot be said in the clear.
        home.end(*this, closing_for, now);
    } else if (facts == nullptr) {
        home.ports_.log(log_severity::info, "login refused",
                        {{"client", static_cast<std::int64_t>(id.value)},
                         {"address", info->where.peer},
                         {"cause", "TLS: " + std::string(failure.words)}});
        home.end(*this, pool::client_close::login_refused, now);
    } else {
        home.login_step(*this, login->secured(*facts), now);
        home.pump_login(*this, now);
    }
    home.reap();
}

void engine::authenticated(client& c, protocol::login_authenticated& done, time_point now) {
    auto& startup = done.startup;
    c.info->user = startup.user;
    c.info->database = startup.database;
    c.info->minor_version = protocol::spoken_minor_version(startup.minor_version);
    c.out.own() += done.data;
    c.login.reset();
    leave_login(c);
    if (shutting_down_) {
        tell_and_close(c, pool::client_close::shutdown, protocol::error::admin_shutdown, {}, now);
        return;
    }
    if (is_console(startup.database) && may_use_console(*config_, startup.user)) {
        send_console_welcome(c, now);
        return;
    }
    const auto database = database_for(startup);
    if (!database) {
        tell_and_close(c, pool::client_close::unknown_database, protocol::error::unknown_database,
                       no_such_database(startup), now);
        return;
    }
    for (const auto& [name, value] : startup.settings) {
        if (name == "application_name") {
            c.info->application_name = protocol::printable(value, 63);
        }
    }
    const bool replication = startup.replication != protocol::replication_kind::none;
    const bool own_server = replication || database->pool.reuse == config::server_reuse::never;
    c.info->replication = startup.replication;
    if (!own_server && !take_settings(c, startup, now)) {
        return;
    }
    const auto entry =
        ports_.pool_for(*database, database->user.empty() ? startup.user : database->user,
                        {std::move(done.password), std::move(done.keys)}, replication);
    c.pool = &part_of(entry);
    if (own_server) {
        c.info->startup = std::make_unique<protocol::startup_message>(std::move(startup));
    }
    entry->shared.client_came();
    c.pool->shard.set_warm(true);
    c.pool->stats().logins.add();
    c.pool->stats().clients.add();
    welcome(c, now);
}

/// Where it is to go; nothing: nowhere. Physical replication is of a whole cluster, so the database
/// it names, or not, does not matter where there is only one.
std::optional<config::database>
engine::database_for(const protocol::startup_message& startup) const {
    if (is_console(startup.database)) {
        return std::nullopt;
    }
    auto found = config_->find_database(startup.database);
    if (!found && startup.replication == protocol::replication_kind::physical &&
        config_->databases.size() == 1) {
        found = config_->databases.front();
    }
    return found;
}

/// The settings that its servers are to carry. False: they make no sense, and it has been told so.
bool engine::take_settings(client& c, protocol::startup_message& startup, time_point now) {
    // PostgreSQL takes what is given last, of the parameters and of the switches in `options`; and
    // parameters come after all switches.
    protocol::setting_map settings, from_options;
    for (auto& [name, value] : startup.settings) {
        if (name == "options") {
            from_options.clear();
            auto parsed = protocol::parse_startup_options(value);
            if (parsed.refused) {
                tell_and_close(c, pool::client_close::setting_refused,
                               protocol::error::setting_refused,
                               {.message = "invalid command-line argument for server process: " +
                                           protocol::printable(*parsed.refused),
                                .detail = {},
                                .hint = {}},
                               now);
                return false;
            }
            for (auto& [option, option_value] : parsed.settings) {
                from_options.insert_or_assign(protocol::lower_case(option),
                                              std::move(option_value));
            }
        } else if (protocol::valid_setting_name(name)) {
            settings.insert_or_assign(protocol::lower_case(name), std::move(value));
        }
    }
    settings.merge(from_options);
    c.settings = settings.empty() ? no_settings_ : intern(std::move(settings));
    c.at_start = c.settings;
    return true;
}

void engine::welcome(client& c, time_point now) {
    auto& part = *c.pool;
    if (part.shard.bounds().mode != pool::pool_mode::session) {
        const auto of_pool = latest_welcome(part);
        if (const auto known = part.welcomes.find(c.settings); known != part.welcomes.end()) {
            send_welcome(c, *known->second, now);
            return;
        }
        if (of_pool && c.settings == no_settings_) {
            send_welcome(c, of_pool->parameters, now);
            return;
        }
        const auto accepted = part.entry->accepted.load();
        const auto expected =
            of_pool ? accepted->welcome_with(*c.settings, of_pool->parameters) : std::nullopt;
        if (expected) {
            send_welcome(c, *expected, now);
            return;
        }
    }
    // Something of these settings is new here: a real server has to say what they come to.
    set_state(c, client_state::awaiting_welcome, now);
    if (!flush(c, now) && c.state == client_state::gone) {
        return;
    }
    arm_read(c);
    ask_for_server(c, now);
    if (part.entry->replication) {
        refuse_beyond_bound(c, now);
    }
}

/// What the server that logged in last says of itself. When that is news (PostgreSQL was restarted
/// with another configuration, or is another version), what was learned before is forgotten.
std::shared_ptr<const protocol::server_welcome> engine::latest_welcome(pool_part& part) {
    auto latest = part.entry->welcome.load();
    if (latest != part.welcomes_as_of) {
        if (part.welcomes_as_of && latest->parameters != part.welcomes_as_of->parameters) {
            part.welcomes.clear();
            part.entry->accepted.store(std::make_shared<const protocol::accepted_settings>());
        }
        part.welcomes_as_of = latest;
    }
    return latest;
}

void engine::finish_welcome(client& c, server& s, time_point now) {
    const bool session_mode = c.pool->shard.bounds().mode == pool::pool_mode::session;
    constexpr std::size_t remembered_welcomes = 1'000;
    auto& welcomes = c.pool->welcomes;
    if (welcomes.size() >= remembered_welcomes) {
        welcomes.clear();
    }
    welcomes[c.settings] = std::make_shared<const std::map<std::string, std::string>>(s.parameters);
    // Should another worker do the same now, one of the two learns it another time.
    auto& accepted = c.pool->entry->accepted;
    accepted.store(protocol::learn(accepted.load(), *c.settings, s.parameters));
    if (session_mode) {
        send_welcome(c, s.parameters, now);
        return;
    }
    detach(c, s, now);
    send_welcome(c, s.parameters, now);
    place(s, now);
}

std::uint32_t engine::unused_process_id() {
    std::uint32_t process_id = 0;
    while (process_id == 0 || by_process_id_.contains(process_id)) {
        std::array<std::byte, sizeof process_id> raw;
        ports_.random(raw);
        std::memcpy(&process_id, raw.data(), sizeof process_id);
        process_id &= 0x7fffffff; // clients print it as a signed number
    }
    return process_id;
}

void engine::send_welcome(client& c, const std::map<std::string, std::string>& parameters,
                          time_point now) {
    // While it holds a server from its first byte on (session mode), a client is told PostgreSQL's
    // own process id, so that pg_backend_pid() and NotificationResponse agree with it.
    remember_reported(c, parameters);
    note_idle_limit(c);
    const auto process_id = c.held != nullptr ? c.held->key.process_id : unused_process_id();
    auto& key = c.info->key.key;
    key.resize(protocol::own_cancel_key_bytes(c.info->minor_version));
    ports_.random(std::as_writable_bytes(std::span(key)));
    c.info->key.process_id = process_id;
    by_process_id_.emplace(process_id, c.id);

    auto& out = c.out.own();
    // In the order in which PostgreSQL reports them: by name, whatever its case.
    std::vector<const std::pair<const std::string, std::string>*> reported;
    for (const auto& parameter : parameters) {
        reported.push_back(&parameter);
    }
    std::sort(reported.begin(), reported.end(), [](const auto* a, const auto* b) {
        return protocol::lower_case(a->first) < protocol::lower_case(b->first);
    });
    for (const auto* const parameter : reported) {
        const auto& [name, value] = *parameter;
        protocol::append_parameter_status(out, name, value);
    }
    protocol::message_writer(out)
        .begin(protocol::backend::backend_key_data)
        .u32(process_id)
        .raw(c.info->key.key)
        .end();
    protocol::append_ready_for_query(out, protocol::transaction_status::idle);
    set_state(c, c.held != nullptr ? client_state::active : client_state::idle, now);
    if (config_->log_connections) {
        ports_.log(log_severity::info, "client connected",
                   {{"client", static_cast<std::int64_t>(c.id.value)},
                    {"database", c.info->database},
                    {"user", c.info->user},
                    {"address", c.info->where.peer},
                    {"port", std::int64_t{c.info->where.peer_port}},
                    {"application_name", c.info->application_name}});
    }
    if (shutting_down_ && c.held == nullptr) {
        tell_and_close(c, pool::client_close::shutdown, protocol::error::admin_shutdown, {}, now);
    } else if (flush(c, now)) {
        pump(c, now);
    }
}

void engine::send_console_welcome(client& c, time_point now) {
    auto& out = c.out.own();
    for (const auto& [name, value] :
         {std::pair{"server_version", PGWEIR_VERSION "/pgweir"},
          std::pair{"client_encoding", "UTF8"}, std::pair{"server_encoding", "UTF8"},
          std::pair{"DateStyle", "ISO, MDY"}, std::pair{"TimeZone", "GMT"},
          std::pair{"standard_conforming_strings", "on"}, std::pair{"integer_datetimes", "on"},
          std::pair{"is_superuser", "off"}}) {
        protocol::append_parameter_status(out, name, value);
    }
    protocol::message_writer(out).begin(protocol::backend::backend_key_data).u32(0).u32(0).end();
    protocol::append_ready_for_query(out, protocol::transaction_status::idle);
    set_state(c, client_state::console, now);
    if (flush(c, now)) {
        pump(c, now);
    }
}

} // namespace pgweir::daemon
