// One backend of the fake server. See fake_postgres.hpp; how it fails is in backend_faults.cpp.
#include "tests/simulation/fake_postgres.hpp"

#include "protocol/scram.hpp"
#include "protocol/startup.hpp"
#include "protocol/startup_options.hpp"
#include "tests/simulation/salted_password.hpp"

namespace pgweir::simulation {

namespace {

constexpr std::size_t startup_header = 8; // length and code

std::uint32_t number_at(std::string_view text, std::size_t at) {
    return protocol::read_u32(protocol::as_bytes(text.substr(at, 4)));
}

std::string u32(std::uint32_t value) {
    std::string text;
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
        text += static_cast<char>(value >> shift);
    }
    return text;
}

constexpr std::string_view salt = "salt";

} // namespace

backend_process::backend_process(fake_postgres& home, network::end_ptr end,
                                 std::uint32_t process_id_)
    : process_id(process_id_)
    , home_(home)
    , end_(std::move(end))
    , session_(settings{}) {
    end_->set_user(this);
}

std::string backend_process::name() const { return "backend " + std::to_string(process_id); }

void backend_process::later(duration delay, void (backend_process::*what)()) {
    home_.shared_.time.after(delay, [weak = weak_from_this(), what] {
        if (const auto self = weak.lock()) {
            (self.get()->*what)();
        }
    });
}

void backend_process::on_arrival() {
    const auto there = end_->readable();
    // A backend that is busy leaves most of it in the socket.
    constexpr std::size_t read_ahead = 8'192;
    if (in_.size() < read_ahead) {
        const auto count = end_->short_count(there.size());
        in_ += there.substr(0, count);
        end_->take(count);
        if (!end_->readable().empty() && in_.size() < read_ahead) {
            end_->poke();
        }
    }
    process();
}

void backend_process::on_room() {
    flush();
    process();
}

void backend_process::process() {
    if (nonsense_ != talk::sense) {
        in_.clear(); // it only waits for the other side to close
    }
    while (!busy_ && out_.empty() && phase_ != phase::exiting && phase_ != phase::gone) {
        if (phase_ == phase::startup) {
            if (!process_startup()) {
                break;
            }
            continue;
        }
        if (phase_ == phase::carrier || in_.size() < protocol::header_bytes) {
            break;
        }
        const auto head = protocol::read_header(protocol::as_bytes(in_));
        if (!head.plausible()) {
            home_.shared_.violation(name() + " got bytes that are no message");
            exit(duration(0));
            return;
        }
        if (in_.size() < head.frame_bytes()) {
            break;
        }
        message m{head.type, in_.substr(protocol::header_bytes, head.body_bytes())};
        in_.erase(0, head.frame_bytes());
        handle(std::move(m));
    }
    if (!busy_ && end_->readable().empty() && end_->at_end() && phase_ != phase::carrier) {
        exit(home_.shared_.random.between(duration(0), home_.max_exit));
        return;
    }
    if (!end_->readable().empty() && in_.size() < 4'096) {
        end_->poke();
    }
}

bool backend_process::process_startup() {
    if (in_.size() < startup_header) {
        return false;
    }
    const auto length = number_at(in_, 0);
    if (in_.size() < length) {
        return false;
    }
    const auto code = number_at(in_, 4);
    const auto body = in_.substr(startup_header, length - startup_header);
    in_.erase(0, length);
    auto& shared = home_.shared_;
    if (code == protocol::cancel_request_code) {
        phase_ = phase::carrier;
        const auto target = number_at(body, 0);
        const auto key = body.substr(4);
        shared.time.after(
            shared.random.between(duration(0), milliseconds(shared.random.chance(50) ? 60 : 2)),
            [weak = weak_from_this(), target, key] {
                if (const auto self = weak.lock(); self && self->phase_ == phase::carrier) {
                    auto* const victim = self->home_.find(target);
                    if (victim != nullptr && victim->secret_key() == key) {
                        victim->cancel();
                    }
                    self->exit(duration(0));
                }
            });
        return false;
    }
    const auto asked = static_cast<std::uint16_t>(code);
    const auto spoken = std::min(asked, home_.minor_version);
    while (secret_key_.size() < protocol::own_cancel_key_bytes(spoken)) {
        secret_key_ += static_cast<char>(shared.random.next());
    }
    if (asked != spoken) {
        protocol::append_negotiate_protocol_version(out_, spoken, {});
    }
    start_session(body);
    return true;
}

void backend_process::start_session(std::string_view parameters) {
    auto at_start = home_.own_settings;
    while (!parameters.empty() && parameters[0] != '\0') {
        const auto next = [&] {
            const auto text = parameters.substr(0, parameters.find('\0'));
            parameters.remove_prefix(std::min(parameters.size(), text.size() + 1));
            return std::string(text);
        };
        const auto key = next();
        const auto value = next();
        if (key == "user") {
            user_ = value;
        } else if (key == "database") {
            database_ = value;
        } else if (key == "options") {
            for (const auto& [name_, value_] : protocol::parse_startup_options(value).settings) {
                at_start[name_] = value_;
            }
        } else {
            at_start[key] = value;
        }
    }
    refuses_ = at_start.contains("bad_setting");
    session_ = postgres_session(at_start);
    session_.max_connections = home_.max_connections;
    session_.user = user_;
    phase_ = phase::authentication;
    auto& shared = home_.shared_;
    shared.trace(process_id, "startup", [&] { return name() + " for " + user_ + "@" + database_; });
    if (home_.state_ == fake_postgres::state::starting) {
        say_fatal("57P03", "the database system is starting up");
        return;
    }
    if (home_.backends() > home_.max_connections) {
        shared.last_server_fault = shared.time.now();
        say_fatal("53300", "sorry, too many clients already");
        return;
    }
    switch (home_.auth) {
    case server_auth::trust:
        busy_ = true;
        later(shared.random.between(duration(0), milliseconds(2)), &backend_process::authenticated);
        break;
    case server_auth::password:
        write(std::string("R") + u32(8) + u32(3));
        break;
    case server_auth::md5:
        write(std::string("R") + u32(12) + u32(5) + std::string(salt));
        break;
    case server_auth::scram:
        write(std::string("R") + u32(23) + u32(10) + "SCRAM-SHA-256" + std::string(2, '\0'));
        break;
    }
}

void backend_process::check_password(std::string_view body) {
    const auto given = body.substr(0, body.find('\0'));
    const auto expected = home_.auth == server_auth::md5
                              ? protocol::md5_response(home_.password, user_, salt)
                              : home_.password;
    if (given != expected) {
        say_fatal("28P01", "password authentication failed");
        return;
    }
    authenticated();
}

void backend_process::check_scram(std::string_view body) {
    // The client's first message: mechanism, length, "n,,n=,r=nonce". Its last: "c=…,r=…,p=proof".
    if (scram_nonce_.empty()) {
        const auto bare = body.substr(body.find("n=,r="));
        scram_nonce_ = std::string(bare.substr(5)) + "server";
        const auto first = "r=" + scram_nonce_ + ",s=" + protocol::base64_encode(salt) +
                           ",i=" + std::to_string(protocol::default_scram_iterations);
        scram_first_ = std::string(bare) + "," + first;
        write("R" + u32(static_cast<std::uint32_t>(first.size() + 8)) + u32(11) + first);
        return;
    }
    const auto proof_at = body.rfind(",p=");
    const auto auth_message = scram_first_ + "," + std::string(body.substr(0, proof_at));
    const auto verifier =
        protocol::make_verifier(salted_password(protocol::secret(home_.password), std::string(salt),
                                                protocol::default_scram_iterations),
                                salt, protocol::default_scram_iterations);
    const auto proof = protocol::base64_decode(body.substr(proof_at + 3)).value_or("");
    const auto signature = protocol::hmac_sha256(verifier.stored_key, auth_message);
    if (proof.size() != signature.size() ||
        protocol::sha256(protocol::exclusive_or(proof, signature)) != verifier.stored_key) {
        say_fatal("28P01", "password authentication failed");
        return;
    }
    const auto last =
        "v=" + protocol::base64_encode(protocol::hmac_sha256(verifier.server_key, auth_message));
    write("R" + u32(static_cast<std::uint32_t>(last.size() + 8)) + u32(12) + last);
    authenticated();
}

void backend_process::authenticated() {
    busy_ = false;
    if (phase_ != phase::authentication) {
        return;
    }
    std::string out = "R" + u32(8) + u32(0);
    if (refuses_) {
        write(out);
        say_fatal("42704", "unrecognized configuration parameter");
        return;
    }
    auto parameters = session_.reported();
    parameters["server_version"] = "15.6";
    for (const auto& [name_, value] : parameters) {
        protocol::append_parameter_status(out, name_, value);
    }
    protocol::message_writer(out).begin('K').u32(process_id).raw(secret_key_).end();
    protocol::append_ready_for_query(out, protocol::transaction_status::idle);
    phase_ = phase::ready;
    write(out);
    idle();
    process();
}

void backend_process::handle(message m) {
    auto& shared = home_.shared_;
    shared.trace(process_id, "backend<", [&] {
        const auto sql = m.type == 'E' ? " " + std::string(session_.statement_of(m)) : "";
        return name() + " gets " + m.type + ' ' + request_of(m) + sql;
    });
    if (phase_ == phase::authentication) {
        if (m.type != 'p') {
            say_fatal("08P01", "expected a password");
        } else if (home_.auth == server_auth::scram) {
            check_scram(m.body);
        } else {
            check_password(m.body);
        }
        return;
    }
    if (m.type == 'X') {
        exit(shared.random.between(duration(0), home_.max_exit));
        return;
    }
    auto tag = word_of(m.type == 'P' || m.type == 'Q' ? std::string_view(m.body)
                                                      : session_.statement_of(m),
                       "tag");
    if (tag.starts_with("everybody")) {
        tag = {}; // a statement that several clients prepare
    }
    if (home_.one_client_each) {
        const bool others = !tag.empty() && !last_tag_.empty() && last_tag_ != tag;
        if (others || is_about_settings(m)) {
            shared.violation(name() + " was opened for one client alone, and serves another");
        }
    }
    if (!tag.empty()) {
        last_tag_ = tag.substr(0, tag.find('\0'));
    }
    auto takes = duration(milliseconds(session_.cost_ms(m)));
    if (shared.random.chance(20)) {
        takes += shared.random.between(duration(0), home_.max_step);
    }
    if (home_.odd_percent != 0 && shared.random.chance(home_.odd_percent) && !tag.empty()) {
        out_ += session_.send_unflushed();
        protocol::message_writer(out_)
            .begin('N')
            .raw(std::string("SNOTICE\0C00000\0Mfor ", 20) + last_tag_ + std::string(2, '\0'))
            .end();
    }
    if (shared.bug == planted_bug::state_unseen && !tag.empty() && shared.random.chance(1)) {
        session_.leave_unseen();
    }
    running_ = std::move(m);
    ++statement_serial_;
    if (home_.names_refused_percent != 0 && asks_about_names(running_) && !session_.skipping() &&
        shared.random.chance(home_.names_refused_percent)) {
        finish(session_.refuse(running_.type, running_.body, "42501"));
        return;
    }
    if (takes == duration(0)) {
        finish(session_.receive(running_.type, running_.body));
        return;
    }
    busy_ = true;
    shared.time.after(takes, [weak = weak_from_this(), serial = statement_serial_] {
        const auto self = weak.lock();
        if (self && self->busy_ && self->statement_serial_ == serial) {
            self->busy_ = false;
            self->finish(self->session_.receive(self->running_.type, self->running_.body));
            self->process();
        }
    });
}

void backend_process::cancel() {
    auto& shared = home_.shared_;
    // While it waits for the next message, or skips to the next Sync, it takes no notice.
    const bool running = busy_ && !session_.skipping() &&
                         std::string_view("QPBEFS").find(running_.type) != std::string_view::npos;
    const bool strikes = phase_ == phase::ready && (running || session_.in_copy_in());
    shared.trace(process_id, "cancel", [&] {
        return name() + (strikes ? " is cancelled while it runs a statement of " + last_tag_
                                 : std::string(" is cancelled while it runs nothing"));
    });
    if (!strikes) {
        return;
    }
    const auto sql = session_.statement_of(running_);
    const bool tells = busy_ && !word_of(sql, "tag").starts_with("everybody");
    const auto whose = tells ? word_of(sql, "tag") : std::string_view(last_tag_);
    if (!whose.empty() && !home_.cancel_wanted(whose)) {
        shared.violation("a cancel struck " + name() + " while it ran a statement of " +
                         std::string(whose) + ", who had not asked for one");
    }
    if (busy_ && is_about_settings(running_)) {
        shared.violation("a cancel struck " + name() + " while it was given a client's settings");
    }
    if (!busy_) {
        running_ = {};
    }
    busy_ = false;
    ++statement_serial_;
    session_.give_up_writes(running_);
    finish(session_.refuse(running_.type, running_.body, "57014"));
    process();
}

/// A message has been processed; `flushed` is to be sent.
void backend_process::finish(std::string flushed) {
    take_writes();
    home_.shared_.trace(process_id, "backend>", [&] {
        std::string types;
        for (const auto& reply : messages_of(flushed)) {
            types += reply.type;
        }
        return name() + " answers " + types + " status " + static_cast<char>(session_.status()) +
               (session_.unflushed().empty() ? "" : ", more is held back");
    });
    constexpr std::size_t full = 8'192; // PostgreSQL's own buffer
    const bool oddly = home_.odd_percent != 0 && home_.shared_.random.chance(home_.odd_percent);
    if (oddly || session_.unflushed().size() >= full) {
        flushed += session_.send_unflushed();
    }
    const bool ready = !flushed.empty() && messages_of(flushed).back().type == 'Z';
    write(flushed);
    if (session_.closed()) {
        exit(duration(0));
    } else if (ready) {
        idle();
    }
}

/// It has said that it is ready. If it is outside of a transaction, it does not wait for ever.
void backend_process::idle() {
    const auto limit = session_.idle_limit();
    if (limit.count() == 0 || session_.status() != protocol::transaction_status::idle) {
        return;
    }
    home_.shared_.time.after(limit, [weak = weak_from_this(), serial = statement_serial_] {
        const auto self = weak.lock();
        if (self && self->phase_ == phase::ready && self->statement_serial_ == serial) {
            ++self->home_.idled_too_long_;
            self->say_fatal("57P05", "terminating connection due to idle-session timeout");
        }
    });
}

void backend_process::take_writes() {
    for (const auto& write : session_.committed) {
        home_.shared_.trace(process_id, "commit", [&] { return write; });
        home_.commit(write);
    }
    session_.committed.clear();
    session_.aborted.clear();
}

void backend_process::notify() {
    if (phase_ != phase::ready || busy_ || !session_.unflushed().empty() || !out_.empty()) {
        return;
    }
    for (const auto& channel : session_.listens()) {
        std::string out;
        protocol::message_writer(out)
            .begin('A')
            .u32(process_id)
            .c_string(channel.substr(channel.find(' ') + 1))
            .c_string("payload")
            .end();
        write(out);
    }
}

void backend_process::write(std::string_view bytes) {
    out_ += bytes;
    flush();
}

void backend_process::flush() {
    if (out_.empty()) {
        return;
    }
    out_.erase(0, end_->send(out_));
    if (end_->broken()) {
        out_.clear(); // PostgreSQL notices when it reads
        if (!busy_) {
            exit(home_.shared_.random.between(duration(0), home_.max_exit));
        }
    } else if (!out_.empty()) {
        end_->wait_room();
    }
}

void backend_process::say_fatal(std::string_view sqlstate, std::string_view text) {
    std::string body = std::string("SFATAL\0VFATAL\0C", 15) + std::string(sqlstate) + '\0' + 'M' +
                       std::string(text) + std::string(2, '\0');
    protocol::message_writer(out_).begin('E').raw(body).end();
    flush();
    exit(duration(0));
}

void backend_process::exit(duration after) {
    if (phase_ == phase::exiting || phase_ == phase::gone) {
        return;
    }
    phase_ = phase_ == phase::carrier ? phase::carrier : phase::exiting;
    busy_ = false;
    ++statement_serial_;
    home_.shared_.time.after(after, [weak = weak_from_this(), sent = !out_.empty()] {
        if (const auto self = weak.lock(); self && self->phase_ != phase::gone) {
            if (sent && !self->out_.empty() && !self->end_->at_end()) {
                self->linger();
                return;
            }
            self->home_.shared_.trace(self->process_id, "exit", [&] { return self->name(); });
            self->phase_ = phase::gone;
            self->end_->close();
            self->home_.shut(*self);
        }
    });
}

/// Its last words have not been taken yet.
void backend_process::linger() {
    const auto was = std::exchange(phase_, phase::ready);
    exit(milliseconds(20));
    phase_ = was;
}

} // namespace pgweir::simulation
