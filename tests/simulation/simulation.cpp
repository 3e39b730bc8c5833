#include "tests/simulation/simulation.hpp"

#include "protocol/scram.hpp"

namespace pgweir::simulation {

namespace {

constexpr auto chaos_lasts = seconds(8);
/// After faults have stopped, everybody is served, or told why not, within this: the longest
/// time-outs one after the other (login, wait, connect, drain, clean).
constexpr auto served_within = seconds(90);
constexpr auto quiet_for = seconds(60);

std::string verifier_of(const std::string& password) {
    const auto salted = protocol::derive_salted_password(protocol::secret(password), "pepper", 1);
    return protocol::format_scram_verifier(protocol::make_verifier(salted, "pepper", 1));
}

} // namespace

simulation::simulation(std::uint64_t seed, planted_bug bug, bool readable)
    : shared(seed)
    , net_(shared)
    , postgres_(shared, net_)
    , daemon_{shared, net_, postgres_, {}, {}, 0, 0, 0, {}, {}, 0}
    , invariants_(shared, daemon_, postgres_) {
    shared.bug = bug;
    shared.readable = readable;
}

simulation::~simulation() {
    shared.time.clear(); // while everything that it refers to is still there
}

// Plans ------------------------------------------------------------------------------------------

void simulation::plan_network() {
    auto& random = shared.random;
    auto& conditions = net_.conditions;
    conditions.max_delay = random.chance(70) ? microseconds(200) : microseconds(5'000);
    if (random.chance(20)) {
        conditions.spike_percent = 2;
        conditions.max_spike = random.chance(50) ? milliseconds(50) : milliseconds(800);
    }
    conditions.split_percent = random.chance(50) ? 0 : static_cast<unsigned>(random.below(60));
    conditions.short_percent = random.chance(50) ? 0 : static_cast<unsigned>(random.below(30));
    conditions.later_percent = random.chance(50) ? 0 : static_cast<unsigned>(random.below(80));
    if (random.chance(30)) { // tiny sockets: everything blocks
        conditions.min_buffer_bytes = 64;
        conditions.max_buffer_bytes = 2'048;
    }
    if (random.chance(2)) { // every byte, or every few, for themselves
        conditions.max_part_bytes = random.between(1, 3);
        conditions.max_delay = microseconds(50);
    }
    server_faults_ = random.chance(60);
    client_faults_ = random.chance(60);
    cancel_storm_ = random.chance(8);
    reloads_ = random.chance(20);
    shuts_down_early_ = random.chance(15);
    conversations_ = random.chance(50);
    postgres_.auth = static_cast<server_auth>(random.chance(60) ? 0 : random.below(4));
    postgres_.minor_version = random.chance(50) ? 2 : 0;
    postgres_.names_refused_percent = random.chance(20) ? 60 : 0;
    daemon_.readings.most = random.chance(70) ? milliseconds(2) : milliseconds(300);
    daemon_.readings.late_percent = random.chance(20) ? 30 : 0;
    postgres_.odd_percent = random.chance(30) ? 10 : 0;
    if (random.chance(20)) {
        auto& limit = postgres_.own_settings["idle_session_timeout"];
        limit = random.chance(50) ? "300ms" : random.chance(50) ? "4s" : "1h";
        rules_.own_settings = postgres_.own_settings;
    }
    postgres_.max_step = random.chance(70) ? microseconds(100) : microseconds(3'000);
    postgres_.max_exit = random.chance(70) ? milliseconds(20) : milliseconds(1'500);
}

void simulation::plan_configuration() {
    auto& random = shared.random;
    config_ = std::make_shared<config::configuration>();
    auto& c = *config_;
    auto& pool = c.pool;
    pool.maxconn = static_cast<std::uint32_t>(random.between(1, 4));
    if (cancel_storm_) {
        pool.maxconn = std::min(pool.maxconn, 2U);
    }
    pool.minconn = static_cast<std::uint32_t>(random.below(pool.maxconn + 1));
    constexpr std::uint32_t statements[] = {0, 1, 2, 200};
    pool.prepared_statements = statements[random.below(std::size(statements))];
    constexpr std::uint32_t audits[] = {0, 1, 1, 3};
    pool.audit_every = audits[random.below(std::size(audits))];
    pool.listen = config::virtual_policy::pin; // the sessions here notify nobody
    const auto mode = random.below(10);
    pool.mode = mode == 0   ? config::pool_mode::session
                : mode == 1 ? config::pool_mode::statement
                            : config::pool_mode::transaction;
    if (pool.mode == config::pool_mode::session && random.chance(60)) {
        pool.reuse = config::server_reuse::never;
        postgres_.one_client_each = true;
        rules_.own_servers = true;
    }
    pool.wait_timeout = random.chance(50) ? milliseconds(random.between(50, 500)) : seconds(5);
    // Not while everything is looked at, when all is quiet.
    config_->functions_interval = seconds(3'600);
    pool.idle_timeout = random.chance(50) ? milliseconds(random.between(50, 2'000)) : seconds(20);
    pool.max_lifetime =
        random.chance(50) ? milliseconds(random.between(200, 5'000)) : seconds(3'600);
    pool.connect_timeout = random.chance(50) ? milliseconds(500) : seconds(3);
    c.login_timeout = random.chance(50) ? seconds(1) : seconds(5);
    c.slow_query = milliseconds(20);
    const auto method = random.below(10);
    c.auth = method < 5   ? config::auth_method::trust
             : method < 8 ? config::auth_method::password
             : method < 9 ? config::auth_method::md5
                          : config::auth_method::scram_sha_256;
    const std::string password = "client secret";
    const bool verifier = c.auth == config::auth_method::scram_sha_256 ||
                          (c.auth == config::auth_method::password && random.chance(20));
    for (const auto* const name : {"app", "other", "admin"}) {
        config::user user;
        user.name = name;
        user.password = config::secret(verifier ? verifier_of(password) : password);
        c.users.push_back(std::move(user));
    }
    c.admin_users = {"admin"};
    small_max_clients_ = random.chance(10);
    c.max_clients = small_max_clients_ ? 3 : 1'000;
    config::database shop;
    shop.name = shop.dbname = "shop";
    shop.pool = pool;
    c.databases.push_back(shop);

    const auto workers = static_cast<std::uint32_t>(random.between(1, 3));
    const bool rotate = random.chance(50);
    daemon_.server_password = postgres_.password;
    postgres_.max_connections = random.chance(20) ? pool.maxconn : 100;
    invariants_.bound = pool.maxconn;
    invariants_.any_server_does = pool.mode != config::pool_mode::session;
    for (std::uint32_t i = 0; i < workers; ++i) {
        daemon_.workers.push_back(
            std::make_unique<fake_worker>(daemon_, i, workers, config_, rotate));
    }
    rules_.accept = [this](network::end_ptr end) { accept(std::move(end)); };
    rules_.log = &postgres_.log();
    rules_.statement_mode = pool.mode == config::pool_mode::statement;
    rules_.wait_timeout = pool.wait_timeout;
    rules_.login_timeout = c.login_timeout;
    rules_.connect_timeout = pool.connect_timeout;
    rules_.bulk = random.chance(20) && net_.conditions.max_part_bytes == SIZE_MAX;
    rules_.slow_statement_ms = random.chance(50) ? 0 : random.chance(80) ? 40 : 2'500;
    if (cancel_storm_) { // something to strike, at any moment
        rules_.slow_statement_ms = 30;
        rules_.slow_percent = 70;
    }
}

client_plan simulation::plan_client(std::uint32_t number) {
    auto& random = shared.random;
    client_plan plan;
    plan.number = number;
    plan.user = random.chance(80) ? "app" : "other";
    plan.password = "client secret";
    plan.over_limit = small_max_clients_;
    if (random.chance(40)) {
        plan.at_start["application_name"] = "app of c" + std::to_string(number % 3);
    }
    if (random.chance(20)) {
        plan.at_start["timezone"] = "Zone/" + std::to_string(number % 2);
        plan.settings_as_options = random.chance(50);
    }
    if (random.chance(10)) {
        plan.at_start["idle_session_timeout"] = random.chance(50) ? "0.3s" : "0";
    }
    plan.asks_for_tls = random.chance(20);
    plan.minor_version = static_cast<std::uint16_t>(random.chance(60) ? 0 : random.between(1, 4));
    plan.requests = static_cast<unsigned>(random.between(1, 14));
    plan.pipeline = random.chance(25) ? random.between(2, 5) : 1;
    plan.thinks = random.chance(80) ? milliseconds(10) : milliseconds(400);
    plan.session_state_percent = random.chance(25) ? 15 : 0;
    if (random.chance(5)) {
        plan.console = true;
        plan.user = "admin";
        plan.database = "pgbouncer";
        plan.at_start.clear();
    }
    plan.converses = conversations_ && !plan.console && random.chance(60);
    if (cancel_storm_) {
        plan.cancel_percent = number % 2 == 0 ? 60 : 0;
        plan.thinks = milliseconds(2);
    }
    if (!client_faults_) {
        return plan;
    }
    plan.fragments = random.chance(20);
    plan.single_bytes = plan.fragments && plan.converses && random.chance(20);
    if (random.chance(15)) {
        plan.reads_after = random.chance(70) ? milliseconds(3) : milliseconds(100);
    }
    plan.cancel_percent = std::max(plan.cancel_percent, random.chance(30) ? 25U : 0U);
    if (random.chance(20)) {
        plan.vanishes_after_bytes = random.between(1, 900);
    }
    plan.sends_garbage = random.chance(4);
    if (random.chance(5) && !plan.console) {
        plan.provokes = static_cast<client_plan::refusal>(random.between(1, 3));
        if (plan.provokes == client_plan::refusal::setting) {
            plan.at_start["bad_setting"] = "x";
        }
        if (plan.provokes == client_plan::refusal::password &&
            config_->auth == config::auth_method::trust) {
            plan.provokes = client_plan::refusal::none;
        }
    }
    return plan;
}

void simulation::plan_clients() {
    auto& random = shared.random;
    const auto count = static_cast<std::uint32_t>(random.between(1, 10));
    const auto spread = random.chance(60) ? milliseconds(20) : milliseconds(3'000);
    for (std::uint32_t i = 1; i <= count; ++i) {
        auto& made = clients_.emplace_back(
            std::make_unique<fake_client>(shared, net_, rules_, plan_client(i)));
        shared.time.after(random.between(duration(0), spread),
                          [client = made.get()] { client->start(); });
    }
    postgres_.cancel_wanted = [this](std::string_view tag) {
        for (const auto& client : clients_) {
            if (client->tag() == tag) {
                return client->wants_cancel() || client->done();
            }
        }
        return false;
    };
}

// Faults -----------------------------------------------------------------------------------------

void simulation::plan_faults() {
    auto& random = shared.random;
    if (server_faults_ || client_faults_ || reloads_) {
        shared.time.after(random.between(milliseconds(1), milliseconds(500)),
                          [this] { fault_tick(); });
    }
    if (shuts_down_early_) {
        shared.time.after(random.between(milliseconds(1), chaos_lasts),
                          [this] { begin_shutdown(); });
    }
}

void simulation::fault_tick() {
    auto& random = shared.random;
    if (shared.faults_stopped) {
        return;
    }
    if (server_faults_) {
        if (random.chance(40)) {
            if (postgres_.kill_one()) {
                shared.fault("a backend ends");
            }
        } else if (random.chance(30)) {
            server_outage();
        } else {
            postgres_.notify_one();
        }
    }
    if (client_faults_ && random.chance(20) && !clients_.empty()) {
        clients_[random.below(clients_.size())]->cut();
    }
    if (reloads_ && random.chance(20)) {
        reconfigure();
    }
    shared.time.after(random.between(milliseconds(1), milliseconds(1'500)),
                      [this] { fault_tick(); });
}

void simulation::server_outage() {
    auto& random = shared.random;
    const bool vanishes = random.chance(30);
    shared.fault(vanishes ? "PostgreSQL cannot be reached" : "PostgreSQL crashes");
    shared.last_server_fault = shared.time.now();
    if (!vanishes) {
        postgres_.crash();
    }
    postgres_.set_state(vanishes ? fake_postgres::state::vanishing
                                 : fake_postgres::state::refusing);
    shared.time.after(random.between(milliseconds(1), milliseconds(1'500)), [this] {
        shared.last_server_fault = shared.time.now();
        postgres_.set_state(fake_postgres::state::starting);
        shared.time.after(shared.random.between(duration(0), milliseconds(200)),
                          [this] { postgres_.set_state(fake_postgres::state::up); });
    });
}

void simulation::reconfigure() {
    auto& random = shared.random;
    auto next = std::make_shared<config::configuration>(*config_);
    const auto from = config_->pool.maxconn;
    next->pool.maxconn = static_cast<std::uint32_t>(random.between(1, 4));
    next->pool.minconn = static_cast<std::uint32_t>(random.below(next->pool.maxconn + 1));
    next->databases[0].pool = next->pool;
    config_ = next;
    shared.fault("");
    shared.trace(0, "reload", [&] {
        return "maxconn " + std::to_string(from) + " -> " + std::to_string(next->pool.maxconn);
    });
    invariants_.bound_changes(from, next->pool.maxconn);
    for (auto& worker : daemon_.workers) {
        ++daemon_.messages;
        shared.time.after(random.between(duration(0), milliseconds(1)),
                          [this, w = worker.get(), next] {
                              --daemon_.messages;
                              w->engine.reconfigure(shared.time.now(), next);
                          });
    }
}

void simulation::begin_shutdown() {
    if (rules_.shutting_down) {
        return;
    }
    rules_.shutting_down = true;
    invariants_.shutting_down = true;
    shared.trace(0, "shutdown", [] { return std::string("begins"); });
    for (auto& worker : daemon_.workers) {
        worker->engine.begin_shutdown(shared.time.now());
    }
    shared.time.after(shared.random.between(duration(0), seconds(3)),
                      [this] { finish_shutdown(); });
}

void simulation::finish_shutdown() {
    shared.trace(0, "shutdown", [] { return std::string("finishes"); });
    for (auto& worker : daemon_.workers) {
        worker->engine.finish_shutdown(shared.time.now());
    }
}

void simulation::accept(network::end_ptr end) {
    if (rules_.shutting_down) {
        end->close(); // nobody listens any more
        return;
    }
    auto& random = shared.random;
    const bool over_limit = daemon_.clients >= config_->max_clients;
    daemon_.workers[random.below(daemon_.workers.size())]->accept(std::move(end), over_limit);
}

// The run ----------------------------------------------------------------------------------------

bool simulation::step(time_point until) {
    auto next = shared.time.next();
    fake_worker* timer = nullptr;
    for (auto& worker : daemon_.workers) {
        if (const auto when = worker->next_sweep(); when <= next) {
            next = when;
            timer = worker.get();
        }
    }
    if (next > until) {
        shared.time.advance_to(until);
        return false;
    }
    constexpr std::uint64_t too_many_sweeps = 200;
    if (timer != nullptr) {
        shared.time.advance_to(next);
        sweeps_at_this_moment_ = shared.time.now() == moment_ ? sweeps_at_this_moment_ + 1 : 0;
        moment_ = shared.time.now();
        if (sweeps_at_this_moment_ > too_many_sweeps) {
            shared.violation("a timer spins: the deadline stays in the past");
            shared.time.advance_to(moment_ + milliseconds(1));
        }
        timer->sweep();
    } else {
        shared.time.run_next();
    }
    ++steps;
    invariants_.after_step();
    return true;
}

void simulation::run_until(time_point until, bool (simulation::*enough)() const) {
    constexpr std::uint64_t too_many_steps = 400'000;
    while (shared.violations.empty() && !(this->*enough)() && step(until)) {
        if (steps > too_many_steps) {
            shared.violation("no end in sight after " + std::to_string(steps) + " steps");
        }
    }
}

bool simulation::clients_done() const {
    for (const auto& client : clients_) {
        if (!client->done()) {
            return false;
        }
    }
    return true;
}

bool simulation::engines_empty() const {
    for (const auto& worker : daemon_.workers) {
        if (!worker->engine.empty()) {
            return false;
        }
    }
    return postgres_.backends() == 0 && daemon_.open_sockets == 0;
}

/// What the engines say of themselves, for whoever reads the trace.
void simulation::trace_rows() {
    for (const auto& worker : daemon_.workers) {
        for (const auto& row : worker->engine.client_rows(shared.time.now())) {
            shared.trace(0, "client", [&] {
                return std::to_string(row.id) + " " + row.user + " " + row.state + " server " +
                       std::to_string(row.server_id);
            });
        }
        for (const auto& row : worker->engine.server_rows(shared.time.now())) {
            shared.trace(0, "server", [&] {
                return std::to_string(row.id) + " " + row.user + " " + row.state + " client " +
                       std::to_string(row.client_id) + " backend " + std::to_string(row.process_id);
            });
        }
    }
}

void simulation::calm() {
    shared.faults_stopped = true;
    shared.trace(0, "calm", [] { return std::string("faults stop"); });
    postgres_.set_state(fake_postgres::state::up);
    if (postgres_.max_connections < 100) {
        postgres_.max_connections = 100;
    }
    for (const auto& client : clients_) {
        client->hurry();
    }
}

void simulation::run() {
    plan_network();
    plan_configuration();
    plan_clients();
    plan_faults();
    chaos_ends_ = shared.time.now() + chaos_lasts;
    run_until(chaos_ends_, &simulation::clients_done);
    if (!shared.violations.empty()) {
        return;
    }
    calm();
    run_until(shared.time.now() + served_within, &simulation::clients_done);
    if (!shared.violations.empty()) {
        return;
    }
    for (const auto& client : clients_) {
        if (!client->done()) {
            shared.violation("nobody serves " + client->describe());
            trace_rows();
        }
        client->check_aborted_writes();
    }
    if (!rules_.shutting_down) {
        // Servers that live long, so that none is just being replaced when the counts are looked
        // at.
        run_until(shared.time.now() + milliseconds(10), &simulation::shuts_down);
        auto lasting = std::make_shared<config::configuration>(*config_);
        lasting->pool.max_lifetime = seconds(3'600);
        lasting->databases[0].pool = lasting->pool;
        for (auto& worker : daemon_.workers) {
            worker->engine.reconfigure(shared.time.now(), lasting);
        }
        run_until(shared.time.now() + quiet_for, &simulation::shuts_down);
        if (shared.violations.empty() && !rules_.shutting_down) {
            invariants_.when_quiet();
        }
    }
    begin_shutdown();
    run_until(shared.time.now() + served_within, &simulation::engines_empty);
    if (shared.violations.empty()) {
        invariants_.at_end();
    }
}

} // namespace pgweir::simulation
