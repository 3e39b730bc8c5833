#include "tests/simulation/fake_worker.hpp"

#include "tests/simulation/salted_password.hpp"

#include "protocol/scram.hpp"
#include "tests/simulation/salted_password.hpp"

#include <cstring>

namespace pgweir::simulation {

daemon::engine::options fake_worker::options_for(const daemon_state& daemon, std::uint32_t self,
                                                 std::uint32_t workers, bool rotate_servers) {
    daemon::engine::options options;
    options.self = {self};
    options.workers = workers;
    options.mock_secret = "mock secret";
    options.statement_key = "statement key";
    options.rotate_servers = rotate_servers;
    if (daemon.shared.bug == planted_bug::released_too_early) {
        options.bug = daemon::engine::options::planted::released_too_early;
    } else if (daemon.shared.bug == planted_bug::settings_not_replayed) {
        options.bug = daemon::engine::options::planted::settings_not_replayed;
    } else if (daemon.shared.bug == planted_bug::sequences_not_forgotten) {
        options.bug = daemon::engine::options::planted::sequences_not_forgotten;
    } else if (daemon.shared.bug == planted_bug::unpinned_unseen) {
        options.bug = daemon::engine::options::planted::unpinned_unseen;
    } else if (daemon.shared.bug == planted_bug::names_not_read) {
        options.bug = daemon::engine::options::planted::names_not_read;
    }
    return options;
}

fake_worker::fake_worker(daemon_state& daemon, std::uint32_t self, std::uint32_t workers,
                         std::shared_ptr<const config::configuration> config, bool rotate_servers)
    : engine(options_for(daemon, self, workers, rotate_servers), *this, std::move(config))
    , daemon_(daemon)
    , self_(self)
    , last_post_(workers) {}

void fake_worker::accept(network::end_ptr end, bool over_limit) {
    accept(std::move(end),
           daemon::arrival{over_limit, false, "192.0.2." + std::to_string(daemon_.clients % 3)});
}

void fake_worker::accept(network::end_ptr end, daemon::arrival how) {
    auto& shared = daemon_.shared;
    ++daemon_.clients;
    ++daemon_.logging_in[how.login_place];
    engine.accept(shared.time.now(),
                  std::make_unique<engine_socket>(shared, std::move(end), daemon_.open_sockets),
                  std::move(how));
}

time_point fake_worker::next_sweep() {
    const auto deadline = engine.next_deadline();
    if (deadline == time_point::max()) {
        deadline_ = deadline;
        return sweep_at_ = deadline;
    }
    if (deadline != deadline_) {
        deadline_ = deadline;
        auto& random = daemon_.shared.random;
        const bool late = random.chance(20);
        sweep_at_ = deadline + (late ? random.between(duration(0), milliseconds(2)) : duration(0));
    }
    return sweep_at_;
}

void fake_worker::sweep() {
    deadline_ = {};
    daemon_.shared.trace(self_, "sweep", [&] { return "worker " + std::to_string(self_); });
    engine.sweep(daemon_.shared.time.now());
}

// Ports ------------------------------------------------------------------------------------------

std::unique_ptr<daemon::connection> fake_worker::open(const daemon::server_address&,
                                                      daemon::connection_events& who) {
    auto made = std::make_unique<engine_socket>(daemon_.shared, nullptr, daemon_.open_sockets);
    made->set_events(&who);
    made->to_server = true;
    daemon_.postgres.connect(made->self, dynamic_cast<daemon::server*>(&who) != nullptr);
    return made;
}

std::unique_ptr<daemon::connection>
fake_worker::attach(std::unique_ptr<daemon::detached_connection> what,
                    daemon::connection_events& who) {
    auto made =
        std::make_unique<engine_socket>(daemon_.shared, take_end(*what), daemon_.open_sockets);
    made->set_events(&who);
    made->to_server = true;
    return made;
}

std::shared_ptr<daemon::pool_entry> fake_worker::pool_for(const config::database& where,
                                                          std::string_view user,
                                                          const daemon::shown_secrets&,
                                                          bool replication) {
    auto& entry = daemon_.pools[{where.name, std::string(user)}];
    if (!entry) {
        entry = std::make_shared<daemon::pool_entry>(where.name, std::string(user),
                                                     static_cast<std::uint32_t>(last_post_.size()));
        entry->set_access(std::make_shared<const daemon::server_access>(
            daemon::server_access{{"pg", 5'432},
                                  where.name,
                                  std::string(user),
                                  protocol::secret(daemon_.server_password)}));
    }
    return replication ? entry->replication_entry() : entry;
}

void fake_worker::client_gone() { --daemon_.clients; }

bool fake_worker::login_from(const std::string& address, std::size_t most) {
    if (daemon_.logging_in[address] >= most) {
        return false;
    }
    login_over("");
    ++daemon_.logging_in[address];
    return true;
}

void fake_worker::login_over(const std::string& place) {
    const auto at = daemon_.logging_in.find(place);
    if (at == daemon_.logging_in.end()) {
        daemon_.shared.violation("a place for a login given back that was not taken");
    } else if (--at->second == 0) {
        daemon_.logging_in.erase(at);
    }
}

void fake_worker::look_up(std::uint64_t, daemon::login_question) {
    daemon_.shared.violation("a user looked up, and all are known here");
}

void fake_worker::derive(std::uint64_t ticket, const protocol::login_derive& what,
                         std::weak_ptr<const void>) {
    auto& shared = daemon_.shared;
    const auto takes = shared.random.between(microseconds(100), milliseconds(20));
    auto key = salted_password(what.password, what.salt, what.iterations);
    shared.time.after(takes, [this, ticket, key = std::move(key)] {
        engine.on_derived(daemon_.shared.time.now(), ticket, key);
    });
}

void fake_worker::read_names(daemon::server_id asked, daemon::names_reading what) {
    auto& shared = daemon_.shared;
    auto& random = shared.random;
    const auto& speed = daemon_.readings;
    const auto takes = random.chance(speed.late_percent)
                           ? random.between(milliseconds(900), seconds(4))
                           : random.between(speed.least, speed.most);
    auto job = std::make_shared<daemon::names_reading>(std::move(what));
    ++daemon_.readings_under_way;
    shared.time.after(takes, [this, asked, job] {
        --daemon_.readings_under_way;
        const auto now = daemon_.shared.time.now();
        const auto outcome = daemon::learn_names_from(std::move(*job), now);
        daemon_.shared.trace(self_, "names", [&] {
            return "question " + std::to_string(outcome.serial) + " of worker " +
                   std::to_string(self_) + " has been read" +
                   (outcome.failure.empty() ? "" : ": ") + outcome.failure;
        });
        engine.on_names_read(now, asked, outcome);
    });
}

void fake_worker::random(std::span<std::byte> into) {
    for (auto& one : into) {
        one = static_cast<std::byte>(daemon_.shared.random.next());
    }
}

void fake_worker::post(daemon::worker_index to, daemon::engine_message message) {
    auto& shared = daemon_.shared;
    if (shared.bug == planted_bug::lost_wakeup &&
        (std::holds_alternative<daemon::wake>(message.what) ||
         std::holds_alternative<daemon::ask_idle>(message.what))) {
        return;
    }
    shared.trace(self_, "post", [&] {
        static constexpr std::array kinds{
            "server",      "ask_idle",       "wake",           "route_cancel",   "done",
            "ask_holders", "holders_answer", "join_channels",  "leave_channels", "channels_joined",
            "notified",    "fence_passed",   "listening_state"};
        return std::string(kinds[message.what.index()]) + " from worker " + std::to_string(self_) +
               " to " + std::to_string(to.value);
    });
    auto& last = last_post_[to.value];
    last = std::max(last, shared.time.now() + shared.random.between(duration(0), milliseconds(1)));
    ++daemon_.messages;
    auto moved = std::make_shared<daemon::engine_message>(std::move(message));
    shared.time.at(last, [this, to, moved] {
        --daemon_.messages;
        daemon_.workers[to.value]->engine.on_message(daemon_.shared.time.now(), std::move(*moved));
    });
}

void fake_worker::console(daemon::client_id who, std::string_view, std::string) {
    auto& shared = daemon_.shared;
    shared.time.after(shared.random.between(duration(0), milliseconds(5)), [this, who] {
        std::string reply;
        protocol::message_writer(reply).begin('C').c_string("SHOW").end();
        protocol::append_ready_for_query(reply, protocol::transaction_status::idle);
        engine.on_console(daemon_.shared.time.now(), who, reply);
    });
}

void fake_worker::log(daemon::log_severity, std::string_view event,
                      std::initializer_list<daemon::log_field> fields) {
    daemon_.shared.trace(self_, "log", [&] {
        std::string text = "worker " + std::to_string(self_) + ": " + std::string(event);
        for (const auto& [name, value] : fields) {
            text += " " + std::string(name) + "=";
            if (const auto* const word = std::get_if<std::string_view>(&value)) {
                text += *word;
            } else if (const auto* const number = std::get_if<std::int64_t>(&value)) {
                text += std::to_string(*number);
            } else {
                text += std::to_string(std::get<double>(value));
            }
        }
        return text;
    });
}

bool fake_worker::logs(daemon::log_severity) const { return true; }

} // namespace pgweir::simulation
